"""Images on the device: crops, flips, normalization, order, and the cache."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from torch import nn

from sweeps.config import DeviceConfig, load_recipe
from sweeps.data import DataConfig, Splits, open_data
from sweeps.trainer.device import resolve_device
from sweeps.trainer.images import (
    ResidentImages,
    at_resolution,
    cache_on_device,
    clear_cache,
    draw_augmentation,
    evenly_spaced,
)

CPU = resolve_device(DeviceConfig(device="cpu"))


@pytest.fixture(scope="module")
def splits() -> Splits:
    digits = open_data(DataConfig(name="digits", validation_size=300, subset=640))
    assert isinstance(digits, Splits)
    return digits


def test_a_batch_is_padded_cropped_flipped_and_normalized() -> None:
    images = torch.randint(0, 256, (9, 3, 6, 5), dtype=torch.uint8)
    mean, std = torch.tensor([0.2, 0.4, 0.6]), torch.tensor([0.3, 0.2, 0.1])
    resident = ResidentImages(images, torch.arange(9), mean, std, torch.device("cpu"), padding=2)
    draws = draw_augmentation(load_recipe(crop_padding=2, flip=True), 9, seed=1, epoch=0)
    indices = torch.tensor([3, 1, 8, 0, 0])
    batch = resident.batch(indices, draws[indices])
    for position, index in enumerate(indices):
        top, left = int(draws.top[index]), int(draws.left[index])
        one = nn.functional.pad(images[index], (2, 2, 2, 2))[:, top : top + 6, left : left + 5]
        one = one.flip(-1) if draws.flip[index] else one
        torch.testing.assert_close(batch[position], (one / 255 - mean[:, None, None]) / std[:, None, None])
    plain = (images / 255 - mean[:, None, None]) / std[:, None, None]
    torch.testing.assert_close(resident.batch(torch.arange(9)), plain)


def test_padding_of_the_mean_color_is_zero_after_normalization() -> None:
    images = torch.randint(0, 256, (9, 3, 6, 5), dtype=torch.uint8)
    mean, std = torch.tensor([51.0, 102.0, 153.0]) / 255, torch.tensor([0.3, 0.2, 0.1])
    resident = ResidentImages(images, torch.arange(9), mean, std, torch.device("cpu"), 2, "mean")
    draws = draw_augmentation(load_recipe(crop_padding=2), 9, seed=1, epoch=0)
    normalized = (images / 255 - mean[:, None, None]) / std[:, None, None]
    padded = nn.functional.pad(normalized, (2, 2, 2, 2))  # as in pycls, datasets/cifar10.py
    for index, image in enumerate(resident.batch(torch.arange(9), draws)):
        top, left = int(draws.top[index]), int(draws.left[index])
        torch.testing.assert_close(image, padded[index, :, top : top + 6, left : left + 5], atol=1e-5, rtol=1e-5)


def test_resizing_keeps_type_and_mean(splits: Splits) -> None:
    larger = at_resolution(splits, 12)
    assert isinstance(larger, Splits)
    assert larger.train_images.shape[2:] == (12, 12)
    assert larger.train_images.dtype == np.uint8
    assert larger.train_images.mean() == pytest.approx(splits.train_images.mean(), rel=0.05)
    assert larger.data_id == splits.data_id


def test_every_layer_has_the_memory_format_of_the_images(splits: Splits) -> None:
    for layout in (torch.channels_last, torch.contiguous_format):
        loader = cache_on_device(splits, dataclasses.replace(CPU, memory_format=layout), 0)
        images, _ = next(loader.epoch(load_recipe(), 0, 0))
        features = nn.Conv2d(1, 8, 3).to(memory_format=layout)(images)  # type: ignore[call-overload]
        assert features.is_contiguous(memory_format=layout)  # one-channel images count as both formats


def test_images_stay_on_the_device_until_the_cache_is_cleared(splits: Splits) -> None:
    first, second = (cache_on_device(splits, CPU, 2) for _ in range(2))
    assert first.train is second.train
    clear_cache()
    assert cache_on_device(splits, CPU, 2).train is not first.train


def test_an_epoch_has_every_image_once_in_its_own_order(splits: Splits) -> None:
    loader = cache_on_device(splits, CPU, 0)
    recipe = load_recipe(crop_padding=0, flip=False)
    first, second = (torch.cat([x for x, _ in loader.epoch(recipe, 0, epoch)]) for epoch in (0, 1))
    assert not torch.equal(first, second)
    assert torch.equal(first, torch.cat([x for x, _ in loader.epoch(recipe, 0, 0)]))
    assert torch.equal(first.flatten(1).sort(0).values, second.flatten(1).sort(0).values)


def test_augmentation_depends_on_seed_and_epoch_only() -> None:
    def draws(seed: int, epoch: int) -> bytes:
        drawn = draw_augmentation(load_recipe(crop_padding=3), 100, seed, epoch)
        return bytes(torch.stack([drawn.top, drawn.left, drawn.flip]).numpy().astype(np.uint8))

    assert draws(0, 0) == draws(0, 0)
    assert len({draws(0, 0), draws(0, 1), draws(1, 0), draws(1, 1)}) == 4


@pytest.mark.parametrize(("size", "count"), [(10, 3), (10, 10), (10, 99), (5000, 512), (1, 1)])
def test_a_sample_is_evenly_spaced_over_the_images(size: int, count: int) -> None:
    indices = evenly_spaced(size, count)
    assert indices[0] == 0
    assert len(indices) == min(size, count)
    gaps = np.diff([*indices, size])
    assert gaps.min() >= 1
    assert gaps.max() - gaps.min() <= 1


def test_a_sample_of_the_validation_images_is_fixed(splits: Splits) -> None:
    loader = cache_on_device(splits, CPU, 0)
    images, labels = (torch.cat(parts) for parts in zip(*loader.validation_sample(100, 32), strict=True))
    everything, all_labels = next(loader.validation_batches(300))
    assert torch.equal(labels, all_labels[::3])
    assert torch.equal(images, everything[::3])
