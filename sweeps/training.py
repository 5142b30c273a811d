"""Trainers: what a training process opens once and then calls for every model.

The config key `trainer` names one by its import path. A trainer is opened once per process (data, device, recipe) and
returns a function that trains one model; tests and overhead measurements put others in this place.
"""

from __future__ import annotations

import importlib
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, Protocol

from sweeps.study import StudyModel, now


class TrainModel(Protocol):
    """Trains one model; returns the outcome, curve and environment fields of a Record by name."""

    def __call__(self, model: StudyModel, on_epoch: Callable[[int], None], checkpoint: Path) -> dict[str, Any]:
        """Train; call `on_epoch(epochs done)` after every epoch, and let out what it raises.

        A training may write to `checkpoint` after an epoch and go on from there in another process.
        """
        ...


OpenTrainer = Callable[[Mapping[str, Any], int], TrainModel]


def find_trainer(path: str) -> OpenTrainer:
    """Import a trainer by its path, like `sweeps.training.open_trainer`.

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


def open_trainer(config: Mapping[str, Any], slot: int) -> TrainModel:
    """Open the real trainer: the study's data, recipe and device.

    Args:
        config: the study's frozen config, with `checkpoint_seconds` of this start.
        slot: number of this process on its machine; with several GPUs it chooses one.
    """
    import torch

    from designspace.spec import ModelSpec
    from sweeps.checked import checked
    from sweeps.data import DataConfig, open_data
    from sweeps.device import device_from_config
    from sweeps.measure import keep_freed_memory
    from sweeps.recipe import recipe_from_config
    from sweeps.trainer import train_model

    keep_freed_memory()
    device = device_from_config(config["device"])
    if device.device != "cpu" and torch.cuda.is_available():
        torch.cuda.set_device(slot % torch.cuda.device_count())
    splits = open_data(checked(DataConfig, "data", config["data"]))
    recipe = recipe_from_config(config["recipe"])

    def train(model: StudyModel, on_epoch: Callable[[int], None], checkpoint: Path) -> dict[str, Any]:
        result = train_model(
            ModelSpec.from_mapping(model.spec),
            splits,
            recipe,
            seed=model.seed,
            device_config=device,
            on_epoch=lambda epoch: on_epoch(epoch.epoch + 1),
            deadline_seconds=config["deadline_seconds"],
            checkpoint=checkpoint,
            long_seconds=config["checkpoint_seconds"],
        )
        return {field.name: getattr(result, field.name) for field in fields(result)}

    return train


def open_empty_trainer(config: Mapping[str, Any], slot: int) -> TrainModel:
    """Open a trainer that trains nothing: for measuring what a sweep costs beyond training.

    The environment variable DESIGNSPACE_EMPTY_SECONDS makes each 'training' last that long.
    """
    seconds = float(os.environ.get("DESIGNSPACE_EMPTY_SECONDS", "0"))

    def train(model: StudyModel, on_epoch: Callable[[int], None], checkpoint: Path) -> dict[str, Any]:
        time.sleep(seconds)
        on_epoch(1)
        return {"status": "ok", "error_percent": model.macs % 1000 / 10, "epochs_done": 1, "started_at": now()}

    return train
