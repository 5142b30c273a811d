"""Trackio's database, read through its interface."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from analysis.trackers import track

trackio: Any = pytest.importorskip("trackio", reason="Trackio is not installed: pip install 'cnn-designspace[trackio]'")

from trackio.sqlite_storage import SQLiteStorage  # noqa: E402


@pytest.fixture(autouse=True)
def _local(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Trackio reads TRACKIO_DIR only when it is imported."""
    monkeypatch.setattr("trackio.sqlite_storage.TRACKIO_DIR", tmp_path / "trackio")
    monkeypatch.setattr("trackio.utils.TRACKIO_DIR", tmp_path / "trackio")


def found() -> dict[str, Any]:
    """The runs by name."""
    named = [(run.name, run) for run in trackio.Api().runs("designspace")]
    assert len({name for name, _ in named}) == len(named)
    return dict(named)


def rows(run: Any) -> list[dict[str, Any]]:
    return SQLiteStorage.get_logs("designspace", run.name, run_id=run.id)


def test_runs_have_settings_curves_results_and_status(runs: Path) -> None:
    assert track(runs, to="trackio") == 5
    assert set(found()) == {"bottleneck-0", "inverted-0", "bottleneck-1", "inverted-1", "bottleneck-2"}

    run = found()["bottleneck-0"]
    assert run.config["_Group"] == "runs/demo"
    assert run.config["recipe.batch_size"] == 128
    assert run.config["macs"] > 1e6
    assert [(row["step"], row["train/loss"]) for row in rows(run)] == [(1, 1.2), (2, 0.8)]
    assert rows(run)[-1]["error_percent"] == rows(run)[-1]["validation/error_percent"]
    assert rows(run)[-1]["timestamp"] == "2026-01-01T00:00:30+00:00"

    failed = found()["inverted-0"]
    assert failed.config["status"] == "diverged"
    assert failed.config["message"].startswith("diverged")


def test_a_model_that_crashed_before_its_first_epoch_is_a_run(runs: Path, edit) -> None:
    edit(
        runs,
        1,
        status="crashed",
        epochs_done=0,
        epoch_train_loss=(),
        epoch_validation_error_percent=(),
        epoch_seconds=(),
        train_seconds=None,
        images_per_second=None,
    )
    track(runs, to="trackio")
    assert found()["inverted-0"].config["status"] == "crashed"


def test_a_second_call_writes_nothing_and_a_retried_failure_is_replaced(runs: Path, edit) -> None:
    track(runs, to="trackio")
    assert track(runs, to="trackio") == 0
    edit(runs, 1, status="ok", message="", error_percent=20.0, ended_at="2026-01-01T01:00:00+00:00")
    assert track(runs, to="trackio") == 1
    assert found()["inverted-0"].config["status"] == "ok"
    assert [row["step"] for row in rows(found()["inverted-0"])] == [1]


def test_an_interrupted_run_is_completed(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("trackio.sqlite_storage.orjson.dumps", interrupt)
        with pytest.raises(KeyboardInterrupt):
            track(runs, to="trackio")
    assert track(runs, to="trackio") == 5
    assert [row["step"] for row in rows(found()["bottleneck-0"])] == [1, 2]


def interrupt(*_: object, **__: object) -> None:
    raise KeyboardInterrupt
