"""Measuring the constants that predict training times once per kind of device, and limits on training times."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from designspace.atomic import create_file
from designspace.times import TimePredictor, constants_file, load_constants

BEGIN_AGAIN_SECONDS = 600.0
"""Wait before repeating a measurement that did not finish: a network too large may have killed the job."""

LEAST_LIMIT_SECONDS = 300.0
"""Shortest time limit that follows from a prediction."""


@dataclass(frozen=True)
class TimeLimit:
    """Time limit of a training: `seconds`, and `factor` times its predicted time; None: no limit."""

    seconds: float | None = None
    factor: float | None = None

    def of(self, predicted_seconds: float | None) -> float | None:
        """The limit in seconds for a predicted time, which may be None; None: no limit."""
        limits = [] if self.seconds is None else [self.seconds]
        if self.factor is not None and predicted_seconds is not None:
            limits.append(max(LEAST_LIMIT_SECONDS, self.factor * predicted_seconds))
        return min(limits, default=None)


NO_LIMIT = TimeLimit()


def start_measuring(folder: Path, measured_on: Mapping[str, Any]) -> bool:
    """Whether this process should measure the constants: not while another does, or soon after one died doing so.

    Raises:
        OSError: the disk is full or not writable.
    """
    folder.mkdir(exist_ok=True)
    mark = constants_file(folder, measured_on).with_suffix(".begun")
    try:
        age = time.time() - mark.stat().st_mtime
    except FileNotFoundError:
        return create_file(mark, "", durable=False)
    if age < BEGIN_AGAIN_SECONDS:
        return False
    mark.touch()
    return True


def save_constants(folder: Path, measured_on: Mapping[str, Any], predictor: TimePredictor) -> TimePredictor:
    """Write the constants of a kind of device unless another process already has; return those in the file.

    Args:
        folder: folder of the study's constants, which `start_measuring` creates.
        measured_on: device, arithmetic and number of processes, which they depend on.
    Raises:
        OSError: the disk is full or not writable.
    """
    content = {"measured_on": dict(measured_on), "constants": asdict(predictor)}
    create_file(constants_file(folder, measured_on), json.dumps(content, indent=1))
    return load_constants(folder, measured_on) or predictor
