"""What becomes of models that did not finish: an explicit policy, said aloud with every result."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

import pandas as pd

from analysis.expressions import column_names

OK = "ok"
MISSING = "missing"
"""Status of a model that was drawn and has no record yet: unknown, not failed; never counted under any policy."""


@dataclass(frozen=True)
class FailurePolicy:
    """How a failed model (any status but ok and missing) enters an error distribution.

    Args:
        kind: "worst" gives it the largest error seen among the finished models of all spaces; "error" gives it
            `error_percent`; "drop" leaves it out, which flatters a space in which many models fail.
        error_percent: the error of a failed model, in [0, 100]; only for kind "error".
    """

    kind: Literal["worst", "drop", "error"] = "worst"
    error_percent: float = math.nan

    def __post_init__(self) -> None:
        if self.kind not in ("worst", "drop", "error"):
            raise ValueError(f"failure policy is {self.kind!r}; allowed: worst, drop, error=NUMBER")
        if self.kind == "error" and not 0 <= self.error_percent <= 100:
            raise ValueError(f"failure policy error is {self.error_percent}; it must be in [0, 100] percent")

    @classmethod
    def parse(cls, text: str) -> FailurePolicy:
        """Read "worst", "drop" or "error=NUMBER"."""
        name, _, number = text.strip().partition("=")
        if name == "error":
            try:
                return cls("error", float(number))
            except ValueError as mistake:
                raise ValueError(
                    f"failure policy is {text!r}; allowed: worst, drop, error=NUMBER in [0, 100]"
                ) from mistake
        if number or name not in ("worst", "drop"):
            raise ValueError(f"failure policy is {text!r}; allowed: worst, drop, error=NUMBER")
        return cls("worst" if name == "worst" else "drop")

    def __str__(self) -> str:
        return f"error={self.error_percent:g}" if self.kind == "error" else self.kind


@dataclass(frozen=True)
class Resolved:
    """A table after the policy: every row has an error and counts.

    Attributes:
        frame: the rows that count, `error_percent` filled, plus `failed` (bool).
        policy: the policy applied.
        failures: number of models by status, without "ok" and "missing".
        filled_with: the error given to failed models, NaN if none was given.
        missing: number of drawn models without a record; they are not in `frame`.
    """

    frame: pd.DataFrame
    policy: FailurePolicy
    failures: dict[str, int] = field(default_factory=dict)
    filled_with: float = math.nan
    missing: int = 0

    @property
    def sentence(self) -> str:
        """The policy and what it did, as one sentence to print under a result."""
        failed = sum(self.failures.values())
        if failed:
            reasons = ", ".join(f"{count} {status}" for status, count in self.failures.items())
            if self.policy.kind == "drop":
                what = f"{failed} failed ({reasons}) and {'was' if failed == 1 else 'were'} left out (policy drop)"
            else:
                given = f"an error of {self.filled_with:.2f} % (policy {self.policy})"
                what = f"{failed} failed ({reasons}) and {'counts' if failed == 1 else 'count'} with {given}"
        else:
            what = f"none failed (policy {self.policy})"
        unfinished = f"; {self.missing} not trained yet and not counted" if self.missing else ""
        trainings = len(self.frame) + (failed if self.policy.kind == "drop" else 0)
        return f"Of {trainings:,} trainings, {what}{unfinished}."


def apply_failure_policy(frame: pd.DataFrame, policy: FailurePolicy | str = "worst") -> Resolved:
    """Give every failed model its place in the error distribution.

    Args:
        frame: columns `status` and `error_percent`; one row a model. Rows with status "missing" are set aside.
        policy: a FailurePolicy or its text ("worst", "drop", "error=100").

    Raises:
        ValueError: a column is absent, a model with status "ok" has no error, or no model finished.
    """
    policy = FailurePolicy.parse(policy) if isinstance(policy, str) else policy
    for column in ("status", "error_percent"):
        if column not in frame:
            raise ValueError(f"the table has no column {column!r}; it has {column_names(frame)}")
    known = frame[frame["status"] != MISSING].copy()
    known["failed"] = known["status"] != OK
    known["error_percent"] = pd.to_numeric(known["error_percent"]).astype(float)
    finished = known.loc[~known["failed"], "error_percent"]
    if finished.isna().any():
        raise ValueError(f"{int(finished.isna().sum())} models have status 'ok' but no error_percent")
    if finished.empty:
        raise ValueError(f"no model finished: {len(known)} failed, {len(frame) - len(known)} have not been trained yet")
    failures = {
        str(status): int(count) for status, count in known.loc[known["failed"], "status"].value_counts().items()
    }
    filled_with = math.nan
    if policy.kind == "drop":
        known = known[~known["failed"]].copy()
    elif failures:
        filled_with = float(finished.max()) if policy.kind == "worst" else policy.error_percent
        known.loc[known["failed"], "error_percent"] = filled_with
    return Resolved(
        known.reset_index(drop=True), policy, failures, filled_with, len(frame) - len(frame[frame["status"] != MISSING])
    )


MODEL = ("space", "recipe_id", "data_id", "spec_id")
"""Columns that identify a model."""

DRAW = (*MODEL, "draw_id")
"""Columns that identify a draw of a model; tables of other tools have no `draw_id`: each model is drawn once."""


def model_columns(frame: pd.DataFrame) -> list[str]:
    """Those columns of MODEL that a frame has."""
    return [name for name in MODEL if name in frame]


def draw_columns(frame: pd.DataFrame) -> list[str]:
    """Those columns of DRAW that a frame has."""
    return [name for name in DRAW if name in frame]


def drop_duplicate_trainings(frame: pd.DataFrame) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Drop rows that repeat a training of the same draw.

    Studies of one space and sampling seed share their first draws. Such a draw counts once, and its training must not
    look like two seeds that agree to the last digit. A network that was drawn twice keeps both rows.

    Args:
        frame: columns of DRAW, `seed`, `status`, `error_percent`.

    Returns:
        The first row of each training of each draw, in the order of `frame`, one with a result before one without; a
        sentence if rows were dropped.
    """
    keys = [*draw_columns(frame), "seed"]
    if not frame.duplicated(keys).any():
        return frame, ()
    # A model without a record in one study may have one in another.
    trained_first = frame.sort_values("status", key=lambda status: status == MISSING, kind="stable")
    kept = trained_first.drop_duplicates(keys).sort_index()
    results = frame[frame["status"] != MISSING].groupby(keys, dropna=False)["error_percent"].nunique(dropna=False)
    dropped, differ = len(frame) - len(kept), int((results > 1).sum())
    note = f"{dropped:,} of {len(frame):,} rows repeat a training (same model, same seed) and are left out"
    note += f"; {differ:,} of these trainings have several results, and the first counts" if differ else ""
    return kept.reset_index(drop=True), (f"{note}.",)


def distinct_trainings(frame: pd.DataFrame) -> pd.DataFrame:
    """Each training of each model once, without `draw_id`, for statistics of models rather than of a population.

    Args:
        frame: columns of DRAW and `seed`; returned as it is where it has no `draw_id`.
    """
    if "draw_id" not in frame:
        return frame
    return frame.drop(columns="draw_id").drop_duplicates([*model_columns(frame), "seed"])


def distinct_models(frame: pd.DataFrame) -> pd.DataFrame:
    """The first draw of each model; `frame` has one row per draw and is returned as it is where it has no `spec_id`."""
    return frame.drop_duplicates(model_columns(frame)) if "spec_id" in frame else frame


def average_seeds(frame: pd.DataFrame) -> pd.DataFrame:
    """One row per draw, its error averaged over the training seeds of one or several studies.

    Trainings are not draws: counting each of them would make every interval too narrow.

    Args:
        frame: columns of DRAW, `status`, `error_percent` and `failed` (a failure policy applied).

    Returns:
        The rows of the first seed with `error_percent` the mean, `failed` whether any seed failed, `status` that of the
        first that failed, and `seeds` their number, in the order of `frame`.
    """
    reason = frame["status"].where(frame["failed"])
    grouped = frame.assign(status=reason).groupby(draw_columns(frame), sort=False, dropna=False)
    first = grouped.head(1).copy()
    first["error_percent"] = grouped["error_percent"].mean().to_numpy()
    first["failed"] = grouped["failed"].any().to_numpy()
    first["status"] = grouped["status"].first().fillna(OK).to_numpy()
    first["seeds"] = grouped.size().to_numpy()
    return first.reset_index(drop=True)
