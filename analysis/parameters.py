"""Effect of each parameter on the error: trends, rank correlations and permutation importance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from analysis.seeds import distinct_models
from analysis.spaces import per_space

TREND_COLUMNS = {
    "value": "the parameter's value, or the median value of the group",
    "low, high": "smallest and largest value in the group",
    "n": "models in the group",
    "best": "smallest error in the group, percent",
    "mean, lower, upper": "mean error and its 95 % t-interval, percent; NaN ends for a single model",
}


@dataclass(frozen=True)
class RankTrend:
    """Spearman's rank correlation of error with a parameter; positive means larger values go with larger errors."""

    rho: float
    lower: float
    upper: float
    p_value: float
    n: int


def rank_trend(values: ArrayLike, errors: ArrayLike, *, confidence: float = 0.95) -> RankTrend:
    """Spearman's rho between a parameter and the error with its interval.

    Args:
        values, errors: shape (N,); N of at least 4 and a parameter that varies, else everything but n is NaN.

    Source: interval by Fisher's z with the variance of Bonett & Wright, Psychometrika 65 (2000) 23-28; p by scipy.
    """
    x, e = _pairs(values, errors)
    n = len(x)
    if n < 4 or np.ptp(x) == 0 or np.ptp(e) == 0:
        return RankTrend(np.nan, np.nan, np.nan, np.nan, n)
    found = stats.spearmanr(x, e)
    rho = float(found.statistic)
    z = np.arctanh(np.clip(rho, -1 + 1e-12, 1 - 1e-12))
    half = stats.norm.ppf(0.5 + confidence / 2) * np.sqrt((1 + rho**2 / 2) / (n - 3))
    return RankTrend(rho, float(np.tanh(z - half)), float(np.tanh(z + half)), float(found.pvalue), n)


def trend(values: ArrayLike, errors: ArrayLike, *, groups: int | None = None, confidence: float = 0.95) -> pd.DataFrame:
    """Mean and best error over groups of similar parameter values.

    Args:
        values, errors: shape (N,); rows with a value that is not finite are left out.
        groups: number of groups of about equal size; a parameter with no more distinct values is grouped by value.
            By default as many as leave five models a group, 1 to 6: fewer models have an interval of no use.
        confidence: of the interval of the mean.

    Returns:
        A frame with the columns of TREND_COLUMNS, by increasing value.
    """
    x, e = _pairs(values, errors)
    groups = int(np.clip(len(x) // 5, 1, 6)) if groups is None else groups
    if groups < 1:
        raise ValueError(f"groups is {groups}; it must be at least 1")
    index = quantile_groups(x, groups)
    rows = []
    for group in np.unique(index):
        mine, at = e[index == group], x[index == group]
        n = len(mine)
        half = stats.t.ppf(0.5 + confidence / 2, n - 1) * mine.std(ddof=1) / np.sqrt(n) if n > 1 else np.nan
        rows.append(
            {
                "value": float(np.median(at)),
                "low": float(at.min()),
                "high": float(at.max()),
                "n": n,
                "best": float(mine.min()),
                "mean": float(mine.mean()),
                "lower": float(mine.mean() - half),
                "upper": float(mine.mean() + half),
            }
        )
    return pd.DataFrame(rows)


def quantile_groups(values: ArrayLike, groups: int) -> NDArray[np.int64]:
    """The group of each value, from 0, in groups of about equal size; equal values are in one group.

    Args:
        values: shape (N,), finite; with no more distinct values than groups, each is a group.
        groups: at least 1.
    """
    x = np.asarray(values, dtype=float)
    distinct, index = np.unique(x, return_inverse=True)
    if len(distinct) > groups:
        # Equal values stay together: the group is that of the mean rank, not of the row.
        ranks = stats.rankdata(x, method="average")
        index = np.minimum((ranks - 0.5) / len(x) * groups, groups - 1).astype(int)
    return index.astype(np.int64)


def correlations_per_space(frame: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
    """`rank_trend` of every parameter in every space; one row each, the fields of `RankTrend`."""
    return per_space(frame, names, lambda x, e: pd.DataFrame([asdict(rank_trend(x, e))]))


def trends_per_space(frame: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
    """`trend` of every parameter in every space, stacked."""
    return per_space(frame, names, trend)


def _pairs(values: ArrayLike, errors: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    x, e = np.asarray(values, dtype=float), np.asarray(errors, dtype=float)
    if x.shape != e.shape or x.ndim != 1:
        raise ValueError(f"values has shape {x.shape} and errors {e.shape}; both must be one-dimensional and the same")
    known = np.isfinite(x)
    return x[known], e[known]


TREES = 100
LARGEST = 1500
"""Rows the forest learns from at most; more add time and no insight."""
SMALLEST = 20
MIN_EXPLAINED = 0.2
"""A forest that explains less of the variance of unseen models says little about its parameters."""


@dataclass(frozen=True)
class Importance:
    """What a forest has learnt about the error.

    Attributes:
        table: one row a parameter, most important first: parameter, importance (points of mean absolute error that
            shuffling it adds to the prediction), lower, upper (its spread over folds and shuffles).
        dependence: partial dependence: parameter, value, error (mean predicted error with the parameter set to the
            value, percent).
        explained: R^2 of predictions for models the forest has not seen; with little of it the rest means little.
        n: models it learnt from.
    """

    table: pd.DataFrame
    dependence: pd.DataFrame
    explained: float
    n: int


def permutation_importance(
    frame: pd.DataFrame, parameters: Sequence[str], *, repeats: int = 4, points: int = 12, seed: int = 0
) -> Importance | None:
    """Permutation importance, always measured on held-out models, and partial dependence of the error.

    Parameters that go together share their importance, so that each of two twins seems unimportant.

    Args:
        frame: columns `parameters` (numbers) and `error_percent` (finite); rows without a value are left out. With more
            than 1,500 rows a random 1,500.
        parameters: columns to explain by; constant ones are left out.
        repeats: shuffles of each parameter in each of five folds.
        points: values at which the partial dependence is computed.
        seed: of the forest, the folds and the shuffles.

    Returns:
        None with fewer than 20 models or no parameter that varies.

    Source: Breiman, "Random Forests" (2001), Sec. 10, on held-out folds; Friedman (2001) for partial dependence; both
    by scikit-learn.
    """
    names = [p for p in parameters if p in frame and pd.api.types.is_numeric_dtype(frame[p])]
    # A network drawn twice must not be in both parts of a fold.
    known = distinct_models(frame)[[*names, "error_percent"]].astype(float).dropna()
    names = [name for name in names if np.ptp(known[name].to_numpy()) > 0]
    if len(known) < SMALLEST or not names:
        return None
    from sklearn.ensemble import RandomForestRegressor
    from sklearn.model_selection import KFold

    rng = np.random.default_rng(seed)
    if len(known) > LARGEST:
        known = known.iloc[np.sort(rng.choice(len(known), LARGEST, replace=False))]
    x, y = known[names].to_numpy(), known["error_percent"].to_numpy()

    def forest() -> RandomForestRegressor:
        return RandomForestRegressor(
            n_estimators=TREES, min_samples_leaf=2, max_features=0.6, n_jobs=1, random_state=seed
        )

    predicted = np.empty(len(y))
    added: list[list[float]] = [[] for _ in names]
    for learn, test in KFold(5, shuffle=True, random_state=seed).split(x):
        model = forest().fit(x[learn], y[learn])
        predicted[test] = model.predict(x[test])
        missed = np.abs(predicted[test] - y[test]).mean()
        for column in range(len(names)):
            shuffled = np.tile(x[test], (repeats, 1))
            shuffled[:, column] = np.concatenate([rng.permutation(x[test, column]) for _ in range(repeats)])
            losses = np.abs(model.predict(shuffled) - np.tile(y[test], repeats)).reshape(repeats, -1).mean(axis=1)
            added[column] += list(losses - missed)
    table = pd.DataFrame(
        {
            "parameter": names,
            "importance": [float(np.mean(values)) for values in added],
            "lower": [float(np.quantile(values, 0.025)) for values in added],
            "upper": [float(np.quantile(values, 0.975)) for values in added],
        }
    ).sort_values("importance", ascending=False, kind="stable", ignore_index=True)
    explained = float(1 - np.sum((y - predicted) ** 2) / np.sum((y - y.mean()) ** 2)) if np.ptp(y) > 0 else 0.0
    dependence = _dependence(forest().fit(x, y), x, names, points)
    return Importance(table, dependence, explained, len(known))


def _dependence(model: object, x: np.ndarray, names: Sequence[str], points: int) -> pd.DataFrame:
    # Two hundred models say the same as all; the average is over them with one parameter set.
    some = x[:: max(1, len(x) // 200)]
    rows = []
    for column, name in enumerate(names):
        distinct = np.unique(x[:, column])
        # The outermost twentieths hold few models; a forest is constant beyond what it has seen.
        places = np.quantile(x[:, column], np.linspace(0.05, 0.95, points))
        values = distinct if len(distinct) <= points else np.unique(places)
        grid = np.tile(some, (len(values), 1))
        grid[:, column] = np.repeat(values, len(some))
        error = model.predict(grid).reshape(len(values), -1).mean(axis=1)  # type: ignore[attr-defined]
        rows.append(pd.DataFrame({"parameter": name, "value": values, "error": error}))
    return pd.concat(rows, ignore_index=True)
