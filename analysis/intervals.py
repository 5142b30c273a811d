"""Means over strata with their uncertainty, and the probability that a model of one space beats one of another."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, stats

Array = NDArray[np.float64]
Strata = NDArray[np.int64]


@dataclass(frozen=True)
class StratifiedMean:
    """Mean over equally weighted strata, the variance of that mean, and Satterthwaite's degrees of freedom."""

    mean: float
    variance: float
    degrees: float


def stratified_mean(values: Array, strata: Strata) -> StratifiedMean:
    """Mean of the strata's means, each stratum weighing the same.

    Args:
        values: shape (N,).
        strata: shape (N,), nonnegative stratum of each value; a single stratum gives the ordinary mean.

    Returns:
        The mean; its variance sum s_b^2 / n_b / B^2 (NaN if a stratum has one value); degrees of freedom.
    """
    _, index = np.unique(strata, return_inverse=True)
    counts = np.bincount(index).astype(float)
    means = np.bincount(index, weights=values) / counts
    squares = np.bincount(index, weights=(values - means[index]) ** 2)
    with np.errstate(divide="ignore", invalid="ignore"):
        parts = squares / (counts - 1) / counts / len(counts) ** 2
        variance = float(parts.sum())
        degrees = float(variance**2 / np.sum(parts**2 / (counts - 1)))
    return StratifiedMean(float(means.mean()), variance, degrees)


def welch_interval(a: StratifiedMean, b: StratifiedMean, confidence: float = 0.95) -> tuple[float, float]:
    """Difference of two stratified means and half the width of its t-interval (NaN if a stratum has one value)."""
    variance = a.variance + b.variance
    if not variance > 0:
        return a.mean - b.mean, variance
    terms = sum(part.variance**2 / part.degrees for part in (a, b) if part.variance > 0)
    return a.mean - b.mean, float(stats.t(variance**2 / terms).ppf(0.5 + confidence / 2) * np.sqrt(variance))


def stratified_superiority(values: Array, first: NDArray[np.bool_], strata: Strata) -> tuple[float, Array, Array]:
    """Probability that a random model of the first space has a smaller value than one of the second in its stratum.

    Args:
        values: shape (N,).
        first: shape (N,), True for the models of the first space.
        strata: shape (N,); each stratum weighs the same and has models of both spaces.

    Returns:
        The probability, ties counted half, and the numbers of models of both spaces, each of shape (strata,).
    """
    wins, n_a, n_b = [], [], []
    for label in np.unique(strata):
        a, b = np.sort(values[first & (strata == label)]), values[~first & (strata == label)]
        below = (np.searchsorted(a, b, side="left") + np.searchsorted(a, b, side="right")) / 2
        wins.append(below.mean() / len(a))
        n_a.append(len(a))
        n_b.append(len(b))
    return float(np.mean(wins)), np.array(n_a, dtype=float), np.array(n_b, dtype=float)


def superiority_interval(theta: float, n_a: Array, n_b: Array, confidence: float = 0.95) -> tuple[float, float]:
    """Interval for a probability of superiority that stays sensible at 0 and 1, where a bootstrap collapses.

    Args:
        theta: observed probability, in [0, 1], the mean over strata.
        n_a, n_b: sample sizes per stratum, shape (strata,).

    Source: Newcombe, Statistics in Medicine 25 (2006) 559-573, method 5 (Hanley-McNeil variance, inverted like a score
    interval), with the variances of the strata added. At theta = 1/2 the variance is that of the Mann-Whitney
    (van Elteren) test, so the interval excludes 1/2 exactly when that test rejects.
    """
    z = float(stats.norm.ppf(0.5 + confidence / 2))
    pairs = n_a * n_b * len(n_a) ** 2
    larger = (n_a + n_b) / 2 - 1

    def excess(t: float) -> float:
        spread = np.sum(t * (1 - t) * (1 + larger * ((1 - t) / (2 - t) + t / (1 + t))) / pairs)
        return float((theta - t) ** 2 - z**2 * spread)

    # At theta = 0 and 1 the spread vanishes and theta itself is a root, but not the end of the interval.
    tiny = 1e-9
    low = 0.0 if theta <= tiny else optimize.brentq(excess, tiny / 2, min(theta, 1 - tiny))
    high = 1.0 if theta >= 1 - tiny else optimize.brentq(excess, max(theta, tiny), 1 - tiny / 2)
    return float(low), float(high)
