"""Train one network and return its record. No Hydra, and no files but an optional checkpoint."""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import nn

from designspace.counting import complexity
from designspace.network import build_network
from designspace.spec import ModelSpec
from designspace.study import Outcome, Record, now
from sweeps.config import DeviceConfig, Recipe
from sweeps.data import Splits, StreamedSplits
from sweeps.trainer.activations import measure_activations
from sweeps.trainer.checkpoint import IDENTITY, LONG_SECONDS, Checkpoint
from sweeps.trainer.device import Deadline, Device, empty_cache, peak_memory_bytes, reset_peak_memory, resolve_device
from sweeps.trainer.distributed import ALONE, World
from sweeps.trainer.images import ResidentLoader, at_resolution, cache_on_device, clear_cache
from sweeps.trainer.initial import InitialWeights
from sweeps.trainer.layout import faster_layout
from sweeps.trainer.mixing import find_policies
from sweeps.trainer.run import TrainingRun, TrainingStopped, convert_failures, error_percent
from sweeps.trainer.scores import measure_scores
from sweeps.trainer.stream import Stream

log = logging.getLogger(__name__)

OnEpoch = Callable[[Record], None]
ShouldStop = Callable[[Record], bool]
OnTrained = Callable[[nn.Module, Device], None]
DEFAULT_DEVICE = DeviceConfig()

PROBE_IMAGES = 256
"""Validation images of the probe, or all of a smaller split."""

SCORE_IMAGES = 64
"""Training images of the zero-cost scores, not augmented, the same for every network; or all of a smaller split."""

LOSS_TOLERANCE = 1e-3
"""Nats by which the loss of a collapsed network may be below the entropy of the labels: rounding and sampling."""


def new_record(spec: ModelSpec, splits: Splits | StreamedSplits, recipe: Recipe, seed: int) -> Record:
    """Return the record of a training run before it starts: identity and complexity."""
    counts = complexity(spec)
    return Record(
        spec_id=spec.spec_id,
        recipe_id=recipe.recipe_id,
        data_id=splits.data_id,
        seed=seed,
        status="ok",
        spec=spec.to_mapping(),
        macs=counts.macs,
        params=counts.params,
        acts=counts.acts,
        depth=spec.depth,
    )


def train_model(
    spec: ModelSpec, splits: Splits | StreamedSplits, recipe: Recipe, record: Record, **options: Any
) -> Record:
    """Train the network of a spec; see `train_network` for the options.

    Args:
        spec: the network. Images are resized to its resolution, unless the recipe has another.
        splits: training and validation images; the error is measured on the latter.
        recipe: the training recipe.
        record: identity of the run, see `new_record`.

    Raises:
        ValueError: spec, data, recipe, device, and checkpoint do not fit together.
    """
    check_fit(spec, splits)

    def build() -> nn.Module:
        return build_network(spec, zero_init_residual=recipe.zero_init_residual)

    return train_network(build, splits, recipe, record, resolution=spec.resolution, **options)


def train_network(
    build: Callable[[], nn.Module],
    splits: Splits | StreamedSplits,
    recipe: Recipe,
    record: Record,
    *,
    resolution: int | None = None,
    device_config: DeviceConfig = DEFAULT_DEVICE,
    deadline_seconds: float | None = None,
    checkpoint: Path | None = None,
    long_seconds: float = LONG_SECONDS,
    on_epoch: OnEpoch | None = None,
    should_stop: ShouldStop | None = None,
    on_trained: OnTrained | None = None,
    initial: InitialWeights | None = None,
    world: World = ALONE,
    probe: bool = False,
    scores: bool = False,
) -> Record:
    """Train a network and return its record. A failure of the model is a status, not an error.

    Divergence and deadline stop all processes of a `world`. Any other failure is a record in the process that fails,
    which must then exit to end the others.

    Args:
        build: makes the network, from torch's seeded global generator.
        splits: training and validation images; the error is measured on the latter.
        recipe: the training recipe.
        record: identity of the run. Weights, order, augmentation, and dropout have separate streams of its seed.
        resolution: size to which images are resized; None keeps theirs.
        device_config: where, and in which arithmetic.
        deadline_seconds: stop with status "timeout" after this training time, interruptions excluded.
        checkpoint: file to resume from, written after every epoch of a long run and never removed here.
        long_seconds: predicted training time from which checkpoints are written.
        on_epoch: called with the record so far after every epoch; its exceptions propagate.
        should_stop: called with the record so far before every epoch but the first; True ends the training with status
            "stopped". In a `world`, the first process decides.
        on_trained: called with the trained network and its device if the training succeeded; its exceptions propagate.
        initial: weights to start from instead of random ones.
        world: the processes that train this network together. All make the same call; the first writes the checkpoint.
        probe: add gradient norms, and activations of the trained network, to the record. Weights and error stay the
            same. A failure of the probe is a warning.
        scores: add zero-cost scores of the untrained network to the record, in the same way.

    Raises:
        ValueError: data, recipe, device, and checkpoint do not fit together.
    """
    with world.agree() as agreed:
        recipe.check_device(device_config)
        if recipe.uses_policy:
            find_policies()
        device = resolve_device(device_config, world)
        check_size(splits, recipe, world)
        weights = initial.sha256 if initial else None
        file = Checkpoint(checkpoint, arithmetic(device), long_seconds, weights) if checkpoint else None
        saved = file.load(record) if file else None
        record = saved[1] if saved else replace(record, started_at=now(), train_seconds=0.0)
        agreed |= arithmetic(device) | {name: getattr(record, name) for name in (*IDENTITY, "epochs_done")}
        agreed["weights"] = weights
    training = _Training(build, splits, recipe, record, resolution or splits.resolution, device, probe)
    deadline = Deadline(deadline_seconds, sum(seconds or 0.0 for seconds in record.epoch_seconds))
    reset_peak_memory(device)
    with device.settings(recipe.epochs * recipe.updates_per_epoch(len(splits.train_labels))):
        try:
            with convert_failures():
                training.open(saved[0] if saved else None, initial)
            if scores and not saved:
                training.measure_scores()
            while training.record.epochs_done < recipe.epochs:
                if should_stop is not None and training.record.epochs_done:
                    stops = world.is_first and should_stop(training.record)
                    if any(world.gather(stops)):
                        break
                with convert_failures():
                    training.train_epoch(deadline)
                if file and world.is_first and file.is_due(recipe.epochs, training.record):
                    file.save(training.state_dict(), training.record)
                if on_epoch is not None:
                    on_epoch(training.record)
            training.complete()
            if probe and training.record.status == "ok":
                training.probe_activations()
        except TrainingStopped as stopped:
            if stopped.__cause__ is not None:
                log.warning("Training failed: %s", stopped.message, exc_info=stopped.__cause__)
            training.fail(stopped)
        finally:
            training.close()
    if on_trained is not None and training.record.status == "ok":
        on_trained(training.network, training.device)
    return training.record


class _Training:
    """A training run and its record so far."""

    def __init__(
        self,
        build: Callable[[], nn.Module],
        splits: Splits | StreamedSplits,
        recipe: Recipe,
        record: Record,
        resolution: int,
        device: Device,
        probe: bool,
    ) -> None:
        self.record, self.device, self._probe = record, device, probe
        self._build, self._splits, self._recipe, self._resolution = build, splits, recipe, resolution
        self._run: TrainingRun | None = None
        self._data: ResidentLoader | Stream | None = None
        self._data_resolution = 0

    @property
    def network(self) -> nn.Module:
        assert self._run is not None
        return self._run.result

    def open(self, state: Any, initial: InitialWeights | None) -> None:
        """Choose the layout, load the data, and build the network or restore it from a checkpoint."""
        if state is not None:
            self.device = replace(self.device.in_layout(self.record.memory_format), compile=self.record.compiled)
        elif self.device.layout_is_auto:
            last = self._recipe.resolution_at(self._recipe.epochs - 1, self._resolution)
            self.device = faster_layout(self._build, self._splits, last, self._recipe, self.device)
        self.record = replace(self.record, **_environment(self.device))
        self._load_data()
        self._run = TrainingRun(self._build, self._recipe, self.record.seed, self.device, probe=self._probe)
        if state is None and initial is not None:
            initial.load_into(self._run.network)
        if state is not None:
            self._run.load_state_dict(state)
            self._run.stopwatch.seconds = self.record.train_seconds or 0.0

    def measure_scores(self) -> None:
        """Add the zero-cost scores of the untrained network to the record."""
        assert self._run is not None
        assert self._data is not None
        try:
            images, labels = self._data.train_sample(SCORE_IMAGES)
            self.record = replace(self.record, **measure_scores(self._run.network, images, labels))
        except Exception as error:
            log.warning("The zero-cost scores failed, so they are empty (%s: %s)", type(error).__name__, error)

    def train_epoch(self, deadline: Deadline) -> None:
        """Train and evaluate one epoch and add it to the record."""
        assert self._run is not None
        self._load_data()
        assert self._data is not None
        epoch = self._run.train_epoch(self._data, deadline)
        self._measure()
        peaks = self.device.world.gather(self.record.peak_memory_bytes)
        peak = max((peak for peak in peaks if peak is not None), default=None)
        curves: dict[str, Any] = {
            f"epoch_{name}": (*getattr(self.record, f"epoch_{name}"), value) for name, value in epoch._asdict().items()
        }
        self.record = replace(self.record, epochs_done=self._run.epochs_done, peak_memory_bytes=peak, **curves)
        if self._run.gradient_norms is not None:
            norms = self._run.gradient_norms.take()
            if self._run.epochs_done == 1:
                self.record = replace(self.record, part_gradient_norm_first=norms)
            if self._run.epochs_done == self._recipe.epochs:
                self.record = replace(self.record, part_gradient_norm_last=norms)

    def state_dict(self) -> dict[str, Any]:
        assert self._run is not None
        return self._run.state_dict()

    def complete(self) -> None:
        """Complete the record with the error of its last epoch, and the status "stopped" if further epochs remain."""
        self._finish()
        error, loss = self.record.epoch_validation_error_percent[-1], self.record.epoch_train_loss[-1]
        assert error is not None
        assert loss is not None
        collapsed = is_collapsed(error, loss, self._splits, self._recipe.label_smoothing)
        status: Outcome = "ok" if self.record.epochs_done == self._recipe.epochs else "stopped"
        self.record = replace(self.record, status=status, error_percent=error, collapsed=collapsed)

    def probe_activations(self) -> None:
        """Add the activations of the trained network to the record."""
        assert self._data is not None
        try:
            sample = self._data.validation_sample(PROBE_IMAGES, self._recipe.eval_batch_size)
            self.record = replace(self.record, **measure_activations(self.network, (x for x, _ in sample), self.device))
        except Exception as error:
            log.warning("The probe failed, so its fields are empty (%s: %s)", type(error).__name__, error)

    def fail(self, stopped: TrainingStopped) -> None:
        """Complete the record with the status and message of a failure, and free the network."""
        self._finish()
        self._run = None
        self.record = replace(self.record, status=cast(Outcome, stopped.status), message=stopped.message)

    def close(self) -> None:
        """End the processes that decode images; free the cached images if memory ran out."""
        self._close_data()
        if self.record.status == "out_of_memory":  # leave memory for the next model
            clear_cache()
            empty_cache()

    def _load_data(self) -> None:
        """Open the images at the resolution of the next epoch."""
        epoch = min(self.record.epochs_done, self._recipe.epochs - 1)
        resolution = self._recipe.resolution_at(epoch, self._resolution)
        if self._data is None or resolution != self._data_resolution:
            self._close_data()
            self._data = make_loader(at_resolution(self._splits, resolution), self.device, self._recipe)
            self._data_resolution = resolution

    def _close_data(self) -> None:
        if isinstance(self._data, Stream):
            self._data.close()
        self._data = None

    def _measure(self) -> None:
        """Update the counters of the record: updates, training time, and peak memory."""
        if (peak := peak_memory_bytes(self.device)) is not None:
            self.record = replace(self.record, peak_memory_bytes=max(self.record.peak_memory_bytes or 0, peak))
        if self._run is not None:
            self.record = replace(self.record, updates=self._run.updates, train_seconds=self._run.stopwatch.seconds)

    def _finish(self) -> None:
        self._measure()
        updates, seconds = self.record.updates, self.record.train_seconds
        speed = updates * self._recipe.batch_size / seconds if updates and seconds else None
        self.record = replace(self.record, images_per_second=speed, ended_at=now(), **_environment(self.device))


def arithmetic(device: Device) -> dict[str, Any]:
    """Return everything except spec, recipe, data, and seed that can change the bits of a result."""
    return {
        "device_name": device.name,
        "dtype": device.dtype_name,
        "memory_format": "auto" if device.layout_is_auto else device.memory_format_name,
        "threads": device.threads,
        "deterministic": device.deterministic,
        "processes": device.world.size,
        "torch_version": str(torch.__version__),
    }


def _environment(device: Device) -> dict[str, Any]:
    """Return the fields of a record that describe where the training runs."""
    return {
        "torch_version": str(torch.__version__),
        "device_name": device.name,
        "threads": device.threads,
        "dtype": device.dtype_name,
        "memory_format": device.memory_format_name,
        "compiled": device.compile,
        "host": socket.gethostname(),
    }


def is_collapsed(
    error_percent: float, loss: float, splits: Splits | StreamedSplits, label_smoothing: float = 0.0
) -> bool:
    """Whether a network is no better than a constant prediction, in both error and loss.

    Args:
        error_percent: validation error; two standard deviations below that of the most frequent class still count.
        loss: mean training loss of the last epoch, in nats. The best constant prediction has the entropy of the labels,
            ln(classes) if the classes are balanced.
        splits: labels and size of the validation split.
        label_smoothing: of the loss.
    """
    frequencies = np.bincount(splits.train_labels, minlength=splits.classes) / len(splits.train_labels)
    chance = 1 - frequencies.max()
    deviation = np.sqrt(chance * (1 - chance) / splits.validation_size)
    targets = (1 - label_smoothing) * frequencies + label_smoothing / splits.classes
    entropy = -np.sum(targets * np.log(targets, where=targets > 0, out=np.zeros_like(targets)))
    return bool(error_percent / 100 >= chance - 2 * deviation and loss >= entropy - LOSS_TOLERANCE)


def check_fit(spec: ModelSpec, splits: Splits | StreamedSplits) -> None:
    """Check that a spec has the channels and classes of the data; ValueError otherwise."""
    for field, value, required in (
        ("in_channels", spec.in_channels, splits.in_channels),
        ("head.classes", spec.head.classes, splits.classes),
    ):
        if value != required:
            raise ValueError(f"spec.{field} = {value}: must be {required} for this data set")


def check_size(splits: Splits | StreamedSplits, recipe: Recipe, world: World = ALONE) -> None:
    """Check that the training split fills a batch and that the processes can share it; ValueError otherwise."""
    images = len(splits.train_labels)
    if images < recipe.batch_size:
        raise ValueError(f"recipe.batch_size = {recipe.batch_size}: must be at most {images}, the training images")
    world.share(recipe.batch_size)


def make_loader(splits: Splits | StreamedSplits, device: Device, recipe: Recipe) -> ResidentLoader | Stream:
    """Return the source of the batches: images on the device, or a stream from disk."""
    if isinstance(splits, StreamedSplits):
        return Stream(splits, device)
    return cache_on_device(splits, device, recipe.crop_padding, recipe.padding_color)


def measure_error(
    network: nn.Module, splits: Splits | StreamedSplits, resolution: int, recipe: Recipe, device: Device
) -> float:
    """Return the top-1 error in percent of a network on the validation images, or on what replaces them."""
    with device.settings():
        data = make_loader(at_resolution(splits, resolution), device, recipe)
        return error_percent(network, lambda: data.validation_batches(recipe.eval_batch_size), device)
