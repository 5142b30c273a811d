"""Choosing the best models of a population, and saying how much of their lead was luck."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.failures import MISSING, OK
from analysis.noise import selection_noise
from analysis.pareto import pareto_front
from analysis.regimes import regime_index
from analysis.seeds import average_seeds, distinct_trainings
from analysis.shrinkage import shrink
from analysis.spaces import check_known

OWN_PRIOR = 20
"""A space (in a regime) with at least this many models is its own reference; smaller ones are taken together."""

SELECT_COLUMNS = {
    "rank": "1 the best; within a regime if there are regimes",
    "error_percent": "measured error, percent; the mean over seeds; optimistic, as the model was chosen by it",
    "seeds": "trainings behind it",
    "candidates": "architectures it was chosen from",
    "left_out": "architectures that were no candidates because a training of theirs failed",
    "estimate, estimate_lower, estimate_upper": "what the same model should show when trained again, with interval",
    "noise_sd": "standard deviation of error_percent by chance, points; NaN if nothing is known of it",
    "noise_from": "where that comes from: repeated seeds, the size of the validation split, given, or unknown",
    "tied": "its lead over or distance to the first is within what chance makes of equal models (two-sided 5 %)",
    "pareto": "whether no other candidate is at least as good in every objective",
    "regime, regime_low, regime_high": "regime and its ends; only with regimes",
}


def candidates(frame: pd.DataFrame) -> pd.DataFrame:
    """The models that can be chosen: those all of whose trainings so far finished, with their mean error over seeds.

    One that fails from some seeds would fail again, however good it is from the others.

    Args:
        frame: columns of a model (`analysis.seeds`), `status`, `error_percent`; one row a training.
    """
    trained = distinct_trainings(frame[frame["status"] != MISSING])
    models = average_seeds(trained.assign(failed=trained["status"] != OK))
    return models[~models["failed"]]


def select_best(
    frame: pd.DataFrame,
    k: int | None = 3,
    *,
    noise_sd: float | None = None,
    validation_size: int | None = None,
    objectives: Sequence[str] = (),
    regimes: int | None = None,
    complexity: str = "macs",
) -> pd.DataFrame:
    """The k of the `candidates` with the smallest error, best first, each architecture once, and what they are worth.

    The error of a model chosen as the best of n is optimistic: a part of it is luck that a second training will not
    repeat. `estimate` takes that part away (`analysis.shrinkage`), as far as the noise of a measurement is known.

    Args:
        frame: columns `spec_id`, `status`, `error_percent`; one row a training.
        k: number of models (in each regime), at least 1; fewer are returned if the table has fewer; None for all.
        noise_sd: standard deviation of one training's error, points; by default from repeated seeds, else from
            `validation_size`, else unknown.
        validation_size: images of the validation split.
        objectives: columns to be small besides the error, e.g. ("macs",); only models on the Pareto front are chosen.
        regimes: choose in each of so many regimes of `complexity`, of equal numbers of models.

    Returns:
        Rows of `frame` (of the first seed) with the columns of SELECT_COLUMNS.

    Raises:
        ValueError: k or regimes below 1, no model that can be chosen, objectives or complexity that are not known.
    """
    if k is not None and k < 1:
        raise ValueError(f"k is {k}; it must be at least 1")
    first = candidates(frame).sort_values("error_percent", kind="stable").drop_duplicates("spec_id", ignore_index=True)
    if first.empty:
        raise ValueError("no model finished in all its trainings, so there is none to select")
    first["candidates"] = len(first)
    first["left_out"] = frame.loc[frame["status"] != MISSING, "spec_id"].nunique() - len(first)
    first["noise_sd"], first["noise_from"] = selection_noise(frame[frame["status"] == OK], noise_sd, validation_size)
    index = np.zeros(len(first), dtype=np.int64)
    if regimes is not None:
        check_known(first, complexity)
        index = regime_index(first[complexity].to_numpy(dtype=float), regimes)
    first = pd.concat([first, _estimates(first, index)], axis=1)
    first["pareto"] = pareto_front(first, ("error_percent", *objectives)) if objectives else False
    chosen = first[first["pareto"]] if objectives else first
    if regimes is None:
        chosen = chosen.head(len(chosen) if k is None else k)
        chosen.insert(0, "rank", range(1, len(chosen) + 1))
        return _with_ties(chosen).reset_index(drop=True)
    parts = []
    for regime in range(index.max() + 1):
        mine = first.loc[index == regime, complexity]
        part = chosen[index[chosen.index.to_numpy()] == regime]
        part = part.head(len(part) if k is None else k)
        part.insert(0, "rank", range(1, len(part) + 1))
        part = part.assign(regime=regime, regime_low=mine.min(), regime_high=mine.max())
        parts.append(_with_ties(part))
    return pd.concat(parts, ignore_index=True)


def _estimates(first: pd.DataFrame, regime: NDArray[np.int64]) -> pd.DataFrame:
    noise = (first["noise_sd"] / np.sqrt(first["seeds"])).to_numpy(dtype=float)
    names = ["estimate", "estimate_lower", "estimate_upper"]
    estimates = pd.DataFrame(np.nan, index=first.index, columns=names)
    if not np.all(noise > 0):
        return estimates
    # A model is judged among its like: those of its space and its regime.
    space = first["space"].astype(str) if "space" in first else pd.Series("", index=first.index)
    group = space + "/" + regime.astype(str)
    group = group.where(group.groupby(group).transform("size") >= OWN_PRIOR, "")
    errors = first["error_percent"].to_numpy(dtype=float)
    for label in group.unique():
        mine = (group == label).to_numpy()
        estimates.loc[mine, names] = shrink(errors[mine], noise[mine]).to_numpy()
    return estimates


def _with_ties(chosen: pd.DataFrame) -> pd.DataFrame:
    if chosen.empty:
        return chosen.assign(tied=pd.Series(dtype=bool))
    variance = chosen["noise_sd"] ** 2 / chosen["seeds"]
    chance = 1.96 * np.sqrt(variance + variance.iloc[0])
    return chosen.assign(tied=(chosen["error_percent"] - chosen["error_percent"].iloc[0] <= chance) & chance.notna())
