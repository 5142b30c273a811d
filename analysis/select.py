"""Choosing the best models of a population."""

from __future__ import annotations

import pandas as pd


def select_best(frame: pd.DataFrame, k: int = 3) -> pd.DataFrame:
    """The k models with the smallest error, best first, each architecture once.

    Several seeds of an architecture (trained under one recipe on one data set) are averaged first. The error of a model
    chosen as the best of n is optimistic: a part of it is luck that a second training will not repeat.

    Args:
        frame: columns `spec_id`, `status`, `error_percent`; only models with status "ok" can be chosen.
        k: number of models, at least 1; fewer are returned if the table has fewer.

    Returns:
        Rows of `frame` (of the first seed), with `rank` (1 the best), `error_percent` the mean over seeds, `seeds`
        their number and `candidates` the number of architectures they were chosen from.
    """
    if k < 1:
        raise ValueError(f"k is {k}; it must be at least 1")
    finished = frame[frame["status"] == "ok"]
    keys = [key for key in ("spec_id", "recipe_id", "data_id") if key in finished]
    if not len(finished):
        raise ValueError("no model finished, so there is none to select")
    grouped = finished.groupby(keys, sort=False, dropna=False)
    first = grouped.head(1).copy()
    first["error_percent"] = grouped["error_percent"].mean().to_numpy()
    first["seeds"] = grouped.size().to_numpy()
    first = first.sort_values("error_percent", kind="stable").drop_duplicates("spec_id")
    first["candidates"] = len(first)
    chosen = first.head(k).reset_index(drop=True)
    chosen.insert(0, "rank", range(1, len(chosen) + 1))
    return chosen
