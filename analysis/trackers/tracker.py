"""What every tracker implements."""

from __future__ import annotations

from importlib import import_module
from typing import Protocol

from analysis.trackers.runs import TrackedRun
from designspace.validated import unknown

TRACKERS = {"tensorboard": "TensorBoard", "wandb": "WeightsAndBiases", "mlflow": "MLflow", "trackio": "Trackio"}
"""Module and class of each tracker."""


class Tracker(Protocol):
    """A destination of runs. A killed `write` leaves nothing, or a run that `written` does not list."""

    @property
    def view(self) -> str:
        """The command that shows or uploads the runs."""

    def written(self, study: str) -> dict[str, int]:
        """End time (`TrackedRun.ended`) of each complete run of a study by run id; may include other studies."""

    def write(self, run: TrackedRun) -> None:
        """Write a run; replace an incomplete one, or an earlier training of the model."""


def open_tracker(to: str, out: str | None = None) -> Tracker:
    """Open a tracker.

    Args:
        to: one of TRACKERS.
        out: where it stores the runs; by default where its own library would.

    Raises:
        ValueError: no such tracker, or it cannot be opened.
        MissingPackage: its library is not installed; names the extra that installs it.
    """
    if to not in TRACKERS:
        raise ValueError(unknown("to", to, TRACKERS))
    tracker: Tracker = getattr(import_module(f"analysis.trackers.{to}"), TRACKERS[to])(out)
    return tracker
