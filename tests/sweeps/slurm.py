"""A real SLURM for tests and soaks: the jobs of a study, their workers and processes, and ways to harm them."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from fake_study import error_after, read_records

from designspace.claims import Claim, read_claim
from designspace.study import Study

LAUNCHER = (
    "hydra/launcher=slurm_shared_gpu",
    "hydra.launcher.cpus_per_task=1",
    "hydra.launcher.mem_gb=null",
    "processes=1",
)
NEEDS_SLURM = [
    pytest.mark.slurm,
    pytest.mark.skipif("SLURM_CONF" not in os.environ, reason="SLURM_CONF is not set: there is no SLURM to run on"),
]
QUICK = ("heartbeat_seconds=0.5", "stale_seconds=4", "stop_seconds=5")


def wait_until(true: Callable[[], object], seconds: float, what: str) -> None:
    """Wait until a condition holds; AssertionError names it after the time limit."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, f"after {seconds:.0f} s not yet: {what}"
        time.sleep(0.1)


@dataclass(frozen=True)
class Jobs:
    """The jobs of one name.

    Args:
        name: job name.
        root: the study they work on.
    """

    name: str
    root: Path

    def states(self) -> dict[str, str]:
        """Job number to state, of the jobs not finished."""
        out = _slurm("squeue", "-h", "-r", "-n", self.name, "-o", "%i %T")
        return dict(line.split() for line in out.splitlines())

    def running(self) -> list[str]:
        """Numbers of the jobs that run now."""
        return [number for number, state in self.states().items() if state == "RUNNING"]

    def claims(self) -> list[Claim]:
        """Claims of the workers that live, in any order."""
        found = [read_claim(path) for path in (self.root / "claims").glob("[!.]*")]
        living = [claim for claim in found if claim is not None and is_running(claim.pid)]
        return random.sample(living, len(living))

    def all_have_checkpoints(self) -> bool:
        """Whether there are trainings, each with a checkpoint to go on from."""
        claims = self.claims()
        return bool(claims) and all((self.root / "checkpoints" / claim.key).exists() for claim in claims)

    def training(self) -> list[str]:
        """Numbers of the jobs whose workers train now."""
        found = []
        for claim in self.claims():
            with contextlib.suppress(OSError):  # it has just ended
                for line in Path(f"/proc/{claim.pid}/environ").read_text().split("\0"):
                    if line.startswith("SLURM_JOB_ID="):
                        found.append(line.partition("=")[2])
        return found

    def requeues(self) -> int:
        """How often jobs of this name were requeued, as SLURM counts it."""
        out = _slurm("scontrol", "show", "job", "-o")
        mine = [line for line in out.splitlines() if f"JobName={self.name} " in line]
        return sum(int(line.split("Restarts=")[1].split()[0]) for line in mine)

    def cancel_all(self) -> None:
        """End all jobs."""
        _slurm("scancel", "-n", self.name)

    def kill_worker(self) -> bool:
        """SIGKILL a worker that trains; return whether there was one."""
        return any(_kill(claim.pid) for claim in self.claims()[:1])

    def kill_training(self) -> bool:
        """SIGKILL a training process of a worker that trains."""
        return any(any(_kill(pid) for pid in children(claim.pid)[:1]) for claim in self.claims())

    def cancel(self) -> bool:
        """`scancel` a running job."""
        return any(_slurm_accepts("scancel", number) for number in self.training()[:1])

    def warn(self) -> bool:
        """Send a running job the signal that comes before a preemption or the time limit."""
        return any(_slurm_accepts("scancel", "--signal=USR2", number) for number in self.training()[:1])

    def preempt(self, seconds: float = 2) -> bool:
        """Run an urgent job on the entire node for a while."""
        cpus = _slurm("sinfo", "-h", "-p", "urgent", "-o", "%c").split()[0]
        _slurm("sbatch", "-p", "urgent", f"-c{cpus}", "-o", "/dev/null", "-J", "urgent", f"--wrap=sleep {seconds}")
        return True


def is_running(pid: int) -> bool:
    """Whether a process exists and is not a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def children(pid: int) -> list[int]:
    """Process numbers of the training processes of a worker."""
    try:
        found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return [
            int(child) for child in found if b"sweeps.worker.process" in Path(f"/proc/{child}/cmdline").read_bytes()
        ]
    except OSError:
        return []


def records(study: Study) -> dict[str, bytes]:
    """The bytes of every record."""
    return {path.stem: path.read_bytes() for path in study.paths.records.glob("[!.]*.json")}


def check_made_up(study: Study, *, ended: bool = False) -> None:
    """Every model has one record, and it is what an undisturbed training gives.

    Args:
        study: a study trained by `fake_study.open_steps`.
        ended: its last workers were killed: what they leave behind does not count.
    """
    found = {(r.space, r.index): r for r in read_records(study.paths.root)}
    assert len(found) == len(study.models) == len(study.recorded_keys())
    for model in study.models:
        record = found[model.space, model.index]
        if model.index in (1, 2):
            assert record.status == {1: "diverged", 2: "crashed"}[model.index]
        else:
            epochs = study.config["recipe"]["epochs"]
            assert (record.status, record.error_percent) == ("ok", error_after(model, epochs))
    if not ended:
        assert not list(study.paths.claims.iterdir())
        assert not list((study.paths.root / "checkpoints").iterdir())


def _kill(pid: int) -> bool:
    """SIGKILL a process and wait for its end, or the next fault could hit the same one."""
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return False
    wait_until(lambda: not is_running(pid), 10, f"process {pid} is gone")
    return True


def _slurm(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    return done.stdout


def _slurm_accepts(*command: str) -> bool:
    return subprocess.run(command, capture_output=True, timeout=60, check=False).returncode == 0
