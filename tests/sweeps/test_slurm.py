"""Studies on a real SLURM, harmed in every way: each model ends with exactly one record, as if nothing had happened."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from command import run, start
from fake_study import read_records
from slurm import LAUNCHER, NEEDS_SLURM, QUICK, Jobs, check_made_up, records, wait_until

from designspace.study import Record, Study

pytestmark = NEEDS_SLURM

EPOCHS = 8


def workers(count: int) -> str:
    return f"worker=range(0,{count})"


@pytest.fixture
def jobs(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Jobs]:
    """The jobs of a test, ended with it."""
    found = Jobs(f"{request.node.name[5:30]}-{os.getpid()}", tmp_path / "study")
    yield found
    found.cancel_all()


@pytest.fixture(scope="module")
def limited(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Jobs, subprocess.Popen[str]]]:
    """A study whose trainings take 75 s, longer than its jobs of at most a minute; it runs along with the first test.

    It must not overlap a preemption, which takes the entire node: a job that gets SIGTERM before Python starts is not
    requeued.
    """
    folder = tmp_path_factory.mktemp("limited")
    jobs = Jobs(f"limited-{os.getpid()}", folder / "study")
    os.environ["FAKE_STUDY_SECONDS"] = "1"
    try:
        driver = start(
            folder, "sweep", "-m", "experiment=smoke", "run=study", "n=1", "recipe.epochs=75", *LAUNCHER, *QUICK,
            "trainer=fake_study.open_steps", workers(2), f"hydra.launcher.name={jobs.name}",
            "hydra.launcher.timeout_min=1", "hydra.launcher.signal_delay_s=10",
        )  # fmt: skip
    finally:
        del os.environ["FAKE_STUDY_SECONDS"]
    yield jobs, driver
    jobs.cancel_all()
    driver.kill()
    driver.communicate()


def test_every_fault(tmp_path, jobs, limited):
    command = (
        "sweep", "-m", "experiment=smoke", "run=study", "n=12", f"recipe.epochs={EPOCHS}", *LAUNCHER, *QUICK,
        "trainer=fake_study.open_steps", workers(2), f"hydra.launcher.name={jobs.name}", "allowed_failures=0.2",
    )  # fmt: skip
    drivers = [start(tmp_path, *command) for _ in range(2)]  # two at once
    try:
        wait_until(lambda: (jobs.root / "manifest.json").exists(), 60, "the study is frozen")
        study = Study.open(jobs.root)
        wait_until(lambda: len(jobs.running()) == 4 and len(records(study)) > 1, 60, "both drivers' workers train")
        drivers[0].kill()
        wait_until(jobs.all_have_checkpoints, 30, "every training has a checkpoint")
        wait_until(jobs.kill_training, 20, "a training process is killed")
        wait_until(jobs.kill_worker, 20, "a worker is killed")
        before = records(study)
        key = sorted(before)[0]
        study.paths.record(key).write_bytes(before[key][:100])
        wait_until(jobs.warn, 20, "a worker is warned")
        wait_until(jobs.requeues, 30, "it is requeued")
        wait_until(jobs.cancel, 20, "a job is cancelled")
        assert before.items() - {(key, before[key])} <= records(study).items()
        wait_until(lambda: len(records(study)) == len(study.models) or not jobs.states(), 60, "the others do the rest")
        assert drivers[1].wait(60) in (0, 1)
    finally:
        for driver in drivers:
            driver.kill()
            driver.communicate()
    log = (tmp_path / "log").read_text().split()
    assert any(not line.endswith(":0") for line in log)  # a training went on from its checkpoint
    code, out, err = run(tmp_path, *command)
    assert code == 0, err
    assert f"record {key} set aside (damaged" in err
    assert "failed: 2 diverged, 2 crashed" in out
    check_made_up(study)
    after = records(study)
    assert {name: after[name] for name in before if name != key} == {n: b for n, b in before.items() if n != key}


def test_a_time_limit_is_no_end(limited):
    jobs, driver = limited
    wait_until(lambda: driver.poll() is not None, 200, "the study with the time limit is complete")
    assert driver.returncode == 0, driver.communicate()
    assert jobs.requeues() >= 2  # each job reached its limit
    check_made_up(Study.open(jobs.root))
    log = [line.split(":") for line in (jobs.root.parent / "log").read_text().split()]
    assert max(int(epoch) for _, epoch in log) > 10  # went on in the middle
    assert len(Study.open(jobs.root).models) == len(read_records(jobs.root)) == 2


def test_real_trainings_warned_preempted_and_killed_give_the_same_numbers(tmp_path, jobs):
    options = ("experiment=smoke", "device=cpu", "n=2", "recipe.epochs=7", "data.subset=400", "checkpoint_seconds=0")
    driver = start(
        tmp_path, "sweep", "-m", *options, "run=study", *LAUNCHER, *QUICK, workers(2),
        f"hydra.launcher.name={jobs.name}",
    )  # fmt: skip
    checkpoints = jobs.root / "checkpoints"

    def in_training() -> bool:
        return bool(jobs.claims()) and any(checkpoints.glob("[!.]*"))

    try:
        wait_until(in_training, 90, "a training has a checkpoint")
        jobs.warn()
        wait_until(jobs.requeues, 30, "a warned job is requeued")
        wait_until(in_training, 60, "the training goes on")
        jobs.kill_training()
        jobs.preempt(1)
        wait_until(lambda: len(jobs.running()) < 2, 30, "the jobs are preempted")
        wait_until(lambda: len(list((jobs.root / "records").glob("[!.]*.json"))) == 4, 120, "the study is complete")
        assert driver.wait(90) == 0, driver.communicate()
    finally:
        driver.kill()
        driver.communicate()
    code, _, err = run(tmp_path, "sweep", *options, "run=undisturbed")
    assert code == 0, err
    assert outcomes(read_records(tmp_path / "study")) == outcomes(read_records(tmp_path / "undisturbed"))


def outcomes(found: list[Record]) -> list[tuple[object, ...]]:
    """Everything that the faults must not change, bit for bit."""
    return [
        (r.spec_id, r.seed, r.status, r.error_percent, r.epochs_done, r.updates, r.epoch_train_loss,
         r.epoch_train_error_percent, r.epoch_validation_error_percent, r.epoch_learning_rate)
        for r in found
    ]  # fmt: skip


def test_the_workers_warning_is_what_submitit_sends():
    from submitit.core.job_environment import JobEnvironment

    from sweeps.stop import WARNING

    assert JobEnvironment._usr_sig() == WARNING == signal.SIGUSR2
