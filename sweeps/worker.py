"""A worker: takes models from the study, the most expensive first, and supervises K training processes.

A training process may die in any way (SIGKILL, os._exit, out of memory): its worker sees the pipe close, counts a
failed attempt, starts a new process and goes on. A model that used up its attempts gets a record with status "crashed".
"""

from __future__ import annotations

import contextlib
import logging
import signal
import socket
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from multiprocessing import connection as pipes
from pathlib import Path
from typing import Any

from sweeps.child import TrainingProcess
from sweeps.claims import Claims
from sweeps.process import record_of, write_patiently
from sweeps.study import Study, StudyModel, now

log = logging.getLogger(__name__)

EARLY_DEATHS = 3
"""Training processes that may die in a row before they are ready."""


_NOT_WRITABLE = (
    "the study folder '{}' cannot be written ({}); nothing recorded is lost: make room and run the same command again"
)


class WorkerError(RuntimeError):
    """The worker cannot go on, and no model is to blame; the message is one sentence."""


class Worker:
    """Pulls models until none is left.

    Args:
        study: the study.
        claims: this worker's view of the claims folder.
        trainer: import path of the trainer.
        processes: how many training processes, at least 1.
        attempts: how often a model may bring its process down before it is a failed model, at least 1.
        first_slot: slot of the first process (other workers of this machine have the lower ones).
        heartbeat_seconds: how often the claims are refreshed.
        kill_after_seconds: end a process that trains one model for longer than this; None waits for ever.
        log_file: collects what the training processes print.
    """

    def __init__(
        self,
        study: Study,
        claims: Claims,
        *,
        trainer: str,
        processes: int = 1,
        attempts: int = 2,
        first_slot: int = 0,
        heartbeat_seconds: float = 5.0,
        kill_after_seconds: float | None = None,
        log_file: Path | None = None,
    ) -> None:
        for field, value in (("processes", processes), ("attempts", attempts)):
            if value < 1:
                raise ValueError(f"{field}={value} is not allowed; allowed: 1 or more")
        self._study = study
        self._claims = claims
        self._trainer = trainer
        self._slots = range(first_slot, first_slot + processes)
        self._attempts = attempts
        self._heartbeat_seconds = heartbeat_seconds
        self._kill_after_seconds = kill_after_seconds
        self._log_file = log_file
        self._todo = study.models_to_train()
        self._retry: list[StudyModel] = []
        self._failures: dict[str, list[str]] = defaultdict(list)
        self._processes: list[TrainingProcess] = []
        self._early_deaths = 0
        self._next_beat = time.monotonic() + heartbeat_seconds

    def run(self) -> None:
        """Work until every model has a record, also those that other workers leave behind.

        Raises:
            WorkerError: training processes cannot start, or the study folder cannot be written.
            KeyboardInterrupt: on Ctrl-C and on SIGTERM; claims are given back before.
        """
        try:
            with _sigterm_interrupts():
                for slot in self._slots[: len(self._todo)]:
                    self._start(slot)
                while self._assign():
                    self._listen()
                    self._beat()
                for process in self._processes:
                    process.end()
                self._processes.clear()
        except OSError as error:
            raise WorkerError(_NOT_WRITABLE.format(self._study.paths.root, error)) from error
        finally:
            for process in self._processes:
                process.end(kill=True)
            for key in self._claims.mine:
                self._claims.release(key)

    def _start(self, slot: int) -> None:
        self._processes.append(TrainingProcess(self._study, self._trainer, slot, self._log_file))

    def _assign(self) -> bool:
        """Give every free process a model; tell whether anything is left to wait for."""
        busy = False
        for process in self._processes:
            if process.ready and process.model is None and (model := self._next_model()) is not None:
                process.train(model, len(self._failures[model.key]) + 1)
            busy = busy or process.model is not None
        return busy or bool(self._todo) or bool(self._retry)

    def _next_model(self) -> StudyModel | None:
        if self._retry:
            return self._retry.pop()
        if not self._todo:
            return None
        recorded = self._study.recorded_keys()
        self._todo = [model for model in self._todo if model.key not in recorded]
        foreign = self._claims.foreign()
        # Free models first; then those another worker holds, in case it is gone.
        for model in sorted(self._todo, key=lambda model: model.key in foreign):
            if self._claims.take(model.key):
                self._todo.remove(model)
                if not self._study.paths.record(model.key).exists():
                    return model
                self._claims.release(model.key)  # finished between our two looks
        return None

    def _listen(self) -> None:
        timeout = max(0.0, self._next_beat - time.monotonic())
        if any(process.ready and process.model is None for process in self._processes):
            timeout = min(timeout, 0.5)  # only others' models are left: look again soon
        for ready in pipes.wait([process.connection for process in self._processes], timeout):
            process = next(process for process in self._processes if process.connection is ready)
            for message in process.messages():
                self._handle(process, *message)

    def _handle(self, process: TrainingProcess, kind: str, *content: Any) -> None:
        match kind, content:
            case "ready", _:
                process.ready = True
                self._early_deaths = 0
            case "epoch", (key, epoch):
                self._claims.note_epoch(key, epoch)
            case "recorded", (key,):
                self._claims.release(key)
                process.model = None
            case "failed", (_, sentence):
                process.failure = sentence
            case "unusable", (sentence,):
                raise WorkerError(f"the training processes cannot start: {sentence}")
            case "disk", (sentence,):
                raise WorkerError(_NOT_WRITABLE.format(self._study.paths.root, sentence))
            case "ended", _:
                self._bury(process)

    def _bury(self, process: TrainingProcess) -> None:
        how = process.end(kill=True)
        self._processes.remove(process)
        if process.model is not None:
            self._count_failure(process.model, process.failure or how)
        elif not process.ready:
            self._early_deaths += 1
            if self._early_deaths == EARLY_DEATHS:
                raise WorkerError(
                    f"{EARLY_DEATHS} training processes in a row ended before they were ready: the last {how}"
                )
        if self._todo or self._retry:
            self._start(process.slot)

    def _count_failure(self, model: StudyModel, how: str) -> None:
        failures = self._failures[model.key]
        failures.append(how)
        attempt = len(failures)
        log.warning("%s model %d, attempt %d of %d: %s", model.space, model.index, attempt, self._attempts, how)
        if self._study.paths.record(model.key).exists():  # it died after the work was done
            self._claims.release(model.key)
        elif attempt < self._attempts:
            self._retry.append(model)
        else:
            message = "; ".join(dict.fromkeys(failures)) + f" ({attempt} attempts)"
            fields = {"status": "crashed", "message": message, "host": socket.gethostname(), "started_at": now()}
            write_patiently(self._study, model, record_of(self._study, model, attempt, fields))
            self._claims.release(model.key)

    def _beat(self) -> None:
        now = time.monotonic()
        if now < self._next_beat:
            return
        self._next_beat = now + self._heartbeat_seconds
        for key in self._claims.mine:
            self._claims.beat(key)
        for process in self._processes:
            if self._kill_after_seconds and process.model and now - process.began > self._kill_after_seconds:
                log.warning(
                    "process %s trains for more than %.0f s and is ended", process.pid, self._kill_after_seconds
                )
                process.kill()


@contextlib.contextmanager
def _sigterm_interrupts() -> Iterator[None]:
    """Let SIGTERM end the worker as Ctrl-C does, unless somebody else handles it."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    in_charge = (
        threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    )
    if in_charge:
        signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        if in_charge:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
