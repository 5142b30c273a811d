"""Checkpoints: a training stopped after any epoch ends as if it never was, and only its own file is taken."""

from __future__ import annotations

import dataclasses
import io
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from designspace import ModelSpec
from sweeps.config import DeviceConfig, Recipe
from sweeps.data import DataConfig, Splits, load_data
from sweeps.trainer import checkpoint as checkpoints
from sweeps.trainer import trainer
from sweeps.trainer.checkpoint import Checkpoint, Progress
from sweeps.trainer.device import Device, resolve_device
from sweeps.trainer.result import EpochResult, TrainingResult
from sweeps.trainer.trainer import arithmetic, train_model

CPU = DeviceConfig(device="cpu")
RECIPE = Recipe(epochs=3, batch_size=32, crop_padding=1)
STAGE = {"block": "bottleneck", "depth": 1, "width": 8, "stride": 2, "group_width": 2}
SPEC = ModelSpec.from_mapping(
    {"resolution": 8, "in_channels": 1, "stem": {"width": 8, "stride": 1}, "stages": [STAGE], "head": {"classes": 10}}
)


class Killed(BaseException):
    """Stands for the end of the process."""


@pytest.fixture(scope="module")
def splits() -> Splits:
    return load_data(DataConfig(name="digits", validation_size=300, subset=320))


def train(
    splits: Splits,
    checkpoint: Path | None = None,
    stop_after: int = 99,
    recipe: Recipe = RECIPE,
    seed: int = 0,
    **options: object,
) -> TrainingResult:
    def stop(epoch: EpochResult) -> None:
        if epoch.epoch + 1 == stop_after:
            raise Killed

    options = {"long_seconds": 0.0, "device_config": CPU} | options
    return train_model(SPEC, splits, recipe, seed=seed, on_epoch=stop, checkpoint=checkpoint, **options)  # type: ignore[arg-type]


def train_until_killed(splits: Splits, file: Path, epochs: int) -> None:
    with pytest.raises(Killed):
        train(splits, file, epochs)


def change(file: Path, how: Callable[[dict[str, Any]], object]) -> None:
    """Alter what a checkpoint holds, and sign it again."""
    _, _, body = file.read_bytes().partition(b"\n")
    content = torch.load(io.BytesIO(body), weights_only=True)
    how(content)
    buffer = io.BytesIO()
    torch.save(content, buffer)
    file.write_bytes(checkpoints._head(buffer.getvalue()) + b"\n" + buffer.getvalue())


def curves(result: TrainingResult) -> tuple[object, ...]:
    return (
        result.status,
        result.updates,
        result.epochs_done,
        result.epoch_train_loss,
        result.epoch_train_error_percent,
        result.epoch_validation_error_percent,
        result.epoch_learning_rate,
    )


@pytest.mark.parametrize("stop_after", [1, 2])
def test_killed_after_any_epoch_and_resumed_it_ends_bit_for_bit_the_same(
    splits: Splits, tmp_path: Path, stop_after: int
) -> None:
    file = tmp_path / "folder" / "model.pt"
    train_until_killed(splits, file, stop_after)
    resumed = train(splits, file)
    assert curves(resumed) == curves(train(splits))
    assert resumed.train_seconds > 0
    assert [path.name for path in file.parent.iterdir()] == ["model.pt"]


def test_resumed_it_began_when_it_did_and_is_computed_as_before(splits: Splits, tmp_path: Path) -> None:
    file = tmp_path / "model.pt"
    train_until_killed(splits, file, 1)
    change(file, lambda content: content["progress"].update(started_at="2020-02-02T02:02:02+00:00"))
    outcome = train(splits, file, device_config=CPU.model_copy(update={"compile": True}))
    assert (outcome.status, outcome.started_at, outcome.compiled) == ("ok", "2020-02-02T02:02:02+00:00", False)
    assert outcome.ended_at > outcome.started_at


def test_a_short_training_writes_nothing(splits: Splits, tmp_path: Path) -> None:
    train(splits, tmp_path / "model.pt", long_seconds=300.0)
    assert not list(tmp_path.iterdir())


def test_a_deadline_counts_what_was_spent_before_the_interruption(splits: Splits, tmp_path: Path) -> None:
    file = tmp_path / "model.pt"
    train_until_killed(splits, file, 1)
    change(file, lambda content: content["progress"]["epochs"][0].update(seconds=1000.0))
    outcome = train(splits, file, deadline_seconds=900.0)
    assert (outcome.status, outcome.epochs_done) == ("timeout", 1)


def test_the_checkpoint_of_another_training_is_refused(splits: Splits, tmp_path: Path) -> None:
    file = tmp_path / "model.pt"
    train_until_killed(splits, file, 1)
    with pytest.raises(ValueError, match=r"model\.pt is the checkpoint of another training: seed 0 there and 1 here"):
        train(splits, file, seed=1)
    with pytest.raises(ValueError, match=r"another training: recipe_id \w+ there and \w+ here"):
        train(splits, file, recipe=RECIPE.model_copy(update={"epochs": 4}))


def test_other_arithmetic_or_a_damaged_file_starts_the_training_again(
    splits: Splits, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "model.pt"
    train_until_killed(splits, file, 1)
    whole = file.read_bytes()
    flipped = [bytearray(whole) for _ in range(3)]
    for number, damage in enumerate(flipped):
        damage[(number + 1) * len(whole) // 4] ^= 4  # one bit, among the weights
    change(file, lambda content: content["arithmetic"].update(dtype="float8"))
    damaged = [file.read_bytes(), whole[: len(whole) // 2], b"", b"not a checkpoint", *map(bytes, flipped)]
    expected = curves(train(splits))
    for content in damaged:
        file.write_bytes(content)
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            assert curves(train(splits, file)) == expected
        assert "the training starts again" in caplog.text


def test_on_another_device_the_training_goes_on(
    splits: Splits, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "model.pt"
    train_until_killed(splits, file, 2)
    change(file, lambda content: content["arithmetic"].update(device_name="a larger one"))
    seen: list[EpochResult] = []
    with caplog.at_level(logging.WARNING):
        train_model(SPEC, splits, RECIPE, seed=0, checkpoint=file, device_config=CPU, on_epoch=seen.append)
    assert "was written elsewhere (device_name a larger one there and" in caplog.text
    assert [epoch.epoch for epoch in seen] == [2]


def test_a_resumed_training_that_finds_no_memory_is_a_row(
    splits: Splits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "model.pt"
    train_until_killed(splits, file, 1)

    def too_large(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr(trainer, "build_network", too_large)
    outcome = train(splits, file)
    assert (outcome.status, outcome.epochs_done) == ("out_of_memory", 1)
    assert outcome.updates == RECIPE.updates_per_epoch(len(splits.train_labels))
    assert outcome.train_seconds > 0


def test_a_resumed_training_keeps_its_layout_and_the_probe_is_not_in_its_memory(
    splits: Splits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    probes: list[Tensor] = []

    def probe(build: object, splits: Splits, resolution: int, recipe: Recipe, device: Device) -> Device:
        probes.append(torch.ones(2**26)[:1].clone())  # of 256 MiB
        return device.in_layout(["contiguous", "channels_last"][len(probes) - 1])  # as fast: chance decides

    plain = train(splits)
    undecided = dataclasses.replace(resolve_device(CPU), layout_is_open=True)
    monkeypatch.setattr(trainer, "resolve_device", lambda *_: undecided)
    monkeypatch.setattr(trainer, "faster_layout", probe)
    train_until_killed(splits, tmp_path / "model.pt", 1)
    resumed = train(splits, tmp_path / "model.pt")
    assert (len(probes), resumed.memory_format) == (1, "contiguous")
    assert resumed.peak_memory_bytes < plain.peak_memory_bytes + 2**27
    monkeypatch.undo()
    whole = train(splits, device_config=CPU.model_copy(update={"channels_last": False}))
    assert curves(resumed) == curves(whole)


def test_a_write_that_fails_leaves_the_older_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint = Checkpoint(tmp_path / "model.pt", {"seed": 0}, arithmetic(resolve_device(CPU)))
    epoch = EpochResult(0, 3, 1.0, 50.0, 50.0, 0.1, 2.0)
    first = Progress({"updates": 1}, "channels_last", False, (epoch,), "2026-01-01T00:00:00+00:00", 1.5, 10)
    checkpoint.save(first)

    def full(*_: object) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        checkpoint.save(dataclasses.replace(first, train_seconds=3.0))
    assert checkpoint.load() == first
    checkpoint.remove()
    checkpoint.remove()
    assert checkpoint.load() is None


def test_a_fifo_is_no_checkpoint_and_hangs_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    os.mkfifo(tmp_path / "model.pt")
    checkpoint = Checkpoint(tmp_path / "model.pt", {"seed": 0}, arithmetic(resolve_device(CPU)))
    assert checkpoint.load() is None
    assert "is damaged" in caplog.text
