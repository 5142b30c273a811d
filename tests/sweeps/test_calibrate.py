"""Calibration: pairs compared on the same models, warnings at the edge of the range, one-line errors."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from types import SimpleNamespace

import pytest

from designspace.study import Record
from sweeps import launch
from sweeps.calibrate import calibrate, compare, conclusion, table, to_csv, try_recipes
from sweeps.commands import calibrate as command
from sweeps.config import load_recipe


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


def test_seeds_of_one_model_are_averaged() -> None:
    first, second = records(20, 30) + records(22, 30, seed=1), records(23, 33) + records(23, None, seed=1)
    best, other = compare({(0.1, 0.0): first, (0.2, 0.0): second})
    assert (best.models, best.mean_error) == (2, 25.5)
    assert (other.failed, other.behind_best) == (1, round((2 + 31.5) / 2, 3))


def test_pairs_that_are_not_clearly_worse_are_listed() -> None:
    rows = compare({(0.1, 0.0): records(20, 30, 25), (0.2, 0.0): records(18, 29, 27), (0.4, 0.0): records(30, 39, 34)})
    assert "not clearly worse (under 2 standard errors): lr 0.1 wd 0" in conclusion(rows)
    assert "lr 0.4" not in conclusion(rows)


def test_an_optimum_at_the_edge_is_a_warning() -> None:
    assert "widen lr" in conclusion(compare({(0.1, 0.0): records(20), (0.2, 0.0): records(18)}))


def test_every_pair_is_a_study_and_the_best_pair_is_the_recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def sweep(argv: list[str]) -> list[SimpleNamespace]:
        values = dict(word.split("=", 1) for word in argv)
        rate, decay = float(values["recipe.learning_rate"]), float(values["recipe.weight_decay"])
        trained = {str(record.index): record for record in records(20 + abs(rate - 0.2) + decay, 30)}
        study = SimpleNamespace(read_records=lambda: (trained, {}))
        config = SimpleNamespace(recipe=load_recipe(learning_rate=rate, weight_decay=decay))
        return [SimpleNamespace(study=study, config=config)]

    monkeypatch.setattr(launch, "sweep", sweep)
    rows, recipe = calibrate(["experiment=smoke"], [0.1, 0.2, 0.4], [0.0, 1e-4], 2, tmp_path)
    assert recipe == load_recipe(name="calibrated", learning_rate=0.2, weight_decay=0.0).to_mapping()
    assert len(rows) == 6
    assert (tmp_path / "recipe.yaml").read_text().startswith("# Recommended by")
    assert (tmp_path / "calibration.csv").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["experiment=smoke"], "^lr: required"),
        (["--lr", "0.1,high"], "^lr = 0\\.1,high: must be numbers"),
        (["--lr=-1"], "^lr = -1: must be greater than 0"),
        (["--lr=1", "--wd=-1"], "^wd = -1: must be at least 0"),
        (["--lr=0.1", "--models=0"], "^models = 0: must be at least 1"),
        (["--lr=0.1", "plan=only"], "^plan=only: must be left out, because the calibration sets n, run, plan"),
        (["--lr=0.1", "n=3"], "^n=3: must be left out"),
        (
            [
                "--lr=0.1",
                "experiment=smoke",
                "+spaces.inverted.parameters.learning_rate={distribution: choice,options: [1]}",
            ],
            r"^spaces\.inverted\.parameters\.learning_rate: must be null, because the calibration sets",
        ),
        (["--lr=0.1", "++run=elsewhere"], r"^\+\+run=elsewhere: must be left out"),
        (["--lr=0.1", "--try", "epochs=1"], "^--try = .*must be used with --for ranking"),
        (["--for", "ranking", "--lr=0.1"], "^--lr = .*must be used with --for rate"),
        (["--lr=0.1", "--wd=0", "recipe.weight_decay=0.1"], "^recipe.weight_decay=0.1: must be left out"),
        (["--for", "ranking", "experiment=smoke", "n=3"], "^n=3: must be left out"),
        (["--for", "ranking", "experiment=smoke", "--models=1", "--try", "epochs=0"], "epochs = 0: must be at least 1"),
    ],
)
def test_user_errors_are_one_line(arguments: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        command(arguments)


def test_recipes_are_tried_on_the_same_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[list[str]] = []

    def sweep(argv: list[str]) -> list[None]:
        calls.append(argv)
        return [None]

    monkeypatch.setattr(launch, "sweep", sweep)
    tried = ["epochs=1", "epochs=2 recipe.resolution=[4,8]"]
    studies, reference, base = try_recipes(["experiment=smoke", "recipe.epochs=3"], tried, "", 5, tmp_path)
    assert [study.name for study in studies] == ["epochs-3", "epochs-12", "epochs-1", "epochs-2-resolution-4-8"]
    assert (reference, base) == ("epochs-12", "epochs-3")
    assert calls[-1][-4:] == ["recipe.epochs=2", "recipe.resolution=[4,8]", "n=5", f"++run='{studies[-1]}'"]
    assert all("training_seeds=[0,1]" in call for call in calls)
    assert "training_seeds=[2, 3]" in calls[1]


def test_fewer_epochs_and_half_the_resolution_are_tried_by_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launch, "sweep", lambda _: [None])
    overrides = ["experiment=demo", "recipe.epochs=4", "training_seeds=[3]"]
    names = [study.name for study in try_recipes(overrides, [], "epochs=20", 5, tmp_path)[0]]
    half = [f"epochs-{epochs}-resolution-14" for epochs in (1, 2, 4, 8)]
    assert names == ["epochs-4", "epochs-20", "epochs-1", "epochs-2", *half]


def test_a_calibration_for_ranking_ends_with_the_comparison(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    overrides = ["experiment=smoke", "--models=4", "data.subset=200", "recipe.epochs=1", "training_seeds=[0]"]
    assert (
        command(["--for", "ranking", *overrides, "--reference=epochs=2", "--try=resolution=4", f"--out={tmp_path}"])
        == 0
    )
    assert "Spearman's rho" in capsys.readouterr().out
    rows = list(csv.DictReader(io.StringIO((tmp_path / "ranking.csv").read_text())))
    assert [row["recipe"] for row in rows[:3]] == ["epochs-1", "epochs-2", "resolution-4"]
    assert float(rows[0]["cost"]) > 0
