"""Folders of image files: ROOT/train/CLASS and ROOT/test/CLASS (or val), or just ROOT/CLASS."""

from __future__ import annotations

import functools
import hashlib
import logging
import os
import stat
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from sweeps.config import DataConfig
from sweeps.damage import ImageError
from sweeps.data.image_reader import ImageReader, suffixes
from sweeps.data.image_set import PARTS, ImageSet, NoSuchPart
from sweeps.data.source import Part
from sweeps.data.split import stratified_order

if TYPE_CHECKING:
    from PIL.Image import Image

TEST_FRACTION, TEST_SEED = 0.2, 0
"""The test part of a folder without parts: as of digits, the first fifth of a fixed stratified order."""

NAMES_OF_PARTS = {"train", "training", "test", "testing", "val", "valid", "validation", "eval"}
"""Folders that are never taken for classes."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class OpenFile:
    """Opens the i-th of the image files in a folder.

    Each worker process gets a copy, so the names are one string of bytes: `ends` (N,) says where each ends in it.
    """

    folder: str
    names: bytes
    ends: np.ndarray
    reader: ImageReader

    def __call__(self, index: int) -> Image:
        return self.reader.open(os.path.join(self.folder, os.fsdecode(self.name(index))))

    def name(self, index: int) -> bytes:
        """The path of the i-th file, relative to the folder."""
        return self.names[self.ends[index - 1] if index else 0 : self.ends[index]]

    def take(self, chosen: np.ndarray) -> OpenFile:
        """The opener of some of the files, by index."""
        names = [self.name(index) for index in chosen.tolist()]
        return OpenFile(self.folder, b"".join(names), np.cumsum([len(name) for name in names]), self.reader)


def image_folder(config: DataConfig, part: Part) -> ImageSet:
    """One part of a folder of images; the classes are the training part's folders in alphabetical order.

    A root without a folder called train, test, val or similar holds the classes itself and is divided: a fifth of each
    class, drawn once and for all, is for testing.

    Raises:
        ValueError: no root, a class without images, or one in the test part that is not in train.
        NoSuchPart: there is no such folder.
        ImageError: a link leads nowhere.
    """
    if config.root is None:
        raise ValueError("data.root is missing: must be a folder that holds train/CLASS/*.jpg or CLASS/*.jpg")
    root = Path(config.root).expanduser()
    reader = ImageReader(config.max_pixels, config.white_level)
    if (classes := _folders(root)) and not NAMES_OF_PARTS & {name.lower() for name in classes}:
        return _divided(root, classes, part, reader)
    folder = next((root / name for name in PARTS[part] if _folders(root / name)), None)
    if folder is None:
        raise NoSuchPart(f"data.root = {root}: must have a folder {' or '.join(PARTS[part])} with one for each class")
    classes, present = _folders(root / "train"), _folders(folder)
    if unknown := sorted(set(present) - set(classes)):
        raise ValueError(f"{folder / unknown[0]}: must be one of the classes in {root / 'train'}")
    listing = _list(folder, present)
    _check_classes(root / "train", classes)
    labels = np.repeat([classes.index(name) for name in present], listing.counts).astype(np.int64)
    return ImageSet(folder.name, labels, len(classes), listing.content_id, listing.opener(reader), listing.skipped)


def _divided(root: Path, classes: Sequence[str], part: Part, reader: ImageReader) -> ImageSet:
    """One part of a folder that holds the classes itself."""
    _check_classes(root, classes)
    for name in classes:
        if not any(path.is_file() for path in (root / name).iterdir()):  # a part under another name has folders only
            raise ValueError(f"{root / name}: must hold images of one class, or be called train, test or val")
    listing = _list(root, classes)
    labels = np.repeat(np.arange(len(classes)), listing.counts)
    test, train = np.split(stratified_order(labels, TEST_SEED), [round(TEST_FRACTION * len(labels))])
    chosen = np.sort(test if part == "test" else train)
    opened = listing.opener(reader).take(chosen)
    return ImageSet(part, labels[chosen], len(classes), f"{listing.content_id} divided", opened, listing.skipped)


def _check_classes(folder: Path, classes: Sequence[str]) -> None:
    if len(classes) < 2:
        raise ValueError(f"{folder}: must have at least two folders, one for each class, not {len(classes)}")


def skipped_sentence(skipped: Mapping[str, int]) -> str:
    """How many files are not read, with the most frequent kinds, like `52 files … (.txt 50, .json 2)`."""
    total, kinds = sum(skipped.values()), sorted(skipped, key=lambda kind: (-skipped[kind], kind))
    shown = [f"{kind} {skipped[kind]}" for kind in kinds[:5]] + (["…"] if len(kinds) > 5 else [])
    files, were = ("file", "was") if total == 1 else ("files", "were")
    return f"{total} {files} of other kinds {were} skipped ({', '.join(shown)})"


class Listing(NamedTuple):
    """The images of a folder: how many each class has, a digest of their names and sizes, and where they are."""

    folder: str
    counts: tuple[int, ...]
    content_id: str
    names: bytes
    ends: np.ndarray
    skipped: Mapping[str, int]

    def opener(self, reader: ImageReader) -> OpenFile:
        """What opens the files."""
        return OpenFile(self.folder, self.names, self.ends, reader)


def _list(folder: Path, classes: Sequence[str]) -> Listing:
    return _listing(folder, tuple(classes), tuple((folder / name).stat().st_mtime_ns for name in classes))


@functools.lru_cache(maxsize=2)  # the training and the test part: a million files take seconds, on a network minutes
def _listing(folder: Path, classes: tuple[str, ...], changed: tuple[int, ...]) -> Listing:
    """List the folders of some classes, again if one has `changed` since; report what is skipped."""
    counts: list[int] = []
    lengths: list[int] = []
    names: list[bytes] = []
    skipped: Counter[str] = Counter()
    digest = hashlib.sha256()
    for place in classes:
        images, others = _files(folder, place)
        skipped += others
        if not images:
            reason = f"; {skipped_sentence(others)}" if others else ""
            raise ValueError(f"{folder / place}: must have images in a format that Pillow reads{reason}")
        lines = b"\n".join(b"%s %d" % line for line in images)
        digest.update(b"\n" + lines if counts else lines)
        counts.append(len(images))
        lengths += [len(name) for name, _ in images]
        names += [name for name, _ in images]
    if skipped:
        log.warning("%s: %s", folder, skipped_sentence(skipped))
    content_id = digest.hexdigest()[:16]
    return Listing(str(folder), tuple(counts), content_id, b"".join(names), np.cumsum(lengths), dict(skipped))


def _files(folder: Path, place: str) -> tuple[list[tuple[bytes, int]], Counter[str]]:
    """Names, relative to `folder`, and sizes in bytes of the images at and below a place in it, in order.

    Also the number of other files by kind; files whose names begin with a dot do not count. Links to files are
    followed, links to folders are not.
    """
    images, skipped, readable = [], Counter[str](), suffixes()
    places, start = [os.fsencode(folder / place)], len(os.fsencode(folder)) + 1
    while places:
        with os.scandir(places.pop()) as entries:
            for entry in entries:
                if entry.name.startswith(b"."):
                    continue
                if entry.is_dir(follow_symlinks=False):
                    places.append(entry.path)
                    continue
                suffix = os.path.splitext(entry.name)[1].lower().decode(errors="backslashreplace")
                if suffix not in readable:
                    skipped[suffix or "without suffix"] += 1
                    continue
                try:
                    status = entry.stat()
                except OSError as error:  # a link that leads nowhere
                    raise ImageError.of(os.fsdecode(entry.path), error) from error
                if stat.S_ISREG(status.st_mode):
                    images.append((entry.path[start:], status.st_size))
                else:  # opening a pipe would wait for ever
                    skipped["not a regular file"] += 1
    return sorted(images, key=lambda file: file[0].split(b"/")), skipped


def _folders(place: Path) -> Sequence[str]:
    """Names of the folders in a place, in alphabetical order; none if there is no such place."""
    if not place.is_dir():
        return ()
    with os.scandir(place) as entries:
        return sorted(entry.name for entry in entries if not entry.name.startswith(".") and entry.is_dir())
