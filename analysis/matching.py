"""Comparing spaces at the same complexity: weights that make every space uniform over one complexity range."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from analysis.spaces import check_known

MAX_BINS = 10
MIN_PER_BIN = 3


def effective_sample_size(weights: ArrayLike) -> float:
    """Kish's effective sample size (sum w)^2 / sum w^2: how many equally weighted models say as much."""
    w = np.asarray(weights, dtype=float)
    return float(w.sum() ** 2 / np.sum(w**2))


@dataclass(frozen=True)
class ComplexityMatch:
    """Weights under which every space has the same, uniform complexity distribution.

    Attributes:
        by: the complexity column.
        weights: shape (N,), summing to 1 within each space; 0 for a model outside the common range.
        strata: shape (N,), bin of each model in 0..bins-1, -1 outside the common range.
        edges: shape (bins + 1,), ends of the equal-width bins, in units of the column.
        models: models inside the common range, per space.
        effective_n: effective sample size, per space.
        outside: models outside the common range, per space.
        warnings: sentences about poor overlap, empty when all is well.
    """

    by: str
    weights: NDArray[np.float64]
    strata: NDArray[np.int64]
    edges: NDArray[np.float64]
    models: dict[str, int]
    effective_n: dict[str, float]
    outside: dict[str, int]
    warnings: tuple[str, ...]

    @property
    def bins(self) -> int:
        return len(self.edges) - 1


def complexity_weights(
    frame: pd.DataFrame,
    by: str = "macs",
    *,
    space: str = "space",
    bins: int | None = None,
    minimum: int = MIN_PER_BIN,
) -> ComplexityMatch:
    """Weight models so that all spaces have the same complexity distribution on their common range.

    The common range runs from the largest of the spaces' minima to the smallest of their maxima and is cut into bins
    of equal width; a model in a bin with k models of its space has weight 1 / (k * bins).

    Args:
        frame: columns `by` (positive numbers) and `space`, one row a model.
        by: complexity to match, e.g. "macs", "params" or "acts".
        space: the column that names the spaces.
        bins: number of bins; None takes the largest number up to 10 that leaves every space `minimum` models a bin.
        minimum: models a space must have in each bin, at least 1; from 2 on a variance can be computed.

    Raises:
        ValueError: a complexity that is not known, no common range, too few models in it, or an asked-for bin with too
            few models.

    Source: Radosavovic et al. 2019 (arXiv 1905.13214), Sec. 2 (normalised comparison). NDS fixes the number of bins by
    hand and demands that none is empty; here it adapts to the population.
    """
    check_known(frame, by)
    complexity = frame[by].to_numpy(dtype=float)
    labels = frame[space].astype(str).to_numpy()
    names = list(dict.fromkeys(labels))
    low = max(complexity[labels == name].min() for name in names)
    high = min(complexity[labels == name].max() for name in names)
    inside = (complexity >= low) & (complexity <= high)
    count = {name: int(np.sum(inside & (labels == name))) for name in names}
    scarce = [name for name in names if count[name] < minimum]
    if low > high or scarce:
        what = "no common range" if low > high else f"only {count[scarce[0]]} models of {scarce[0]} in the common range"
        raise ValueError(
            f"{' and '.join(names)} cannot be matched by {by}: {what}; at least {minimum} of each are needed"
        )

    tried = [bins] if bins is not None else range(min(MAX_BINS, min(count.values()) // minimum), 0, -1)
    for number in tried:
        if number < 1:
            raise ValueError(f"bins is {number}; it must be at least 1")
        edges = np.linspace(low, high, number + 1)
        # Both ends belong to the range: the extreme models of a space are models too.
        index = np.clip(np.searchsorted(edges, complexity, side="right") - 1, 0, number - 1)
        table = np.array([np.bincount(index[inside & (labels == name)], minlength=number) for name in names])
        if table.min() >= minimum:
            break
    else:
        raise ValueError(f"bins is {bins}; some space has fewer than {minimum} models in one of them, use fewer bins")

    strata = np.where(inside, index, -1)
    weights = np.zeros(len(frame))
    for row, name in enumerate(names):
        mine = inside & (labels == name)
        weights[mine] = 1 / (table[row][index[mine]] * number)
    effective = {name: effective_sample_size(weights[labels == name]) for name in names}
    outside = {name: int(np.sum(~inside & (labels == name))) for name in names}
    return ComplexityMatch(
        by, weights, strata, edges, count, effective, outside, _warnings(by, number, count, effective, outside)
    )


def _warnings(
    by: str, bins: int, count: dict[str, int], effective: dict[str, float], outside: dict[str, int]
) -> tuple[str, ...]:
    found = []
    for name, n in effective.items():
        drawn = count[name] + outside[name]
        if n <= drawn / 2:
            found.append(f"{name}: matching by {by} leaves an effective {n:.0f} of {drawn} models, the overlap is poor")
    if bins == 1 and min(count.values()) >= 2 * MIN_PER_BIN:
        found.append(f"the spaces fill the common range of {by} so differently that it could not be cut into bins")
    return tuple(found)
