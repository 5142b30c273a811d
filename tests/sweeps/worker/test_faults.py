"""Faults: other hosts and clocks, dead jobs, full disks."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from command import PATHS
from fake_study import make_study, read_records, work

from designspace.claims import read_claim
from designspace.progress import StudyReader
from designspace.study import Record, Study
from sweeps.compose import compose
from sweeps.launch import Sweep, failure_text, start_workers
from sweeps.study.claims import Claims
from sweeps.worker.worker import WorkerError

FOREIGN = """
import socket, sys, time
import sweeps.study.claims, designspace.study
from sweeps.study.claims import Claims
from designspace.study import Study
from sweeps.worker.worker import Worker

true_time = time.time
time.time = lambda: true_time() + 3600
socket.gethostname = lambda: "elsewhere"
sweeps.study.claims.this_machine = lambda: "elsewhere"
sweeps.study.claims.now = lambda: "2100-01-01T00:00:00+00:00"
study = Study.open(sys.argv[1])
Worker(study, Claims(study.paths.claims, "foreign", 2), trainer="fake_study.open_slow", heartbeat_seconds=0.2).run()
"""


def two_jobs(study: Study) -> list[Sweep]:
    """The sweep of two workers on a cluster."""
    return [Sweep(study, compose(["experiment=smoke", "hydra/launcher=slurm_gpu", "worker=0,1"], multirun=True))]


def start_foreign(study: Study) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", FOREIGN, str(study.paths.root)], env=os.environ | {"PYTHONPATH": PATHS}
    )


def test_a_worker_on_a_host_with_another_clock_shares_the_models(tmp_path, monkeypatch):
    monkeypatch.setenv("FAKE_STUDY_LOG", str(tmp_path / "log"))
    study = make_study(tmp_path / "study", 16)
    foreign = start_foreign(study)
    work(study, "fake_study.open_slow", heartbeat_seconds=0.2, stale_seconds=5)
    assert foreign.wait(30) == 0
    assert sorted((tmp_path / "log").read_text().split()) == [f"a{i:04d}" for i in range(16)]  # each trained once
    assert len(read_records(study.paths.root)) == 16


def test_claims_of_a_vanished_remote_worker_are_taken_over(tmp_path):
    study = make_study(tmp_path / "study", 8)
    foreign = start_foreign(study)
    deadline = time.monotonic() + 30
    while not study.recorded_keys():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    time.sleep(0.1)  # in the middle of the second
    foreign.send_signal(signal.SIGKILL)
    foreign.wait()
    work(study, "fake_study.open_good", stale_seconds=1)
    assert sorted(record.index for record in read_records(study.paths.root)) == list(range(8))
    assert not list(study.paths.claims.iterdir())


def test_containers_with_the_same_host_name_are_different_machines(tmp_path):
    ours, theirs = (Claims(tmp_path, name, stale_seconds=60) for name in ("ours", "theirs"))
    assert theirs.take("model")
    claim = json.loads((tmp_path / "model").read_text())
    # The same host name, but a process id of another container: its owner may be alive.
    (tmp_path / "model").write_text(json.dumps(claim | {"machine": "another container", "pid": 2**22 + 1}))
    assert not ours.take("model")


def test_failed_attempts_outlive_their_worker(tmp_path):
    ours, theirs = (Claims(tmp_path, name, stale_seconds=60) for name in ("ours", "theirs"))
    assert theirs.take("model")
    assert theirs.add_failure("model", "out of power") == ("out of power",)
    claim = json.loads((tmp_path / "model").read_text())
    (tmp_path / "model").write_text(json.dumps(claim | {"process_start": "1"}))  # its owner is gone
    assert ours.take("model")
    assert ours.failures("model") == ("out of power",)
    assert ours.takeovers("model") == 1
    theirs.release("model")  # too late: the claim has a new owner
    assert read_claim(tmp_path / "model") is not None


def test_a_model_that_kills_every_worker_is_recorded_as_crashed(tmp_path):
    study = make_study(tmp_path / "study", 2)
    theirs = Claims(study.paths.claims, "theirs", stale_seconds=60)
    key = study.models[0].key
    assert theirs.take(key)
    claim = json.loads((study.paths.claims / key).read_text())
    (study.paths.claims / key).write_text(json.dumps(claim | {"process_start": "1", "takeovers": 10}))
    work(study, "fake_study.open_good")
    records = {record.index: record for record in read_records(study.paths.root)}
    assert (records[0].status, records[1].status) == ("crashed", "ok")
    assert records[0].message == "10 workers vanished while training it"


@pytest.mark.parametrize("interrupt", [signal.default_int_handler, signal.SIG_IGN], ids=["terminal", "nohup"])
def test_the_driver_returns_although_a_job_died(tmp_path, monkeypatch, interrupt):
    study = make_study(tmp_path / "study", 2)
    returned = []

    def launch(*_: object) -> None:
        work(study, "fake_study.open_good")
        time.sleep(600)  # like a launcher that does not notice the death of its job
        returned.append(True)

    monkeypatch.setattr("sweeps.launch.launch", launch)
    monkeypatch.setattr("sweeps.launch.ENDING_SECONDS", 0.5)
    before = signal.signal(signal.SIGINT, interrupt)
    try:
        start_workers(two_jobs(study))
    finally:
        signal.signal(signal.SIGINT, before)
    assert returned == []
    assert len(study.recorded_keys()) == 2


def test_the_driver_waits_for_the_other_jobs_when_one_fails(tmp_path, monkeypatch, caplog):
    study = make_study(tmp_path / "study", 6)
    others = []

    def launch(*_: object) -> None:
        others.append(start_foreign(study))
        deadline = time.monotonic() + 60
        while not list(study.paths.claims.iterdir()):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        raise RuntimeError("Job (task=0) failed during processing with trace:\nJob not requeued")

    monkeypatch.setattr("sweeps.launch.launch", launch)
    start_workers(two_jobs(study))
    assert len(study.recorded_keys()) == 6
    assert others[0].wait(30) == 0
    assert "a worker ended early: Job not requeued" in caplog.text
    assert "waiting for workers that train models" in caplog.text


def test_the_driver_returns_if_no_claim_is_live(tmp_path, monkeypatch, caplog):
    study = make_study(tmp_path / "study", 2)
    (study.paths.claims / study.models[0].key).write_text("[]")

    def launch(*_: object) -> None:
        raise RuntimeError("all jobs have ended")

    slept = []
    monkeypatch.setattr("sweeps.launch.launch", launch)
    monkeypatch.setattr("sweeps.launch.time.sleep", slept.append)
    start_workers(two_jobs(study))
    assert sum(slept) <= 2
    assert "waiting" not in caplog.text


UNCOMPLETED = """Job 12_3 (task: 0) with path {}/12_3_0_result.pkl
has not produced any output (state: FAILED)
Error stream produced:
----------------------------------------
module: command not found
----------------------------------------
"""
FAILED = """Job (task=0) failed during processing with trace:
----------------------
Traceback (most recent call last):
  File "worker.py", line 3, in run
sweeps.worker.worker.WorkerError: the training processes cannot start

----------------------
You can check full logs with 'job.stderr(0)' and 'job.stdout(0)'or at paths:
  - /logs/12_0_log.err
  - /logs/12_0_log.out"""


def test_a_failed_job_is_described_in_one_line(tmp_path):
    (tmp_path / "12_3_0_log.err").touch()
    assert failure_text(RuntimeError(UNCOMPLETED.format(tmp_path))) == (
        f"job 12_3 ended without a result (state FAILED): module: command not found; see {tmp_path}/12_3_0_log.err"
    )
    assert failure_text(RuntimeError(FAILED)) == (
        "sweeps.worker.worker.WorkerError: the training processes cannot start; see /logs/12_0_log.err"
    )
    assert failure_text(RuntimeError("-----\n")) == "RuntimeError"


def test_concurrent_drivers_that_retry_failures(tmp_path):
    study = make_study(tmp_path / "study", 300)
    for model in study.models:
        study.write_record(model, Record(model.spec_id, "recipe", "data", 0, "crashed"))
    with ThreadPoolExecutor(2) as drivers:
        for done in [drivers.submit(Study.open(study.paths.root).set_aside_with, ["crashed"]) for _ in range(2)]:
            done.result()
    assert not study.recorded_keys()
    assert len(list(study.paths.set_aside.iterdir())) == 300


def test_a_full_file_system(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(disk)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("a small file system cannot be mounted here")
    try:
        study = make_study(disk / "study", 3)
        with contextlib.suppress(OSError), open(disk / "filler", "wb", buffering=0) as stream:
            while True:
                stream.write(bytes(512))
        with pytest.raises(WorkerError, match=r"cannot be written .*No space left on device"):
            work(study, "fake_study.open_good")
        assert not list(study.paths.records.iterdir())
        assert not list(study.paths.claims.iterdir())
        (disk / "filler").unlink()
        work(study, "fake_study.open_good")
        assert len(read_records(disk / "study")) == 3
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_status_uses_the_clock_of_the_file_system(tmp_path, monkeypatch):
    study = make_study(tmp_path / "study", 2)
    theirs = Claims(study.paths.claims, "theirs", stale_seconds=60)
    assert theirs.take(study.models[0].key)
    true_time = time.time
    monkeypatch.setattr(time, "time", lambda: true_time() + 3600)
    assert StudyReader(study).read().total.running == 1
