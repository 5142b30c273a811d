"""Images decoded in worker processes, cropped as usual for ImageNet, and normalised on the device.

Training: a random resized crop (8 to 100 % of the area, sides 3:4 to 4:3; arXiv 1409.4842) where the recipe crops,
else the centre; a flip where it flips. Validation: the shorter side to 8/7 of the resolution, then the centre. Every
draw comes from (seed, epoch, index), so the number of workers changes nothing.

Images are resized by bilinear interpolation, as in pycls, and antialiased, as in torchvision's RandomResizedCrop and
its evaluation of RegNets; pycls leaves pixels out, and timm evaluates RegNets with bicubic.
"""

from __future__ import annotations

import math
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from multiprocessing import get_context, parent_process
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from sweeps.config import Recipe
from sweeps.damage import ImageError
from sweeps.data import StreamedSplits
from sweeps.stop import WORKERS_SIGNALS
from sweeps.trainer.device import Device
from sweeps.trainer.images import draw_order
from sweeps.trainer.seeds import derive_seed

if TYPE_CHECKING:
    from PIL.Image import Image

BORDER = 8 / 7  # 256 for 224, the usual share

SPARE = 2.0
"""A JPEG is decoded at a half, quarter or eighth of its size where that leaves so many times the pixels a side needed.

Measured on images of 500 by 375 pixels made 64: values differ by 0.2 to 0.4 of 255 on average, and the processor
takes 0.65 of the time for validation, 0.8 for training. For 128 pixels and more such images are decoded whole."""


def centre_crop(image: Image, resolution: int) -> Image:
    """The centre of an image in RGB, its shorter side first made 8/7 of `resolution`."""
    side = min(image.size) / BORDER
    left, top = ((length - side) / 2 for length in image.size)
    return _cut(image, (left, top, left + side, top + side), resolution)


def random_resized_crop(image: Image, resolution: int, draws: np.random.Generator) -> Image:
    """A random part of an image in RGB, made square; the centre where ten draws do not fit."""
    width, height = image.size
    for _ in range(10):
        area = width * height * draws.uniform(0.08, 1.0)
        ratio = math.exp(draws.uniform(math.log(3 / 4), math.log(4 / 3)))
        w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < w <= width and 0 < h <= height:
            left, top = int(draws.integers(0, width - w + 1)), int(draws.integers(0, height - h + 1))
            return _cut(image, (left, top, left + w, top + h), resolution)
    return centre_crop(image, resolution)


def _cut(image: Image, box: tuple[float, float, float, float], resolution: int) -> Image:
    """The box (left, top, right, bottom) of an image, made square; decodes what is not decoded yet."""
    from PIL.Image import Resampling

    left, top, right, bottom = box
    needed = SPARE * resolution
    smallest = (math.ceil(image.width * needed / (right - left)), math.ceil(image.height * needed / (bottom - top)))
    width = image.width
    # None for what is no JPEG or is decoded already; else the box of the whole image in the new size.
    scale = drafted[1][2] / width if (drafted := image.draft("RGB", smallest)) else 1.0
    whole = image if image.mode == "RGB" else image.convert("RGB")
    scaled = (scale * left, scale * top, scale * right, scale * bottom)
    return whole.resize((resolution, resolution), Resampling.BILINEAR, box=scaled)


class Request(NamedTuple):
    """A batch for a worker: indices (B,) of images, whether to crop and to flip them, and the seed of that."""

    indices: np.ndarray
    crop: bool = False
    flip: bool = False
    seed: int = 0


class _Decoder(Dataset["Tensor | ImageError"]):
    """From a Request to its images, uint8 (B, 3, H, W) with the channels last in memory; each worker has a copy."""

    def __init__(self, opened: Callable[[int], Image], resolution: int) -> None:
        self._opened, self._resolution = opened, resolution

    def __getitem__(self, request: Request) -> Tensor | ImageError:
        pixels = np.empty((len(request.indices), self._resolution, self._resolution, 3), np.uint8)
        try:
            for place, index in enumerate(request.indices.tolist()):
                pixels[place] = self._pixels(index, request)
        except ImageError as error:
            return error  # raised in a worker, it would come out with a traceback for its message
        return torch.from_numpy(pixels).permute(0, 3, 1, 2)

    def _pixels(self, index: int, request: Request) -> np.ndarray:
        draws = np.random.default_rng([request.seed, index])
        with self._opened(index) as image:
            try:
                if request.crop:
                    square = random_resized_crop(image, self._resolution, draws)
                else:
                    square = centre_crop(image, self._resolution)
            except MemoryError:
                raise
            except Exception as error:  # Pillow has many for what a file may lack
                raise ImageError.of(getattr(image, "filename", "") or f"image {index}", error) from error
        pixels = np.asarray(square)
        return pixels[:, ::-1] if request.flip and draws.random() < 0.5 else pixels


class Stream:
    """What a training takes its batches from, in place of `ResidentSplits`.

    Its workers start with the first batch, serve one pass after another, and end with it. They are started by a process
    that has neither CUDA nor threads (forkserver), the first time in 2 s, then at once.
    """

    def __init__(self, splits: StreamedSplits, device: Device) -> None:
        self.splits, self.device = splits, device
        self._requests: list[Request] = []  # of the pass under way
        self._loader: DataLoader[Tensor | ImageError] | None = None

    @property
    def train_size(self) -> int:
        """Training images."""
        return len(self.splits.train)

    def epoch(self, recipe: Recipe, seed: int, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        """This process's share of the augmented batches (images, labels) of an epoch; it decodes no other.

        Raises:
            ImageError: one cannot be read.
        """
        order = draw_order(recipe, self.train_size, seed, epoch, self.device.world).numpy()
        draws = derive_seed(seed, epoch, "augmentation")
        crop = recipe.crop_padding > 0
        return self._batches([Request(self.splits.train[chosen], crop, recipe.flip, draws) for chosen in order])

    def validation_batches(self, batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """This process's share of the validation images, in their own order.

        Raises:
            ImageError: one cannot be read.
        """
        world = self.device.world
        mine = self.splits.validation[world.rank :: world.size]
        return self._batches([Request(mine[at : at + batch_size]) for at in range(0, len(mine), batch_size)])

    def close(self) -> None:
        """End the workers; the next batch would start others. Without this they end when nobody holds the stream."""
        self._loader = None

    def _decoded(self, requests: Sequence[Request]) -> DataLoader[Tensor | ImageError]:
        self._requests[:] = requests
        if self._loader is None:
            workers = self.splits.workers
            self._loader = DataLoader(
                _Decoder(self.splits.opened, self.splits.resolution),
                batch_size=None,  # a request is a batch
                sampler=self._requests,
                num_workers=workers,
                pin_memory=self.device.is_cuda,
                persistent_workers=workers > 0,
                multiprocessing_context=_forkserver() if workers else None,
                worker_init_fn=_begin,
            )
        return self._loader

    def _batches(self, requests: Sequence[Request]) -> Iterator[tuple[Tensor, Tensor]]:
        device = self.device.torch_device
        mean, scale = _column(self.splits.mean, device), 1 / _column(self.splits.std, device)
        for request, images in zip(requests, self._decoded(requests), strict=True):
            if isinstance(images, ImageError):
                self.close()
                raise images
            pixels = images.to(device, non_blocking=True).to(torch.float32).div_(255).sub_(mean).mul_(scale)
            labels = torch.from_numpy(self.splits.labels[request.indices]).to(device)
            yield pixels.contiguous(memory_format=self.device.memory_format), labels


def _column(values: Sequence[float], device: torch.device) -> Tensor:
    return torch.tensor(values, device=device).view(-1, 1, 1)


def _forkserver() -> object:
    context = get_context("forkserver")
    context.set_forkserver_preload([__name__, "PIL.Image"])
    return context


def _begin(worker: int) -> None:
    """Leave signals, which reach every process of a terminal or a job, to the training; end with it or when it asks."""
    for number in WORKERS_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    watches = [_end_with_training]
    if hasattr(signal, "sigwaitinfo"):
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])  # before there are threads, which would swallow it
        watches.append(_end_when_asked)
    else:  # no system of batch systems
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
    for watch in watches:
        threading.Thread(target=watch, daemon=True).start()


def _end_with_training() -> None:
    """DataLoader's own watch sees only the death of the process that starts workers, which lives as long as they do."""
    training = parent_process()
    assert training is not None
    training.join()
    os._exit(1)


def _end_when_asked() -> None:
    """A training that ends without closing its stream sends SIGTERM, and waits for ever unless it is heeded."""
    training = parent_process()
    assert training is not None
    while signal.sigwaitinfo([signal.SIGTERM]).si_pid != training.pid:
        pass
    os._exit(0)
