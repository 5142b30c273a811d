"""Prediction of training times: a·macs + b·acts + c·depth + d, with constants measured on the device.

One update on a batch of B images is predicted as B·(a·macs + b·acts) + c·depth + d seconds: arithmetic, memory traffic,
and the overhead per block and per update; at least the time to decode its images. `sweeps.worker.probe` measures the
constants. The study folder has one file of them per kind of device.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, TypeAdapter

from designspace.study import STRICT, Count, Seconds, StudyModel
from designspace.validated import parse_json, read_regular

FORWARD_SHARE = 1 / 3
"""Cost of an image in evaluation relative to training: the forward pass, without the two products of backward."""


@dataclass(frozen=True)
class TimePredictor:
    """Training time from complexity; constants in seconds, for one kind of device.

    Args:
        per_mac: a, per multiply-add and image.
        per_act: b, per element of a convolution's output and image.
        per_block: c, per block and update.
        per_update: d, per update.
        per_picture: decoding time per streamed image with all workers; 0 for images in memory.
        batch_size: images per update.
        updates: updates of a training.
        evaluated: images evaluated in a training.
        relative_error: median of |predicted − measured| / measured over the timed networks, each predicted from the
            others; None if there are too few.
        device: name of the device.
    """

    __pydantic_config__ = STRICT

    per_mac: Seconds
    per_act: Seconds
    per_block: Seconds
    per_update: Seconds
    per_picture: Seconds
    batch_size: Annotated[int, Field(gt=0)]
    updates: Count
    evaluated: Count
    relative_error: float | None
    device: str

    def update_seconds(self, model: StudyModel) -> float:
        """Time of one update, s."""
        return max(self._computing(model), self.batch_size * self.per_picture)

    def training_seconds(self, model: StudyModel) -> float:
        """Time of a training with its evaluations, s."""
        image = max(FORWARD_SHARE * self._computing(model) / self.batch_size, self.per_picture)
        return self.updates * self.update_seconds(model) + self.evaluated * image

    def _computing(self, model: StudyModel) -> float:
        image = self.per_mac * model.macs + self.per_act * model.acts
        return self.batch_size * image + self.per_block * model.depth + self.per_update


@dataclass(frozen=True)
class _Measured:
    """Content of a file of constants, besides `measured_on`."""

    __pydantic_config__ = STRICT

    constants: TimePredictor


_MEASURED = TypeAdapter(_Measured)


def load_constants(folder: Path, measured_on: Mapping[str, Any]) -> TimePredictor | None:
    """The study's constants for a kind of device, None if there are none."""
    return _read(constants_file(folder, measured_on))


def load_any_constants(folder: Path) -> TimePredictor | None:
    """The study's constants for any device, None if there are none: enough to compare its trainings."""
    return next(filter(None, map(_read, sorted(folder.glob("*.json")))), None)


def constants_file(folder: Path, measured_on: Mapping[str, Any]) -> Path:
    """The file of the constants of a kind of device."""
    digest = hashlib.sha256(json.dumps(dict(measured_on), sort_keys=True).encode()).hexdigest()
    return folder / f"{digest[:16]}.json"


def _read(file: Path) -> TimePredictor | None:
    try:
        return parse_json(_MEASURED, read_regular(file)).constants
    except (OSError, ValueError):  # predictions are optional
        return None
