"""A soak: 300 models on a real SLURM while something is killed every other second."""

from __future__ import annotations

import os
import random
import time
from collections import Counter

from command import run, start
from slurm import LAUNCHER, NEEDS_SLURM, QUICK, Jobs, check_made_up, records, wait_until

from designspace.study import Study

pytestmark = NEEDS_SLURM

MODELS = int(os.environ.get("SOAK_MODELS", "300"))
PAUSE_SECONDS = 2.0
STARTS_WITHIN = 15.0
FAULTS = (*["kill_training"] * 3, *["warn"] * 3, "kill_worker", "cancel", "driver", "preempt")


def test_soak(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("FAKE_STUDY_SECONDS", "0.15")
    jobs = Jobs(f"soak-{os.getpid()}", tmp_path / "study")
    # Killed at random, a model may be hit more than twice.
    options = (
        "experiment=smoke", "complexity.macs=null", "run=study", f"n={MODELS // 2}", "recipe.epochs=3",
        "trainer=fake_study.open_steps",
        "attempts=5", *QUICK,
    )  # fmt: skip
    command = ("sweep", "-m", *options, *LAUNCHER, "worker=range(0,6)", f"hydra.launcher.name={jobs.name}")
    chance, done = random.Random(0), Counter[str]()
    driver, started = start(tmp_path, *command), time.monotonic()
    try:
        wait_until(lambda: (jobs.root / "manifest.json").exists(), 60, "the study is frozen")
        study = Study.open(jobs.root)
        wait_until(jobs.claims, 60, "a model is trained")
        before, began = records(study), time.monotonic()
        while len(before) < len(study.models):
            assert time.monotonic() - began < 300, f"{len(before)} of {len(study.models)} records"
            time.sleep(PAUSE_SECONDS)
            fault = chance.choice(FAULTS)
            if fault == "driver":
                driver.kill()
                done["driver"] += 1
            elif fault != "preempt" or done["preempt"] < 2:
                done[fault] += bool(getattr(jobs, fault)())
            idle = not jobs.states() and time.monotonic() - started > STARTS_WITHIN
            if driver.poll() is not None or idle:
                driver.kill()
                driver.communicate()
                driver, started = start(tmp_path, *command), time.monotonic()
                done["starts"] += 1
            after = records(study)
            assert before.items() <= after.items()  # nothing lost, nothing altered
            before = after
    finally:
        driver.kill()
        driver.communicate()
        jobs.cancel_all()
    wait_until(lambda: not jobs.states(), 60, "the last jobs have ended")
    code, _, err = run(tmp_path, "sweep", *options)  # finds nothing to do
    assert code == 0, err
    check_made_up(study, ended=True)
    assert before == records(study)
    trainings = len((tmp_path / "log").read_text().split())
    for fault in set(FAULTS) - {"preempt"}:
        assert done[fault], f"no {fault} in this soak"
    with capsys.disabled():
        print(
            f"\nsoak: {len(study.models)} models in {time.monotonic() - began:.0f} s; {dict(sorted(done.items()))}; "
            f"{jobs.requeues()} requeues; {trainings - len(study.models)} trainings begun again; lost 0, duplicated 0"
        )
