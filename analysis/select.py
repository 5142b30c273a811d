"""Selection of the best models of a population, with the errors to expect of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from analysis.noise import TrainingNoise, selection_noise, tie_distance
from analysis.pareto import pareto_front
from analysis.regimes import regime_index
from analysis.rows import MISSING, OK, average_seeds, distinct_trainings
from analysis.shrinkage import shrink
from analysis.spaces import check_known

OWN_PRIOR = 20
"""A space (in a regime) with at least this many models is judged by itself; smaller ones are judged together."""

ESTIMATES = ("estimate", "estimate_lower", "estimate_upper", "retrained_lower", "retrained_upper")

SELECT_COLUMNS = {
    "rank": "1 is the best; within a regime if there are regimes",
    "error_percent": "measured error, percent; the mean over seeds; optimistic, since the model was chosen by it",
    "seeds": "trainings of the model",
    "candidates": "architectures it was chosen from, in its regime if there are regimes",
    "left_out": "architectures that were no candidates because one of their trainings failed",
    "estimate, estimate_lower, estimate_upper": "expected error on retraining, percent: the mean over training seeds, "
    "with 95 % interval; NaN if the noise is unknown",
    "retrained_lower, retrained_upper": "95 % prediction interval of the error of one more training, percent",
    "noise_sd": "standard deviation of one training's error by chance, points; NaN if unknown",
    "noise_from": "source of noise_sd: repeated seeds, the size of the validation split, given, or unknown",
    "tied": "its distance to the first is within what chance makes of equal models (5 %, `tie_distance`)",
    "pareto": "whether no other candidate is at least as good in every objective",
    "regime, regime_low, regime_high": "regime and its ends; only with regimes",
}


def candidates(frame: pd.DataFrame) -> pd.DataFrame:
    """The models that can be selected: those whose trainings so far all finished, with their mean error over seeds.

    A model that failed with one seed may fail again, however good it is with the others.

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
    """Select the k `candidates` with the smallest error, best first, each architecture once.

    The measured error of the best of many is optimistic: a part of it is luck that a second training does not repeat.
    `estimate` corrects for that (`analysis.shrinkage`) where the noise of a training is known.

    Args:
        frame: columns `spec_id`, `status`, `error_percent`; one row a training.
        k: number of models (in each regime), at least 1; fewer are returned if the table has fewer; None for all.
        noise_sd: standard deviation of one training's error, points; by default from repeated seeds, else from
            `validation_size`, else unknown.
        validation_size: images of the validation split.
        objectives: columns to be small besides the error, e.g. ("macs",); only models on the Pareto front are selected.
        regimes: select in each of so many regimes of `complexity`, of equal numbers of models.

    Returns:
        Rows of `frame` (of the first seed) with the columns of SELECT_COLUMNS.

    Raises:
        ValueError: k or regimes below 1, no candidate, unknown objectives or complexity.
    """
    if k is not None and k < 1:
        raise ValueError(f"k = {k}: must be at least 1")
    models = candidates(frame).sort_values("error_percent", kind="stable").drop_duplicates("spec_id", ignore_index=True)
    if models.empty:
        raise ValueError("no model finished in all its trainings, so there is none to select")
    noise = selection_noise(frame[frame["status"] == OK], noise_sd, validation_size)
    models["left_out"] = frame.loc[frame["status"] != MISSING, "spec_id"].nunique() - len(models)
    models["noise_sd"], models["noise_from"] = noise.sd, noise.source
    models["pareto"] = pareto_front(models, ("error_percent", *objectives)) if objectives else False
    regime = pd.Series(0, index=models.index)
    if regimes is not None:
        check_known(models, complexity)
        regime[:] = regime_index(models[complexity].to_numpy(dtype=float), regimes)
        ends = models[complexity].groupby(regime)
        models = models.assign(regime=regime, regime_low=ends.transform("min"), regime_high=ends.transform("max"))
    models["candidates"] = regime.groupby(regime).transform("size")
    eligible = models[models["pareto"]] if objectives else models
    best = eligible.groupby(regime, sort=True).head(len(models) if k is None else k)
    best = best.iloc[np.argsort(regime[best.index], kind="stable")]
    best.insert(0, "rank", best.groupby(regime).cumcount() + 1)
    best = pd.concat([best, _estimates(models, regime, noise, best.index)], axis=1)
    return best.assign(tied=_tied(best, regime, noise.degrees)).reset_index(drop=True)


def _estimates(models: pd.DataFrame, regime: pd.Series, noise: TrainingNoise, rows: pd.Index) -> pd.DataFrame:
    """Estimates of some rows, each from all models of its space and regime."""
    estimates = pd.DataFrame(np.nan, index=rows, columns=list(ESTIMATES))
    if np.isnan(noise.sd):
        return estimates
    space = models["space"].astype(str) if "space" in models else pd.Series("", index=models.index)
    group = space + "/" + regime.astype(str)
    group = group.where(group.groupby(group).transform("size") >= OWN_PRIOR, "")
    for label in group[rows].unique():
        population = models[group == label]
        mine = rows[group[rows] == label]
        estimates.loc[mine] = shrink(
            population["error_percent"],
            noise.sd,
            seeds=population["seeds"],
            degrees=noise.degrees,
            rows=population.index.get_indexer(mine),
        ).to_numpy()
    return estimates


def _tied(best: pd.DataFrame, regime: pd.Series, degrees: float) -> pd.Series:
    """Whether chance explains the distance of each model to the first of its regime."""
    first = best.groupby(regime)[["error_percent", "seeds"]].transform("first")
    reach = best["candidates"].map({n: tie_distance(n, degrees) if n > 1 else 0.0 for n in best["candidates"].unique()})
    sd = best["noise_sd"] * np.sqrt((1 / best["seeds"] + 1 / first["seeds"]) / 2)
    return best["error_percent"] - first["error_percent"] <= reach * sd
