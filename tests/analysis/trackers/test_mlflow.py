"""MLflow with a local database, read through its client."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from analysis.trackers import track

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # read when MLflow is imported
mlflow: Any = pytest.importorskip("mlflow", reason="MLflow is not installed: pip install 'cnn-designspace[mlflow]'")
for package in ("sqlalchemy", "alembic"):
    pytest.importorskip(package, reason="the database of MLflow: pip install 'cnn-designspace[mlflow]'")

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]


@pytest.fixture(scope="module")
def uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A database for all tests of this module, since creating one takes ten seconds; studies have distinct names."""
    return f"sqlite:///{tmp_path_factory.mktemp('mlflow')}/mlflow.db"


@pytest.fixture
def found(uri: str, runs: Path) -> Callable[[], dict[str, Any]]:
    """Reads the runs of the study, by name."""
    client = mlflow.MlflowClient(tracking_uri=uri)

    def read() -> dict[str, Any]:
        experiment = client.get_experiment_by_name(f"{runs.parent.name}/demo")
        named = [(run.info.run_name, run) for run in client.search_runs([experiment.experiment_id])]
        assert len({name for name, _ in named}) == len(named)
        return dict(named)

    return read


@pytest.fixture
def runs(runs: Path, tmp_path: Path) -> Path:
    """The study, in a folder with a name of its own."""
    return (runs.parent.rename(runs.parent.with_name(tmp_path.name))) / "demo"


def test_runs_have_parameters_metrics_and_status(uri: str, runs: Path, found) -> None:
    assert track(runs, to="mlflow", out=uri) == 5
    assert set(found()) == {"bottleneck-0", "inverted-0", "bottleneck-1", "inverted-1", "bottleneck-2"}

    run = found()["bottleneck-0"]
    assert run.info.status == "FINISHED"
    assert run.info.end_time - run.info.start_time == 30_000
    assert run.data.params["recipe.batch_size"] == "128"
    assert run.data.metrics["macs"] > 1e6
    assert run.data.metrics["error_percent"] == run.data.metrics["validation/error_percent"]
    history = mlflow.MlflowClient(tracking_uri=uri).get_metric_history(run.info.run_id, "train/loss")
    assert [(point.step, point.value) for point in history] == [(1, 1.2), (2, 0.8)]

    failed = found()["inverted-0"]
    assert failed.info.status == "FAILED"
    assert failed.data.tags["status"] == "diverged"
    assert failed.data.tags["message"].startswith("diverged")
    assert "error_percent" not in failed.data.metrics


def test_an_interrupted_run_is_completed_and_a_second_call_writes_nothing(
    uri: str, runs: Path, found, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(mlflow.MlflowClient, "set_terminated", interrupt)
        with pytest.raises(KeyboardInterrupt):
            track(runs, to="mlflow", out=uri)
    assert [run.info.status for run in found().values()] == ["RUNNING"]
    assert track(runs, to="mlflow", out=uri) == 5
    assert track(runs, to="mlflow", out=uri) == 0
    assert sorted(run.info.status for run in found().values()) == ["FAILED"] + 4 * ["FINISHED"]


def interrupt(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


def test_a_retried_failure_is_replaced(uri: str, runs: Path, found, edit) -> None:
    track(runs, to="mlflow", out=uri)
    edit(runs, 1, status="ok", message="", error_percent=20.0, ended_at="2026-01-01T01:00:00+00:00")
    assert track(runs, to="mlflow", out=uri) == 1
    assert len(found()) == 5
    assert found()["inverted-0"].data.tags["status"] == "ok"


def test_an_unusable_location_is_one_line(runs: Path) -> None:
    with pytest.raises(ValueError, match=r"out = ftp://x: .*") as error:
        track(runs, to="mlflow", out="ftp://x")
    assert "\n" not in str(error.value)
