"""Tests for two error distributions: Kolmogorov-Smirnov and the probability of superiority."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, stats

from analysis.adjustment import CommonCurve
from analysis.matching import effective_sample_size

Array = NDArray[np.float64]

EXACT_UP_TO = 2000
"""Maximum number of models of both spaces for scipy's exact p-value."""
PERMUTATIONS = 2000
PERMUTE_UP_TO = 2000
"""Maximum number of models for the permutation test. The asymptotic distribution is used above."""


@dataclass(frozen=True)
class KolmogorovSmirnov:
    """Kolmogorov-Smirnov distances between two (weighted) EDFs with p-values.

    Attributes:
        statistic, p_value: largest distance, two-sided.
        above, above_p: largest lead of the first EDF over the second (0 if it never leads), one-sided.
        below, below_p: largest lead of the second EDF over the first, one-sided.
        method: method of the p-values.
    """

    statistic: float
    p_value: float
    above: float
    above_p: float
    below: float
    below_p: float
    method: str


def curve_order(a: str, b: str, a_leads: bool, b_leads: bool) -> str:
    """Stochastic order of two EDFs as text: one dominates, they cross, or the order is undecided.

    "a dominates" means that a leads significantly somewhere and b nowhere. No test can prove dominance everywhere.
    """
    if a_leads and b_leads:
        return "the curves cross"
    if a_leads or b_leads:
        return f"{a if a_leads else b} dominates"
    return "not decided"


def kolmogorov_smirnov(errors: Array, first: NDArray[np.bool_]) -> KolmogorovSmirnov:
    """Two-sample Kolmogorov-Smirnov test without matching (scipy), exact for small samples.

    Args:
        errors: shape (N,), of both spaces.
        first: shape (N,), True for models of the first space.
    """
    method: Literal["exact", "asymp"] = "exact" if len(errors) <= EXACT_UP_TO else "asymp"
    sides: tuple[Literal["two-sided", "greater", "less"], ...] = ("two-sided", "greater", "less")
    with warnings.catch_warnings():
        # For some sample sizes scipy's exact sum overflows. It then warns and uses the asymptotic distribution.
        warnings.filterwarnings("ignore", "ks_2samp: Exact calculation unsuccessful", RuntimeWarning)
        tests = [stats.ks_2samp(errors[first], errors[~first], alternative=side, method=method) for side in sides]
    # scipy's "greater" refers to the distribution functions: a larger function means smaller errors.
    distances = [float(test.statistic) for test in tests]
    return _result(distances, [float(test.pvalue) for test in tests], f"scipy, {method}")


def matched_kolmogorov_smirnov(
    errors: Array,
    first: NDArray[np.bool_],
    strata: NDArray[np.int64],
    curve: CommonCurve,
    rng: np.random.Generator,
    permutations: int = PERMUTATIONS,
) -> KolmogorovSmirnov:
    """Two-sample Kolmogorov-Smirnov test at equal complexity.

    The trend over complexity is removed from the errors, and the models are weighted such that all bins have equal
    weight. The p-values come from permutations, within bins, of the residuals under the null hypothesis. The curve is
    refitted for every permutation to include its uncertainty (Freedman & Lane, Journal of Business & Economic
    Statistics 1 (1983) 292-298).

    Args:
        errors: shape (N,), of both spaces.
        first: shape (N,), True for models of the first space.
        strata: shape (N,), complexity bin of each model, -1 outside the common range. Each bin has models of both
            spaces.
        curve: common error curve of the same models.
        rng: generator for the permutations.
        permutations: number of permutations.
    """
    bins, index = np.unique(strata, return_inverse=True)
    inside = strata >= 0
    sizes = np.array([np.bincount(index[members], minlength=len(bins)) for members in (first, ~first)])
    signed = np.where(first, 1.0, -1.0) / sizes[np.where(first, 0, 1), index] / np.sum(bins >= 0)
    observed = _distances(curve.remove(errors)[inside], signed[inside])
    if len(errors) > PERMUTE_UP_TO:
        n, m = (effective_sample_size(signed[inside & members]) for members in (first, ~first))
        scaled = np.sqrt(n * m / (n + m)) * observed
        p = [float(stats.kstwobign.sf(scaled[0])), *np.exp(-2 * scaled[1:] ** 2)]
        return _result(observed, p, "asymptotic at the effective sample sizes")
    residuals = curve.residuals(errors)
    as_large, at_once = np.zeros(3), max(1, 1_000_000 // len(errors))
    for done in range(0, permutations, at_once):
        shuffled = np.tile(residuals, (min(at_once, permutations - done), 1))
        for label in bins:
            shuffled[:, strata == label] = rng.permuted(shuffled[:, strata == label], axis=1)
        distances = _distances(curve.remove(shuffled)[:, inside], signed[inside])
        as_large += np.sum(distances >= observed[:, None] - 1e-12, axis=1)
    return _result(observed, (as_large + 1) / (permutations + 1), f"{permutations} permutations within complexity bins")


def _result(observed: Sequence[float] | Array, p: Sequence[float] | Array, method: str) -> KolmogorovSmirnov:
    both, above, below = ((float(d), float(q)) for d, q in zip(observed, p, strict=True))
    return KolmogorovSmirnov(*both, *above, *below, method)


def _distances(errors: Array, signed: Array) -> Array:
    """Largest distance, lead and lag of the weighted EDFs, shape (3, ...).

    Args:
        errors: shape (..., N).
        signed: shape (N,), weights of the models, negative for the second space.
    """
    order = np.argsort(errors, axis=-1)
    e = np.take_along_axis(errors, order, axis=-1)
    gap = np.cumsum(signed[order], axis=-1)
    # Compare the curves only after the last of a run of ties.
    gap[..., :-1][e[..., 1:] - e[..., :-1] <= 1e-9] = 0
    lead, lag = np.maximum(gap.max(axis=-1), 0), np.maximum(-gap.min(axis=-1), 0)
    return np.stack([np.maximum(lead, lag), lead, lag])


def holm(p_values: Array) -> Array:
    """Adjust p-values for multiple tests with Holm's step-down method.

    Source: Holm, Scandinavian Journal of Statistics 6 (1979) 65-70.
    """
    p = np.asarray(p_values, dtype=float)
    order = np.argsort(p)
    adjusted = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    out = np.empty_like(p)
    out[order] = np.minimum(adjusted, 1)
    return out


def placements(errors: Array, first: NDArray[np.bool_]) -> Array:
    """Fraction of models with a smaller error (ties count half), averaged over the two spaces, shape (N,).

    The mean placement of the second space minus that of the first is P(first has the smaller error) - 1/2, so tests of
    means apply to this probability.

    Args:
        errors: shape (N,), of both spaces.
        first: shape (N,), True for models of the first space.
    """
    below = np.zeros(len(errors))
    for members in (first, ~first):
        ordered = np.sort(errors[members])
        ranks = np.searchsorted(ordered, errors, side="left") + np.searchsorted(ordered, errors, side="right")
        below += ranks / len(ordered) / 4
    return below


def superiority_interval(theta: float, n_a: float, n_b: float, confidence: float = 0.95) -> tuple[float, float]:
    """Confidence interval for a probability of superiority, valid up to 0 and 1.

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

    # At theta = 0 and 1 the variance is 0, and theta is a root but not the end of the interval.
    tiny = 1e-9
    low = 0.0 if theta <= tiny else optimize.brentq(excess, tiny / 2, min(theta, 1 - tiny))
    high = 1.0 if theta >= 1 - tiny else optimize.brentq(excess, max(theta, tiny), 1 - tiny / 2)
    return float(low), float(high)
