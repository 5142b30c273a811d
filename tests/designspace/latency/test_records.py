"""Files of latencies: one condition per file, merged and read strictly."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from designspace.latency.records import Condition, Latency, add_to_folder, read_folder

CONDITION = Condition("torch", "cpu", "AMD EPYC", 1, 1, "wall", {"torch": "2.13.0"})
LATENCY = Latency(2.0, 1.9, 2.4, 0.01, 6, 60, 0.0, "2026-11-26T07:00:00+00:00")


@pytest.mark.parametrize(
    "change",
    [
        {"engine": "onnxruntime"},
        {"device": "cuda"},
        {"device_name": "Intel Xeon"},
        {"batch": 8},
        {"threads": 2},
        {"clock": "cpu"},
        {"packages": {"torch": "2.14.0"}},
    ],
)
def test_every_part_of_a_condition_has_its_own_file(change: dict[str, Any], tmp_path: Path) -> None:
    other = replace(CONDITION, **change)
    assert other.name != CONDITION.name == replace(CONDITION).name
    add_to_folder(tmp_path, CONDITION, {"a": LATENCY})
    add_to_folder(tmp_path, other, {"a": replace(LATENCY, median_ms=3.0)})
    medians = {name: one.networks["a"].median_ms for name, one in read_folder(tmp_path).items()}
    assert medians == {CONDITION.name: 2.0, other.name: 3.0}


def test_new_networks_are_added_and_measured_ones_replaced(tmp_path: Path) -> None:
    slower = replace(LATENCY, median_ms=3.0)
    add_to_folder(tmp_path, CONDITION, {"a": LATENCY, "b": LATENCY})
    file = add_to_folder(tmp_path, CONDITION, {"b": slower, "c": slower})
    assert file.name == f"{CONDITION.name}.json"
    measurements = read_folder(tmp_path)[CONDITION.name]
    assert measurements.condition == CONDITION
    assert measurements.networks == {"a": LATENCY, "b": slower, "c": slower}
    assert read_folder(tmp_path / "none") == {}


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"median_ms": 2.0', '"median_ms": -2.0', r"networks.a.median_ms = -2.0: must be greater than 0"),
        ('"median_ms": 2.0', '"median_ms": "2"', r"median_ms = '2': must be a number"),
        ('"batch": 1', '"batch": 8', r"must be named torch-cpu-b8-t1-wall-\w{8}.json after its condition"),
        ('"rounds": 6,', "", r"networks.a.rounds: required"),
        ("}", "", r"not valid JSON"),
    ],
)
def test_a_damaged_file_is_an_error_that_names_it(old: str, new: str, message: str, tmp_path: Path) -> None:
    file = add_to_folder(tmp_path, CONDITION, {"a": LATENCY})
    file.write_text(file.read_text().replace(old, new))
    with pytest.raises(ValueError, match=message) as error:
        read_folder(tmp_path)
    assert str(error.value).startswith(f"{file}: not a valid file of latencies: ")
    assert "\n" not in str(error.value)
