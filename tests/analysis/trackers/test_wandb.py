"""Offline runs of Weights & Biases, parsed from their transaction logs."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from analysis.trackers import track

wandb: Any = pytest.importorskip("wandb", reason="wandb is not installed: pip install 'cnn-designspace[wandb]'")

from wandb.proto.wandb_internal_pb2 import Record  # noqa: E402

BLOCK, FULL, LAST = 32768, 1, 4


@pytest.fixture(autouse=True)
def _offline(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("WANDB_CACHE_DIR", "WANDB_CONFIG_DIR", "WANDB_DATA_DIR"):
        monkeypatch.setenv(name, str(tmp_path_factory.mktemp("wandb")))
    for name in ("WANDB_DIR", "WANDB_PROJECT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_ERROR_REPORTING", "false")
    yield
    wandb.teardown()


def records(path: Path) -> Iterator[Record]:
    """The records of a transaction log: a LevelDB log after a header of 7 bytes."""
    data, position, record = path.read_bytes(), 7, b""
    while position < len(data):
        if (left := BLOCK - position % BLOCK) < 7:
            position += left
            continue
        _, length, kind = struct.unpack_from("<IHB", data, position)
        record += data[position + 7 : position + 7 + length]
        position += 7 + length
        if kind in (FULL, LAST):
            yield Record.FromString(record)
            record = b""


def logs(root: Path) -> dict[str, list[Record]]:
    """Records of each run by its name."""
    found = {}
    for path in root.glob("wandb/offline-run-*/run-*.wandb"):
        content = list(records(path))
        (run,) = (record.run for record in content if record.HasField("run"))
        assert run.display_name not in found
        found[run.display_name] = content
    return found


def values(items: Any) -> dict[str, Any]:
    return {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in items}


def test_runs_have_settings_curves_results_and_status(runs: Path, tmp_path: Path) -> None:
    assert track(runs, to="wandb") == 5
    found = logs(tmp_path)
    assert set(found) == {"bottleneck-0", "inverted-0", "bottleneck-1", "inverted-1", "bottleneck-2"}

    content = found["bottleneck-0"]
    (run,) = (record.run for record in content if record.HasField("run"))
    config = values(run.config.update)
    assert (run.project, run.run_group, list(run.tags)) == ("designspace", "runs/demo", ["ok", "bottleneck"])
    assert config["recipe.batch_size"] == 128
    assert config["macs"] > 1e6
    history = [values(record.history.item) for record in content if record.HasField("history")]
    assert [(row["_step"], row["train/loss"]) for row in history] == [(1, 1.2), (2, 0.8)]
    assert history[1]["_timestamp"] - history[0]["_timestamp"] == 20
    summary: dict[str, Any] = {}
    for record in content:
        summary |= values(record.summary.update)
    assert summary["error_percent"] == history[-1]["validation/error_percent"]

    failed = found["inverted-0"]
    (run,) = (record.run for record in failed if record.HasField("run"))
    (end,) = (record.exit for record in failed if record.HasField("exit"))
    assert list(run.tags) == ["diverged", "inverted"]
    assert values(run.config.update)["message"].startswith("diverged")
    assert end.exit_code == 1


def test_an_interrupted_run_is_completed_and_a_second_call_writes_nothing(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(wandb.Run, "finish", interrupt)
        with pytest.raises(KeyboardInterrupt):
            track(runs, to="wandb")
    wandb.teardown()
    assert logs(tmp_path) == {}
    assert track(runs, to="wandb") == 5
    assert track(runs, to="wandb") == 0
    assert len(logs(tmp_path)) == 5


def interrupt(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


def test_a_retried_failure_is_replaced(runs: Path, tmp_path: Path, edit) -> None:
    track(runs, to="wandb", out="logs")
    edit(runs, 1, status="ok", message="", error_percent=20.0, ended_at="2026-01-01T01:00:00+00:00")
    assert track(runs, to="wandb", out="logs") == 1
    content = logs(tmp_path / "logs")["inverted-0"]
    (run,) = (record.run for record in content if record.HasField("run"))
    assert list(run.tags) == ["ok", "inverted"]


def test_another_active_run_of_the_process_stays_active(runs: Path, tmp_path: Path) -> None:
    settings = wandb.Settings(silent=True, x_disable_stats=True)
    active = wandb.init(mode="offline", dir=tmp_path / "active", project="mine", settings=settings)
    track(runs, to="wandb")
    active.log({"x": 1})
    assert wandb.run is active
    active.finish()
