"""Error EDFs of design spaces with simultaneous confidence bands."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import optimize, special, stats

from analysis.matching import effective_sample_size

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


EDF_COLUMNS = {
    "error": "right end of a step, percent; the last row is +inf",
    "fraction": "F(e) = sum of w_i with e_i < e (strictly), for e in (previous error, error]",
    "lower": "lower end of the simultaneous band on that step",
    "upper": "upper end of the simultaneous band on that step",
    "n": "models behind the curve",
    "effective_n": "1 / sum w_i^2 (Kish); equal to n without weights",
    "band": "how the band was made",
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
        weights: shape (N,), nonnegative, normalised here; None for equal weights. Models of weight 0 do not count.
        confidence: probability that the whole true curve lies within the band.
        band: "auto" takes the exact band of `analysis.bands` up to its limit and "ks" (also exact, constant width)
            beyond. With unequal weights there is no exact band: the Dvoretzky-Kiefer-Wolfowitz width at the effective
            sample size is used, which is approximate, and the column `band` says so.

    Returns:
        A frame with the columns of EDF_COLUMNS, one row per distinct error and a last one at +inf. The value of a row
        holds on (previous error, error], so that matplotlib's `step(where="pre")` draws it.

    Raises:
        ValueError: no model, a non-finite error, a negative weight, shapes that differ.

    Source: Radosavovic et al. 2020 (arXiv 2003.13678), Eq. 1; weights: NDS (arXiv 1905.13214), Sec. 2.
    """
    values, w = _checked(errors, weights)
    n = len(values)
    distinct, inverse = np.unique(values, return_inverse=True)
    mass = np.bincount(inverse, weights=w, minlength=len(distinct))
    # A weight sum can end a rounding error above 1; a distribution function may not.
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
            raise ValueError(
                f"band is {band!r}; with unequal weights only 'auto' or 'dkw' (at the effective sample size) is allowed"
            )
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
    """One EDF per value of a column, stacked, with that column in front.

    Args:
        frame: columns `by` and `error_percent`, one row a model.
        weights: shape (len(frame),), e.g. `complexity_weights(...).weights`; models of weight 0 are left out.
        confidence: coverage of each curve's band by itself.
    """
    w = np.ones(len(frame)) if weights is None else np.asarray(weights, dtype=float)
    errors = frame["error_percent"].to_numpy(dtype=float)
    parts = []
    for label in frame[by].unique():
        rows = (frame[by] == label).to_numpy() & (w > 0)
        curve = edf(errors[rows], None if weights is None else w[rows], confidence=confidence)
        curve.insert(0, by, label)
        parts.append(curve)
    return pd.concat(parts, ignore_index=True)


def quantiles(curves: pd.DataFrame, by: str = "space", *, levels: Sequence[float] = LEVELS) -> pd.DataFrame:
    """Errors below which given fractions of the models lie, with the ends of the band.

    Args:
        curves: from `edf_by`.
        by: its first column.
        levels: fractions, in (0, 1).

    Returns:
        One row per space and level: `by`, fraction, error, lower, upper (percent; 0 and inf where the band is open).
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
        raise ValueError(f"errors has shape {values.shape}; a one-dimensional array of at least one model is needed")
    w = np.ones(len(values)) if weights is None else np.asarray(weights, dtype=float)
    if w.shape != values.shape:
        raise ValueError(f"weights has shape {w.shape}; it must be that of errors, {values.shape}")
    if not np.all(w >= 0) or not w.sum() > 0:
        raise ValueError("weights must be nonnegative with a positive sum")
    values, w = values[w > 0], w[w > 0]
    if not np.all(np.isfinite(values)):
        raise ValueError(f"{int(np.sum(~np.isfinite(values)))} errors are not finite; apply a failure policy first")
    return values, w / w.sum()


def describe_spaces(frame: pd.DataFrame, by: str = "space") -> pd.DataFrame:
    """Error distribution of each space in numbers: n, failed, min, quartiles, mean with its 95 % t-interval, percent.

    Args:
        frame: columns `by`, `error_percent` (finite) and, if failures are to be counted, `failed` (bool).
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
