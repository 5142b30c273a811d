"""The study folder: frozen once, only n grows, damaged records are set aside."""

from __future__ import annotations

import errno
import io
import json
import logging
import os
import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from fake_study import freeze, make_study, work
from rich.console import Console

import sweeps.study.freeze
from designspace.atomic import create_file, replace_file
from designspace.claims import Claim
from designspace.cli import main
from designspace.distributions import Choice
from designspace.progress import StudyReader, active_seconds, duration
from designspace.spaces import space_from_config
from designspace.spaces.named import SPACES
from designspace.spec import ModelSpec
from designspace.study import Record, Study, StudyModel
from sweeps.compose import compose
from sweeps.config import TrainingConfig
from sweeps.study.claims import Claims
from sweeps.study.freeze import Drawn, changes, draw
from sweeps.study.progress import live_view, numbers, sampling_lines, status_lines


def config(*overrides: str) -> dict:
    return compose(["experiment=smoke", "n=3", *overrides]).values


def test_freeze_then_open(tmp_path):
    study = freeze(config(), tmp_path / "study")
    assert not study.recorded_keys()
    assert Study.open(tmp_path / "study") == study
    assert [(model.space, model.index) for model in study.models] == [
        (space, index) for index in range(3) for space in ("bottleneck_1", "inverted")
    ]
    for model in study.models:
        spec = ModelSpec.from_mapping(model.spec)
        assert (spec.spec_id, spec.in_channels, spec.resolution, spec.head.classes) == (model.spec_id, 1, 8, 10)
        low, high = config()["complexity"]["macs"]
        assert low <= model.macs <= high
        ratio = model.parameters["bottleneck_ratio"]
        assert ratio == 1 if model.space == "bottleneck_1" else ratio in (0.5, 0.25)
    manifest = study.manifest
    assert manifest["sampling"]["inverted"]["drawn"] > manifest["sampling"]["inverted"]["kept"] >= 3
    assert manifest["environment"]["packages"]["torch"]
    assert len(manifest["config_hash"]) == 16
    before = {path.name: path.read_bytes() for path in study.paths.root.glob("m*")}
    freeze(config("processes=1", "data.root=/elsewhere"), tmp_path / "study")  # not part of what is frozen
    assert {path.name: path.read_bytes() for path in study.paths.root.glob("m*")} == before


def test_another_config_is_an_error_that_lists_the_changes(tmp_path):
    freeze(config(), tmp_path / "study")
    with pytest.raises(ValueError, match=r"frozen with another config; .*: recipe.epochs: 2 -> 3; seed: 0 -> 7$"):
        freeze(config("recipe.epochs=3", "seed=7"), tmp_path / "study")
    other = config(
        "~spaces.bottleneck_1.parameters.depth", "spaces.inverted.parameters.depth.high=9", "+template.head={}"
    )
    assert changes(config(), other) == [
        "spaces.bottleneck_1.parameters.depth.distribution: log_uniform -> absent",
        "spaces.bottleneck_1.parameters.depth.high: 12 -> absent",
        "spaces.bottleneck_1.parameters.depth.low: 4 -> absent",
        "spaces.inverted.parameters.depth.high: 12 -> 9",
        "template.head: absent -> {}",
    ]


def test_n_may_only_grow(tmp_path):
    small = freeze(config(), tmp_path / "study")
    grown = freeze(config("n=5"), tmp_path / "study")
    assert grown.models[: len(small.models)] == small.models
    assert sorted(model.index for model in grown.models) == sorted([*range(5)] * 2)
    assert grown.config["n"] == 5
    with pytest.raises(ValueError, match=r"n = 3: must be at least 5, which .* was frozen with"):
        freeze(config(), tmp_path / "study")
    assert freeze(config("n=5"), tmp_path / "at_once").models == grown.models


def test_duplicate_draws_are_two_models_and_one_training(tmp_path):
    study = freeze(config("n=8", "duplicates=keep"), tmp_path / "study")
    assert (
        study.manifest["sampling"]["inverted"] | {"asked": 8, "distinct": 5, "duplicates": 3}
        == (study.manifest["sampling"]["inverted"])
    )
    assert len(study.models) == 16
    assert len(study.models_to_train()) == 13
    assert "inverted: 8 models; " in (lines := "\n".join(sampling_lines(study)))
    assert "5 distinct networks, 3 duplicate draws (37.5%) kept" in lines
    dropped = freeze(config("n=8"), tmp_path / "distinct")
    assert len({model.key for model in dropped.models}) == len(dropped.models) == 16
    kept, distinct = ([m.spec_id for m in s.models if m.space == "inverted"] for s in (study, dropped))
    assert list(dict.fromkeys(kept)) == distinct[:5]


def test_duplicates_can_be_set_per_space(tmp_path):
    study = freeze(config("n=8", "+spaces.inverted.duplicates=keep"), tmp_path / "study")
    assert {label: report["distinct"] for label, report in study.manifest["sampling"].items()} == {
        "bottleneck_1": 8,
        "inverted": 5,
    }


def test_a_study_without_the_setting_duplicates_resumes_and_grows(tmp_path):
    """Earlier versions dropped duplicates and had no setting for it."""
    study = freeze(config("n=8"), tmp_path / "study")
    manifest = json.loads(study.paths.manifest.read_text())
    del manifest["config"]["duplicates"]
    for report in manifest["sampling"].values():
        for name in ("distinct", "duplicates", "duplicate_share"):
            del report[name]
    study.paths.manifest.write_text(json.dumps(manifest))
    resumed = freeze(config("n=8", "duplicates=keep"), tmp_path / "study")
    assert resumed.models == study.models
    assert len(sampling_lines(resumed)) == 2
    with pytest.raises(
        ValueError, match=r"by an earlier version, with duplicates = drop; .*: duplicates: drop -> keep$"
    ):
        freeze(config("n=9", "duplicates=keep"), tmp_path / "study")
    grown = freeze(config("n=9"), tmp_path / "study")
    assert grown.models[:16] == study.models
    assert grown.config["duplicates"] == "drop"


def test_a_study_cannot_grow_with_other_data(tmp_path, monkeypatch):
    small = freeze(config(), tmp_path / "study")
    changed = replace(sweeps.study.freeze.draw(config("n=5")), data_id="changed")
    monkeypatch.setattr(sweeps.study.freeze, "draw", lambda *_: changed)
    with pytest.raises(
        ValueError, match=rf"cannot grow, because its data_id is {small.manifest['data_id']} and is changed now"
    ):
        freeze(config("n=5"), tmp_path / "study")


def test_concurrent_drivers_without_file_locks(tmp_path, monkeypatch):
    def no_locks(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    def drawn_together(*arguments: Any) -> Drawn:
        drawn = draw(*arguments)
        both.wait(60)
        return drawn

    both = threading.Barrier(2)
    monkeypatch.setattr("fcntl.flock", no_locks)
    monkeypatch.setattr(sweeps.study.freeze, "draw", drawn_together)
    for values in (config("n=1"), config("n=2")):
        with ThreadPoolExecutor(2) as drivers:
            studies = list(drivers.map(freeze, [values] * 2, [tmp_path / "study"] * 2))
        assert studies[0].models == studies[1].models == Study.open(tmp_path / "study").models
        assert len(studies[0].models) == 2 * values["n"]


def test_checkpoints_of_recorded_models_are_removed(tmp_path):
    study = make_study(tmp_path / "study", 2)
    work(study, "fake_study.open_good")
    study.set_aside(study.models[0].key, "to be trained again")
    for model in study.models:
        replace_file(study.paths.checkpoint(model.key), "state")
    study.remove_old_checkpoints()
    assert [study.paths.checkpoint(model.key).exists() for model in study.models] == [True, False]


def test_a_start_killed_between_its_two_writes_is_repaired(tmp_path):
    small = freeze(config(), tmp_path / "study")
    manifest = small.paths.manifest.read_bytes()
    freeze(config("n=5"), tmp_path / "study")
    small.paths.manifest.write_bytes(manifest)  # as if killed before the second rename
    assert Study.open(tmp_path / "study").models == small.models
    assert len(freeze(config("n=5"), tmp_path / "study").models) == 10


def test_models_must_fit_the_data(tmp_path):
    with pytest.raises(ValueError, match=r"spaces\.bottleneck_1\.template\.in_channels = 3: must be 1"):
        freeze(config("+template.in_channels=3", "complexity.macs=null"), tmp_path / "study")
    assert not (tmp_path / "study" / "manifest.json").exists()


def test_status_sweep_and_report_agree_on_a_damaged_record(tmp_path, caplog):
    study = make_study(tmp_path, 3)
    work(study, "fake_study.open_started")
    key = study.models[1].key
    content = study.paths.record(key).read_bytes()
    flipped = content.replace(b'"started_at": "2', b'"started_at": "\xb2')
    assert flipped != content
    study.paths.record(key).write_bytes(flipped)
    status = StudyReader(study).read()
    assert (status.total.done, status.total.missing) == (2, 1)
    assert f"1 damaged record ({key}: not valid JSON" in "\n".join(status_lines(study.paths.root, status))
    with caplog.at_level(logging.WARNING):
        assert study.set_aside_damaged() == 1
    assert f"record {key} set aside (damaged: not valid JSON" in caplog.text
    assert [path.read_bytes() for path in study.paths.set_aside.iterdir()] == [flipped]
    work(study, "fake_study.open_started")
    assert study.set_aside_damaged() == 0
    assert StudyReader(study).read().total.done == 3


def test_a_study_without_its_empty_folders(tmp_path):
    study = make_study(tmp_path, 2)
    study.paths.records.rmdir()
    study.paths.claims.rmdir()
    assert StudyReader(study).read().total.missing == 2
    assert study.set_aside_damaged() == 0
    work(study, "fake_study.open_good")
    assert StudyReader(study).read().total.done == 2


def test_one_network_in_two_spaces_is_trained_once(tmp_path):
    study = make_study(tmp_path, 2)
    twin = study.models[0].to_line().replace('"space":"a"', '"space":"b"')
    shared = Study(study.paths, study.manifest, (*study.models, type(study.models[0])(**json.loads(twin))))
    assert [model.space for model in shared.models_to_train()] == ["a", "a"]
    assert shared.write_record(shared.models[0], Record(study.models[0].spec_id, "recipe", "data", 0, "ok"))
    assert {group.label: group.done for group in StudyReader(shared).read().groups} == {"a": 1, "b": 1}


def test_status_counts_shared_trainings_once(tmp_path):
    study = make_study(tmp_path, 6)
    again = [replace(model, index=6 + model.index) for model in study.models[:2]]
    study = Study(study.paths, study.manifest, (*study.models, *again))
    for model in study.models[1:3]:
        started = datetime.now(UTC).isoformat()
        record = Record(
            model.spec_id, "recipe", "data", 0, "ok", error_percent=1.0, started_at=started, epoch_seconds=(100.0,)
        )
        assert study.write_record(model, record)
    assert Claims(study.paths.claims, "worker", stale_seconds=60).take(study.models[0].key)
    status = StudyReader(study).read()
    total = status.total
    assert (total.models, total.trainings, total.done, total.running, total.missing) == (8, 6, 2, 1, 3)
    assert [model.index for model, _ in status.running] == [0]
    assert status.device_seconds == 200
    assert status.training_seconds_left == pytest.approx(400, rel=0.02)
    text = "\n".join(status_lines(study.paths.root, status))
    assert "2 of 6 trainings have a record\n8 models, 6 distinct: a network drawn twice is trained once\n" in text
    assert "2 done, 0 failed of 6" in numbers([status])


def test_groups_of_status_sum_to_the_total(tmp_path):
    study = make_study(tmp_path, 6, spaces=("a", "b"))
    work(study, "fake_study.open_deadly", attempts=1)
    status = StudyReader(study).read()
    assert [(group.label, group.done, group.failures, group.missing) for group in status.groups] == [
        ("a", 3, 3, 0),
        ("b", 3, 3, 0),
    ]
    assert status.failed_share == 0.5
    text = "\n".join(status_lines(study.paths.root, status))
    assert "12 of 12 models have a record" in text
    assert "failed: 6 crashed" in text


def test_time_left_subtracts_time_already_trained(tmp_path):
    study = make_study(tmp_path, 100)  # of nearly equal costs
    began = (datetime.now(UTC) - timedelta(seconds=150)).isoformat()

    def record(model: StudyModel) -> None:
        fields = {"started_at": began, "epoch_seconds": (50.0, 50.0), "train_seconds": 90.0}
        assert study.write_record(model, Record(model.spec_id, "recipe", "data", 0, "ok", error_percent=1.0, **fields))

    def claim(model: StudyModel, seconds: float) -> None:
        since = (datetime.now(UTC) - timedelta(seconds=seconds)).isoformat()
        mine = Claim(model.key, "w", "elsewhere", 1, "1", since, machine="elsewhere")
        (study.paths.claims / model.key).write_text(json.dumps(asdict(mine)))

    assert StudyReader(study).read().seconds_left is None
    for model in study.models[:2]:
        record(model)
    status = StudyReader(study).read()  # nobody works on it: two at once, as far as is known
    assert status.seconds_left == pytest.approx(98 * 50, rel=0.1)
    for model in study.models[2:12]:
        claim(model, 40)
    status = StudyReader(study).read()
    assert status.training_seconds_left == pytest.approx(98 * 100 - 10 * 40, rel=0.1)
    assert status.seconds_left == pytest.approx(status.training_seconds_left / 10)
    for model in study.models[3:]:
        (study.paths.claims / model.key).unlink(missing_ok=True)
        record(model)
    assert StudyReader(study).read().seconds_left == pytest.approx(60, rel=0.1)  # the last one alone
    record(study.models[2])
    assert StudyReader(study).read().seconds_left == 0
    assert " left" not in numbers([StudyReader(study).read()])


def test_active_time_of_a_resumed_training(tmp_path):
    study = make_study(tmp_path / "study", 1)
    model, curve = study.models[0], {"epoch_seconds": (50.0, 50.0), "train_seconds": 90.0}
    fields = {"predicted_seconds": 110.0, "device_share": 0.25}
    text = Record(model.spec_id, "recipe", "data", 0, "ok", **fields, **curve).to_json()
    times = {"started_at": "2026-01-01T23:00:00+00:00", "ended_at": "2026-01-01T23:15:00+00:00"}
    study.paths.record(model.key).write_text(json.dumps(json.loads(text) | times))
    status = StudyReader(study).read()
    assert (status.training_seconds, status.active_seconds) == (100, 15 * 60)
    assert status.prediction_error == pytest.approx(0.1)
    assert "spent: 25 s of device time (2 min of training, several models at once)" in status_lines(
        study.paths.root, status
    )


@pytest.mark.parametrize(("age", "running"), [(100, 1), (700, 0)])
def test_a_claim_is_stale_after_its_own_limit(tmp_path, age, running):
    study = make_study(tmp_path / "study", 1)
    key = study.models[0].key
    assert Claims(study.paths.claims, "of another start", stale_seconds=600).take(key)
    long_ago = time.time() - age
    os.utime(study.paths.claims / key, (long_ago, long_ago))
    assert StudyReader(study).read().total.running == running


def test_active_time_excludes_pauses():
    trainings = [(10.0 * i, 10.0 * i + 10, 10.0) for i in range(10)]
    later = [(begin + 1e6, end + 1e6, seconds) for begin, end, seconds in trainings]
    assert active_seconds(trainings) == 100
    assert active_seconds(trainings + later) < 400
    assert active_seconds([*trainings, (90.0, 1e6, 30.0), *later]) < 600  # one was stopped and resumed
    assert [duration(seconds) for seconds in (None, 42, 600, 11100)] == ["unknown", "42 s", "10 min", "3 h 05 min"]


def trained(model: StudyModel, seconds: float, ended: float, **fields: Any) -> Record:
    """A record of a training that took `seconds` until the time `ended`."""
    values = {"status": "ok", "error_percent": float(model.index), "epoch_seconds": (seconds,)} | fields
    times = [datetime.fromtimestamp(at, UTC).isoformat() for at in (ended - seconds, ended)]
    return Record(model.spec_id, "recipe", "data", 0, started_at=times[0], ended_at=times[1], **values)


def test_the_time_left_follows_the_recent_speed(tmp_path):
    study = make_study(tmp_path / "study", 40)
    start = 1_800_000_000.0
    for number, model in enumerate(study.models[:20]):
        study.write_record(model, trained(model, 10.0, start + 10 * (number + 1)))
    status = StudyReader(study).read()
    assert status.training_seconds_left == pytest.approx(200, rel=0.05)
    for number, model in enumerate(study.models[20:24]):  # the machine slows down to a third
        study.write_record(model, trained(model, 30.0, start + 200 + 30 * (number + 1)))
    assert StudyReader(study).read().training_seconds_left == pytest.approx(16 * 30, rel=0.05)


def test_the_live_view_shows_failures_and_models_in_training(tmp_path):
    study = make_study(tmp_path / "study", 6, spaces=("a", "b"))
    ok, failed = study.models[:2]
    study.write_record(ok, trained(ok, 10.0, 1_800_000_000.0, error_percent=12.5))
    study.write_record(failed, trained(failed, 10.0, 1_800_000_000.0, status="diverged", message="the loss is [nan]"))
    claims = Claims(study.paths.claims, "worker", stale_seconds=600)
    assert claims.take(study.models[2].key)
    claims.beat(study.models[2].key, epoch=3)
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(live_view({study.paths.root: StudyReader(study).read()}))
    shown = console.export_text()
    assert re.search(r"b #0 +diverged +the loss is \[nan\]", shown)
    assert re.search(r"a #1 +3 ", shown)
    assert "best: a #0 12.50 %" in shown
    assert re.search(r"all .* 1 +1 +12 +12.50 %", shown)


def test_watching_ends_with_the_study(tmp_path, capsys):
    study = make_study(tmp_path / "study", 3)
    work(study, "fake_study.open_good")
    assert main(["status", str(study.paths.root), "--watch"]) == 0
    assert "3 done, 0 failed of 3" in capsys.readouterr().out


def test_watching_can_be_interrupted(tmp_path, monkeypatch):
    study = make_study(tmp_path / "study", 3)

    def interrupt(reader: StudyReader) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(StudyReader, "read", interrupt)
    assert main(["status", str(study.paths.root), "--watch"]) == 0


def test_files_are_complete_or_absent(tmp_path, monkeypatch):
    path = tmp_path / "file"
    assert create_file(path, "first")
    assert not create_file(path, "second")
    replace_file(path, "third")

    def no_space(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", no_space)
    with pytest.raises(OSError, match="No space left"):
        replace_file(path, "fourth")
    with pytest.raises(OSError, match="No space left"):
        create_file(tmp_path / "other", "text")
    assert path.read_text() == "third"
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


def test_the_manifest_holds_every_distribution_of_a_space(tmp_path):
    study = freeze(config(), tmp_path / "study")
    space = study.manifest["spaces"]["inverted"]
    assert "base" not in space
    assert space["parameters"].keys() >= {"depth", "w_0", "w_a", "w_m", "group_width", "bottleneck_ratio"}
    assert (space["parameters"]["depth"]["low"], space["parameters"]["depth"]["high"]) == (4, 12)
    drawn = space_from_config(space).sample(3, study.config["seed"])
    assert [row["spec_id"] for row in drawn.rows()] == [m.spec_id for m in study.models if m.space == "inverted"]


def test_a_study_keeps_its_spaces_when_a_named_space_changes(tmp_path, monkeypatch, caplog):
    at_once = freeze(config("n=5"), tmp_path / "at_once")
    study = freeze(config(), tmp_path / "study")
    narrower = SPACES["regnetx"].with_distributions(w_m=Choice(options=[2.0]))
    monkeypatch.setitem(SPACES, "regnetx", narrower)
    assert freeze(config(), tmp_path / "study").models == study.models
    assert freeze(config("n=5"), tmp_path / "study").models == at_once.models
    assert "spaces.inverted: now defined differently; the study keeps the space it was frozen with" in caplog.text


def test_a_space_with_another_resolution_than_the_data_is_a_warning(caplog):
    draw(config())
    assert "differs" not in caplog.text
    draw(config("spaces.inverted.template.resolution=12", "complexity.macs=[1e5,1e8]"))
    assert "spaces.inverted.template.resolution = 12: differs from the 8 pixels of the data" in caplog.text
    assert "bottleneck_1" not in caplog.text


def test_equal_spaces_may_be_written_differently(tmp_path):
    study = freeze(config("spaces=[regnetx]", "template.strides=[1,1,1,2]"), tmp_path / "study")
    same = config("spaces={regnetx:{base:regnetx,parameters:{}}}", "template.strides=[1,1,1,2]")
    assert freeze(same, tmp_path / "study").models == study.models


def test_the_manifest_of_an_earlier_version_grows_without_complete_spaces(tmp_path):
    study = freeze(config(), tmp_path / "study")
    manifest = json.loads(study.paths.manifest.read_text())
    del manifest["spaces"]
    study.paths.manifest.write_text(json.dumps(manifest))
    grown = freeze(config("n=4"), tmp_path / "study")
    assert grown.models[:6] == study.models
    assert set(grown.manifest["spaces"]) == {"bottleneck_1", "inverted"}


RATES = (
    "+spaces.inverted.parameters.learning_rate={distribution: log_uniform, low: 0.01, high: 1, step: null}",
    "+spaces.inverted.parameters.weight_decay={distribution: choice, options: [0, 5.0e-5]}",
)


def test_a_probe_may_be_turned_on_at_every_start(tmp_path):
    study = freeze(config(), tmp_path / "study")
    again = freeze(config("probe=true"), tmp_path / "study")
    assert (again.manifest["config_hash"], again.models) == (study.manifest["config_hash"], study.models)


def test_drawn_rates_are_part_of_the_recipe_of_a_model(tmp_path):
    fixed, study = freeze(config(), tmp_path / "fixed"), freeze(config(*RATES), tmp_path / "drawn")
    assert study.manifest["recipe_id"] == fixed.manifest["recipe_id"]
    recipe = TrainingConfig.of_study(study.config).recipe
    for before, model in zip(fixed.models, study.models, strict=True):
        assert before.spec_id == model.spec_id
        if model.space == "bottleneck_1":
            assert model == before
            assert study.recipe_id(model) == recipe.recipe_id
        else:
            rates = {name: model.parameters[name] for name in ("learning_rate", "weight_decay")}
            assert study.recipe_id(model) == recipe.changed(**rates).recipe_id != recipe.recipe_id
    assert len(study.keys) == len(study.models)
    grown = freeze(config(*RATES, "n=5"), tmp_path / "drawn")
    assert grown.models[: len(study.models)] == study.models
    assert "inverted: 3 models" in sampling_lines(study)[1]
    assert "3 distinct models" in sampling_lines(study)[1]
    assert "3 distinct networks" in sampling_lines(study)[0]


def test_a_record_has_the_rates_of_its_model(tmp_path):
    study = freeze(config(*RATES, "n=1"), tmp_path / "study")
    work(study, "sweeps.training.open_trainer")
    records, damaged = study.read_records()
    assert not damaged
    for model in study.models:
        record = records[model.key]
        assert record.recipe_id == study.recipe_id(model)
        assert record.parameters == model.parameters
        rate = model.parameters.get("learning_rate", study.config["recipe"]["learning_rate"])
        updates = record.updates // record.epochs_done
        recipe = TrainingConfig.of_study(study.config).recipe.changed(learning_rate=rate)
        assert record.epoch_learning_rate[0] == recipe.learning_rate_at(updates - 1, updates)


def test_a_study_of_a_version_without_mean_padding_resumes_and_grows_with_black(tmp_path, caplog):
    padded = ("recipe=nds", "recipe.crop_padding=1")
    earlier = config(*padded)
    del earlier["recipe"]["padding_color"]
    study = freeze(earlier, tmp_path / "study")
    grown = freeze(config(*padded, "n=5"), tmp_path / "study")
    assert "recipe.padding_color = black" in caplog.text
    assert grown.models[: len(study.models)] == study.models
    assert freeze(config(*padded), tmp_path / "new").keys.isdisjoint(study.keys)
