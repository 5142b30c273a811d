"""The two-sample Kolmogorov-Smirnov test, plain and at matched complexity."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from analysis.matching import effective_sample_size

Array = NDArray[np.float64]

EXACT_UP_TO = 2000
"""Up to this many models of both spaces scipy's exact p-value is quick and sure."""
PERMUTATIONS = 2000
PERMUTE_UP_TO = 5000
"""With complexity bins and more models than this the asymptotic law at the effective sample sizes is used."""


@dataclass(frozen=True)
class KolmogorovSmirnov:
    """Largest distance between two (weighted) EDFs, its p-value, and how the p-value was made.

    Attributes:
        statistic, p_value: two-sided.
        above, above_p: largest lead of the first curve over the second (0 if it never leads) with its one-sided
            p-value.
        below, below_p: the same for the second over the first.
        method: how the p-values were made.
    """

    statistic: float
    p_value: float
    above: float
    above_p: float
    below: float
    below_p: float
    method: str


def curve_order(a: str, b: str, a_leads: bool, b_leads: bool) -> str:
    """Stochastic order in words: the first (in errors: the smaller ones) dominates, they cross, or nothing is shown.

    "a dominates" says that a's curve is shown to lead somewhere and b's nowhere: consistent with dominance, which no
    test can prove.
    """
    if a_leads and b_leads:
        return "the curves cross"
    if a_leads or b_leads:
        return f"{a if a_leads else b} dominates"
    return "not decided"


def kolmogorov_smirnov(
    errors: Array, first: NDArray[np.bool_], strata: NDArray[np.int64], rng: np.random.Generator
) -> KolmogorovSmirnov:
    """Test whether two spaces have the same error distribution, given the stratum (complexity bin).

    Args:
        errors: shape (N,), of both spaces.
        first: shape (N,), True for the models of the first space.
        strata: shape (N,), complexity bin of each model; each bin weighs the same. A single bin is the ordinary test,
            left to scipy (exact for small samples).
        rng: for the permutations: with several bins, labels are permuted within each bin, which is exact under the
            hypothesis that complexity explains all of the difference.
    """
    if len(np.unique(strata)) == 1:
        method: Literal["exact", "asymp"] = "exact" if len(errors) <= EXACT_UP_TO else "asymp"
        sides: tuple[Literal["two-sided", "greater", "less"], ...] = ("two-sided", "greater", "less")
        with warnings.catch_warnings():
            # For some pairs of sizes scipy's exact sum overflows; it says so and takes the asymptotic law.
            warnings.filterwarnings("ignore", "ks_2samp: Exact calculation unsuccessful", RuntimeWarning)
            tests = [stats.ks_2samp(errors[first], errors[~first], alternative=side, method=method) for side in sides]
        # scipy's "greater" is about the first distribution function, which is large where errors are small.
        distances = [float(test.statistic) for test in tests]
        return _result(distances, [float(test.pvalue) for test in tests], f"scipy, {method}")
    # Rows ordered by error; only the last of a run of ties is a place where the two curves may be compared.
    order = np.argsort(errors, kind="stable")
    e, a, s = errors[order], first[order], strata[order]
    ends = np.append(e[1:] != e[:-1], True)
    bins = np.unique(s)
    plus, minus = np.zeros(len(e)), np.zeros(len(e))
    for label in bins:
        here = s == label
        plus[here] = 1 / (np.sum(a & here) * len(bins))
        minus[here] = 1 / (np.sum(~a & here) * len(bins))
    observed = _distances(a, plus, minus, ends)
    if len(e) > PERMUTE_UP_TO:
        n, m = effective_sample_size(plus[a]), effective_sample_size(minus[~a])
        scaled = np.sqrt(n * m / (n + m)) * observed
        p = [float(stats.kstwobign.sf(scaled[0])), *np.exp(-2 * scaled[1:] ** 2)]
        return _result(observed, p, "asymptotic at the effective sample sizes")
    as_large, at_once = np.zeros(3), max(1, 1_000_000 // len(e))
    for done in range(0, PERMUTATIONS, at_once):
        shuffled = np.tile(a, (min(at_once, PERMUTATIONS - done), 1))
        for label in bins:
            shuffled[:, s == label] = rng.permuted(shuffled[:, s == label], axis=1)
        as_large += np.sum(_distances(shuffled, plus, minus, ends) >= observed[:, None] - 1e-12, axis=1)
    return _result(observed, (as_large + 1) / (PERMUTATIONS + 1), f"{PERMUTATIONS} permutations within complexity bins")


def _result(observed: Sequence[float] | Array, p: Sequence[float] | Array, method: str) -> KolmogorovSmirnov:
    both, above, below = ((float(d), float(q)) for d, q in zip(observed, p, strict=True))
    return KolmogorovSmirnov(*both, *above, *below, method)


def _distances(first: NDArray[np.bool_], plus: Array, minus: Array, ends: NDArray[np.bool_]) -> Array:
    """Largest distance, largest lead, largest lag at the ends of runs of ties; shape (3,) or (3, permutations)."""
    gap = np.cumsum(np.where(first, plus, -minus), axis=-1)[..., ends]
    lead, lag = np.maximum(gap.max(axis=-1), 0), np.maximum(-gap.min(axis=-1), 0)
    return np.stack([np.maximum(lead, lag), lead, lag])


def holm(p_values: Array) -> Array:
    """Holm's step-down correction: p-values of m tests, made safe to read together.

    Source: Holm, Scandinavian Journal of Statistics 6 (1979) 65-70.
    """
    p = np.asarray(p_values, dtype=float)
    order = np.argsort(p)
    adjusted = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    out = np.empty_like(p)
    out[order] = np.minimum(adjusted, 1)
    return out
