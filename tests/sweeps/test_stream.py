"""Streamed pictures: found in folders or by the datasets library, cropped, and the same for any number of workers."""

from __future__ import annotations

import shutil
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from designspace import ModelSpec
from sweeps.data import DataConfig, StreamedSplits, find_test, open_data, open_test, prepare_data
from sweeps.device import DeviceConfig, resolve_device
from sweeps.recipe import Recipe
from sweeps.stream import Stream, centre_crop, random_resized_crop
from sweeps.trainer import train_model

CPU = DeviceConfig(device="cpu", dtype="float32")
COLOURS = {"blue": (20, 40, 200), "green": (20, 200, 40), "red": (200, 40, 20)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Noisy pictures of three colours and many sizes."""
    root, generator = tmp_path_factory.mktemp("pictures"), np.random.default_rng(0)
    for name, colour in COLOURS.items():
        place = root / "train" / name
        place.mkdir(parents=True)
        for number in range(24):
            shape = (*generator.integers(20, 40, 2), 3)
            pixels = np.clip(np.array(colour) + generator.normal(0, 20, shape), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(place / f"{number}.png")
    return root


def config(folder: Path, **changes: object) -> DataConfig:
    whole = {"name": "image_folder", "resolution": 16, "validation_size": 12, "workers": 0, "root": folder}
    return DataConfig.model_validate(whole | changes)


def opened(folder: Path, **changes: object) -> StreamedSplits:
    splits = open_data(config(folder, **changes))
    assert isinstance(splits, StreamedSplits)
    return splits


def test_the_splits_are_stratified_and_named_by_content(folder: Path) -> None:
    splits = opened(folder)
    assert (splits.classes, splits.in_channels, len(splits.train)) == (3, 3, 60)
    assert np.bincount(splits.labels[splits.validation]).tolist() == [4, 4, 4]
    assert not set(splits.train) & set(splits.validation)
    assert opened(folder, workers=2).data_id == splits.data_id
    assert len({splits.data_id, opened(folder, classes=2).data_id, opened(folder, resolution=8).data_id}) == 3
    assert set(opened(folder, classes=2).train_labels) == {0, 1}


def test_batches_are_the_same_for_any_number_of_workers(folder: Path) -> None:
    recipe = Recipe(batch_size=20, crop_padding=1, flip=True)
    first, second = (
        list(Stream(opened(folder, workers=workers), resolve_device(CPU)).epoch(recipe, 0, 0)) for workers in (0, 2)
    )
    assert len(first) == 3
    for (images, labels), (again, labels_again) in zip(first, second, strict=True):
        assert images.shape == (20, 3, 16, 16)
        assert torch.equal(images, again)
        assert torch.equal(labels, labels_again)


def test_a_network_learns_the_colours(folder: Path) -> None:
    stage = {"block": "bottleneck", "depth": 1, "width": 8, "stride": 2, "group_width": 8}
    spec = ModelSpec.from_mapping(
        {"resolution": 16, "in_channels": 3, "stem": {"width": 8}, "stages": [stage], "head": {"classes": 3}}
    )
    recipe = Recipe(epochs=4, batch_size=10, crop_padding=1, flip=True, learning_rate=0.1)
    first, second = (train_model(spec, opened(folder), recipe, seed=0, device_config=CPU) for _ in range(2))
    assert (first.status, first.updates) == ("ok", 24)
    assert first.epoch_train_loss == second.epoch_train_loss
    assert first.error_percent is not None
    assert first.error_percent < 40


def test_the_test_part_is_found_and_has_the_labels_of_the_training_part(folder: Path, tmp_path: Path) -> None:
    assert find_test(config(folder)) is None
    (tmp_path / "train").symlink_to(folder / "train")
    (tmp_path / "test").mkdir()
    (tmp_path / "test" / "1.png").write_bytes(b"")  # ImageNet's: pictures without labels
    assert find_test(config(tmp_path)) is None
    for name in ("green", "red"):
        shutil.copytree(folder / "train" / name, tmp_path / "val" / name)
    assert find_test(config(tmp_path)) == "val"
    splits = opened(tmp_path)
    test = open_test(config(tmp_path), splits)
    assert isinstance(test, StreamedSplits)
    assert (set(test.labels[test.validation]), len(test.train)) == ({1, 2}, 0)
    assert np.asarray(test.opened(0)).mean((0, 1)).argmax() == 1
    fewer = config(tmp_path, classes=2)
    assert len(open_test(fewer, splits).validation) == 24  # type: ignore[union-attr]
    shutil.copytree(folder / "train" / "red", tmp_path / "val" / "yellow")
    with pytest.raises(ValueError, match=r"val/yellow is of a class that .*train does not have"):
        find_test(config(tmp_path))


def test_crops_are_what_their_names_say() -> None:
    ramp = np.repeat(np.arange(70, dtype=np.uint8)[None, :, None], 35, 0).repeat(3, 2)
    picture = Image.fromarray(ramp)
    centre = np.asarray(centre_crop(picture, 28))
    assert centre.shape == (28, 28, 3)
    assert 15 < centre[:, 0].mean() < 25
    assert centre[..., 0].mean() == pytest.approx(34.5, abs=1)
    generator = np.random.default_rng(0)
    crops = [np.asarray(random_resized_crop(picture, 8, generator)) for _ in range(200)]
    widths = [crop[0, :, 0].max() - crop[0, :, 0].min() for crop in crops]
    assert min(widths) < 15
    assert max(widths) > 30


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"root": None}, r"data\.root is missing"),
        ({"root": Path("/nowhere")}, r"data\.root is /nowhere; it has no folder train"),
        ({"resolution": None}, r"data\.resolution is missing"),
        ({"in_channels": 1}, r"data\.in_channels is 1; the pictures of image_folder have 3"),
        ({"classes": 4}, r"data\.classes is 4; image_folder has 3"),
        ({"name": "hf"}, r"data=hf needs the package datasets"),
    ],
)
def test_mistakes_are_told_in_a_sentence(folder: Path, changes: dict[str, object], sentence: str) -> None:
    if "name" in changes and "datasets" in sys.modules:
        pytest.skip("datasets is installed")
    with pytest.raises(ValueError, match=sentence):
        open_data(config(folder, **changes))


def test_a_class_without_pictures_is_told(tmp_path: Path) -> None:
    (tmp_path / "train" / "empty").mkdir(parents=True)
    with pytest.raises(ValueError, match="empty has no pictures"):
        prepare_data(config(tmp_path))


class Rows:
    """What the library gives, as far as it is used."""

    column_names = ("img", "fine_label")
    _fingerprint = "abc"

    def __getitem__(self, key: int | str) -> object:
        if key == "fine_label":
            return [0, 1] * 20
        return {"img": Image.new("L", (30, 20), color=100)}


class Unlabelled(Rows):
    """A split whose labels are kept secret."""

    def __getitem__(self, key: int | str) -> object:
        return [-1] * 40 if key == "fine_label" else super().__getitem__(key)


def test_a_set_of_the_datasets_library_is_streamed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    library = types.ModuleType("datasets")
    asked: list[str] = []

    def load_dataset(path: str) -> dict[str, Rows]:
        asked.append(path)
        return splits_of_the_set

    splits_of_the_set = {"train": Rows()}
    library.load_dataset = load_dataset  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "datasets", library)
    with pytest.raises(ValueError, match=r"data\.path is missing"):
        opened(folder, name="hf")
    splits = opened(folder, name="hf", path="someone/pictures")
    assert asked == ["someone/pictures"]
    assert splits.classes == 2
    images, labels = next(Stream(splits, resolve_device(CPU)).validation_batches(5))
    assert images.shape == (5, 3, 16, 16)
    assert set(labels.tolist()) <= {0, 1}

    pictures = config(folder, name="hf", path="someone/pictures")
    assert find_test(pictures) is None
    splits_of_the_set |= {"test": Unlabelled(), "validation": Rows()}
    assert find_test(pictures) == "validation"
    test = open_test(pictures, splits)
    assert (len(test.validation), len(test.train)) == (40, 0)  # type: ignore[union-attr]
    splits_of_the_set["train"] = Unlabelled()
    with pytest.raises(ValueError, match=r"no split train with pictures .* and labels .*: train has img, fine_label;"):
        open_data(pictures)
