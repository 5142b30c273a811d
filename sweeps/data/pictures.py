"""Large sets of pictures that stay on disk: folders of image files, and sets of the `datasets` library.

Both give labels at once and pictures one at a time; `sweeps.stream` decodes them in worker processes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sweeps.data.config import DataConfig
from sweeps.data.source import Part

if TYPE_CHECKING:
    from PIL.Image import Image

SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png", ".ppm", ".webp")
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True, eq=False)
class Pictures:
    """Labels int64 (N,) of pictures on disk, how to open the i-th as RGB, and a name for their content."""

    labels: np.ndarray
    classes: int
    content_id: str
    opened: Callable[[int], Image]


@dataclass(frozen=True)
class OpenFile:
    """Opens the i-th of a list of image files; picklable, for worker processes."""

    files: tuple[Path, ...]

    def __call__(self, index: int) -> Image:
        from PIL import Image

        with Image.open(self.files[index]) as picture:
            return picture.convert("RGB")


@dataclass(frozen=True)
class OpenRow:
    """Opens the picture in a row of a set of the `datasets` library."""

    rows: Any
    column: str

    def __call__(self, index: int) -> Image:
        picture: Image = self.rows[index][self.column]
        return picture.convert("RGB")


def image_folder(config: DataConfig, part: Part) -> Pictures:
    """The files of `root`/train/CLASS or `root`/val/CLASS (or test), classes in alphabetical order.

    Raises:
        ValueError: there is no root, no such folder, or a class without pictures.
    """
    if config.root is None:
        raise ValueError("data.root is missing; data=image_folder needs the folder that holds train/CLASS/*.jpg")
    root = Path(config.root).expanduser()
    places = [root / "train"] if part == "train" else [root / "val", root / "test"]
    folder = next((place for place in places if place.is_dir()), None)
    if folder is None:
        raise ValueError(f"data.root is {root}; it has no folder {' or '.join(place.name for place in places)}.")
    classes = sorted(place for place in folder.iterdir() if place.is_dir())
    files, labels = [], []
    for label, place in enumerate(classes):
        found = sorted(path for path in place.rglob("*") if path.suffix.lower() in SUFFIXES)
        if not found:
            raise ValueError(f"{place} has no pictures; allowed: files ending in {', '.join(SUFFIXES)}.")
        files += found
        labels += [label] * len(found)
    if len(classes) < 2:
        raise ValueError(f"{folder} has {len(classes)} folders of pictures; at least two classes are needed.")
    listing = "\n".join(f"{path.relative_to(folder)} {path.stat().st_size}" for path in files)
    name = hashlib.sha256(listing.encode()).hexdigest()[:16]
    return Pictures(np.array(labels, np.int64), len(classes), name, OpenFile(tuple(files)))


def hf(config: DataConfig, part: Part) -> Pictures:
    """A set of the `datasets` library: `path` names it, columns image and label (or img and fine_label).

    Raises:
        ValueError: the library is not installed, there is no path, or the columns are others.
    """
    try:
        import datasets  # type: ignore[import-not-found, unused-ignore]
    except ImportError:
        raise ValueError("data=hf needs the package datasets, which is not installed: pip install datasets") from None
    if config.path is None:
        raise ValueError("data.path is missing; data=hf needs the name of a set, like data.path=uoft-cs/cifar100")
    rows = datasets.load_dataset(config.path, split=part)
    names = rows.column_names
    picture = next((name for name in ("image", "img") if name in names), None)
    label = next((name for name in ("label", "fine_label", "labels") if name in names), None)
    if picture is None or label is None:
        raise ValueError(f"{config.path} has the columns {', '.join(names)}; an image and a label column are needed.")
    labels = np.array(rows[label], np.int64)
    return Pictures(labels, int(labels.max()) + 1, str(rows._fingerprint), OpenRow(rows, picture))


PICTURES: dict[str, Callable[[DataConfig, Part], Pictures]] = {"image_folder": image_folder, "hf": hf}
