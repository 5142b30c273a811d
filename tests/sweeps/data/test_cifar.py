"""CIFAR: read from a small archive of the official layout, refused when its sum or its content is wrong."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import tarfile
from pathlib import Path

import numpy as np
import pytest

from sweeps.data import DataConfig, cifar, fetch, load_data, load_test, prepare_data

COUNT = 200


def archive(name: str, *, broken: bool = False, without: str = "") -> bytes:
    """An archive as the official page offers it, with COUNT images a file; pixel values tell colour and label."""
    kind = cifar.ARCHIVES[name]
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as files:
        for member in (*kind.members["train"], *kind.members["test"]):
            labels = np.arange(COUNT, dtype=np.uint8) % kind.classes
            colours = np.repeat(np.array([[10, 20, 30]], np.uint8), COUNT, 0) + labels[:, None]
            pixels = np.repeat(colours, 32 * 32, axis=1)
            coarse = np.full((COUNT, kind.label_bytes - 1), 99, np.uint8)
            content = np.concatenate([coarse, labels[:, None], pixels], axis=1).tobytes()
            if member != without:
                info = tarfile.TarInfo(member)
                info.size = len(content) - broken
                files.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def install(name: str, content: bytes, root: Path, monkeypatch: pytest.MonkeyPatch) -> DataConfig:
    kind = cifar.ARCHIVES[name]
    changed = dataclasses.replace(kind, md5=hashlib.md5(content, usedforsecurity=False).hexdigest())
    monkeypatch.setitem(cifar.ARCHIVES, name, changed)
    (root / "cifar").mkdir(parents=True)
    (root / "cifar" / kind.file).write_bytes(content)
    return DataConfig(name=name, root=root, validation_size=100, resolution=32, in_channels=3)


@pytest.mark.parametrize(("name", "train"), [("cifar10", 5 * COUNT), ("cifar100", COUNT)])
def test_images_labels_and_colours_are_read(
    name: str, train: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = install(name, archive(name), tmp_path, monkeypatch)
    prepare_data(config)
    splits, test = load_data(config), load_test(config)
    assert splits.train_images.shape == (train - 100, 3, 32, 32)
    assert test.images.shape == (COUNT, 3, 32, 32)
    assert splits.classes == cifar.ARCHIVES[name].classes
    assert np.array_equal(splits.train_images[:, :, 5, 7], splits.train_labels[:, None] + [10, 20, 30])
    assert splits.mean[0] < splits.mean[1] < splits.mean[2]


def test_an_archive_with_another_sum_is_refused_before_it_is_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetch, "download", lambda address: b"something else")
    config = DataConfig(name="cifar10", root=tmp_path)
    with pytest.raises(
        FileNotFoundError, match=r"cifar10 could not be downloaded .*is rejected: its MD5 is .* by hand"
    ):
        prepare_data(config)
    (tmp_path / "cifar" / "cifar-10-binary.tar.gz").write_bytes(b"rot")
    with pytest.raises(ValueError, match=r"cifar-10-binary\.tar\.gz from .* is rejected: its MD5 is"):
        load_data(config)


def test_a_download_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = archive("cifar10")
    config = install("cifar10", content, tmp_path, monkeypatch)
    (tmp_path / "cifar" / "cifar-10-binary.tar.gz").write_bytes(b"rot")
    asked: list[str] = []

    def download(address: str) -> bytes:
        asked.append(address)
        return content

    monkeypatch.setattr(fetch, "download", download)
    prepare_data(config)
    prepare_data(config)
    assert asked == ["https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"]
    assert len(load_data(config).train_labels) == 5 * COUNT - 100


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"broken": True}, r"data_batch_1\.bin of cifar-10-binary\.tar\.gz holds 614599 bytes; a sample has 3073"),
        ({"without": "cifar-10-batches-bin/data_batch_3.bin"}, r"has no file cifar-10-batches-bin/data_batch_3\.bin"),
    ],
)
def test_a_wrong_layout_is_told(
    options: dict[str, object], sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = install("cifar10", archive("cifar10", **options), tmp_path, monkeypatch)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=sentence):
        load_data(config)
