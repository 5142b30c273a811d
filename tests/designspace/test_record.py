import json
import math
from pathlib import Path

import pytest

from designspace.record import COLUMNS, CURVES, Record, read_records, read_study

KEY = {"spec_id": "a" * 16, "recipe_id": "r", "data_id": "d", "seed": 0}


def test_a_record_survives_json() -> None:
    record = Record(**KEY, status="ok", error_percent=12.5, epoch_train_loss=(1.0, 0.5), parameters={"depth": 7})
    assert Record.from_json(record.to_json()) == record


def test_what_is_not_finite_becomes_null() -> None:
    record = Record(**KEY, status="diverged", epoch_train_loss=(1.0, math.nan, math.inf))
    assert json.loads(record.to_json())["epoch_train_loss"] == [1.0, None, None]


def test_keys_of_later_versions_are_dropped() -> None:
    later = json.loads(Record(**KEY, status="ok").to_json()) | {"wattage": 300}
    assert Record.from_json(json.dumps(later)) == Record(**KEY, status="ok")


@pytest.mark.parametrize("text", ["", "[1]", '{"spec_id": "a"}', '{"status": "fine"'])
def test_other_texts_are_no_records(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        Record.from_json(text)


def test_an_unknown_status_is_refused() -> None:
    with pytest.raises(ValueError, match="status = 'fine': must be one of ok, diverged"):
        Record(**KEY, status="fine")


def test_every_column_says_what_it_means() -> None:
    assert all(column.meaning for column in COLUMNS.values())
    assert {name: column.unit for name, column in COLUMNS.items()}["train_seconds"] == "s"
    assert set(CURVES) == {name for name in COLUMNS if name.startswith("epoch_")}


def test_a_truncated_record_is_left_out_with_a_warning(tmp_path: Path) -> None:
    folder = tmp_path / "records"
    folder.mkdir()
    text = Record(**KEY, status="ok").to_json()
    (folder / "a.json").write_text(text)
    (folder / "b.json").write_text(text[: len(text) // 2])
    with pytest.warns(UserWarning, match=r"b\.json: not a record"):
        assert len(read_records(tmp_path)) == 1


def test_a_folder_that_is_no_study(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="not a study folder"):
        read_study(tmp_path)
