"""How long a training will take: a·macs + b·acts + c·depth + d, with constants measured on the device.

One update on a batch of B images is predicted as B·(a·macs + b·acts) + c·depth + d seconds: arithmetic, memory traffic,
and the overhead of each block and each update; never less than its pictures take to be decoded. `sweeps.worker.probe`
measures the constants. They lie in the study folder, one file for each kind of device, and order the queue, limit the
time of a training and tell what a study will cost.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, TypeAdapter

from designspace.atomic import create_file
from designspace.study import STRICT, Count, Seconds, StudyModel
from designspace.validated import parse_json, read_regular

FORWARD_SHARE = 1 / 3
"""An image in evaluation costs a third of one in training: forward, without the two products of backward."""

BEGIN_AGAIN_SECONDS = 600.0
"""Measuring that came to no end is tried again after this, not at once: a network too large may have killed the job."""

LEAST_LIMIT_SECONDS = 300.0
"""A limit that follows from a prediction is never shorter."""


@dataclass(frozen=True)
class TimePredictor:
    """Seconds of a study's trainings from their complexity; constants in seconds, for one kind of device.

    Args:
        per_mac: a, of each multiply-add of each image.
        per_act: b, of each element of a convolution's output.
        per_block: c, of each block in each update.
        per_update: d.
        per_picture: of decoding a picture that streams, all workers at it; 0 for resident images.
        batch_size: images of an update.
        updates: of a whole training.
        evaluated: images evaluated in a whole training.
        relative_error: median over the networks timed of |predicted − measured| / measured, each predicted from the
            others; None where these are too few.
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
        """Seconds of one update."""
        return max(self._computing(model), self.batch_size * self.per_picture)

    def training_seconds(self, model: StudyModel) -> float:
        """Seconds of a whole training with its evaluations."""
        image = max(FORWARD_SHARE * self._computing(model) / self.batch_size, self.per_picture)
        return self.updates * self.update_seconds(model) + self.evaluated * image

    def _computing(self, model: StudyModel) -> float:
        image = self.per_mac * model.macs + self.per_act * model.acts
        return self.batch_size * image + self.per_block * model.depth + self.per_update


@dataclass(frozen=True)
class _Measured:
    """A file of constants; it also has `measured_on`."""

    __pydantic_config__ = STRICT

    constants: TimePredictor


_MEASURED = TypeAdapter(_Measured)


@dataclass(frozen=True)
class TimeLimit:
    """How long a training may take: `seconds`, and `factor` times its prediction; None does not limit."""

    seconds: float | None = None
    factor: float | None = None

    def of(self, predicted_seconds: float | None) -> float | None:
        """The limit in seconds of a training whose time is predicted, or is not (None)."""
        limits = [] if self.seconds is None else [self.seconds]
        if self.factor is not None and predicted_seconds is not None:
            limits.append(max(LEAST_LIMIT_SECONDS, self.factor * predicted_seconds))
        return min(limits, default=None)


NO_LIMIT = TimeLimit()


def begin(folder: Path, measured_on: Mapping[str, Any]) -> bool:
    """Whether this process is to measure the constants: not while another does, nor soon after one died of it.

    Raises:
        OSError: the disk is full or not writable.
    """
    folder.mkdir(exist_ok=True)
    mark = _file(folder, measured_on).with_suffix(".begun")
    try:
        age = time.time() - mark.stat().st_mtime
    except FileNotFoundError:
        return create_file(mark, "", durable=False)
    if age < BEGIN_AGAIN_SECONDS:
        return False
    mark.touch()
    return True


def keep(folder: Path, measured_on: Mapping[str, Any], predictor: TimePredictor) -> TimePredictor:
    """Write the constants of a kind of device, unless another process was quicker; return those that stay.

    Args:
        folder: of the study's constants, as `begin` has made it.
        measured_on: what they hang on (device, arithmetic, processes that share it).
    Raises:
        OSError: the disk is full or not writable.
    """
    content = {"measured_on": dict(measured_on), "constants": asdict(predictor)}
    create_file(_file(folder, measured_on), json.dumps(content, indent=1))
    return known(folder, measured_on) or predictor


def known(folder: Path, measured_on: Mapping[str, Any]) -> TimePredictor | None:
    """The constants of a kind of device, if the study has them."""
    return _read(_file(folder, measured_on))


def any_known(folder: Path) -> TimePredictor | None:
    """The constants of some device of the study, None before there are any: enough to compare its trainings."""
    return next(filter(None, map(_read, sorted(folder.glob("*.json")))), None)


def _file(folder: Path, measured_on: Mapping[str, Any]) -> Path:
    digest = hashlib.sha256(json.dumps(dict(measured_on), sort_keys=True).encode()).hexdigest()
    return folder / f"{digest[:16]}.json"


def _read(file: Path) -> TimePredictor | None:
    try:
        return parse_json(_MEASURED, read_regular(file)).constants
    except (OSError, ValueError):  # a prediction is a help: without it the work goes on
        return None
