"""Image data sets of the `datasets` library."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from designspace.packages import MissingPackage
from sweeps.config import DataConfig
from sweeps.data.image_reader import ImageReader
from sweeps.data.source import PARTS, ImageError, ImageSet, NoSuchPart, Part

if TYPE_CHECKING:
    from PIL.Image import Image

IMAGE, LABEL = ("image", "img"), ("label", "fine_label", "labels")
"""Names of the columns with images and labels."""


@dataclass(frozen=True)
class OpenRow:
    """Opens the image of a row; `part` is the name of the rows in messages."""

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
    """Open one part of the set `config.path`, which needs columns image and label (or img and fine_label).

    Raises:
        MissingPackage: the library is not installed.
        ValueError: there is no path.
        NoSuchPart: the set has no such split with images and labels.
    """
    try:
        import datasets  # type: ignore[import-not-found, unused-ignore]
    except ImportError:
        raise MissingPackage("datasets is not installed: run pip install datasets") from None
    if config.path is None:
        raise ValueError("data.path = None: must be a set of the datasets library, like uoft-cs/cifar100")
    splits = datasets.load_dataset(config.path, cache_dir=config.root and str(config.root))
    for name in (name for name in PARTS[part] if name in splits):
        rows = splits[name]
        image, label = (next((c for c in columns if c in rows.column_names), None) for columns in (IMAGE, LABEL))
        if image is None or label is None:
            continue
        labels = np.array(rows[label], np.int64)
        if labels.min() >= 0:  # undisclosed test labels are -1
            reader = ImageReader(config.max_pixels, config.white_level)
            opener = OpenRow(rows, image, f"{name} of {config.path}", reader)
            return ImageSet(name, labels, int(labels.max()) + 1, str(rows._fingerprint), opener)
    available = "; ".join(f"{name} has {', '.join(rows.column_names)}" for name, rows in splits.items())
    raise NoSuchPart(
        f"data.path = {config.path}: must have a split {' or '.join(PARTS[part])} with images ({' or '.join(IMAGE)}) "
        f"and labels ({' or '.join(LABEL)}), but {available}"
    )
