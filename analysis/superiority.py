"""The probability that a random model of one space beats one of another."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, stats

Array = NDArray[np.float64]


def placements(errors: Array, first: NDArray[np.bool_]) -> Array:
    """Share of the models with a smaller error, ties counted half, averaged over the two spaces; shape (N,).

    The mean placement of the second space minus that of the first is P(a model of the first has the smaller error)
    minus 1/2, which turns questions about this probability into questions about means.

    Args:
        errors: shape (N,), of both spaces.
        first: shape (N,), True for the models of the first space.
    """
    below = np.zeros(len(errors))
    for mine in (first, ~first):
        ordered = np.sort(errors[mine])
        ranks = np.searchsorted(ordered, errors, side="left") + np.searchsorted(ordered, errors, side="right")
        below += ranks / len(ordered) / 4
    return below


def superiority_interval(theta: float, n_a: float, n_b: float, confidence: float = 0.95) -> tuple[float, float]:
    """Interval for a probability of superiority that stays sensible at 0 and 1, where a bootstrap collapses.

    Args:
        theta: observed probability, in [0, 1].
        n_a, n_b: (effective) sample sizes.

    Source: Newcombe, Statistics in Medicine 25 (2006) 559-573, method 5 (Hanley-McNeil variance, inverted like a score
    interval). At theta = 1/2 the variance is that of the Mann-Whitney test.
    """
    z = float(stats.norm.ppf(0.5 + confidence / 2))
    larger = (n_a + n_b) / 2 - 1

    def excess(t: float) -> float:
        spread = t * (1 - t) * (1 + larger * ((1 - t) / (2 - t) + t / (1 + t))) / (n_a * n_b)
        return (theta - t) ** 2 - z**2 * spread

    # At theta = 0 and 1 the spread vanishes and theta itself is a root, but not the end of the interval.
    tiny = 1e-9
    low = 0.0 if theta <= tiny else optimize.brentq(excess, tiny / 2, min(theta, 1 - tiny))
    high = 1.0 if theta >= 1 - tiny else optimize.brentq(excess, max(theta, tiny), 1 - tiny / 2)
    return float(low), float(high)
