"""Streamed images: found in folders or by the datasets library, cropped, and the same for any number of workers."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import pickle
import re
import shutil
import signal
import subprocess
import sys
import time
import types
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from designspace import ModelSpec
from sweeps.config import DeviceConfig, Recipe
from sweeps.damage import ImageError
from sweeps.data import (
    DataConfig,
    StreamedSplits,
    find_test,
    image_folder,
    open_data,
    open_test,
    prepare_data,
)
from sweeps.data.loading import automatic_workers
from sweeps.study.freeze import FROZEN, changes
from sweeps.trainer import stream as stream_module
from sweeps.trainer.device import resolve_device
from sweeps.trainer.stream import Stream, centre_crop, random_resized_crop
from sweeps.trainer.trainer import train_model

pytestmark = pytest.mark.filterwarnings("ignore:This DataLoader will create")  # more workers than the machine has cores
CPU = DeviceConfig(device="cpu", dtype="float32")
STAGE = {"block": "bottleneck", "depth": 1, "width": 8, "stride": 2, "group_width": 8}
SPEC = ModelSpec.from_mapping(
    {"resolution": 16, "in_channels": 3, "stem": {"width": 8}, "stages": [STAGE], "head": {"classes": 3}}
)
COLOURS = {"blue": (20, 40, 200), "green": (20, 200, 40), "red": (200, 40, 20)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Noisy images of three colours and many sizes."""
    root, generator = tmp_path_factory.mktemp("images"), np.random.default_rng(0)
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


def test_the_content_is_named_by_names_and_sizes_as_in_studies_of_earlier_versions(tmp_path: Path) -> None:
    """Path by path, in the order of paths: `a-b` comes before `a/c` as text, but after it as a path."""
    for name in ("one/a-b.png", "one/a/c.JPG", "one/a/b/d.webp", "one/z.jpeg", "two/\u00e9.png", "two/e.bmp"):
        path = tmp_path / "train" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" * len(name))
    expected, folder = hashlib.sha256(), tmp_path / "train"
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    expected.update("\n".join(f"{path.relative_to(folder)} {path.stat().st_size}" for path in files).encode())
    for name in ("one/.hidden.png", ".ipynb_checkpoints/a.png", "one/.cache/b.png", "two/notes.txt", "two/f.jpg/a.png"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    shutil.rmtree(folder / "two" / "f.jpg")
    found = image_folder.image_folder(config(tmp_path), "train")
    assert found.content_id == expected.hexdigest()[:16]
    assert found.labels.tolist() == [0, 0, 0, 0, 1, 1]
    assert isinstance(found.opened, image_folder.OpenFile)
    assert len(pickle.dumps(found.opened)) < 1000
    with pytest.raises(ImageError, match=r"two/\u00e9\.png cannot be read"):
        found.opened(5)


def test_a_folder_is_listed_once_until_it_changes(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed: list[str] = []
    files = image_folder._files
    monkeypatch.setattr(image_folder, "_files", lambda root, place: listed.append(place) or files(root, place))  # type: ignore[func-returns-value]
    shutil.copytree(folder / "train", tmp_path / "train")
    prepare_data(config(tmp_path))
    before = opened(tmp_path)
    assert listed == ["blue", "green", "red"]
    shutil.copy(tmp_path / "train" / "red" / "0.png", tmp_path / "train" / "red" / "new.png")
    assert len(opened(tmp_path).labels) == len(before.labels) + 1


def epochs(stream: Stream, recipe: Recipe) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Two epochs with the validation between them, and the beginning of one that is left."""
    first = list(stream.epoch(recipe, 0, 0))
    held_out = list(stream.validation_batches(5))
    left = [next(stream.epoch(recipe, 0, 2))]
    return first + held_out + left + list(stream.epoch(recipe, 0, 1))


def test_batches_are_the_same_for_any_number_of_workers(folder: Path) -> None:
    recipe = Recipe(batch_size=20, crop_padding=1, flip=True)
    none, one, three = (
        epochs(Stream(opened(folder, workers=workers), resolve_device(CPU)), recipe) for workers in (0, 1, 3)
    )
    assert [len(labels) for _, labels in none] == [20, 20, 20, 5, 5, 2, 20, 20, 20, 20]
    assert not torch.equal(none[0][0], none[7][0])
    for other in (one, three):
        for (images, labels), (again, labels_again) in zip(none, other, strict=True):
            assert images.shape[1:] == (3, 16, 16)
            assert torch.equal(images, again)
            assert torch.equal(labels, labels_again)


def test_workers_serve_a_whole_training_and_end_with_it(folder: Path) -> None:
    recipe = Recipe(batch_size=20, crop_padding=1, flip=True)
    assert not multiprocessing.active_children()
    stream = Stream(opened(folder, workers=2), resolve_device(CPU))
    assert not multiprocessing.active_children()
    seen = set()
    for epoch in range(3):
        for batches in (stream.epoch(recipe, 0, epoch), stream.validation_batches(5)):
            list(batches)
            seen.add(frozenset(process.pid for process in multiprocessing.active_children()))
    assert [len(pids) for pids in seen] == [2]
    del stream, batches
    assert not multiprocessing.active_children()


@pytest.mark.parametrize("ending", ["ok", "timeout", "stopped", "damaged"])
def test_no_worker_outlives_its_training(ending: str, folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder / "train", tmp_path / "train")
    splits = opened(tmp_path, workers=2)
    if ending == "damaged":
        for image in (tmp_path / "train" / "red").iterdir():
            image.write_bytes(image.read_bytes()[:60])

    def on_epoch(epoch: object) -> None:
        if ending == "stopped":
            raise KeyboardInterrupt

    recipe = Recipe(epochs=2, batch_size=10)
    for seed in range(2):
        limit = 0.0 if ending == "timeout" else None
        try:
            train_model(SPEC, splits, recipe, seed=seed, device_config=CPU, on_epoch=on_epoch, deadline_seconds=limit)
        except (KeyboardInterrupt, ImageError):
            assert ending in ("stopped", "damaged")
        assert not multiprocessing.active_children()


ENDLESS = """
import signal, sys, time
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR2):
    signal.signal(number, signal.SIG_IGN)  # as a training process does
from pathlib import Path
from sweeps.data import DataConfig, open_data
from sweeps.trainer.device import resolve_device
from sweeps.config import DeviceConfig
from sweeps.trainer.stream import Stream
config = DataConfig(name="image_folder", resolution=16, validation_size=12, workers=2, root=Path(sys.argv[1]))
stream = Stream(open_data(config), resolve_device(DeviceConfig(device="cpu")))
batches = stream.validation_batches(4)
next(batches), next(batches)  # of one worker each: both have begun
print("ready", flush=True)
time.sleep(float(sys.argv[2]))
"""


def of_session(session: int) -> list[int]:
    """The processes of a session that are not yet gone."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            state, _, _, its_session = (place / "stat").read_text().rpartition(")")[2].split()[:4]
        except OSError:
            continue
        if int(its_session) == session and state != "Z":
            found.append(int(place.name))
    return found


def test_workers_end_with_a_training_that_is_killed_and_outlive_a_warning(folder: Path) -> None:
    command = [sys.executable, "-c", ENDLESS, str(folder), "60"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        everyone = of_session(process.pid)
        try:
            assert len(everyone) >= 4  # it, who starts the workers, and the workers
            for number in (signal.SIGTERM, signal.SIGUSR2, signal.SIGINT):
                os.killpg(process.pid, number)
            time.sleep(0.5)
            assert set(of_session(process.pid)) == set(everyone)
        finally:
            process.kill()
        end = time.monotonic() + 10
        while of_session(process.pid) and time.monotonic() < end:
            time.sleep(0.1)
        assert not of_session(process.pid)


def test_a_program_ends_with_a_stream_left_open(folder: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", ENDLESS, str(folder), "0"], capture_output=True, timeout=60, check=True
    )
    assert done.stdout == b"ready\n"


@pytest.mark.parametrize("workers", [0, 2])
def test_a_damaged_image_is_named(workers: int, folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder / "train", tmp_path / "train")
    place = tmp_path / "train" / "red"
    splits = opened(tmp_path, workers=workers)
    whole = (place / "7.png").read_bytes()
    stream = Stream(splits, resolve_device(CPU))

    def all_images() -> None:
        list(stream.validation_batches(5))
        list(stream.epoch(Recipe(batch_size=20, crop_padding=1), 0, 0))

    for content, reason in (
        (whole[: len(whole) // 2], "truncated|broken"),
        (b"nothing", "cannot identify image file"),
        (b"", "cannot identify image file"),
        (None, "No such file or directory"),
    ):
        (place / "7.png").unlink(missing_ok=True)
        if content is not None:
            (place / "7.png").write_bytes(content)
        with pytest.raises(ImageError) as caught:
            all_images()
        assert re.fullmatch(rf"{re.escape(str(place))}/7\.png cannot be read as an image: .*", str(caught.value))
        assert re.search(reason, str(caught.value))
    (place / "7.png").write_bytes(whole)
    all_images()  # the same stream goes on

    (place / "8.png").unlink()
    (place / "8.png").symlink_to(tmp_path / "nowhere")
    with pytest.raises(ImageError, match=r"red/8\.png cannot be read as an image: No such file or directory\."):
        prepare_data(config(tmp_path))


def test_workers_share_the_cores(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sweeps.data.loading.cores", lambda: 24)
    monkeypatch.delenv("LOCAL_WORLD_SIZE", raising=False)
    assert [automatic_workers(processes) for processes in (1, 4, 10, 48)] == [24, 6, 2, 1]
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "3")
    assert automatic_workers(1) == 8
    found = [open_data(config(folder, workers=workers), processes=2) for workers in ("auto", 0, 5)]
    assert [splits.workers for splits in found if isinstance(splits, StreamedSplits)] == [4, 0, 5]
    with pytest.raises(ValueError, match="workers"):
        config(folder, workers=-1)


def test_a_study_goes_on_with_another_number_of_workers() -> None:
    study = dict.fromkeys(FROZEN)
    before, now = (
        {**study, "data": {"name": "hf", "workers": workers, "root": root}} for workers, root in ((2, 1), ("auto", 2))
    )
    assert changes(before, now) == []
    assert changes(before, {**study, "data": {"name": "image_folder"}}) == ["data.name: hf -> image_folder"]


def test_a_study_of_an_earlier_version_goes_on_without_the_settings_it_did_not_have() -> None:
    study = dict.fromkeys(FROZEN)
    before, now = ({**study, "data": {"name": "hf"} | new} for new in ({}, {"white_level": None, "max_pixels": 10}))
    assert changes(before, now) == []
    now["data"]["white_level"] = 4095.0
    assert changes(before, now) == ["data.white_level: absent -> 4095.0"]


def test_a_network_learns_the_colours(folder: Path) -> None:
    recipe = Recipe(epochs=4, batch_size=10, crop_padding=1, flip=True, learning_rate=0.1)
    first, second = (train_model(SPEC, opened(folder), recipe, seed=0, device_config=CPU) for _ in range(2))
    assert (first.status, first.updates) == ("ok", 24)
    assert first.epoch_train_loss == second.epoch_train_loss
    assert first.error_percent is not None
    assert first.error_percent < 40


def test_the_test_part_is_found_and_has_the_labels_of_the_training_part(folder: Path, tmp_path: Path) -> None:
    assert find_test(config(folder)) is None
    (tmp_path / "train").symlink_to(folder / "train")
    (tmp_path / "test").mkdir()
    (tmp_path / "test" / "1.png").write_bytes(b"")  # ImageNet's: images without labels
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
    with pytest.raises(ValueError, match=r"val/yellow: must be one of the classes in .*train$"):
        find_test(config(tmp_path))


def test_crops_are_what_their_names_say() -> None:
    ramp = np.repeat(np.arange(70, dtype=np.uint8)[None, :, None], 35, 0).repeat(3, 2)
    image = Image.fromarray(ramp)
    centre = np.asarray(centre_crop(image, 28))
    assert centre.shape == (28, 28, 3)
    assert 15 < centre[:, 0].mean() < 25
    assert centre[..., 0].mean() == pytest.approx(34.5, abs=1)
    generator = np.random.default_rng(0)
    crops = [np.asarray(random_resized_crop(image, 8, generator)) for _ in range(200)]
    widths = [crop[0, :, 0].max() - crop[0, :, 0].min() for crop in crops]
    assert min(widths) < 15
    assert max(widths) > 30


def test_a_jpeg_is_decoded_no_larger_than_needed_and_looks_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    generator = np.random.default_rng(0)
    rough = Image.fromarray(generator.integers(0, 256, (20, 30, 3), dtype=np.uint8))
    rough.resize((601, 401)).save(tmp_path / "a.jpg", quality=95)

    spare = stream_module.SPARE

    def cut(kind: str, spare: float) -> tuple[np.ndarray, tuple[int, int]]:
        monkeypatch.setattr(stream_module, "SPARE", spare)
        with Image.open(tmp_path / "a.jpg") as image:
            square = (
                centre_crop(image, 32) if kind == "centre" else random_resized_crop(image, 32, np.random.default_rng(3))
            )
            return np.asarray(square, float), image.size

    for kind in ("centre", "random"):
        whole, size = cut(kind, 1e9)
        assert size == (601, 401)
        less, size = cut(kind, spare)
        assert size[0] in (151, 301)
        assert np.abs(whole - less).mean() < 1
        assert np.abs(whole - less).max() < 16
        assert np.abs(whole - np.roll(less, 1, 1)).mean() > 3  # as it would be, shifted


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "CMYK", "1"])
def test_images_of_any_mode_become_rgb(mode: str) -> None:
    assert np.asarray(centre_crop(Image.new("RGB", (40, 30), (250, 250, 250)).convert(mode), 8)).shape == (8, 8, 3)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"subset": 2}, r"data\.subset = 2: must be larger, no training image is of class \d of 3"),
        ({"validation_size": 2}, r"validation_fraction\) = 2: must be larger, no image is of class \d of 3"),
        ({"validation_size": 70}, r"data\.validation_size = 70: must be smaller, no training image is of class \d"),
        ({"root": None}, r"data\.root is missing"),
        ({"root": Path("/nowhere")}, r"data\.root = /nowhere: must have a folder train with one for each class"),
        ({"resolution": None}, r"data\.resolution is missing"),
        ({"in_channels": 1}, r"data\.in_channels = 1: must be 3 for image_folder"),
        ({"classes": 4}, r"data\.classes = 4: must be at most 3 for image_folder"),
        ({"name": "hf"}, r"data=hf needs the package datasets"),
    ],
)
def test_mistakes_are_one_sentence(folder: Path, changes: dict[str, object], sentence: str) -> None:
    if "name" in changes and "datasets" in sys.modules:
        pytest.skip("datasets is installed")
    with pytest.raises(ValueError, match=sentence):
        open_data(config(folder, **changes))


def test_a_class_without_images_is_rejected(tmp_path: Path) -> None:
    (tmp_path / "train" / "empty").mkdir(parents=True)
    with pytest.raises(ValueError, match=r"empty: must have images in a format that Pillow reads$"):
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


class Gap(Rows):
    """Labels of which one is missing."""

    def __getitem__(self, key: int | str) -> object:
        return [0, 2] * 20 if key == "fine_label" else super().__getitem__(key)


def test_a_set_of_the_datasets_library_is_streamed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    library = types.ModuleType("datasets")
    asked: list[tuple[str, str]] = []

    def load_dataset(path: str, cache_dir: str) -> dict[str, Rows]:
        asked.append((path, cache_dir))
        return splits_of_the_set

    splits_of_the_set = {"train": Rows()}
    library.load_dataset = load_dataset  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "datasets", library)
    with pytest.raises(ValueError, match=r"data\.path is missing"):
        opened(folder, name="hf")
    splits = opened(folder, name="hf", path="someone/images")
    assert asked == [("someone/images", str(folder))]
    assert splits.classes == 2
    images, labels = next(Stream(splits, resolve_device(CPU)).validation_batches(5))
    assert images.shape == (5, 3, 16, 16)
    assert set(labels.tolist()) <= {0, 1}
    monkeypatch.setattr(Rows, "__getitem__", lambda rows, key: {}[key])
    with pytest.raises(ImageError, match=r"^row 3 of train of someone/images cannot be read as an image: 3\.$"):
        splits.opened(3)
    monkeypatch.undo()
    monkeypatch.setitem(sys.modules, "datasets", library)

    named = config(folder, name="hf", path="someone/images")
    assert find_test(named) is None
    splits_of_the_set |= {"test": Unlabelled(), "validation": Rows()}
    assert find_test(named) == "validation"
    test = open_test(named, splits)
    assert (len(test.validation), len(test.train)) == (40, 0)  # type: ignore[union-attr]
    splits_of_the_set["train"] = Gap()
    with pytest.raises(ValueError, match=r"data\.name = hf: has no training image of class 1 of 3"):
        open_data(named)
    splits_of_the_set["train"] = Unlabelled()
    with pytest.raises(
        ValueError, match=r"must have a split train with images .* and labels .*; train has img, fine_label;"
    ):
        open_data(named)
