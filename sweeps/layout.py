"""A few timed updates on random images: to predict times, and to choose the layout of a model on a GPU.

Grouped convolutions of some GPUs are slow in channels_last; which layout is faster depends on the model.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import nn

from sweeps.data import Splits, StreamedSplits
from sweeps.device import LAYOUTS, Device
from sweeps.images import ResidentImages, ResidentSplits
from sweeps.measure import Deadline
from sweeps.recipe import Recipe
from sweeps.run import TrainingRun

UPDATES = 4
"""Updates in a timed stretch."""

STRETCHES = 3
"""Timed stretches, of which the fastest counts; one more before them warms up."""


class Shape(NamedTuple):
    """What a network takes and gives."""

    in_channels: int
    resolution: int
    classes: int


def timed_update(build: Callable[[], nn.Module], shape: Shape, recipe: Recipe, device: Device) -> float:
    """Seconds of one update of a network on random images, in the recipe's batch."""
    count = UPDATES * recipe.batch_size
    pixels = (count, shape.in_channels, shape.resolution, shape.resolution)
    images = torch.randint(0, 256, pixels, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(count) % shape.classes
    half = torch.full((shape.in_channels,), 0.5)
    train, one = (ResidentImages(images[:n], labels[:n], half, half, device) for n in (len(images), 1))
    short = recipe.model_copy(update={"epochs": STRETCHES + 1, "crop_padding": 0, "learning_rate": 1e-6})
    best = float("inf")
    with device.settings():
        run = TrainingRun(build, ResidentSplits(train, one, device.world), short, 0, device, Deadline(None))
        for stretch in range(STRETCHES + 1):
            before = run.training.seconds
            run.train_epoch()
            if stretch:
                best = min(best, run.training.seconds - before)
    return best / UPDATES


def faster_layout(
    build: Callable[[], nn.Module], splits: Splits | StreamedSplits, recipe: Recipe, device: Device
) -> Device:
    """The device with the layout, contiguous or channels_last, in which updates of this network take less time."""
    shape = Shape(splits.in_channels, splits.resolution, splits.classes)
    candidates = [device.in_layout(name) for name in LAYOUTS]

    def seconds(candidate: Device) -> float:
        return sum(device.world.gathered(timed_update(build, shape, recipe, candidate)))

    return min(candidates, key=seconds)
