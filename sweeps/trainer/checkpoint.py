"""Checkpoints: the state of a training run after an epoch. Only the same run resumes from it."""

from __future__ import annotations

import hashlib
import io
import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from designspace.atomic import replace_file
from designspace.study import CURVES, Record
from designspace.validated import read_regular

log = logging.getLogger(__name__)

TITLE = "designspace checkpoint"
FORMAT = 5
DEVICE = "device_name"
LONG_SECONDS = 300.0
"""Predicted training time from which a checkpoint is written after every epoch."""

IDENTITY = ("spec_id", "recipe_id", "data_id", "seed")
PROGRESS = (
    "started_at",
    "epochs_done",
    "updates",
    "train_seconds",
    "peak_memory_bytes",
    "memory_format",
    "compiled",
    "part_gradient_norm_first",
    *CURVES,
)
"""Fields of a record that a resumed training continues from."""


@dataclass(frozen=True)
class Checkpoint:
    """The checkpoint file of one training run.

    Args:
        path: the file; its folder may be absent.
        arithmetic: everything except spec, recipe, data and seed that can change the bits of the result. If it differs,
            training starts over; if only the device differs, it continues. Both log a warning.
        long_seconds: predicted training time from which checkpoints are written.
        weights: hash of the file with the initial weights; None if they are random.
    """

    path: Path
    arithmetic: Mapping[str, Any]
    long_seconds: float = LONG_SECONDS
    weights: str | None = None

    def save(self, state: Mapping[str, Any], record: Record) -> None:
        """Replace the previous checkpoint (temporary file, fsync, rename).

        Args:
            state: of the run, see `TrainingRun.state_dict`.
            record: of the run so far.
        """
        content = {
            "identity": self._identity(record),
            "arithmetic": dict(self.arithmetic),
            "progress": _select(record, PROGRESS),
            "state": state,
        }
        buffer = io.BytesIO()
        torch.save(content, buffer)
        body = buffer.getvalue()
        replace_file(self.path, _header(body) + b"\n" + body, parents=False)

    def load(self, record: Record) -> tuple[Mapping[str, Any], Record] | None:
        """Read the state of the run, on the CPU, and the record so far; None if there is no usable checkpoint.

        Args:
            record: identity of the run to resume.
        Raises:
            ValueError: the file belongs to another run.
        """
        try:
            header, _, body = read_regular(self.path).partition(b"\n")
        except FileNotFoundError:
            return None
        except ValueError:  # a FIFO
            header = body = b""
        if header != _header(body):
            log.warning("%s is damaged or from another version; training starts over", self.path)
            return None
        content = torch.load(io.BytesIO(body), map_location="cpu", weights_only=True)
        if difference := _difference(content["identity"], self._identity(record)):
            raise ValueError(f"{self.path}: checkpoint of another training ({difference}); remove it to start over")
        saved, current = content["arithmetic"], self.arithmetic
        difference = _difference(saved, current)
        if saved | {DEVICE: None} != {**current, DEVICE: None}:
            log.warning("%s was written with different arithmetic (%s); training starts over", self.path, difference)
            return None
        if difference:
            log.warning("%s was written on another device (%s); training continues", self.path, difference)
        return content["state"], replace(record, **content["progress"])

    def _identity(self, record: Record) -> dict[str, Any]:
        return _select(record, IDENTITY) | ({} if self.weights is None else {"weights": self.weights})

    def is_due(self, epochs: int, record: Record) -> bool:
        """Whether to write a checkpoint: more epochs follow, and all of them are predicted to take long."""
        predicted = epochs * sum(seconds or 0.0 for seconds in record.epoch_seconds) / record.epochs_done
        return record.epochs_done < epochs and predicted >= self.long_seconds


def is_checkpoint(path: Path) -> bool:
    """Whether a file is a checkpoint of any version."""
    with path.open("rb") as stream:
        return stream.read(len(TITLE)) == TITLE.encode()


def _header(body: bytes) -> bytes:
    # The hash detects bit flips in the weights.
    return f"{TITLE} {FORMAT} {hashlib.sha256(body).hexdigest()}".encode()


def _select(record: Record, names: tuple[str, ...]) -> dict[str, Any]:
    return {name: getattr(record, name) for name in names}


def _difference(saved: Mapping[str, Any], current: Mapping[str, Any]) -> str:
    return ", ".join(
        f"{key} = {saved.get(key)} in the file, {current.get(key)} here"
        for key in dict.fromkeys((*saved, *current))
        if saved.get(key) != current.get(key)
    )
