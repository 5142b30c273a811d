"""Information lost by ReLU in a space of few dimensions: the experiment of MobileNetV2's Fig. 1 (arXiv 1801.04381).

A spiral in the plane is embedded in n dimensions by a random matrix T, passes ReLU, and returns to the plane. A point
is collapsed if ReLU leaves fewer than two positive coordinates: other points of the plane have the same image (Lemma
2). The paper publishes neither the spiral nor the distribution of T; T is Gaussian here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import comb

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from designspace.validated import check_integer

Array = NDArray[np.float64]

DIMENSIONS = (2, 3, 5, 15, 30)
"""Dimensions of the paper's figure."""

MANIFOLD_COLUMNS = {
    "dimensions": "n, of the embedding",
    "draws": "number of random matrices",
    "expected_collapsed": "fraction of collapsed points, closed form",
    "collapsed, collapsed_error": "mean fraction of collapsed points, and its standard error over the draws",
    "inverse, inverse_lower, inverse_upper": "median and quartiles of the relative squared error after the generalized "
    "inverse of T",
    "decoder, decoder_lower, decoder_upper": "the same after the best linear decoder",
}


def expected_collapsed(dimensions: int, intrinsic: int = 2) -> float:
    """Expected fraction of the points of a linear subspace that ReLU collapses.

    Args:
        dimensions: n, of the embedding, at least `intrinsic`.
        intrinsic: dimension of the subspace.

    Returns:
        1 − N / 2ⁿ with N = Σ_{k=0}^{n−intrinsic} C(n, k), the number of sign patterns with enough positive coordinates
        (Theorem 1).
    """
    intrinsic = check_integer("intrinsic", intrinsic, 1)
    dimensions = check_integer("dimensions", dimensions, intrinsic)
    return 1 - sum(comb(dimensions, k) for k in range(dimensions - intrinsic + 1)) / 2**dimensions


def spiral(points: int = 1000, turns: float = 2.0) -> Array:
    """Points of an Archimedean spiral from the origin, at equal angles, shape (points, 2)."""
    angle = 2 * np.pi * turns * np.arange(1, points + 1) / points
    return angle[:, None] / angle[-1] * np.column_stack([np.cos(angle), np.sin(angle)])


@dataclass(frozen=True)
class Embedding:
    """Points that passed ReLU in n dimensions.

    Attributes:
        points: (N, 2), before.
        inverse: (N, 2), returned by the generalized inverse of T.
        decoder: (N, 2), returned by the linear map with the smallest squared error for these points.
        collapsed: (N,), fewer than two coordinates are positive.
    """

    points: Array
    inverse: Array
    decoder: Array
    collapsed: NDArray[np.bool_]

    @property
    def inverse_error(self) -> float:
        """Squared error of `inverse` relative to the squared norm of the points; tends to 1/4 for large n."""
        return self._error(self.inverse)

    @property
    def decoder_error(self) -> float:
        """Squared error of `decoder` relative to the squared norm of the points; tends to 0 for large n."""
        return self._error(self.decoder)

    def _error(self, returned: Array) -> float:
        return float(np.sum((returned - self.points) ** 2) / np.sum(self.points**2))


def embed(points: Array, dimensions: int, rng: np.random.Generator) -> Embedding:
    """Embed points (N, 2) in `dimensions` by a matrix of independent Gaussians, apply ReLU, and return to the plane."""
    matrix = rng.standard_normal((check_integer("dimensions", dimensions, 2), 2))
    hidden = np.maximum(points @ matrix.T, 0)
    return Embedding(
        points,
        hidden @ np.linalg.pinv(matrix).T,
        hidden @ np.linalg.lstsq(hidden, points, rcond=None)[0],
        np.count_nonzero(hidden, axis=1) < 2,
    )


def embeddings(points: Array, dimensions: int, draws: int, seed: int = 0) -> Iterator[Embedding]:
    """Embed points with `draws` random matrices, each from its own stream of (seed, dimensions, draw)."""
    for draw in range(draws):
        yield embed(points, dimensions, np.random.default_rng([seed, dimensions, draw]))


def manifold_experiment(
    dimensions: Sequence[int] = DIMENSIONS, *, draws: int = 1000, points: int = 1000, seed: int = 0
) -> pd.DataFrame:
    """Collapsed points and reconstruction errors of the spiral, one row per dimension.

    Args:
        dimensions: of the embedding, each at least 2.
        draws: random matrices, at least 2.
        points: of the spiral.
        seed: of the matrices.

    Returns:
        A frame with the columns of MANIFOLD_COLUMNS. Use its standard error to compare with the closed form, since the
        points of one draw are dependent.
    """
    draws = check_integer("draws", draws, 2)
    x = spiral(check_integer("points", points, 2))
    rows = []
    for n in dimensions:
        values = [(e.collapsed.mean(), e.inverse_error, e.decoder_error) for e in embeddings(x, n, draws, seed)]
        collapsed, inverse, decoder = np.transpose(values)
        row = {"dimensions": n, "draws": draws, "expected_collapsed": expected_collapsed(n)}
        row |= {"collapsed": collapsed.mean(), "collapsed_error": collapsed.std(ddof=1) / np.sqrt(draws)}
        for name, errors in (("inverse", inverse), ("decoder", decoder)):
            row[f"{name}_lower"], row[name], row[f"{name}_upper"] = np.quantile(errors, [0.25, 0.5, 0.75])
        rows.append(row)
    return pd.DataFrame(rows)[[name for names in MANIFOLD_COLUMNS for name in names.split(", ")]]
