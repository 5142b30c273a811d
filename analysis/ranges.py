"""The range of a parameter that the best models have: RegNet's empirical bootstrap in closed form."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from analysis.spaces import per_space

FRACTION = 0.25


@dataclass(frozen=True)
class BestRange:
    """Where a parameter's best value probably lies.

    This is a weighted range over the top dozen models, however many were trained: it does NOT tighten as 1 / sqrt(n)
    the way a confidence interval does, so `support` belongs beside it wherever it is shown.

    Attributes:
        lower, likely, upper: percentiles (2.5, 50, 97.5 at confidence 0.95) of the parameter of the selected model.
        n: models in the population.
        draws: models in one bootstrap sample, round(n / 4) and at least 1.
        support: distinct models that carry `confidence` of the selections.
    """

    lower: float
    likely: float
    upper: float
    n: int
    draws: int
    support: int


def selection_probabilities(errors: ArrayLike, draws: int) -> NDArray[np.float64]:
    """Probability that each model is the best of `draws` models drawn with replacement.

    For rank i of n (1 the best) it is ((n - i + 1) / n)^m - ((n - i) / n)^m; models that tie share their part equally.

    Args:
        errors: shape (N,), percent.
        draws: m, at least 1.

    Returns:
        Shape (N,), summing to 1.
    """
    e = np.asarray(errors, dtype=float)
    if e.ndim != 1 or not len(e) or not np.all(np.isfinite(e)):
        raise ValueError("errors must be a one-dimensional array of finite numbers, at least one")
    if draws < 1:
        raise ValueError(f"draws is {draws}; it must be at least 1")
    _, group, size = np.unique(e, return_inverse=True, return_counts=True)
    above = 1 - np.concatenate([[0], np.cumsum(size)]) / len(e)
    share = -np.diff(np.clip(above, 0, 1) ** draws) / size
    return share[group]


def best_range(values: ArrayLike, errors: ArrayLike, *, confidence: float = 0.95) -> BestRange:
    """Range of a parameter over the models that would be chosen as best from a random quarter of the population.

    Args:
        values: shape (N,), the parameter (or complexity) of each model.
        errors: shape (N,), percent.
        confidence: probability within the range, in (0, 1).

    Raises:
        ValueError: shapes that differ, no model, non-finite errors.

    Source: Radosavovic et al. 2020 (arXiv 2003.13678), footnote 4: sample 25 % of the pairs with replacement, take the
    one with minimal error, repeat 10^4 times, quote the 95 % interval and the median. Here the law of the chosen rank
    is used itself, which is what the repetitions estimate.
    """
    x, e = np.asarray(values, dtype=float), np.asarray(errors, dtype=float)
    if x.shape != e.shape:
        raise ValueError(f"values has shape {x.shape} and errors {e.shape}; they must be the same")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence is {confidence}; it must be between 0 and 1, e.g. 0.95")
    # Python rounds halves to even; footnote 4 leaves it open and one model more or less changes nothing that is shown.
    draws = max(1, round(FRACTION * len(e)))
    probability = selection_probabilities(e, draws)
    order = np.argsort(x, kind="stable")
    cumulative = np.cumsum(probability[order])
    targets = np.array([0.5 - confidence / 2, 0.5, 0.5 + confidence / 2])
    # The tolerance keeps a sum that is 0.5 but for rounding from stepping to the next model.
    places = np.minimum(np.searchsorted(cumulative, targets - 1e-12), len(x) - 1)
    lower, likely, upper = x[order][places]
    best_first = np.argsort(e, kind="stable")
    support = int(np.searchsorted(np.cumsum(probability[best_first]), confidence - 1e-12)) + 1
    return BestRange(float(lower), float(likely), float(upper), len(e), draws, support)


def ranges_per_space(frame: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
    """`best_range` of every parameter in every space; one row each, the fields of `BestRange`."""
    return per_space(frame, names, lambda x, e: pd.DataFrame([asdict(best_range(x, e))]))
