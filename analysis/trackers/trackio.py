"""Trackio: one project, one run per training, in Trackio's local database."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from analysis.trackers.runs import TrackedRun
from designspace.packages import optional

PROJECT = "designspace"
ENDED = "ended"


class Trackio:
    """Writes to the project "designspace", in one transaction per run.

    `trackio.init` would choose a random run id and record the current time, so the storage is used directly.

    Args:
        out: must be None; Trackio reads its folder from TRACKIO_DIR.
    """

    view = f"trackio show --project {PROJECT}"
    """The command that opens the dashboard."""

    def __init__(self, out: str | None) -> None:
        if out is not None:
            raise ValueError(
                f"out = {out}: must be omitted with trackio; set TRACKIO_DIR, which trackio show also reads"
            )
        optional("trackio", "trackio")
        storage: Any = optional("trackio.sqlite_storage", "trackio")
        self._storage = storage.SQLiteStorage

    def written(self, study: str) -> dict[str, int]:
        """End time of each complete run of any study by run id."""
        runs = self._storage.get_all_run_configs(PROJECT).items()
        return {run_id: config[ENDED] for run_id, config in runs if ENDED in config}

    def write(self, run: TrackedRun) -> None:
        """Write a run; replace an earlier training of the model."""
        rows = {epoch: (time, values) for epoch, time, values in run.epochs()}
        time, values = rows.get(run.last_epoch, (run.times[-1], {}))
        rows[run.last_epoch] = time, values | dict(run.results)
        config = {"status": run.status, **run.settings, **run.complexity, **run.tags}
        self._storage.delete_run(PROJECT, run.name, run_id=run.run_id)
        self._storage.bulk_log(
            PROJECT,
            run.name,
            [values for _, values in rows.values()],
            steps=list(rows),
            timestamps=[datetime.fromtimestamp(time, UTC).isoformat() for time, _ in rows.values()],
            config=config | {ENDED: run.ended, "_Group": run.study},
            log_ids=[f"{run.run_id}-{run.ended}-{epoch}" for epoch in rows],
            run_id=run.run_id,
        )
