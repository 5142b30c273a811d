"""Requests to stop: SIGTERM and the batch system's warning, which comes before a preemption or the time limit.

SLURM sends the warning because submitit asks for it (`--signal=USR2@seconds`). submitit's own handler would end the
worker on the spot; here the signal is only noted, the worker finishes what it can, and then hands the signal on.
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
"""What submitit has SLURM send; its name for the setting is used as it is."""

WORKERS_SIGNALS = (signal.SIGINT, signal.SIGTERM, WARNING)
"""Signals that reach every process of a terminal or a job; the worker decides what happens to its processes."""


class StopSignals:
    """Notes the signals while the block runs, instead of dying of them; only in the main thread of a process."""

    def __init__(self) -> None:
        self.received: set[int] = set()
        self._before: dict[int, Any] = {}
        # A connection that becomes readable wakes a worker that waits for its training processes.
        self.connection, self._bell = Pipe(duplex=False)

    def __enter__(self) -> StopSignals:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, WARNING):
                before = signal.getsignal(number)
                # Somebody else's handler stays, but submitit's: it waits behind ours.
                if before == signal.SIG_DFL or _is_submitits(before):
                    self._before[number] = before
                    signal.signal(number, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        for number, before in self._before.items():
            signal.signal(number, before)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.received.add(number)
        self._bell.send_bytes(b"!")

    def forward_signal(self) -> None:
        """Do what the signals ask for, after the block: submitit requeues its job, all else ends the process.

        Raises:
            SystemExit: always, unless submitit raises its own error because the job may not be requeued again.
        """
        before: Callable[[int, FrameType | None], object] | int | None = self._before.get(WARNING)
        if callable(before) and (WARNING in self.received or _preempted()):
            before(WARNING, None)
        # No Exception: nobody may take this for an error of the study, and submitit must not note the job as finished.
        raise SystemExit(128 + min(self.received))


def _preempted() -> bool:
    """Tell whether SIGTERM came because SLURM gives the job's place to another, not because somebody cancelled it.

    SLURM requeues a preempted job that it had to kill, but one that ends by itself in its time of grace is done for it.
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
