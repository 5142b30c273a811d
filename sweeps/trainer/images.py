"""A small data set kept on the device as uint8, where one gather crops, flips, and normalizes a batch."""

from __future__ import annotations

import functools
import hashlib
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


def derive_seed(seed: int, epoch: int, purpose: str) -> int:
    """Return a 63-bit seed from SHA-256(seed, epoch, purpose): one random stream per purpose, equal on all machines."""
    digest = hashlib.sha256(f"{seed}:{epoch}:{purpose}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def generator(seed: int, epoch: int, purpose: str) -> torch.Generator:
    """Return a CPU generator for one purpose in one epoch. CPU draws are the same for every device."""
    return torch.Generator().manual_seed(derive_seed(seed, epoch, purpose))


@dataclass(frozen=True)
class Augmentation:
    """Random draws of an epoch for n images: crop offsets in 0 … 2·padding and flips, int64 and bool, (n,)."""

    top: Tensor
    left: Tensor
    flip: Tensor

    def __getitem__(self, indices: Tensor) -> Augmentation:
        return Augmentation(self.top[indices], self.left[indices], self.flip[indices])


def draw_order(recipe: Recipe, images: int, seed: int, epoch: int, world: World) -> Tensor:
    """Draw the images of each update of an epoch in this process, (updates, B), from (seed, epoch)."""
    order = torch.randperm(images, generator=generator(seed, epoch, "order"))
    batches = order[: recipe.updates_per_epoch(images) * recipe.batch_size].view(-1, recipe.batch_size)
    return batches[:, world.share(recipe.batch_size)]


def draw_augmentation(recipe: Recipe, images: int, seed: int, epoch: int) -> Augmentation:
    """Draw the crops and flips of all images for an epoch, from (seed, epoch)."""
    source = generator(seed, epoch, "augmentation")
    top, left = torch.randint(0, 2 * recipe.crop_padding + 1, (2, images), generator=source)
    flip = torch.rand(images, generator=source) < 0.5 if recipe.flip else torch.zeros(images, dtype=torch.bool)
    return Augmentation(top, left, flip)


class ResidentImages:
    """Labeled images on the device, padded once.

    Args: `images` uint8 (N, C, H, W), `labels` int64 (N,), `mean` and `std` per channel in 0 … 1, `padding` in pixels
    on every side, `padding_color` "black" or "mean" (rounded like the images).
    """

    def __init__(
        self,
        images: Tensor,
        labels: Tensor,
        mean: Tensor,
        std: Tensor,
        device: torch.device,
        padding: int = 0,
        padding_color: str = "black",
    ) -> None:
        n, channels, self.height, self.width = images.shape
        self._padding = padding
        # Channels last, so that a gathered row is a pixel.
        padded = images.new_zeros(n, self.height + 2 * padding, self.width + 2 * padding, channels)
        if padding_color == "mean":
            padded += (255 * mean).round().to(padded.dtype)
        inside = slice(padding, -padding or None)
        padded[:, inside, inside] = images.permute(0, 2, 3, 1)
        self._row, self._image = padded.shape[2], padded.shape[1] * padded.shape[2]
        self._pixels = padded.view(-1, padded.shape[3]).to(device, non_blocking=True)
        self.labels = labels.to(device, non_blocking=True)
        self._mean = (255 * mean).to(device)
        self._scale = (1 / (255 * std)).to(device)
        self._rows = torch.arange(self.height, device=device)[None, :, None]
        self._columns = torch.arange(self.width, device=device)[None, None, :]

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def normalization(self) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of the pixels in 0 … 1, each (C, 1, 1) on the device."""
        return self._mean[:, None, None] / 255, 1 / (255 * self._scale[:, None, None])

    def batch(self, indices: Tensor, augmentation: Augmentation | None = None) -> Tensor:
        """Return normalized float32 images (B, C, H, W), channels last, for indices (B,), optionally augmented."""
        if augmentation is None:
            rows, columns = self._rows + self._padding, self._columns + self._padding
        else:
            flip = augmentation.flip[:, None, None]
            columns = torch.where(flip, self.width - 1 - self._columns, self._columns)
            rows, columns = self._rows + augmentation.top[:, None, None], columns + augmentation.left[:, None, None]
        pixels = self._pixels[indices[:, None, None] * self._image + rows * self._row + columns]
        return pixels.to(torch.float32).sub_(self._mean).mul_(self._scale).permute(0, 3, 1, 2)


@dataclass(frozen=True)
class ResidentLoader:
    """Training and validation batches from images on the device, in a memory format, shared by the processes."""

    train: ResidentImages
    validation: ResidentImages
    memory_format: torch.memory_format = torch.channels_last
    world: World = ALONE

    @property
    def train_size(self) -> int:
        """Number of training images."""
        return len(self.train)

    @property
    def normalization(self) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of the pixels in 0 … 1, each (C, 1, 1) on the device."""
        return self.train.normalization

    def draw(self, recipe: Recipe, seed: int, epoch: int) -> tuple[Tensor, Augmentation]:
        """Draw an epoch, on the device: images of each update in this process, (updates, B), and augmentation."""
        size, device = len(self.train), self.train.labels.device
        order = draw_order(recipe, size, seed, epoch, self.world).to(device, non_blocking=True)
        draws = draw_augmentation(recipe, size, seed, epoch)
        return order, Augmentation(
            *(part.to(device, non_blocking=True) for part in (draws.top, draws.left, draws.flip))
        )

    def batch(self, indices: Tensor, draws: Augmentation) -> tuple[Tensor, Tensor]:
        """Return augmented training images and their labels for indices (B,)."""
        return self._in_format(self.train.batch(indices, draws[indices])), self.train.labels[indices]

    def epoch(self, recipe: Recipe, seed: int, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield this process's share of the augmented batches (images, labels) of an epoch."""
        order, draws = self.draw(recipe, seed, epoch)
        for indices in order:
            yield self.batch(indices, draws)

    def train_sample(self, count: int) -> tuple[Tensor, Tensor]:
        """Return up to `count` evenly spaced training images, not augmented, the same in every process."""
        indices = torch.from_numpy(evenly_spaced(len(self.train), count)).to(self.train.labels.device)
        return self._in_format(self.train.batch(indices)), self.train.labels[indices]

    def validation_batches(self, batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield this process's share of the validation images, in order."""
        labels = self.validation.labels
        share = torch.arange(len(labels), device=labels.device)[self.world.rank :: self.world.size]
        for first in range(0, len(share), batch_size):
            indices = share[first : first + batch_size]
            yield self._in_format(self.validation.batch(indices)), labels[indices]

    def validation_sample(self, count: int, batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield up to `count` evenly spaced validation images, the same in every process."""
        labels = self.validation.labels
        for indices in torch.from_numpy(evenly_spaced(len(labels), count)).to(labels.device).split(batch_size):
            yield self._in_format(self.validation.batch(indices)), labels[indices]

    def _in_format(self, images: Tensor) -> Tensor:
        if self.memory_format == torch.channels_last:
            return images
        # contiguous() keeps the strides of one-channel images, which count as both formats, and layers follow strides.
        return images.clone(memory_format=self.memory_format)


def evenly_spaced(size: int, count: int) -> np.ndarray:
    """Return up to `count` increasing indices below `size`, which represent all classes of sorted images."""
    count = min(count, size)
    return np.arange(count) * size // count


@functools.lru_cache(maxsize=2)
def at_resolution(splits: Splits | StreamedSplits, resolution: int) -> Splits | StreamedSplits:
    """Return the images at a network's resolution, resized with antialiased bilinear interpolation."""
    if resolution == splits.resolution:
        return splits
    if isinstance(splits, StreamedSplits):
        return replace(splits, resolution=resolution)

    def resize(images: np.ndarray) -> np.ndarray:
        size = (resolution, resolution)
        resized = functional.interpolate(torch.from_numpy(images), size, mode="bilinear", antialias=True)
        return resized.numpy()

    return replace(splits, train_images=resize(splits.train_images), validation_images=resize(splits.validation_images))


def cache_on_device(splits: Splits, device: Device, padding: int, padding_color: str = "black") -> ResidentLoader:
    """Copy a data set to the device, where it stays for the next model until `clear_cache`."""
    train, validation = _on_device(splits, device.torch_device, padding, padding_color)
    return ResidentLoader(train, validation, device.memory_format, device.world)


@functools.lru_cache(maxsize=2)
def _on_device(
    splits: Splits, device: torch.device, padding: int, padding_color: str
) -> tuple[ResidentImages, ResidentImages]:
    mean, std = torch.tensor(splits.mean), torch.tensor(splits.std)

    def copy(images: np.ndarray, labels: np.ndarray, padding: int) -> ResidentImages:
        return ResidentImages(
            torch.from_numpy(images), torch.from_numpy(labels), mean, std, device, padding, padding_color
        )

    return (
        copy(splits.train_images, splits.train_labels, padding),
        copy(splits.validation_images, splits.validation_labels, 0),
    )


def clear_cache() -> None:
    """Free the memory of the cached images."""
    _on_device.cache_clear()
    at_resolution.cache_clear()
