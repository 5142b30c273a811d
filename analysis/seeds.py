"""Draws, models and trainings: which rows of a table are the same.

A network is a *model* of a space under a recipe and data; a population may draw it more than once, and each *draw*
counts. A *training* is a model with a training seed: draws of one model share their trainings, and the error of a draw
is the mean over its training seeds.
"""

from __future__ import annotations

import pandas as pd

from analysis.failures import MISSING, OK

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
