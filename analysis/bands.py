"""Simultaneous confidence bands for the distribution function of n independent draws: exact, without simulation.

Three bands, all distribution-free: with their stated probability the *whole* true curve lies inside.

``exact``  equal local levels: every order statistic gets a Beta interval of one common level, the level chosen so that
           all of them hold at once (Learned-Miller & DeStefano 2008; Lourie, Cho & He, "Show Your Work with
           Confidence", arXiv 2311.09480). Tight at the ends, which is where the best models are. The package opda
           finds the level by simulation; here it comes from the non-crossing probability of a Poisson process
           (Moscovich & Nadler, "Fast calculation of boundary crossing probabilities", 2017), so it is reproducible.
``ks``     constant width, exact critical value of the Kolmogorov-Smirnov statistic.
``dkw``    constant width sqrt(log(2 / alpha) / (2 n)), Dvoretzky-Kiefer-Wolfowitz with Massart's constant.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, special, stats

Band = Literal["exact", "ks", "dkw"]
BANDS: tuple[Band, ...] = ("exact", "ks", "dkw")
EXACT_LIMIT = 2000
"""Largest n for which the equal-local-levels band is worth its O(n^1.5) steps; beyond it `ks` is exact and instant."""

Array = NDArray[np.float64]


def simultaneous_band(n: int, confidence: float = 0.95, band: Band = "exact") -> tuple[Array, Array]:
    """Bounds on the true distribution function by the number of draws below a point.

    Args:
        n: number of independent draws, at least 1.
        confidence: simultaneous coverage, in (0, 1).
        band: "exact" (equal local levels), "ks" or "dkw".

    Returns:
        lower, upper: arrays of shape (n + 1,); where exactly k of the n draws lie below e, F(e) is within
        [lower[k], upper[k]]. Exact for continuous errors, conservative when errors tie.

    Raises:
        ValueError: n < 1, confidence outside (0, 1), or an unknown band.
    """
    if n < 1:
        raise ValueError(f"n is {n}; a band needs at least 1 model")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence is {confidence}; it must be between 0 and 1, e.g. 0.95")
    if band == "exact":
        lower, upper = _equal_local_levels(n, confidence)
        return lower.copy(), upper.copy()
    if band == "ks":
        half_width = float(stats.kstwo(n).ppf(confidence))
    elif band == "dkw":
        half_width = dkw_half_width(n, confidence)
    else:
        raise ValueError(f"band is {band!r}; allowed: {', '.join(BANDS)}")
    steps = np.arange(n + 1) / n
    return np.clip(steps - half_width, 0, 1), np.clip(steps + half_width, 0, 1)


def dkw_half_width(n: float, confidence: float = 0.95) -> float:
    """Half width of the Dvoretzky-Kiefer-Wolfowitz-Massart band; n may be an effective sample size."""
    return float(np.sqrt(np.log(2 / (1 - confidence)) / (2 * n)))


@lru_cache(maxsize=256)
def _equal_local_levels(n: int, confidence: float) -> tuple[Array, Array]:
    def excess(log_level: float) -> float:
        return non_crossing_probability(*_beta_bounds(n, float(np.exp(log_level)))) - confidence

    # One interval alone needs level 1 - confidence; Bonferroni over n is always enough.
    alpha = 1 - confidence
    level = alpha
    if n > 1:
        level = float(np.exp(optimize.brentq(excess, np.log(alpha / n), np.log(alpha), xtol=1e-5)))
    a, b = _beta_bounds(n, level)
    # k draws below e: the k-th is below it, so F(e) >= a_k; the (k+1)-th is not, so F(e) <= b_(k+1).
    return np.concatenate([[0.0], a]), np.concatenate([b, [1.0]])


def _beta_bounds(n: int, level: float) -> tuple[Array, Array]:
    rank = np.arange(1, n + 1)
    a = special.betaincinv(rank, n + 1 - rank, level / 2).astype(np.float64)
    return a, 1 - a[::-1]


def non_crossing_probability(a: Array, b: Array) -> float:
    """Probability that the order statistics of n uniforms satisfy a_i <= U_(i) <= b_i for every i.

    Args:
        a, b: bounds, shape (n,), nondecreasing, within [0, 1], a_i <= b_i.

    Source: Moscovich & Nadler 2017: the count of a rate-n Poisson process conditioned on n events is the count of n
    uniforms; the vector of its state probabilities is pushed through the sorted bounds and cut at each.
    """
    n = len(a)
    times = np.concatenate([a, b, [1.0]])
    # At a tie the cut from below (a) comes first; the order within a tie does not change the probability.
    order = np.argsort(times, kind="stable")
    lower_cut, upper_cut = 0, 0  # how many b and how many a have been passed: lower_cut <= count <= upper_cut
    state = np.ones(1)  # state[k] = P(count = lower_cut + k and no bound crossed so far)
    log_factorial = special.gammaln(np.arange(n + 2) + 1)
    counts = np.arange(n + 1)
    now = 0.0
    for event in order:
        then = times[event]
        base = lower_cut
        top = n if event == 2 * n else upper_cut
        rate = n * (then - now)
        steps = counts[: top - base + 1]
        if rate > 0:
            pmf = np.exp(steps * np.log(rate) - rate - log_factorial[: len(steps)])
            state = np.convolve(state, pmf)[: len(steps)]
        else:
            state = np.pad(state, (0, max(0, len(steps) - len(state))))[: len(steps)]
        if event < n:
            upper_cut += 1
        elif event < 2 * n:
            lower_cut += 1
            state = state[1:]  # a count of base at time b_i would be one model too few
        now = float(then)
        if not state.size:
            return 0.0
    log_pmf_n = n * np.log(n) - n - log_factorial[n]
    return float(np.clip(state[n - lower_cut] / np.exp(log_pmf_n), 0, 1))
