"""Predicted cost of a study, before its first model is trained: `designspace sweep … plan=only`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from designspace.population import duplicates_text
from designspace.study import StudyModel, StudyPaths, trainings
from sweeps.compose import Composed
from sweeps.config import DataConfig, DeviceConfig, Recipe
from sweeps.data import open_data
from sweeps.probe import measure_times
from sweeps.study.population import Drawn, draw
from sweeps.study.predict import TimePredictor, any_known
from sweeps.study.summary import duration
from sweeps.trainer.device import resolve_device


def predictor_for(config: dict[str, Any], models: Sequence[StudyModel], processes: int) -> tuple[TimePredictor, str]:
    """The constants that this study measured where it is trained, else those of this machine, measured now.

    Args:
        config: the study's config.
        models: models to be trained, at least one.
        processes: training processes that share a machine's cores.
    Returns:
        The predictor and the origin of its constants as text.
    Raises:
        ValueError: the device or the data are not available, or no network can be timed.
    """
    if (before := any_known(StudyPaths(Path(config["run"])).times)) is not None:
        return before, "measured by this study"
    recipe = Recipe.from_mapping(config["recipe"])
    splits = open_data(DataConfig.from_mapping(config["data"]), processes)
    device = resolve_device(DeviceConfig.from_mapping(config["device"]))
    with device.settings():
        measured = measure_times(models, recipe, splits, device)
    if measured is None:
        raise ValueError("no network of this study can be trained on this machine: not even a few updates fit")
    return measured, "predicted from the time of a few updates here"


def plan_lines(composed: Composed) -> list[str]:
    """Draw the study without writing anything and return its predicted cost as lines to print.

    Args:
        composed: the config and the number of workers.
    Raises:
        ValueError: a config value is not allowed, or a model does not fit the data.
    """
    config = composed.config
    drawn = draw(config)
    paths = StudyPaths(Path(config["run"]))
    models = trainings(drawn.models)
    left = [model for model in models if not paths.record(model.key).exists()]
    lines = [_space_line(label, drawn) for label in config["spaces"]]
    if done := len(models) - len(left):
        lines.append(f"{done} of them have a record in {config['run']}")
    if not left:
        return [*lines, "nothing is left to train"]
    processes = composed.processes()
    predictor, source = predictor_for(config, left, processes)
    seconds = [predictor.training_seconds(model) for model in left]
    at_once = processes * composed.workers
    total, longest = sum(seconds), max(seconds)
    off = "" if predictor.relative_error is None else f", typically {predictor.relative_error:.0%} off"
    return [
        *lines,
        f"one training: {duration(min(seconds))} to {duration(longest)} on {predictor.device} ({source}{off})",
        f"all {len(left)} trainings: {duration(total)} of one training process",
        f"with {at_once} processes ({composed.workers} x {processes}) of such a device each: "
        f"about {duration(max(longest, total / at_once))}; nothing was written",
    ]


def _space_line(label: str, drawn: Drawn) -> str:
    models = [model for model in drawn.models if model.space == label]
    macs = [model.macs for model in models]
    report = drawn.sampling[label]
    return (
        f"{label}: {len(trainings(models))} trainings, {min(macs) / 1e6:.3g} to {max(macs) / 1e6:.3g} million "
        f"multiply-adds; {duplicates_text(report['asked'], report['distinct'], report['duplicates'])}"
    )
