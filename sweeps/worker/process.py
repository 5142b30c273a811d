"""One training process: started by a worker, imports torch once, trains many models, writes their records.

It communicates with its worker through a pipe. Messages to the worker are tuples:

    ("ready",)                              the trainer is open
    ("predictor", predictor)                predicts the times of trainings on this device
    ("unusable", message)                   the trainer cannot be opened; not a model failure
    ("epoch", key, epochs_done)
    ("recorded", key)                       the record is on disk
    ("stopped", key)                        stopped at its checkpoint, as requested
    ("crowded", key)                        out of memory while others may use the same device
    ("lost", key)                           CUDA context lost, possibly by the fault of another process on the device
    ("failed", key, message)                the training function raised an exception
    ("disk", message)                       the record or the checkpoint cannot be written
    ("damaged", message)                    an image cannot be read; not a model failure
"""

from __future__ import annotations

import contextlib
import errno
import faulthandler
import os
import queue
import signal
import socket
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

from designspace.study import Record, Study, StudyModel, trainings
from designspace.times import TimePredictor, load_constants
from sweeps.data import ImageError
from sweeps.stop import WORKERS_SIGNALS
from sweeps.stopping import stopping_rule
from sweeps.study.early_stopping import EarlyStopping
from sweeps.study.predict import save_constants, start_measuring
from sweeps.worker.task import ContextLost, Task, Trainer, find_trainer

WRITE_ATTEMPTS = 5
"""Attempts to write a record, with pauses that double from a quarter of a second."""


DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.ESTALE)


class Assignment(NamedTuple):
    """A model, the number of this attempt (from 1), its fraction of the device, time limit and prediction.

    `may_be_crowded`: others may train on the same device, so a training that runs out of memory or loses its CUDA
    context is repeated alone.
    """

    model: StudyModel
    attempt: int
    may_be_crowded: bool
    device_share: float
    deadline_seconds: float | None
    predicted_seconds: float | None


def record_of(study: Study, model: StudyModel, record: Record, **fields: Any) -> Record:
    """Return the record of a training with the model's identity in the study; ValueError if a value is not valid."""
    identity = {
        "spec_id": model.spec_id,
        "recipe_id": study.recipe_id(model),
        "data_id": study.manifest["data_id"],
        "seed": model.seed,
        "space": model.space,
        "index": model.index,
        "spec": model.spec,
        "parameters": model.parameters,
        "proposed_by": model.proposed_by,
        "macs": model.macs,
        "params": model.params,
        "acts": model.acts,
        "depth": model.depth,
    }
    # Validate the values of a user's trainer.
    return Record.from_json(replace(record, **identity, **fields).to_json())


def write_with_retries(study: Study, model: StudyModel, record: Record) -> None:
    """Write a record; retry for a few seconds if the disk is full.

    Raises:
        OSError: the disk stays full or is not writable.
    """
    for attempt in range(WRITE_ATTEMPTS):
        try:
            study.write_record(model, record)
            return
        except OSError:
            if attempt == WRITE_ATTEMPTS - 1 or study.is_gone():
                raise
            time.sleep(0.25 * 2**attempt)


def _one_line(error: BaseException) -> str:
    # File names may contain bytes that are not UTF-8; a claim is JSON.
    text = " ".join(str(error).encode(errors="backslashreplace").decode().split())
    return f"{type(error).__name__}: {text[:500]}" if text else type(error).__name__


class Stopped(Exception):
    """The training was stopped at its checkpoint."""


def serve(connection: Connection, root: str, trainer: str, settings: dict[str, Any], log_file: Path | None) -> None:
    """Train the models that arrive through the pipe until None arrives.

    Args:
        connection: the pipe; when it closes, the worker is gone and this process exits.
        root: the study folder.
        trainer: import path of the trainer.
        settings: settings of the trainer beyond the study's config.
        log_file: file for all output, including that of libraries and crashes.
    """
    # If the folder of the log was deleted, the output stays with the worker's.
    if log_file is not None:
        with contextlib.suppress(OSError), open(log_file, "ab") as stream:
            os.dup2(stream.fileno(), 1)
            os.dup2(stream.fileno(), 2)
    faulthandler.enable()
    for number in WORKERS_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, WORKERS_SIGNALS)
    tasks: queue.SimpleQueue[Assignment | None] = queue.SimpleQueue()
    stop = threading.Event()
    threading.Thread(target=_listen, args=(connection, tasks, stop), daemon=True).start()
    try:
        study = Study.open(root)
        opened = find_trainer(trainer)({**study.config, **settings})
        _check_identity(study, opened)
        predictor = _predictor(study, opened)
    except Exception as error:
        connection.send(("unusable", _one_line(error)))
        return
    epochs = (study.config.get("recipe") or {}).get("epochs", 0)
    rule = stopping_rule(study.config)
    early_stopping = None if rule is None else EarlyStopping(study, rule, epochs)
    if predictor is not None:
        connection.send(("predictor", predictor))
    connection.send(("ready",))
    while (assignment := tasks.get()) is not None:
        model, attempt, may_be_crowded, share, deadline, predicted = assignment
        key, checkpoint = model.key, study.paths.checkpoint(model.key)

        def on_epoch(
            epochs_done: int, errors: Sequence[float] = (), key: str = key, checkpoint: Path = checkpoint
        ) -> None:
            connection.send(("epoch", key, epochs_done, tuple(errors)))
            # After the last epoch comes the record; without a checkpoint stopping would lose the training.
            if stop.is_set() and epochs_done < epochs and checkpoint.exists():
                raise Stopped

        def should_stop(errors: Sequence[float | None], model: StudyModel = model) -> bool:
            return early_stopping is not None and early_stopping.should_stop(model, errors)

        try:
            record = opened.train(Task(model, on_epoch, checkpoint, should_stop, deadline, predicted))
            if predictor is None and (predictor := load_constants(study.paths.times, opened.measured_on)) is not None:
                connection.send(("predictor", predictor))  # measured by another process in the meantime
                predicted = predictor.training_seconds(model)
            record = record_of(study, model, record, attempts=attempt, predicted_seconds=predicted, device_share=share)
        except Stopped:
            connection.send(("stopped", key))
            continue
        except ImageError as error:
            connection.send(("damaged", str(error)))
            return
        except ContextLost as error:
            connection.send(("lost", key) if may_be_crowded else ("failed", key, _one_line(error)))
            return
        except Exception as error:
            # CUDA errors persist, so this process reports the error and ends; a new one continues.
            is_disk = isinstance(error, OSError) and (error.errno in DISK_ERRORS or study.is_gone())
            connection.send(("disk", _one_line(error)) if is_disk else ("failed", key, _one_line(error)))
            return
        if record.status == "out_of_memory" and may_be_crowded:  # it may fit alone
            connection.send(("crowded", key))
            continue
        try:
            write_with_retries(study, model, record)
        except OSError as error:
            connection.send(("disk", _one_line(error)))
            return
        checkpoint.unlink(missing_ok=True)
        connection.send(("recorded", key))


def main() -> None:
    """Run a training process; the only argument is the file descriptor of the pipe."""
    connection = Connection(int(sys.argv[1]))
    with contextlib.suppress(EOFError):  # the worker is gone already
        serve(connection, *connection.recv())


def _check_identity(study: Study, trainer: Trainer) -> None:
    """Raise ValueError unless data and recipe are those the study was frozen with; data may differ between machines."""
    for name, here in trainer.identity.items():
        if here != study.manifest[name]:
            raise ValueError(
                f"{name} = {here} on {socket.gethostname()}: must be {study.manifest[name]}, the study's {name}"
            )


def _predictor(study: Study, trainer: Trainer) -> TimePredictor | None:
    """The study's time constants for this kind of device, measured now if none exist; None if not available yet."""
    if trainer.measure_times is None:
        return None
    folder, here = study.paths.times, trainer.measured_on
    before = load_constants(folder, here)
    if before is not None or not start_measuring(folder, here):
        return before
    measured = trainer.measure_times(trainings(study.models))
    return None if measured is None else save_constants(folder, here, measured)


def _listen(connection: Connection, tasks: queue.SimpleQueue[Assignment | None], stop: threading.Event) -> None:
    while True:
        try:
            task = connection.recv()
        except (EOFError, OSError):
            os._exit(1)  # the worker died: do not continue unsupervised
        if task == "stop":
            stop.set()
            continue
        tasks.put(task)
        if task is None:
            return
