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
PARTS: dict[Part, tuple[str, ...]] = {"train": ("train",), "test": ("test", "val", "validation")}
"""What a set may call its parts; the first that it has is taken. Our validation split is held out of the training part,
so the set's own is for testing where nothing else is, as in ImageNet."""

PICTURE, LABEL = ("image", "img"), ("label", "fine_label", "labels")
"""Columns of a set of the `datasets` library."""

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class NoSuchPart(ValueError):
    """The set has no such part."""


@dataclass(frozen=True, eq=False)
class Pictures:
    """Labels int64 (N,) of pictures on disk, how to open the i-th as RGB, and names for the part and its content."""

    part: str
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
    """The files of `root`/train/CLASS, or `root`/test/CLASS (or val); classes are train's, in alphabetical order.

    Raises:
        ValueError: there is no root, a class without pictures, or one in the test part that is not in train.
        NoSuchPart: there is no such folder.
    """
    if config.root is None:
        raise ValueError("data.root is missing; data=image_folder needs the folder that holds train/CLASS/*.jpg")
    root = Path(config.root).expanduser()
    folder = next((root / name for name in PARTS[part] if _folders(root / name)), None)
    if folder is None:
        raise NoSuchPart(
            f"data.root is {root}; it has no folder {' or '.join(PARTS[part])} with a folder for each class."
        )
    classes = [place.name for place in _folders(root / "train")]
    files, labels = [], []
    for place in _folders(folder):
        if place.name not in classes:
            raise ValueError(f"{place} is of a class that {root / 'train'} does not have.")
        found = sorted(path for path in place.rglob("*") if path.suffix.lower() in SUFFIXES)
        if not found:
            raise ValueError(f"{place} has no pictures; allowed: files ending in {', '.join(SUFFIXES)}.")
        files += found
        labels += [classes.index(place.name)] * len(found)
    if len(classes) < 2:
        raise ValueError(f"{root / 'train'} has {len(classes)} folders of pictures; at least two classes are needed.")
    listing = "\n".join(f"{path.relative_to(folder)} {path.stat().st_size}" for path in files)
    name = hashlib.sha256(listing.encode()).hexdigest()[:16]
    return Pictures(folder.name, np.array(labels, np.int64), len(classes), name, OpenFile(tuple(files)))


def _folders(place: Path) -> list[Path]:
    return sorted(path for path in place.iterdir() if path.is_dir()) if place.is_dir() else []


def hf(config: DataConfig, part: Part) -> Pictures:
    """A set of the `datasets` library: `path` names it, columns image and label (or img and fine_label).

    Raises:
        ValueError: the library is not installed, or there is no path.
        NoSuchPart: the set has no such split with pictures and labels.
    """
    try:
        import datasets  # type: ignore[import-not-found, unused-ignore]
    except ImportError:
        raise ValueError("data=hf needs the package datasets, which is not installed: pip install datasets") from None
    if config.path is None:
        raise ValueError("data.path is missing; data=hf needs the name of a set, like data.path=uoft-cs/cifar100")
    splits = datasets.load_dataset(config.path)
    for split in (name for name in PARTS[part] if name in splits):
        rows = splits[split]
        picture, label = (next((n for n in names if n in rows.column_names), None) for names in (PICTURE, LABEL))
        if picture is None or label is None:
            continue
        labels = np.array(rows[label], np.int64)
        if labels.min() >= 0:  # a test split whose labels are kept secret has -1
            return Pictures(split, labels, int(labels.max()) + 1, str(rows._fingerprint), OpenRow(rows, picture))
    columns = "; ".join(f"{name} has {', '.join(rows.column_names)}" for name, rows in splits.items())
    wanted = f"pictures ({' or '.join(PICTURE)}) and labels ({' or '.join(LABEL)})"
    raise NoSuchPart(
        f"data.path is {config.path}; it has no split {' or '.join(PARTS[part])} with {wanted}: {columns}."
    )


PICTURES: dict[str, Callable[[DataConfig, Part], Pictures]] = {"image_folder": image_folder, "hf": hf}
