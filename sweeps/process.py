"""One training process: started by a worker, imports torch once, trains many models, writes their records.

It talks to its worker through one pipe. Messages to the worker are tuples whose first item says what happened:

    ("ready",)                              the trainer is open
    ("unusable", sentence)                  the trainer cannot be opened; no model is to blame
    ("epoch", key, epochs_done)
    ("recorded", key)                       the record is on disk
    ("failed", key, sentence)               an exception came out of the training function
    ("disk", sentence)                      the record cannot be written
"""

from __future__ import annotations

import contextlib
import faulthandler
import os
import queue
import signal
import sys
import threading
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from designspace.record import Record
from sweeps.study import Study, StudyModel
from sweeps.training import find_trainer

WRITE_ATTEMPTS = 5
"""How often a record is tried to be written, with a pause that doubles from a quarter of a second."""


Task = tuple[StudyModel, int]
"""A model and the number of this attempt at it, from 1."""


def record_of(study: Study, model: StudyModel, attempts: int, fields: dict[str, Any]) -> Record:
    """Return the record of a model from the fields its training gave."""
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
        "attempts": attempts,
    }
    return Record(**(identity | fields))


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
            if attempt == WRITE_ATTEMPTS - 1:
                raise
            time.sleep(0.25 * 2**attempt)


def _one_sentence(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:500]}" if text else type(error).__name__


def serve(connection: Connection, root: str, trainer: str, slot: int, log_file: Path | None) -> None:
    """Train the models that come through the pipe until None comes.

    Args:
        connection: the pipe; its end means the worker is gone, and this process ends at once.
        root: the study folder.
        trainer: import path of the trainer.
        slot: number of this process on its machine, from 0; chooses the device.
        log_file: where everything printed goes, also by libraries and by a crash.
    """
    if log_file is not None:
        with open(log_file, "ab") as stream:
            os.dup2(stream.fileno(), 1)
            os.dup2(stream.fileno(), 2)
    faulthandler.enable()
    # Ctrl-C reaches the whole process group; the worker decides what happens to its processes.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    tasks: queue.SimpleQueue[Task | None] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(connection, tasks), daemon=True).start()
    try:
        study = Study.open(root)
        train = find_trainer(trainer)(study.config, slot)
    except Exception as error:
        connection.send(("unusable", _one_sentence(error)))
        return
    connection.send(("ready",))
    while (task := tasks.get()) is not None:
        model, attempt = task
        key = model.key

        def on_epoch(epoch: int, key: str = key) -> None:
            connection.send(("epoch", key, epoch))

        try:
            record = record_of(study, model, attempt, train(model, on_epoch))
        except Exception as error:
            # The process may be spoiled (CUDA errors stick): it reports and ends, and a fresh one goes on.
            connection.send(("failed", key, _one_sentence(error)))
            return
        try:
            write_patiently(study, model, record)
        except OSError as error:
            connection.send(("disk", _one_sentence(error)))
            return
        connection.send(("recorded", key))


def main() -> None:
    """Be a training process; the only argument is the number of the pipe's file descriptor."""
    connection = Connection(int(sys.argv[1]))
    with contextlib.suppress(EOFError):  # the worker is gone already
        serve(connection, *connection.recv())


def _listen(connection: Connection, tasks: queue.SimpleQueue[Task | None]) -> None:
    while True:
        try:
            task = connection.recv()
        except (EOFError, OSError):
            os._exit(1)  # the worker died: no process may go on unseen
        tasks.put(task)
        if task is None:
            return
