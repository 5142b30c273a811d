"""A training in progress: network, optimizer, and the epochs done so far."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from sweeps.config import Recipe
from sweeps.trainer.convolutions import merge_narrow_groups
from sweeps.trainer.device import Device
from sweeps.trainer.evaluate import error_percent
from sweeps.trainer.images import ResidentSplits
from sweeps.trainer.measure import Deadline, Stopwatch
from sweeps.trainer.result import EpochResult, TrainingStopped
from sweeps.trainer.seeds import derive_seed
from sweeps.trainer.stream import Stream

UPDATES_BETWEEN_CHECKS = 50


class TrainingRun:
    """The state of one training; `train_epoch` moves it on by an epoch, `state_dict` holds all that the next needs.

    Of several processes that train together each has one; all have the same weights, and make the same calls.
    """

    def __init__(self, build: Callable[[], nn.Module], recipe: Recipe, seed: int, device: Device) -> None:
        torch.manual_seed(derive_seed(seed, 0, "initialisation"))
        network = build()  # on the CPU, so that a seed gives the same weights on every device
        self.network = network.to(device=device.torch_device, memory_format=device.memory_format)  # type: ignore[call-overload]
        merge_narrow_groups(self.network, device)
        self.optimizer = _optimizer(self.network, recipe)
        self.scaler = torch.amp.GradScaler(device.torch_device.type, enabled=device.dtype == torch.float16)
        self.epochs_done = 0
        self.updates = 0
        self.training = Stopwatch(device)
        self._forward: nn.Module = self.network
        if device.compile:
            torch._dynamo.reset()  # it gives up, silently, after the eighth network of a process
            self._forward = cast(nn.Module, torch.compile(self.network))
        self._recipe, self._seed, self._device = recipe, seed, device

    def train_epoch(self, data: ResidentSplits | Stream, deadline: Deadline) -> EpochResult:
        """Train and evaluate one epoch; TrainingStopped if it diverges or the deadline passes."""
        recipe, epoch = self._recipe, self.epochs_done
        whole = Stopwatch(self._device)
        whole.start()
        self.network.train()
        world = self._device.world
        torch.manual_seed(derive_seed(self._seed, epoch, "dropout" if world.is_first else f"dropout {world.rank}"))
        with self.training:
            loss_sum, wrong = self._updates(data, deadline)
            world.copy_from_first(self.network)
        per_epoch = recipe.updates_per_epoch(data.train_size)
        validation = self._validation_error(data, deadline)
        if math.isnan(validation):
            raise TrainingStopped("diverged", f"Validation outputs were not finite after {self.updates} updates.")
        self.epochs_done += 1
        return EpochResult(
            epoch=epoch,
            epochs=recipe.epochs,
            train_loss=world.sum(loss_sum).item() / (per_epoch * world.size),
            train_error_percent=100 * world.sum(wrong).item() / (per_epoch * recipe.batch_size),
            validation_error_percent=validation,
            learning_rate=recipe.learning_rate_at(self.updates - 1, per_epoch),
            seconds=whole.stop(),
        )

    def state_dict(self) -> dict[str, Any]:
        """Everything the next epoch depends on; random streams need nothing, they come from (seed, epoch)."""
        return {
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "epochs_done": self.epochs_done,
            "updates": self.updates,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue where `state` was taken; the training then ends in the same weights as one never stopped."""
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scaler.load_state_dict(state["scaler"])
        self.epochs_done, self.updates = state["epochs_done"], state["updates"]

    def update(self, forward: nn.Module, images: Tensor, labels: Tensor, learning_rate: float) -> tuple[Tensor, Tensor]:
        """One optimizer step; its loss and number of wrong answers, still on the device.

        Args:
            forward: the network as `train_epoch` calls it: compiled, shared among processes, or as it is.
            images: (B, C, H, W), float32.
            labels: (B,), int64.
            learning_rate: of this step.
        """
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate
        with self._device.autocast():
            logits = forward(images)
        loss = functional.cross_entropy(logits.float(), labels, label_smoothing=self._recipe.label_smoothing)
        self.optimizer.zero_grad(set_to_none=True)
        self.scaler.scale(loss).backward()
        self.scaler.step(self.optimizer)
        self.scaler.update()
        return loss.detach(), (logits.detach().argmax(1) != labels).sum()

    def _updates(self, data: ResidentSplits | Stream, deadline: Deadline) -> tuple[Tensor, Tensor]:
        """All updates of an epoch; their losses and wrong answers on this process's images, summed, on the device."""
        recipe = self._recipe
        per_epoch = recipe.updates_per_epoch(data.train_size)
        forward = self._device.world.parallel(self._forward)
        loss_sum = torch.zeros((), device=self._device.torch_device)
        wrong = torch.zeros((), dtype=torch.int64, device=self._device.torch_device)
        for images, labels in data.epoch(recipe, self._seed, self.epochs_done):
            rate = recipe.learning_rate_at(self.updates, per_epoch)
            loss, missed = self.update(forward, images, labels, rate)
            loss_sum += loss
            wrong += missed
            self.updates += 1
            self._check(deadline)
            if self.updates % UPDATES_BETWEEN_CHECKS == 0:  # looking at the loss waits for the GPU, so not every time
                self._check_finite(loss_sum)
        self._check_finite(loss_sum)
        return loss_sum, wrong

    def _validation_error(self, data: ResidentSplits | Stream, deadline: Deadline) -> float:
        device, size = self._device, self._recipe.eval_batch_size
        # Shares may differ by a batch, and a decision of all takes all of them.
        each_batch = (lambda: self._check(deadline)) if device.world.size == 1 else lambda: None
        return error_percent(self.network, lambda: data.validation_batches(size), device, each_batch)

    def _check_finite(self, loss_sum: Tensor) -> None:
        if not self._device.world.sum(loss_sum).isfinite():
            raise TrainingStopped("diverged", f"The training loss was not finite after {self.updates} updates.")

    def _check(self, deadline: Deadline) -> None:
        if deadline.seconds is not None and any(self._device.world.gathered(deadline.has_passed())):
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
    if recipe.momentum:  # fused SGD makes its buffers without filling them when float16 overflows in its first step
        for parameter in parameters:
            optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
    return optimizer
