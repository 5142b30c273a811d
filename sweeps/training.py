"""Trainers: what a training process opens once and then uses for every model.

The config key `trainer` names the function that opens one by its import path; tests and overhead measurements put
others in this place.
"""

from __future__ import annotations

import importlib
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from designspace.study import Record, StudyModel
from sweeps.study.predict import TimePredictor

log = logging.getLogger(__name__)

COMPILE_SECONDS = 50.0
"""What torch.compile takes for one network, at most (measured: 16 to 50 s)."""

COMPILE_PAYS = 20
"""How many times that a training must be predicted to last before it is compiled: it then gains a tenth at best."""


@dataclass(frozen=True)
class Task:
    """One model to be trained.

    Args:
        model: the model.
        on_epoch: to be called with the number of epochs done after each; what it raises must be let out.
        checkpoint: file to write after an epoch, and to go on from in another process.
        deadline_seconds: stop as "timeout" after this; None never.
        predicted_seconds: how long it will take; None is not known.
    """

    model: StudyModel
    on_epoch: Callable[[int], None]
    checkpoint: Path
    deadline_seconds: float | None = None
    predicted_seconds: float | None = None


@dataclass(frozen=True)
class Trainer:
    """What a process trains with.

    Args:
        train: trains one model and returns its record; the caller fills in what identifies the model in the study.
        measure_times: measures how long trainings of models like these take; None if that cannot be told.
        measured_on: what those times hang on; processes for which it is equal share them.
        identity: recipe_id and data_id of what it trains with; they must be the study's.
    """

    train: Callable[[Task], Record]
    measure_times: Callable[[Sequence[StudyModel]], TimePredictor | None] | None = None
    measured_on: Mapping[str, Any] = field(default_factory=dict)
    identity: Mapping[str, str] = field(default_factory=dict)


OpenTrainer = Callable[[Mapping[str, Any]], Trainer]


def find_trainer(path: str) -> OpenTrainer:
    """Import the function that opens a trainer by its path, like `sweeps.training.open_trainer`.

    Raises:
        ValueError: there is no such function.
    """
    module, _, name = path.rpartition(".")
    try:
        trainer = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(f"trainer='{path}' cannot be imported ({error}); allowed: package.module.function") from error
    opened: OpenTrainer = trainer
    return opened


def open_trainer(config: Mapping[str, Any]) -> Trainer:
    """Open the real trainer: the study's data, recipe and device, on the first GPU the process sees.

    Args:
        config: the study's frozen config, with `checkpoint_seconds` and `processes` of this start.
    Raises:
        ValueError: data, recipe and device are not to be had as the config says.
    """
    import torch

    from designspace.spec import ModelSpec
    from sweeps.config import DataConfig, DeviceConfig, Recipe
    from sweeps.data import open_data
    from sweeps.probe import measure_times
    from sweeps.resources import visible_gpus
    from sweeps.trainer.device import resolve_device
    from sweeps.trainer.trainer import arithmetic, new_record, train_model

    device_config = DeviceConfig.from_mapping(config["device"])
    if (gpus := visible_gpus(device_config.device)) and not torch.cuda.is_available():
        raise ValueError(
            f"device.device is {device_config.device!r} and there are GPUs ({', '.join(gpus)}), which PyTorch "
            f"{torch.__version__} cannot use; allowed: cpu, or a PyTorch that is built for them."
        )
    splits = open_data(DataConfig.from_mapping(config["data"]), config["processes"])
    recipe = Recipe.from_mapping(config["recipe"])
    device = resolve_device(device_config)

    def train(task: Task) -> Record:
        chosen = device_config
        if chosen.compile and not compile_pays(task.predicted_seconds):
            log.info("%s is trained without torch.compile: its training is short", task.model.key)
            chosen = chosen.model_copy(update={"compile": False})
        spec = ModelSpec.from_mapping(task.model.spec)
        record = train_model(
            spec,
            splits,
            recipe,
            new_record(spec, splits, recipe, task.model.seed),
            device_config=chosen,
            on_epoch=lambda record: task.on_epoch(record.epochs_done),
            deadline_seconds=task.deadline_seconds,
            checkpoint=task.checkpoint,
            long_seconds=config["checkpoint_seconds"],
        )
        if device.is_cuda:
            leave_clean(failed=record.status == "crashed")
        return record

    return Trainer(
        train,
        lambda models: measure_times(models, recipe, splits, device),
        arithmetic(device) | {"processes": config["processes"]},
        {"recipe_id": recipe.recipe_id, "data_id": splits.data_id},
    )


def leave_clean(failed: bool) -> None:
    """Give the GPU's memory back to the processes that share it, and notice a failure that has spoiled this one.

    Raises:
        RuntimeError: the CUDA context is lost (an illegal access, a device-side assertion), no fault of later models.
    """
    import torch

    from sweeps.trainer.device import empty_cache

    if failed:
        torch.cuda.synchronize()
        torch.zeros(1, device="cuda").add_(1).item()
    empty_cache()


def compile_pays(predicted_seconds: float | None) -> bool:
    """Whether a training is so long that torch.compile is no loss; one that cannot be predicted is not."""
    return predicted_seconds is not None and predicted_seconds > COMPILE_PAYS * COMPILE_SECONDS
