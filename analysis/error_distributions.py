"""Error EDFs with simultaneous confidence bands.

The EDF is the fraction of models with an error below e. A simultaneous band contains the true curve at all errors at
once with the stated probability. All bands are distribution-free:

``exact``  equal local levels: a Beta interval for every order statistic, with one common level chosen such that all
           intervals hold at once (Learned-Miller & DeStefano 2008; Lourie, Cho & He, "Show Your Work with
           Confidence", arXiv 2311.09480). Tight at the ends of the distribution, where the best models are. The level
           comes from the non-crossing probability of a Poisson process (Moscovich & Nadler, "Fast calculation of
           boundary crossing probabilities", 2017) rather than from simulation.
``ks``     constant width, from the exact distribution of the Kolmogorov-Smirnov statistic.
``dkw``    constant width sqrt(log(2 / alpha) / (2 n)), Dvoretzky-Kiefer-Wolfowitz with Massart's constant.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import optimize, special, stats

from analysis.matching import effective_sample_size
from designspace.validated import shorten, unknown

Band = Literal["exact", "ks", "dkw"]
BANDS: tuple[Band, ...] = ("exact", "ks", "dkw")
EXACT_LIMIT = 2000
"""Largest n for the exact band, which takes O(n^1.5) steps. Above it, "auto" uses `ks`."""

Array = NDArray[np.float64]


def simultaneous_band(n: int, confidence: float = 0.95, band: Band = "exact") -> tuple[Array, Array]:
    """Simultaneous confidence bounds on a distribution function, by the number of draws below a point.

    Args:
        n: number of independent draws, at least 1.
        confidence: simultaneous coverage, in (0, 1).
        band: "exact", "ks" or "dkw".

    Returns:
        lower, upper: shape (n + 1,). If k of the n draws are below e, then lower[k] <= F(e) <= upper[k]. Exact for
        continuous errors, conservative with ties.

    Raises:
        ValueError: n < 1, confidence outside (0, 1), or an unknown band.
    """
    if n < 1:
        raise ValueError(f"n = {n}: must be at least 1")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence = {confidence}: must be between 0 and 1, for example 0.95")
    if band == "exact":
        lower, upper = _equal_local_levels(n, confidence)
        return lower.copy(), upper.copy()
    if band == "ks":
        half_width = float(stats.kstwo(n).ppf(confidence))
    elif band == "dkw":
        half_width = dkw_half_width(n, confidence)
    else:
        raise ValueError(unknown("band", band, BANDS))
    steps = np.arange(n + 1) / n
    return np.clip(steps - half_width, 0, 1), np.clip(steps + half_width, 0, 1)


def dkw_half_width(n: float, confidence: float = 0.95) -> float:
    """Half width of the Dvoretzky-Kiefer-Wolfowitz-Massart band. n may be an effective sample size."""
    return float(np.sqrt(np.log(2 / (1 - confidence)) / (2 * n)))


@lru_cache(maxsize=256)
def _equal_local_levels(n: int, confidence: float) -> tuple[Array, Array]:
    def excess(log_level: float) -> float:
        return non_crossing_probability(*_beta_bounds(n, float(np.exp(log_level)))) - confidence

    # The level lies between Bonferroni over n intervals and the level of a single interval.
    alpha = 1 - confidence
    level = alpha
    if n > 1:
        level = float(np.exp(optimize.brentq(excess, np.log(alpha / n), np.log(alpha), xtol=1e-5)))
    a, b = _beta_bounds(n, level)
    # With k draws below e, the k-th is below e, so F(e) >= a_k. The (k+1)-th is not, so F(e) <= b_(k+1).
    return np.concatenate([[0.0], a]), np.concatenate([b, [1.0]])


def _beta_bounds(n: int, level: float) -> tuple[Array, Array]:
    rank = np.arange(1, n + 1)
    a = special.betaincinv(rank, n + 1 - rank, level / 2).astype(np.float64)
    return a, 1 - a[::-1]


def non_crossing_probability(a: Array, b: Array) -> float:
    """Probability that the order statistics of n uniform draws satisfy a_i <= U_(i) <= b_i for all i.

    Args:
        a, b: bounds, shape (n,), nondecreasing, within [0, 1], a_i <= b_i.

    Source: Moscovich & Nadler 2017. The counts of a Poisson process of rate n, conditioned on n events, are distributed
    like those of n uniform draws. The vector of state probabilities is propagated from bound to bound and truncated at
    each.
    """
    n = len(a)
    times = np.concatenate([a, b, [1.0]])
    # At ties, lower bounds a come first. The order within ties does not change the probability.
    order = np.argsort(times, kind="stable")
    lower_cut, upper_cut = 0, 0  # number of b and of a passed so far: lower_cut <= count <= upper_cut
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
            state = state[1:]  # a count of base at time b_i violates the bound
        now = float(then)
        if not state.size:
            return 0.0
    log_pmf_n = n * np.log(n) - n - log_factorial[n]
    return float(np.clip(state[n - lower_cut] / np.exp(log_pmf_n), 0, 1))


EDF_COLUMNS = {
    "error": "right end of the step, percent; +inf in the last row",
    "fraction": "F(e) = sum of w_i with e_i < e (strictly), for e in (previous error, error]",
    "lower": "lower bound of the simultaneous band on the step",
    "upper": "upper bound of the simultaneous band on the step",
    "n": "number of models",
    "effective_n": "effective sample size 1 / sum w_i^2 (Kish); n without weights",
    "band": "kind and confidence of the band",
}


LEVELS = (0.05, 0.25, 0.5, 0.75, 0.95)


def edf(
    errors: ArrayLike,
    weights: ArrayLike | None = None,
    *,
    confidence: float = 0.95,
    band: Literal["auto", "exact", "ks", "dkw"] = "auto",
) -> pd.DataFrame:
    """Empirical distribution function of the errors with a simultaneous confidence band.

    Args:
        errors: shape (N,), percent, finite.
        weights: shape (N,), nonnegative, normalized to sum 1; None for equal weights. Models of weight 0 are excluded.
        confidence: simultaneous coverage of the band.
        band: "auto" selects the exact band for up to EXACT_LIMIT models and "ks" above. Unequal weights have no exact
            band: "auto" and "dkw" use the approximate DKW band at the effective sample size.

    Returns:
        A frame with the columns of EDF_COLUMNS: one row per distinct error and a last row at +inf. The values of a row
        hold on (previous error, error], as in matplotlib's `step(where="pre")`.

    Raises:
        ValueError: no model, a non-finite error, a negative weight, different shapes.

    Source: Radosavovic et al. 2020 (arXiv 2003.13678), Eq. 1. Weights: NDS (arXiv 1905.13214), Sec. 2.
    """
    values, w = _checked(errors, weights)
    n = len(values)
    distinct, inverse = np.unique(values, return_inverse=True)
    mass = np.bincount(inverse, weights=w, minlength=len(distinct))
    # Rounding can bring the sum of weights above 1.
    fraction = np.minimum(np.concatenate([[0.0], np.cumsum(mass)]), 1.0)
    fraction[-1] = 1.0
    equal = bool(np.allclose(w, 1 / n, rtol=1e-9, atol=0))
    effective = float(n) if equal else effective_sample_size(w)
    if equal:
        kind: Band = ("exact" if n <= EXACT_LIMIT else "ks") if band == "auto" else band
        below = np.concatenate([[0], np.cumsum(np.bincount(inverse, minlength=len(distinct)))])
        lower, upper = (bound[below] for bound in simultaneous_band(n, confidence, kind))
        made = f"{kind} {confidence:.0%}"
    else:
        if band not in ("auto", "dkw"):
            raise ValueError(f"band = {band}: must be auto or dkw with unequal weights")
        half_width = dkw_half_width(effective, confidence)
        lower, upper = np.clip(fraction - half_width, 0, 1), np.clip(fraction + half_width, 0, 1)
        made = f"dkw {confidence:.0%} at effective n {effective:.1f} (approximate)"
    return pd.DataFrame(
        {
            "error": np.append(distinct, np.inf),
            "fraction": fraction,
            "lower": lower,
            "upper": upper,
            "n": n,
            "effective_n": effective,
            "band": made,
        }
    )


def edf_by(
    frame: pd.DataFrame, by: str = "space", *, weights: ArrayLike | None = None, confidence: float = 0.95
) -> pd.DataFrame:
    """EDFs of all groups of a column, stacked, with that column first.

    Args:
        frame: columns `by` and `error_percent`, one row per model.
        weights: shape (len(frame),), for example `complexity_weights(...).weights`. Models of weight 0 are excluded.
        confidence: simultaneous coverage of each band, separately for each group.
    """
    return curves_by_group(frame, by, weights, lambda errors, w: edf(errors, w, confidence=confidence))


def curves_by_group(
    frame: pd.DataFrame,
    by: str,
    weights: ArrayLike | None,
    curve: Callable[[NDArray[np.float64], NDArray[np.float64] | None], pd.DataFrame],
) -> pd.DataFrame:
    """Stack the curve of each group's errors and weights, with the group column first; weight 0 excludes a model."""
    w = np.ones(len(frame)) if weights is None else np.asarray(weights, dtype=float)
    errors = frame["error_percent"].to_numpy(dtype=float)
    parts = []
    for label in frame[by].unique():
        rows = (frame[by] == label).to_numpy() & (w > 0)
        part = curve(errors[rows], None if weights is None else w[rows])
        part.insert(0, by, label)
        parts.append(part)
    return pd.concat(parts, ignore_index=True)


def quantiles(curves: pd.DataFrame, by: str = "space", *, levels: Sequence[float] = LEVELS) -> pd.DataFrame:
    """Quantiles of the errors with confidence bounds from the band.

    Args:
        curves: from `edf_by`.
        by: the first column of `curves`.
        levels: fractions, in (0, 1).

    Returns:
        One row per space and level: `by`, fraction, error, lower, upper (percent; 0 and inf where there is no bound).
    """
    rows = []
    for label, curve in curves.groupby(by, sort=False):
        at = np.concatenate([[0.0], curve["error"].to_numpy()[:-1], [np.inf]])
        for level in levels:
            ends = {
                name: float(at[np.searchsorted(curve[column].to_numpy(), level - 1e-12)])
                for name, column in (("error", "fraction"), ("lower", "upper"), ("upper", "lower"))
            }
            rows.append({by: label, "fraction": level, **ends})
    return pd.DataFrame(rows)


def _checked(errors: ArrayLike, weights: ArrayLike | None) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    values = np.asarray(errors, dtype=float)
    if values.ndim != 1 or not len(values):
        raise ValueError(f"errors = array of shape {values.shape}: must be one-dimensional with at least one value")
    w = np.ones(len(values)) if weights is None else np.asarray(weights, dtype=float)
    if w.shape != values.shape:
        raise ValueError(f"weights = array of shape {w.shape}: must have the shape of errors, {values.shape}")
    if not np.all(w >= 0) or not w.sum() > 0:
        raise ValueError(f"weights = {shorten(w.tolist())}: must be nonnegative with a positive sum")
    values, w = values[w > 0], w[w > 0]
    if not np.all(np.isfinite(values)):
        raise ValueError(f"errors = {values[~np.isfinite(values)][0]}: must be finite (apply a failure policy first)")
    return values, w / w.sum()


def describe_spaces(frame: pd.DataFrame, by: str = "space") -> pd.DataFrame:
    """Summary of the errors of each space: n, failed, min, quartiles, max, and mean with its 95 % t-interval, in
    percent.

    Args:
        frame: columns `by`, `error_percent` (finite) and optionally `failed` (bool).
    """
    rows: list[dict[str, Any]] = []
    for label, part in frame.groupby(by, sort=False):
        errors = part["error_percent"].to_numpy(dtype=float)
        n = len(errors)
        half = float(stats.t.ppf(0.975, n - 1) * errors.std(ddof=1) / np.sqrt(n)) if n > 1 else np.nan
        low, middle, high = np.quantile(errors, [0.25, 0.5, 0.75])
        rows.append(
            {
                by: label,
                "n": n,
                "failed": int(part["failed"].sum()) if "failed" in part else 0,
                "min": errors.min(),
                "quarter": low,
                "median": middle,
                "three_quarters": high,
                "max": errors.max(),
                "mean": errors.mean(),
                "mean_lower": errors.mean() - half,
                "mean_upper": errors.mean() + half,
            }
        )
    return pd.DataFrame(rows)
