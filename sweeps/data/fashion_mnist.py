"""Fashion-MNIST (Xiao, Rasul, Vollgraf 2017, arXiv 1708.07747): 60,000 + 10,000 images of clothes, 28×28, 10 classes.

Sources, in order: the Debian package `dataset-fashion-mnist` if installed, the package downloaded and unpacked without
root, the official address. The decompressed files are cached and verified by SHA-256 on every read (0.1 s).
"""

from __future__ import annotations

import gzip
import hashlib
import logging
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import numpy as np

from designspace.atomic import replace_file
from designspace.validated import cut
from sweeps.data.download import download, downloaded_package, installed_files, locked
from sweeps.data.source import LabeledImages, Part, Source

PACKAGE = "dataset-fashion-mnist"
ADDRESS = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com"
SHA256 = {
    "train-images-idx3-ubyte": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    "train-labels-idx1-ubyte": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    "t10k-images-idx3-ubyte": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    "t10k-labels-idx1-ubyte": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
}
"""Of the decompressed files."""
COMPRESSED_MD5 = {
    "train-images-idx3-ubyte.gz": "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
    "train-labels-idx1-ubyte.gz": "25c81989df183df01b3e8a0aad5dffbe",
    "t10k-images-idx3-ubyte.gz": "bef4ecab320f06d8554ea6380940ec79",
    "t10k-labels-idx1-ubyte.gz": "bb300cfdad3c16e7a12a480ee83cd310",
}
"""Of the official files, as given in the README of zalandoresearch/fashion-mnist."""
PREFIX = {"train": "train", "test": "t10k"}

log = logging.getLogger(__name__)

Files = dict[str, Path]
"""Compressed files by name."""


@contextmanager
def _installed_package() -> Iterator[Files]:
    yield installed_files(PACKAGE)


@contextmanager
def _official_files() -> Iterator[Files]:
    with tempfile.TemporaryDirectory(prefix="designspace-") as folder:
        yield {name: download(f"{ADDRESS}/{name}", f"md5:{md5}", Path(folder)) for name, md5 in COMPRESSED_MD5.items()}


SOURCES: dict[str, Callable[[], AbstractContextManager[Files]]] = {
    f"the installed Debian package {PACKAGE}": _installed_package,
    f"apt-get download {PACKAGE}": lambda: downloaded_package(PACKAGE),
    ADDRESS: _official_files,
}


def prepare(root: Path) -> None:
    """Put the four verified files into `root`/fashion_mnist; FileNotFoundError lists the error of every source."""
    folder = root / "fashion_mnist"
    with locked(folder):
        if _is_complete(folder):
            return
        errors = []
        for source, open_files in SOURCES.items():
            try:
                with open_files() as files:
                    contents = {
                        name: _verify(name, gzip.decompress(files[f"{name}.gz"].read_bytes()), source)
                        for name in SHA256
                    }
            except (OSError, EOFError, KeyError, ValueError) as error:
                errors.append(f"{source}: {type(error).__name__}: {cut(str(error), 200)}")
                continue
            for name, content in contents.items():
                replace_file(folder / name, content)
            log.info("fashion_mnist: copied from %s to %s", source, folder)
            return
    raise FileNotFoundError("Fashion-MNIST could not be downloaded from any source. " + " | ".join(errors))


def load(root: Path, part: Part) -> LabeledImages:
    """Read one part from the cache; FileNotFoundError before `prepare`."""
    folder = root / "fashion_mnist"
    images = _read(folder, f"{PREFIX[part]}-images-idx3-ubyte")
    labels = _read(folder, f"{PREFIX[part]}-labels-idx1-ubyte")
    return LabeledImages(images[:, None], labels.astype(np.int64))


def parse_idx(name: str, content: bytes) -> np.ndarray:
    """Parse the IDX format: two zero bytes, type 0x08 (uint8), number of axes, big-endian lengths, values."""
    if len(content) < 4 or content[:3] != b"\x00\x00\x08":
        raise ValueError(f"{name}: starts with {content[:4].hex()}, must be an IDX file of bytes (000008)")
    axes = content[3]
    shape = np.frombuffer(content, ">u4", count=axes, offset=4).astype(int)
    values = np.frombuffer(content, np.uint8, offset=4 + 4 * axes)
    if values.size != shape.prod():
        raise ValueError(f"{name}: has {values.size} values, must be {shape.prod()} as in its header")
    return values.reshape(shape).copy()  # PyTorch warns about read-only arrays


def _read(folder: Path, name: str) -> np.ndarray:
    return parse_idx(name, _verify(name, (folder / name).read_bytes(), str(folder)))


def _verify(name: str, content: bytes, source: str) -> bytes:
    if (sha256 := hashlib.sha256(content).hexdigest()) != SHA256[name]:
        raise ValueError(f"{name} from {source}: SHA-256 is {sha256}, must be {SHA256[name]}")
    return content


def _is_complete(folder: Path) -> bool:
    try:
        for name in SHA256:
            _verify(name, (folder / name).read_bytes(), str(folder))
    except FileNotFoundError:
        return False
    except ValueError as error:
        log.warning("%s; the files are downloaded again", error)
        return False
    return True


CONTENT_ID = hashlib.sha256("".join(SHA256.values()).encode()).hexdigest()[:16]
SOURCE = Source("fashion_mnist", CONTENT_ID, 10, prepare, load)
