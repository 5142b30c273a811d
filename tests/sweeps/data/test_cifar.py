"""CIFAR: archives of the official layout are downloaded, verified, and read."""

from __future__ import annotations

import dataclasses
import gc
import hashlib
import io
import tarfile
import threading
import warnings
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import numpy as np
import pytest

from sweeps.data import DataConfig, Splits, cifar, open_data, open_test, prepare_data

COUNT = 200


def archive(name: str, *, broken: bool = False, without: str = "") -> bytes:
    """Return an archive of the official layout with COUNT images a file, whose pixels are 10, 20, 30 + label."""
    kind = cifar.ARCHIVES[name]
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as files:
        for member in (*kind.members["train"], *kind.members["test"]):
            labels = np.arange(COUNT, dtype=np.uint8) % kind.classes
            colors = np.repeat(np.array([[10, 20, 30]], np.uint8), COUNT, 0) + labels[:, None]
            pixels = np.repeat(colors, 32 * 32, axis=1)
            coarse = np.full((COUNT, kind.label_bytes - 1), 99, np.uint8)
            content = np.concatenate([coarse, labels[:, None], pixels], axis=1).tobytes()
            if member != without:
                info = tarfile.TarInfo(member)
                info.size = len(content) - broken
                files.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def config(name: str, content: bytes, root: Path, monkeypatch: pytest.MonkeyPatch) -> DataConfig:
    """Make `content` the official archive and put it into the cache."""
    kind = cifar.ARCHIVES[name]
    md5 = hashlib.md5(content, usedforsecurity=False).hexdigest()
    monkeypatch.setitem(cifar.ARCHIVES, name, dataclasses.replace(kind, md5=md5))
    (root / "cifar").mkdir(parents=True)
    (root / "cifar" / kind.file).write_bytes(content)
    return DataConfig(name=name, root=root, validation_size=100, resolution=32, in_channels=3)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, bytes]]:
    """Replace the official server; fill the dictionary with its files. Requests are listed under `requests`."""
    files: dict[str, bytes] = {"requests": b""}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            files["requests"] += self.path.encode()
            content = files.get(self.path)
            self.send_response(404 if content is None else 200)
            self.send_header("Content-Length", str(len(content or b"")))
            self.end_headers()
            self.wfile.write(content or b"")

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as httpd:
        threading.Thread(target=httpd.serve_forever, daemon=True).start()
        monkeypatch.setattr(cifar, "ADDRESS", f"http://127.0.0.1:{httpd.server_port}")
        yield files
        httpd.shutdown()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # pooch does not close the connection of a failed download
        gc.collect()


@pytest.mark.parametrize(("name", "train"), [("cifar10", 5 * COUNT), ("cifar100", COUNT)])
def test_images_labels_and_colors_are_read(
    name: str, train: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = config(name, archive(name), tmp_path, monkeypatch)
    prepare_data(settings)
    splits = open_data(settings)
    test = open_test(settings, splits)
    assert isinstance(splits, Splits)
    assert splits.train_images.shape == (train - 100, 3, 32, 32)
    assert test.validation_size == COUNT
    assert splits.classes == cifar.ARCHIVES[name].classes
    assert np.array_equal(splits.train_images[:, :, 5, 7], splits.train_labels[:, None] + [10, 20, 30])
    assert splits.mean[0] < splits.mean[1] < splits.mean[2]


def test_an_archive_with_a_wrong_hash_is_rejected(tmp_path: Path, server: dict[str, bytes]) -> None:
    server["/cifar-10-binary.tar.gz"] = b"something else"
    settings = DataConfig(name="cifar10", root=tmp_path)
    message = r"cifar10 could not be downloaded from .* \(MD5 hash .*\); put cifar-10-binary\.tar\.gz into"
    with pytest.raises(FileNotFoundError, match=message) as error:
        prepare_data(settings)
    assert "\n" not in str(error.value)
    assert not list((tmp_path / "cifar").glob("cifar*"))
    (tmp_path / "cifar" / "cifar-10-binary.tar.gz").write_bytes(b"damaged")
    with pytest.raises(ValueError, match=r"cifar-10-binary\.tar\.gz: MD5 is .*; delete the file to download it again"):
        open_data(settings)


def test_a_missing_archive_on_the_server_is_a_one_line_error(tmp_path: Path, server: dict[str, bytes]) -> None:
    with pytest.raises(FileNotFoundError, match=r"cifar10 could not be downloaded .*404") as error:
        prepare_data(DataConfig(name="cifar10", root=tmp_path))
    assert "\n" not in str(error.value)


def test_a_damaged_archive_is_downloaded_again_and_then_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: dict[str, bytes]
) -> None:
    content = archive("cifar10")
    settings = config("cifar10", content, tmp_path, monkeypatch)
    (tmp_path / "cifar" / "cifar-10-binary.tar.gz").write_bytes(b"damaged")
    server["/cifar-10-binary.tar.gz"] = content
    prepare_data(settings)
    prepare_data(settings)
    assert server["requests"] == b"/cifar-10-binary.tar.gz"
    assert len(open_data(settings).train_labels) == 5 * COUNT - 100


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"broken": True},
            r"tar\.gz, cifar-10-batches-bin/data_batch_1\.bin: 614599 bytes, must be a multiple of 3073",
        ),
        ({"without": "cifar-10-batches-bin/data_batch_3.bin"}, r"must contain cifar-10-batches-bin/data_batch_3\.bin"),
    ],
)
def test_a_wrong_layout_is_rejected(
    options: dict[str, object], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = config("cifar10", archive("cifar10", **options), tmp_path, monkeypatch)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=message):
        open_data(settings)
