"""Selection of the best models, with their expected error on retraining."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import optimize, special, stats

from analysis.expression import column_names
from analysis.failures import MISSING, OK
from analysis.regimes import regime_index
from analysis.seeds import average_seeds, distinct_trainings, model_columns
from analysis.shrinkage import shrink
from analysis.spaces import check_known
from analysis.training import noise_floor


def pareto_front(frame: pd.DataFrame, objectives: Sequence[str] = ("error_percent", "macs")) -> NDArray[np.bool_]:
    """Whether each model is on the Pareto front: no other is at least as good in every objective and better in one.

    Args:
        frame: columns `objectives`, all to be small; a row with a value that is not finite is never on the front.
        objectives: one or more columns.

    Returns:
        Shape (len(frame),). Models equal in every objective are on the front together.

    Raises:
        ValueError: no objective, one that is not a column, or one without numbers.
    """
    missing = [name for name in objectives if name not in frame]
    if missing or not objectives:
        raise ValueError(f"objectives are {', '.join(objectives) or 'none'}; the table has {column_names(frame)}")
    if text := [name for name in objectives if not pd.api.types.is_numeric_dtype(frame[name].infer_objects())]:
        raise ValueError(f"objectives are {', '.join(objectives)}; {text[0]} is text, and a front needs numbers")
    values = frame[list(objectives)].to_numpy(dtype=float)
    front = np.zeros(len(frame), dtype=bool)
    known = np.flatnonzero(np.isfinite(values).all(axis=1))
    if not len(known):
        for name in objectives:
            check_known(frame, name)
    # In lexical order a model can only be beaten by one before it, and comparing with the front so far is enough.
    order = known[np.lexsort(values[known].T[::-1])]
    if values.shape[1] == 2:
        first, second = values[order].T
        before = np.minimum.accumulate(np.concatenate([[np.inf], second[:-1]]))
        lowest = second < before
        # Equal to the one before it in both: on the front if that one is.
        start = np.append(True, (np.diff(first) != 0) | (np.diff(second) != 0))[: len(order)]
        front[order] = lowest[np.maximum.accumulate(np.where(start, np.arange(len(order)), 0))]
        return front
    best = np.empty((0, values.shape[1]))
    for row in order:
        point = values[row]
        if not np.any(np.all(best <= point, axis=1) & np.any(best < point, axis=1)):
            front[row] = True
            best = np.vstack([best, point])
    return front


@dataclass(frozen=True)
class TrainingNoise:
    """Standard deviation of one training's error by chance.

    Attributes:
        sd: points; NaN if unknown.
        source: "given", "repeated seeds", "the size of the validation split" or "unknown".
        degrees: degrees of freedom of `sd`; infinite if it was not estimated from repeated seeds.
    """

    sd: float
    source: str
    degrees: float = math.inf


def selection_noise(
    trainings: pd.DataFrame, given: float | None = None, validation_size: int | None = None
) -> TrainingNoise:
    """Noise of one training among the better half of the models, where a choice is made.

    Args:
        trainings: finished ones, as for `noise_floor`.
        given: a standard deviation from elsewhere, points; takes precedence.
        validation_size: images of the validation split, used without repeated seeds: the binomial error of counting
            mistakes, a lower bound, since chance in training adds to it.

    Raises:
        ValueError: `given` is not positive.
    """
    if given is not None:
        if not 0 < given < math.inf:
            raise ValueError(f"noise_sd = {given}: must be positive, in points of error")
        return TrainingNoise(given, "given")
    if "seed" in trainings:
        means = trainings.groupby(model_columns(trainings), sort=False, dropna=False)["error_percent"].transform("mean")
        floor = noise_floor(trainings[means <= means.median()]) or noise_floor(trainings)
        if floor is not None and floor.seed_sd > 0:
            return TrainingNoise(floor.seed_sd, "repeated seeds", floor.trainings - floor.models)
    if validation_size:
        share = float(trainings["error_percent"].quantile(0.25)) / 100
        sd = 100 * math.sqrt(max(share * (1 - share), 1e-6) / validation_size)
        return TrainingNoise(sd, "the size of the validation split")
    return TrainingNoise(math.nan, "unknown")


def tie_distance(models: int, degrees: float = math.inf) -> float:
    """Distance from the smallest of several equal models' errors that chance exceeds with 5 % probability.

    For two models it is that of the usual two-sided test, 1.96 √2. The first of many is the luckiest of all, and chance
    puts equal models much further from it.

    Args:
        models: number of models, at least 2.
        degrees: degrees of freedom of the noise that the distance is a multiple of.

    Returns:
        In standard deviations of one model's error: the 95 % quantile of the distance of a model other than the first.

    Source: Gupta, "On some multiple decision (selection and ranking) rules", Technometrics 7 (1965) 225-245; with the
    chance to be the first left out of the 5 %.
    """
    z = np.linspace(-8, 8, 401)
    density = stats.norm.pdf(z) / stats.norm.pdf(z).sum()
    shares = (np.arange(40) + 0.5) / 40
    estimated = np.sqrt(stats.chi2(degrees).ppf(shares) / degrees) if math.isfinite(degrees) else np.ones(1)

    def excess(distance: float) -> float:
        none_smaller = np.exp((models - 1) * special.log_ndtr(distance * estimated[:, None] - z))
        return float(np.mean(none_smaller @ density) - (1 - 0.05 * (models - 1) / models))

    return float(optimize.brentq(excess, 0.0, 1e4))


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
