"""A few timed updates on random images: to predict times, and to choose the layout of a model on a GPU.

Grouped convolutions of some GPUs are slow in channels_last; which layout is faster depends on the model.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import nn

from sweeps.config import Recipe
from sweeps.data import Splits, StreamedSplits
from sweeps.trainer.device import LAYOUTS, Device
from sweeps.trainer.measure import Stopwatch
from sweeps.trainer.result import TrainingStopped, failures_told
from sweeps.trainer.run import TrainingRun

UPDATES = 4
"""Updates in a timed stretch."""

STRETCHES = 3
"""Timed stretches, of which the fastest counts; one more before them warms up."""

LEARNING_RATE = 1e-6
"""Of the timed updates, so that no network diverges."""


class Shape(NamedTuple):
    """What a network takes and gives."""

    in_channels: int
    resolution: int
    classes: int


def timed_update(build: Callable[[], nn.Module], shape: Shape, recipe: Recipe, device: Device, updates: int) -> float:
    """Seconds of one update of a network on random images; never compiled.

    Of processes that train together each times its own share of the batch, and waits for nobody.

    Args:
        build: makes the network.
        shape: of what it takes and gives.
        recipe: of the training; its batch counts.
        device: where the training will be.
        updates: of the training: cuDNN remembers the kernels it chose here, so it must choose as it will there.
    """
    device = replace(device, compile=False)
    best = float("inf")
    with device.settings(updates):
        run = TrainingRun(build, recipe, 0, device)
        each = recipe.batch_size // device.world.size
        pixels = (each, shape.in_channels, shape.resolution, shape.resolution)
        images = torch.randn(pixels, device=device.torch_device).contiguous(memory_format=device.memory_format)
        labels = torch.arange(each, device=device.torch_device) % shape.classes
        network = run.network.train()
        for stretch in range(STRETCHES + 1):
            watch = Stopwatch(device)
            with watch:
                for _ in range(UPDATES):
                    run.update(network, images, labels, LEARNING_RATE)
            if stretch:
                best = min(best, watch.seconds)
    return best / UPDATES


def faster_layout(
    build: Callable[[], nn.Module], splits: Splits | StreamedSplits, resolution: int, recipe: Recipe, device: Device
) -> Device:
    """The device with the layout, contiguous or channels_last, in which updates of this network take less time.

    Only grouped convolutions leave a doubt; networks without any are not timed.

    Raises:
        TrainingStopped: the network can be trained in neither.
    """
    with torch.device("meta"):
        modules = list(build().modules())
    if not any(isinstance(module, nn.Conv2d) and module.groups > 1 for module in modules):
        return device.in_layout("channels_last")
    shape = Shape(splits.in_channels, resolution, splits.classes)
    updates = recipe.epochs * recipe.updates_per_epoch(len(splits.train_labels))
    failures = []

    def seconds(name: str) -> float:
        taken = float("inf")
        try:
            with failures_told():
                taken = timed_update(build, shape, recipe, device.in_layout(name), updates)
        except TrainingStopped as failure:  # what fits into memory in one layout may not in the other
            failures.append(failure)
        return sum(device.world.gathered(taken))

    best = min(LAYOUTS, key=seconds)
    if len(failures) == len(LAYOUTS):
        raise failures[0]
    return device.in_layout(best)
