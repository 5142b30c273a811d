"""Progress of a study, read from its folder: models done, running, failed by reason, missing, and the time left."""

from __future__ import annotations

import contextlib
import heapq
import itertools
import os
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from designspace.claims import Claim, claimed_keys, owner_is_gone, read_claim
from designspace.study import STOPPED, Proposal, Record, Study, StudyModel, trainings
from designspace.times import TimePredictor, load_any_constants

BEST = 5
"""Models in `Status.best`."""

RECENT_SECONDS = 60.0
"""The speed is that of the trainings that ended this long before the last one, or of the last `RECENT_TRAININGS`."""

RECENT_TRAININGS = 4


@dataclass(frozen=True)
class Group:
    """Models of one space or all spaces, their trainings by state, and the lowest error so far in percent.

    Draws of the same network share a training, which counts once: done, stopped, running, failed and missing sum to
    `trainings`. These include the models that a search has yet to propose. `proposals` are those made so far. The
    lowest error is that of a training that is done.
    """

    label: str
    models: int
    trainings: int
    done: int
    stopped: int
    running: int
    failed: Counter[str]
    best_error_percent: float | None
    proposals: tuple[Proposal, ...] = ()

    @property
    def failures(self) -> int:
        """Trainings that failed."""
        return self.failed.total()

    @property
    def recorded(self) -> int:
        """Trainings with a record."""
        return self.done + self.stopped + self.failures

    @property
    def missing(self) -> int:
        """Trainings without a record that are not running."""
        return self.trainings - self.recorded - self.running


@dataclass(frozen=True)
class Status:
    """A study at one moment; None where a value is not known yet.

    `training_seconds` sums over the trainings with a record, `training_seconds_left` over the rest. `device_seconds`
    counts a training that shares its device by its fraction of the device. Early stopping saved
    `epochs_saved` of the `epochs` of all trainings that are done or stopped. `seconds_left` is the time until the study
    is done, at the speed of the most recent trainings. `best` has the models with the lowest errors in percent, and
    `failed` the failed models with status and message. `prediction_error` is the median of |predicted − actual| /
    actual over the predicted trainings. `damaged` has the error of each damaged record by key; its model counts as
    missing.
    """

    groups: tuple[Group, ...]
    total: Group
    running: tuple[tuple[StudyModel, Claim], ...]
    failed: tuple[tuple[StudyModel, str, str], ...]
    best: tuple[tuple[StudyModel, float], ...]
    damaged: dict[str, str]
    active_seconds: float
    training_seconds: float
    training_seconds_left: float | None
    device_seconds: float
    seconds_left: float | None
    prediction_error: float | None
    epochs: int
    epochs_saved: int

    @property
    def complete(self) -> bool:
        """Whether every model has a record."""
        return self.total.recorded == self.total.trainings

    @property
    def models_per_hour(self) -> float | None:
        """Records per hour of work; None before the first record."""
        records = self.total.recorded
        return 3600 * records / self.active_seconds if records and self.active_seconds > 0 else None

    @property
    def device_seconds_left(self) -> float | None:
        """`training_seconds_left` in device time, shared as before; None before the first record."""
        if self.training_seconds_left is None or not self.training_seconds:
            return None
        return self.training_seconds_left * self.device_seconds / self.training_seconds

    @property
    def failed_share(self) -> float:
        """Fraction of failed trainings, 0 … 1."""
        return self.total.failures / self.total.trainings if self.total.trainings else 0.0


@dataclass(frozen=True)
class _Outcome:
    status: str
    message: str
    error_percent: float | None
    span: tuple[float, float] | None
    seconds: float
    device_share: float
    predicted_seconds: float | None
    epochs_done: int

    @property
    def failed(self) -> bool:
        return self.status not in ("ok", STOPPED)

    @property
    def prediction_error(self) -> float | None:
        """|predicted − actual| / actual of a completed training."""
        if self.status != "ok" or self.predicted_seconds is None or not self.seconds:
            return None
        return abs(self.predicted_seconds - self.seconds) / self.seconds


class StudyReader:
    """Reads the status of a study repeatedly and opens each record once."""

    def __init__(self, study: Study) -> None:
        self._study = study
        self._trainings = trainings(study.models)
        self._epochs = int((study.config.get("recipe") or {}).get("epochs") or 0)
        self._outcomes: dict[str, _Outcome] = {}
        self._ahead: float | None = None
        self._predictor: TimePredictor | None = None

    def study_is_gone(self) -> bool:
        """Whether the study folder was moved or deleted."""
        return self._study.is_gone()

    def read(self) -> Status:
        """Return the current status."""
        if (study := self._study.with_new_proposals()) is not self._study:
            self._study, self._trainings = study, trainings(study.models)
        damaged = self._read_new_records()
        claims = self._live_claims()
        models = self._study.models
        labels = list(dict.fromkeys(model.space for model in models))
        groups = [self._group(label, [m for m in models if m.space == label], claims) for label in labels]
        outcomes = self._outcomes
        spans = [(*o.span, o.seconds) for o in outcomes.values() if o.span is not None]
        active, taken = active_seconds(spans), sum(seconds for *_, seconds in spans)
        trained = [o for o in outcomes.values() if not o.failed]
        off = [error for o in outcomes.values() if (error := o.prediction_error) is not None]
        training_seconds_left, seconds_left = self._seconds_left(claims, active, taken)
        return Status(
            groups=tuple(groups),
            total=self._group("all", models, claims),
            running=tuple((model, claims[model.key]) for model in self._trainings if model.key in claims),
            failed=self._failed(),
            best=self._best(),
            damaged=damaged,
            active_seconds=active,
            training_seconds=taken,
            training_seconds_left=training_seconds_left,
            device_seconds=sum(o.seconds * o.device_share for o in outcomes.values() if o.span is not None),
            seconds_left=seconds_left,
            prediction_error=statistics.median(off) if off else None,
            epochs=self._epochs * len(trained),
            epochs_saved=sum(self._epochs - o.epochs_done for o in trained if o.status == STOPPED),
        )

    def _seconds_left(
        self, claims: Mapping[str, Claim], active: float, taken: float
    ) -> tuple[float | None, float | None]:
        """Training time left and time until the study is done, estimated from the costs, s."""
        self._predictor = self._predictor or load_any_constants(self._study.paths.times)
        costs = {model.key: self._cost(model) for model in self._trainings}
        seconds_per_cost = self._seconds_per_cost(costs)
        if seconds_per_cost is None:
            return None, None
        left = seconds_per_cost * sum(cost for key, cost in costs.items() if key not in self._outcomes)
        left += seconds_per_cost * statistics.mean(costs.values()) * sum(self._study.trainings_to_propose.values())
        remaining = []
        for key, claim in claims.items():
            seconds = seconds_per_cost * costs[key]
            remaining.append(max(0.0, seconds - elapsed_seconds(claim)))
            left -= seconds - remaining[-1]
        if remaining:  # with as many concurrent trainings as now
            return left, max(left / len(remaining), *remaining)
        return left, left * active / taken if taken else None

    def _seconds_per_cost(self, costs: Mapping[str, float]) -> float | None:
        """Recent speed; before the first record 1 with predicted times, else None."""
        timed = [(o.span[1], o.seconds, costs[key]) for key, o in self._outcomes.items() if o.span and key in costs]
        timed.sort(reverse=True)
        recent = [row for row in timed if row[0] > timed[0][0] - RECENT_SECONDS]
        recent = max(recent, timed[:RECENT_TRAININGS], key=len)
        if not (done := sum(cost for *_, cost in recent)):
            return None if self._predictor is None else 1.0
        return sum(seconds for _, seconds, _ in recent) / done

    def _failed(self) -> tuple[tuple[StudyModel, str, str], ...]:
        outcomes = ((model, self._outcomes[model.key]) for model in self._trainings if model.key in self._outcomes)
        return tuple((model, o.status, o.message) for model, o in outcomes if o.failed)

    def _best(self) -> tuple[tuple[StudyModel, float], ...]:
        outcomes = ((model, self._outcomes[model.key]) for model in self._trainings if model.key in self._outcomes)
        errors = [(model, o.error_percent) for model, o in outcomes if o.status == "ok" and o.error_percent is not None]
        return tuple(heapq.nsmallest(BEST, errors, key=lambda row: row[1]))

    def _cost(self, model: StudyModel) -> float:
        return self._predictor.training_seconds(model) if self._predictor else model.cost

    def _read_new_records(self) -> dict[str, str]:
        """Read new records; return the error of each damaged one."""
        if self._study.is_gone():
            return {}
        keys = self._study.recorded_keys()
        for gone in self._outcomes.keys() - keys:
            del self._outcomes[gone]
        records, damaged = self._study.read_records(keys - self._outcomes.keys())
        self._outcomes |= {key: _outcome(record) for key, record in records.items()}
        return damaged

    def _live_claims(self) -> dict[str, Claim]:
        directory = self._study.paths.claims
        now = time.time() + self._clock_ahead()
        claims = {}
        for key in (claimed_keys(directory) & self._study.keys) - self._outcomes.keys():
            with contextlib.suppress(OSError, ValueError):  # just released, or damaged and therefore stale
                claim, age = read_claim(directory / key), now - (directory / key).stat().st_mtime
                if claim is not None and not owner_is_gone(claim) and age < claim.stale_seconds:
                    claims[key] = claim
        return claims

    def _clock_ahead(self) -> float:
        """Seconds by which the file system's clock, which dates the claims, is ahead of this machine's."""
        if self._ahead is None:
            self._ahead = 0.0
            with contextlib.suppress(OSError), tempfile.TemporaryFile(dir=self._study.paths.root) as stream:
                self._ahead = os.fstat(stream.fileno()).st_mtime - time.time()
        return self._ahead

    def _group(self, label: str, models: Sequence[StudyModel], claims: dict[str, Claim]) -> Group:
        keys = list(dict.fromkeys(model.key for model in models))
        outcomes = [self._outcomes[key] for key in keys if key in self._outcomes]
        errors = [o.error_percent for o in outcomes if o.status == "ok" and o.error_percent is not None]
        spaces = {model.space for model in models}
        to_propose = sum(count for space, count in self._study.trainings_to_propose.items() if space in spaces)
        return Group(
            label=label,
            models=len(models) + to_propose,
            trainings=len(keys) + to_propose,
            done=sum(o.status == "ok" for o in outcomes),
            stopped=sum(o.status == STOPPED for o in outcomes),
            running=sum(key in claims for key in keys),
            failed=Counter(o.status for o in outcomes if o.failed),
            best_error_percent=min(errors, default=None),
            proposals=tuple(one for one in self._study.proposals.values() if one.space in spaces),
        )


def _outcome(record: Record) -> _Outcome:
    # Complete epochs with evaluation, plus the time of an unfinished epoch.
    seconds = max(sum(filter(None, record.epoch_seconds)), record.train_seconds or 0.0)
    span = None
    if record.started_at:
        began = datetime.fromisoformat(record.started_at).timestamp()
        ended = datetime.fromisoformat(record.ended_at).timestamp() if record.ended_at else began + seconds
        span = began, ended
    share = record.device_share or 1.0
    return _Outcome(
        status=record.status,
        message=record.message,
        error_percent=record.error_percent,
        span=span,
        seconds=seconds,
        device_share=share,
        predicted_seconds=record.predicted_seconds,
        epochs_done=record.epochs_done,
    )


def elapsed_seconds(claim: Claim) -> float:
    """Time since a training began, by this machine's clock."""
    return max(0.0, time.time() - datetime.fromisoformat(claim.since).timestamp())


def active_seconds(spans: Sequence[tuple[float, float, float]]) -> float:
    """Return the working time of a study: from its first start to its last end, without long pauses.

    Args:
        spans: start, end, and the seconds of training between them, of each training.
    """
    if not spans:
        return 0.0
    starts, ends, seconds = zip(*spans, strict=True)
    gaps = [after - before for before, after in itertools.pairwise([min(starts), *sorted(ends)])]
    longest = max(60.0, 20 * statistics.median(gaps), *seconds)
    return sum(min(gap, longest) for gap in gaps)


def duration(seconds: float | None) -> str:
    """Format a duration: '42 s', '7 min', '3 h 05 min'."""
    if seconds is None:
        return "unknown"
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60:,} h {minutes % 60:02d} min"
