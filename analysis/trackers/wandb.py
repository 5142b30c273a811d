"""Weights & Biases: one offline run per training, for `wandb sync` to upload."""

from __future__ import annotations

import os
import shlex
import shutil
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from analysis.trackers.runs import TrackedRun
from designspace.packages import optional

PROJECT = "designspace"
"""Default project; WANDB_PROJECT overrides it."""


class WeightsAndBiases:
    """Writes OUT/wandb/offline-run-ENDED-RUN_ID, with the end of the training in UTC.

    A run is written to a temporary folder and renamed, so a folder with its final name is complete.

    Args:
        out: the parent of the folder "wandb"; default WANDB_DIR or the current folder.
    """

    def __init__(self, out: str | None) -> None:
        self._wandb: Any = optional("wandb", "wandb")
        self._folder = Path(out or os.environ.get("WANDB_DIR") or ".") / "wandb"
        self._settings = self._wandb.Settings(
            mode="offline",
            silent=True,
            console="off",
            disable_code=True,
            disable_git=True,
            use_dot_wandb=False,
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
            (complete,) = Path(partial).glob("wandb/offline-run-*")
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
            tags=[run.status, *run.space.split(", ")],
            config={"status": run.status, **run.settings, **run.complexity, **run.tags},
            reinit="create_new",  # leave other active runs of this process alone
            settings=self._settings,
        )
        for epoch, time, values in run.epochs():
            tracked.log(values | {"_timestamp": time}, step=epoch)
        tracked.summary.update(dict(run.results))
        tracked.finish(exit_code=int(run.failed))


FORMAT = "%Y%m%d_%H%M%S"


def _text(ended: int) -> str:
    return datetime.fromtimestamp(ended, UTC).strftime(FORMAT)


def _unix(text: str) -> int:
    try:
        return int(datetime.strptime(text, FORMAT).replace(tzinfo=UTC).timestamp())
    except ValueError:  # not a run of this tool
        return -1
