"""One model in, one result out: the low-epoch training loop. No Hydra, and no files but an optional checkpoint."""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from designspace.network import build_network
from designspace.spec import ModelSpec
from designspace.study import now
from sweeps.config import DeviceConfig, Recipe
from sweeps.data import Splits, StreamedSplits
from sweeps.trainer.checkpoint import LONG_SECONDS, Checkpoint, Progress
from sweeps.trainer.device import Device, resolve_device
from sweeps.trainer.distributed import ALONE, World
from sweeps.trainer.images import ResidentSplits, at_resolution, forget, resident
from sweeps.trainer.layout import faster_layout
from sweeps.trainer.measure import Deadline, give_memory_back, peak_memory_bytes, reset_peak_memory
from sweeps.trainer.result import EpochResult, TrainingResult, TrainingStopped, failures_told
from sweeps.trainer.run import TrainingRun
from sweeps.trainer.stream import Stream

log = logging.getLogger(__name__)

OnEpoch = Callable[[EpochResult], None]
DEFAULT_DEVICE = DeviceConfig()


def train_model(
    spec: ModelSpec,
    splits: Splits | StreamedSplits,
    recipe: Recipe,
    *,
    seed: int,
    device_config: DeviceConfig = DEFAULT_DEVICE,
    on_epoch: OnEpoch | None = None,
    deadline_seconds: float | None = None,
    checkpoint: Path | None = None,
    long_seconds: float = LONG_SECONDS,
) -> TrainingResult:
    """Train the network of a spec and return what came of it; a model's failure is a result, not an exception.

    Args:
        spec: the network; its channels and classes must be the data's; images of another resolution are resized.
        splits: training and validation images; the error is measured on the latter.
        recipe: how to train.
        seed: of initialisation, data order, augmentation and dropout, each in its own stream.
        device_config: where, and in which arithmetic.
        on_epoch: called after every epoch; what it raises passes through.
        deadline_seconds: stop as "timeout" when the whole training takes longer, interruptions not counted.
        checkpoint: file to go on from, and to write after every epoch of a long training; the caller removes it.
        long_seconds: predicted length of training from which checkpoints are written.

    Raises:
        ValueError: before training, if spec, data, recipe, device and checkpoint do not fit together.
    """
    check_fit(spec, splits)

    def build() -> nn.Module:
        return build_network(spec, zero_init_residual=recipe.zero_init_residual)

    place = None
    if checkpoint is not None:
        identity = training_identity(spec, recipe, splits, seed)
        place = Checkpoint(checkpoint, identity, arithmetic(resolve_device(device_config)), long_seconds)
    return train_network(
        build,
        splits,
        recipe,
        seed=seed,
        resolution=spec.resolution,
        device_config=device_config,
        on_epoch=on_epoch,
        deadline_seconds=deadline_seconds,
        checkpoint=place,
    )


def train_network(
    build: Callable[[], nn.Module],
    splits: Splits | StreamedSplits,
    recipe: Recipe,
    *,
    seed: int,
    resolution: int | None = None,
    device_config: DeviceConfig = DEFAULT_DEVICE,
    on_epoch: OnEpoch | None = None,
    deadline_seconds: float | None = None,
    checkpoint: Checkpoint | None = None,
    world: World = ALONE,
) -> TrainingResult:
    """Train whatever module `build` makes (from torch's seeded global generator); otherwise as `train_model`.

    Images are resized to `resolution`; None leaves them. Of the processes of a `world`, which all call this alike, the
    first writes the checkpoint. Divergence and deadline end all of them; any other failure is a result in the process
    that fails, which must then end to end the others.
    """
    with world.together() as agreed:
        device = resolve_device(device_config, world)
        check_size(splits, recipe, world)
        before = checkpoint.load() if checkpoint else None
        epochs = list(before.epochs) if before else []
        agreed |= arithmetic(device) | {"the number of epochs done before": len(epochs)}
        agreed |= checkpoint.identity if checkpoint else {}
    resolution = resolution or splits.resolution
    started_at = before.started_at if before else now()
    deadline = Deadline(deadline_seconds, before.seconds if before else 0.0)
    reset_peak_memory(device)
    peak_bytes = before.peak_memory_bytes if before else 0
    updates_per_epoch = recipe.updates_per_epoch(len(splits.train_labels))
    updates, seconds = len(epochs) * updates_per_epoch, before.train_seconds if before else 0.0
    run: TrainingRun | None = None
    data: ResidentSplits | Stream | None = None
    status, message = "ok", ""
    with device.settings(updates=recipe.epochs * updates_per_epoch):
        try:
            with failures_told():
                if before:
                    device = replace(device.in_layout(before.memory_format), compile=before.compiled)
                elif device.layout_is_open:
                    device = faster_layout(build, splits, resolution, recipe, device)
                    reset_peak_memory(device)  # both layouts were tried, which is no part of the training
                data = placed(at_resolution(splits, resolution), device, recipe)
                run = TrainingRun(build, recipe, seed, device)
                if before:
                    run.load_state_dict(before.state)
                    run.training.seconds = seconds
            while len(epochs) < recipe.epochs:
                with failures_told():
                    epochs.append(run.train_epoch(data, deadline))
                    peak_bytes = max(peak_bytes, *world.gathered(peak_memory_bytes(device)))
                if checkpoint and world.is_first and checkpoint.is_due(recipe.epochs, epochs):
                    checkpoint.save(
                        Progress(
                            run.state_dict(),
                            device.memory_format_name,
                            device.compile,
                            tuple(epochs),
                            started_at,
                            run.training.seconds,
                            peak_bytes,
                        )
                    )
                if on_epoch is not None:
                    on_epoch(epochs[-1])
        except TrainingStopped as stopped:
            status, message = stopped.status, stopped.message
            if stopped.__cause__ is not None:
                log.warning("Training failed: %s", message, exc_info=stopped.__cause__)
        finally:
            if isinstance(data, Stream):
                data.close()
        peak_bytes = max(peak_bytes, peak_memory_bytes(device))
    if run is not None:
        updates, seconds = max(updates, run.updates), max(seconds, run.training.seconds)
    run = data = None
    if status == "out_of_memory":  # let the next model find the memory this one could not have
        forget()
        give_memory_back()
    return TrainingResult(
        status=status,
        message=message,
        error_percent=epochs[-1].validation_error_percent if status == "ok" else None,
        epochs_done=len(epochs),
        updates=updates,
        train_seconds=seconds,
        images_per_second=updates * recipe.batch_size / seconds if updates and seconds else None,
        peak_memory_bytes=peak_bytes,
        epoch_train_loss=tuple(epoch.train_loss for epoch in epochs),
        epoch_train_error_percent=tuple(epoch.train_error_percent for epoch in epochs),
        epoch_validation_error_percent=tuple(epoch.validation_error_percent for epoch in epochs),
        epoch_learning_rate=tuple(epoch.learning_rate for epoch in epochs),
        epoch_seconds=tuple(epoch.seconds for epoch in epochs),
        torch_version=torch.__version__,
        device_name=device.name,
        threads=device.threads,
        dtype=device.dtype_name,
        memory_format=device.memory_format_name,
        compiled=device.compile,
        host=socket.gethostname(),
        started_at=started_at,
        ended_at=now(),
    )


def training_identity(
    spec: ModelSpec, recipe: Recipe, splits: Splits | StreamedSplits, seed: int
) -> dict[str, str | int]:
    """What is trained, on what, how and from which seed: the names of a record's key."""
    return {"spec_id": spec.spec_id, "recipe_id": recipe.recipe_id, "data_id": splits.data_id, "seed": seed}


def arithmetic(device: Device) -> dict[str, Any]:
    """What the bits of a result hang on besides spec, recipe, data and seed; what a checkpoint decides is left out."""
    return {
        "device_name": device.name,
        "dtype": device.dtype_name,
        "memory_format": "auto" if device.layout_is_open else device.memory_format_name,
        "threads": device.threads,
        "deterministic": device.deterministic,
        "processes": device.world.size,
        "torch_version": str(torch.__version__),
    }


def check_fit(spec: ModelSpec, splits: Splits | StreamedSplits) -> None:
    """ValueError, naming both sides, unless the spec takes the data's images and has an output for each class."""
    for field, of_spec, of_data in (
        ("in_channels", spec.in_channels, splits.in_channels),
        ("head.classes", spec.head.classes, splits.classes),
    ):
        if of_spec != of_data:
            raise ValueError(f"{field} of the spec is {of_spec}; the data set needs {of_data}.")


def check_size(splits: Splits | StreamedSplits, recipe: Recipe, world: World = ALONE) -> None:
    """ValueError unless the training split fills one batch, and the processes can share it."""
    images = len(splits.train_labels)
    if images < recipe.batch_size:
        raise ValueError(f"recipe.batch_size is {recipe.batch_size}; the training split has only {images} images.")
    world.share(recipe.batch_size)


def placed(splits: Splits | StreamedSplits, device: Device, recipe: Recipe) -> ResidentSplits | Stream:
    """The images where a training takes its batches from."""
    if isinstance(splits, StreamedSplits):
        return Stream(splits, device)
    return resident(splits, device, recipe.crop_padding)
