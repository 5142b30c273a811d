"""Predicted training times: the formula, the stored constants, and time limits."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from designspace.times import TimePredictor, load_any_constants, load_constants
from sweeps.study.predict import BEGIN_AGAIN_SECONDS, LEAST_LIMIT_SECONDS, TimeLimit, save_constants, start_measuring

PREDICTOR = TimePredictor(
    per_mac=3e-12,
    per_act=2e-10,
    per_block=1e-4,
    per_update=5e-4,
    per_picture=0.0,
    batch_size=10,
    updates=40,
    evaluated=60,
    relative_error=0.05,
    device="a device",
)


def model(macs: int = 1_000_000, acts: int = 100_000, depth: int = 8) -> Any:
    return SimpleNamespace(macs=macs, acts=acts, depth=depth)


def test_the_time_of_an_update_is_arithmetic_memory_and_overhead() -> None:
    assert PREDICTOR.update_seconds(model()) == pytest.approx(10 * (3e-6 + 2e-5) + 8e-4 + 5e-4)
    assert PREDICTOR.update_seconds(model(acts=200_000)) > PREDICTOR.update_seconds(model())


def test_an_evaluated_image_costs_a_third_of_a_training_image() -> None:
    update = PREDICTOR.update_seconds(model())
    assert PREDICTOR.training_seconds(model()) == pytest.approx((40 + 60 / 10 / 3) * update)
    assert replace(PREDICTOR, evaluated=0).training_seconds(model()) == pytest.approx(40 * update)


def test_slow_decoding_limits_the_speed() -> None:
    slow = replace(PREDICTOR, per_picture=0.01)
    assert slow.update_seconds(model()) == pytest.approx(0.1)
    assert slow.training_seconds(model()) == pytest.approx(40 * 0.1 + 60 * 0.01)


def test_the_first_constants_of_a_kind_of_device_are_kept(tmp_path: Path) -> None:
    folder = tmp_path / "times"
    first, second = {"device_name": "one"}, {"device_name": "two"}
    assert start_measuring(folder, first)
    assert load_constants(folder, first) is None
    assert load_any_constants(folder) is None
    assert save_constants(folder, first, PREDICTOR) == PREDICTOR
    other = replace(PREDICTOR, per_mac=1.0)
    assert save_constants(folder, first, other) == PREDICTOR
    assert save_constants(folder, second, other) == other
    assert load_constants(folder, first) == PREDICTOR
    assert load_any_constants(folder) in (PREDICTOR, other)


def test_one_process_at_a_time_measures(tmp_path: Path) -> None:
    assert start_measuring(tmp_path, {"device_name": "one"})
    assert not start_measuring(tmp_path, {"device_name": "one"})
    assert start_measuring(tmp_path, {"device_name": "two"})
    for mark in tmp_path.glob("*.begun"):
        long_ago = time.time() - BEGIN_AGAIN_SECONDS - 1
        os.utime(mark, (long_ago, long_ago))
    assert start_measuring(tmp_path, {"device_name": "one"})
    assert not start_measuring(tmp_path, {"device_name": "one"})


def test_damaged_constants_are_ignored(tmp_path: Path) -> None:
    save_constants(tmp_path, {}, PREDICTOR)
    (file,) = tmp_path.glob("*.json")
    text = file.read_text()
    for damage in ("", "{", "[]", '{"constants": {}}', text.replace("1", '"1"'), text.replace("1", "NaN")):
        file.write_text(damage)
        assert load_constants(tmp_path, {}) is None
        assert load_any_constants(tmp_path) is None


def test_the_shorter_of_two_limits_applies() -> None:
    assert TimeLimit().of(10.0) is None
    assert TimeLimit(seconds=50).of(None) == 50
    assert TimeLimit(factor=20).of(None) is None
    assert TimeLimit(factor=20).of(100.0) == 2000
    assert TimeLimit(factor=20).of(1.0) == LEAST_LIMIT_SECONDS
    assert TimeLimit(seconds=50, factor=20).of(100.0) == 50
