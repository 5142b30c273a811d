"""The winner's curse undone: what the error of a chosen model would be on average, were it trained again."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import optimize

Array = NDArray[np.float64]

KNOTS = 7
PENALTY = 0.1
CELLS_PER_SD = 8


def shrink(errors: ArrayLike, noise_sd: ArrayLike, *, confidence: float = 0.95) -> pd.DataFrame:
    """Empirical-Bayes estimates of the models' true errors from one noisy measurement of each.

    The distribution of true errors is estimated from all models as a smooth curve of no given form, and each
    measurement is weighed against it. As the whole population is in the estimate, choosing the best afterwards does
    not bias it.

    Args:
        errors: shape (N,), percent, measured.
        noise_sd: standard deviation of the measurement, points, positive: a number, or one a model (N,).
        confidence: of the interval.

    Returns:
        A frame of N rows: `estimate` (posterior mean), `lower`, `upper` (posterior quantiles).

    Raises:
        ValueError: errors that are not finite, or noise that is not positive.

    Source: Efron, "Empirical Bayes deconvolution estimates", Biometrika 103 (2016) 1-20: the logarithm of the prior is
    a natural spline, its coefficients have the largest penalised likelihood.
    """
    x = np.asarray(errors, dtype=float)
    sd = np.broadcast_to(np.asarray(noise_sd, dtype=float), x.shape)
    if x.ndim != 1 or not len(x) or not np.all(np.isfinite(x)):
        raise ValueError("errors must be a one-dimensional array of finite numbers, at least one")
    if not np.all(np.isfinite(sd) & (sd > 0)):
        raise ValueError("noise_sd must be positive; without a measurement of the noise there is nothing to correct by")
    grid = _support(x, float(sd.min()))
    # Models measured within an eighth of the noise of each other are one observation with their number as weight.
    width = float(sd.min()) / CELLS_PER_SD
    keys = np.column_stack([np.round(x / width), sd])
    cells, index, count = np.unique(keys, axis=0, return_inverse=True, return_counts=True)
    centre = np.bincount(index.ravel(), weights=x) / count
    prior = _prior(_likelihood(centre, cells[:, 1], grid), count, _natural_spline(x, grid))
    return _posterior(x, sd, grid, prior, confidence)


def _support(x: Array, sd: float) -> Array:
    """Points where true errors may lie: a quarter of the noise apart at the good end, where the choice is made."""
    low, high = float(x.min() - 3 * sd), float(x.max() + sd)
    if high - low <= 60 * sd:
        return np.arange(low, high + sd / 4, sd / 4)
    return np.concatenate([np.arange(low, low + 40 * sd, sd / 4), np.linspace(low + 40 * sd, high, 140)])


def _natural_spline(x: Array, grid: Array) -> Array:
    """A natural cubic spline basis on the grid with knots at quantiles of the errors, its columns made orthonormal."""
    knots = np.unique(np.quantile(x, np.linspace(0.02, 0.98, min(KNOTS, max(2, len(x) // 5)))))
    columns = [grid]
    if len(knots) > 2:
        cubes = np.clip(grid[:, None] - knots, 0, None) ** 3
        slopes = (cubes[:, :-1] - cubes[:, -1:]) / (knots[-1] - knots[:-1])
        columns += list((slopes[:, :-1] - slopes[:, -1:]).T)
    else:  # too few models for a form of their own: a normal curve
        columns.append(grid**2)
    basis = np.column_stack(columns)
    basis = (basis - basis.mean(axis=0)) / basis.std(axis=0)
    return np.linalg.svd(basis, full_matrices=False)[0] * np.sqrt(len(grid))


def _prior(likelihood: Array, count: NDArray[np.int64], basis: Array) -> Array:
    """Probabilities of the grid points with the largest penalised likelihood."""
    total = count.sum()

    def objective(coefficients: Array) -> tuple[float, Array]:
        prior = _softmax(basis @ coefficients)
        marginal = likelihood @ prior
        size = float(np.sqrt(np.sum(coefficients**2) + 1e-12))
        posterior = (count / marginal) @ likelihood * prior
        gradient = -(basis.T @ (posterior - total * prior)) + PENALTY * coefficients / size
        return float(-(count @ np.log(marginal)) + PENALTY * size), gradient

    found = optimize.minimize(objective, np.zeros(basis.shape[1]), jac=True, method="BFGS")
    return _softmax(basis @ found.x)


def _softmax(values: Array) -> Array:
    weights = np.exp(values - values.max())
    return np.asarray(weights / weights.sum())


def _likelihood(x: Array, sd: Array, grid: Array) -> Array:
    # The largest term of a row is 1; a floor keeps a point far from all others from having no likelihood at all.
    z = -0.5 * ((x[:, None] - grid) / sd[:, None]) ** 2
    return np.maximum(np.exp(z - z.max(axis=1, keepdims=True)), 1e-300)


def _posterior(x: Array, sd: Array, grid: Array, prior: Array, confidence: float) -> pd.DataFrame:
    parts = []
    targets = (0.5 - confidence / 2, 0.5 + confidence / 2)
    for start in range(0, len(x), 4000):
        rows = slice(start, start + 4000)
        weight = _likelihood(x[rows], sd[rows], grid) * prior
        weight /= weight.sum(axis=1, keepdims=True)
        cumulative = np.cumsum(weight, axis=1)
        ends = [grid[np.minimum((cumulative < target).sum(axis=1), len(grid) - 1)] for target in targets]
        parts.append(np.column_stack([weight @ grid, *ends]))
    return pd.DataFrame(np.concatenate(parts), columns=["estimate", "lower", "upper"])
