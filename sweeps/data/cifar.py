"""CIFAR-10 and CIFAR-100 (Krizhevsky 2009): 50,000 + 10,000 color images, 32×32, from the official binary archives.

The binary archives need no unpickling. They are cached unchanged and verified before every use.
"""

from __future__ import annotations

import functools
import hashlib
import io
import tarfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from designspace.validated import cut
from sweeps.data.download import download, locked
from sweeps.data.source import LabeledImages, Part, Source

ADDRESS = "https://www.cs.toronto.edu/~kriz"
PIXELS = 3 * 32 * 32


@dataclass(frozen=True)
class Archive:
    """One of the two archives.

    Attributes:
        file: name of the archive.
        md5: as given on the official page.
        classes: number of classes.
        label_bytes: labels before the pixels of a sample, of which the last is used (CIFAR-100 has a coarse one first).
        members: files of each part.
    """

    file: str
    md5: str
    classes: int
    label_bytes: int
    members: dict[Part, tuple[str, ...]]


ARCHIVES = {
    "cifar10": Archive(
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
        "cifar-100-binary.tar.gz",
        "03b5dce01913d631647c71ecec9e9cb8",
        100,
        2,
        {"train": ("cifar-100-binary/train.bin",), "test": ("cifar-100-binary/test.bin",)},
    ),
}


def prepare(name: str, root: Path) -> None:
    """Download the archive into `root`/cifar; the error message says where to put a manual download."""
    archive = ARCHIVES[name]
    folder = root / "cifar"
    with locked(folder):
        try:
            download(f"{ADDRESS}/{archive.file}", f"md5:{archive.md5}", folder)
        except (OSError, ValueError) as error:
            raise FileNotFoundError(
                f"{name} could not be downloaded from {ADDRESS} ({cut(str(error), 200)}); "
                f"put {archive.file} into {folder}"
            ) from error


def load(name: str, root: Path, part: Part) -> LabeledImages:
    """Read one part from the cached archive; FileNotFoundError before `prepare`."""
    archive = ARCHIVES[name]
    path = root / "cifar" / archive.file
    content = path.read_bytes()
    if (md5 := hashlib.md5(content, usedforsecurity=False).hexdigest()) != archive.md5:
        raise ValueError(f"{path}: MD5 is {md5}, must be {archive.md5}; delete the file to download it again")
    with tarfile.open(fileobj=io.BytesIO(content)) as files:
        samples = np.concatenate([_samples(archive, files, member) for member in archive.members[part]])
    labels = samples[:, archive.label_bytes - 1].astype(np.int64)
    if labels.max() >= archive.classes:
        raise ValueError(f"{path}: contains label {labels.max()}, must be less than {archive.classes}")
    return LabeledImages(samples[:, archive.label_bytes :].reshape(-1, 3, 32, 32), labels)


def _samples(archive: Archive, files: tarfile.TarFile, member: str) -> np.ndarray:
    try:
        stream = files.extractfile(member)
    except KeyError:
        stream = None
    if stream is None:
        raise ValueError(f"{archive.file}: must contain {member}")
    values = np.frombuffer(stream.read(), np.uint8)
    length = archive.label_bytes + PIXELS
    if not values.size or values.size % length:
        raise ValueError(f"{archive.file}, {member}: {values.size} bytes, must be a multiple of {length}")
    return values.reshape(-1, length)


CIFAR10, CIFAR100 = (
    Source(name, archive.md5[:16], archive.classes, functools.partial(prepare, name), functools.partial(load, name))
    for name, archive in ARCHIVES.items()
)
