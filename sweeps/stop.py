"""Stop requests: SIGTERM, and the warning signal that a batch system sends before preemption or the time limit.

SLURM sends the warning because submitit requests it (`--signal=USR2@seconds`). submitit's own handler would end the
worker at once. `StopSignals` records the signal instead, the worker reaches its checkpoints, and then forwards it.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import threading
from collections.abc import Callable
from multiprocessing import Pipe
from types import FrameType
from typing import Any

WARNING = getattr(signal, "SIG" + os.environ.get("SUBMITIT_PREEMPT_SIGNAL", "USR2"), signal.SIGUSR2)
"""The signal that submitit requests from SLURM, by its own environment variable."""

WORKERS_SIGNALS = (signal.SIGINT, signal.SIGTERM, WARNING)
"""Signals that reach every process of a terminal or job; only the worker responds."""


class StopSignals:
    """Records signals while the block runs instead of ending the process; in the main thread only."""

    def __init__(self) -> None:
        self.received: set[int] = set()
        self._before: dict[int, Any] = {}
        # A readable connection wakes a worker that waits for its training processes.
        self.connection, self._wake = Pipe(duplex=False)

    def __enter__(self) -> StopSignals:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, WARNING):
                before = signal.getsignal(number)
                # Replace only submitit's handler, which `forward_signal` calls later.
                if before == signal.SIG_DFL or _is_submitits(before):
                    self._before[number] = before
                    signal.signal(number, self._record)
        return self

    def __exit__(self, *_: object) -> None:
        for number, before in self._before.items():
            signal.signal(number, before)

    def _record(self, number: int, frame: FrameType | None) -> None:
        self.received.add(number)
        self._wake.send_bytes(b"!")

    def forward_signal(self) -> None:
        """Respond to the recorded signals, after the block: submitit requeues its job, otherwise the process ends.

        Raises:
            SystemExit: always, unless submitit raises an error because the job may not be requeued again.
        """
        before: Callable[[int, FrameType | None], object] | int | None = self._before.get(WARNING)
        if callable(before) and (WARNING in self.received or _preempted()):
            before(WARNING, None)
        # Not an Exception: a stop is not an error, and submitit must not mark the job as finished.
        raise SystemExit(128 + min(self.received))


def _preempted() -> bool:
    """Whether SIGTERM came from a preemption, not from a cancellation.

    SLURM requeues a preempted job that it kills, but not one that exits within its grace time.
    """
    task = os.environ.get("SLURM_ARRAY_TASK_ID")
    job = f"{os.environ['SLURM_ARRAY_JOB_ID']}_{task}" if task else os.environ.get("SLURM_JOB_ID")
    if job is None:
        return False
    try:
        state = subprocess.run(
            ["scontrol", "show", "job", "-o", job], capture_output=True, text=True, timeout=30
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return False
    return "JobState=RUNNING" in state and re.search(r"PreemptTime=\d", state) is not None


def _is_submitits(handler: object) -> bool:
    return getattr(handler, "__module__", "").startswith("submitit.")
