"""The worker's end of a training process: start it, send it models, receive its messages, report how it ended."""

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


class TrainingProcess:
    """The worker's end of one training process.

    Args:
        study: the study it works on.
        trainer: import path of the trainer.
        slot: number of the process on its machine.
        gpu: the GPU it trains on, as CUDA_VISIBLE_DEVICES names it; None leaves it what the worker sees.
        settings: settings of the trainer beyond the study's config.
        log_file: where its output goes; None leaves it where the worker's goes.
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
        self.failure = ""
        self._kill_from = float("inf")
        # A plain program rather than multiprocessing.Process: that one repeats how its parent was started, which fails
        # inside the processes of joblib, and imports the parent's main module.
        with _signals_held_back():
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-c", "from sweeps.worker.process import main; main()", str(far_end.fileno())],
                pass_fds=[far_end.fileno()],
                stdin=subprocess.DEVNULL,
                env=os.environ
                | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
                | ({} if gpu is None else {"CUDA_VISIBLE_DEVICES": gpu}),  # a process sees but one slice of a GPU
            )
        far_end.close()  # ours must close when the process dies
        self._send((str(study.paths.root), trainer, dict(settings), log_file))

    @property
    def pid(self) -> int:
        """Process number."""
        return self._process.pid

    def kill(self) -> None:
        """Kill the process; its pipe then reports the end."""
        self._process.kill()

    def train(self, assignment: Assignment) -> None:
        """Send a model."""
        self.model = assignment.model
        self.alone = not assignment.may_be_crowded
        self.limit(assignment.deadline_seconds)
        self._send(assignment)

    def limit(self, seconds: float | None) -> None:
        """From now on the training may take so long; None: as long as it wants."""
        self._kill_from = float("inf") if seconds is None else time.monotonic() + 2 * seconds

    def seconds_over_limit(self, now: float) -> float:
        """Seconds, at a moment of the monotonic clock, since twice the time limit of the model in training."""
        return now - self._kill_from if self.model is not None else 0.0

    def stop(self) -> None:
        """Ask the process to leave the model in training at its next checkpoint."""
        self._send("stop")

    def _send(self, content: object) -> None:
        with contextlib.suppress(OSError):  # it is ending: its pipe reports that
            self.connection.send(content)

    def messages(self) -> Iterator[tuple[Any, ...]]:
        """Yield what the process has said; ("ended",) last if it is gone."""
        try:
            while self.connection.poll():
                yield self.connection.recv()
        except (EOFError, OSError):
            yield ("ended",)

    def end(self, *, kill: bool = False) -> str:
        """Let the process end, or kill it, and say how it ended."""
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
def _signals_held_back() -> Iterator[None]:
    """Start a process with the worker's signals blocked: SLURM sends them to every process of a job, also new ones."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, WORKERS_SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
