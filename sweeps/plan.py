"""What a study will cost, told before its first model is trained: `designspace sweep … plan=only`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sweeps.compose import Composed
from sweeps.data import data_from_config, open_data
from sweeps.probe import measure_times
from sweeps.study.population import Drawn, draw
from sweeps.study.predict import TimePredictor, any_known
from sweeps.study.study import StudyModel, StudyPaths
from sweeps.study.summary import duration
from sweeps.trainer.device import resolve_device
from sweeps.trainer.device_config import device_from_config
from sweeps.trainer.recipe import recipe_from_config


def predictor_for(config: dict[str, Any], models: Sequence[StudyModel], processes: int) -> tuple[TimePredictor, str]:
    """The constants this study has measured where it is trained, else those of this machine, measured now.

    Args:
        config: the study's config.
        models: what is to be trained, at least one.
        processes: how many will train on a machine and share its cores.
    Returns:
        The predictor, and in words where its constants come from.
    Raises:
        ValueError: the device or the data cannot be had, or no network can be timed.
    """
    if (before := any_known(StudyPaths(Path(config["run"])).times)) is not None:
        return before, "measured by this study"
    recipe = recipe_from_config(config["recipe"])
    splits = open_data(data_from_config(config["data"]), processes)
    device = resolve_device(device_from_config(config["device"]))
    with device.settings():
        measured = measure_times(models, recipe, splits, device)
    if measured is None:
        raise ValueError("no network of this study can be trained on this machine: not even a few updates fit")
    return measured, "predicted from the time of a few updates here"


def plan_lines(composed: Composed) -> list[str]:
    """Draw the study without writing anything, and return its cost as lines to print.

    Args:
        composed: the config, and how many workers are asked for.
    Raises:
        ValueError: a config value is not allowed, or a model does not fit the data.
    """
    config = composed.config
    drawn = draw(config)
    paths = StudyPaths(Path(config["run"]))
    models = {model.key: model for model in drawn.models}
    done = {key for key in models if paths.record(key).exists()}
    left = [model for key, model in models.items() if key not in done]
    lines = [_space_line(label, drawn) for label in config["spaces"]]
    if done:
        lines.append(f"{len(done)} of them have a record in {config['run']}")
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
    macs = sorted(model.macs for model in models)
    return f"{label}: {len(models)} trainings, {macs[0] / 1e6:.3g} to {macs[-1] / 1e6:.3g} million multiply-adds"
