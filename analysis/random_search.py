"""Random-search efficiency: error of the best of m random models, in closed form from the EDF."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from analysis.error_distributions import curves_by_group, edf

Array = NDArray[np.float64]

RANDOM_SEARCH_COLUMNS = {
    "draws": "number of random models (with replacement, as from an infinite space)",
    "expected": "expected error of the best model, percent",
    "median": "median error of the best model, percent",
    "lower, upper": "simultaneous confidence band of the median; 0 and 100 where the models give no bound",
    "n": "number of models",
    "band": "kind and confidence of the band",
}


@dataclass(frozen=True)
class ModelsNeeded:
    """Number of random models needed to come within a distance of the best known model.

    Attributes:
        within: distance, points of error.
        best: smallest known error, percent.
        probability: probability that at least one of the models is within the distance.
        share: fraction of the space within the distance.
        models, lower, upper: number of models, with bounds from the confidence band of `share` (inf: no bound).
    """

    within: float
    best: float
    probability: float
    share: float
    models: float
    lower: float
    upper: float


def expected_best(errors: ArrayLike, draws: ArrayLike, weights: ArrayLike | None = None) -> Array:
    """Expected smallest error of m random models: sum over i of e_(i) [(1 - W_(i-1))^m - (1 - W_i)^m].

    Args:
        errors: shape (N,), percent.
        draws: m, any shape, at least 1.
        weights: shape (N,), nonnegative; None for equal weights.

    Returns:
        Array of the shape of `draws`.

    Source: distribution of a minimum. NDS (arXiv 1905.13214) estimates it by repeated sampling.
    """
    curve = edf(errors, weights, band="dkw")
    m = np.asarray(draws, dtype=float)
    if not np.all(m >= 1):
        raise ValueError(f"draws = {m.min():g}: must be at least 1")
    above = 1 - curve["fraction"].to_numpy()  # before each distinct error, then 0
    chance = above[:-1] ** m[..., None] - above[1:] ** m[..., None]
    return np.asarray(chance @ curve["error"].to_numpy()[:-1])


def random_search_curve(
    errors: ArrayLike,
    weights: ArrayLike | None = None,
    *,
    draws: ArrayLike | None = None,
    confidence: float = 0.95,
    worst: float = 100.0,
) -> pd.DataFrame:
    """Error of the best model by number of random models.

    Args:
        errors: shape (N,), percent.
        weights: shape (N,), for example from complexity matching; None for equal weights.
        draws: numbers of models; by default powers of two up to N.
        confidence: simultaneous coverage of the band over the curve of medians.
        worst: largest possible error, percent.

    Returns:
        A frame with the columns of RANDOM_SEARCH_COLUMNS.

    Source: curve, RegNet (arXiv 2003.13678) Fig. 9. Band, Lourie, Cho & He 2023 (arXiv 2311.09480): the best of m has
    the distribution 1 - (1 - F)^m, so a band for F is a simultaneous band for all its quantiles. The band is for the
    median because the lower bound of the mean would depend on errors below all observed ones.
    """
    curve = edf(errors, weights, confidence=confidence)
    n = int(curve["n"].iloc[0])
    m = 2.0 ** np.arange(int(np.log2(n)) + 1) if draws is None else np.asarray(draws, dtype=float)
    level = 1 - 0.5 ** (1 / m)  # quantile of F that equals the median of the best of m
    return pd.DataFrame(
        {
            "draws": m,
            "expected": expected_best(errors, m, weights),
            "median": _quantile(curve, "fraction", level, worst),
            "lower": _quantile(curve, "upper", level, worst),
            "upper": _quantile(curve, "lower", level, worst),
            "n": n,
            "band": curve["band"].iloc[0],
        }
    )


def random_search_by(
    frame: pd.DataFrame, by: str = "space", *, weights: ArrayLike | None = None, confidence: float = 0.95
) -> pd.DataFrame:
    """Random-search curves of all groups of a column, stacked, with that column first. Models of weight 0 are
    excluded.
    """
    return curves_by_group(frame, by, weights, lambda errors, w: random_search_curve(errors, w, confidence=confidence))


def models_needed(
    errors: ArrayLike,
    within: float,
    weights: ArrayLike | None = None,
    *,
    probability: float = 0.9,
    confidence: float = 0.95,
) -> ModelsNeeded:
    """Number of random models needed to come within `within` points of the best known model.

    Args:
        errors: shape (N,), percent.
        within: points of error, at least 0.
        weights: shape (N,); None for equal weights.
        probability: probability that at least one of the models is within the distance, in (0, 1).
        confidence: confidence of the bounds.
    """
    if within < 0:
        raise ValueError(f"within = {within}: must be at least 0")
    if not 0 < probability < 1:
        raise ValueError(f"probability = {probability}: must be between 0 and 1, for example 0.9")
    curve = edf(errors, weights, confidence=confidence)
    best = float(curve["error"].iloc[0])
    # The step right after the last error within the distance, inclusive.
    step = int(np.searchsorted(curve["error"].to_numpy(), best + within + 1e-12, side="right"))
    share, low, high = (float(curve[name].iloc[step]) for name in ("fraction", "lower", "upper"))
    return ModelsNeeded(within, best, probability, share, *(draws_needed(q, probability) for q in (share, high, low)))


def share_within(errors: ArrayLike, limit: float) -> tuple[float, float, float]:
    """Fraction of the space with an error of at most `limit`, and the ends of its simultaneous 95 % band."""
    curve = edf(errors)
    row = curve.iloc[int(np.searchsorted(curve["error"].to_numpy(), limit, side="right"))]
    return float(row["fraction"]), float(row["lower"]), float(row["upper"])


def draws_needed(share: float, probability: float) -> float:
    """Number of random models of which one is in a fraction `share` of the space with this probability; inf for 0."""
    if share <= 0:
        return np.inf
    if share >= 1:
        return 1.0
    return float(np.ceil(np.log1p(-probability) / np.log1p(-share) - 1e-9))


def _quantile(curve: pd.DataFrame, column: str, level: Array, worst: float) -> Array:
    """Smallest error at which a distribution function (a column of an EDF) reaches the level."""
    # The value of row k holds just after the error of row k - 1: row 0 before all errors, `worst` after the last.
    reached = np.maximum.accumulate(curve[column].to_numpy())
    at = np.concatenate([[0.0], curve["error"].to_numpy()[:-1], [worst]])
    return at[np.minimum(np.searchsorted(reached, level - 1e-12), len(reached))]
