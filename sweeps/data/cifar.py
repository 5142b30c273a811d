"""CIFAR-10 and CIFAR-100 (Krizhevsky 2009): 50,000 + 10,000 colour images, 32×32, from the official binary archives.

The binary version needs no unpickling. The archive is checked before it is opened, and cached unchanged.
"""

from __future__ import annotations

import functools
import hashlib
import io
import logging
import tarfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from designspace.atomic import replace_file
from sweeps.data import fetch
from sweeps.data.cache import locked
from sweeps.data.source import LabelledImages, Part, Source

ADDRESS = "https://www.cs.toronto.edu/~kriz"
PIXELS = 3 * 32 * 32

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Archive:
    """One of the two archives: its MD5 as the official page gives it, and the members of each part.

    A sample is `label_bytes` labels, of which the last is taken (CIFAR-100 gives the coarse one first), then pixels.
    """

    name: str
    file: str
    md5: str
    classes: int
    label_bytes: int
    members: dict[Part, tuple[str, ...]]


ARCHIVES = {
    "cifar10": Archive(
        "cifar10",
        "cifar-10-binary.tar.gz",
        "c32a1d4ab5d03f1284b67883e8d87530",
        10,
        1,
        {
            "train": tuple(f"cifar-10-batches-bin/data_batch_{number}.bin" for number in range(1, 6)),
            "test": ("cifar-10-batches-bin/test_batch.bin",),
        },
    ),
    "cifar100": Archive(
        "cifar100",
        "cifar-100-binary.tar.gz",
        "03b5dce01913d631647c71ecec9e9cb8",
        100,
        2,
        {"train": ("cifar-100-binary/train.bin",), "test": ("cifar-100-binary/test.bin",)},
    ),
}


def _checked(archive: Archive, content: bytes, origin: str) -> bytes:
    actual = hashlib.md5(content, usedforsecurity=False).hexdigest()
    if actual != archive.md5:
        raise ValueError(f"{archive.file} from {origin} is rejected: its MD5 is {actual}, must be {archive.md5}.")
    return content


def prepare(name: str, root: Path) -> None:
    """Bring the checked archive into `root`/cifar; FileNotFoundError says where to put it by hand."""
    archive = ARCHIVES[name]
    path = root / "cifar" / archive.file
    with locked(path.parent):
        if path.exists():
            try:
                _checked(archive, path.read_bytes(), str(path))
                return
            except ValueError as error:
                log.warning("%s It is fetched again.", error)
        try:
            content = _checked(archive, fetch.download(f"{ADDRESS}/{archive.file}"), ADDRESS)
        except (OSError, ValueError) as error:
            raise FileNotFoundError(
                f"{name} could not be downloaded from {ADDRESS} ({error}); "
                f"put {archive.file} into {path.parent} by hand."
            ) from error
        replace_file(path, content)


def load(name: str, root: Path, part: Part) -> LabelledImages:
    """Read one part from the archive in the cache; FileNotFoundError if `prepare` has not run."""
    archive = ARCHIVES[name]
    path = root / "cifar" / archive.file
    content = _checked(archive, path.read_bytes(), str(path.parent))
    with tarfile.open(fileobj=io.BytesIO(content)) as files:
        parts = [_samples(archive, files, member) for member in archive.members[part]]
    samples = np.concatenate(parts)
    labels = samples[:, archive.label_bytes - 1].astype(np.int64)
    if labels.max() >= archive.classes:
        raise ValueError(f"{archive.file} holds the label {labels.max()}; {name} has {archive.classes} classes.")
    return LabelledImages(samples[:, archive.label_bytes :].reshape(-1, 3, 32, 32), labels)


def _samples(archive: Archive, files: tarfile.TarFile, member: str) -> np.ndarray:
    try:
        stream = files.extractfile(member)
    except KeyError:
        stream = None
    if stream is None:
        raise ValueError(f"{archive.file} has no file {member}.")
    values = np.frombuffer(stream.read(), np.uint8)
    length = archive.label_bytes + PIXELS
    if not values.size or values.size % length:
        raise ValueError(f"{member} of {archive.file} holds {values.size} bytes; a sample has {length}.")
    return values.reshape(-1, length)


CIFAR10, CIFAR100 = (
    Source(
        name,
        archive.md5[:16],
        archive.classes,
        functools.partial(prepare, name),
        functools.partial(load, name),
    )
    for name, archive in ARCHIVES.items()
)
