"""Checkpoints: a resumed training equals an uninterrupted one, and only the same training is resumed."""

from __future__ import annotations

import dataclasses
import logging
import os
from pathlib import Path
from typing import Any

import pytest
import torch

from designspace import ModelSpec
from designspace.study import Record
from sweeps.config import DeviceConfig, Recipe, load_recipe
from sweeps.data import DataConfig, Splits, open_data
from sweeps.trainer import trainer
from sweeps.trainer.checkpoint import Checkpoint
from sweeps.trainer.device import Device, resolve_device
from sweeps.trainer.trainer import arithmetic, new_record, train_model

CPU = DeviceConfig(device="cpu")
RECIPE = load_recipe(epochs=3, batch_size=32, crop_padding=1)
STAGE = {"block": "bottleneck", "depth": 1, "width": 8, "stride": 2, "group_width": 2}
SPEC = ModelSpec.from_mapping(
    {"resolution": 8, "in_channels": 1, "stem": {"width": 8, "stride": 1}, "stages": [STAGE], "head": {"classes": 10}}
)
RECORD = Record("spec", "recipe", "data", 0, "ok")


class Killed(BaseException):
    """Simulates the end of the process."""


@pytest.fixture(scope="module")
def splits() -> Splits:
    digits = open_data(DataConfig(name="digits", validation_size=300, subset=320))
    assert isinstance(digits, Splits)
    return digits


def train(
    splits: Splits,
    checkpoint: Path | None = None,
    stop_after: int = 99,
    recipe: Recipe = RECIPE,
    seed: int = 0,
    **options: Any,
) -> Record:
    def stop(record: Record) -> None:
        if record.epochs_done == stop_after:
            raise Killed

    options = {"long_seconds": 0.0, "device_config": CPU, "on_epoch": stop} | options
    return train_model(SPEC, splits, recipe, new_record(SPEC, splits, recipe, seed), checkpoint=checkpoint, **options)


def train_until_killed(splits: Splits, file: Path, epochs: int) -> None:
    with pytest.raises(Killed):
        train(splits, file, epochs)


def change(splits: Splits, file: Path, arithmetic_changes: dict[str, Any] | None = None, **fields: Any) -> None:
    """Change the arithmetic or the record in a checkpoint."""
    own = arithmetic(resolve_device(CPU))
    saved = Checkpoint(file, own).load(new_record(SPEC, splits, RECIPE, 0))
    assert saved is not None
    state, record = saved
    Checkpoint(file, own | (arithmetic_changes or {})).save(state, dataclasses.replace(record, **fields))


def curves(record: Record) -> tuple[object, ...]:
    return (
        record.status,
        record.updates,
        record.epochs_done,
        record.epoch_train_loss,
        record.epoch_train_error_percent,
        record.epoch_validation_error_percent,
        record.epoch_learning_rate,
    )


@pytest.mark.parametrize("stop_after", [1, 2])
def test_a_training_killed_after_any_epoch_and_resumed_is_bit_identical(
    splits: Splits, tmp_path: Path, stop_after: int
) -> None:
    file = tmp_path / "folder" / "model.pt"
    train_until_killed(splits, file, stop_after)
    resumed = train(splits, file)
    assert curves(resumed) == curves(train(splits))
    assert len(resumed.epoch_seconds) == RECIPE.epochs
    assert [path.name for path in file.parent.iterdir()] == ["model.pt"]


def test_a_resumed_training_has_the_same_probe(splits: Splits, tmp_path: Path) -> None:
    file = tmp_path / "model.pt"
    expected = train(splits, probe=True)
    with pytest.raises(Killed):
        train(splits, file, 1, probe=True)
    record = train(splits, file, probe=True)
    for name in ("part_gradient_norm_first", "part_gradient_norm_last", "block_rank_before", "block_rank_after"):
        assert getattr(record, name) == getattr(expected, name) != ()


def test_a_resumed_training_keeps_its_start_and_its_kernels(splits: Splits, tmp_path: Path) -> None:
    file = tmp_path / "model.pt"
    train_until_killed(splits, file, 1)
    change(splits, file, started_at="2020-02-02T02:02:02+00:00")
    record = train(splits, file, device_config=CPU.model_copy(update={"compile": True}))
    assert (record.status, record.started_at, record.compiled) == ("ok", "2020-02-02T02:02:02+00:00", False)
    assert record.ended_at > record.started_at


def test_a_short_training_writes_no_checkpoint(splits: Splits, tmp_path: Path) -> None:
    train(splits, tmp_path / "model.pt", long_seconds=float("inf"))
    assert not list(tmp_path.iterdir())


def test_a_deadline_includes_the_time_before_the_interruption(splits: Splits, tmp_path: Path) -> None:
    file = tmp_path / "model.pt"
    train_until_killed(splits, file, 1)
    change(splits, file, epoch_seconds=(1000.0,))
    record = train(splits, file, deadline_seconds=900.0)
    assert (record.status, record.epochs_done) == ("timeout", 1)


def test_the_checkpoint_of_another_training_is_rejected(splits: Splits, tmp_path: Path) -> None:
    file = tmp_path / "model.pt"
    train_until_killed(splits, file, 1)
    message = r"model\.pt: checkpoint of another training \(seed = 0 in the file, 1 here\); remove it to start over"
    with pytest.raises(ValueError, match=message):
        train(splits, file, seed=1)
    with pytest.raises(ValueError, match=r"another training \(recipe_id = \w+ in the file, \w+ here\)"):
        train(splits, file, recipe=RECIPE.model_copy(update={"epochs": 4}))


def test_different_arithmetic_or_a_damaged_file_starts_over(
    splits: Splits, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "model.pt"
    train_until_killed(splits, file, 1)
    original = file.read_bytes()
    flipped = [bytearray(original) for _ in range(3)]
    for number, damaged in enumerate(flipped):
        damaged[(number + 1) * len(original) // 4] ^= 4  # one bit of the weights
    change(splits, file, {"dtype": "float8"})
    contents = [file.read_bytes(), original[: len(original) // 2], b"", b"not a checkpoint", *map(bytes, flipped)]
    expected = curves(train(splits))
    for content in contents:
        file.write_bytes(content)
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            assert curves(train(splits, file)) == expected
        assert "training starts over" in caplog.text


def test_a_training_continues_on_another_device(
    splits: Splits, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "model.pt"
    train_until_killed(splits, file, 2)
    change(splits, file, {"device_name": "another"})
    seen: list[int] = []
    with caplog.at_level(logging.WARNING):
        train(splits, file, on_epoch=lambda record: seen.append(record.epochs_done))
    assert "was written on another device (device_name = another in the file," in caplog.text
    assert seen == [3]


def test_out_of_memory_on_resuming_is_a_status(splits: Splits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "model.pt"
    train_until_killed(splits, file, 1)

    def too_large(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr(trainer, "build_network", too_large)
    record = train(splits, file)
    assert (record.status, record.epochs_done) == ("out_of_memory", 1)
    assert record.updates == RECIPE.updates_per_epoch(len(splits.train_labels))
    assert record.train_seconds


def test_a_resumed_training_keeps_its_layout(splits: Splits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    probes: list[str] = []

    def probe(build: object, splits: Splits, resolution: int, recipe: Recipe, device: Device) -> Device:
        probes.append(["contiguous", "channels_last"][len(probes)])
        return device.in_layout(probes[-1])

    undecided = dataclasses.replace(resolve_device(CPU), layout_is_auto=True)
    monkeypatch.setattr(trainer, "resolve_device", lambda *_: undecided)
    monkeypatch.setattr(trainer, "faster_layout", probe)
    train_until_killed(splits, tmp_path / "model.pt", 1)
    resumed = train(splits, tmp_path / "model.pt")
    assert (len(probes), resumed.memory_format) == (1, "contiguous")
    monkeypatch.undo()
    assert curves(resumed) == curves(train(splits, device_config=CPU.model_copy(update={"channels_last": False})))


def test_a_failed_write_keeps_the_previous_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint = Checkpoint(tmp_path / "model.pt", arithmetic(resolve_device(CPU)))
    record = dataclasses.replace(RECORD, epochs_done=1, epoch_train_loss=(1.5,), train_seconds=1.5)
    checkpoint.save({"updates": 1}, record)

    def full(*_: object) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        checkpoint.save({"updates": 2}, dataclasses.replace(record, epochs_done=2))
    assert checkpoint.load(RECORD) == ({"updates": 1}, record)


def test_a_missing_file_is_not_a_checkpoint(tmp_path: Path) -> None:
    assert Checkpoint(tmp_path / "model.pt", {}).load(RECORD) is None


def test_a_fifo_is_not_a_checkpoint(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    os.mkfifo(tmp_path / "model.pt")
    assert Checkpoint(tmp_path / "model.pt", {}).load(RECORD) is None
    assert "is damaged" in caplog.text


@pytest.mark.parametrize("policy", [{"trivial_augment": True}, {"rand_augment": [2, 9]}], ids=["trivial", "rand"])
def test_a_resumed_training_with_an_average_mixing_and_a_policy_is_bit_identical(
    splits: Splits, tmp_path: Path, policy: dict[str, Any]
) -> None:
    pytest.importorskip("kornia")
    recipe = RECIPE.changed(ema_decay=0.9, mixup=0.2, cutmix=1.0, **policy)
    weights: list[list[torch.Tensor]] = []

    def keep(network: torch.nn.Module, device: Device) -> None:
        weights.append(list(network.state_dict().values()))

    whole = train(splits, recipe=recipe, on_trained=keep)
    with pytest.raises(Killed):
        train(splits, tmp_path / "file", 1, recipe)
    resumed = train(splits, tmp_path / "file", recipe=recipe, on_trained=keep)
    assert curves(resumed) == curves(whole)
    assert all(torch.equal(one, other) for one, other in zip(*weights, strict=True))


def test_a_training_stopped_early_has_the_error_of_its_last_epoch(splits: Splits, tmp_path: Path) -> None:
    complete, trained = train(splits), []
    stopped = train(
        splits,
        tmp_path / "file",
        should_stop=lambda record: record.epochs_done == 2,
        on_trained=lambda *_: trained.append(_),
        probe=True,
    )
    assert (complete.status, stopped.status, stopped.epochs_done) == ("ok", "stopped", 2)
    assert stopped.epoch_validation_error_percent == complete.epoch_validation_error_percent[:2]
    assert stopped.error_percent == stopped.epoch_validation_error_percent[-1]
    assert stopped.updates == complete.updates * 2 // 3
    assert trained == []
    assert stopped.block_channels == ()  # the probe measures trained networks


def test_a_resumed_training_may_stop_before_its_next_epoch(splits: Splits, tmp_path: Path) -> None:
    file, asked = tmp_path / "file", []
    train_until_killed(splits, file, epochs=1)

    def should_stop(record: Record) -> bool:
        asked.append(record.epochs_done)
        return record.epochs_done == 2

    assert train(splits, file, should_stop=lambda record: True).epochs_done == 1
    assert train(splits, file, should_stop=should_stop).epochs_done == 2
    assert train(splits, file, should_stop=lambda record: False).status == "ok"  # continues from the last checkpoint
    assert asked == [1, 2]
