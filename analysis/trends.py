"""Error against a parameter: rank correlation with an interval, and means over groups of similar values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import stats

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
