"""What random search gets from a space: the best of n draws, in closed form from the error distribution."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from analysis.error_distributions import edf

Array = NDArray[np.float64]

RANDOM_SEARCH_COLUMNS = {
    "draws": "models drawn (with replacement, as from an endless space)",
    "expected": "expected error of the best of them, percent",
    "median": "median error of the best of them, percent",
    "lower, upper": "simultaneous band of that median; lower is 0 and upper 100 where the models at hand set no bound",
    "n": "models behind the curve",
    "band": "how the band was made",
}


@dataclass(frozen=True)
class ModelsNeeded:
    """Random draws needed to come within a distance of the best known model.

    Attributes:
        within: the distance, points of error.
        best: the smallest error known, percent.
        probability: how surely the draws have to contain such a model.
        share: part of the space within that distance of the best.
        models, lower, upper: draws needed, and its ends by the confidence band of the share (inf: no bound).
    """

    within: float
    best: float
    probability: float
    share: float
    models: float
    lower: float
    upper: float


def expected_best(errors: ArrayLike, draws: ArrayLike, weights: ArrayLike | None = None) -> Array:
    """Expected smallest error among m random models: sum over i of e_(i) [(1 - W_(i-1))^m - (1 - W_i)^m].

    Args:
        errors: shape (N,), percent.
        draws: m, any shape, at least 1.
        weights: shape (N,), nonnegative; None for equal weights.

    Returns:
        The shape of `draws`.

    Source: the law of a minimum; NDS (arXiv 1905.13214) estimates it by repeated sampling.
    """
    curve = edf(errors, weights, band="dkw")
    m = np.asarray(draws, dtype=float)
    if not np.all(m >= 1):
        raise ValueError(f"draws is {draws!r}; at least 1 model is drawn")
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
    """Error of the best model against the number of models drawn.

    Args:
        errors: shape (N,), percent.
        weights: shape (N,), e.g. of a complexity match; None for equal weights.
        draws: numbers of draws; powers of two up to N by default.
        confidence: that the whole curve of medians lies within the band.
        worst: largest error there can be, percent.

    Returns:
        A frame with the columns of RANDOM_SEARCH_COLUMNS.

    Source: the curve, RegNet (arXiv 2003.13678) Fig. 9; the band, Lourie, Cho & He 2023 (arXiv 2311.09480): the best
    of m has the distribution 1 - (1 - F)^m, so that a band for F is a band for every quantile of it at once. It is put
    around the median and not around the mean, whose lower end would rest on errors below all that were seen.
    """
    curve = edf(errors, weights, confidence=confidence)
    n = int(curve["n"].iloc[0])
    m = 2.0 ** np.arange(int(np.log2(n)) + 1) if draws is None else np.asarray(draws, dtype=float)
    level = 1 - 0.5 ** (1 / m)  # the quantile of F that is the median of the best of m
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
    """One random-search curve per value of a column, stacked, that column in front; models of weight 0 left out."""
    w = np.ones(len(frame)) if weights is None else np.asarray(weights, dtype=float)
    errors = frame["error_percent"].to_numpy(dtype=float)
    parts = []
    for label in frame[by].unique():
        rows = (frame[by] == label).to_numpy() & (w > 0)
        part = random_search_curve(errors[rows], None if weights is None else w[rows], confidence=confidence)
        part.insert(0, by, label)
        parts.append(part)
    return pd.concat(parts, ignore_index=True)


def models_needed(
    errors: ArrayLike,
    within: float,
    weights: ArrayLike | None = None,
    *,
    probability: float = 0.9,
    confidence: float = 0.95,
) -> ModelsNeeded:
    """How many random models have to be drawn to be within `within` points of the best that is known.

    Args:
        errors: shape (N,), percent.
        within: points of error, not negative.
        weights: shape (N,); None for equal weights.
        probability: that at least one of the drawn models is that good, in (0, 1).
        confidence: of the interval.
    """
    if within < 0:
        raise ValueError(f"within is {within}; it must be a distance of at least 0 points")
    if not 0 < probability < 1:
        raise ValueError(f"probability is {probability}; it must be between 0 and 1, e.g. 0.9")
    curve = edf(errors, weights, confidence=confidence)
    best = float(curve["error"].iloc[0])
    # The step that begins right after the last error within reach: models at exactly that distance count.
    step = int(np.searchsorted(curve["error"].to_numpy(), best + within + 1e-12, side="right"))
    share, low, high = (float(curve[name].iloc[step]) for name in ("fraction", "lower", "upper"))
    return ModelsNeeded(within, best, probability, share, *(_draws(q, probability) for q in (share, high, low)))


def _draws(share: float, probability: float) -> float:
    if share <= 0:
        return np.inf
    if share >= 1:
        return 1.0
    return float(np.ceil(np.log1p(-probability) / np.log1p(-share) - 1e-9))


def _quantile(curve: pd.DataFrame, column: str, level: Array, worst: float) -> Array:
    """The smallest error up to which a distribution function (a column of an EDF) has reached the level."""
    # The value of row k holds just after the error of row k - 1; row 0 before any error, the worst after the last.
    reached = np.maximum.accumulate(curve[column].to_numpy())
    at = np.concatenate([[0.0], curve["error"].to_numpy()[:-1], [worst]])
    return at[np.minimum(np.searchsorted(reached, level - 1e-12), len(reached))]
