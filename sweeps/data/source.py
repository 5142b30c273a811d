"""The interface of a data set: small sets load as arrays, large sets open one image at a time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from PIL.Image import Image

Part = Literal["train", "test"]

PARTS: dict[Part, tuple[str, ...]] = {"train": ("train",), "test": ("test", "val", "validation")}
"""Names of the parts of a large set; the first that exists is used. The validation split is held out of the training
part. If a set has no test part, as ImageNet, its own validation part is the test part."""


@dataclass(frozen=True, eq=False)
class LabeledImages:
    """Images uint8 (N, C, H, W) and labels int64 (N,), in the order of the set."""

    images: np.ndarray
    labels: np.ndarray


@dataclass(frozen=True)
class Source:
    """A small data set.

    Attributes:
        name: name of the set.
        content_id: identifies the exact content, a digest or a version.
        classes: number of classes.
        prepare: downloads the set into a cache folder.
        load: reads one part from the cache folder; FileNotFoundError before `prepare`.
    """

    name: str
    content_id: str
    classes: int
    prepare: Callable[[Path], None]
    load: Callable[[Path, Part], LabeledImages]


@dataclass(frozen=True, eq=False)
class ImageSet:
    """One part of a large data set: labels in memory, images on disk.

    Attributes:
        part: name of the part in the set.
        labels: int64 (N,).
        classes: number of classes in the training part.
        content_id: identifies the exact content.
        opener: opens the i-th image, in any mode with 8 bits per channel, possibly not decoded yet; raises ImageError.
        skipped: number of files that are not images, by kind.
    """

    part: str
    labels: np.ndarray
    classes: int
    content_id: str
    opener: Callable[[int], Image]
    skipped: Mapping[str, int] = field(default_factory=dict)


class ImageError(ValueError):
    """An image cannot be read: damaged data, not a failure of the model."""

    @classmethod
    def of(cls, image: str, error: Exception) -> ImageError:
        """The error of an image (a file or a row) from the exception that was raised."""
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        first_line = (reason.splitlines() or [""])[0]
        return cls(f"{image} cannot be read as an image: {first_line or type(error).__name__}.")


class NoSuchPart(ValueError):
    """The data set does not have the requested part."""


def stratified_order(labels: np.ndarray, seed: int) -> np.ndarray:
    """Return a random permutation, int64 (N,), of which every prefix is stratified.

    The k-th of a class's n_c samples is at (k + ½)/n_c of the order. Every prefix therefore has each class within about
    one sample of its share, and a longer prefix contains the shorter ones.

    Args:
        labels: (N,), small integers.
        seed: at least 0.
    """
    generator = np.random.default_rng(seed)
    position = np.empty(len(labels))
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        position[generator.permutation(members)] = (np.arange(len(members)) + 0.5) / len(members)
    # Classes of equal size have equal positions; break ties at random, not by class.
    return np.lexsort((generator.random(len(labels)), position)).astype(np.int64)
