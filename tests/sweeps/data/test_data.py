"""Data sets: stratified nested splits, identities, downloads, and the cache."""

from __future__ import annotations

import gzip
import hashlib
import os
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweeps.data import DataConfig, Splits, cache_root, fashion_mnist, open_data, open_test, prepare_data
from sweeps.data.source import stratified_order

DIGITS = DataConfig(name="digits", validation_size=300)


def load(config: DataConfig) -> Splits:
    splits = open_data(config)
    assert isinstance(splits, Splits)
    return splits


def load_test(config: DataConfig) -> Splits:
    splits = open_test(config, load(config))
    assert isinstance(splits, Splits)
    return splits


@given(st.lists(st.integers(0, 5), min_size=1, max_size=300), st.integers(0, 2**31), st.data())
def test_every_prefix_of_a_stratified_order_is_stratified(labels: list[int], seed: int, data: st.DataObject) -> None:
    order = stratified_order(np.array(labels), seed)
    assert sorted(order) == list(range(len(labels)))
    size = data.draw(st.integers(0, len(labels)))
    prefix = np.array(labels)[order[:size]]
    for label in set(labels):
        share = labels.count(label) / len(labels) * size
        # Each class is within one sample of its share of a fraction, which is within half a class count of the prefix.
        assert abs(np.count_nonzero(prefix == label) - share) <= 1 + len(set(labels)) / 2


def test_the_splits_of_digits_are_a_partition() -> None:
    splits, test = load(DIGITS), load_test(DIGITS)
    assert splits.train_images.dtype == splits.validation_images.dtype == np.uint8
    assert splits.train_images.shape[1:] == (1, 8, 8)
    assert (len(splits.train_images), len(splits.validation_images), len(test.validation_images)) == (1137, 300, 360)
    assert np.bincount(splits.validation_labels).min() >= 28
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    values = np.rint(images * (255 / 16)).astype(np.uint8)
    ours = np.concatenate([splits.train_images, splits.validation_images, test.validation_images])
    our_labels = np.concatenate([splits.train_labels, splits.validation_labels, test.validation_labels])
    pairs = zip(map(bytes, values), labels.tolist(), strict=True)
    assert sorted(zip(map(bytes, ours), our_labels.tolist(), strict=True)) == sorted(pairs)


def test_a_larger_subset_contains_the_smaller_and_keeps_the_validation_split() -> None:
    small, large = (load(DIGITS.model_copy(update={"subset": subset})) for subset in (200, 500))
    assert set(map(bytes, small.train_images)) <= set(map(bytes, large.train_images))
    assert np.array_equal(small.validation_images, large.validation_images)


def test_the_data_id_depends_on_the_division_and_not_on_the_folder(tmp_path: Path) -> None:
    changes: list[dict[str, object]] = [{"subset": 500}, {"split_seed": 1}, {"validation_size": 301}, {"classes": 5}]
    ids = {load(DIGITS.model_copy(update=change)).data_id for change in changes}
    assert len(ids | {load(DIGITS).data_id}) == len(changes) + 1
    assert load(DIGITS.model_copy(update={"root": tmp_path})).data_id == load(DIGITS).data_id


def test_mean_and_std_are_those_of_the_training_images() -> None:
    splits = load(DIGITS)
    assert splits.mean[0] == pytest.approx(splits.train_images.mean() / 255)
    assert splits.std[0] == pytest.approx(splits.train_images.std() / 255)


def test_fewer_classes_keep_the_first_labels() -> None:
    splits = load(DIGITS.model_copy(update={"classes": 3}))
    assert splits.classes == 3
    assert set(splits.train_labels) == set(splits.validation_labels) == {0, 1, 2}


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"name": "fashion"}, r"data\.name = fashion: unknown; did you mean fashion_mnist\?"),
        ({"resolution": 28}, r"data\.resolution = 28: must be 8 for digits"),
        ({"in_channels": 3}, r"data\.in_channels = 3: must be 1 for digits"),
        ({"classes": 11}, r"data\.classes = 11: must be at most 10 for digits"),
        (
            {"subset": 1138},
            r"data\.subset = 1138: must be at most 1137, the training images without the 300 validation images",
        ),
        ({"subset": 5}, r"data\.subset = 5: must be larger, no training image has class \d of 10"),
        (
            {"validation_size": 3},
            r"data\.validation_size = 3: must be larger, no validation image has class \d of 10",
        ),
        ({"validation_size": 1437}, r"data\.validation_size = 1437: must leave 1 to 1436 of the 1437 images"),
    ],
)
def test_settings_must_fit_the_data_set(change: dict[str, object], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        load(DIGITS.model_copy(update=change))


def test_unknown_settings_are_rejected() -> None:
    with pytest.raises(ValueError, match=r"sub = 1: unknown; did you mean subset"):
        DataConfig.from_mapping({"name": "digits", "sub": 1})


def test_the_cache_folder_comes_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DESIGNSPACE_DATA", str(tmp_path))
    assert cache_root() == tmp_path
    assert cache_root(tmp_path / "other") == tmp_path / "other"
    monkeypatch.delenv("DESIGNSPACE_DATA")
    assert cache_root() == Path.home() / ".cache" / "designspace"


def idx(values: np.ndarray) -> bytes:
    return struct.pack(f">BBBB{values.ndim}I", 0, 0, 8, values.ndim, *values.shape) + values.tobytes()


@pytest.fixture
def files(monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """Replace Fashion-MNIST by a tiny one; return its four compressed files by name."""
    generator = np.random.default_rng(0)
    contents = {}
    for part, count in (("train", 200), ("t10k", 50)):
        contents[f"{part}-images-idx3-ubyte"] = idx(generator.integers(0, 256, (count, 28, 28), np.uint8))
        contents[f"{part}-labels-idx1-ubyte"] = idx((np.arange(count) % 10).astype(np.uint8))
    sums = {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
    monkeypatch.setattr(fashion_mnist, "SHA256", sums)
    return {f"{name}.gz": gzip.compress(content) for name, content in contents.items()}


Source = Callable[[], AbstractContextManager[fashion_mnist.Files]]


def source(files: dict[str, bytes], folder: Path, calls: list[str] | None = None) -> Source:
    @contextmanager
    def open_files() -> Iterator[fashion_mnist.Files]:
        if calls is not None:
            calls.append("opened")
        folder.mkdir(exist_ok=True)
        for name, content in files.items():
            (folder / name).write_bytes(content)
        yield {name: folder / name for name in files}

    return open_files


def test_a_file_with_a_wrong_hash_is_rejected(
    files: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = files | {"t10k-labels-idx1-ubyte.gz": gzip.compress(b"something else")}
    monkeypatch.setattr(fashion_mnist, "SOURCES", {"the mirror": source(wrong, tmp_path / "mirror")})
    with pytest.raises(FileNotFoundError, match=r"the mirror: .*t10k-labels-idx1-ubyte from the mirror: SHA-256 is"):
        prepare_data(DataConfig(name="fashion_mnist", root=tmp_path))
    assert not list((tmp_path / "fashion_mnist").glob("*ubyte"))


def test_the_next_source_is_used_after_a_failure(
    files: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    truncated = files | {"train-images-idx3-ubyte.gz": files["train-images-idx3-ubyte.gz"][:100]}
    contents = {"bad": truncated, "none": {}, "good": files}
    monkeypatch.setattr(
        fashion_mnist, "SOURCES", {name: source(content, tmp_path / name) for name, content in contents.items()}
    )
    config = DataConfig(name="fashion_mnist", root=tmp_path, validation_size=50)
    splits = load(config)
    assert splits.train_images.shape == (150, 1, 28, 28)
    assert np.array_equal(np.bincount(splits.validation_labels), [5] * 10)
    assert load_test(config).validation_images.shape == (50, 1, 28, 28)


def test_a_damaged_cache_is_detected_and_downloaded_again(
    files: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fashion_mnist, "SOURCES", {"good": source(files, tmp_path / "good")})
    config = DataConfig(name="fashion_mnist", root=tmp_path, validation_size=50)
    before = load(config)
    (tmp_path / "fashion_mnist" / "train-labels-idx1-ubyte").write_bytes(b"rot")
    with pytest.raises(ValueError, match=r"train-labels-idx1-ubyte from .*: SHA-256 is"):
        load(config)
    prepare_data(config)
    assert load(config).data_id == before.data_id


def test_concurrent_callers_download_once(
    files: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    monkeypatch.setattr(fashion_mnist, "SOURCES", {"good": source(files, tmp_path / "good", calls)})
    config = DataConfig(name="fashion_mnist", root=tmp_path)
    threads = [threading.Thread(target=prepare_data, args=(config,)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert calls == ["opened"]
    assert sorted(path.name for path in (tmp_path / "fashion_mnist").glob("[!.]*")) == sorted(fashion_mnist.SHA256)


def script(path: Path, text: str) -> None:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def test_an_installed_package_is_used(files: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    installed = tmp_path / "usr" / "share"
    installed.mkdir(parents=True)
    for name, content in files.items():
        (installed / name).write_bytes(content)
    script(tmp_path / "dpkg", f'[ "$2" = dataset-fashion-mnist ] && ls -d {installed} {installed}/*')
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(fashion_mnist, "SOURCES", dict(list(fashion_mnist.SOURCES.items())[:1]))
    prepare_data(DataConfig(name="fashion_mnist", root=tmp_path / "cache"))


def test_a_package_is_downloaded_with_private_lists_if_the_machine_has_none(
    files: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    # A replacement of apt-get that has no package before "update" with a private lists folder.
    script(
        tmp_path / "apt-get",
        'case "$*" in *Dir::State::lists*update) touch lists/known;; *download*) [ -e lists/known ] && touch p.deb '
        '|| { echo "E: Unable to locate package" >&2; exit 100; };; esac',
    )
    script(tmp_path / "dpkg-deb", f'mkdir -p "$3/usr" && cp {tmp_path}/*.gz "$3/usr"')
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(fashion_mnist, "SOURCES", dict(list(fashion_mnist.SOURCES.items())[1:2]))
    prepare_data(DataConfig(name="fashion_mnist", root=tmp_path / "cache"))


def test_the_error_of_every_source_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(fashion_mnist, "SOURCES", dict(list(fashion_mnist.SOURCES.items())[:2]))
    with pytest.raises(
        FileNotFoundError, match=r"could not be downloaded .*installed Debian package.*apt-get download"
    ):
        prepare_data(DataConfig(name="fashion_mnist", root=tmp_path))


@pytest.mark.parametrize("content", [b"", b"\x1f\x8b\x08\x00rest", idx(np.zeros((2, 2), np.uint8))[:-1]])
def test_a_damaged_idx_file_is_rejected(content: bytes) -> None:
    with pytest.raises(ValueError, match=r"^labels: "):
        fashion_mnist.parse_idx("labels", content)
