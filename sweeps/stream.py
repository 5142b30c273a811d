"""Pictures decoded in worker processes, cropped as usual for ImageNet, and normalised on the device.

Training: a random resized crop (8 to 100 % of the area, sides 3:4 to 4:3; arXiv 1409.4842) where the recipe crops,
else the centre; a flip where it flips. Validation: the shorter side to 8/7 of the resolution, then the centre. Every
draw comes from (seed, epoch, index), so the number of workers changes nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from sweeps.data import StreamedSplits
from sweeps.device import Device
from sweeps.images import draw_order
from sweeps.recipe import Recipe
from sweeps.seeds import derive_seed

if TYPE_CHECKING:
    from PIL.Image import Image

BORDER = 8 / 7  # 256 for 224, the usual share


def centre_crop(picture: Image, resolution: int) -> Image:
    """The centre of a picture, its shorter side first made 8/7 of `resolution`."""
    side = min(picture.size) / BORDER
    left, top = ((length - side) / 2 for length in picture.size)
    return picture.resize((resolution, resolution), box=(left, top, left + side, top + side))


def random_resized_crop(picture: Image, resolution: int, draws: np.random.Generator) -> Image:
    """A random part of a picture, made square; the centre where ten draws do not fit."""
    width, height = picture.size
    for _ in range(10):
        area = width * height * draws.uniform(0.08, 1.0)
        ratio = math.exp(draws.uniform(math.log(3 / 4), math.log(4 / 3)))
        w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < w <= width and 0 < h <= height:
            left, top = int(draws.integers(0, width - w + 1)), int(draws.integers(0, height - h + 1))
            return picture.resize((resolution, resolution), box=(left, top, left + w, top + h))
    return centre_crop(picture, resolution)


class _Decoded(Dataset[tuple[Tensor, int]]):
    """The chosen pictures as uint8 (C, H, W), with their labels."""

    def __init__(
        self, splits: StreamedSplits, chosen: np.ndarray, crop: bool = False, flip: bool = False, seed: int = 0
    ) -> None:
        self.splits, self.chosen, self.crop, self.flip, self.seed = splits, chosen, crop, flip, seed

    def __len__(self) -> int:
        return len(self.chosen)

    def __getitem__(self, position: int) -> tuple[Tensor, int]:
        index, resolution = int(self.chosen[position]), self.splits.resolution
        picture, draws = self.splits.opened(index), np.random.default_rng([self.seed, index])
        picture = random_resized_crop(picture, resolution, draws) if self.crop else centre_crop(picture, resolution)
        pixels = np.asarray(picture)
        if self.flip and draws.random() < 0.5:
            pixels = pixels[:, ::-1]
        return torch.from_numpy(pixels.transpose(2, 0, 1).copy()), int(self.splits.labels[index])


@dataclass(frozen=True, eq=False)
class Stream:
    """What a training takes its batches from, in place of `ResidentSplits`."""

    splits: StreamedSplits
    device: Device

    @property
    def train_size(self) -> int:
        """Training images."""
        return len(self.splits.train)

    def epoch(self, recipe: Recipe, seed: int, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        """This process's share of the augmented batches (images, labels) of an epoch; it decodes no other."""
        order = draw_order(recipe, self.train_size, seed, epoch, self.device.world)
        draws = derive_seed(seed, epoch, "augmentation")
        chosen = self.splits.train[order.flatten().numpy()]
        decoded = _Decoded(self.splits, chosen, recipe.crop_padding > 0, recipe.flip, draws)
        return self._batches(decoded, order.shape[1])

    def validation_batches(self, batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """This process's share of the validation images, in their own order."""
        world = self.device.world
        return self._batches(_Decoded(self.splits, self.splits.validation[world.rank :: world.size]), batch_size)

    def _batches(self, decoded: _Decoded, batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
        device = self.device.torch_device
        mean, scale = _column(self.splits.mean, device), 1 / _column(self.splits.std, device)
        loader = DataLoader(
            decoded,
            batch_size,
            num_workers=self.splits.workers,
            pin_memory=self.device.is_cuda,
            worker_init_fn=_one_thread,
        )
        for images, labels in loader:
            pixels = images.to(device, non_blocking=True).to(torch.float32).div_(255).sub_(mean).mul_(scale)
            yield pixels.contiguous(memory_format=self.device.memory_format), labels.to(device, non_blocking=True)


def _column(values: Sequence[float], device: torch.device) -> Tensor:
    return torch.tensor(values, device=device).view(-1, 1, 1)


def _one_thread(worker: int) -> None:
    torch.set_num_threads(1)
