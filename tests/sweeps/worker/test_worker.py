"""A worker finishes its study whatever its training processes do."""

from __future__ import annotations

import contextlib
import heapq
import json
import logging
import os
import signal
import subprocess
import sys
import time
import zlib
from collections import Counter
from pathlib import Path

import pytest
from command import PATHS
from fake_study import make_study, read_records, work

from designspace.claims import read_claim
from designspace.progress import StudyReader
from designspace.study import Record, Study
from designspace.times import load_any_constants
from sweeps.study.claims import Claims
from sweeps.study.predict import TimeLimit
from sweeps.worker.worker import Queue, WorkerError


def statuses(study: Study) -> dict[str, str]:
    return {record.spec_id: record.status for record in read_records(study.paths.root)}


def test_every_model_gets_one_record_in_index_order_with_the_longest_of_the_last_two_first(tmp_path, monkeypatch):
    monkeypatch.setenv("FAKE_STUDY_LOG", str(tmp_path / "log"))
    study = make_study(tmp_path / "study", 6)
    work(study, "fake_study.open_good")
    assert (tmp_path / "log").read_text().split() == [f"a{i:04d}" for i in (0, 1, 2, 3, 5, 4)]
    assert set(statuses(study).values()) == {"ok"}
    assert list(study.paths.claims.iterdir()) == []
    assert not list(study.paths.records.glob(".*"))


@pytest.mark.parametrize("workers", [1, 3, 8])
def test_interim_results_are_a_fair_sample_of_every_space(workers, tmp_path):
    study = make_study(tmp_path / "study", 20, spaces=("a", "b", "c"))
    claims = [Claims(study.paths.claims, str(number), stale_seconds=60) for number in range(workers)]
    queues = [Queue(study, claim) for claim in claims]
    seconds = {model.key: 1 + hash_fraction(model.key) + 3 * (model.space == "b") for model in study.models}
    running = [(0.0, number, None) for number in range(workers)]  # end, worker, model
    recorded: Counter[str] = Counter({"a": 0, "b": 0, "c": 0})
    while running:
        time_now, number, model = heapq.heappop(running)
        if model is not None:
            record = Record(model.spec_id, "recipe", "data", 0, "ok", error_percent=1.0)
            study.write_record(model, record)
            claims[number].release(model.key)
            recorded[model.space] += 1
        assert max(recorded.values()) - min(recorded.values()) <= 1 + workers
        if (model := queues[number].take()) is not None:
            heapq.heappush(running, (time_now + seconds[model.key], number, model))
    assert set(recorded.values()) == {20}


def hash_fraction(text: str) -> float:
    """A fixed pseudorandom number in [0, 1)."""
    return zlib.crc32(text.encode()) / 2**32


def test_predicted_times_order_the_last_models_and_limit_all(tmp_path, monkeypatch):
    monkeypatch.setenv("FAKE_STUDY_LOG", str(tmp_path / "log"))
    study = make_study(tmp_path / "study", 4)
    work(study, "fake_study.open_predicting", limit=TimeLimit(factor=20))
    assert (tmp_path / "log").read_text().split() == ["measured-4", *(f"a{i:04d}" for i in range(4))]
    records = read_records(study.paths.root)
    assert {record.predicted_seconds for record in records} == {50.0}
    assert {record.train_seconds for record in records} == {1000.0}
    assert load_any_constants(study.paths.times).training_seconds(study.models[0]) == 50.0


def test_times_are_measured_once_for_a_kind_of_device(tmp_path, monkeypatch):
    monkeypatch.setenv("FAKE_STUDY_LOG", str(tmp_path / "log"))
    study = make_study(tmp_path / "study", 3)
    work(study, "fake_study.open_predicting")
    study.set_aside(study.models[0].key, "to be trained again")
    work(study, "fake_study.open_predicting")
    assert (tmp_path / "log").read_text().count("measured") == 1
    assert {record.train_seconds for record in read_records(study.paths.root)} == {None}  # not limited


def test_a_process_that_dies_while_measuring_times_is_replaced(tmp_path):
    study = make_study(tmp_path / "study", 3)
    work(study, "fake_study.open_deadly_to_measure")
    assert set(statuses(study).values()) == {"ok"}
    assert {record.predicted_seconds for record in read_records(study.paths.root)} == {None}


def test_a_second_run_trains_nothing(tmp_path, monkeypatch):
    study = make_study(tmp_path / "study", 2)
    work(study, "fake_study.open_good")
    monkeypatch.setenv("FAKE_STUDY_LOG", str(tmp_path / "log"))
    work(study, "fake_study.open_good")
    assert not (tmp_path / "log").exists()


def test_a_killed_process_is_a_failed_attempt(tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("FAKE_STUDY_LOG", str(tmp_path / "log"))
    study = make_study(tmp_path / "study", 6)
    with caplog.at_level(logging.WARNING):
        work(study, "fake_study.open_deadly", processes=2, attempts=2)
    records = {record.index: record for record in read_records(study.paths.root)}
    assert {i: r.status for i, r in records.items()} == {
        0: "ok", 1: "ok", 2: "crashed", 3: "crashed", 4: "crashed", 5: "ok",
    }  # fmt: skip
    assert "signal 9 (SIGKILL)" in records[2].message
    assert "exit code 7" in records[3].message
    assert records[4].message == "RuntimeError: no such layer (2 attempts)"
    assert records[2].attempts == 2
    assert records[2].macs == 1002
    tries = (tmp_path / "log").read_text().split()
    assert sorted(tries) == ["a0000", "a0001", *["a0002"] * 2, *["a0003"] * 2, *["a0004"] * 2, "a0005"]
    assert "attempt 1 of 2" in caplog.text


def test_taking_a_model_reads_each_claim_of_others_once(tmp_path, monkeypatch):
    study = make_study(tmp_path / "study", 8)
    others = Claims(study.paths.claims, "other", stale_seconds=60)
    assert all(others.take(model.key) for model in study.models)
    queue = Queue(study, Claims(study.paths.claims, "mine", stale_seconds=60))
    read = []
    monkeypatch.setattr("sweeps.study.claims.read_claim", lambda path: read.append(path) or read_claim(path))
    assert queue.take() is None
    assert len(queue) == len(read) == 8


def test_trainings_started_before_the_prediction_get_a_time_limit(tmp_path, monkeypatch):
    monkeypatch.setenv("FAKE_STUDY_LOG", str(tmp_path / "log"))
    monkeypatch.setattr("sweeps.study.predict.LEAST_LIMIT_SECONDS", 0.0)
    study = make_study(tmp_path / "study", 4)
    options = {"limit": TimeLimit(factor=1), "hanging_seconds": 0.5, "heartbeat_seconds": 0.2, "attempts": 1}
    work(study, "fake_study.open_predicting_late", processes=3, **options)
    assert statuses(study) == {"a0000": "ok", "a0001": "ok", "a0002": "ok", "a0003": "crashed"}
    assert {record.predicted_seconds for record in read_records(study.paths.root) if record.status == "ok"} == {0.5}


def test_a_model_out_of_memory_among_others_is_trained_again_alone(tmp_path, monkeypatch):
    monkeypatch.setenv("FAKE_STUDY_LOG", str(tmp_path / "log"))
    study = make_study(tmp_path / "study", 5)
    work(study, "fake_study.open_crowded", processes=2)
    records = {record.index: record for record in read_records(study.paths.root)}
    assert {record.status for record in records.values()} == {"ok"}
    assert {index: record.attempts for index, record in records.items()} == {0: 1, 1: 2, 2: 2, 3: 1, 4: 1}
    assert sorted((tmp_path / "log").read_text().split()[-2:]) == ["a0001", "a0002"]


def test_a_model_out_of_memory_alone_has_a_record(tmp_path, monkeypatch):
    monkeypatch.setenv("FAKE_STUDY_LOG", str(tmp_path / "log"))
    study = make_study(tmp_path / "study", 2)
    work(study, "fake_study.open_crowded", processes=1)
    assert statuses(study) == {"a0000": "ok", "a0001": "out_of_memory"}


def test_a_lost_cuda_context_counts_as_a_failure_only_alone(tmp_path, monkeypatch):
    monkeypatch.setenv("FAKE_STUDY_LOG", str(tmp_path / "log"))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    study = make_study(tmp_path / "study", 4)
    work(study, "fake_study.open_faulting", attempts=2)
    records = {record.index: record for record in read_records(study.paths.root)}
    assert {index: record.status for index, record in records.items()} == {0: "ok", 1: "crashed", 2: "ok", 3: "ok"}
    assert "MPS client has been terminated" in records[1].message
    log = (tmp_path / "log").read_text().split()
    assert (log.count("a0001"), log.count("a0002")) == (3, 2)  # beside others, then two attempts alone


@pytest.mark.parametrize("processes", [4, 2])  # two processes per GPU, or one
def test_processes_are_divided_among_the_gpus(processes, tmp_path, monkeypatch):
    monkeypatch.setenv("FAKE_STUDY_LOG", str(tmp_path / "log"))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,MIG-7")
    study = make_study(tmp_path / "study", 10)
    work(study, "fake_study.open_crowded", processes=processes)
    records = {record.index: record for record in read_records(study.paths.root)}
    assert {record.status for record in records.values()} == {"ok"}
    assert {records[index].attempts for index in (1, 2)} == {2}
    assert {record.device_share for record in records.values() if record.attempts == 1} == {2 / processes}
    assert {record.device_share for record in records.values() if record.attempts == 2} == {1.0}
    others = [record for index, record in records.items() if index not in (1, 2)]
    assert {record.device_name for record in others} == {"GPU 3", "GPU MIG-7"}


def test_other_data_than_the_studys_are_an_error(tmp_path):
    study = make_study(tmp_path / "study", 2)
    with pytest.raises(WorkerError, match=r"data_id = other on .*: must be data, the study's data_id"):
        work(study, "fake_study.open_other_data")
    assert statuses(study) == {}


def test_a_damaged_image_is_not_a_model_failure(tmp_path):
    study = make_study(tmp_path / "study", 2)
    with pytest.raises(WorkerError, match=r"^red/7.png cannot be read as an image: image file is truncated\.$"):
        work(study, "fake_study.open_damaged")
    assert statuses(study) == {}


def test_a_trainer_that_cannot_be_opened_fails_no_model(tmp_path):
    study = make_study(tmp_path / "study", 2)
    with pytest.raises(WorkerError, match="cannot start: ValueError: the data are not here"):
        work(study, "fake_study.open_never")
    with pytest.raises(WorkerError, match=r"in a row ended before they were ready; .* exit code 3"):
        work(study, "fake_study.open_dead")
    with pytest.raises(WorkerError, match=r"trainer = fake_study:nothing: "):
        work(study, "fake_study.nothing")
    assert statuses(study) == {}
    assert list(study.paths.claims.iterdir()) == []


def test_a_full_disk_stops_the_worker_without_partial_files(tmp_path):
    study = make_study(tmp_path / "study", 2)
    with pytest.raises(
        WorkerError, match=r"cannot be written \(OSError: .*No space left on device\); records are safe"
    ):
        work(study, "fake_study.open_full_disk")
    assert list(study.paths.records.iterdir()) == []
    work(study, "fake_study.open_good")
    assert set(statuses(study).values()) == {"ok"}


def test_a_hanging_model_is_killed(tmp_path):
    study = make_study(tmp_path / "study", 2)
    work(study, "fake_study.open_hanging", attempts=1, limit=TimeLimit(0), hanging_seconds=0.5, heartbeat_seconds=0.2)
    assert statuses(study) == {"a0000": "crashed", "a0001": "ok"}


def test_processes_must_be_positive(tmp_path):
    study = make_study(tmp_path / "study", 1)
    with pytest.raises(ValueError, match="processes = 0: must be at least 1"):
        work(study, "fake_study.open_good", processes=0)


WORKER = """
import sys
from fake_study import work
from designspace.study import Study
if __name__ == "__main__":
    work(Study.open(sys.argv[1]), "fake_study.open_slow", processes=2, heartbeat_seconds=0.2, stale_seconds=2)
"""


def start_worker(study: Study, script: Path) -> subprocess.Popen[bytes]:
    script.write_text(WORKER)
    return subprocess.Popen(
        [sys.executable, str(script), str(study.paths.root)],
        env=os.environ | {"PYTHONPATH": PATHS},
        start_new_session=True,
    )


def living_members(group: int) -> list[str]:
    members = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, _, pgrp, *_ = stat.read_text().rpartition(")")[2].split()
            if int(pgrp) == group and state not in "ZX":
                members.append(stat.with_name("cmdline").read_text())
    return members


def wait_for_records(study: Study, count: int) -> None:
    deadline = time.monotonic() + 60
    while len(study.recorded_keys()) < count:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_killed_worker_is_replaced_without_losing_records(tmp_path):
    study = make_study(tmp_path / "study", 12)
    worker = start_worker(study, tmp_path / "worker.py")
    wait_for_records(study, 3)
    os.killpg(worker.pid, signal.SIGKILL)
    worker.wait()
    before = {path.name: path.read_bytes() for path in study.paths.records.glob("*.json")}
    assert 3 <= len(before) < 12
    in_training = {path.name for path in study.paths.claims.iterdir()} - study.recorded_keys()
    assert len(in_training) <= 2  # one for each process
    again = start_worker(study, tmp_path / "worker.py")
    assert again.wait(60) == 0
    records = read_records(study.paths.root)
    assert sorted(record.index for record in records) == list(range(12))
    for name, content in before.items():
        assert (study.paths.records / name).read_bytes() == content


def test_training_processes_end_with_their_worker(tmp_path):
    study = make_study(tmp_path / "study", 50)
    worker = start_worker(study, tmp_path / "worker.py")
    wait_for_records(study, 2)
    worker.kill()  # the worker alone, not its group
    worker.wait()
    deadline = time.monotonic() + 60
    while living_members(worker.pid):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert len(study.recorded_keys()) < 50


def test_two_workers_share_a_study(tmp_path, monkeypatch):
    monkeypatch.setenv("FAKE_STUDY_LOG", str(tmp_path / "log"))
    study = make_study(tmp_path / "study", 16)
    workers = [start_worker(study, tmp_path / f"worker{i}.py") for i in range(2)]
    assert [worker.wait(60) for worker in workers] == [0, 0]
    assert sorted((tmp_path / "log").read_text().split()) == [f"a{i:04d}" for i in range(16)]
    assert len({record.host for record in read_records(study.paths.root)}) == 4  # processes that took part


@pytest.fixture
def clock(monkeypatch):
    """A monotonic clock that tests advance."""
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return now


def test_a_claim_is_taken_over_when_its_counter_has_not_changed(tmp_path, clock):
    ours = Claims(tmp_path, "ours", stale_seconds=60)
    theirs = Claims(tmp_path, "theirs", stale_seconds=20)
    assert theirs.take("model")
    # The owner's host and clock do not matter.
    claim = json.loads((tmp_path / "model").read_text())
    (tmp_path / "model").write_text(json.dumps(claim | {"host": "elsewhere", "since": "2100-01-01T00:00:00+00:00"}))
    os.utime(tmp_path / "model", (time.time() + 3600,) * 2)
    assert not ours.take("model")
    clock[0] += 19
    assert not ours.take("model")
    clock[0] += 2
    assert ours.take("model")
    held = read_claim(tmp_path / "model")
    assert held is not None
    assert held.worker == "ours"


def test_a_refreshed_claim_is_respected_and_a_dead_owners_is_not(tmp_path, clock):
    ours = Claims(tmp_path, "ours", stale_seconds=60)
    theirs = Claims(tmp_path, "theirs", stale_seconds=20)
    assert theirs.take("model")
    for _ in range(3):
        assert not ours.take("model")
        clock[0] += 15
        theirs.beat("model", epoch=1)
    claim = json.loads((tmp_path / "model").read_text())
    assert claim["epoch"] == 1
    (tmp_path / "model").write_text(json.dumps(claim | {"process_start": "1"}))  # its process id was reused
    assert ours.take("model")


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        "null",
        '"x"',
        "\udc80",
        "{}",
        "FIFO",
        "folder",
        "link",
        {"pid": "1"},
        {"failures": 3},
        {"since": ""},
    ],
)
def test_a_damaged_claim_is_a_stale_claim(tmp_path, content):
    study = make_study(tmp_path / "study", 2)
    key = study.models[0].key
    claim = study.paths.claims / key
    assert Claims(study.paths.claims, "theirs", stale_seconds=600).take(key)
    held = json.loads(claim.read_text())
    claim.unlink()
    match content:
        case "FIFO":
            os.mkfifo(claim)
        case "folder":
            (claim / "inside").mkdir(parents=True)
        case "link":
            claim.symlink_to("nowhere")
        case str():
            claim.write_bytes(content.encode(errors="surrogateescape"))
        case _:
            claim.write_text(json.dumps(held | content))
    assert StudyReader(study).read().total.running == 0
    work(study, "fake_study.open_good")
    assert set(statuses(study).values()) == {"ok"}
    assert not list(study.paths.claims.iterdir())


def test_a_failure_with_a_name_that_is_not_utf_8_leaves_a_readable_record(tmp_path):
    study = make_study(tmp_path / "study", 1)
    work(study, "fake_study.open_file_name", attempts=2)
    (record,) = read_records(study.paths.root)
    assert record.status == "crashed"
    assert r"caf\udce9.png" in record.message


@pytest.mark.parametrize(
    "outcome", [{"epochs_done": 1.5}, {"error_percent": "12"}, {"status": "fine"}, {"updates": -1}]
)
def test_invalid_outcomes_are_not_recorded(tmp_path, monkeypatch, outcome):
    monkeypatch.setenv("FAKE_STUDY_OUTCOME", json.dumps(outcome))
    study = make_study(tmp_path / "study", 1)
    work(study, "fake_study.open_outcome", attempts=1)
    (record,) = read_records(study.paths.root)
    assert record.status == "crashed"
    assert f"ValueError: {next(iter(outcome))} = " in record.message


def test_the_first_record_is_kept(tmp_path):
    study = make_study(tmp_path / "study", 1)
    model = study.models[0]
    first, second = (Record(model.spec_id, "recipe", "data", 0, "ok", error_percent=error) for error in (1.0, 2.0))
    assert study.write_record(model, first)
    assert not study.write_record(model, second)
    assert [record.error_percent for record in read_records(study.paths.root)] == [1.0]
