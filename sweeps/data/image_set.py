"""Large sets of images that stay on disk: labels are in memory, images are opened one at a time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from sweeps.data.source import Part

if TYPE_CHECKING:
    from PIL.Image import Image

PARTS: dict[Part, tuple[str, ...]] = {"train": ("train",), "test": ("test", "val", "validation")}
"""Names of the parts of a set; the first that it has is taken. Our validation split is held out of the training part,
so the set's own is for testing where there is no test part, as in ImageNet."""

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class NoSuchPart(ValueError):
    """The set has no such part."""


@dataclass(frozen=True, eq=False)
class ImageSet:
    """One part of a set: labels int64 (N,), and how to open the i-th image.

    Attributes:
        part: the set's own name of the part.
        classes: number of classes in the training part.
        content_id: names the exact content.
        opened: gives an image in any mode of 8 bits a channel, perhaps not decoded yet; raises ImageError.
        skipped: number of files that are not read, by kind.
    """

    part: str
    labels: np.ndarray
    classes: int
    content_id: str
    opened: Callable[[int], Image]
    skipped: Mapping[str, int] = field(default_factory=dict)
