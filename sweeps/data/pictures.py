"""Large sets of pictures that stay on disk: folders of image files, and sets of the `datasets` library.

Both give labels at once and pictures one at a time; `sweeps.trainer.stream` decodes them in processes of their own.
"""

from __future__ import annotations

import functools
import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from sweeps.damage import PictureError
from sweeps.data.config import DataConfig
from sweeps.data.source import Part

if TYPE_CHECKING:
    from PIL.Image import Image

SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png", ".ppm", ".webp")
"""Of the names of pictures, in small or capital letters; what has another, or begins with a dot, is passed over."""

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
    """Labels int64 (N,) of pictures on disk, how to open the i-th, and names for the part and its content.

    What `opened` gives may be in any mode and not decoded yet; it raises PictureError.
    """

    part: str
    labels: np.ndarray
    classes: int
    content_id: str
    opened: Callable[[int], Image]


@dataclass(frozen=True, eq=False)
class OpenFile:
    """Opens the i-th of the image files in a folder.

    Worker processes get a copy each, so the names are one string of bytes: `ends` (N,) says where each ends in it.
    """

    folder: str
    names: bytes
    ends: np.ndarray

    def __call__(self, index: int) -> Image:
        from PIL import Image

        name = self.names[self.ends[index - 1] if index else 0 : self.ends[index]]
        path = os.path.join(self.folder, os.fsdecode(name))
        try:
            return Image.open(path)
        except Exception as error:
            raise PictureError.of(path, error) from error


@dataclass(frozen=True)
class OpenRow:
    """Opens the picture in a row of a set of the `datasets` library; `part` is what the rows are called."""

    rows: Any
    column: str
    part: str

    def __call__(self, index: int) -> Image:
        try:
            picture: Image = self.rows[index][self.column]
        except Exception as error:
            raise PictureError.of(f"row {index} of {self.part}", error) from error
        return picture


def image_folder(config: DataConfig, part: Part) -> Pictures:
    """The files of `root`/train/CLASS, or `root`/test/CLASS (or val); classes are train's, in alphabetical order.

    Raises:
        ValueError: there is no root, a class without pictures, or one in the test part that is not in train.
        NoSuchPart: there is no such folder.
        PictureError: a link leads nowhere.
    """
    if config.root is None:
        raise ValueError("data.root is missing; data=image_folder needs the folder that holds train/CLASS/*.jpg")
    root = Path(config.root).expanduser()
    folder = next((root / name for name in PARTS[part] if _folders(root / name)), None)
    if folder is None:
        raise NoSuchPart(
            f"data.root is {root}; it has no folder {' or '.join(PARTS[part])} with a folder for each class."
        )
    classes, present = _folders(root / "train"), _folders(folder)
    if unknown := sorted(set(present) - set(classes)):
        raise ValueError(f"{folder / unknown[0]} is of a class that {root / 'train'} does not have.")
    changed = tuple((folder / name).stat().st_mtime_ns for name in present)
    listing = _listing(folder, tuple(present), changed)
    if len(classes) < 2:
        raise ValueError(f"{root / 'train'} has {len(classes)} folders of pictures; at least two classes are needed.")
    labels = np.repeat([classes.index(name) for name in present], listing.counts)
    return Pictures(folder.name, labels.astype(np.int64), len(classes), listing.content_id, listing.opened)


class Listing(NamedTuple):
    """The pictures of a folder: how many each class has, a digest of their names and sizes, how to open them."""

    counts: tuple[int, ...]
    content_id: str
    opened: OpenFile


@functools.lru_cache(maxsize=2)  # the training and the test part: a million files take seconds, on a network minutes
def _listing(folder: Path, classes: tuple[str, ...], changed: tuple[int, ...]) -> Listing:
    """List the folders of some classes; what `changed` last at another time than before is listed anew."""
    counts: list[int] = []
    lengths: list[int] = []
    names: list[bytes] = []
    digest = hashlib.sha256()
    for place in classes:
        found = _files(folder, place)
        if not found:
            raise ValueError(f"{folder / place} has no pictures; allowed: files ending in {', '.join(SUFFIXES)}.")
        lines = b"\n".join(b"%s %d" % line for line in found)
        digest.update(b"\n" + lines if counts else lines)
        counts.append(len(found))
        lengths += [len(name) for name, _ in found]
        names += [name for name, _ in found]
    opened = OpenFile(str(folder), b"".join(names), np.cumsum(lengths))
    return Listing(tuple(counts), digest.hexdigest()[:16], opened)


def _files(folder: Path, place: str) -> list[tuple[bytes, int]]:
    """The names, relative to `folder`, and sizes in bytes of the pictures at and below a place in it, in order."""
    found, places, start = [], [os.fsencode(folder / place)], len(os.fsencode(folder)) + 1
    while places:
        with os.scandir(places.pop()) as entries:
            for entry in entries:
                if entry.name.startswith(b"."):
                    continue
                if entry.is_dir(follow_symlinks=False):
                    places.append(entry.path)
                elif os.path.splitext(os.fsdecode(entry.name))[1].lower() in SUFFIXES:
                    try:
                        found.append((entry.path[start:], entry.stat().st_size))
                    except OSError as error:  # a link that leads nowhere
                        raise PictureError.of(os.fsdecode(entry.path), error) from error
    return sorted(found, key=lambda file: file[0].split(b"/"))


def _folders(place: Path) -> Sequence[str]:
    """The names of the folders in a place, in alphabetical order; none where there is no such place."""
    if not place.is_dir():
        return ()
    with os.scandir(place) as entries:
        return sorted(entry.name for entry in entries if not entry.name.startswith(".") and entry.is_dir())


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
    splits = datasets.load_dataset(config.path, cache_dir=config.root and str(config.root))
    for split in (name for name in PARTS[part] if name in splits):
        rows = splits[split]
        picture, label = (next((n for n in names if n in rows.column_names), None) for names in (PICTURE, LABEL))
        if picture is None or label is None:
            continue
        labels = np.array(rows[label], np.int64)
        if labels.min() >= 0:  # a test split whose labels are kept secret has -1
            opened = OpenRow(rows, picture, f"{split} of {config.path}")
            return Pictures(split, labels, int(labels.max()) + 1, str(rows._fingerprint), opened)
    columns = "; ".join(f"{name} has {', '.join(rows.column_names)}" for name, rows in splits.items())
    wanted = f"pictures ({' or '.join(PICTURE)}) and labels ({' or '.join(LABEL)})"
    raise NoSuchPart(
        f"data.path is {config.path}; it has no split {' or '.join(PARTS[part])} with {wanted}: {columns}."
    )


PICTURES: dict[str, Callable[[DataConfig, Part], Pictures]] = {"image_folder": image_folder, "hf": hf}
