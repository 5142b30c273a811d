"""What a tracker stores of a training."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from analysis.trackers.runs import METRICS, TrackedRun, study_name, tracked_run
from designspace.study import CURVES, Study


def run_of(root: Path, position: int, spaces: tuple[str, ...] = ("bottleneck",)) -> TrackedRun:
    study = Study.open(root)
    model = study.models[position]
    record = study.read_record(model.key)
    assert record is not None
    return tracked_run(study, model, record, spaces)


def test_every_curve_of_a_record_is_a_metric() -> None:
    assert tuple(METRICS) == CURVES


def test_settings_are_the_drawn_parameters_recipe_and_data(runs: Path) -> None:
    model, settings = Study.open(runs).models[0], run_of(runs, 0).settings
    assert {name: settings[name] for name in ("w_0", "w_a", "bottleneck_ratio")} == {
        name: model.parameters[name] for name in ("w_0", "w_a", "bottleneck_ratio")
    }
    assert (settings["recipe.learning_rate"], settings["data.subset"]) == (0.1, 10000)
    assert settings["space"] == "bottleneck"


def test_complexity_is_that_of_the_model(runs: Path) -> None:
    model = Study.open(runs).models[0]
    expected = {"macs": model.macs, "params": model.params, "acts": model.acts, "depth": model.depth}
    assert run_of(runs, 0).complexity == expected


def test_epochs_have_the_times_and_values_of_the_record(runs: Path) -> None:
    run = run_of(runs, 0)
    epochs = list(run.epochs())
    midnight = 1767225600.0  # 2026-01-01 in UTC
    assert [(epoch, time - midnight) for epoch, time, _ in epochs] == [(1, 10.0), (2, 30.0)]
    assert [values["train/loss"] for *_, values in epochs] == [1.2, 0.8]
    assert epochs[-1][2]["validation/error_percent"] == run.results["error_percent"]
    assert run.ended == midnight + 30


def test_values_that_are_not_finite_are_left_out(runs: Path, edit) -> None:
    edit(runs, 0, epoch_train_loss=(1.2, None))
    assert ["train/loss" in values for *_, values in run_of(runs, 0).epochs()] == [True, False]


def test_a_failure_has_its_status_message_and_curves_but_no_error(runs: Path) -> None:
    run = run_of(runs, 1)
    assert run.failed
    assert run.status == "diverged"
    assert run.tags["message"].startswith("diverged")
    assert "error_percent" not in run.results
    assert run.last_epoch == 1


def test_parameters_per_stage_have_one_entry_each_and_drawn_rates_are_those_of_the_recipe(runs: Path) -> None:
    study = Study.open(runs)
    model = study.models[0]
    drawn = {"depth": [1, 2], "se_ratio": [0, 0.25], "learning_rate": 0.7}
    record = study.read_record(model.key)
    assert record is not None
    settings = tracked_run(study, replace(model, parameters=drawn), record, ["a"]).settings
    assert {name: settings[name] for name in ("depth_1", "depth_2", "se_ratio_1", "se_ratio_2")} == {
        "depth_1": 1,
        "depth_2": 2,
        "se_ratio_1": 0,
        "se_ratio_2": 0.25,
    }
    assert settings["recipe.learning_rate"] == 0.7
    assert "learning_rate" not in settings


def test_spaces_that_share_a_training_are_all_named(runs: Path) -> None:
    assert run_of(runs, 0, ("a", "b")).settings["space"] == "a, b"


def test_run_ids_depend_on_study_and_training_only(runs: Path, tmp_path: Path, make_study) -> None:
    ids = [run_of(runs, position).run_id for position in range(5)]
    assert len(set(ids)) == 5
    assert run_of(Path("runs/demo"), 0).run_id == ids[0]
    other = make_study(tmp_path / "runs" / "other", n=3)
    assert run_of(other, 0).run_id not in ids


@pytest.mark.parametrize(("path", "name"), [("/a/runs/demo", "runs/demo"), ("/demo", "demo")])
def test_a_study_has_the_last_two_parts_of_its_path_as_name(path: str, name: str) -> None:
    assert study_name(Path(path)) == name
