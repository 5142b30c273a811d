"""What a study will cost, told before its first model is trained: `designspace sweep … plan=only`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from designspace.spec import ModelSpec
from sweeps.checked import checked
from sweeps.compose import Composed
from sweeps.data import DataConfig, load_data
from sweeps.device import device_from_config, resolve_device
from sweeps.environment import automatic_processes
from sweeps.population import Drawn, draw
from sweeps.predict import calibrate_time
from sweeps.recipe import recipe_from_config
from sweeps.study import StudyModel, StudyPaths
from sweeps.summary import duration

PROBED_FROM = 200
"""Networks of which the ones to be timed are chosen."""


@dataclass(frozen=True)
class Forecast:
    """Predicted seconds of each training, on which device, and the predictor's median relative error."""

    seconds: tuple[float, ...]
    device: str
    relative_error: float


def forecast(config: dict[str, Any], models: Sequence[StudyModel]) -> Forecast:
    """Time a few updates of some of the networks on this machine, and predict all trainings from that.

    Args:
        config: the study's config.
        models: what is to be trained, at least one.
    """
    recipe = recipe_from_config(config["recipe"])
    splits = load_data(checked(DataConfig, "data", config["data"]))
    device = resolve_device(device_from_config(config["device"]))
    some = models[:: math.ceil(len(models) / PROBED_FROM)]
    with device.settings():
        predictor = calibrate_time([ModelSpec.from_mapping(model.spec) for model in some], recipe, device)
    images, validation = len(splits.train_labels), len(splits.validation_labels)
    seconds = tuple(
        predictor.training_seconds(
            recipe, model.macs, model.acts, model.depth, images=images, validation_images=validation
        )
        for model in models
    )
    return Forecast(seconds, device.name, predictor.relative_error)


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
    done = [key for key in models if paths.record(key).exists()]
    left = [model for key, model in models.items() if key not in set(done)]
    lines = [_space_line(label, drawn) for label in config["spaces"]]
    if done:
        lines.append(f"{len(done)} of them have a record in {config['run']}")
    if not left:
        return [*lines, "nothing is left to train"]
    told = forecast(config, left)
    processes = config["processes"]
    if processes == "auto" and not composed.here:
        processes = config["processes_per_device"]  # elsewhere a worker gets a device
    elif processes == "auto":
        processes = automatic_processes(config["device"]["threads"], config["processes_per_device"])
        processes = max(1, processes // composed.here) if composed.here > 1 else processes
    at_once = processes * composed.workers
    total, longest = sum(told.seconds), max(told.seconds)
    return [
        *lines,
        f"one training: {duration(min(told.seconds))} to {duration(longest)} on {told.device} "
        f"(predicted from the time of a few updates here, typically {told.relative_error:.0%} off)",
        f"all {len(left)} trainings: {duration(total)} of one training process",
        f"with {at_once} processes ({composed.workers} x {processes}) of such a device each: "
        f"about {duration(max(longest, total / at_once))}; nothing was written",
    ]


def _space_line(label: str, drawn: Drawn) -> str:
    models = [model for model in drawn.models if model.space == label]
    macs = sorted(model.macs for model in models)
    return f"{label}: {len(models)} trainings, {macs[0] / 1e6:.3g} to {macs[-1] / 1e6:.3g} million multiply-adds"
