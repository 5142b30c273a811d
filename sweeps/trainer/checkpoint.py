"""A training on disk between two epochs: complete or absent, and only for the training it was taken from."""

from __future__ import annotations

import hashlib
import io
import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from designspace.atomic import replace_file
from designspace.validated import read_regular
from sweeps.trainer.result import EpochResult

log = logging.getLogger(__name__)

TITLE = "designspace checkpoint"
FORMAT = 4
DEVICE = "device_name"
LONG_SECONDS = 300.0
"""Predicted length from which a training is worth a checkpoint after every epoch."""


@dataclass(frozen=True)
class Progress:
    """What a training had done: the state of its run, how it was computed, its epochs, and what they cost."""

    state: Mapping[str, Any]
    memory_format: str
    compiled: bool
    epochs: tuple[EpochResult, ...]
    started_at: str
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
            another one the training starts again, with a warning; on another device it goes on, with a warning.
        long_seconds: trainings predicted to be shorter are not written.
    """

    path: Path
    identity: Mapping[str, Any]
    arithmetic: Mapping[str, Any]
    long_seconds: float = LONG_SECONDS

    def save(self, progress: Progress) -> None:
        """Write the checkpoint in place of the one before (temporary file, fsync, rename)."""
        content = {
            "identity": dict(self.identity),
            "arithmetic": dict(self.arithmetic),
            "progress": vars(progress) | {"epochs": [asdict(epoch) for epoch in progress.epochs]},
        }
        buffer = io.BytesIO()
        torch.save(content, buffer)
        body = buffer.getvalue()
        replace_file(self.path, _head(body) + b"\n" + body, parents=False)

    def load(self) -> Progress | None:
        """What the file holds, on the CPU; None if there is none that can be used.

        Raises:
            ValueError: it belongs to another training.
        """
        try:
            head, _, body = read_regular(self.path).partition(b"\n")
        except FileNotFoundError:
            return None
        except ValueError:  # a FIFO
            head = body = b""
        if head != _head(body):
            log.warning("%s is damaged or of another version; the training starts again", self.path)
            return None
        content = torch.load(io.BytesIO(body), map_location="cpu", weights_only=True)
        before, arithmetic = content["identity"], content["arithmetic"]
        if changed := _differences(before, self.identity):
            raise ValueError(f"{self.path} is the checkpoint of another training: {changed}; remove it to start anew")
        changed = _differences(arithmetic, self.arithmetic)
        if arithmetic | {DEVICE: None} != {**self.arithmetic, DEVICE: None}:
            log.warning("%s was written with other arithmetic (%s); the training starts again", self.path, changed)
            return None
        if changed:
            log.warning("%s was written elsewhere (%s); the training goes on", self.path, changed)
        progress = content["progress"]
        return Progress(**progress | {"epochs": tuple(EpochResult(**epoch) for epoch in progress["epochs"])})

    def is_due(self, epochs: int, done: list[EpochResult]) -> bool:
        """Whether to write one now: the training goes on, and by its epochs so far it is a long one."""
        predicted = epochs * sum(epoch.seconds for epoch in done) / len(done)
        return len(done) < epochs and predicted >= self.long_seconds

    def remove(self) -> None:
        """Delete the file, once the record is written."""
        self.path.unlink(missing_ok=True)


def _head(body: bytes) -> bytes:
    """The first line of a checkpoint: a flipped bit would go unnoticed in the weights."""
    return f"{TITLE} {FORMAT} {hashlib.sha256(body).hexdigest()}".encode()


def is_checkpoint(path: Path) -> bool:
    """Whether a file is a checkpoint of this tool, of any version."""
    with path.open("rb") as stream:
        return stream.read(len(TITLE)) == TITLE.encode()


def _differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    return ", ".join(
        f"{key} {before.get(key)} there and {now.get(key)} here"
        for key in dict.fromkeys((*before, *now))
        if before.get(key) != now.get(key)
    )
