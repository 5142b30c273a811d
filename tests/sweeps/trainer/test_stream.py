"""Streamed images: data sets, crops, and worker processes."""

from __future__ import annotations

import dataclasses
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
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils._python_dispatch import TorchDispatchMode

from designspace import ModelSpec
from sweeps.config import DeviceConfig, Recipe, load_recipe
from sweeps.data import (
    DataConfig,
    ImageError,
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
from sweeps.trainer.stream import Stream, center_crop, random_resized_crop
from sweeps.trainer.trainer import new_record, train_model

pytestmark = pytest.mark.filterwarnings("ignore:This DataLoader will create")  # more workers than the machine has cores
CPU = DeviceConfig(device="cpu", dtype="float32")
STAGE = {"block": "bottleneck", "depth": 1, "width": 8, "stride": 2, "group_width": 8}
SPEC = ModelSpec.from_mapping(
    {"resolution": 16, "in_channels": 3, "stem": {"width": 8}, "stages": [STAGE], "head": {"classes": 3}}
)
COLORS = {"blue": (20, 40, 200), "green": (20, 200, 40), "red": (200, 40, 20)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Noisy images of three colors and many sizes."""
    root, generator = tmp_path_factory.mktemp("images"), np.random.default_rng(0)
    for name, color in COLORS.items():
        class_folder = root / "train" / name
        class_folder.mkdir(parents=True)
        for number in range(24):
            shape = (*generator.integers(20, 40, 2), 3)
            pixels = np.clip(np.array(color) + generator.normal(0, 20, shape), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(class_folder / f"{number}.png")
    return root


def config(folder: Path, **changes: object) -> DataConfig:
    settings = {"name": "image_folder", "resolution": 16, "validation_size": 12, "workers": 0, "root": folder}
    return DataConfig.model_validate(settings | changes)


def opened(folder: Path, **changes: object) -> StreamedSplits:
    splits = open_data(config(folder, **changes))
    assert isinstance(splits, StreamedSplits)
    return splits


def test_splits_are_stratified_and_identified_by_content(folder: Path) -> None:
    splits = opened(folder)
    assert (splits.classes, splits.in_channels, len(splits.train)) == (3, 3, 60)
    assert np.bincount(splits.labels[splits.validation]).tolist() == [4, 4, 4]
    assert not set(splits.train) & set(splits.validation)
    assert opened(folder, workers=2).data_id == splits.data_id
    assert len({splits.data_id, opened(folder, classes=2).data_id, opened(folder, resolution=8).data_id}) == 3
    assert set(opened(folder, classes=2).train_labels) == {0, 1}


def test_the_content_id_is_that_of_earlier_versions(tmp_path: Path) -> None:
    """Names and sizes in the order of paths: `a-b` is before `a/c` as text, but after it as a path."""
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
    images = image_folder.image_folder(config(tmp_path), "train")
    assert images.content_id == expected.hexdigest()[:16]
    assert images.labels.tolist() == [0, 0, 0, 0, 1, 1]
    assert isinstance(images.opener, image_folder.OpenFile)
    assert len(pickle.dumps(images.opener)) < 1000
    with pytest.raises(ImageError, match=r"two/\u00e9\.png cannot be read"):
        images.opener(5)


def test_a_folder_is_listed_once_until_it_changes(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    suffixes = image_folder.suffixes
    listed: list[None] = []
    monkeypatch.setattr(image_folder, "suffixes", lambda: listed.append(None) or suffixes())  # type: ignore[func-returns-value]
    shutil.copytree(folder / "train", tmp_path / "train")
    prepare_data(config(tmp_path))
    before = opened(tmp_path)
    assert len(listed) == 3  # classes
    shutil.copy(tmp_path / "train" / "red" / "0.png", tmp_path / "train" / "red" / "new.png")
    assert len(opened(tmp_path).labels) == len(before.labels) + 1


def epochs(stream: Stream, recipe: Recipe) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Two epochs with validation in between, and an unfinished epoch."""
    first = list(stream.epoch(recipe, 0, 0))
    validation = list(stream.validation_batches(5))
    unfinished = [next(stream.epoch(recipe, 0, 2))]
    return first + validation + unfinished + list(stream.epoch(recipe, 0, 1))


def test_a_sample_of_the_validation_images_is_evenly_spaced(folder: Path) -> None:
    stream = Stream(opened(folder, workers=0), resolve_device(CPU))
    everything, labels = next(stream.validation_batches(99))
    sample = list(stream.validation_sample(4, 3))
    assert [len(batch) for _, batch in sample] == [3, 1]
    chosen = [position * len(labels) // 4 for position in range(4)]
    assert torch.equal(torch.cat([images for images, _ in sample]), everything[chosen])


def test_batches_do_not_depend_on_the_number_of_workers(folder: Path) -> None:
    recipe = load_recipe(batch_size=20, crop_padding=1, flip=True)
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


def test_a_batch_is_copied_without_waiting_for_the_device(folder: Path) -> None:
    class BlockingCopies(TorchDispatchMode):
        count = 0

        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            copies = func is torch.ops.aten._to_copy.default and kwargs.get("device") == meta
            self.count += copies and not kwargs.get("non_blocking")
            return func(*args, **(kwargs or {}))

    meta = torch.device("meta")
    device = dataclasses.replace(resolve_device(CPU), torch_device=meta)
    with BlockingCopies() as copies:
        batches = [
            (copies.count, images.device, labels.device)
            for images, labels in Stream(opened(folder, workers=0), device).validation_batches(2)
        ]
    assert len(batches) > 2
    assert set(batches) == {(batches[0][0], meta, meta)}  # all blocking copies come before the first batch


def test_workers_serve_all_epochs_and_end_with_the_stream(folder: Path) -> None:
    recipe = load_recipe(batch_size=20, crop_padding=1, flip=True)
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
def test_workers_end_with_their_training(ending: str, folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder / "train", tmp_path / "train")
    splits = opened(tmp_path, workers=2)
    if ending == "damaged":
        for image in (tmp_path / "train" / "red").iterdir():
            image.write_bytes(image.read_bytes()[:60])

    def on_epoch(epoch: object) -> None:
        if ending == "stopped":
            raise KeyboardInterrupt

    recipe = load_recipe(epochs=2, batch_size=10)
    for seed in range(2):
        limit = 0.0 if ending == "timeout" else None
        try:
            record = new_record(SPEC, splits, recipe, seed)
            train_model(SPEC, splits, recipe, record, device_config=CPU, on_epoch=on_epoch, deadline_seconds=limit)
        except (KeyboardInterrupt, ImageError):
            assert ending in ("stopped", "damaged")
        assert not multiprocessing.active_children()


ENDLESS = """
import signal, sys
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR2):
    signal.signal(number, signal.SIG_IGN)  # as in a training process
from pathlib import Path
from sweeps.data import DataConfig, open_data
from sweeps.trainer.device import resolve_device
from sweeps.config import DeviceConfig
from sweeps.trainer.stream import Stream
config = DataConfig(name="image_folder", resolution=16, validation_size=12, workers=2, root=Path(sys.argv[1]))
stream = Stream(open_data(config), resolve_device(DeviceConfig(device="cpu")))
batches = stream.validation_batches(4)
next(batches), next(batches)  # one from each worker
print("ready", flush=True)
sys.stdin.readline()
print(len(list(stream.validation_batches(4))), flush=True)
sys.stdin.readline()
"""


def session_processes(session: int) -> set[int]:
    """Return the running processes of a session."""
    processes = set()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            state, _, _, own_session = (folder / "stat").read_text().rpartition(")")[2].split()[:4]
        except OSError:
            continue
        if int(own_session) == session and state != "Z":
            processes.add(int(folder.name))
    return processes


def test_workers_ignore_signals_of_the_job_and_end_with_a_killed_training(folder: Path) -> None:
    command = [sys.executable, "-c", ENDLESS, str(folder)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, start_new_session=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        before = session_processes(process.pid)
        try:
            assert len(before) >= 4  # the training, the fork server, and two workers
            for number in (signal.SIGTERM, signal.SIGUSR2, signal.SIGINT):
                os.killpg(process.pid, number)
            process.stdin.write(b"\n")
            process.stdin.flush()
            assert process.stdout.readline() == b"3\n"  # batches
            assert session_processes(process.pid) == before
        finally:
            process.kill()
        for _ in range(600):
            if not session_processes(process.pid):
                break
            time.sleep(0.1)
        assert not session_processes(process.pid)


def test_a_program_ends_with_an_open_stream(folder: Path) -> None:
    command = [sys.executable, "-c", ENDLESS, str(folder)]
    done = subprocess.run(command, input=b"\n\n", capture_output=True, timeout=120, check=True)
    assert done.stdout == b"ready\n3\n"


@pytest.mark.parametrize("workers", [0, 2])
def test_a_damaged_image_is_named(workers: int, folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder / "train", tmp_path / "train")
    red = tmp_path / "train" / "red"
    splits = opened(tmp_path, workers=workers)
    original = (red / "7.png").read_bytes()
    stream = Stream(splits, resolve_device(CPU))

    def all_images() -> None:
        list(stream.validation_batches(5))
        list(stream.epoch(load_recipe(batch_size=20, crop_padding=1), 0, 0))

    for content, reason in (
        (original[: len(original) // 2], "truncated|broken"),
        (b"nothing", "cannot identify image file"),
        (b"", "cannot identify image file"),
        (None, "No such file or directory"),
    ):
        (red / "7.png").unlink(missing_ok=True)
        if content is not None:
            (red / "7.png").write_bytes(content)
        with pytest.raises(ImageError) as caught:
            all_images()
        assert re.fullmatch(rf"{re.escape(str(red))}/7\.png cannot be read as an image: .*", str(caught.value))
        assert re.search(reason, str(caught.value))
    (red / "7.png").write_bytes(original)
    all_images()  # with the same stream

    (red / "8.png").unlink()
    (red / "8.png").symlink_to(tmp_path / "nowhere")
    with pytest.raises(ImageError, match=r"red/8\.png cannot be read as an image: No such file or directory\."):
        prepare_data(config(tmp_path))


def test_workers_share_the_cores(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sweeps.data.loading.cores", lambda: 24)
    monkeypatch.delenv("LOCAL_WORLD_SIZE", raising=False)
    assert [automatic_workers(processes) for processes in (1, 4, 10, 48)] == [24, 6, 2, 1]
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "3")
    assert automatic_workers(1) == 8
    splits = [open_data(config(folder, workers=workers), processes=2) for workers in ("auto", 0, 5)]
    assert [part.workers for part in splits if isinstance(part, StreamedSplits)] == [4, 0, 5]
    with pytest.raises(ValueError, match="workers"):
        config(folder, workers=-1)


def test_a_study_continues_with_another_number_of_workers() -> None:
    study = dict.fromkeys(FROZEN)
    before, now = (
        {**study, "data": {"name": "hf", "workers": workers, "root": root}} for workers, root in ((2, 1), ("auto", 2))
    )
    assert changes(before, now) == []
    assert changes(before, {**study, "data": {"name": "image_folder"}}) == ["data.name: hf -> image_folder"]


def test_a_study_of_an_earlier_version_continues_without_newer_settings() -> None:
    study = dict.fromkeys(FROZEN)
    before, now = ({**study, "data": {"name": "hf"} | new} for new in ({}, {"white_level": None, "max_pixels": 10}))
    assert changes(before, now) == []
    now["data"]["white_level"] = 4095.0
    assert changes(before, now) == ["data.white_level: absent -> 4095.0"]


def test_a_network_learns_the_colors(folder: Path) -> None:
    recipe = load_recipe(epochs=4, batch_size=10, crop_padding=1, flip=True, learning_rate=0.1)
    splits = opened(folder)
    record = new_record(SPEC, splits, recipe, seed=0)
    first, second = (train_model(SPEC, splits, recipe, record, device_config=CPU) for _ in range(2))
    assert (first.status, first.updates) == ("ok", 24)
    assert first.epoch_train_loss == second.epoch_train_loss
    assert first.error_percent is not None
    assert first.error_percent < 40


def test_the_test_part_has_the_labels_of_the_training_part(folder: Path, tmp_path: Path) -> None:
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
    assert np.asarray(test.opener(0)).mean((0, 1)).argmax() == 1
    fewer = config(tmp_path, classes=2)
    assert len(open_test(fewer, splits).validation) == 24  # type: ignore[union-attr]
    shutil.copytree(folder / "train" / "red", tmp_path / "val" / "yellow")
    with pytest.raises(ValueError, match=r"val/yellow: must be one of the classes in .*train$"):
        find_test(config(tmp_path))


def test_crops_have_the_expected_size_and_position() -> None:
    ramp = np.repeat(np.arange(70, dtype=np.uint8)[None, :, None], 35, 0).repeat(3, 2)
    image = Image.fromarray(ramp)
    center = np.asarray(center_crop(image, 28))
    assert center.shape == (28, 28, 3)
    assert 15 < center[:, 0].mean() < 25
    assert center[..., 0].mean() == pytest.approx(34.5, abs=1)
    generator = np.random.default_rng(0)
    crops = [np.asarray(random_resized_crop(image, 8, generator)) for _ in range(200)]
    widths = [crop[0, :, 0].max() - crop[0, :, 0].min() for crop in crops]
    assert min(widths) < 15
    assert max(widths) > 30


def test_a_jpeg_is_decoded_at_the_smallest_sufficient_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(0)
    rough = Image.fromarray(generator.integers(0, 256, (20, 30, 3), dtype=np.uint8))
    rough.resize((601, 401)).save(tmp_path / "a.jpg", quality=95)

    spare = stream_module.SPARE

    def crop(kind: str, spare: float) -> tuple[np.ndarray, tuple[int, int]]:
        monkeypatch.setattr(stream_module, "SPARE", spare)
        with Image.open(tmp_path / "a.jpg") as image:
            square = (
                center_crop(image, 32) if kind == "center" else random_resized_crop(image, 32, np.random.default_rng(3))
            )
            return np.asarray(square, float), image.size

    for kind in ("center", "random"):
        full, size = crop(kind, 1e9)
        assert size == (601, 401)
        reduced, size = crop(kind, spare)
        assert size[0] in (151, 301)
        assert np.abs(full - reduced).mean() < 1
        assert np.abs(full - reduced).max() < 16
        assert np.abs(full - np.roll(reduced, 1, 1)).mean() > 3  # a shift by one pixel differs


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "CMYK", "1"])
def test_images_of_any_mode_become_rgb(mode: str) -> None:
    assert np.asarray(center_crop(Image.new("RGB", (40, 30), (250, 250, 250)).convert(mode), 8)).shape == (8, 8, 3)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"subset": 2}, r"data\.subset = 2: must be larger, no training image has class \d of 3"),
        ({"validation_size": 2}, r"data\.validation_size = 2: must be larger, no validation image has class \d of 3"),
        ({"validation_size": 70}, r"data\.validation_size = 70: must be smaller, no training image has class \d"),
        ({"root": None}, r"data\.root = None: must be a folder"),
        ({"root": Path("/nowhere")}, r"data\.root = /nowhere: must have a folder train with a folder for each class"),
        ({"resolution": None}, r"data\.resolution = None: must be"),
        ({"in_channels": 1}, r"data\.in_channels = 1: must be 3 for image_folder"),
        ({"classes": 4}, r"data\.classes = 4: must be at most 3 for image_folder"),
        ({"name": "hf"}, r"datasets is not installed: run pip install datasets"),
    ],
)
def test_settings_that_do_not_fit_are_rejected(folder: Path, changes: dict[str, object], sentence: str) -> None:
    if "name" in changes and "datasets" in sys.modules:
        pytest.skip("datasets is installed")
    with pytest.raises(ValueError, match=sentence):
        open_data(config(folder, **changes))


def test_a_class_without_images_is_rejected(tmp_path: Path) -> None:
    (tmp_path / "train" / "empty").mkdir(parents=True)
    with pytest.raises(ValueError, match=r"empty: must have images in a format that Pillow reads$"):
        prepare_data(config(tmp_path))


class Rows:
    """The parts of a split that are used."""

    column_names = ("img", "fine_label")
    _fingerprint = "abc"

    def __getitem__(self, key: int | str) -> object:
        if key == "fine_label":
            return [0, 1] * 20
        return {"img": Image.new("L", (30, 20), color=100)}


class Unlabelled(Rows):
    """A split with undisclosed labels."""

    def __getitem__(self, key: int | str) -> object:
        return [-1] * 40 if key == "fine_label" else super().__getitem__(key)


class Gap(Rows):
    """A split in which one label is missing."""

    def __getitem__(self, key: int | str) -> object:
        return [0, 2] * 20 if key == "fine_label" else super().__getitem__(key)


def test_a_data_set_of_the_datasets_library_is_streamed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    library = types.ModuleType("datasets")
    requests: list[tuple[str, str]] = []

    def load_dataset(path: str, cache_dir: str) -> dict[str, Rows]:
        requests.append((path, cache_dir))
        return set_splits

    set_splits = {"train": Rows()}
    library.load_dataset = load_dataset  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "datasets", library)
    with pytest.raises(ValueError, match=r"data\.path = None: must be a set"):
        opened(folder, name="hf")
    splits = opened(folder, name="hf", path="someone/images")
    assert requests == [("someone/images", str(folder))]
    assert splits.classes == 2
    images, labels = next(Stream(splits, resolve_device(CPU)).validation_batches(5))
    assert images.shape == (5, 3, 16, 16)
    assert set(labels.tolist()) <= {0, 1}
    monkeypatch.setattr(Rows, "__getitem__", lambda rows, key: {}[key])
    with pytest.raises(ImageError, match=r"^row 3 of train of someone/images cannot be read as an image: 3\.$"):
        splits.opener(3)
    monkeypatch.undo()
    monkeypatch.setitem(sys.modules, "datasets", library)

    named = config(folder, name="hf", path="someone/images")
    assert find_test(named) is None
    set_splits |= {"test": Unlabelled(), "validation": Rows()}
    assert find_test(named) == "validation"
    test = open_test(named, splits)
    assert (len(test.validation), len(test.train)) == (40, 0)  # type: ignore[union-attr]
    set_splits["train"] = Gap()
    with pytest.raises(ValueError, match=r"data\.name = hf: must have a training image of class 1 of 3"):
        open_data(named)
    set_splits["train"] = Unlabelled()
    with pytest.raises(
        ValueError, match=r"must have a split train with images .* and labels .*, but train has img, fine_label;"
    ):
        open_data(named)
