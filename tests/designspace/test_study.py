"""The study folder: what is read is what was written, or is named with what is wrong with it."""

from __future__ import annotations

import json
import math
import os
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from designspace.study import COLUMNS, CURVES, Record, Study, StudyModel, StudyPaths, lines_hash, record_key

KEY = {"spec_id": "a" * 16, "recipe_id": "r", "data_id": "d", "seed": 0}
RECORD = Record(**KEY, status="ok", error_percent=12.5, started_at="2026-01-01T12:00:00+00:00", epoch_seconds=(1.0,))


def make_study(root: Path, count: int = 3) -> Study:
    """Write a study of `count` trained models."""
    models = [
        StudyModel(record_key(f"{i:04d}", "r", "d", 0), "a", i, 0, f"{i:04d}", 1, 1, 1, 1, {"depth": 1}, {})
        for i in range(count)
    ]
    lines = [model.to_line() for model in models]
    (root / "models.jsonl").write_text("".join(line + "\n" for line in lines))
    manifest = {"config": {"n": count, "spaces": {"a": {}}}, "recipe_id": "r", "data_id": "d", "models": count}
    (root / "manifest.json").write_text(json.dumps(manifest | {"models_sha256": lines_hash(lines)}))
    study = Study.open(root)
    for model in models:
        assert study.write_record(model, Record(model.spec_id, "r", "d", 0, "ok"))
    return study


def test_a_record_round_trips_through_json() -> None:
    record = Record(**KEY, status="ok", error_percent=12.5, epoch_train_loss=(1.0, 0.5), parameters={"depth": 7})
    assert Record.from_json(record.to_json()) == record


def test_numbers_that_are_not_finite_become_null() -> None:
    record = Record(**KEY, status="diverged", epoch_train_loss=(1.0, math.nan, math.inf), parameters={"w": math.nan})
    assert Record.from_json(record.to_json()).epoch_train_loss == (1.0, None, None)
    assert json.loads(record.to_json())["parameters"] == {"w": None}


def test_keys_of_later_versions_are_ignored() -> None:
    later = json.loads(RECORD.to_json()) | {"wattage": 300}
    assert Record.from_json(json.dumps(later)) == RECORD


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "not valid JSON"),
        (b"\xff", "not valid JSON"),
        (b"[" * 100_000, "not valid JSON: recursion limit exceeded"),
        (b"[1]", "must be a mapping"),
        (b"null", "must be a mapping"),
        (b'{"status": "ok"}', "spec_id: required"),
    ],
)
def test_invalid_contents_are_errors(content: bytes, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        Record.from_json(content)


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("status", "fine", "status = 'fine': must be one of ok, diverged, timeout, out_of_memory, crashed"),
        ("seed", "0", "seed = '0': must be an integer"),
        ("seed", True, "seed = True: must be an integer"),
        ("macs", 1.5, r"macs = 1.5: must be an integer"),
        ("macs", -1, "macs = -1: must be at least 0"),
        ("macs", 10**30, "macs = .*: must be less than 9"),
        ("error_percent", "12.5", "error_percent = '12.5': must be a number"),
        ("error_percent", math.nan, "error_percent = nan: must be a finite number"),
        ("error_percent", 101.0, "error_percent = 101.0: must be at most 100"),
        ("message", None, "message = None: must be text"),
        ("compiled", 1, "compiled = 1: must be true or false"),
        ("epoch_seconds", 3.0, "epoch_seconds = 3.0: must be a list"),
        ("epoch_seconds", [1.0, "x"], "epoch_seconds.1 = 'x': must be a number"),
        ("started_at", "2026-13-01T12:00:00+00:00", "started_at = .*: must be a time with its offset"),
        ("ended_at", "2026-01-01T12:00:00", "ended_at = .*: must be a time with its offset"),
        ("parameters", [], r"parameters = \[\]: must be a mapping"),
        ("parameters", {"w": {"a": [math.inf]}}, "parameters.numbers: must be finite"),
    ],
)
def test_values_of_the_wrong_type_or_range_are_errors(name: str, value: Any, reason: str) -> None:
    with pytest.raises(ValueError, match=reason) as error:
        Record.from_json(json.dumps(json.loads(RECORD.to_json()) | {name: value}))
    assert "\n" not in str(error.value)


@given(st.data())
def test_a_flipped_bit_gives_a_record_or_a_value_error(data: st.DataObject) -> None:
    content = bytearray(RECORD.to_json().encode())
    content[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    try:
        record = Record.from_json(bytes(content))
    except ValueError:
        return
    assert Record.from_json(record.to_json()) == record


def test_every_column_has_a_meaning() -> None:
    assert all(column.meaning for column in COLUMNS.values())
    assert {name: column.unit for name, column in COLUMNS.items()}["train_seconds"] == "s"
    assert set(CURVES) == {name for name in COLUMNS if name.startswith("epoch_")}
    assert set(COLUMNS) == {f.name for f in fields(Record)}


def damage(path: Path, kind: str) -> None:
    """Replace a record by something else."""
    text = path.read_bytes()
    path.unlink()
    match kind:
        case "truncated":
            path.write_bytes(text[: len(text) // 2])
        case "flipped bit":
            path.write_bytes(text.replace(b"0001", b"00\xb01", 1))
        case "of another model":
            path.write_bytes(text.replace(b"0001", b"0002"))
        case "FIFO":
            os.mkfifo(path)
        case "folder":
            path.mkdir()
        case "broken link":
            path.symlink_to("nowhere")


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("truncated", "not valid JSON"),
        ("flipped bit", "not valid JSON"),
        ("of another model", "is the record of another model"),
        ("FIFO", "must be a regular file"),
        ("folder", "must be a regular file"),
        ("broken link", "must not be a broken link"),
    ],
)
def test_a_damaged_record_is_set_aside_and_its_model_trained_again(tmp_path: Path, kind: str, reason: str) -> None:
    study = make_study(tmp_path)
    key = study.models[1].key
    damage(study.paths.record(key), kind)
    records, damaged = study.read_records()
    assert set(records) == study.keys - {key}
    assert set(damaged) == {key}
    assert reason in damaged[key]
    assert study.set_aside_damaged() == 1
    assert [model.key for model in study.models_to_train()] == [key]
    assert study.write_record(study.models[1], Record(study.models[1].spec_id, "r", "d", 0, "ok"))
    assert study.read_records()[1] == {}


def test_records_set_aside_are_kept(tmp_path: Path) -> None:
    study = make_study(tmp_path)
    model = study.models[0]
    for number in range(3):
        study.paths.record(model.key).write_text(f"damaged {number}")
        assert study.set_aside_damaged() == 1
        if number == 1:  # as if a user removed the first one
            (study.paths.set_aside / f"{model.key}.0.json").unlink()
    kept = sorted(path.read_text() for path in study.paths.set_aside.iterdir())
    assert kept == ["damaged 1", "damaged 2"]


def test_other_files_among_the_records_are_ignored(tmp_path: Path) -> None:
    study = make_study(tmp_path)
    for number in range(1000):
        os.mkfifo(study.paths.records / f"junk-{number}.json")
    assert len(study.read_records()[0]) == 3
    assert study.set_aside_damaged() == 0
    assert study.foreign_records() == 1000


def test_a_study_requires_only_two_files(tmp_path: Path) -> None:
    study = make_study(tmp_path, 0)
    assert {path.name for path in tmp_path.iterdir()} == {"manifest.json", "models.jsonl"}
    assert study.read_records() == ({}, {})
    assert study.models_to_train() == []
    study.remove_old_checkpoints()


def test_a_folder_without_a_manifest_is_an_error(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "absent"):
        with pytest.raises(FileNotFoundError, match=r"not a study folder \(no manifest.json"):
            Study.open(folder)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "not valid JSON"),
        ("x", "not valid JSON"),
        ("[]", "must be a mapping"),
        ("{}", "config: required"),
        ('{"config": 3}', "config = 3: must be a mapping"),
        ('{"config": {"n": "3", "spaces": []}}', r"config.n = '3': must be an integer; config.spaces = \[\]"),
    ],
)
def test_a_damaged_manifest_is_a_one_line_error(tmp_path: Path, text: str, reason: str) -> None:
    make_study(tmp_path)
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(ValueError, match=rf"manifest.json: not a valid manifest: .*{reason}") as error:
        Study.open(tmp_path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("models", -1),
        ("models_sha256", None),
        ("recipe_id", 3),
        ("sampling", {"a": {"asked": "x"}}),
        ("environment", {"git": "main"}),
        ("config", {"n": 3, "spaces": {"a": {}}, "complexity": {"macs": ["low", "high"]}}),
        ("config", {"n": 3, "spaces": {"a": {"constraints": {"macs": 3}}}}),
        ("config", {"n": 3, "spaces": {"a": {}}, "data": "digits"}),
    ],
)
def test_a_manifest_with_values_of_the_wrong_type_is_an_error(tmp_path: Path, name: str, value: Any) -> None:
    make_study(tmp_path)
    path = StudyPaths(tmp_path).manifest
    path.write_text(json.dumps(json.loads(path.read_text()) | {name: value}))
    with pytest.raises(ValueError, match=rf"not a valid manifest: {name}"):
        Study.open(tmp_path)


def test_a_changed_models_file_is_an_error(tmp_path: Path) -> None:
    study = make_study(tmp_path)
    content = study.paths.models.read_bytes()
    for changed in (content.replace(b'"macs":1', b'"macs":2'), content[:-20], b"\xff" + content, b""):
        study.paths.models.write_bytes(changed)
        with pytest.raises(ValueError, match=r"models.jsonl: was changed after the study was frozen"):
            Study.open(tmp_path)
    study.paths.models.unlink()
    with pytest.raises(FileNotFoundError):
        Study.open(tmp_path)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("[]", r"\[\]: must be a mapping"),
        (StudyModel("../../x", "a", 0, 0, "x", 1, 1, 1, 1, {}, {}).to_line(), r"key = '\.\./\.\./x'"),
        (StudyModel("x", "a", -1, 0, "x", 1, 1, 1, 1, {}, {}).to_line(), "index = -1: must be at least 0"),
    ],
)
def test_a_line_that_is_not_a_model_is_named(tmp_path: Path, line: str, reason: str) -> None:
    study = make_study(tmp_path)
    lines = [study.models[0].to_line(), line]
    study.paths.models.write_text("\n".join(lines) + "\n")
    manifest = dict(study.manifest) | {"models": 2, "models_sha256": lines_hash(lines)}
    study.paths.manifest.write_text(json.dumps(manifest))
    with pytest.raises(ValueError, match="models.jsonl, line 2: " + reason):
        Study.open(tmp_path)
