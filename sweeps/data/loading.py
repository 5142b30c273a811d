"""Training and validation splits of the data set that a DataConfig describes."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from sweeps.config import DataConfig
from sweeps.data import cifar, digits, fashion_mnist
from sweeps.data.cache import cache_root
from sweeps.data.hf import hf
from sweeps.data.image_folder import image_folder
from sweeps.data.image_set import IMAGENET_MEAN, IMAGENET_STD, ImageSet, NoSuchPart
from sweeps.data.source import LabelledImages, Part, Source
from sweeps.data.split import stratified_order
from sweeps.resources import cores

if TYPE_CHECKING:
    from PIL.Image import Image

SOURCES: dict[str, Source] = {
    source.name: source for source in (digits.SOURCE, fashion_mnist.SOURCE, cifar.CIFAR10, cifar.CIFAR100)
}
STREAMED: dict[str, Callable[[DataConfig, Part], ImageSet]] = {"image_folder": image_folder, "hf": hf}


@dataclass(frozen=True, eq=False)
class Splits:
    """Training and validation images in memory; the test split is not among them.

    Images are uint8 (N, C, H, W), labels int64 (N,); `mean` and `std` are the training images' own, per channel, on the
    scale 0 … 1; `data_id` (16 hex) names content, classes and the exact division into training and validation.
    """

    train_images: np.ndarray
    train_labels: np.ndarray
    validation_images: np.ndarray
    validation_labels: np.ndarray
    mean: tuple[float, ...]
    std: tuple[float, ...]
    classes: int
    data_id: str

    @property
    def in_channels(self) -> int:
        """Channels of an image."""
        return int(self.train_images.shape[1])

    @property
    def resolution(self) -> int:
        """Pixels a side of the square images."""
        return int(self.train_images.shape[2])

    @property
    def validation_size(self) -> int:
        """Validation images."""
        return len(self.validation_labels)


@dataclass(frozen=True, eq=False)
class StreamedSplits:
    """Training and validation images that stay on disk; the test split is not among them.

    `train` and `validation` are indices into `labels` (int64) and for `opened`, see `ImageSet`; images become
    `resolution` pixels a side, decoded by `workers` processes. `mean` and `std` are ImageNet's; `data_id` is as in
    Splits. `skipped` counts the files that are not read, by kind.
    """

    train: np.ndarray
    validation: np.ndarray
    labels: np.ndarray
    opened: Callable[[int], Image]
    resolution: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    classes: int
    data_id: str
    workers: int
    skipped: Mapping[str, int]
    in_channels: int = 3

    @property
    def train_labels(self) -> np.ndarray:
        """Labels of the training images."""
        return self.labels[self.train]

    @property
    def validation_size(self) -> int:
        """Validation images."""
        return len(self.validation)


def names() -> tuple[str, ...]:
    """Names of the data sets."""
    return (*SOURCES, *STREAMED)


def prepare_data(config: DataConfig) -> None:
    """Fetch what the set needs into the cache, once; safe when several processes call it together."""
    if config.name in STREAMED:
        STREAMED[config.name](config, "train")
    else:
        _source(config).prepare(cache_root(config.root))


def automatic_workers(processes: int) -> int:
    """Processes that decode images for each of so many that train on this machine: its share of the cores."""
    together = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))  # what torchrun starts on this machine for one network
    return max(1, cores() // (processes * together))


def open_data(config: DataConfig, processes: int = 1) -> Splits | StreamedSplits:
    """The splits of a set, resident or streamed; ValueError if the set and the config disagree.

    Args:
        config: which set, and how it is divided.
        processes: how many train on this machine and share its cores, for `data.workers` = auto.
    """
    if config.name not in STREAMED:
        return load_data(config)
    if config.resolution is None:
        raise ValueError("data.resolution is missing: must be the pixels a side that images are resized to, like 224")
    if config.in_channels not in (None, 3):
        raise ValueError(f"data.in_channels = {config.in_channels}: must be 3 for {config.name}")
    images = STREAMED[config.name](config, "train")
    classes = _classes(config, images)
    among = np.flatnonzero(images.labels < classes)
    held_out, kept = (among[part] for part in _divide(config, images.labels[among], classes))
    # All that the pixels depend on; without a white level, files with gray values of more than 8 bits are rejected.
    size = (classes, config.resolution) + (() if config.white_level is None else (config.white_level,))
    return StreamedSplits(
        train=kept,
        validation=held_out,
        labels=images.labels,
        opened=images.opened,
        resolution=config.resolution,
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
        classes=classes,
        data_id=_digest(images.content_id, str(size), held_out.tobytes(), kept.tobytes()),
        workers=automatic_workers(processes) if config.workers == "auto" else config.workers,
        skipped=images.skipped,
    )


def load_data(config: DataConfig) -> Splits:
    """Read the training part and hold the validation split out of it; ValueError if the set and the config disagree."""
    whole = _load(config, "train")
    classes = config.classes or _source(config).classes
    held_out, kept = _divide(config, whole.labels, classes)
    train = LabelledImages(whole.images[kept], whole.labels[kept])
    mean, std = _channel_statistics(train.images)
    return Splits(
        train_images=train.images,
        train_labels=train.labels,
        validation_images=whole.images[held_out],
        validation_labels=whole.labels[held_out],
        mean=mean,
        std=std,
        classes=classes,
        data_id=_digest(_source(config).content_id, str(classes), held_out.tobytes(), kept.tobytes()),
    )


def load_test(config: DataConfig) -> LabelledImages:
    """Read the test part of a small set, for the models selected at the end and nothing before."""
    return _load(config, "test")


def find_test(config: DataConfig) -> str | None:
    """The set's own name for its test part, None if it has none; no image is read.

    Raises:
        ValueError: the test part does not fit the training part.
    """
    if config.name not in STREAMED:
        return "test"
    try:
        return STREAMED[config.name](config, "test").part
    except NoSuchPart:
        return None


def open_test(config: DataConfig, splits: Splits | StreamedSplits) -> Splits | StreamedSplits:
    """The test part where `splits`, which `open_data` gave, has the validation part; for the end and nothing before."""
    if isinstance(splits, Splits):
        test = load_test(config)
        return replace(
            splits,
            train_images=splits.train_images[:0],
            train_labels=splits.train_labels[:0],
            validation_images=test.images,
            validation_labels=test.labels,
        )
    images = STREAMED[config.name](config, "test")
    among = np.flatnonzero(images.labels < (config.classes or images.classes))
    return replace(splits, train=splits.train[:0], validation=among, labels=images.labels, opened=images.opened)


def _classes(config: DataConfig, images: ImageSet) -> int:
    if config.classes is not None and config.classes > images.classes:
        raise ValueError(f"data.classes = {config.classes}: must be at most {images.classes} for {config.name}")
    return config.classes or images.classes


def _source(config: DataConfig) -> Source:
    if config.name in STREAMED:
        raise ValueError(f"{config.name} stays on disk; open_data gives its splits, and open_test its test part.")
    if config.name not in SOURCES:
        raise ValueError(f"data.name = {config.name!r}: must be one of {', '.join(names())}")
    return SOURCES[config.name]


def _load(config: DataConfig, part: Part) -> LabelledImages:
    source, root = _source(config), cache_root(config.root)
    if config.classes is not None and config.classes > source.classes:
        raise ValueError(f"data.classes = {config.classes}: must be at most {source.classes} for {source.name}")
    try:
        images = source.load(root, part)
    except FileNotFoundError:
        source.prepare(root)
        images = source.load(root, part)
    _, channels, height, _ = images.images.shape
    for field, wanted, actual in (
        ("resolution", config.resolution, height),
        ("in_channels", config.in_channels, channels),
    ):
        if wanted not in (None, actual):
            raise ValueError(f"data.{field} = {wanted}: must be {actual} for {source.name}")
    if config.classes is not None:
        chosen = images.labels < config.classes
        images = LabelledImages(images.images[chosen], images.labels[chosen])
    return images


def _divide(config: DataConfig, labels: np.ndarray, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Indices of the validation images and of the training images kept, both in increasing order, of every class."""
    if (missing := _missing(labels, classes)) is not None:
        raise ValueError(f"data.name = {config.name}: has no training image of class {missing} of {classes}")
    validation = config.validation_size or round(config.validation_fraction * len(labels))
    remaining = len(labels) - validation
    if validation < 1 or remaining < 1:
        raise ValueError(
            f"data.validation_size (or validation_fraction) = {validation}: must be from 1 to {len(labels) - 1} of the "
            f"{len(labels)} images"
        )
    if config.subset is not None and config.subset > remaining:
        raise ValueError(
            f"data.subset = {config.subset}: must be at most {remaining}, the training images after {validation} are "
            "held out"
        )
    order = stratified_order(labels, config.split_seed)
    held_out, train = np.split(order[: validation + (config.subset or remaining)], [validation])
    if (missing := _missing(labels[held_out], classes)) is not None:
        raise ValueError(
            f"data.validation_size (or validation_fraction) = {validation}: must be larger, no image is of class "
            f"{missing} of {classes}"
        )
    if (missing := _missing(labels[train], classes)) is not None:
        none = f"no training image is of class {missing} of {classes}"
        if config.subset:
            raise ValueError(f"data.subset = {config.subset}: must be larger, {none}")
        raise ValueError(f"data.validation_size = {validation}: must be smaller, {none}")
    return np.sort(held_out), np.sort(train)


def _missing(labels: np.ndarray, classes: int) -> int | None:
    """The first class without a label."""
    absent = np.flatnonzero(np.bincount(labels, minlength=classes) == 0)
    return int(absent[0]) if len(absent) else None


def _channel_statistics(images: np.ndarray) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each channel on the scale 0 … 1, exact: from counts of the 256 values."""
    values = np.arange(256) / 255
    counts = [np.bincount(images[:, channel].ravel(), minlength=256) for channel in range(images.shape[1])]
    mean = [float(np.average(values, weights=count)) for count in counts]
    std = [float(np.sqrt(np.average((values - m) ** 2, weights=count))) for m, count in zip(mean, counts, strict=True)]
    return tuple(mean), tuple(max(s, 1e-6) for s in std)


def _digest(*parts: str | bytes) -> str:
    digest = hashlib.sha256()
    for part in parts:
        content = part.encode() if isinstance(part, str) else part
        digest.update(len(content).to_bytes(8, "big") + content)
    return digest.hexdigest()[:16]
