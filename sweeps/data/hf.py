"""Sets of images from the `datasets` library."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from sweeps.config import DataConfig
from sweeps.damage import ImageError
from sweeps.data.image_reader import ImageReader
from sweeps.data.image_set import PARTS, ImageSet, NoSuchPart
from sweeps.data.source import Part

if TYPE_CHECKING:
    from PIL.Image import Image

IMAGE, LABEL = ("image", "img"), ("label", "fine_label", "labels")
"""Columns of images and labels."""


@dataclass(frozen=True)
class OpenRow:
    """Opens the image in a row; `part` names the rows."""

    rows: Any
    column: str
    part: str
    reader: ImageReader

    def __call__(self, index: int) -> Image:
        name = f"row {index} of {self.part}"
        self.reader.limit_pixels()
        try:
            image: Image = self.rows[index][self.column]
        except Exception as error:
            raise ImageError.of(name, error) from error
        return self.reader.accept(image, name)


def hf(config: DataConfig, part: Part) -> ImageSet:
    """A set of the `datasets` library: `path` names it, columns image and label (or img and fine_label).

    Raises:
        ValueError: the library is not installed, or there is no path.
        NoSuchPart: the set has no such split with images and labels.
    """
    try:
        import datasets  # type: ignore[import-not-found, unused-ignore]
    except ImportError:
        raise ValueError("data=hf needs the package datasets, which is not installed: pip install datasets") from None
    if config.path is None:
        raise ValueError("data.path is missing: must name a set of the datasets library, like uoft-cs/cifar100")
    splits = datasets.load_dataset(config.path, cache_dir=config.root and str(config.root))
    for split in (name for name in PARTS[part] if name in splits):
        rows = splits[split]
        image, label = (next((n for n in names if n in rows.column_names), None) for names in (IMAGE, LABEL))
        if image is None or label is None:
            continue
        labels = np.array(rows[label], np.int64)
        if labels.min() >= 0:  # a test split whose labels are kept secret has -1
            opened = OpenRow(
                rows, image, f"{split} of {config.path}", ImageReader(config.max_pixels, config.white_level)
            )
            return ImageSet(split, labels, int(labels.max()) + 1, str(rows._fingerprint), opened)
    columns = "; ".join(f"{name} has {', '.join(rows.column_names)}" for name, rows in splits.items())
    raise NoSuchPart(
        f"data.path = {config.path}: must have a split {' or '.join(PARTS[part])} with images ({' or '.join(IMAGE)}) "
        f"and labels ({' or '.join(LABEL)}); {columns}"
    )
