"""TensorBoard's own readers on the event files."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from analysis.trackers import track

pytest.importorskip("tensorboard", reason="TensorBoard is not installed: pip install 'cnn-designspace[tensorboard]'")

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import api_pb2, metadata

ROOT = Path("tensorboard")


def read(folder: Path) -> EventAccumulator:
    events = EventAccumulator(str(folder))
    events.Reload()
    return events


def hparams(folder: Path) -> dict[str, bytes]:
    return read(folder).PluginTagToContent(metadata.PLUGIN_NAME)


def columns() -> dict[str, Any]:
    experiment = metadata.parse_experiment_plugin_data(hparams(ROOT)[metadata.EXPERIMENT_TAG])
    return {column.name: column for column in experiment.hparam_infos}


def test_curves_and_results_are_scalars(runs: Path) -> None:
    track(runs, to="tensorboard")
    events = read(ROOT / "runs" / "demo" / "bottleneck-0")
    loss = events.Scalars("train/loss")
    assert [(point.step, round(point.value, 6)) for point in loss] == [(1, 1.2), (2, 0.8)]
    assert loss[1].wall_time - loss[0].wall_time == 20
    assert events.Scalars("final/error_percent")[0].value == events.Scalars("validation/error_percent")[-1].value


def test_hyperparameters_have_types(runs: Path) -> None:
    track(runs, to="tensorboard")
    start = hparams(ROOT / "runs" / "demo" / "bottleneck-0")[metadata.SESSION_START_INFO_TAG]
    values = metadata.parse_session_start_info_plugin_data(start).hparams
    assert values["macs"].number_value > 1e6
    assert values["recipe.batch_size"].number_value == 128
    assert values["space"].string_value == "bottleneck"


def test_a_failure_is_a_failed_session_without_an_error(runs: Path) -> None:
    track(runs, to="tensorboard")
    folder = ROOT / "runs" / "demo" / "inverted-0"
    contents = hparams(folder)
    end = metadata.parse_session_end_info_plugin_data(contents[metadata.SESSION_END_INFO_TAG])
    start = metadata.parse_session_start_info_plugin_data(contents[metadata.SESSION_START_INFO_TAG])
    assert end.status == api_pb2.STATUS_FAILURE
    assert start.hparams["status"].string_value == "diverged"
    assert "final/error_percent" not in read(folder).Tags()["scalars"]


def test_the_page_shows_space_and_complexity_first_and_filters_by_text(runs: Path) -> None:
    track(runs, to="tensorboard")
    shown = [name for name, column in columns().items() if column.differs]
    assert set(shown) == {"space", "macs", "params", "depth", "status"}
    assert list(columns()["space"].domain_discrete) == ["bottleneck", "inverted"]
    assert list(columns()["status"].domain_discrete) == ["ok", "diverged"]
    assert columns()["macs"].type == api_pb2.DATA_TYPE_FLOAT64


def test_columns_of_studies_written_earlier_stay(runs: Path, tmp_path: Path, make_study) -> None:
    track(runs, to="tensorboard")
    other = make_study(tmp_path / "runs" / "other", n=1, spaces={"third": (2.0, (2e6, 20e6))})
    track(other, to="tensorboard")
    assert list(columns()["space"].domain_discrete) == ["bottleneck", "inverted", "third"]
    assert list(columns()["study"].domain_discrete) == ["runs/demo", "runs/other"]


def test_an_interrupted_run_is_invisible_and_then_completed(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", interrupt_at(4, os.replace))
        with pytest.raises(KeyboardInterrupt):
            track(runs, to="tensorboard")
    written = len(list(ROOT.glob("runs/demo/*/*tfevents*")))
    assert written < 5
    assert track(runs, to="tensorboard") == 5 - written
    files = list(ROOT.rglob("*.*"))
    assert len(files) == 6  # five runs, and the columns
    assert all("tfevents" in file.name for file in files)


def interrupt_at(count: int, function):
    """The function, which is interrupted instead of called for the given time."""
    calls = iter(range(1, 100))

    def call(*arguments: object) -> object:
        if next(calls) == count:
            raise KeyboardInterrupt
        return function(*arguments)

    return call


def test_a_space_with_any_label_is_one_folder(tmp_path: Path, make_study) -> None:
    study = make_study(tmp_path / "study", n=1, spaces={"../a b": (1.0, (2e6, 20e6))})
    track(study, to="tensorboard", out=str(tmp_path / "out"))
    (folder,) = (tmp_path / "out" / tmp_path.name / "study").iterdir()
    assert folder.name == "..%2Fa b-0"
