"""Several trainings of one network are one model: its error is their mean."""

from __future__ import annotations

import pandas as pd

from analysis.failures import MISSING, OK

MODEL = ("space", "recipe_id", "data_id", "spec_id")
"""Columns that name a model: rows that share them are trainings of one model from several seeds."""


def model_columns(frame: pd.DataFrame) -> list[str]:
    """Those columns of MODEL that a frame has."""
    return [name for name in MODEL if name in frame]


def each_training_once(frame: pd.DataFrame) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Leave out rows that repeat a training: the same model from the same seed.

    Studies of one space share the networks both drew, and so do spaces of one study that are put together. One training
    that counts twice looks like two seeds that agree to the last digit.

    Args:
        frame: columns of MODEL, `seed`, `status`, `error_percent`.

    Returns:
        The first row of each training, in the order of `frame`; a sentence if others were left out.
    """
    keys = [*model_columns(frame), "seed"]
    if not frame.duplicated(keys).any():
        return frame, ()
    # What one study has still to train may be trained in another.
    trained_first = frame.sort_values("status", key=lambda status: status == MISSING, kind="stable")
    once = trained_first.drop_duplicates(keys).sort_index()
    results = frame[frame["status"] != MISSING].groupby(keys, dropna=False)["error_percent"].nunique(dropna=False)
    repeats, differ = len(frame) - len(once), int((results > 1).sum())
    told = f"{repeats:,} of {len(frame):,} rows repeat a training (same model, same seed) and are left out"
    told += f"; {differ:,} of these trainings have several results, and the first counts" if differ else ""
    return once.reset_index(drop=True), (f"{told}.",)


def average_seeds(frame: pd.DataFrame) -> pd.DataFrame:
    """One row per model, its error averaged over training seeds, whether they are of one study or of several.

    Counting every training as a model of its own would make every interval too narrow.

    Args:
        frame: columns of MODEL, `status`, `error_percent` and `failed` (a failure policy applied).

    Returns:
        The rows of the first seed with `error_percent` the mean, `failed` whether any seed failed, `status` that of the
        first that failed, and `seeds` their number, in the order of `frame`.
    """
    reason = frame["status"].where(frame["failed"])
    grouped = frame.assign(status=reason).groupby(model_columns(frame), sort=False, dropna=False)
    first = grouped.head(1).copy()
    first["error_percent"] = grouped["error_percent"].mean().to_numpy()
    first["failed"] = grouped["failed"].any().to_numpy()
    first["status"] = grouped["status"].first().fillna(OK).to_numpy()
    first["seeds"] = grouped.size().to_numpy()
    return first.reset_index(drop=True)
