"""The two-sample Kolmogorov-Smirnov test, plain and at matched complexity."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from analysis.matching import effective_sample_size

Array = NDArray[np.float64]

PERMUTATIONS = 2000
PERMUTE_UP_TO = 5000
"""Above this many models the asymptotic law at the effective sample sizes replaces the permutations."""


@dataclass(frozen=True)
class KolmogorovSmirnov:
    """Largest distance between two (weighted) EDFs, its p-value, and how the p-value was made."""

    statistic: float
    p_value: float
    method: str


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
        found = stats.ks_2samp(errors[first], errors[~first])
        return KolmogorovSmirnov(float(found.statistic), float(found.pvalue), "scipy, exact for small samples")
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
    observed = float(_distance(a, plus, minus, ends))
    if len(e) > PERMUTE_UP_TO:
        n, m = effective_sample_size(plus[a]), effective_sample_size(minus[~a])
        p = float(stats.kstwobign.sf(np.sqrt(n * m / (n + m)) * observed))
        return KolmogorovSmirnov(observed, p, "asymptotic at the effective sample sizes")
    as_large, at_once = 0, max(1, 1_000_000 // len(e))
    for done in range(0, PERMUTATIONS, at_once):
        shuffled = np.tile(a, (min(at_once, PERMUTATIONS - done), 1))
        for label in bins:
            shuffled[:, s == label] = rng.permuted(shuffled[:, s == label], axis=1)
        as_large += int(np.sum(_distance(shuffled, plus, minus, ends) >= observed - 1e-12))
    return KolmogorovSmirnov(
        observed, (as_large + 1) / (PERMUTATIONS + 1), f"{PERMUTATIONS} permutations within complexity bins"
    )


def _distance(first: NDArray[np.bool_], plus: Array, minus: Array, ends: NDArray[np.bool_]) -> Array:
    """Largest distance at the ends of runs of ties, along the last axis of `first`."""
    return np.asarray(np.abs(np.cumsum(np.where(first, plus, -minus), axis=-1))[..., ends].max(axis=-1))


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
