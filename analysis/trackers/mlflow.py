"""MLflow: one experiment per study, one run per training, on a server or in a local database."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from analysis.trackers.runs import TrackedRun
from designspace.packages import optional

RUN_ID, ENDED = "designspace.run_id", "designspace.ended"
"""Tags that identify a training; MLflow chooses its own run ids."""

PARAMETERS, METRICS = 100, 500
"""Most parameters and metrics in one request; MLflow accepts 100 and 1,000."""


class MLflow:
    """Writes to the experiment that has the name of the study.

    Args:
        out: a tracking URI, or a folder for the database mlflow.db; by default MLflow decides (MLFLOW_TRACKING_URI,
            or a database in the current folder).
    """

    def __init__(self, out: str | None) -> None:
        mlflow: Any = optional("mlflow", "mlflow")
        if out is not None and "://" not in out:
            folder = Path(out).absolute()
            folder.mkdir(parents=True, exist_ok=True)
            out = f"sqlite:///{folder / 'mlflow.db'}"
        self._uri: str = out or mlflow.get_tracking_uri()
        if self._uri.startswith("sqlite:"):
            for package in ("sqlalchemy", "alembic"):
                optional(package, "mlflow")
        with self._errors():
            self._client: Any = mlflow.MlflowClient(tracking_uri=self._uri)
        self._experiments: dict[str, str] = {}
        self._existing: dict[str, str] = {}

    @property
    def view(self) -> str:
        """The command that opens the dashboard."""
        server = self._uri.startswith("http")
        return self._uri if server else f"mlflow ui --backend-store-uri {shlex.quote(self._uri)}"

    def written(self, study: str) -> dict[str, int]:
        """End time of each complete run of a study by run id."""
        complete, token = {}, None
        with self._errors():
            experiment = self._experiment(study)
            while token != "":
                page = self._client.search_runs([experiment], max_results=1000, page_token=token)
                for found in page:
                    if (run_id := found.data.tags.get(RUN_ID)) is None:
                        continue
                    if found.info.status in ("FINISHED", "FAILED"):
                        complete[run_id] = int(found.data.tags[ENDED])
                    self._existing[run_id] = found.info.run_id
                token = page.token or ""
        return complete

    def write(self, run: TrackedRun) -> None:
        """Write a run; delete an incomplete one, or an earlier training of the model."""
        from mlflow.entities import Metric, Param

        metrics = [
            Metric(name, value, round(1000 * time), epoch)
            for epoch, time, values in run.epochs()
            for name, value in values.items()
        ]
        metrics += [
            Metric(name, value, round(1000 * run.times[-1]), run.last_epoch)
            for name, value in (*run.results.items(), *run.complexity.items())
        ]
        parameters = [Param(name, str(value)) for name, value in run.settings.items()]
        tags = {"status": run.status, "space": run.space, **run.tags, RUN_ID: run.run_id, ENDED: str(run.ended)}
        with self._errors():
            if earlier := self._existing.pop(run.run_id, None):
                self._client.delete_run(earlier)
            created = self._client.create_run(
                self._experiment(run.study), start_time=round(1000 * run.times[0]), tags=tags, run_name=run.name
            )
            run_id = self._existing[run.run_id] = created.info.run_id
            for start in range(0, len(parameters), PARAMETERS):
                self._client.log_batch(run_id, params=parameters[start : start + PARAMETERS])
            for start in range(0, len(metrics), METRICS):
                self._client.log_batch(run_id, metrics=metrics[start : start + METRICS])
            status = "FAILED" if run.failed else "FINISHED"
            self._client.set_terminated(run_id, status, end_time=round(1000 * run.ended))

    def _experiment(self, study: str) -> str:
        if study not in self._experiments:
            found = self._client.get_experiment_by_name(study)
            self._experiments[study] = found.experiment_id if found else self._client.create_experiment(study)
        return self._experiments[study]

    @contextmanager
    def _errors(self) -> Iterator[None]:
        from mlflow.exceptions import MlflowException

        try:
            yield
        except MlflowException as error:
            raise ValueError(f"out = {self._uri}: {' '.join(str(error).split())}") from error
