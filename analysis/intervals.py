"""Means over strata with their uncertainty, and the probability that one space's model beats another's."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, stats

Array = NDArray[np.float64]

NORMAL_FROM = 2000
"""Strata at least this large are resampled by their normal limit, which the mean of 2,000 draws has reached."""


@dataclass(frozen=True)
class StratifiedMean:
    """Mean over equally weighted strata, the variance of that mean, and Satterthwaite's degrees of freedom."""

    mean: float
    variance: float
    degrees: float


def stratified_mean(values: Array, strata: NDArray[np.int64]) -> StratifiedMean:
    """Mean of the strata's means, each stratum weighing the same.

    Args:
        values: shape (N,).
        strata: shape (N,), nonnegative stratum of each value; a single stratum gives the ordinary mean.

    Returns:
        The mean; its variance sum s_b^2 / n_b / B^2 (NaN if a stratum has one value); degrees of freedom.
    """
    means, variances, counts = _per_stratum(values, strata)
    number = len(means)
    parts = variances / counts / number**2
    variance = float(parts.sum())
    with np.errstate(divide="ignore", invalid="ignore"):
        degrees = float(variance**2 / np.sum(parts**2 / (counts - 1)))
    return StratifiedMean(float(means.mean()), variance, degrees)


def bootstrap_means(values: Array, strata: NDArray[np.int64], replicates: int, rng: np.random.Generator) -> Array:
    """Bootstrap replicates of the stratified mean, shape (replicates,).

    From a stratum of n values n - 1 are drawn with replacement, which makes the bootstrap variance s^2 / n unbiased
    however small the strata are (Rao & Wu 1988); the usual n draws would be too sure by (n - 1) / n.
    """
    labels = np.unique(strata)
    total = np.zeros(replicates)
    for label in labels:
        mine = values[strata == label]
        n = len(mine)
        if n < 2:
            return np.full(replicates, np.nan)
        if n >= NORMAL_FROM:
            total += rng.normal(mine.mean(), mine.std(ddof=1) / np.sqrt(n), replicates)
        else:
            total += mine[rng.integers(n, size=(replicates, n - 1))].mean(axis=1)
    return total / len(labels)


def welch(a: StratifiedMean, b: StratifiedMean) -> tuple[float, float]:
    """Welch's t-test of equal stratified means: standard error of their difference, p-value."""
    variance = a.variance + b.variance
    if not variance > 0:
        return (0.0, float(a.mean == b.mean)) if variance == 0 else (np.nan, np.nan)
    error = float(np.sqrt(variance))
    terms = sum(part.variance**2 / part.degrees for part in (a, b) if part.variance > 0)
    return error, float(2 * stats.t(variance**2 / terms).sf(abs(a.mean - b.mean) / error))


def probability_of_superiority(a: Array, weights_a: Array, b: Array, weights_b: Array) -> float:
    """P(a model of A has a smaller error than one of B) + half the probability of a tie; weights sum to 1."""
    order = np.argsort(b, kind="stable")
    sorted_b = b[order]
    cumulative = np.concatenate([[0.0], np.cumsum(weights_b[order])])
    not_above = cumulative[np.searchsorted(sorted_b, a, side="right")]
    below = cumulative[np.searchsorted(sorted_b, a, side="left")]
    return float(np.sum(weights_a * (1 - (not_above + below) / 2)))


def superiority_interval(theta: float, n_a: float, n_b: float, confidence: float = 0.95) -> tuple[float, float]:
    """Interval for a probability of superiority that stays sensible at 0 and 1, where a bootstrap collapses.

    Args:
        theta: observed probability, in [0, 1].
        n_a, n_b: (effective) sample sizes.

    Source: Newcombe, Statistics in Medicine 25 (2006) 559-573, method 5 (Hanley-McNeil variance, inverted as a
    score interval is).
    """
    z = float(stats.norm.ppf(0.5 + confidence / 2))
    larger = (n_a + n_b) / 2 - 1

    def excess(t: float) -> float:
        spread = t * (1 - t) * (1 + larger * ((1 - t) / (2 - t) + t / (1 + t))) / (n_a * n_b)
        return (theta - t) ** 2 - z**2 * spread

    # At theta = 0 and 1 the spread vanishes and theta itself is a root, not the one looked for: stay clear of it.
    tiny = 1e-9
    low = 0.0 if theta <= tiny else optimize.brentq(excess, tiny / 2, min(theta, 1 - tiny))
    high = 1.0 if theta >= 1 - tiny else optimize.brentq(excess, max(theta, tiny), 1 - tiny / 2)
    return float(low), float(high)


def _per_stratum(values: Array, strata: NDArray[np.int64]) -> tuple[Array, Array, Array]:
    _, index = np.unique(strata, return_inverse=True)
    counts = np.bincount(index).astype(float)
    means = np.bincount(index, weights=values) / counts
    squares = np.bincount(index, weights=(values - means[index]) ** 2)
    with np.errstate(divide="ignore", invalid="ignore"):
        return means, squares / (counts - 1), counts
