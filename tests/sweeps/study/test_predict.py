"""Stored constants of predicted training times, and time limits."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path

from designspace.times import TimePredictor, load_any_constants, load_constants
from sweeps.study.predict import BEGIN_AGAIN_SECONDS, LEAST_LIMIT_SECONDS, TimeLimit, save_constants, start_measuring

PREDICTOR = TimePredictor(
    3e-12, 2e-10, 1e-4, 5e-4, 0.0, 10, updates=40, evaluated=60, relative_error=0.05, device="a device"
)


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
