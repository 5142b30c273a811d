"""A worker's handle to a training process: start it, send models, receive messages, report how it ended."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from designspace.study import Study, StudyModel
from sweeps.stop import WORKERS_SIGNALS
from sweeps.worker.process import Assignment

_PROGRAM = "from designspace.packages import own_module; own_module('sweeps.worker.process').main()"


class TrainingProcess:
    """A worker's handle to one training process.

    Args:
        study: the study.
        trainer: import path of the trainer.
        slot: number of the process on its machine.
        gpu: the GPU to train on, named as in CUDA_VISIBLE_DEVICES; None: what the worker sees.
        settings: settings of the trainer beyond the study's config.
        log_file: file for its output; None: the worker's output.
    """

    def __init__(
        self,
        study: Study,
        trainer: str,
        slot: int,
        settings: Mapping[str, Any],
        *,
        gpu: str | None = None,
        log_file: Path | None = None,
    ) -> None:
        self.connection, far_end = multiprocessing.Pipe()
        self.slot = slot
        self.gpu = gpu
        self.ready = False
        self.model: StudyModel | None = None
        self.alone = False
        self.lost_context = False
        self.failure = ""
        self._kill_from = float("inf")
        # A plain program rather than multiprocessing.Process, which imports the parent's main module and fails inside
        # joblib's processes. `own_module` finds this distribution's `sweeps`, whatever else the path holds.
        with _signals_blocked():
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-c", _PROGRAM, str(far_end.fileno())],
                pass_fds=[far_end.fileno()],
                stdin=subprocess.DEVNULL,
                env=os.environ
                | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
                | ({} if gpu is None else {"CUDA_VISIBLE_DEVICES": gpu}),  # CUDA shows a process only one MIG slice
            )
        far_end.close()  # so that the pipe closes when the process dies
        self._send((str(study.paths.root), trainer, dict(settings), log_file))

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    def kill(self) -> None:
        """Kill the process; its pipe reports the end."""
        self._process.kill()

    def train(self, assignment: Assignment) -> None:
        """Send a model."""
        self.model = assignment.model
        self.alone = not assignment.may_be_crowded
        self.limit(assignment.deadline_seconds)
        self._send(assignment)

    def limit(self, seconds: float | None) -> None:
        """Set the time limit of the current training, from now on; None: no limit."""
        self._kill_from = float("inf") if seconds is None else time.monotonic() + 2 * seconds

    def seconds_over_limit(self, now: float) -> float:
        """Seconds by which the current training exceeds twice its time limit, at monotonic time `now`."""
        return now - self._kill_from if self.model is not None else 0.0

    def stop(self) -> None:
        """Ask the process to stop its training at the next checkpoint."""
        self._send("stop")

    def _send(self, content: object) -> None:
        with contextlib.suppress(OSError):  # the process is ending, which its pipe reports
            self.connection.send(content)

    def messages(self) -> Iterator[tuple[Any, ...]]:
        """Yield the messages received; ("ended",) last if the process is gone."""
        try:
            while self.connection.poll():
                yield self.connection.recv()
        except (EOFError, OSError):
            yield ("ended",)

    def end(self, *, kill: bool = False) -> str:
        """End or kill the process and return how it ended."""
        if kill:
            self._process.kill()
        else:
            self._send(None)
        try:
            code = self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            code = self._process.wait()
        self.connection.close()
        if code >= 0:
            return f"process ended with exit code {code}"
        return f"process was killed by signal {-code} ({signal.Signals(-code).name})"


@contextlib.contextmanager
def _signals_blocked() -> Iterator[None]:
    """Block the worker's signals while a process starts: SLURM sends them to every process of a job."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, WORKERS_SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
