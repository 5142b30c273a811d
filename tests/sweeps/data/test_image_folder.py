"""Folders of images: formats, values, skipped files, and division into parts."""

from __future__ import annotations

import json
import logging
import os
import shutil
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from designspace import ModelSpec, save_spec
from sweeps.commands import train as train_command
from sweeps.data import DataConfig, ImageError, StreamedSplits, find_test, open_data, open_test
from sweeps.data.image_folder import skipped_sentence
from sweeps.data.image_reader import ImageReader, formats, suffixes
from sweeps.trainer.stream import center_crop

LARGE = 178_956_970
RAMP = np.linspace(0, 1, 48).reshape(6, 8)


def read(path: Path, white_level: float | None = None, max_pixels: int = LARGE) -> np.ndarray:
    with ImageReader(max_pixels, white_level).open(str(path)) as image:
        return np.asarray(image)


def png16(path: Path, values: np.ndarray) -> None:
    Image.fromarray(values.astype(np.uint16)).save(path)


def tiff(path: Path, values: np.ndarray, big_endian: bool = False, photometric: int = 1) -> None:
    """One strip of gray values in the byte order and type of the array, without any library."""
    order, kind = (">", b"MM") if big_endian else ("<", b"II")
    content = values.astype(values.dtype.newbyteorder(order)).tobytes()
    sample_format = {"u": 1, "i": 2, "f": 3}[values.dtype.kind]
    tags = [
        *((256, values.shape[1]), (257, values.shape[0]), (258, 8 * values.itemsize), (259, 1), (262, photometric)),
        *((273, 8 + 2 + 12 * 10 + 4), (277, 1), (278, values.shape[0]), (279, len(content)), (339, sample_format)),
    ]
    entries = b"".join(struct.pack(f"{order}HHII", tag, 4, 1, value) for tag, value in tags)
    header = kind + struct.pack(f"{order}HI", 42, 8)
    path.write_bytes(header + struct.pack(f"{order}H", len(tags)) + entries + bytes(4) + content)


def pgm(path: Path, values: np.ndarray, maxval: int) -> None:
    height, width = values.shape
    path.write_bytes(f"P5 {width} {height} {maxval}\n".encode() + values.astype(">u2").tobytes())


DEEP: dict[str, tuple[Callable[[Path], None], float]] = {
    "16.png": (lambda path: png16(path, RAMP * 65535), 65535),
    "12.png": (lambda path: png16(path, RAMP * 4095), 4095),
    "little.tif": (lambda path: tiff(path, (RAMP * 65535).astype(np.uint16)), 65535),
    "big.tif": (lambda path: tiff(path, (RAMP * 65535).astype(np.uint16), big_endian=True), 65535),
    "signed.tif": (lambda path: tiff(path, (RAMP * 32767).astype(np.int16)), 32767),
    "32.tif": (lambda path: tiff(path, (RAMP * 2e9).astype(np.int32)), 2e9),
    "float.tif": (lambda path: tiff(path, RAMP.astype(np.float32)), 1.0),
}


@pytest.mark.parametrize("name", DEEP)
def test_gray_values_of_more_than_8_bits_are_scaled_by_the_white_level(name: str, tmp_path: Path) -> None:
    write, white = DEEP[name]
    write(tmp_path / name)
    with pytest.raises(
        ImageError, match=rf"{name}: gray values with more than 8 bits .*; set data\.white_level to the value of white"
    ):
        read(tmp_path / name)
    np.testing.assert_allclose(read(tmp_path / name, white), RAMP * 255, atol=0.6)


@pytest.mark.parametrize("maxval", [65535, 4095])
def test_a_pgm_specifies_its_own_white_level(maxval: int, tmp_path: Path) -> None:
    pgm(tmp_path / "x.pgm", np.rint(RAMP * maxval), maxval)
    for white_level in (None, 4095):
        np.testing.assert_allclose(read(tmp_path / "x.pgm", white_level), RAMP * 255, atol=0.6)


def test_8_bits_do_not_depend_on_the_white_level(tmp_path: Path) -> None:
    Image.fromarray(np.rint(RAMP * 255).astype(np.uint8)).save(tmp_path / "x.png")
    for white_level in (None, 4095):
        np.testing.assert_array_equal(read(tmp_path / "x.png", white_level), np.rint(RAMP * 255))


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        (RAMP * 4096, r"from 0 to 4096: must be between 0 and data\.white_level = 4095"),
        (RAMP - 0.5, r"from -0\.5 to 0\.5: must be between"),
        (np.where(RAMP > 0.5, np.nan, RAMP), r"from nan to nan: must be between"),
        (np.where(RAMP > 0.5, np.inf, RAMP), r"to inf: must be between"),
    ],
)
def test_gray_values_beyond_black_and_white_are_rejected(values: np.ndarray, sentence: str, tmp_path: Path) -> None:
    tiff(tmp_path / "x.tif", values.astype(np.float32))
    with pytest.raises(ImageError, match=sentence):
        read(tmp_path / "x.tif", 4095)


def test_inverted_16_bits_are_rejected(tmp_path: Path) -> None:
    tiff(tmp_path / "x.tif", (RAMP * 65535).astype(np.uint16), photometric=0)
    with pytest.raises(ImageError, match=r"0 must be black, but is white \(TIFF photometric interpretation 0\)"):
        read(tmp_path / "x.tif", 65535)


def test_too_many_pixels_are_rejected_by_the_header(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)  # restored at the end of the test
    for name, size in (("above.png", (11, 10)), ("twice.png", (30, 10))):
        Image.new("L", size).save(tmp_path / name)
        with pytest.raises(ImageError, match=rf"{name}: must have at most data\.max_pixels = 100 pixels$"):
            read(tmp_path / name, max_pixels=100)
    Image.new("L", (10, 10)).save(tmp_path / "x.png")
    assert read(tmp_path / "x.png", max_pixels=100).shape == (10, 10)


def test_exif_orientation_is_ignored_as_by_torchvision(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(np.rint(RAMP * 255).astype(np.uint8)).save(tmp_path / "x.jpg", exif=exif)
    assert read(tmp_path / "x.jpg").shape == (6, 8)


def test_reading_an_image_never_starts_a_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pillow decodes PostScript with Ghostscript, whatever the suffix of the file."""
    (tmp_path / "x.png").write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\nshowpage\n%%EOF\n")
    with Image.open(tmp_path / "x.png") as image:
        assert image.format == "EPS"
    with pytest.raises(ImageError, match=r"x\.png cannot be read as an image: cannot identify"):
        read(tmp_path / "x.png")
    assert not {".eps", ".ps", ".wmf", ".mpg", ".h5", ".pdf"} & suffixes()
    assert {".jpg", ".jfif", ".tif", ".tiff", ".gif", ".webp", ".pgm", ".ppm", ".jp2", ".bmp", ".mpo"} <= suffixes()
    assert formats()[:2] == ("JPEG", "PNG")


def fill(folder: Path, count: int, shade: int, suffix: str = ".png") -> None:
    """Write distinguishable images."""
    folder.mkdir(parents=True)
    for number in range(count):
        Image.new("RGB", (12, 12), (shade, 4 * number, shade)).save(folder / f"{number:02}{suffix}")


def config(root: Path, **changes: object) -> DataConfig:
    settings = {"name": "image_folder", "resolution": 8, "validation_size": 4, "workers": 0, "root": root}
    return DataConfig.model_validate(settings | changes)


def splits_of(root: Path, **changes: object) -> StreamedSplits:
    splits = open_data(config(root, **changes))
    assert isinstance(splits, StreamedSplits)
    return splits


def pixels(splits: StreamedSplits, indices: np.ndarray) -> list[tuple[int, ...]]:
    """Return the color in the center of each image, which identifies it."""
    colors = []
    for index in indices.tolist():
        with splits.opener(index) as image:
            colors.append(tuple(np.asarray(center_crop(image, 8))[4, 4].tolist()))
    return colors


def test_other_formats_are_read_and_other_files_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    fill(tmp_path / "train" / "dark", 8, 40)
    fill(tmp_path / "train" / "light", 8, 200)
    dark = tmp_path / "train" / "dark"
    before = splits_of(tmp_path)
    assert before.skipped == {}
    assert not caplog.records
    for name in ("a.txt", "b.TXT", "c.json", "README", ".hidden"):
        (dark / name).touch()
    os.mkfifo(dark / "pipe.png")
    (dark / "device.png").symlink_to("/dev/zero")
    with caplog.at_level(logging.WARNING):
        splits = splits_of(tmp_path)
    assert splits.skipped == {".txt": 2, ".json": 1, "without suffix": 1, "not a regular file": 2}
    assert [record.getMessage() for record in caplog.records] == [
        f"{tmp_path / 'train'}: 6 files of other kinds were skipped "
        "(.txt 2, not a regular file 2, .json 1, without suffix 1)"
    ]
    assert splits.data_id == before.data_id
    assert len(splits.labels) == 16

    light = Image.new("RGB", (12, 12), (200, 0, 100))
    for suffix in (".tif", ".tiff", ".jfif", ".webp", ".gif", ".PPM"):
        frames = [Image.new("RGB", (12, 12))] if suffix == ".gif" else []
        light.save(dark / f"x{suffix}", save_all=bool(frames), **({"append_images": frames} if frames else {}))
    more = splits_of(tmp_path)
    assert len(more.labels) == 22
    assert more.data_id != splits.data_id
    new = [index for index in range(22) if pixels(more, np.array([index]))[0][2] not in (40, 200)]
    assert len(new) == 6
    np.testing.assert_allclose(pixels(more, np.array(new)), [(200, 0, 100)] * 6, atol=6)


def test_the_warning_counts_the_most_frequent_kinds() -> None:
    assert skipped_sentence({".txt": 1}) == "1 file of other kinds was skipped (.txt 1)"
    many = {f".{letter}": number for number, letter in enumerate("abcdefg", start=1)}
    assert skipped_sentence(many) == "28 files of other kinds were skipped (.g 7, .f 6, .e 5, .d 4, .c 3, …)"


def test_the_data_id_depends_on_what_changes_the_pixels(tmp_path: Path) -> None:
    fill(tmp_path / "train" / "dark", 8, 40)
    fill(tmp_path / "train" / "light", 8, 200)
    data_id = splits_of(tmp_path).data_id
    assert splits_of(tmp_path, max_pixels=1000, workers=3).data_id == data_id
    assert len({data_id, *(splits_of(tmp_path, white_level=white).data_id for white in (4095, 65535))}) == 3


def test_a_folder_of_classes_is_divided_like_digits(tmp_path: Path) -> None:
    fill(tmp_path / "dark", 20, 40)
    fill(tmp_path / "light", 20, 200)
    fill(tmp_path / "light" / "more", 10, 220)
    splits = splits_of(tmp_path)
    assert find_test(config(tmp_path)) == "test"
    test = open_test(config(tmp_path), splits)
    assert isinstance(test, StreamedSplits)
    parts = [
        pixels(splits, splits.train),
        pixels(splits, splits.validation),
        pixels(test, test.validation),
    ]
    assert [len(part) for part in parts] == [36, 4, 10]
    assert len({pixel for part in parts for pixel in part}) == 50
    assert np.bincount(test.labels).tolist() == [4, 6]
    assert np.bincount(splits.labels).tolist() == [16, 24]
    assert all((pixel[0] > 100) == label for pixel, label in zip(parts[2], test.labels[test.validation], strict=True))
    for seed in range(3):  # the test part does not depend on the validation split
        other = open_test(config(tmp_path, split_seed=seed), splits)
        assert pixels(other, other.validation) == parts[2]  # type: ignore[arg-type, union-attr]

    shutil.copytree(tmp_path, tmp_path / "as_train" / "train")
    assert splits_of(tmp_path / "as_train").data_id != splits.data_id
    assert find_test(config(tmp_path / "as_train")) is None


@pytest.mark.parametrize(
    ("folders", "sentence"),
    [
        (["dark"], r": must have a folder for each of at least two classes$"),
        (["train/dark"], r"train: must have a folder for each of at least two classes$"),
        (["train", "test"], r"data\.root = .*: must have a folder train with a folder for each class$"),  # no classes
        (["Train/a", "Train/b", "Test/a"], r"data\.root = .*: must have a folder train with"),
        (["val/a", "val/b"], r"data\.root = .*: must have a folder train with"),
        (["images/a", "crops/a"], r"crops: must contain images of one class, or be named train, test or val$"),
    ],
)
def test_an_ambiguous_folder_is_rejected(folders: list[str], sentence: str, tmp_path: Path) -> None:
    for number, name in enumerate(folders):
        fill(tmp_path / name, 5, number)
    with pytest.raises(ValueError, match=sentence):
        open_data(config(tmp_path))


STAGE = {"block": "bottleneck", "depth": 1, "width": 8, "stride": 2, "group_width": 8}
SPEC = {"resolution": 8, "stem": {"width": 8, "stride": 1}, "stages": [STAGE], "head": {"classes": 2}}


def command(root: Path, out: Path, *settings: str) -> list[str]:
    save_spec(ModelSpec.from_mapping(SPEC), out / "spec.yaml")
    data = ["data=image_folder", f"data.root={root}", "data.resolution=8", "data.workers=0", "data.validation_size=8"]
    recipe = ["recipe.epochs=3", "recipe.batch_size=8", "device=cpu", "device.dtype=float32"]
    return [str(out / "spec.yaml"), *data, *recipe, f"--out={out / 'trained'}", *settings]


def test_images_with_16_bits_can_be_trained_on(tmp_path: Path) -> None:
    pytest.importorskip("safetensors")
    rng = np.random.default_rng(0)
    for label, shade in (("dark", 0.2), ("light", 0.8)):
        (tmp_path / "set" / label).mkdir(parents=True)
        for number in range(40):
            values = np.clip(shade + 0.05 * rng.standard_normal((8, 8)), 0, 1)
            png16(tmp_path / "set" / label / f"{number}.png", np.rint(values * 4095))
    with pytest.raises(ImageError, match=r"\.png: gray values with more than 8 bits .*; set data\.white_level"):
        train_command(command(tmp_path / "set", tmp_path))
    assert train_command(command(tmp_path / "set", tmp_path, "data.white_level=4095")) == 0
    result = json.loads((tmp_path / "trained" / "training.json").read_text())
    assert result["error_percent"] == result["test_error_percent"] == 0


def test_the_training_reports_skipped_files(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    pytest.importorskip("safetensors")
    fill(tmp_path / "set" / "dark", 20, 40)
    fill(tmp_path / "set" / "light", 20, 200)
    (tmp_path / "set" / "light" / "notes.txt").touch()
    with caplog.at_level(logging.WARNING):
        assert train_command(command(tmp_path / "set", tmp_path)) == 0
    assert "1 file of other kinds was skipped (.txt 1)" in caplog.text
    assert json.loads((tmp_path / "trained" / "training.json").read_text())["skipped_files"] == {".txt": 1}
