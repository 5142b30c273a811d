"""The interface between a worker and what trains: a task, a trainer, and the built-in trainer.

The config key `trainer` names a function (MODULE:FUNCTION) that opens a trainer once per training process.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from designspace.packages import import_attribute
from designspace.study import Record, StudyModel
from designspace.times import TimePredictor
from sweeps.config import DEFAULT_TRAINER, TrainingConfig

log = logging.getLogger(__name__)

COMPILE_SECONDS = 50.0
"""Longest time that torch.compile takes for one network (measured: 16 to 50 s)."""

COMPILE_PAYS = 20
"""Trainings predicted to take this many times COMPILE_SECONDS are compiled; the gain is at most a tenth."""


class OnEpoch(Protocol):
    """Receives the number of epochs done and, if known, the validation error after each, in percent."""

    def __call__(self, epochs_done: int, errors: Sequence[float] = ()) -> None: ...


@dataclass(frozen=True)
class Task:
    """One model to train.

    Args:
        model: the model. Its parameters include learning_rate and weight_decay if its space draws them; these replace
            the study's.
        on_epoch: called after each epoch; its exceptions must propagate.
        checkpoint: file to write after an epoch, and to resume from in another process.
        should_stop: called before every epoch but the first, also by a resumed training, with the validation error
            after each epoch so far, in percent; True ends the training with status "stopped".
        deadline_seconds: time after which the training ends as "timeout"; None: no limit.
        predicted_seconds: predicted time; None if unknown.
    """

    model: StudyModel
    on_epoch: OnEpoch
    checkpoint: Path
    should_stop: Callable[[Sequence[float | None]], bool] = lambda errors: False
    deadline_seconds: float | None = None
    predicted_seconds: float | None = None


@dataclass(frozen=True)
class Trainer:
    """A trainer, opened once per training process.

    Args:
        train: trains one model and returns its record; the worker adds the fields that identify the model in the study.
        measure_times: measures how long trainings of these models take; returns None if it cannot.
        measured_on: device and arithmetic that the times depend on; processes with equal values share them.
        identity: recipe_id and data_id of the trainings; must equal the study's.
    """

    train: Callable[[Task], Record]
    measure_times: Callable[[Sequence[StudyModel]], TimePredictor | None] | None = None
    measured_on: Mapping[str, Any] = field(default_factory=dict)
    identity: Mapping[str, str] = field(default_factory=dict)


OpenTrainer = Callable[[Mapping[str, Any]], Trainer]


def find_trainer(path: str | None) -> OpenTrainer:
    """Import the function that opens a trainer.

    Args:
        path: MODULE:FUNCTION, or with a dot as in earlier versions; None is the built-in trainer.
    Raises:
        ValueError: there is no such function.
    """
    if path in (None, DEFAULT_TRAINER):
        return open_trainer
    opened: OpenTrainer = import_attribute("trainer", path if ":" in path else ":".join(path.rsplit(".", 1)))
    return opened


def open_trainer(config: Mapping[str, Any]) -> Trainer:
    """Open the built-in trainer: the study's data, recipe and device, on the first visible GPU.

    Args:
        config: the study's frozen config, with the current `checkpoint_seconds`, `probe`, `scores` and
            `processes`.
    Raises:
        ValueError: the data, the recipe or the device is not available as configured.
    """
    import torch

    from designspace.spec import ModelSpec
    from sweeps.data import open_data
    from sweeps.resources import visible_gpus
    from sweeps.trainer.device import resolve_device
    from sweeps.trainer.mixing import find_policies
    from sweeps.trainer.trainer import arithmetic, new_record, train_model
    from sweeps.worker.probe import measure_times

    study = TrainingConfig.of_study(config)
    device_config, recipe = study.device, study.recipe
    if (gpus := visible_gpus(device_config.device)) and not torch.cuda.is_available():
        raise ValueError(
            f"device.device = {device_config.device}: must be cpu, because PyTorch {torch.__version__} cannot use the "
            f"GPUs ({', '.join(gpus)}); or install a PyTorch that is built for them"
        )
    if recipe.uses_policy:
        find_policies()
    splits = open_data(study.data, config["processes"])
    device = resolve_device(device_config)
    try:
        torch.zeros(1, device=device.torch_device)  # creates the CUDA context
    except RuntimeError as error:
        reason = str(error).partition("\n")[0]
        raise ValueError(
            f"device.device = {device_config.device}: must be cpu or a GPU that accepts another process ({reason})"
        ) from error

    def train(task: Task) -> Record:
        chosen = device_config
        if chosen.compile and not compile_pays(task.predicted_seconds):
            log.info("%s: trained without torch.compile, because its training is short", task.model.key)
            chosen = chosen.model_copy(update={"compile": False})
        spec, own_recipe = ModelSpec.from_mapping(task.model.spec), recipe.with_rates(task.model.parameters)
        record = train_model(
            spec,
            splits,
            own_recipe,
            new_record(spec, splits, own_recipe, task.model.seed),
            device_config=chosen,
            on_epoch=lambda record: task.on_epoch(record.epochs_done, record.epoch_validation_error_percent),
            should_stop=lambda record: task.should_stop(record.epoch_validation_error_percent),
            deadline_seconds=task.deadline_seconds,
            checkpoint=task.checkpoint,
            long_seconds=config["checkpoint_seconds"],
            probe=config.get("probe", False),
            scores=config.get("scores", False),
        )
        if device.is_cuda:
            leave_clean()
        return record

    return Trainer(
        train,
        lambda models: measure_times(models, recipe, splits, device),
        arithmetic(device) | {"processes": config["processes"]},
        {"recipe_id": recipe.recipe_id, "data_id": splits.data_id},
    )


class ContextLost(RuntimeError):
    """The CUDA context of the process is unusable after an illegal access, a failed device-side assertion, or similar.

    Under NVIDIA's MPS, such a fault in one process ends the contexts of all processes on the GPU.
    """


def leave_clean() -> None:
    """Release cached GPU memory for the processes that share it; ContextLost if later models would fail."""
    import torch

    from sweeps.trainer.device import empty_cache

    try:
        torch.cuda.synchronize()
        empty_cache()
    except RuntimeError as error:
        raise ContextLost(str(error)) from error


def compile_pays(predicted_seconds: float | None) -> bool:
    """Whether a training is long enough for torch.compile; False without a prediction."""
    return predicted_seconds is not None and predicted_seconds > COMPILE_PAYS * COMPILE_SECONDS
