"""Training and validation splits of the data set described by a DataConfig."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from designspace.validated import unknown
from sweeps.config import DataConfig
from sweeps.data import cifar, digits, fashion_mnist
from sweeps.data.download import cache_root
from sweeps.data.hf import hf
from sweeps.data.image_folder import image_folder
from sweeps.data.source import ImageSet, LabeledImages, NoSuchPart, Part, Source, stratified_order
from sweeps.resources import cores

if TYPE_CHECKING:
    from PIL.Image import Image

SOURCES: dict[str, Source] = {
    source.name: source for source in (digits.SOURCE, fashion_mnist.SOURCE, cifar.CIFAR10, cifar.CIFAR100)
}
STREAMED: dict[str, Callable[[DataConfig, Part], ImageSet]] = {"image_folder": image_folder, "hf": hf}

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True, eq=False)
class Splits:
    """Training and validation images in memory, without the test part.

    Attributes:
        train_images: uint8 (N, C, H, W).
        train_labels: int64 (N,).
        validation_images: uint8 (M, C, H, W).
        validation_labels: int64 (M,).
        mean: of the training images, per channel, in 0 … 1.
        std: the same.
        classes: number of classes.
        data_id: identifies content, classes, and division into training and validation, 16 hex digits.
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
        """Number of channels."""
        return int(self.train_images.shape[1])

    @property
    def resolution(self) -> int:
        """Pixels per side of the square images."""
        return int(self.train_images.shape[2])

    @property
    def validation_size(self) -> int:
        """Number of validation images."""
        return len(self.validation_labels)


@dataclass(frozen=True, eq=False)
class StreamedSplits:
    """Training and validation images on disk, without the test part.

    Attributes:
        train: indices of the training images, for `labels` and `opener`.
        validation: indices of the validation images.
        labels: int64.
        opener: opens an image, see `ImageSet`.
        resolution: pixels per side to which images are resized.
        mean: of ImageNet, per channel, in 0 … 1.
        std: the same.
        classes: number of classes.
        data_id: identifies content, classes, and division into training and validation, 16 hex digits.
        workers: number of processes that decode images.
        skipped: number of files that are not images, by kind.
    """

    train: np.ndarray
    validation: np.ndarray
    labels: np.ndarray
    opener: Callable[[int], Image]
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
        """Number of validation images."""
        return len(self.validation)


def names() -> tuple[str, ...]:
    """Return the names of the data sets."""
    return (*SOURCES, *STREAMED)


def prepare_data(config: DataConfig) -> None:
    """Download a data set into the cache unless it is there; safe for concurrent processes."""
    if config.name in STREAMED:
        STREAMED[config.name](config, "train")
    else:
        _source(config).prepare(cache_root(config.root))


def automatic_workers(processes: int) -> int:
    """Return the number of decoding processes for each of `processes` training processes: its share of the cores."""
    per_network = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))  # set by torchrun
    return max(1, cores() // (processes * per_network))


def open_data(config: DataConfig, processes: int = 1) -> Splits | StreamedSplits:
    """Return training and validation splits, in memory for small sets, otherwise streamed from disk.

    Args:
        config: the data set and its division.
        processes: training processes on this machine, which share its cores if `data.workers` is auto.

    Raises:
        ValueError: the config does not fit the data set.
    """
    if config.name not in STREAMED:
        return _open_small(config)
    if config.resolution is None:
        raise ValueError("data.resolution = None: must be the pixels per side to which images are resized, like 224")
    if config.in_channels not in (None, 3):
        raise ValueError(f"data.in_channels = {config.in_channels}: must be 3 for {config.name}")
    images = STREAMED[config.name](config, "train")
    classes = _classes(config, images.classes)
    candidates = np.flatnonzero(images.labels < classes)
    validation, train = (candidates[part] for part in _divide(config, images.labels[candidates], classes))
    # What the pixels depend on. Without a white level, images with more than 8 bits are rejected.
    size = (classes, config.resolution) + (() if config.white_level is None else (config.white_level,))
    return StreamedSplits(
        train=train,
        validation=validation,
        labels=images.labels,
        opener=images.opener,
        resolution=config.resolution,
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
        classes=classes,
        data_id=_digest(images.content_id, str(size), validation.tobytes(), train.tobytes()),
        workers=automatic_workers(processes) if config.workers == "auto" else config.workers,
        skipped=images.skipped,
    )


def find_test(config: DataConfig) -> str | None:
    """Return the set's own name of its test part, None if it has none. Reads no image.

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
    """Return the splits with the test part in place of the validation part. For final models only.

    Args:
        config: the data set.
        splits: returned by `open_data`.
    """
    if isinstance(splits, Splits):
        test = _load(config, "test")
        return replace(
            splits,
            train_images=splits.train_images[:0],
            train_labels=splits.train_labels[:0],
            validation_images=test.images,
            validation_labels=test.labels,
        )
    images = STREAMED[config.name](config, "test")
    validation = np.flatnonzero(images.labels < (config.classes or images.classes))
    return replace(splits, train=splits.train[:0], validation=validation, labels=images.labels, opener=images.opener)


def _open_small(config: DataConfig) -> Splits:
    source, data = _source(config), _load(config, "train")
    classes = config.classes or source.classes
    validation, train = _divide(config, data.labels, classes)
    train_images = data.images[train]
    mean, std = _channel_statistics(train_images)
    return Splits(
        train_images=train_images,
        train_labels=data.labels[train],
        validation_images=data.images[validation],
        validation_labels=data.labels[validation],
        mean=mean,
        std=std,
        classes=classes,
        data_id=_digest(source.content_id, str(classes), validation.tobytes(), train.tobytes()),
    )


def _classes(config: DataConfig, available: int) -> int:
    if config.classes is not None and config.classes > available:
        raise ValueError(f"data.classes = {config.classes}: must be at most {available} for {config.name}")
    return config.classes or available


def _source(config: DataConfig) -> Source:
    if config.name not in SOURCES:
        raise ValueError(unknown("data.name", config.name, names()))
    return SOURCES[config.name]


def _load(config: DataConfig, part: Part) -> LabeledImages:
    """Read one part of a small data set, downloading it first if necessary, and check it against the config."""
    source, root = _source(config), cache_root(config.root)
    classes = _classes(config, source.classes)
    try:
        data = source.load(root, part)
    except FileNotFoundError:
        source.prepare(root)
        data = source.load(root, part)
    _, channels, height, _ = data.images.shape
    for field, value, actual in (
        ("resolution", config.resolution, height),
        ("in_channels", config.in_channels, channels),
    ):
        if value not in (None, actual):
            raise ValueError(f"data.{field} = {value}: must be {actual} for {source.name}")
    if classes < source.classes:
        kept = data.labels < classes
        data = LabeledImages(data.images[kept], data.labels[kept])
    return data


def _divide(config: DataConfig, labels: np.ndarray, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Return increasing indices of the validation images and of the training images; each has all classes."""
    if (missing := _missing_class(labels, classes)) is not None:
        raise ValueError(f"data.name = {config.name}: must have a training image of class {missing} of {classes}")
    validation_size = config.validation_size or round(config.validation_fraction * len(labels))
    field = "data.validation_size" if config.validation_size else "data.validation_fraction"
    value = config.validation_size or config.validation_fraction
    remaining = len(labels) - validation_size
    if validation_size < 1 or remaining < 1:
        raise ValueError(f"{field} = {value}: must leave 1 to {len(labels) - 1} of the {len(labels)} images")
    if config.subset is not None and config.subset > remaining:
        raise ValueError(
            f"data.subset = {config.subset}: must be at most {remaining}, the training images without the "
            f"{validation_size} validation images"
        )
    order = stratified_order(labels, config.split_seed)
    validation, train = np.split(order[: validation_size + (config.subset or remaining)], [validation_size])
    if (missing := _missing_class(labels[validation], classes)) is not None:
        raise ValueError(f"{field} = {value}: must be larger, no validation image has class {missing} of {classes}")
    if (missing := _missing_class(labels[train], classes)) is not None:
        reason = f"no training image has class {missing} of {classes}"
        if config.subset:
            raise ValueError(f"data.subset = {config.subset}: must be larger, {reason}")
        raise ValueError(f"{field} = {value}: must be smaller, {reason}")
    return np.sort(validation), np.sort(train)


def _missing_class(labels: np.ndarray, classes: int) -> int | None:
    """Return the first class without a label."""
    absent = np.flatnonzero(np.bincount(labels, minlength=classes) == 0)
    return int(absent[0]) if len(absent) else None


def _channel_statistics(images: np.ndarray) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and standard deviation per channel in 0 … 1, computed exactly from the counts of the 256 values."""
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
