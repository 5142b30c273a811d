"""A worker: takes models from the study in index order and supervises K training processes.

A training process may die in any way (SIGKILL, os._exit, out of memory). Its worker sees the pipe close, counts a
failed attempt, starts a new process and continues. A model without attempts left gets a record with status "crashed".

When a stop is requested (SIGTERM, or the batch system's warning), the worker stops taking models, lets the current
trainings reach their next checkpoint, releases its claims and ends; see `sweeps.stop`.
"""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from multiprocessing import connection as pipes
from pathlib import Path
from typing import TYPE_CHECKING, Any

from designspace.study import Record, Study, StudyModel, now
from designspace.times import TimePredictor
from sweeps.resources import visible_gpus
from sweeps.stop import StopSignals
from sweeps.study.claims import Claims
from sweeps.study.predict import NO_LIMIT, TimeLimit
from sweeps.worker.child import TrainingProcess
from sweeps.worker.process import Assignment, record_of, write_with_retries

if TYPE_CHECKING:
    from sweeps.search.proposals import Proposer

log = logging.getLogger(__name__)

LOOK_SECONDS = 2.0
"""How long a worker keeps its list of the records; a model's own record is checked again before training."""

LAST_ROUND = 2
"""The longest trainings go first once at most this many models per training process are left."""

EARLY_DEATHS = 3
"""Training processes that may die in a row before they are ready."""

MOST_TAKEOVERS = 10
"""Workers that may vanish while training a model before it is recorded as crashed."""

HANGING_SECONDS = 60.0
"""A training process that exceeds twice the time limit of its model by this is unresponsive and is killed."""


class WorkerError(RuntimeError):
    """The worker cannot continue; not a model failure."""


def moved_or_deleted(study: Study) -> WorkerError:
    """Return the error for a study folder that disappeared."""
    return WorkerError(
        f"run = {study.paths.root}: the study folder was moved or deleted; if it was moved, repeat the command "
        "with the new folder"
    )


def training_order(
    free: Sequence[StudyModel], processes: int, seconds: Callable[[StudyModel], float]
) -> list[StudyModel]:
    """Order the models that nobody trains: as given, but longest first in the last round.

    Index order makes the records so far a fair sample of every space. A long training at the very end would leave the
    other processes idle.

    Args:
        free: the models, in index order.
        processes: training processes of all workers.
        seconds: training time of a model, in any unit.
    """
    if len(free) > LAST_ROUND * processes:
        return list(free)
    return sorted(free, key=lambda model: -seconds(model))


class Queue:
    """A worker's queue: models without a record in `training_order`, and retries.

    A search extends the study by a proposal when no other model is free.

    Args:
        study: the study.
        claims: the worker's view of the claims folder; taking a model claims it.
    """

    def __init__(self, study: Study, claims: Claims) -> None:
        self._study = study
        self._claims = claims
        self._todo = study.models_to_train()
        self._proposer: Proposer | None = None
        self._cleared = False
        self._retry: list[StudyModel] = []
        self._crowded: list[StudyModel] = []
        self._seconds: Callable[[StudyModel], float] = lambda model: model.cost
        self._next_look = 0.0

    def __len__(self) -> int:
        return len(self._todo) + len(self._retry) + len(self._crowded) + self._to_propose()

    def _to_propose(self) -> int:
        return 0 if self._cleared else sum(self._study.trainings_to_propose.values())

    def predict_by(self, seconds: Callable[[StudyModel], float]) -> None:
        """Use these training times instead of the relative costs."""
        self._seconds = seconds

    def try_again(self, model: StudyModel) -> None:
        """Put back a model whose training failed; it stays claimed and comes next."""
        self._retry.append(model)

    def try_alone(self, model: StudyModel) -> None:
        """Put back a model whose failure other runs may have caused; it stays claimed, for `take_alone`."""
        self._crowded.append(model)

    def clear(self) -> None:
        """Leave all models to other workers."""
        self._cleared = True
        for models in (self._todo, self._retry, self._crowded):
            models.clear()

    def take_alone(self) -> StudyModel | None:
        """Take a model that must be trained alone; None if there is none."""
        return self._crowded.pop() if self._crowded else None

    def take(self) -> StudyModel | None:
        """Claim and return the next model; None if none is left or others hold the rest."""
        if self._retry:
            return self._retry.pop()
        if (model := self._take_free()) is not None or not self._to_propose():
            return model
        self._propose()
        return self._take_free()

    def _propose(self) -> None:
        """Extend the study by a proposal of the search, and by those that other workers have made."""
        if self._proposer is None:
            from sweeps.search.proposals import Proposer

            self._proposer = Proposer(self._study)
        self._set_study(self._proposer.propose(self._study))

    def finish(self) -> None:
        """Bring the journals of a search up to date, if this worker made proposals."""
        if self._proposer is not None:
            self._proposer.report(self._study)

    def _set_study(self, study: Study) -> None:
        if study is not self._study:
            known = {model.key for model in self._study.models}
            self._todo += [model for model in study.models_to_train() if model.key not in known]
            self._study = study

    def _take_free(self) -> StudyModel | None:
        if time.monotonic() >= self._next_look:  # listing thousands of files is slow on a shared file system
            if self._to_propose():
                self._set_study(self._study.with_new_proposals())
            recorded = self._study.recorded_keys() if self._todo else ()
            self._todo = [model for model in self._todo if model.key not in recorded]
            self._next_look = time.monotonic() + LOOK_SECONDS
        if not self._todo:
            return None
        foreign = self._claims.foreign()
        free = [model for model in self._todo if model.key not in foreign]
        held = [model for model in self._todo if model.key in foreign]  # last, in case their workers are gone
        processes = len(foreign) + len(self._claims.mine) + 1
        for model in training_order(free, processes, self._seconds) + held:
            if self._claims.take(model.key):
                self._todo.remove(model)
                if not self._study.paths.record(model.key).exists():
                    return model
                self._claims.release(model.key)  # finished since the list was read
        return None


class Worker:
    """Trains models until none is left.

    Args:
        study: the study.
        claims: this worker's view of the claims folder.
        trainer: import path of the trainer.
        processes: how many training processes, at least 1.
        attempts: how many processes a model may crash before it is recorded as failed, at least 1.
        first_slot: slot of the first process; other workers on this machine use lower ones.
        heartbeat_seconds: interval between refreshes of the claims.
        limit: how long a training may take.
        hanging_seconds: see HANGING_SECONDS.
        stop_seconds: how long to wait for trainings after a stop was requested.
        settings: settings of the trainer beyond the study's config.
        log_file: output of the training processes.
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
        limit: TimeLimit = NO_LIMIT,
        hanging_seconds: float = HANGING_SECONDS,
        stop_seconds: float = 60.0,
        settings: Mapping[str, Any] | None = None,
        log_file: Path | None = None,
    ) -> None:
        for field, value in (("processes", processes), ("attempts", attempts)):
            if value < 1:
                raise ValueError(f"{field} = {value}: must be at least 1")
        self._study = study
        self._claims = claims
        self._trainer = trainer
        self._slots = range(first_slot, first_slot + processes)
        self._gpus = visible_gpus(study.config.get("device", {}).get("device", "auto"))
        self._attempts = attempts
        self._heartbeat_seconds = heartbeat_seconds
        self._limit = limit
        self._hanging_seconds = hanging_seconds
        self._stop_seconds = stop_seconds
        self._settings = {"processes": processes, **(settings or {})}
        self._log_file = log_file
        self._queue = Queue(study, claims)
        self._predictor: TimePredictor | None = None
        self._stop = StopSignals()
        self._stop_by: float | None = None
        self._processes: list[TrainingProcess] = []
        self._early_deaths = 0
        self._next_beat = time.monotonic() + heartbeat_seconds

    def run(self) -> None:
        """Work until every model has a record, including models that other workers abandon.

        Raises:
            WorkerError: training processes cannot start, or the study folder cannot be written.
            KeyboardInterrupt: on Ctrl-C, after the claims are released.
            SystemExit: a stop was requested; raised after the claims are released.
        """
        try:
            with self._stop:
                for slot in self._slots[: len(self._queue)]:
                    self._start(slot)
                while self._assign() and not self._out_of_time():
                    self._listen()
                    self._beat()
                if self._stop_by is None:
                    for process in self._processes:
                        process.end()
                    self._processes.clear()
                    self._queue.finish()
        except OSError as error:
            raise self._not_writable(error) from error
        finally:
            for process in self._processes:
                process.end(kill=True)
            for key in self._claims.mine:
                self._claims.release(key)
        if self._stop_by is not None:
            self._stop.forward_signal()

    def _not_writable(self, reason: object) -> WorkerError:
        root = self._study.paths.root
        if self._study.is_gone():
            return moved_or_deleted(self._study)
        return WorkerError(
            f"run = {root}: the study folder cannot be written ({reason}); records are safe: free disk space and "
            "repeat the command"
        )

    def _out_of_time(self) -> bool:
        """Respond to a stop request; return whether the time to reach checkpoints is over."""
        if self._stop.received and self._stop_by is None:
            log.warning("stop requested: takes no new models and ends when the current trainings have a checkpoint")
            self._stop_by = time.monotonic() + self._stop_seconds
            self._queue.clear()
            for process in self._processes:
                process.stop()
        return self._stop_by is not None and time.monotonic() > self._stop_by

    def _start(self, slot: int) -> None:
        gpu = self._gpu(slot)
        self._processes.append(
            TrainingProcess(self._study, self._trainer, slot, self._settings, gpu=gpu, log_file=self._log_file)
        )

    def _gpu(self, slot: int) -> str | None:
        return self._gpus[slot % len(self._gpus)] if self._gpus else None

    def _assign(self) -> bool:
        """Assign a model to every free process; return whether to keep waiting."""
        none_free = False
        for process in self._processes:
            if not process.ready or process.model is not None:
                continue
            others = [mate for mate in self._processes if mate.gpu == process.gpu and mate.model is not None]
            if any(mate.alone for mate in others):
                continue
            self._beat()  # making a proposal may take seconds
            if not none_free and (model := self._next_model()) is not None:
                self._train(process, model, alone=False)
                continue
            none_free = True  # for all processes; listing the claims again is slow
            if not others and (model := self._queue.take_alone()) is not None:
                self._train(process, model, alone=True)
        return any(process.model is not None for process in self._processes) or bool(self._queue)

    def _next_model(self) -> StudyModel | None:
        while (model := self._queue.take()) is not None and self._claims.takeovers(model.key) > MOST_TAKEOVERS:
            self._give_up(model, MOST_TAKEOVERS, f"{MOST_TAKEOVERS} workers vanished while training it")
        return model

    def _train(self, process: TrainingProcess, model: StudyModel, *, alone: bool) -> None:
        attempt = len(self._claims.failures(model.key)) + 1 + alone  # the first attempt ran with others
        gpu = self._gpu(process.slot)
        at_once = 1 if alone else sum(self._gpu(slot) == gpu for slot in self._slots)
        # Other workers may use the same GPU.
        may_be_crowded = not alone and (at_once > 1 or gpu is not None)
        predicted = self._predictor.training_seconds(model) if self._predictor else None
        process.train(Assignment(model, attempt, may_be_crowded, 1 / at_once, self._limit.of(predicted), predicted))

    def _listen(self) -> None:
        timeout = max(0.0, self._next_beat - time.monotonic())
        if any(process.ready and process.model is None for process in self._processes):
            timeout = min(timeout, 0.5)  # only models of other workers are left: check again soon
        connections = [process.connection for process in self._processes]
        for ready in pipes.wait([self._stop.connection, *connections], timeout):
            if ready is self._stop.connection:
                self._stop.connection.recv_bytes()
                continue
            process = next(process for process in self._processes if process.connection is ready)
            for message in process.messages():
                self._handle(process, *message)

    def _handle(self, process: TrainingProcess, kind: str, *content: Any) -> None:
        match kind, content:
            case "ready", _:
                process.ready = True
                self._early_deaths = 0
            case "predictor", (predictor,):
                self._predictor = predictor
                self._queue.predict_by(predictor.training_seconds)
                for other in self._processes:
                    if other.model is not None:  # it started before there was a prediction
                        other.limit(self._limit.of(predictor.training_seconds(other.model)))
            case "epoch", (key, epoch, errors):
                self._claims.note_epoch(key, epoch, errors)
            case "recorded" | "stopped", (key,):
                self._claims.release(key)
                process.model = None
            case "crowded", _:
                assert process.model is not None
                self._queue.try_alone(process.model)
                process.model = None
            case "lost", _:
                process.lost_context = True
            case "failed", (_, message):
                process.failure = message
            case "unusable", (message,):
                raise WorkerError(f"the training processes cannot start: {message}")
            case "damaged", (message,):
                raise WorkerError(message)
            case "disk", (message,):
                raise self._not_writable(message)
            case "ended", _:
                self._on_exit(process)

    def _on_exit(self, process: TrainingProcess) -> None:
        how = process.end(kill=True)
        self._processes.remove(process)
        if self._stop_by is not None:
            return  # the job is ending: not a model failure
        if process.model is not None and process.lost_context:
            log.warning("%s: CUDA context lost; trained again alone", process.model.key)
            self._queue.try_alone(process.model)
        elif process.model is not None:
            self._count_failure(process.model, process.failure or how, alone=process.alone)
        elif not process.ready:
            self._early_deaths += 1
            if self._early_deaths == EARLY_DEATHS:
                raise WorkerError(
                    f"{EARLY_DEATHS} training processes in a row ended before they were ready; the last {how}"
                )
        if self._queue:
            self._start(process.slot)

    def _count_failure(self, model: StudyModel, how: str, *, alone: bool) -> None:
        failures = self._claims.add_failure(model.key, how)
        attempt = len(failures)
        log.warning("%s model %d, attempt %d of %d: %s", model.space, model.index, attempt, self._attempts, how)
        if self._study.paths.record(model.key).exists():  # it died after writing the record
            self._claims.release(model.key)
        elif attempt < self._attempts:
            (self._queue.try_alone if alone else self._queue.try_again)(model)
        else:
            self._give_up(model, attempt, "; ".join(dict.fromkeys(failures)) + f" ({attempt} attempts)")

    def _give_up(self, model: StudyModel, attempts: int, message: str) -> None:
        failure = Record("", "", "", 0, "crashed", message=message, host=socket.gethostname(), started_at=now())
        write_with_retries(self._study, model, record_of(self._study, model, failure, attempts=attempts))
        self._claims.release(model.key)

    def _beat(self) -> None:
        now = time.monotonic()
        if now < self._next_beat:
            return
        self._next_beat = now + self._heartbeat_seconds
        if self._study.is_gone():
            raise moved_or_deleted(self._study)
        for key in self._claims.mine:
            self._claims.beat(key)
        for process in self._processes:
            if process.seconds_over_limit(now) > self._hanging_seconds:
                log.warning("process %s does not respond to the time limit of its model: killed", process.pid)
                process.kill()
