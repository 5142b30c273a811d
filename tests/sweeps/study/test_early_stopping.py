"""Early stopping in a study: poor models stop, good ones do not, and nothing is lost or repeated."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from command import PATHS
from fake_study import fake_curve, make_study, read_records, work

from designspace.atomic import replace_file
from designspace.cli import main
from designspace.progress import StudyReader
from designspace.study import Record, Study, StudyModel
from sweeps.compose import compose
from sweeps.stopping import AshaRule, MedianRule
from sweeps.study.claims import Claims
from sweeps.study.early_stopping import EarlyStopping
from sweeps.study.freeze import changes, config_hash
from sweeps.study.progress import numbers, status_lines

ASHA = {"recipe": {"epochs": 9}, "stopping": {"rule": "asha", "min_epochs": 1}}
MEDIAN = {"recipe": {"epochs": 4}, "stopping": {"rule": "median", "min_models": 3}}


def epochs(study: Study) -> dict[str, int]:
    """Epochs by name of the model."""
    return {record.spec_id: record.epochs_done for record in read_records(study.paths.root)}


def recorded(model: StudyModel, epochs_done: int, status: str = "ok") -> Record:
    errors = fake_curve(model, epochs_done)
    identity = {"recipe_id": "recipe", "data_id": "data", "seed": 0, "space": model.space, "index": model.index}
    outcome = {"error_percent": errors[-1], "epochs_done": epochs_done, "epoch_validation_error_percent": errors}
    return Record(model.spec_id, status=status, **identity, **outcome)


def test_poor_models_stop_in_each_space_and_are_not_failures(tmp_path, capsys):
    study = make_study(tmp_path / "study", 6, spaces=("a", "b"), **ASHA)
    work(study, "fake_study.open_curves")
    # Better models come first: two continue without competition, all others are worse than the best third.
    assert epochs(study) == {f"{space}{i:04d}": 9 if i < 2 else 1 for space in "ab" for i in range(6)}
    for record in read_records(study.paths.root):
        assert record.status == ("ok" if record.epochs_done == 9 else "stopped")
        assert record.error_percent == record.epoch_validation_error_percent[-1]
        assert len(record.epoch_validation_error_percent) == record.epochs_done
    assert not list((study.paths.root / "checkpoints").iterdir())

    status = StudyReader(Study.open(study.paths.root)).read()
    assert status.complete
    assert (status.total.done, status.total.stopped, status.total.failures) == (4, 8, 0)
    assert (status.failed_share, status.failed) == (0, ())
    assert (status.epochs, status.epochs_saved) == (12 * 9, 8 * 8)
    assert status.total.best_error_percent == pytest.approx(30 / 9)
    lines = status_lines(study.paths.root, status)
    assert lines[0].endswith("12 of 12 models have a record")
    assert lines[1].split() == ["space", "models", "done", "stopped", "running", "failed", "missing", "best", "error"]
    assert lines[2].split()[:6] == ["a", "6", "2", "4", "0", "0"]
    assert "stopped early: 8, which saved 64 of 108 epochs" in lines
    assert numbers([status]) == "4 done, 8 stopped, 0 failed of 12, best error 3.33 %"
    assert main(["status", str(study.paths.root), "--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert (content["groups"]["all"]["stopped"], content["epochs"], content["epochs_saved"]) == (8, 108, 64)


def test_without_a_rule_no_model_stops(tmp_path):
    study = make_study(tmp_path / "study", 4, recipe={"epochs": 3})
    work(study, "fake_study.open_curves")
    assert set(epochs(study).values()) == {3}


def test_models_in_training_in_other_processes_count(tmp_path):
    study = make_study(tmp_path / "study", 4, spaces=("a", "b"), **ASHA)
    claims = Claims(study.paths.claims, "other", stale_seconds=60)
    models = {(model.space, model.index): model for model in study.models}
    stopping = EarlyStopping(study, AshaRule(min_epochs=1), epochs=9)
    for place, spaces in ((("b", 0), "b"), (("a", 0), "ab"), (("a", 1), "ab")):
        assert not stopping.should_stop(models["a", 2], fake_curve(models["a", 2], 1)), f"only {spaces} before {place}"
        assert claims.take(models[place].key)
        claims.note_epoch(models[place].key, 1, fake_curve(models[place], 1))
        claims.beat(models[place].key)
        stopping = EarlyStopping(study, AshaRule(min_epochs=1), epochs=9)  # reads the folder at once
    assert stopping.should_stop(models["a", 2], fake_curve(models["a", 2], 1))
    assert not stopping.should_stop(models["a", 2], fake_curve(models["a", 2], 2))  # not a rung
    assert not stopping.should_stop(models["a", 2], ())
    assert not stopping.should_stop(models["a", 2], (None,))


def test_no_model_stops_after_its_last_epoch(tmp_path):
    study = make_study(tmp_path / "study", 4, **ASHA)
    for model in study.models[:3]:
        study.write_record(model, recorded(model, 9))
    poor = study.models[3]
    assert EarlyStopping(study, AshaRule(min_epochs=1), epochs=9).should_stop(poor, fake_curve(poor, 3))
    assert not EarlyStopping(study, AshaRule(min_epochs=1), epochs=9).should_stop(poor, fake_curve(poor, 9))


def test_a_resumed_training_is_judged_before_its_next_epoch(tmp_path, monkeypatch):
    monkeypatch.setenv("FAKE_STUDY_LOG", str(tmp_path / "log"))
    study = make_study(tmp_path / "study", 5, **MEDIAN)
    for model in study.models[:4]:
        study.write_record(model, recorded(model, 4))
    poor = study.models[4]
    study.paths.checkpoint(poor.key).parent.mkdir()
    replace_file(study.paths.checkpoint(poor.key), json.dumps(2))  # killed after two epochs
    assert EarlyStopping(study, MedianRule(min_models=3), 4).should_stop(poor, [90.0, 80.0])
    work(study, "fake_study.open_curves")
    # 4 + 30 / 2 = 19 is below the median 24 of the mean errors so far, 19 to 22 + 1.5.
    assert epochs(study)[poor.spec_id] == 4
    assert (tmp_path / "log").read_text().split() == [poor.spec_id] * 2


def test_a_training_killed_after_the_decision_stops_without_another_epoch(tmp_path, monkeypatch):
    monkeypatch.setenv("FAKE_STUDY_LOG", str(tmp_path / "log"))
    study = make_study(tmp_path / "study", 5, **ASHA)
    for model in study.models[:4]:
        study.write_record(model, recorded(model, 9))
    poor = study.models[4]
    study.paths.checkpoint(poor.key).parent.mkdir()
    replace_file(study.paths.checkpoint(poor.key), json.dumps(3))
    work(study, "fake_study.open_curves")
    assert epochs(study)[poor.spec_id] == 3
    assert not (tmp_path / "log").exists()


def test_two_workers_stop_models_of_one_study(tmp_path):
    study = make_study(tmp_path / "study", 12, **ASHA)
    program = (
        "import sys; from pathlib import Path; from fake_study import work; from designspace.study import Study; "
        "work(Study.open(Path(sys.argv[1])), 'fake_study.open_curves', worker=sys.argv[2])"
    )
    command, environment = [sys.executable, "-c", program, str(study.paths.root)], os.environ | {"PYTHONPATH": PATHS}
    workers = [subprocess.Popen([*command, name], env=environment) for name in ("first", "second")]
    assert [worker.wait(120) for worker in workers] == [0, 0]
    done = epochs(study)
    assert len(done) == 12
    assert set(done.values()) <= {1, 3, 9}
    assert done["a0000"] == 9  # the best model
    assert sum(epoch < 9 for epoch in done.values()) >= 6


def test_retried_models_train_to_the_end(tmp_path):
    study = make_study(tmp_path / "study", 6, **ASHA)
    work(study, "fake_study.open_curves")
    study.set_aside_with(["stopped"])
    assert len(study.models_to_train()) == 4
    work(study, "fake_study.open_curves")
    assert set(epochs(study).values()) == {9}


def test_records_that_are_new_damaged_or_set_aside(tmp_path):
    study = make_study(tmp_path / "study", 5, **ASHA)
    poor, errors = study.models[4], fake_curve(study.models[4], 1)

    def stops() -> bool:
        assert not study.was_set_aside(poor.key, "stopped")
        return EarlyStopping(study, AshaRule(min_epochs=1), epochs=9).should_stop(poor, errors)

    study.write_record(study.models[0], recorded(study.models[0], 9))
    assert not stops()
    study.paths.record(study.models[1].key).write_text("not JSON")
    assert not stops()
    study.write_record(study.models[2], recorded(study.models[2], 1, "stopped"))
    assert stops()
    study.set_aside_with(["stopped"])
    assert not stops()


def test_the_rule_is_part_of_the_frozen_config_only_if_there_is_one():
    plain = compose(["experiment=smoke", "recipe.epochs=4"]).values
    before = {key: value for key, value in plain.items() if key != "stopping"}  # of an earlier version
    early = compose(["experiment=smoke", "recipe.epochs=4", "stopping=asha"]).values
    assert config_hash(plain) == config_hash(before) != config_hash(early)
    assert changes(before, plain) == []
    assert "stopping.rule: absent -> asha" in changes(before, early)
    other = compose(["experiment=smoke", "recipe.epochs=4", "stopping=asha", "stopping.reduction=4"]).values
    assert changes(early, other) == ["stopping.reduction: 3 -> 4"]


def test_stopped_models_can_be_retried_by_name() -> None:
    assert compose(["experiment=smoke", "retry=[stopped]"]).config.retry == ["stopped"]
