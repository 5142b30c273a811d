"""Tracking finished, growing and damaged studies; TensorBoard, the fastest tracker, stands for all."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

import designspace as ds
from analysis.trackers import TRACKERS, Tracking, open_tracker, track
from designspace.cli import main
from designspace.study import Study

pytest.importorskip("tensorboard", reason="TensorBoard is not installed: pip install 'cnn-designspace[tensorboard]'")


def event_files(folder: str | Path = "tensorboard") -> dict[str, float]:
    """Event files of runs, with the times when they were written."""
    return {str(path): path.stat().st_mtime_ns for path in Path(folder).rglob("events.out.tfevents.[0-9]*")}


@pytest.fixture
def held(runs: Path, tmp_path: Path) -> Path:
    """A folder with the records of the study; it has none until they are moved back."""
    return Path(shutil.move(runs / "records", tmp_path / "held"))


def put_back(held: Path, runs: Path, count: int) -> None:
    (runs / "records").mkdir(exist_ok=True)
    for record in sorted(held.iterdir())[:count]:
        os.rename(record, runs / "records" / record.name)


def test_a_second_call_writes_nothing_and_a_new_record_one_run(runs: Path, held: Path) -> None:
    put_back(held, runs, 4)
    assert track(runs, to="tensorboard") == 4
    before = event_files()
    assert track("runs/demo", to="tensorboard") == 0
    assert event_files() == before
    put_back(held, runs, 1)
    assert ds.analysis.track(runs, to="tensorboard") == 1
    assert before.items() < event_files().items()
    assert len(event_files()) == 5


def test_a_retried_failure_is_replaced(runs: Path, edit) -> None:
    track(runs, to="tensorboard")
    edit(runs, 1, status="ok", message="", error_percent=20.0, ended_at="2026-01-01T01:00:00+00:00")
    before = event_files()
    assert track(runs, to="tensorboard") == 1
    assert len(event_files()) == len(before) == 5


def test_a_retried_failure_is_replaced_while_following(runs: Path, edit) -> None:
    tracking = Tracking([runs], "tensorboard")
    tracking.update()
    study = Study.open(runs)
    record = study.paths.record(study.models[1].key)
    os.rename(record, runs / "retried")
    tracking.update()
    assert tracking.done == 4
    os.rename(runs / "retried", record)
    edit(runs, 1, status="ok", message="", error_percent=20.0, ended_at="2026-01-01T01:00:00+00:00")
    tracking.update()
    assert (tracking.done, tracking.written) == (5, 6)
    assert len(event_files()) == 5


def test_networks_with_a_common_training_are_one_run(tmp_path: Path, make_study) -> None:
    same = {"a": (1.0, (2e6, 20e6)), "b": (1.0, (2e6, 20e6))}
    tracking = Tracking([make_study(tmp_path / "study", n=3, spaces=same)], "tensorboard", str(tmp_path / "out"))
    tracking.update()
    assert tracking.total == tracking.done == len(event_files(tmp_path / "out")) == 3


def test_a_damaged_record_is_left_out_with_a_warning(runs: Path) -> None:
    study = Study.open(runs)
    record = study.paths.record(study.models[0].key)
    content = record.read_text()
    record.write_text("{")
    with pytest.warns(UserWarning, match="1 damaged record"):
        assert track(runs, to="tensorboard") == 4
    record.write_text(content)
    assert track(runs, to="tensorboard") == 1


def test_following_ends_when_every_model_of_a_growing_study_has_a_record(
    tmp_path: Path, make_study, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("analysis.trackers.tracking.FOLLOW_SECONDS", 0.01)
    first = make_study(tmp_path / "runs" / "demo", n=2, untrained=2)
    larger = make_study(tmp_path / "larger", n=4)
    seen: list[int] = []
    thread = threading.Thread(
        target=lambda: Tracking([first], "tensorboard", str(tmp_path / "out")).follow(seen.append), daemon=True
    )
    thread.start()
    wait_for(lambda: 2 in seen)
    os.replace(larger / "models.jsonl", first / "models.jsonl")
    os.replace(larger / "manifest.json", first / "manifest.json")
    for record in (larger / "records").iterdir():
        assert thread.is_alive()
        os.replace(record, first / "records" / record.name)
    thread.join(timeout=60)
    assert not thread.is_alive()
    assert seen[-1] == len(event_files(tmp_path / "out")) == 8


def wait_for(condition) -> None:
    for _ in range(6000):
        if condition():
            return
        time.sleep(0.01)
    raise AssertionError("waited for a minute")


def test_a_killed_command_continues_after_a_restart(runs: Path, held: Path) -> None:
    put_back(held, runs, 2)
    command = [sys.executable, "-m", "designspace", "track", "runs/demo", "--to", "tensorboard"]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])}
    follower = subprocess.Popen([*command, "--follow"], env=environment)
    wait_for(lambda: len(event_files()) == 2)
    follower.send_signal(signal.SIGKILL)
    follower.wait()
    put_back(held, runs, 3)
    output = subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout
    assert output.splitlines()[0] == "5 of 6 trainings in tensorboard, 3 new"
    assert len(event_files()) == 5


def test_the_command_prints_what_was_written_and_how_to_view_it(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["track", "runs/demo", "--to", "tensorboard", "--out", "my logs"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "5 of 6 trainings in tensorboard, 5 new",
        "next: tensorboard --logdir 'my logs'",
    ]


@pytest.mark.parametrize("name", TRACKERS)
def test_a_missing_library_names_its_extra(name: str, runs: Path, monkeypatch, capsys) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    assert main(["track", "runs/demo", "--to", name]) == 2
    expected = f"designspace track: {name} is not installed: run pip install 'cnn-designspace[{name}]'\n"
    assert capsys.readouterr().err == expected


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["runs/demo", "--to", "tensorbord"], "to = tensorbord: unknown; did you mean tensorboard?"),
        (["runs", "--to", "tensorboard"], "runs: not a study folder (no manifest.json); start a study with"),
        (["runs/demo", "./runs/demo", "--to", "tensorboard"], "RUN = runs/demo: must not have the name of another"),
        (["runs/demo", "--to", "trackio", "--out", "x"], "out = x: must be omitted with trackio; set TRACKIO_DIR"),
    ],
)
def test_errors(arguments: list[str], message: str, runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["track", *arguments]) == 2
    assert capsys.readouterr().err.startswith(f"designspace track: {message}")
    assert not Path("tensorboard").exists()


def test_no_study_is_an_error() -> None:
    with pytest.raises(ValueError, match="runs: must have at least one study folder"):
        track(to="tensorboard")
    with pytest.raises(ValueError, match="to = None: unknown; must be one of tensorboard, wandb, mlflow, trackio"):
        open_tracker(None)  # type: ignore[arg-type]
