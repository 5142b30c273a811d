"""Writing studies to a tracker: each training once, also while the studies run."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from analysis.trackers.runs import study_name, tracked_run
from analysis.trackers.tracker import Tracker, open_tracker
from designspace.study import Study, damaged_text, trainings

FOLLOW_SECONDS = 2.0
"""Pause of `Tracking.follow` between updates."""


class Tracking:
    """Studies and the tracker that they are written to.

    Args:
        runs: study folders, finished or not.
        to: "tensorboard", "wandb", "mlflow" or "trackio".
        out: where the tracker stores the runs; by default where its own library would.

    Attributes:
        tracker: the tracker.
        written: trainings written by this object; all others were in the tracker before.

    Raises:
        FileNotFoundError: a folder is not a study.
        ValueError: an unknown tracker or location, or two studies with one name.
        MissingPackage: the library of the tracker is not installed; names the extra that installs it.
    """

    def __init__(self, runs: Sequence[str | Path], to: str, out: str | None = None) -> None:
        if not runs:
            raise ValueError("runs: must have at least one study folder, such as runs/demo")
        self._studies = [_TrackedStudy(Path(run)) for run in runs]
        names = [study_name(study.root) for study in self._studies]
        for number, name in enumerate(names):
            if name in names[:number]:
                raise ValueError(f"runs = {runs[number]}: must not have the name of another study, which is {name}")
        self.tracker = open_tracker(to, out)
        self.written = 0

    @property
    def total(self) -> int:
        """Number of trainings of the studies, recorded or not."""
        return sum(study.total for study in self._studies)

    @property
    def done(self) -> int:
        """Number of trainings in the tracker."""
        return sum(len(study.done) for study in self._studies)

    def update(self, on_progress: Callable[[int], None] | None = None) -> None:
        """Write the trainings that have a record and are not yet in the tracker.

        Args:
            on_progress: called with `done` after each training.
        """
        for study in self._studies:
            for new in study.update(self.tracker):
                self.written += new
                if on_progress is not None:
                    on_progress(self.done)

    def follow(self, on_progress: Callable[[int], None] | None = None) -> None:
        """Update until every model has a record."""
        self.update(on_progress)
        while self.done < self.total:
            time.sleep(FOLLOW_SECONDS)
            self.update(on_progress)

    def warn_of_damage(self) -> None:
        """Warn about damaged records, which are left out."""
        for study in self._studies:
            if study.damaged:
                text = f"{study.root}: {damaged_text(study.damaged)}; left out until the next sweep trains again"
                warnings.warn(text, stacklevel=3)


class _TrackedStudy:
    """A study folder, which may grow, and the keys of its trainings that are in the tracker."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.done: set[str] = set()
        self.damaged: dict[str, str] = {}
        self._written: dict[str, int] | None = None
        self._open()

    def _open(self) -> None:
        self._set(Study.open(self.root))
        self._version = self._study.paths.manifest_version()

    def _set(self, study: Study) -> None:
        self._study = study
        self.models = trainings(self._study.models)
        self._spaces: dict[str, dict[str, None]] = {}
        for model in self._study.models:
            self._spaces.setdefault(model.key, {})[model.space] = None

    @property
    def total(self) -> int:
        """Number of trainings, with those that a search has yet to propose."""
        return len(self.models) + sum(self._study.trainings_to_propose.values())

    def update(self, tracker: Tracker) -> Iterator[bool]:
        """Write each training with a new record; yield whether it was missing in the tracker."""
        if self._study.paths.manifest_version() != self._version:
            self._open()
        elif (study := self._study.with_new_proposals()) is not self._study:
            self._set(study)
        if self._written is None:
            self._written = tracker.written(study_name(self.root))
        recorded = self._study.recorded_keys()
        self.done &= recorded  # a failure that was set aside is trained again
        records, self.damaged = self._study.read_records(recorded - self.done)
        for model in self.models:
            if (record := records.get(model.key)) is None:
                continue
            run = tracked_run(self._study, model, record, self._spaces[model.key])
            new = self._written.get(run.run_id) != run.ended
            if new:
                tracker.write(run)
                self._written[run.run_id] = run.ended
            self.done.add(model.key)
            yield new


def track(*runs: str | Path, to: str, out: str | None = None, follow: bool = False) -> int:
    """Write the models of studies to an experiment tracker, each training as one run.

    Repeated calls write only new trainings and complete an interrupted run.

    Args:
        runs, to, out: see `Tracking`.
        follow: continue until every model has a record.

    Returns:
        The number of trainings written by this call.
    """
    tracking = Tracking(runs, to, out)
    if follow:
        tracking.follow()
    else:
        tracking.update()
    tracking.warn_of_damage()
    return tracking.written
