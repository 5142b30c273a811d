"""Several trainings of one network are one model: its error is their mean."""

from __future__ import annotations

import pandas as pd

MODEL = ("space", "recipe_id", "data_id", "spec_id")
"""Columns that name a model: rows that share them are trainings of one model from several seeds."""


def model_columns(frame: pd.DataFrame) -> list[str]:
    """Those columns of MODEL that a frame has."""
    return [name for name in MODEL if name in frame]


def average_seeds(frame: pd.DataFrame) -> pd.DataFrame:
    """One row per model, its error averaged over training seeds, whether they are of one study or of several.

    Counting every training as a model of its own would make every interval too narrow.

    Args:
        frame: columns of MODEL, `error_percent` (a failure policy applied) and `failed`.

    Returns:
        The rows of the first seed with `error_percent` the mean, `failed` whether any seed failed, and `seeds` their
        number, in the order of `frame`.
    """
    grouped = frame.groupby(model_columns(frame), sort=False, dropna=False)
    first = grouped.head(1).copy()
    first["error_percent"] = grouped["error_percent"].mean().to_numpy()
    first["failed"] = grouped["failed"].any().to_numpy()
    first["seeds"] = grouped.size().to_numpy()
    return first.reset_index(drop=True)
