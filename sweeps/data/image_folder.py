"""Folders of image files: ROOT/train/CLASS and ROOT/test/CLASS (or val), or ROOT/CLASS."""

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
from sweeps.data.image_reader import ImageReader, suffixes
from sweeps.data.source import PARTS, ImageError, ImageSet, NoSuchPart, Part, stratified_order

if TYPE_CHECKING:
    from PIL.Image import Image

TEST_FRACTION, TEST_SEED = 0.2, 0
"""The test part of a folder without parts is the first fifth of a fixed stratified order, as for digits."""

NAMES_OF_PARTS = {"train", "training", "test", "testing", "val", "valid", "validation", "eval"}
"""Folder names that are never classes."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class OpenFile:
    """Opens the i-th image file of a folder.

    Every worker process has a copy, so the names are stored compactly in one string of bytes; `ends` (N,) has the end
    of each.
    """

    folder: str
    names: bytes
    ends: np.ndarray
    reader: ImageReader

    def __call__(self, index: int) -> Image:
        return self.reader.open(os.path.join(self.folder, os.fsdecode(self.name(index))))

    def name(self, index: int) -> bytes:
        """Return the path of the i-th file, relative to the folder."""
        return self.names[self.ends[index - 1] if index else 0 : self.ends[index]]

    def take(self, indices: np.ndarray) -> OpenFile:
        """Return the opener of some of the files."""
        names = [self.name(index) for index in indices.tolist()]
        return OpenFile(self.folder, b"".join(names), np.cumsum([len(name) for name in names]), self.reader)


def image_folder(config: DataConfig, part: Part) -> ImageSet:
    """Open one part of a folder of images. Classes are the folders of the training part, in alphabetical order.

    A root without a folder named train, test, val or similar contains the classes itself. A fixed fifth of each class
    is its test part.

    Raises:
        ValueError: no root, a class without images, or a class in the test part that is not in train.
        NoSuchPart: the part does not exist.
        ImageError: a link is broken.
    """
    if config.root is None:
        raise ValueError("data.root = None: must be a folder with train/CLASS/*.jpg or CLASS/*.jpg")
    root = Path(config.root).expanduser()
    reader = ImageReader(config.max_pixels, config.white_level)
    if (classes := _folders(root)) and not NAMES_OF_PARTS & {name.lower() for name in classes}:
        return _divided(root, classes, part, reader)
    folder = next((root / name for name in PARTS[part] if _folders(root / name)), None)
    if folder is None:
        raise NoSuchPart(
            f"data.root = {root}: must have a folder {' or '.join(PARTS[part])} with a folder for each class"
        )
    classes, present = _folders(root / "train"), _folders(folder)
    if extra := sorted(set(present) - set(classes)):
        raise ValueError(f"{folder / extra[0]}: must be one of the classes in {root / 'train'}")
    listing = _list(folder, present)
    _check_classes(root / "train", classes)
    labels = np.repeat([classes.index(name) for name in present], listing.counts).astype(np.int64)
    return ImageSet(folder.name, labels, len(classes), listing.content_id, listing.opener(reader), listing.skipped)


def _divided(root: Path, classes: Sequence[str], part: Part, reader: ImageReader) -> ImageSet:
    """Open one part of a folder that contains the classes itself."""
    _check_classes(root, classes)
    for name in classes:
        if not any(path.is_file() for path in (root / name).iterdir()):  # only folders: a part with an unknown name
            raise ValueError(f"{root / name}: must contain images of one class, or be named train, test or val")
    listing = _list(root, classes)
    labels = np.repeat(np.arange(len(classes)), listing.counts)
    test, train = np.split(stratified_order(labels, TEST_SEED), [round(TEST_FRACTION * len(labels))])
    indices = np.sort(test if part == "test" else train)
    opener = listing.opener(reader).take(indices)
    return ImageSet(part, labels[indices], len(classes), f"{listing.content_id} divided", opener, listing.skipped)


def _check_classes(folder: Path, classes: Sequence[str]) -> None:
    if len(classes) < 2:
        raise ValueError(f"{folder}: must have a folder for each of at least two classes")


def skipped_sentence(skipped: Mapping[str, int]) -> str:
    """Return the number of skipped files with the most frequent kinds, like `52 files … (.txt 50, .json 2)`."""
    total, kinds = sum(skipped.values()), sorted(skipped, key=lambda kind: (-skipped[kind], kind))
    shown = [f"{kind} {skipped[kind]}" for kind in kinds[:5]] + (["…"] if len(kinds) > 5 else [])
    files, were = ("file", "was") if total == 1 else ("files", "were")
    return f"{total} {files} of other kinds {were} skipped ({', '.join(shown)})"


class Listing(NamedTuple):
    """The images of a folder: number per class, a digest of names and sizes, and names as in `OpenFile`."""

    folder: str
    counts: tuple[int, ...]
    content_id: str
    names: bytes
    ends: np.ndarray
    skipped: Mapping[str, int]

    def opener(self, reader: ImageReader) -> OpenFile:
        """Return the opener of the files."""
        return OpenFile(self.folder, self.names, self.ends, reader)


def _list(folder: Path, classes: Sequence[str]) -> Listing:
    return _listing(folder, tuple(classes), tuple((folder / name).stat().st_mtime_ns for name in classes))


@functools.lru_cache(
    maxsize=2
)  # training and test part; a million files take seconds, on a network file system minutes
def _listing(folder: Path, classes: tuple[str, ...], changed: tuple[int, ...]) -> Listing:
    """List the folders of some classes, again after a change of their times; log what is skipped."""
    counts: list[int] = []
    lengths: list[int] = []
    names: list[bytes] = []
    skipped: Counter[str] = Counter()
    digest = hashlib.sha256()
    for name in classes:
        images, others = _files(folder, name)
        skipped += others
        if not images:
            reason = f"; {skipped_sentence(others)}" if others else ""
            raise ValueError(f"{folder / name}: must have images in a format that Pillow reads{reason}")
        lines = b"\n".join(b"%s %d" % line for line in images)
        digest.update(b"\n" + lines if counts else lines)
        counts.append(len(images))
        lengths += [len(path) for path, _ in images]
        names += [path for path, _ in images]
    if skipped:
        log.warning("%s: %s", folder, skipped_sentence(skipped))
    content_id = digest.hexdigest()[:16]
    return Listing(str(folder), tuple(counts), content_id, b"".join(names), np.cumsum(lengths), dict(skipped))


def _files(folder: Path, name: str) -> tuple[list[tuple[bytes, int]], Counter[str]]:
    """Return the images below `folder`/`name`, sorted, as paths relative to `folder` and sizes in bytes.

    The second value counts other files by kind. Names that begin with a dot are ignored. Links to files are followed,
    links to folders are not.
    """
    images, skipped, readable = [], Counter[str](), suffixes()
    folders, start = [os.fsencode(folder / name)], len(os.fsencode(folder)) + 1
    while folders:
        with os.scandir(folders.pop()) as entries:
            for entry in entries:
                if entry.name.startswith(b"."):
                    continue
                if entry.is_dir(follow_symlinks=False):
                    folders.append(entry.path)
                    continue
                suffix = os.path.splitext(entry.name)[1].lower().decode(errors="backslashreplace")
                if suffix not in readable:
                    skipped[suffix or "without suffix"] += 1
                    continue
                try:
                    status = entry.stat()
                except OSError as error:  # a broken link
                    raise ImageError.of(os.fsdecode(entry.path), error) from error
                if stat.S_ISREG(status.st_mode):
                    images.append((entry.path[start:], status.st_size))
                else:  # opening a pipe would block
                    skipped["not a regular file"] += 1
    return sorted(images, key=lambda file: file[0].split(b"/")), skipped


def _folders(path: Path) -> Sequence[str]:
    """Return the names of the folders in a folder, in alphabetical order; none if it does not exist."""
    if not path.is_dir():
        return ()
    with os.scandir(path) as entries:
        return sorted(entry.name for entry in entries if not entry.name.startswith(".") and entry.is_dir())
