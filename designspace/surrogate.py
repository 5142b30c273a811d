"""Surrogate of training: the error of untrained networks, predicted from the errors of trained ones.

The features of a network are its free parameters and its complexity, such as the columns of `Population.to_frame`.
`analysis.surrogate` measures how well the predictions agree with the errors of other networks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Columns = Mapping[str, ArrayLike]
Array = NDArray[np.float64]

TREES = 100


@dataclass(frozen=True)
class Feature:
    """How a column becomes numbers: text as one column per value of `options`, numbers as they are or as logarithms."""

    options: tuple[str, ...] = ()
    log: bool = False

    def encoded(self, column: np.ndarray) -> list[Array]:
        """The numbers, each array of shape (N,)."""
        if self.options:
            return [(column.astype(str) == option).astype(float) for option in self.options]
        numbers = column.astype(float)
        return [np.log(np.maximum(numbers, np.finfo(float).tiny)) if self.log else numbers]


@dataclass(frozen=True, eq=False)
class Surrogate:
    """A fitted surrogate; see `fit_surrogate`.

    Attributes:
        features: the features used.
        model: regression on the encoded features.
    """

    features: Mapping[str, Feature]
    model: Any

    def predict(self, columns: Columns) -> Array:
        """Predicted errors of networks, percent, shape (N,).

        Args:
            columns: the features of the fit, each of shape (N,); others are ignored.
        """
        predicted: Array = self.model.predict(_encoded(columns, self.features))
        return predicted


def fit_surrogate(columns: Columns, errors: ArrayLike, *, seed: int = 0) -> Surrogate:
    """Fit a surrogate to trained networks: a forest of extremely randomized trees (Geurts et al. 2006).

    It was chosen among regressions of scikit-learn by the error of untrained networks, for 20 to 200 trained ones, on
    NAS-Bench-Macro and on 27 spaces of 24 to 48 networks trained on Fashion-MNIST (docs/surrogate.md has the numbers).

    Args:
        columns: features of the networks by name, finite numbers or text, each of shape (N,). Features with one value
            are ignored.
        errors: shape (N,), finite, percent.
        seed: of the random splits of the trees.

    Raises:
        ValueError: no feature has different values.
    """
    from sklearn.ensemble import ExtraTreesRegressor

    candidates = {name: _feature(np.asarray(column)) for name, column in columns.items()}
    features = {name: feature for name, feature in candidates.items() if feature is not None}
    if not features:
        raise ValueError(f"columns = {', '.join(columns) or 'none'}: must have a feature with different values")
    forest = ExtraTreesRegressor(TREES, min_samples_leaf=2, max_features=0.6, random_state=seed)
    return Surrogate(features, forest.fit(_encoded(columns, features), np.asarray(errors, dtype=float)))


def _feature(column: np.ndarray) -> Feature | None:
    """How to encode a column; None if it has only one value."""
    if column.dtype.kind in "biuf":
        numbers = column.astype(float)
        return Feature(log=bool(numbers.min() > 0)) if np.ptp(numbers) > 0 else None
    options = tuple(sorted(set(map(str, column))))
    return Feature(options) if len(options) > 1 else None


def _encoded(columns: Columns, features: Mapping[str, Feature]) -> Array:
    """The features as numbers, shape (N, M)."""
    arrays = [array for name, feature in features.items() for array in feature.encoded(np.asarray(columns[name]))]
    return np.stack(arrays, axis=1)
