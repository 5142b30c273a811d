"""Images decoded in worker processes, cropped as usual for ImageNet, and normalized on the device.

Training: a random resized crop (8 to 100 % of the area, aspect ratio 3:4 to 4:3; arXiv 1409.4842) if the recipe crops,
otherwise the center crop, and a flip if it flips. Validation: the shorter side to 8/7 of the resolution, then the
center crop. Every draw depends on (seed, epoch, index) only, so the number of workers has no effect.

Images are resized with bilinear interpolation, as in pycls, and antialiased, as in torchvision's RandomResizedCrop and
its evaluation of RegNets. pycls subsamples instead, and timm evaluates RegNets with bicubic interpolation.
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
from sweeps.data import ImageError, StreamedSplits
from sweeps.stop import WORKERS_SIGNALS
from sweeps.trainer.device import Device
from sweeps.trainer.images import derive_seed, draw_order, evenly_spaced

if TYPE_CHECKING:
    from PIL.Image import Image

BORDER = 8 / 7  # 256 for 224, the usual ratio

SPARE = 2.0
"""A JPEG is decoded at 1/2, 1/4 or 1/8 of its size if that leaves this multiple of the required pixels per side.

Measured on images of 500×375 pixels resized to 64: values differ by 0.2 to 0.4 of 255 on average, and decoding takes
0.65 of the time for validation, 0.8 for training. At 128 pixels and above such images are decoded at full size."""


def center_crop(image: Image, resolution: int) -> Image:
    """Return the center of an image in RGB, after resizing its shorter side to 8/7 of `resolution`."""
    side = min(image.size) / BORDER
    left, top = ((length - side) / 2 for length in image.size)
    return _crop(image, (left, top, left + side, top + side), resolution)


def random_resized_crop(image: Image, resolution: int, generator: np.random.Generator) -> Image:
    """Return a random part of an image in RGB, resized to a square; the center crop if ten draws do not fit."""
    width, height = image.size
    for _ in range(10):
        area = width * height * generator.uniform(0.08, 1.0)
        ratio = math.exp(generator.uniform(math.log(3 / 4), math.log(4 / 3)))
        w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < w <= width and 0 < h <= height:
            left, top = int(generator.integers(0, width - w + 1)), int(generator.integers(0, height - h + 1))
            return _crop(image, (left, top, left + w, top + h), resolution)
    return center_crop(image, resolution)


def _crop(image: Image, box: tuple[float, float, float, float], resolution: int) -> Image:
    """Resize the box (left, top, right, bottom) of an image to a square; decodes the image if necessary."""
    from PIL.Image import Resampling

    left, top, right, bottom = box
    needed = SPARE * resolution
    smallest = (math.ceil(image.width * needed / (right - left)), math.ceil(image.height * needed / (bottom - top)))
    width = image.width
    # draft() returns None if the image is not a JPEG or already decoded, otherwise the image's box in the new size.
    scale = draft[1][2] / width if (draft := image.draft("RGB", smallest)) else 1.0
    rgb = image if image.mode == "RGB" else image.convert("RGB")
    scaled = (scale * left, scale * top, scale * right, scale * bottom)
    return rgb.resize((resolution, resolution), Resampling.BILINEAR, box=scaled)


class Request(NamedTuple):
    """A batch to decode: image indices (B,), whether to crop and flip, and the seed for both."""

    indices: np.ndarray
    crop: bool = False
    flip: bool = False
    seed: int = 0


class _Decoder(Dataset["Tensor | ImageError"]):
    """Maps a Request to its images, uint8 (B, 3, H, W), channels last in memory. Each worker has a copy."""

    def __init__(self, opener: Callable[[int], Image], resolution: int) -> None:
        self._open, self._resolution = opener, resolution

    def __getitem__(self, request: Request) -> Tensor | ImageError:
        pixels = np.empty((len(request.indices), self._resolution, self._resolution, 3), np.uint8)
        try:
            for position, index in enumerate(request.indices.tolist()):
                pixels[position] = self._decode(index, request)
        except ImageError as error:
            return error  # a DataLoader would add the worker's traceback to the message of an exception
        return torch.from_numpy(pixels).permute(0, 3, 1, 2)

    def _decode(self, index: int, request: Request) -> np.ndarray:
        generator = np.random.default_rng([request.seed, index])
        with self._open(index) as image:
            try:
                if request.crop:
                    square = random_resized_crop(image, self._resolution, generator)
                else:
                    square = center_crop(image, self._resolution)
            except MemoryError:
                raise
            except Exception as error:  # Pillow raises many types for a damaged file
                raise ImageError.of(getattr(image, "filename", "") or f"image {index}", error) from error
        pixels = np.asarray(square)
        return pixels[:, ::-1] if request.flip and generator.random() < 0.5 else pixels


class Stream:
    """Training and validation batches decoded from disk, with the interface of `ResidentLoader`.

    Worker processes start with the first batch (about 2 s the first time) and run until `close`. They are forked from a
    server process without CUDA and threads.
    """

    def __init__(self, splits: StreamedSplits, device: Device) -> None:
        self.splits, self.device = splits, device
        self._requests: list[Request] = []  # of the current pass
        self._loader: DataLoader[Tensor | ImageError] | None = None

    @property
    def train_size(self) -> int:
        """Number of training images."""
        return len(self.splits.train)

    @property
    def normalization(self) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of the pixels in 0 … 1, each (C, 1, 1) on the device."""
        device = self.device.torch_device
        return _per_channel(self.splits.mean, device), _per_channel(self.splits.std, device)

    def epoch(self, recipe: Recipe, seed: int, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Return this process's share of the augmented batches (images, labels) of an epoch.

        Raises:
            ImageError: an image cannot be read.
        """
        order = draw_order(recipe, self.train_size, seed, epoch, self.device.world).numpy()
        augmentation_seed = derive_seed(seed, epoch, "augmentation")
        crop = recipe.crop_padding > 0
        train = self.splits.train
        return self._batches([Request(train[indices], crop, recipe.flip, augmentation_seed) for indices in order])

    def train_sample(self, count: int) -> tuple[Tensor, Tensor]:
        """Return up to `count` evenly spaced training images, not augmented, the same in every process.

        Raises:
            ImageError: an image cannot be read.
        """
        [sample] = self._batches([Request(self.splits.train[evenly_spaced(len(self.splits.train), count)])])
        return sample

    def validation_batches(self, batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Return this process's share of the validation images, in order.

        Raises:
            ImageError: an image cannot be read.
        """
        world = self.device.world
        share = self.splits.validation[world.rank :: world.size]
        return self._batches([Request(share[at : at + batch_size]) for at in range(0, len(share), batch_size)])

    def validation_sample(self, count: int, batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Return up to `count` evenly spaced validation images, the same in every process.

        Raises:
            ImageError: an image cannot be read.
        """
        sample = self.splits.validation[evenly_spaced(len(self.splits.validation), count)]
        return self._batches([Request(sample[at : at + batch_size]) for at in range(0, len(sample), batch_size)])

    def close(self) -> None:
        """Stop the workers. The next batch starts new ones; garbage collection of the stream stops them too."""
        self._loader = None

    def _decoded(self, requests: Sequence[Request]) -> DataLoader[Tensor | ImageError]:
        self._requests[:] = requests
        if self._loader is None:
            workers = self.splits.workers
            self._loader = DataLoader(
                _Decoder(self.splits.opener, self.splits.resolution),
                batch_size=None,  # a request is a batch
                sampler=self._requests,
                num_workers=workers,
                pin_memory=self.device.is_cuda,
                persistent_workers=workers > 0,
                multiprocessing_context=_forkserver() if workers else None,
                worker_init_fn=_start_worker,
            )
        return self._loader

    def _batches(self, requests: Sequence[Request]) -> Iterator[tuple[Tensor, Tensor]]:
        device = self.device.torch_device
        mean, scale = _per_channel(self.splits.mean, device), 1 / _per_channel(self.splits.std, device)
        # Labels are copied once, because the copy from pageable memory waits for the GPU.
        indices = np.concatenate([np.empty(0, np.int64), *(request.indices for request in requests)])
        all_labels = torch.from_numpy(self.splits.labels[indices]).to(device)
        batches = all_labels.split([len(request.indices) for request in requests])
        for labels, images in zip(batches, self._decoded(requests), strict=True):
            if isinstance(images, ImageError):
                self.close()
                raise images
            pixels = images.to(device, non_blocking=True).to(torch.float32).div_(255).sub_(mean).mul_(scale)
            yield pixels.contiguous(memory_format=self.device.memory_format), labels


def _per_channel(values: Sequence[float], device: torch.device) -> Tensor:
    return torch.tensor(values, device=device).view(-1, 1, 1)


def _forkserver() -> object:
    context = get_context("forkserver")
    context.set_forkserver_preload([__name__, "PIL.Image"])
    return context


def _start_worker(worker: int) -> None:
    """Ignore signals sent to all processes of a job or terminal; exit with the training process or on its SIGTERM."""
    for number in WORKERS_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    watchers = [_exit_with_training]
    if hasattr(signal, "sigwaitinfo"):
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])  # before threads start, which inherit the mask
        watchers.append(_exit_on_request)
    else:  # macOS
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
    for watcher in watchers:
        threading.Thread(target=watcher, daemon=True).start()


def _exit_with_training() -> None:
    """Exit when the training process does. DataLoader watches only the parent, here the fork server, which survives."""
    training = parent_process()
    assert training is not None
    training.join()
    os._exit(1)


def _exit_on_request() -> None:
    """Exit on SIGTERM from the training process, which sends it when it ends without `close` and waits for the exit."""
    training = parent_process()
    assert training is not None
    while signal.sigwaitinfo([signal.SIGTERM]).si_pid != training.pid:
        pass
    os._exit(0)
