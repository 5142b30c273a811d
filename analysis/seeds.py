"""Several trainings of one network are one model: its error is their mean."""

from __future__ import annotations

import pandas as pd


def average_seeds(frame: pd.DataFrame) -> pd.DataFrame:
    """One row per network of a study, its error averaged over training seeds.

    Counting every training as a model of its own would make every interval too narrow.

    Args:
        frame: columns `study`, `space`, `index`, `error_percent` (a failure policy applied) and `failed`.

    Returns:
        The rows of the first seed with `error_percent` the mean, `failed` whether any seed failed, and `seeds` their
        number, in the order of `frame`.
    """
    grouped = frame.groupby(["study", "space", "index"], sort=False, dropna=False)
    first = grouped.head(1).copy()
    first["error_percent"] = grouped["error_percent"].mean().to_numpy()
    first["failed"] = grouped["failed"].any().to_numpy()
    first["seeds"] = grouped.size().to_numpy()
    return first.reset_index(drop=True)
