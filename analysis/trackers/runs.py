"""One training of a study as trackers store it: settings, curves, results, tags."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import accumulate
from pathlib import Path
from typing import Any

from designspace.spaces import RATES
from designspace.study import CURVES, STOPPED, Record, Study, StudyModel

Scalar = bool | int | float | str

METRICS = {
    "epoch_train_loss": "train/loss",
    "epoch_train_error_percent": "train/error_percent",
    "epoch_validation_error_percent": "validation/error_percent",
    "epoch_learning_rate": "train/learning_rate",
    "epoch_seconds": "time/epoch_seconds",
    "epoch_cpu_seconds": "time/epoch_cpu_seconds",
}
"""Metric of each curve of a record; trackers group metrics by the part before the slash."""

RESULTS = ("error_percent", "epochs_done", "train_seconds", "images_per_second", "peak_memory_bytes")
"""Fields of a record with one value per training."""

TAGS = ("spec_id", "recipe_id", "data_id", "message", "host", "device_name", "dtype", "torch_version")
"""Fields of a record that identify the training and describe where it ran."""


@dataclass(frozen=True)
class TrackedRun:
    """One training as trackers store it.

    Attributes:
        study: the group of the run; see `study_name`.
        run_id: hash of the study and the key of the record, 16 hex digits; the same on every call.
        name: space and index, like "regnetx-12", and the training seed unless it is 0.
        spaces: labels of the design spaces; several if they share the training.
        status: of the record.
        settings: space, seed, parameters as drawn, and the fields of recipe and data ("recipe.epochs"). Values per
            stage have one entry each ("width_1"). Drawn rates replace those of the recipe.
        complexity: macs, params, acts, depth.
        curves: metric to its values from epoch 1 on; None where a value is missing.
        results: metric to its value at the end of the training.
        tags: other fields of the record, as text.
        times: Unix time of the start and of the end of each epoch, s; counted from 0 in records without times.
        ended: Unix time of the end, s. It tells apart two trainings of the same model, such as after `retry`.
    """

    study: str
    run_id: str
    name: str
    spaces: tuple[str, ...]
    status: str
    settings: Mapping[str, Scalar]
    complexity: Mapping[str, int]
    curves: Mapping[str, tuple[float | None, ...]]
    results: Mapping[str, float]
    tags: Mapping[str, str]
    times: tuple[float, ...]
    ended: int

    @property
    def space(self) -> str:
        """The labels of the design spaces as text."""
        return ", ".join(self.spaces)

    @property
    def failed(self) -> bool:
        """Whether the training failed."""
        return self.status not in ("ok", STOPPED)

    @property
    def last_epoch(self) -> int:
        """The epoch of the results; 0 if none was finished."""
        return len(self.times) - 1

    def epochs(self) -> Iterator[tuple[int, float, dict[str, float]]]:
        """Yield each finished epoch, counted from 1, with its Unix time and the values of the curves."""
        for epoch, time in enumerate(self.times[1:], start=1):
            values = {name: curve[epoch - 1] for name, curve in self.curves.items() if epoch <= len(curve)}
            yield epoch, time, {name: value for name, value in values.items() if value is not None}


def study_name(root: Path) -> str:
    """The name of a study in trackers: the last two parts of its path, like "runs/demo"."""
    return "/".join(root.resolve().parts[1:][-2:])


def tracked_run(study: Study, model: StudyModel, record: Record, spaces: Iterable[str]) -> TrackedRun:
    """Convert a record.

    Args:
        study: the study.
        model: the first model with the key of the record.
        record: the record.
        spaces: labels of all spaces that share the training.
    """
    name, spaces = study_name(study.paths.root), tuple(spaces)
    drawn, data = model.parameters, study.config.get("data") or {}
    recipe = (study.config.get("recipe") or {}) | {rate: drawn[rate] for rate in RATES if rate in drawn}
    parameters = {key: value for key, value in drawn.items() if key not in (*RATES, "depth") or _per_stage(value)}
    curves = {METRICS[field]: curve for field in CURVES if (curve := getattr(record, field))}
    results = {field: value for field in RESULTS if (value := getattr(record, field)) is not None}
    tags = {field: str(value) for field in TAGS if (value := getattr(record, field))}
    started, ended = _unix(record.started_at), _unix(record.ended_at)
    seconds = [value or 0.0 for value in record.epoch_seconds]
    seconds += [0.0] * (max(map(len, curves.values()), default=0) - len(seconds))
    return TrackedRun(
        study=name,
        run_id=hashlib.sha256(f"{name}\n{model.key}".encode()).hexdigest()[:16],
        name=f"{model.space}-{model.index}" + (f"-s{model.seed}" if model.seed else ""),
        spaces=spaces,
        status=record.status,
        settings=dict(
            _flat({"space": ", ".join(spaces), "seed": model.seed, **parameters, "recipe": recipe, "data": data})
        ),
        complexity={"macs": model.macs, "params": model.params, "acts": model.acts, "depth": model.depth},
        curves=curves,
        results=results,
        tags={"index": str(model.index)} | tags,
        times=tuple(accumulate(seconds, initial=started)),
        ended=int(ended or started + sum(seconds)),
    )


def _per_stage(value: Any) -> bool:
    return isinstance(value, list | tuple)


def _unix(time: str) -> float:
    return datetime.fromisoformat(time).timestamp() if time else 0.0


def _flat(mapping: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Scalar]]:
    """Nested keys joined by dots, items of lists with their number; None is left out."""
    for name, value in mapping.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        elif _per_stage(value):
            yield from _flat({f"{name}_{number}": item for number, item in enumerate(value, start=1)}, prefix)
        elif isinstance(value, Scalar):
            yield prefix + name, value
        elif value is not None:
            yield prefix + name, json.dumps(value)
