"""A data set resident on the device as uint8; a batch is cropped, mirrored and normalised there, in one gather."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from sweeps.config import Recipe
from sweeps.data import Splits, StreamedSplits
from sweeps.trainer.device import Device
from sweeps.trainer.distributed import ALONE, World
from sweeps.trainer.seeds import generator


@dataclass(frozen=True)
class Augmentation:
    """The draws of one epoch for n images: crop offsets in 0 … 2·padding and whether to mirror; int64 or bool, (n,)."""

    top: Tensor
    left: Tensor
    flip: Tensor

    def __getitem__(self, chosen: Tensor) -> Augmentation:
        return Augmentation(self.top[chosen], self.left[chosen], self.flip[chosen])


def draw_order(recipe: Recipe, images: int, seed: int, epoch: int, world: World) -> Tensor:
    """Which images each update of an epoch takes in this process (updates, B), drawn from (seed, epoch) alone."""
    order = torch.randperm(images, generator=generator(seed, epoch, "order"))
    batches = order[: recipe.updates_per_epoch(images) * recipe.batch_size].view(-1, recipe.batch_size)
    return batches[:, world.share(recipe.batch_size)]


def draw_augmentation(recipe: Recipe, images: int, seed: int, epoch: int) -> Augmentation:
    """Draw an epoch's crops and flips for all images, from (seed, epoch) alone."""
    source = generator(seed, epoch, "augmentation")
    top, left = torch.randint(0, 2 * recipe.crop_padding + 1, (2, images), generator=source)
    flip = torch.rand(images, generator=source) < 0.5 if recipe.flip else torch.zeros(images, dtype=torch.bool)
    return Augmentation(top, left, flip)


class ResidentImages:
    """Labelled images on the device, padded once.

    Args: `images` uint8 (N, C, H, W), `labels` int64 (N,), `mean` and `std` per channel on the scale 0 … 1, `padding`
    in pixels of black on every side.
    """

    def __init__(
        self, images: Tensor, labels: Tensor, mean: Tensor, std: Tensor, device: torch.device, padding: int = 0
    ) -> None:
        _, _, self.height, self.width = images.shape
        self._padding = padding
        # Channels last, so that one gathered element is a whole pixel.
        padded = functional.pad(images, (padding,) * 4).permute(0, 2, 3, 1).contiguous()
        self._row, self._image = padded.shape[2], padded.shape[1] * padded.shape[2]
        self._pixels = padded.view(-1, padded.shape[3]).to(device, non_blocking=True)
        self.labels = labels.to(device, non_blocking=True)
        self._mean = (255 * mean).to(device)
        self._scale = (1 / (255 * std)).to(device)
        self._rows = torch.arange(self.height, device=device)[None, :, None]
        self._columns = torch.arange(self.width, device=device)[None, None, :]

    def __len__(self) -> int:
        return len(self.labels)

    def batch(self, chosen: Tensor, augmentation: Augmentation | None = None) -> Tensor:
        """Normalised float32 images (B, C, H, W), channels last, of the indices (B,), augmented if draws are given."""
        if augmentation is None:
            rows, columns = self._rows + self._padding, self._columns + self._padding
        else:
            flip = augmentation.flip[:, None, None]
            columns = torch.where(flip, self.width - 1 - self._columns, self._columns)
            rows, columns = self._rows + augmentation.top[:, None, None], columns + augmentation.left[:, None, None]
        pixels = self._pixels[chosen[:, None, None] * self._image + rows * self._row + columns]
        return pixels.to(torch.float32).sub_(self._mean).mul_(self._scale).permute(0, 3, 1, 2)


@dataclass(frozen=True)
class ResidentSplits:
    """Training and validation images on the device, the layout of a batch, and the processes that share them out."""

    train: ResidentImages
    validation: ResidentImages
    memory_format: torch.memory_format = torch.channels_last
    world: World = ALONE

    @property
    def train_size(self) -> int:
        """Training images."""
        return len(self.train)

    def validation_batches(self, batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """This process's share of the validation images, in their own order."""
        labels = self.validation.labels
        mine = torch.arange(len(labels), device=labels.device)[self.world.rank :: self.world.size]
        for first in range(0, len(mine), batch_size):
            chosen = mine[first : first + batch_size]
            yield self._laid_out(self.validation.batch(chosen)), labels[chosen]

    def epoch(self, recipe: Recipe, seed: int, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        """This process's share of the augmented batches (images, labels) of an epoch."""
        count, device = len(self.train), self.train.labels.device
        order = draw_order(recipe, count, seed, epoch, self.world)
        draws = draw_augmentation(recipe, count, seed, epoch)
        order, draws = (
            order.to(device, non_blocking=True),
            Augmentation(*(part.to(device, non_blocking=True) for part in (draws.top, draws.left, draws.flip))),
        )
        for chosen in order:
            yield self._laid_out(self.train.batch(chosen, draws[chosen])), self.train.labels[chosen]

    def _laid_out(self, images: Tensor) -> Tensor:
        if self.memory_format == torch.channels_last:
            return images
        # Not contiguous(): images of one channel count as that already, and every layer would follow their strides.
        return images.clone(memory_format=self.memory_format)


@functools.lru_cache(maxsize=2)
def at_resolution(splits: Splits | StreamedSplits, resolution: int) -> Splits | StreamedSplits:
    """The same images at the resolution of a network, which compound scaling makes its own; bilinear, antialiased."""
    if resolution == splits.resolution:
        return splits
    if isinstance(splits, StreamedSplits):
        return replace(splits, resolution=resolution)

    def resized(images: np.ndarray) -> np.ndarray:
        size = (resolution, resolution)
        scaled = functional.interpolate(torch.from_numpy(images), size, mode="bilinear", antialias=True)
        return scaled.numpy()

    return replace(
        splits, train_images=resized(splits.train_images), validation_images=resized(splits.validation_images)
    )


def resident(splits: Splits, device: Device, padding: int) -> ResidentSplits:
    """Put a data set on the device, where it stays for the next model; `forget` takes it away."""
    train, validation = _uploaded(splits, device.torch_device, padding)
    return ResidentSplits(train, validation, device.memory_format, device.world)


@functools.lru_cache(maxsize=1)
def _uploaded(splits: Splits, device: torch.device, padding: int) -> tuple[ResidentImages, ResidentImages]:
    mean, std = torch.tensor(splits.mean), torch.tensor(splits.std)

    def place(images: np.ndarray, labels: np.ndarray, padding: int) -> ResidentImages:
        return ResidentImages(torch.from_numpy(images), torch.from_numpy(labels), mean, std, device, padding)

    return (
        place(splits.train_images, splits.train_labels, padding),
        place(splits.validation_images, splits.validation_labels, 0),
    )


def forget() -> None:
    """Give back the memory of the images kept for the next model."""
    _uploaded.cache_clear()
    at_resolution.cache_clear()
