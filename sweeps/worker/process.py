"""One training process: started by a worker, imports torch once, trains many models, writes their records.

It talks to its worker through one pipe. Messages to the worker are tuples whose first item says what happened:

    ("ready",)                              the trainer is open
    ("predictor", predictor)                predicts the times of trainings on this device
    ("unusable", sentence)                  the trainer cannot be opened; not a model failure
    ("epoch", key, epochs_done)
    ("recorded", key)                       the record is on disk
    ("stopped", key)                        left at its checkpoint, as asked
    ("crowded", key)                        out of memory where others may train on the same device
    ("failed", key, sentence)               an exception came out of the training function
    ("disk", sentence)                      the record or the checkpoint cannot be written
    ("damaged", sentence)                   an image cannot be read; not a model failure
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
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

from designspace.study import Record, Study, StudyModel, trainings
from sweeps.damage import ImageError
from sweeps.stop import WORKERS_SIGNALS
from sweeps.study.predict import TimePredictor, begin, keep, known
from sweeps.training import Task, Trainer, find_trainer

WRITE_ATTEMPTS = 5
"""How often a record is tried to be written, with a pause that doubles from a quarter of a second."""


DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.ESTALE)


class Assignment(NamedTuple):
    """A model, the number of this attempt at it (from 1), its part of the device, limit and prediction.

    `may_be_crowded` says that others may train beside it: out of memory, it is tried again.
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
        "recipe_id": study.manifest["recipe_id"],
        "data_id": study.manifest["data_id"],
        "seed": model.seed,
        "space": model.space,
        "index": model.index,
        "spec": model.spec,
        "parameters": model.parameters,
        "macs": model.macs,
        "params": model.params,
        "acts": model.acts,
        "depth": model.depth,
    }
    # Once written it can be read again, whatever a trainer gives.
    return Record.from_json(replace(record, **identity, **fields).to_json())


def write_patiently(study: Study, model: StudyModel, record: Record) -> None:
    """Write a record; a full disk gets a few seconds to be relieved.

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


def _one_sentence(error: BaseException) -> str:
    # The name of a file can have bytes that are not UTF-8, which a claim cannot have.
    text = " ".join(str(error).encode(errors="backslashreplace").decode().split())
    return f"{type(error).__name__}: {text[:500]}" if text else type(error).__name__


class Stopped(Exception):
    """The training was left at its checkpoint."""


def serve(connection: Connection, root: str, trainer: str, settings: dict[str, Any], log_file: Path | None) -> None:
    """Train the models that come through the pipe until None comes.

    Args:
        connection: the pipe; its end means the worker is gone, and this process ends at once.
        root: the study folder.
        trainer: import path of the trainer.
        settings: settings of the trainer beyond the study's config.
        log_file: where everything printed goes, also by libraries and by a crash.
    """
    # Where the folder of the log was deleted, the output goes where the worker's goes.
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
        connection.send(("unusable", _one_sentence(error)))
        return
    epochs = (study.config.get("recipe") or {}).get("epochs", 0)
    if predictor is not None:
        connection.send(("predictor", predictor))
    connection.send(("ready",))
    while (assignment := tasks.get()) is not None:
        model, attempt, may_be_crowded, share, deadline, predicted = assignment
        key, checkpoint = model.key, study.paths.checkpoint(model.key)

        def on_epoch(epoch: int, key: str = key, checkpoint: Path = checkpoint) -> None:
            connection.send(("epoch", key, epoch))
            # The last epoch leads to a record; and a training without a checkpoint gains nothing by being left.
            if stop.is_set() and epoch < epochs and checkpoint.exists():
                raise Stopped

        try:
            record = opened.train(Task(model, on_epoch, checkpoint, deadline, predicted))
            if predictor is None and (predictor := known(study.paths.times, opened.measured_on)) is not None:
                connection.send(("predictor", predictor))  # another process has measured in the meantime
                predicted = predictor.training_seconds(model)
            record = record_of(study, model, record, attempts=attempt, predicted_seconds=predicted, device_share=share)
        except Stopped:
            connection.send(("stopped", key))
            continue
        except ImageError as error:
            connection.send(("damaged", str(error)))
            return
        except Exception as error:
            # The process may be spoiled (CUDA errors stick): it reports and ends, and a fresh one goes on.
            of_disk = isinstance(error, OSError) and (error.errno in DISK_ERRORS or study.is_gone())
            connection.send(("disk", _one_sentence(error)) if of_disk else ("failed", key, _one_sentence(error)))
            return
        if record.status == "out_of_memory" and may_be_crowded:  # alone it may fit
            connection.send(("crowded", key))
            continue
        try:
            write_patiently(study, model, record)
        except OSError as error:
            connection.send(("disk", _one_sentence(error)))
            return
        checkpoint.unlink(missing_ok=True)
        connection.send(("recorded", key))


def main() -> None:
    """Be a training process; the only argument is the number of the pipe's file descriptor."""
    connection = Connection(int(sys.argv[1]))
    with contextlib.suppress(EOFError):  # the worker is gone already
        serve(connection, *connection.recv())


def _check_identity(study: Study, trainer: Trainer) -> None:
    """ValueError unless what is here is what the study was frozen with: data may differ from machine to machine."""
    for name, here in trainer.identity.items():
        if here != study.manifest[name]:
            raise ValueError(
                f"{name} is {here} on {socket.gethostname()}, and {study.manifest[name]} in the study: "
                f"the {name.removesuffix('_id')} is not what the study was frozen with"
            )


def _predictor(study: Study, trainer: Trainer) -> TimePredictor | None:
    """The constants that this study has for this kind of device, measured now if nobody did; None if not known yet."""
    if trainer.measure_times is None:
        return None
    folder, here = study.paths.times, trainer.measured_on
    before = known(folder, here)
    if before is not None or not begin(folder, here):
        return before
    measured = trainer.measure_times(trainings(study.models))
    return None if measured is None else keep(folder, here, measured)


def _listen(connection: Connection, tasks: queue.SimpleQueue[Assignment | None], stop: threading.Event) -> None:
    while True:
        try:
            task = connection.recv()
        except (EOFError, OSError):
            os._exit(1)  # the worker died: no process may go on unseen
        if task == "stop":
            stop.set()
            continue
        tasks.put(task)
        if task is None:
            return
