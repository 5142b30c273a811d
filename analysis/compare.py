"""Spaces side by side: one row a space, one row a pair, with the uncertainty and the number of models behind each."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from analysis.intervals import (
    bootstrap_means,
    probability_of_superiority,
    stratified_mean,
    superiority_interval,
    welch,
)
from analysis.kolmogorov_smirnov import holm, kolmogorov_smirnov
from analysis.matching import complexity_weights, effective_sample_size

REPLICATES = 2000
POWER = 0.8

COMPARISON_COLUMNS = {
    "a, b": "the two spaces; differences are a - b, so that negative means a is better",
    "matched_by": "complexity column on which the two were matched, or 'none'",
    "bins": "complexity bins, equally weighted; 1 without matching",
    "n_a, n_b": "models that count (inside the common range)",
    "effective_n_a, effective_n_b": "Kish's effective sample size under the weights",
    "min_a, min_b": "smallest error, percent",
    "mean_a, mean_b": "(weighted) mean error, percent",
    "difference, difference_lower, difference_upper": "mean_a - mean_b, points, with a bootstrap interval",
    "difference_p": "Welch's t-test of equal means over the bins",
    "area, area_lower, area_upper": "area under the EDF of a minus that of b, as a share of the area up to "
    "area_limit, with a bootstrap interval; positive means a is better",
    "area_limit": "error up to which areas are taken, percent; by default the pair's median, so that it is about the "
    "good half (the area up to the worst error says the same as the mean)",
    "ks, ks_p, ks_p_holm, ks_method": "Kolmogorov-Smirnov distance, p-value, p-value corrected for the number of pairs",
    "lead, lead_p, lag, lag_p": "largest lead of a's curve over b's and the reverse, with one-sided p-values",
    "order": "stochastic order shown: one dominates (leads somewhere, not shown to lag), they cross, not decided",
    "a_better, a_better_lower, a_better_upper": "P(a random model of a beats one of b), ties half, with interval",
    "detectable": "smallest difference of means, points, seen with 80 % power at this spread and n (5 % two-sided)",
    "models_needed": "models to train in each space, drawn as these were (some outside the common range), to see the "
    "observed difference with 80 % power",
}


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


def compare_spaces(
    frame: pd.DataFrame,
    by: str = "space",
    *,
    match: str | None = "macs",
    confidence: float = 0.95,
    area_limit: float | None = None,
    seed: int = 0,
) -> pd.DataFrame:
    """Compare every pair of spaces, at matched complexity by default.

    Args:
        frame: columns `by`, `error_percent` (finite; apply a failure policy first) and `match`; one row a model.
        by: the column that names the spaces; at least two of them.
        match: complexity column to match on (see `analysis.matching`), None to compare the spaces as they are.
        confidence: of every interval.
        area_limit: error up to which EDF areas are compared, percent; the median of each pair by default.
        seed: of the bootstrap (Rao & Wu, 2,000 replicates within bins) and the permutations.

    Returns:
        One row a pair, columns as in COMPARISON_COLUMNS, ordered as the spaces appear.

    Raises:
        ValueError: fewer than two spaces, or two that have no common complexity range.

    Sources: matching Radosavovic et al. 2019 (arXiv 1905.13214); probability of improvement Agarwal et al. 2021
    (arXiv 2108.13264).
    """
    spaces = list(dict.fromkeys(frame[by].astype(str)))
    if len(spaces) < 2:
        raise ValueError(f"column {by!r} has the one value {spaces}; a comparison needs at least two")
    result = pd.DataFrame(
        [_pair(frame, by, a, b, match, confidence, area_limit, seed) for a, b in combinations(spaces, 2)]
    )
    result.insert(list(result.columns).index("ks_p") + 1, "ks_p_holm", holm(result["ks_p"].to_numpy()))
    return result


def _pair(
    frame: pd.DataFrame,
    by: str,
    a: str,
    b: str,
    match: str | None,
    confidence: float,
    area_limit: float | None,
    seed: int,
) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    pair = frame[frame[by].astype(str).isin([a, b])].reset_index(drop=True)
    first = (pair[by].astype(str) == a).to_numpy()
    drawn_a, drawn_b = int(first.sum()), int((~first).sum())
    if match is None:
        strata = np.zeros(len(pair), dtype=np.int64)
        weights = np.where(first, 1 / drawn_a, 1 / drawn_b)
    else:
        matched = complexity_weights(pair, match, space=by)
        weights, strata = matched.weights, matched.strata
    counts = strata >= 0
    errors = pair["error_percent"].to_numpy(dtype=float)[counts]
    weights, strata, first = weights[counts], strata[counts], first[counts]

    mean_a, mean_b = stratified_mean(errors[first], strata[first]), stratified_mean(errors[~first], strata[~first])
    difference = mean_a.mean - mean_b.mean
    lower, upper = _bootstrap_difference(errors, first, strata, confidence, rng)
    limit = float(np.median(errors)) if area_limit is None else area_limit
    if not limit > 0:
        raise ValueError(f"area_limit is {limit}; it must be a positive error in percent")
    # The area under an EDF up to a limit (NDS) is a mean too: of how far below the limit each error is.
    below = 1 - np.minimum(1, errors / limit)
    area = stratified_mean(below[first], strata[first]).mean - stratified_mean(below[~first], strata[~first]).mean
    area_lower, area_upper = _bootstrap_difference(below, first, strata, confidence, rng)
    error, p_value = welch(mean_a, mean_b)
    ks = kolmogorov_smirnov(errors, first, strata, rng)
    n_a, n_b = effective_sample_size(weights[first]), effective_sample_size(weights[~first])
    better = probability_of_superiority(errors[first], weights[first], errors[~first], weights[~first])
    better_lower, better_upper = superiority_interval(better, n_a, n_b, confidence)
    z = float(stats.norm.ppf(0.975) + stats.norm.ppf(POWER))
    # A variance falls as one over the models drawn: with m in each space `detectable` is z * sqrt(variance_of_one / m).
    variance_of_one = drawn_a * mean_a.variance + drawn_b * mean_b.variance
    needed = np.ceil(variance_of_one * (z / difference) ** 2) if difference else np.inf
    return {
        "a": a,
        "b": b,
        "matched_by": match or "none",
        "bins": len(np.unique(strata)),
        "n_a": int(first.sum()),
        "n_b": int((~first).sum()),
        "effective_n_a": n_a,
        "effective_n_b": n_b,
        "min_a": errors[first].min(),
        "min_b": errors[~first].min(),
        "mean_a": mean_a.mean,
        "mean_b": mean_b.mean,
        "difference": difference,
        "difference_lower": lower,
        "difference_upper": upper,
        "difference_p": p_value,
        "area": area,
        "area_lower": area_lower,
        "area_upper": area_upper,
        "area_limit": limit,
        "ks": ks.statistic,
        "ks_p": ks.p_value,
        "ks_method": ks.method,
        "lead": ks.above,
        "lead_p": ks.above_p,
        "lag": ks.below,
        "lag_p": ks.below_p,
        "order": ks.order(a, b),
        "a_better": better,
        "a_better_lower": better_lower,
        "a_better_upper": better_upper,
        "detectable": z * error,
        "models_needed": needed,
    }


def _bootstrap_difference(
    values: NDArray[np.float64],
    first: NDArray[np.bool_],
    strata: NDArray[np.int64],
    confidence: float,
    rng: np.random.Generator,
) -> tuple[float, float]:
    draws = bootstrap_means(values[first], strata[first], REPLICATES, rng)
    draws -= bootstrap_means(values[~first], strata[~first], REPLICATES, rng)
    lower, upper = np.quantile(draws, [0.5 - confidence / 2, 0.5 + confidence / 2])
    return float(lower), float(upper)
