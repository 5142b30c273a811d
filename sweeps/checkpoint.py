"""A training on disk between two epochs: whole or not there, and only for the training it was taken from."""

from __future__ import annotations

import io
import logging
import pickle
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import torch

from designspace.atomic import replace_file
from sweeps.result import EpochResult

log = logging.getLogger(__name__)

FORMAT = 2
LONG_SECONDS = 300.0
"""Predicted length from which a training is worth a checkpoint after every epoch."""


@dataclass(frozen=True)
class Progress:
    """What a training had done: the state of its run, its layout in memory, its epochs, and what they cost."""

    state: Mapping[str, Any]
    memory_format: str
    epochs: tuple[EpochResult, ...]
    train_seconds: float
    peak_memory_bytes: int

    @property
    def seconds(self) -> float:
        """Time spent in the epochs, with evaluation."""
        return sum(epoch.seconds for epoch in self.epochs)


@dataclass(frozen=True)
class Checkpoint:
    """The place of one training's checkpoint and what the training is.

    Args:
        path: the file; its folder need not exist.
        identity: spec_id, recipe_id, data_id and seed; a file of another training is refused.
        arithmetic: what the bits of the result hang on beyond that (dtype, layout, threads, processes, PyTorch); with
            another one the training starts again, with a warning.
        long_seconds: trainings predicted to be shorter are not written.
    """

    path: Path
    identity: Mapping[str, Any]
    arithmetic: Mapping[str, Any]
    long_seconds: float = LONG_SECONDS

    def save(self, progress: Progress) -> None:
        """Write the checkpoint in place of the one before (temporary file, fsync, rename)."""
        content = {
            "format": FORMAT,
            "identity": dict(self.identity),
            "arithmetic": dict(self.arithmetic),
            "state": dict(progress.state),
            "memory_format": progress.memory_format,
            "epochs": [asdict(epoch) for epoch in progress.epochs],
            "train_seconds": progress.train_seconds,
            "peak_memory_bytes": progress.peak_memory_bytes,
        }
        buffer = io.BytesIO()
        torch.save(content, buffer)
        replace_file(self.path, buffer.getvalue())

    def load(self) -> Progress | None:
        """What the file holds, on the CPU; None if there is none that can be used.

        Raises:
            ValueError: it belongs to another training.
        """
        try:
            file = io.BytesIO(self.path.read_bytes())
        except FileNotFoundError:
            return None
        try:
            content = torch.load(file, map_location="cpu", weights_only=True)
            progress = Progress(
                content["state"],
                content["memory_format"],
                tuple(EpochResult(**epoch) for epoch in content["epochs"]),
                content["train_seconds"],
                content["peak_memory_bytes"],
            )
            before, arithmetic, version = content["identity"], content["arithmetic"], content["format"]
        except (
            OSError,
            RuntimeError,
            ValueError,
            KeyError,
            TypeError,
            EOFError,
            BadZipFile,
            pickle.UnpicklingError,
        ) as error:
            log.warning("%s cannot be read (%s); the training starts again", self.path, type(error).__name__)
            return None
        if changed := _differences(before, self.identity):
            raise ValueError(f"{self.path} is the checkpoint of another training: {changed}; remove it to start anew")
        if changed := _differences({**arithmetic, "format": version}, {**self.arithmetic, "format": FORMAT}):
            log.warning("%s was written with other arithmetic (%s); the training starts again", self.path, changed)
            return None
        return progress

    def is_due(self, epochs: int, done: list[EpochResult]) -> bool:
        """Whether to write one now: the training goes on, and by its epochs so far it is a long one."""
        predicted = epochs * sum(epoch.seconds for epoch in done) / len(done)
        return len(done) < epochs and predicted >= self.long_seconds

    def remove(self) -> None:
        """Delete the file, once the record is written."""
        self.path.unlink(missing_ok=True)


def _differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    return ", ".join(
        f"{key} {before.get(key)} there and {now.get(key)} here"
        for key in dict.fromkeys((*before, *now))
        if before.get(key) != now.get(key)
    )
