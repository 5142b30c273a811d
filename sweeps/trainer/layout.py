"""Timed updates on random images, used to predict training times and to choose a model's memory layout on a GPU.

Grouped convolutions are slow in channels_last on some GPUs; which layout is faster depends on the model.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import nn

from sweeps.config import Recipe
from sweeps.data import Splits, StreamedSplits
from sweeps.trainer.device import LAYOUTS, SEARCH_UPDATES, Device, Stopwatch, empty_cache
from sweeps.trainer.run import TrainingRun, TrainingStopped, convert_failures, detached_counters

UPDATES = 4
"""Updates per timed interval."""

INTERVALS = 3
"""Timed intervals, of which the fastest counts. One more comes first as warm-up."""

LEARNING_RATE = 1e-6
"""Learning rate of the timed updates, low enough that no network diverges."""


class Shape(NamedTuple):
    """Input and output sizes of a network."""

    in_channels: int
    resolution: int
    classes: int


def timed_update(build: Callable[[], nn.Module], shape: Shape, recipe: Recipe, device: Device, updates: int) -> float:
    """Return the seconds of one update of a network on random images, without torch.compile.

    When several processes train one network, each times its own share of the batch and waits for no other.

    Args:
        build: makes the network.
        shape: its input and output sizes.
        recipe: of the run.
        device: of the run.
        updates: length of the run. cuDNN keeps the kernels chosen here, so its settings must be the same.
    """
    device = replace(device, compile=False)
    best = float("inf")
    with device.settings(updates):
        run = TrainingRun(build, recipe, 0, device)
        batch_size = recipe.batch_size // device.world.size
        size = (batch_size, shape.in_channels, shape.resolution, shape.resolution)
        images = torch.randn(size, device=device.torch_device).contiguous(memory_format=device.memory_format)
        labels = torch.arange(batch_size, device=device.torch_device) % shape.classes
        network = run.network.train()
        for interval in range(INTERVALS + 1):
            stopwatch = Stopwatch(device)
            with detached_counters(network), stopwatch:
                for _ in range(UPDATES):
                    run.update(network, images, labels, LEARNING_RATE)
            if interval:
                best = min(best, stopwatch.seconds)
    return best / UPDATES


def faster_layout(
    build: Callable[[], nn.Module], splits: Splits | StreamedSplits, resolution: int, recipe: Recipe, device: Device
) -> Device:
    """Return the device with the layout in which this network trains faster.

    The layout is channels_last, without timing, for networks without grouped convolutions and for trainings below
    `SEARCH_UPDATES`. A network that cannot be trained in either layout fails again, with its message, when trained.
    """
    updates = recipe.epochs * recipe.updates_per_epoch(len(splits.train_labels))
    with torch.device("meta"):
        has_groups = any(isinstance(module, nn.Conv2d) and module.groups > 1 for module in build().modules())
    if updates < SEARCH_UPDATES or not has_groups:
        return device.in_layout("channels_last")
    shape = Shape(splits.in_channels, resolution, splits.classes)

    def seconds(name: str) -> float:
        own = float("inf")
        # The exception, which refers to the network, must not outlive this block: the other layout needs the memory.
        with suppress(TrainingStopped), convert_failures():
            own = timed_update(build, shape, recipe, device.in_layout(name), updates)
        if own == float("inf") and device.is_cuda:
            empty_cache()
        return sum(device.world.gather(own))

    return device.in_layout(min(LAYOUTS, key=seconds))
