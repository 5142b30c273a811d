"""A training run: network, optimizer, and epochs, each followed by an evaluation."""

from __future__ import annotations

import copy
import functools
import math
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, NamedTuple, Protocol, cast

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from sweeps.config import Recipe
from sweeps.data import ImageError
from sweeps.trainer.device import Deadline, Device, Stopwatch, merge_narrow_groups, reset_peak_memory
from sweeps.trainer.gradients import GradientNorms
from sweeps.trainer.graph import GraphedUpdates
from sweeps.trainer.images import ResidentLoader, derive_seed
from sweeps.trainer.mixing import Mixing, Policy, augmented, draw_mixing

UPDATES_BETWEEN_CHECKS = 50
"""Updates between tests for a finite loss, each of which waits for the GPU."""

Batches = Iterable[tuple[Tensor, Tensor]]
"""Images (B, C, H, W), float32, and labels (B,), int64, on the device."""


class Loader(Protocol):
    """Source of this process's share of every batch; see `sweeps.trainer.images` and `sweeps.trainer.stream`."""

    @property
    def train_size(self) -> int:
        """Number of training images, over all processes."""

    @property
    def normalization(self) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of the pixels in 0 … 1, each (C, 1, 1) on the device."""

    def epoch(self, recipe: Recipe, seed: int, epoch: int) -> Batches:
        """Augmented training batches of an epoch."""

    def train_sample(self, count: int) -> tuple[Tensor, Tensor]:
        """Up to `count` evenly spaced training images and their labels, not augmented, the same in every process."""

    def validation_batches(self, batch_size: int) -> Batches:
        """Validation images, in order."""

    def validation_sample(self, count: int, batch_size: int) -> Batches:
        """Up to `count` evenly spaced validation images, the same in every process."""


class Epoch(NamedTuple):
    """One epoch, in the names of the record's curves: loss in nats, errors in percent, times with evaluation."""

    train_loss: float
    train_error_percent: float
    validation_error_percent: float
    learning_rate: float
    seconds: float
    cpu_seconds: float


class TrainingStopped(Exception):
    """A training run that ended without a result, with the status and message of its record."""

    def __init__(self, status: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


class TrainingRun:
    """The state of one run. `train_epoch` advances it by an epoch; `state_dict` has everything the next epoch needs.

    When several processes train one network, each has its own run with the same weights and makes the same calls.
    With `probe`, `gradient_norms` accumulates the gradients of every update.
    """

    def __init__(
        self, build: Callable[[], nn.Module], recipe: Recipe, seed: int, device: Device, *, probe: bool = False
    ) -> None:
        torch.manual_seed(derive_seed(seed, 0, "initialisation"))
        network = build()  # on the CPU, so that a seed gives the same weights on every device
        self.network = network.to(device=device.torch_device, memory_format=device.memory_format)  # type: ignore[call-overload]
        merge_narrow_groups(self.network, device)
        self.optimizer = _optimizer(self.network, recipe)
        self.scaler = torch.amp.GradScaler(device.torch_device.type, enabled=device.dtype == torch.float16)
        self.epochs_done = 0
        self.updates = 0
        self.stopwatch = Stopwatch(device)
        self.gradient_norms = GradientNorms(self.network) if probe else None
        self._has_updated = False
        self._averaged: AveragedModel | None = None
        if recipe.ema_decay is not None:
            average = get_ema_multi_avg_fn(recipe.ema_decay)
            self._averaged = AveragedModel(self.network, multi_avg_fn=average, use_buffers=True)
        self._policy = Policy(recipe) if recipe.uses_policy else None
        self._graphed: GraphedUpdates | None = None
        self._forward: nn.Module = self.network
        if device.compile:
            torch._dynamo.reset()  # otherwise it silently stops compiling after eight networks
            self._forward = cast(nn.Module, torch.compile(self.network))
        self._recipe, self._seed, self._device = recipe, seed, device

    @property
    def result(self) -> nn.Module:
        """The network to evaluate and export: the average of the weights if the recipe has one."""
        return self.network if self._averaged is None else self._averaged.module

    def train_epoch(self, data: Loader, deadline: Deadline) -> Epoch:
        """Train and evaluate one epoch; TrainingStopped if it diverges or the deadline passes."""
        recipe, epoch, world = self._recipe, self.epochs_done, self._device.world
        epoch_stopwatch = Stopwatch(self._device)
        epoch_stopwatch.start()
        cpu_start = time.process_time()
        self.network.train()
        torch.manual_seed(derive_seed(self._seed, epoch, "dropout" if world.is_first else f"dropout {world.rank}"))
        per_epoch = recipe.updates_per_epoch(data.train_size)
        with self.stopwatch:
            with detached_counters(self.network, self._averaged) as counters:
                loss_sum, wrong = self._updates(data, deadline)
            for counter in counters:
                counter += per_epoch
            world.copy_from_first(self.network)
            if self._averaged is not None:
                world.copy_from_first(self._averaged.module)
        validation_error = self._validation_error(data, deadline)
        if math.isnan(validation_error):
            raise TrainingStopped("diverged", f"Validation outputs were not finite after {self.updates} updates.")
        self.epochs_done += 1
        return Epoch(
            train_loss=world.sum(loss_sum).item() / (per_epoch * world.size),
            train_error_percent=100 * world.sum(wrong).item() / (per_epoch * recipe.batch_size),
            validation_error_percent=validation_error,
            learning_rate=recipe.learning_rate_at(self.updates - 1, per_epoch),
            seconds=epoch_stopwatch.stop(),
            cpu_seconds=time.process_time() - cpu_start,
        )

    def update(
        self,
        forward: nn.Module,
        images: Tensor,
        labels: Tensor,
        learning_rate: float | Tensor,
        mixing: Mixing | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Take one optimizer step; return the loss and the number of wrong predictions, on the device.

        Args:
            forward: the network, possibly compiled or wrapped for several processes.
            images: (B, C, H, W), float32.
            labels: (B,), int64.
            learning_rate: for this step; a tensor, float32 on the device, in a CUDA graph.
            mixing: of the images and labels. An image counts as right if its own label is predicted.
        """
        targets = labels
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate
        if mixing is not None:
            images = mixing.images(images)
        with self._device.autocast():
            logits = forward(images)
        if mixing is not None:
            targets = mixing.targets(labels, logits.shape[1])
        loss = functional.cross_entropy(logits.float(), targets, label_smoothing=self._recipe.label_smoothing)
        self.optimizer.zero_grad(set_to_none=True)
        self.scaler.scale(loss).backward()
        if self.gradient_norms is not None:
            self.scaler.unscale_(self.optimizer)
            self.gradient_norms.add()
        self.scaler.step(self.optimizer)
        self.scaler.update()
        return loss.detach(), (logits.detach().argmax(1) != labels).sum()

    def state_dict(self) -> dict[str, Any]:
        """Return the state that the next epoch depends on. Random streams are derived from (seed, epoch)."""
        averaged = {} if self._averaged is None else {"averaged": self._averaged.state_dict()}
        return averaged | {
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "epochs_done": self.epochs_done,
            "updates": self.updates,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a state; the weights at the end are those of an uninterrupted training."""
        self.network.load_state_dict(state["network"])
        if self._averaged is not None:
            self._averaged.load_state_dict(state["averaged"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scaler.load_state_dict(state["scaler"])
        self.epochs_done, self.updates = state["epochs_done"], state["updates"]

    def _updates(self, data: Loader, deadline: Deadline) -> tuple[Tensor, Tensor]:
        """Run the updates of an epoch; return the sums of losses and wrong predictions in this process."""
        loss_sum = torch.zeros((), device=self._device.torch_device)
        wrong = torch.zeros((), dtype=torch.int64, device=self._device.torch_device)
        for loss, wrong_in_batch in self._steps(data):
            loss_sum += loss
            wrong += wrong_in_batch
            self.updates += 1
            if self._averaged is not None:
                self._averaged.update_parameters(self.network)
            if not self._has_updated:  # cuDNN's search for kernels takes more memory than later updates
                reset_peak_memory(self._device)
                self._has_updated = True
            self._check_deadline(deadline)
            if self.updates % UPDATES_BETWEEN_CHECKS == 0:
                self._check_finite(loss_sum)
        self._check_finite(loss_sum)
        return loss_sum, wrong

    def _steps(self, data: Loader) -> Iterator[tuple[Tensor, Tensor]]:
        """Take the optimizer steps of an epoch, as a CUDA graph if possible; yield losses and wrong predictions."""
        recipe, device = self._recipe, self._device
        per_epoch = recipe.updates_per_epoch(data.train_size)
        rates = [recipe.learning_rate_at(self.updates + update, per_epoch) for update in range(per_epoch)]
        if device.cuda_graphs and device.world.size == 1 and isinstance(data, ResidentLoader):
            if self._graphed is None or self._graphed.data is not data:
                self._graphed = GraphedUpdates(data)
            update = functools.partial(self.update, self._forward)
            yield from self._graphed.epoch(update, *data.draw(recipe, self._seed, self.epochs_done), rates)
            return
        forward, seed, epoch = device.world.parallel(self._forward), self._seed, self.epochs_done
        batches = data.epoch(recipe, seed, epoch)
        if self._policy is not None:
            batches = augmented(batches, self._policy, *data.normalization, seed, epoch, device.world.rank)
        for number, ((images, labels), rate) in enumerate(zip(batches, rates, strict=True)):
            yield self.update(forward, images, labels, rate, draw_mixing(recipe, images.shape[-1], seed, epoch, number))

    def _validation_error(self, data: Loader, deadline: Deadline) -> float:
        device, batch_size = self._device, self._recipe.eval_batch_size
        # The numbers of batches may differ between processes, but a deadline check needs all of them.
        on_batch = (lambda: self._check_deadline(deadline)) if device.world.size == 1 else lambda: None
        return error_percent(self.result, lambda: data.validation_batches(batch_size), device, on_batch)

    def _check_finite(self, loss_sum: Tensor) -> None:
        if not self._device.world.sum(loss_sum).isfinite():
            raise TrainingStopped("diverged", f"The training loss was not finite after {self.updates} updates.")

    def _check_deadline(self, deadline: Deadline) -> None:
        if deadline.seconds is not None and any(self._device.world.gather(deadline.has_passed())):
            limit = f"The limit of {deadline.seconds:g} s passed"
            raise TrainingStopped("timeout", f"{limit} in epoch {self.epochs_done + 1} after {self.updates} updates.")


def _optimizer(network: nn.Module, recipe: Recipe) -> torch.optim.SGD:
    parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
    matrices = [parameter for parameter in parameters if recipe.decay_norm_and_bias or parameter.ndim > 1]
    vectors = [parameter for parameter in parameters if not recipe.decay_norm_and_bias and parameter.ndim <= 1]
    groups = [{"params": matrices, "weight_decay": recipe.weight_decay}, {"params": vectors, "weight_decay": 0.0}]
    optimizer = torch.optim.SGD(
        [group for group in groups if group["params"]],
        lr=recipe.peak_learning_rate,
        momentum=recipe.momentum,
        nesterov=recipe.nesterov,
        fused=True,
    )
    if recipe.momentum:  # fused SGD leaves its buffers uninitialized if float16 overflows in the first step
        for parameter in parameters:
            optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
    return optimizer


@contextmanager
def detached_counters(*networks: nn.Module | None) -> Iterator[list[Tensor]]:
    """Detach and yield the batch counters of batch norms, each of which costs a kernel per update; reattach on exit.

    Running statistics depend on the counter only if `momentum` is None.
    """
    counters: dict[_BatchNorm, Tensor] = {
        norm: norm.num_batches_tracked
        for network in networks
        if network is not None
        for norm in network.modules()
        if isinstance(norm, _BatchNorm) and norm.num_batches_tracked is not None and norm.momentum is not None
    }
    for norm in counters:
        norm.num_batches_tracked = None
    try:
        yield list(counters.values())
    finally:
        for norm, counter in counters.items():
            norm.num_batches_tracked = counter


class Float32Linear(nn.Module):
    """A linear layer outside autocast: ties between bfloat16 logits are frequent enough to change the error."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.linear = linear

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            output: Tensor = self.linear(x.float())
        return output


def evaluation_copy(network: nn.Module) -> nn.Module:
    """Return a copy in evaluation mode whose linear layers compute in float32."""
    replica = copy.deepcopy(network).eval()
    for module in list(replica.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, nn.Linear):
                setattr(module, name, Float32Linear(child))
    return replica


def error_percent(
    network: nn.Module, batches: Callable[[], Batches], device: Device, on_batch: Callable[[], None] = lambda: None
) -> float:
    """Return the top-1 error in percent over the images of all processes; NaN if an output is not finite.

    If float16 overflows, as it can while running statistics lag behind the weights, float32 is used.

    Args:
        network: not modified.
        batches: returns this process's share of the images and labels.
        device: where and in which arithmetic.
        on_batch: called after each batch; may raise to stop.
    """
    replica = evaluation_copy(network)
    percent = _error_percent(replica, batches(), device, on_batch)
    if math.isnan(percent) and device.dtype == torch.float16:
        percent = _error_percent(replica, batches(), replace(device, dtype=torch.float32), on_batch)
    return percent


@torch.no_grad()
def _error_percent(replica: nn.Module, batches: Batches, device: Device, on_batch: Callable[[], None]) -> float:
    counts = torch.zeros(3, dtype=torch.int64, device=device.torch_device)
    wrong, not_finite, seen = counts
    with device.autocast():  # around the loop, so that weights are cast once
        for images, labels in batches:
            logits = replica(images)
            wrong += (logits.argmax(1) != labels).sum()
            not_finite += logits.isfinite().logical_not().any()
            seen += len(labels)
            on_batch()
    all_wrong, all_not_finite, all_seen = device.world.sum(counts).tolist()
    return float("nan") if all_not_finite else 100 * all_wrong / all_seen


OUT_OF_MEMORY = (
    "can't allocate memory",
    "not enough memory",
    "out of memory",
    "alloc_failed",
    "allocation_failed",  # CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED
    "cublas_status_not_initialized",  # no memory for the library's handle
    "cudnn_status_not_initialized",
    "unable to find an engine",  # cuDNN, if the workspace of a convolution does not fit
    "valid cudnn algorithm",
)
"""Parts of the messages of a RuntimeError that mean out of memory."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out: torch.OutOfMemoryError on a GPU, a plain RuntimeError from the CPU's allocator."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(text in str(error).lower() for text in OUT_OF_MEMORY)


@contextmanager
def convert_failures() -> Iterator[None]:
    """Convert exceptions from a model's code to TrainingStopped. Interrupts and unreadable images propagate."""
    try:
        yield
    except (TrainingStopped, ImageError):
        raise
    except Exception as error:
        first_line = (str(error).splitlines() or [""])[0][:500]
        if is_out_of_memory(error):
            raise TrainingStopped("out_of_memory", first_line) from None
        frame = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{frame.filename.rpartition('/')[2]}:{frame.lineno}"
        raise TrainingStopped("crashed", f"{type(error).__name__} at {where}: {first_line}") from error
