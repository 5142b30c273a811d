"""Matching by complexity: weights that give every space the same uniform distribution of log complexity (NDS)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from analysis.formatting import si_format

MAX_BINS = 10
MIN_PER_BIN = 3
TAIL = 0.05
"""Fraction of the models of a space below and above its central range."""
MIN_MODELS = 4
"""Minimum number of models of a space to fit a line and estimate the variance."""


def effective_sample_size(weights: ArrayLike) -> float:
    """Kish's effective sample size (sum w)^2 / sum w^2."""
    w = np.asarray(weights, dtype=float)
    return float(w.sum() ** 2 / np.sum(w**2))


@dataclass(frozen=True)
class ComplexityMatch:
    """Weights that give every space the same uniform distribution of log complexity.

    Attributes:
        by: complexity column.
        weights: shape (N,), summing to 1 within each space; 0 for excluded models.
        strata: shape (N,), bin of each model in 0..bins-1; -1 for excluded models.
        edges: shape (bins + 1,), bin edges in units of the column, of equal width in log complexity.
        models: models inside the common range, per space.
        effective_n: effective sample size, per space.
        geometric_mean: weighted geometric mean of the complexity, per space; equal in a perfect match.
        outside: models outside the common range, per space.
        unknown: models of unknown complexity, per space.
        warnings: excluded models, poor overlap, and a single bin; sentences without a final period.
    """

    by: str
    weights: NDArray[np.float64]
    strata: NDArray[np.int64]
    edges: NDArray[np.float64]
    models: dict[str, int]
    effective_n: dict[str, float]
    geometric_mean: dict[str, float]
    outside: dict[str, int]
    unknown: dict[str, int]
    warnings: tuple[str, ...]

    @property
    def bins(self) -> int:
        return len(self.edges) - 1

    @property
    def sentence(self) -> str:
        """Quality of the match."""
        means = ", ".join(f"{name} {si_format(mean)}" for name, mean in self.geometric_mean.items())
        bins = "1 bin" if self.bins == 1 else f"{self.bins} bins"
        return f"Matched in {bins} of log {self.by}. Weighted geometric mean of {self.by}: {means}."


def complexity_weights(
    frame: pd.DataFrame,
    by: str = "macs",
    *,
    space: str = "space",
    bins: int | None = None,
    minimum: int = MIN_PER_BIN,
) -> ComplexityMatch:
    """Weight the models such that all spaces have the same complexity distribution on their common range.

    The common range extends from the largest minimum to the smallest maximum of the spaces. It is divided into bins of
    equal width in log complexity. A model in a bin with k models of its space has weight 1 / (k * bins). Models of
    unknown complexity or outside the common range are excluded.

    Args:
        frame: columns `by` (positive, NaN if unknown) and `space`, one row per model.
        by: complexity column, for example "macs", "params" or "acts".
        space: column that defines the spaces.
        bins: number of bins; None for the largest number up to 10 with at least `minimum` models of every space per
            bin.
        minimum: minimum number of models of every space per bin, at least 1; a variance needs 2.

    Raises:
        ValueError: a complexity that is not positive, no common range, or too few models in it or in a requested bin.

    Source: Radosavovic et al. 2019 (arXiv 1905.13214), Sec. 2 (normalized comparison). NDS uses a fixed number of
    linear bins, none of which may be empty. Here the number adapts to the population, and logarithmic bins keep the
    complexity within a bin similar over wide ranges.
    """
    position = log_complexity(frame, by)
    labels = frame[space].astype(str).to_numpy()
    names = list(dict.fromkeys(labels))
    finite = np.isfinite(position)
    low, high = common_range({name: position[finite & (labels == name)] for name in names}, by, minimum)
    inside = finite & (position >= low) & (position <= high)
    count = {name: int(np.sum(inside & (labels == name))) for name in names}

    edges, strata = equal_bins(position, labels, low, high, minimum=minimum, bins=bins)
    number = len(edges) - 1
    weights = np.zeros(len(frame))
    for name in names:
        members = inside & (labels == name)
        weights[members] = 1 / (np.bincount(strata[members], minlength=number)[strata[members]] * number)
    per_space = {name: labels == name for name in names}
    effective = {name: effective_sample_size(weights[members]) for name, members in per_space.items()}
    outside = {name: int(np.sum(finite & ~inside & members)) for name, members in per_space.items()}
    unknown = {name: int(np.sum(~finite & members)) for name, members in per_space.items()}
    center = {
        name: float(np.exp(np.sum(weights[inside & members] * position[inside & members])))
        for name, members in per_space.items()
    }
    warnings = _warnings(by, number, count, effective, outside, unknown)
    return ComplexityMatch(
        by, weights, strata, np.exp(edges), count, effective, center, outside, unknown, tuple(warnings)
    )


def equal_bins(
    position: NDArray[np.float64],
    labels: NDArray[Any],
    low: float,
    high: float,
    *,
    minimum: int = MIN_PER_BIN,
    bins: int | None = None,
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Divide a range into as many bins of equal width as possible with enough models of every space per bin.

    Args:
        position: shape (N,), log complexity, NaN if unknown.
        labels: shape (N,), space of each model; at least `minimum` models of each space are in the range.
        low, high: ends of the range.
        minimum: models of each space per bin.
        bins: number of bins; None for the largest possible number up to 10.

    Returns:
        Edges, shape (bins + 1,), and the bin of each model, shape (N,), -1 outside the range.

    Raises:
        ValueError: `bins` below 1, or so large that a bin has too few models.
    """
    inside = (position >= low) & (position <= high)
    spaces = [inside & (labels == name) for name in np.unique(labels)]
    most = min(MAX_BINS, min(int(members.sum()) for members in spaces) // minimum)
    for number in [bins] if bins is not None else range(most, 0, -1):
        if number < 1:
            raise ValueError(f"bins = {number}: must be at least 1")
        edges = np.linspace(low, high, number + 1)
        # The range includes both ends.
        index = np.clip(np.searchsorted(edges, position, side="right") - 1, 0, number - 1)
        if all(np.bincount(index[members], minlength=number).min() >= minimum for members in spaces):
            return edges, np.where(inside, index, -1)
    raise ValueError(f"bins = {bins}: must be smaller; some space has fewer than {minimum} models in one of them")


def log_complexity(frame: pd.DataFrame, by: str) -> NDArray[np.float64]:
    """Natural logarithm of a complexity column, NaN if unknown; ValueError if not positive."""
    values = frame[by].to_numpy(dtype=float)
    if np.any(values <= 0):
        raise ValueError(f"{by} = {values[values <= 0][0]:g}: must be positive")
    return np.log(np.where(np.isfinite(values), values, np.nan))


def common_range(positions: dict[str, NDArray[np.float64]], by: str, minimum: int = MIN_PER_BIN) -> tuple[float, float]:
    """Range of log complexity that all spaces cover.

    Args:
        positions: log complexities by space.
        by: complexity column, for messages.
        minimum: models of each space that must be in the range.

    Raises:
        ValueError: the spaces cannot be matched.
    """
    names = list(positions)
    few = [name for name, position in positions.items() if len(position) < MIN_MODELS]
    if few:
        raise ValueError(
            f"{' and '.join(names)} cannot be matched by {by}: {few[0]} has {len(positions[few[0]])} models of known "
            f"{by}, but at least {MIN_MODELS} are needed"
        )
    first = max(names, key=lambda name: positions[name].min())
    last = min(names, key=lambda name: positions[name].max())
    low, high = float(positions[first].min()), float(positions[last].max())
    if low > high or (low == high and any(np.ptp(position) > 0 for position in positions.values())):
        raise ValueError(
            f"{' and '.join(names)} cannot be matched by {by}: no common range ({first} starts at {np.exp(low):.4g}, "
            f"{last} ends at {np.exp(high):.4g})"
        )
    for name, position in positions.items():
        count = int(np.sum((position >= low) & (position <= high)))
        if count < minimum:
            raise ValueError(
                f"{' and '.join(names)} cannot be matched by {by}: {name} has only {count} models in the common range, "
                f"but at least {minimum} are needed"
            )
    return low, high


def central_range(positions: dict[str, NDArray[np.float64]], by: str) -> tuple[float, float]:
    """Range of log complexity that contains the central 90 % of every space.

    It extends from the largest 5 % quantile to the smallest 95 % quantile. Near the ends of the full range, a few
    models would dominate the average.

    Raises:
        ValueError: the central ranges of two spaces do not overlap.
    """
    first = max(positions, key=lambda name: np.quantile(positions[name], TAIL))
    last = min(positions, key=lambda name: np.quantile(positions[name], 1 - TAIL))
    low, high = float(np.quantile(positions[first], TAIL)), float(np.quantile(positions[last], 1 - TAIL))
    if low > high:
        raise ValueError(
            f"{' and '.join(positions)} cannot be matched by {by}: 95 % of the models of {first} have more than "
            f"{np.exp(low):.4g} {by}, 95 % of {last} have fewer than {np.exp(high):.4g}"
        )
    return low, high


def _warnings(
    by: str,
    bins: int,
    count: dict[str, int],
    effective: dict[str, float],
    outside: dict[str, int],
    unknown: dict[str, int],
) -> list[str]:
    warnings = []
    for name in count:
        drawn = count[name] + outside[name] + unknown[name]
        reasons = [f"{outside[name]:,} outside the common range"] if outside[name] else []
        reasons += [f"{unknown[name]:,} with unknown {by}"] if unknown[name] else []
        if reasons:
            lost = outside[name] + unknown[name]
            warnings.append(f"{name}: the matched EDF excludes {lost:,} of {drawn:,} models ({', '.join(reasons)})")
        if effective[name] <= drawn / 2:
            warnings.append(
                f"{name}: the matched EDF has an effective sample size of {effective[name]:.0f} of {drawn:,} models "
                f"because the spaces overlap poorly in {by}"
            )
    if bins == 1:
        warnings.append(f"The match is rough because the matched EDFs have a single bin of {by}")
    return warnings
