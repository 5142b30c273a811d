"""Pairwise comparison of design spaces at equal complexity."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from analysis.adjustment import CommonCurve, Contrast, ErrorCurve, smallest_p_values
from analysis.matching import MIN_MODELS, central_range, common_range, equal_bins, log_complexity
from analysis.two_sample import (
    PERMUTATIONS,
    curve_order,
    holm,
    kolmogorov_smirnov,
    matched_kolmogorov_smirnov,
    placements,
    superiority_interval,
)
from designspace.validated import unknown

if TYPE_CHECKING:
    from analysis.rows import Source

TRAINING = {"recipe": "recipe_id", "data": "data_id"}
"""Components of a training besides the network, and the columns that identify them."""


def check_same_training(frame: pd.DataFrame, across: Collection[str] = (), studies: Sequence[Source] = ()) -> list[str]:
    """Require that all models were trained with the same recipe on the same data.

    Args:
        frame: columns recipe_id and data_id, if known. Missing values are unknown, not different.
        across: "recipe", "data" or both: differences to accept.
        studies: studies of the models; their configurations provide the differing settings for the message.

    Returns:
        One warning per accepted difference.

    Raises:
        ValueError: a difference not in `across`, or an unknown value of `across`.
    """
    for name in across:
        if name not in TRAINING:
            raise ValueError(unknown("across", name, TRAINING))
    warnings, problems = [], {}
    for name, column in TRAINING.items():
        ids = list(frame[column].dropna().unique()) if column in frame else []
        if len(ids) < 2:
            continue
        differences = "; ".join(_differences(name, ids, column, studies)) or f"{column} {' and '.join(map(str, ids))}"
        if name in across:
            effect = "affects the errors" if name == "recipe" else "makes the errors those of different tasks"
            warnings.append(
                f"Warning: the models were trained with different {_noun(name)} ({differences}), which {effect}."
            )
        else:
            problems[name] = f"different {_noun(name)} ({differences})"
    if problems:
        raise ValueError(
            f"across = {','.join(across) or 'none'}: must include {','.join(problems)} to compare models trained with "
            f"{' and '.join(problems.values())}"
        )
    return warnings


def _noun(name: str) -> str:
    return "recipes" if name == "recipe" else "data"


def _differences(name: str, ids: Sequence[Any], column: str, studies: Sequence[Source]) -> Iterator[str]:
    """Settings that differ between the configurations, such as "epochs: 1, 2"."""
    settings = {
        study.manifest[column]: dict(_flat(study.manifest.get("config", {}).get(name) or {}))
        for study in studies
        if study.manifest.get(column) in ids
    }
    if len(settings) < len(ids):
        return
    for key in dict.fromkeys(key for config in settings.values() for key in config):
        values = list(dict.fromkeys(json.dumps(config.get(key)) for config in settings.values()))
        if len(values) > 1:
            yield f"{key}: {', '.join(values)}"


def _flat(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in settings.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


Array = NDArray[np.float64]

POWER = 0.8


def detection_quantile(confidence: float = 0.95) -> float:
    """Effect in standard errors that a two-sided test at this confidence detects with probability POWER."""
    return float(stats.norm.isf((1 - confidence) / 2) + stats.norm.ppf(POWER))


COMPARISON_COLUMNS = {
    "a, b": "the two spaces; differences are a - b, so negative values favor a",
    "matched_by": "complexity column used for matching, or 'none'",
    "problem": "why the pair cannot be compared (its other columns are empty), or ''",
    "n_a, n_b": "models of known complexity",
    "unknown_a, unknown_b": "excluded models of unknown complexity",
    "inside_a, inside_b": "models within the common range, which contains the central 90 % of both spaces",
    "effective_n_a, effective_n_b": "number of models whose plain mean would be as precise as the adjusted mean",
    "mean_a, mean_b": "mean error at equal complexity, percent: averaged uniformly over log complexity across the "
    "common range; the plain mean without matching",
    "difference, difference_lower, difference_upper": "mean_a - mean_b, points, with a confidence interval "
    "simultaneous over all pairs",
    "difference_p": "p-value of zero difference, adjusted for all pairs; below 0.05 exactly if the 95 % interval "
    "excludes 0",
    "bins": "equally weighted complexity bins of the statistics below; 1 without matching",
    "min_a, min_b": "smallest error within the bins, percent",
    "area, area_lower, area_upper": "area under the matched EDF of a minus that of b, as a fraction of the area "
    "up to area_limit, with a confidence interval; positive values favor a",
    "area_limit": "error up to which areas are compared, percent; by default the median of the pair, which restricts "
    "the comparison to the better half (the area up to the largest error is equivalent to the mean)",
    "ks, ks_p, ks_p_holm, ks_method": "Kolmogorov-Smirnov distance, p-value, p-value adjusted for all pairs (Holm), "
    "method",
    "lead, lead_p, lag, lag_p": "largest lead of the EDF of a over that of b, and the reverse, with one-sided p-values",
    "order": "stochastic order: one dominates (leads significantly somewhere, the other nowhere), they cross, or not "
    "decided",
    "a_better, a_better_lower, a_better_upper": "P(a random model of a beats one of b at equal complexity), ties "
    "counted half, with a confidence interval",
    "detectable": "difference of means, points, detectable with 80 % power",
    "models_needed": "models per space, sampled like these, needed to detect the observed difference with 80 % power",
}


def compare_spaces(
    frame: pd.DataFrame,
    by: str = "space",
    *,
    match: str | None = "macs",
    confidence: float = 0.95,
    area_limit: float | None = None,
    seed: int = 0,
    permutations: int = PERMUTATIONS,
    pairs: Sequence[tuple[str, str]] | None = None,
    across: Collection[str] = (),
) -> pd.DataFrame:
    """Compare pairs of spaces, at equal complexity by default.

    The difference is estimated by regression adjustment: each space has a smooth curve of error over log complexity
    (`analysis.adjustment.ErrorCurve`), and the difference of the curves is averaged uniformly over the common range,
    with a heteroscedasticity-robust variance. Models outside the common range inform the curves. Models of unknown
    complexity are excluded and counted. All intervals of a column are simultaneous over the pairs: differences by
    max-t, areas and probabilities by Bonferroni.

    Area, Kolmogorov-Smirnov distance and P(better) use errors whose trend over complexity is removed with one curve for
    both spaces. Area and P(better) are then adjusted like the difference. The Kolmogorov-Smirnov distance weights
    complexity bins equally (`analysis.matching`).

    Args:
        frame: columns `by`, `error_percent` (finite; apply a failure policy first) and `match`, one row per model.
        by: column that defines the spaces, at least two.
        match: complexity column to match on; None for an unmatched comparison.
        confidence: simultaneous confidence of all intervals.
        area_limit: error up to which EDF areas are compared, percent; by default the median of each pair.
        seed: seed of the permutations and of the joint distribution.
        permutations: permutations of the matched Kolmogorov-Smirnov test.
        pairs: pairs to compare; all by default.
        across: "recipe", "data" or both to compare spaces trained differently.

    Returns:
        One row per pair, columns of COMPARISON_COLUMNS. `problem` says why a pair cannot be matched.

    Raises:
        ValueError: fewer than two spaces, no pair that can be matched, or spaces trained differently.

    Sources: matching Radosavovic et al. 2019 (arXiv 1905.13214); regression adjustment Lin 2013 (arXiv 1208.2301);
    simultaneous intervals Hothorn, Bretz & Westfall 2008; probability of improvement Agarwal et al. 2021
    (arXiv 2108.13264).
    """
    names = list(dict.fromkeys(frame[by].astype(str)))
    if len(names) < 2:
        raise ValueError(f"{by} = {', '.join(names)}: must have at least two values to compare")
    if area_limit is not None and not area_limit > 0:
        raise ValueError(f"area_limit = {area_limit}: must be a positive error in percent")
    check_same_training(frame, across)
    spaces = {str(name): _Space.of(part, match) for name, part in frame.groupby(frame[by].astype(str), sort=False)}
    chosen = list(combinations(names, 2)) if pairs is None else pairs
    compared = [_Pair.of(a, spaces[a], b, spaces[b], match) for a, b in chosen]
    possible = [pair for pair in compared if not pair.problem]
    if not possible:
        raise ValueError(compared[0].problem)

    level, smallest = 1 - confidence, None
    if len(possible) > 1:
        smallest = smallest_p_values([pair.contrast for pair in possible], np.random.default_rng(seed))
        level = float(np.quantile(smallest, level))
    results = []
    for pair in possible:
        result = _difference(pair, level, smallest)
        result |= _distributions(pair, 1 - (1 - confidence) / len(possible), area_limit, seed, permutations)
        results.append(result)
    holm_p = holm(np.array([result["ks_p"] for result in results]))
    # The order of the curves of a pair follows from two one-sided tests.
    shown = holm(np.array([[result["lead_p"], result["lag_p"]] for result in results]).ravel()) < 1 - confidence
    for pair, result, p_value, leads in zip(possible, results, holm_p, shown.reshape(-1, 2), strict=True):
        result |= {"ks_p_holm": p_value, "order": curve_order(pair.a, pair.b, *leads)}
    numbers = {(pair.a, pair.b): result for pair, result in zip(possible, results, strict=True)}
    rows = [{"order": "", "ks_method": ""} | pair.counts() | numbers.get((pair.a, pair.b), {}) for pair in compared]
    return pd.DataFrame(rows, columns=[name for names in COMPARISON_COLUMNS for name in names.split(", ")])


@dataclass(frozen=True)
class _Space:
    """Models of known complexity of one space.

    Attributes:
        errors: shape (n,), percent.
        position: shape (n,), log complexity; zeros without matching.
        unknown: number of excluded models of unknown complexity.
        curve: None with too few models.
    """

    errors: Array
    position: Array
    unknown: int
    curve: ErrorCurve | None

    @classmethod
    def of(cls, frame: pd.DataFrame, match: str | None) -> _Space:
        errors = frame["error_percent"].to_numpy(dtype=float)
        if match is None:
            return cls(errors, np.zeros(len(errors)), 0, ErrorCurve(errors))
        position = log_complexity(frame, match)
        finite = np.isfinite(position)
        errors, position = errors[finite], position[finite]
        curve = ErrorCurve(errors, position) if len(errors) >= MIN_MODELS else None
        return cls(errors, position, int(np.sum(~finite)), curve)


@dataclass(frozen=True)
class _Pair:
    """Two spaces, or the problem that prevents their comparison.

    Attributes:
        low, high: common range of log complexity over which the curves are averaged.
        covered: range covered by both spaces, which is divided into bins.
    """

    a: str
    b: str
    first: _Space
    second: _Space
    match: str | None
    low: float = 0.0
    high: float = 0.0
    covered: tuple[float, float] = (0.0, 0.0)
    problem: str = ""

    @classmethod
    def of(cls, a: str, first: _Space, b: str, second: _Space, match: str | None) -> _Pair:
        if match is None:
            return cls(a, b, first, second, match)
        try:
            positions = {a: first.position, b: second.position}
            covered, (low, high) = common_range(positions, match), central_range(positions, match)
        except ValueError as reason:
            return cls(a, b, first, second, match, problem=str(reason))
        return cls(a, b, first, second, match, low, high, covered)

    @cached_property
    def contrast(self) -> Contrast:
        """Difference of the error curves over the common range."""
        assert self.first.curve is not None
        assert self.second.curve is not None
        return Contrast(self.first.curve, self.second.curve, self.low, self.high)

    def inside(self, space: _Space) -> NDArray[np.bool_]:
        """Mask of the models in the common range."""
        return (space.position >= self.low) & (space.position <= self.high)

    def counts(self) -> dict[str, Any]:
        counts: dict[str, Any] = {"a": self.a, "b": self.b, "matched_by": self.match or "none", "problem": self.problem}
        for side, space in (("a", self.first), ("b", self.second)):
            counts |= {f"n_{side}": len(space.errors), f"unknown_{side}": space.unknown}
            counts[f"inside_{side}"] = 0 if self.problem else int(np.sum(self.inside(space)))
        return counts


def _difference(pair: _Pair, level: float, smallest: Array | None) -> dict[str, Any]:
    """Regression-adjusted difference; `smallest` are null draws of the smallest p-value over all pairs."""
    contrast = pair.contrast
    half = contrast.half_width(level)
    detectable = (contrast.quantile(level) + float(stats.norm.ppf(POWER))) * contrast.standard_error
    p_value = contrast.p_value
    if smallest is not None and np.isfinite(p_value):
        p_value = float(np.mean(smallest <= p_value))
    # The variance is inversely proportional to the number of models: `detectable` is `one` / sqrt(m) for m per space.
    drawn = [len(space.errors) + space.unknown for space in (pair.first, pair.second)]
    variance = drawn[0] * contrast.a.variance + drawn[1] * contrast.b.variance
    one = detectable * np.sqrt(variance) / contrast.standard_error if contrast.standard_error else 0.0
    return {
        "effective_n_a": contrast.a.effective_n,
        "effective_n_b": contrast.b.effective_n,
        "mean_a": contrast.a.mean,
        "mean_b": contrast.b.mean,
        "difference": contrast.difference,
        "difference_lower": contrast.difference - half,
        "difference_upper": contrast.difference + half,
        "difference_p": p_value,
        "detectable": detectable,
        "models_needed": np.ceil((one / contrast.difference) ** 2) if contrast.difference else np.inf,
    }


def _distributions(
    pair: _Pair, confidence: float, area_limit: float | None, seed: int, permutations: int
) -> dict[str, Any]:
    """Area, Kolmogorov-Smirnov distance and P(better) at equal complexity."""
    errors, position = (
        np.concatenate(parts)
        for parts in zip(*((s.errors, s.position) for s in (pair.first, pair.second)), strict=True)
    )
    first = np.arange(len(errors)) < len(pair.first.errors)
    measured, strata = errors, np.zeros(len(errors), dtype=np.int64)
    if pair.match is None:
        ks = kolmogorov_smirnov(errors, first)
    else:
        _, strata = equal_bins(position, first, *pair.covered)
        common = CommonCurve(position, first)
        ks = matched_kolmogorov_smirnov(errors, first, strata, common, np.random.default_rng(seed), permutations)
        errors = common.remove(errors)

    def contrast(values: Array) -> Contrast:
        curves = [
            ErrorCurve(values[members], None if pair.match is None else position[members])
            for members in (first, ~first)
        ]
        return Contrast(curves[0], curves[1], pair.low, pair.high)

    limit = float(np.median(errors)) if area_limit is None else area_limit
    # The area under an EDF up to a limit (NDS) is the mean distance of the errors below the limit.
    area = contrast(1 - np.minimum(1, errors / limit))
    area_half = area.half_width(1 - confidence)
    ranks = contrast(placements(errors, first))
    better = float(np.clip(0.5 - ranks.difference, 0, 1))
    better_lower, better_upper = superiority_interval(better, ranks.a.effective_n, ranks.b.effective_n, confidence)
    inside = strata >= 0
    return {
        "bins": int(strata.max()) + 1,
        "min_a": measured[first & inside].min(),
        "min_b": measured[~first & inside].min(),
        "area": area.difference,
        "area_lower": area.difference - area_half,
        "area_upper": area.difference + area_half,
        "area_limit": limit,
        "ks": ks.statistic,
        "ks_p": ks.p_value,
        "ks_method": ks.method,
        "lead": ks.above,
        "lead_p": ks.above_p,
        "lag": ks.below,
        "lag_p": ks.below_p,
        "a_better": better,
        "a_better_lower": better_lower,
        "a_better_upper": better_upper,
    }
