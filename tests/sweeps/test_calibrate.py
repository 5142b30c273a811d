"""Calibration: pairs compared on the same models, an optimum at the edge told, mistakes in a sentence."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from types import SimpleNamespace

import pytest

from designspace.study import Record
from sweeps import app
from sweeps.calibrate import calibrate, compare, conclusion, table, to_csv
from sweeps.commands import calibrate as command


def records(*errors: float | None, seed: int = 0) -> list[Record]:
    return [
        Record(
            *("spec", "recipe", "data", seed),
            status="diverged" if error is None else "ok",
            index=index,
            error_percent=error,
            spec={"head": {"classes": 10}},
        )
        for index, error in enumerate(errors)
    ]


def test_pairs_are_compared_on_the_same_models() -> None:
    rows = compare({(0.1, 0.0): records(20, 30), (0.2, 0.0): records(18, 28), (0.4, 0.0): records(17, None)})
    assert [row.learning_rate for row in rows] == [0.2, 0.1, 0.4]
    assert (rows[0].behind_best, rows[0].mean_error, rows[0].failed) == (0, 23, 0)
    assert (rows[1].behind_best, rows[1].behind_best_se) == (2, 0)  # each model the same 2 points worse
    assert (rows[2].failed, rows[2].worst_error) == (1, 90)
    read = list(csv.DictReader(io.StringIO(to_csv(rows))))
    assert [float(row["mean_error"]) for row in read] == [23, 25, 53.5]
    assert "1 of 2" in table(rows)
    assert "edge" not in conclusion(rows)


def test_trainings_of_one_model_are_not_two_models() -> None:
    first, second = records(20, 30) + records(22, 30, seed=1), records(23, 33) + records(23, None, seed=1)
    best, other = compare({(0.1, 0.0): first, (0.2, 0.0): second})
    assert (best.models, best.mean_error) == (2, 25.5)
    assert (other.failed, other.behind_best) == (1, round((2 + 31.5) / 2, 3))


def test_what_is_not_clearly_worse_is_told() -> None:
    rows = compare({(0.1, 0.0): records(20, 30, 25), (0.2, 0.0): records(18, 29, 27), (0.4, 0.0): records(30, 39, 34)})
    assert "not clearly worse (under 2 standard errors): lr 0.1 wd 0" in conclusion(rows)
    assert "lr 0.4" not in conclusion(rows)


def test_an_optimum_at_the_edge_is_told() -> None:
    assert "widen lr" in conclusion(compare({(0.1, 0.0): records(20), (0.2, 0.0): records(18)}))


def test_every_pair_is_a_study_and_the_best_becomes_the_recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def sweep(argv: list[str]) -> tuple[SimpleNamespace, None, dict[str, object]]:
        values = dict(word.split("=", 1) for word in argv)
        rate, decay = float(values["recipe.learning_rate"]), float(values["recipe.weight_decay"])
        trained = {str(record.index): record for record in records(20 + abs(rate - 0.2) + decay, 30)}
        study = SimpleNamespace(read_records=lambda: (trained, {}))
        return study, None, {"recipe": {"name": "low_epoch", "learning_rate": rate, "weight_decay": decay, "epochs": 2}}

    monkeypatch.setattr(app, "sweep", sweep)
    rows, recipe = calibrate(["experiment=smoke"], [0.1, 0.2, 0.4], [0.0, 1e-4], 2, tmp_path)
    assert recipe == {"name": "calibrated", "learning_rate": 0.2, "weight_decay": 0.0, "epochs": 2}
    assert len(rows) == 6
    assert (tmp_path / "recipe.yaml").read_text().startswith("# Recommended by")
    assert (tmp_path / "calibration.csv").exists()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["experiment=smoke"], "lr is empty"),
        (["lr=[0.1,high]"], r"lr=\[0\.1, 'high'\] is not allowed; allowed: numbers"),
        (["lr=[-1]"], "lr and wd hold -1"),
        (["lr=[0.1]", "models=0"], "models=0 is not allowed"),
        (["lr=[0.1]", "plan=only"], "plan=only is not allowed: n, run, plan, recipe.learning_rate follow from models"),
        (["lr=[0.1]", "n=3"], "n=3 is not allowed"),
        (["lr=[0.1]", "++run=elsewhere"], r"\+\+run=elsewhere is not allowed"),
        (["lr=[0.1]", "--", "--cfg=job"], "give them to designspace sweep"),
        (["lr=[0.1]", "wd=[0]", "recipe.weight_decay=0.1"], "recipe.weight_decay=0.1 is not allowed"),
    ],
)
def test_mistakes_are_told_in_a_sentence(words: list[str], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        command(words)
