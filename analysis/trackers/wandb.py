"""Weights & Biases: one offline run per training, for `wandb sync` to upload."""

from __future__ import annotations

import os
import shlex
import shutil
import struct
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from analysis.trackers.runs import TrackedRun
from designspace.packages import optional

PROJECT = "designspace"
"""Default project; WANDB_PROJECT overrides it."""

FLUSH_SECONDS = 60.0
"""Time for wandb to complete a run on disk, usually a few milliseconds."""

TAG_CHARACTERS = 64

ENDED = "%Y%m%d_%H%M%S"
"""Format of the time in the name of a run's folder, UTC."""

BLOCK_BYTES, FULL, LAST = 32768, 1, 4
"""Block size and two types of chunks in LevelDB's log format."""


class WeightsAndBiases:
    """Writes OUT/wandb/offline-run-ENDED-RUN_ID, with the end of the training in UTC.

    A run is written to a temporary folder and renamed, so a folder with its final name is complete.

    Args:
        out: the parent of the folder "wandb"; default WANDB_DIR or the current folder.
    """

    def __init__(self, out: str | None) -> None:
        self._wandb: Any = optional("wandb", "wandb")
        root = out or os.environ.get("WANDB_DIR") or "."
        self._folder = Path(self._wandb.Settings(root_dir=root).wandb_dir)
        self._settings = self._wandb.Settings(
            mode="offline",
            silent=True,
            console="off",
            disable_code=True,
            disable_git=True,
            # This machine did not train the models. Listing its packages would also take 0.4 s per run.
            x_disable_machine_info=True,
            x_disable_meta=True,
            x_disable_stats=True,
            x_save_requirements=False,
        )

    @property
    def view(self) -> str:
        """The command that uploads new runs."""
        return f"cd {shlex.quote(str(self._folder.parent))} && wandb sync"

    def written(self, study: str) -> dict[str, int]:
        """End time of each complete run of any study by run id."""
        runs = (folder.name.split("-") for folder in self._folder.glob("offline-run-*-*"))
        return {run_id: _unix(ended) for _, _, ended, run_id in (parts for parts in runs if len(parts) == 4)}

    def write(self, run: TrackedRun) -> None:
        """Write a run; replace an earlier training of the model."""
        self._folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self._folder, prefix=".partial-", ignore_cleanup_errors=True) as partial:
            self._write(run, partial)
            (complete,) = Path(partial).glob("*/offline-run-*")
            _wait_for_exit(complete / f"run-{run.run_id}.wandb")
            for earlier in self._folder.glob(f"offline-run-*-{run.run_id}"):
                shutil.rmtree(earlier)
            complete.rename(self._folder / f"offline-run-{_text(run.ended)}-{run.run_id}")

    def _write(self, run: TrackedRun, folder: str) -> None:
        tracked = self._wandb.init(
            dir=folder,
            project=os.environ.get("WANDB_PROJECT") or PROJECT,
            group=run.study,
            id=run.run_id,
            name=run.name,
            tags=[run.status, *(space[:TAG_CHARACTERS] for space in run.spaces)],
            config={"status": run.status, **run.settings, **run.complexity, **run.tags},
            reinit="create_new",  # leave other active runs of this process alone
            settings=self._settings,
        )
        for epoch, ended, values in run.epochs():
            tracked.log(values | {"_timestamp": ended}, step=epoch)
        tracked.summary.update(dict(run.results))
        tracked.finish(exit_code=int(run.failed))


def _wait_for_exit(log: Path) -> None:
    """Wait for the last record of a run, which the process wandb-core writes after `finish` has returned."""
    deadline = time.monotonic() + FLUSH_SECONDS
    while not any(record.HasField("exit") for record in _records(log.read_bytes())):
        if time.monotonic() > deadline:
            raise TimeoutError(f"{log}: wandb did not complete the run within {FLUSH_SECONDS:g} s")
        time.sleep(0.002)


def _records(log: bytes) -> Iterator[Any]:
    """The records of a transaction log: LevelDB's log format after a header of 7 bytes."""
    protocol = optional("wandb.proto.wandb_internal_pb2", "wandb")
    position, record = 7, b""
    while position + 7 <= len(log):
        if (left := BLOCK_BYTES - position % BLOCK_BYTES) < 7:  # padding at the end of a block
            position += left
            continue
        length, kind = struct.unpack_from("<4xHB", log, position)
        record += log[position + 7 : position + 7 + length]
        position += 7 + length
        if kind in (FULL, LAST) and position <= len(log):
            yield protocol.Record.FromString(record)
            record = b""


def _text(ended: int) -> str:
    return datetime.fromtimestamp(ended, UTC).strftime(ENDED)


def _unix(text: str) -> int:
    try:
        return int(datetime.strptime(text, ENDED).replace(tzinfo=UTC).timestamp())
    except ValueError:  # not a run of this tool
        return -1
