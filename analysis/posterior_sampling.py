"""Weighted draws from a posterior density of a few dimensions."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, special

Array = NDArray[np.float64]

BATCH = 256
MAX_BATCHES = 12
EFFECTIVE_DRAWS = 150
TAIL = 6
"""Degrees of freedom of the Student t proposals, whose tails must be heavier than those of the posterior."""


def sample_posterior(
    log_density: Callable[[Array], Array], mean: Array, sd: Array, rng: np.random.Generator
) -> tuple[Array, Array]:
    """Adaptive importance sampling with multivariate Student t proposals, from the mode on.

    Each batch is proposed with the mean and covariance of the draws so far, and all draws are weighted by the mixture
    of all proposals. Batches end when the effective sample size is reached, at the latest after MAX_BATCHES.

    Args:
        log_density: of shape (draws, dimensions) to (draws,), up to a constant.
        mean, sd: shape (dimensions,), where the search of the mode starts, and its unit in each dimension.

    Returns:
        Draws, shape (draws, dimensions), and their weights, shape (draws,), which sum to 1.

    Source: Cornuet, Marin, Mira & Robert, "Adaptive multiple importance sampling", Scandinavian Journal of Statistics
    39 (2012) 798-812.
    """
    dimensions = len(mean)
    draws, target = np.empty((0, dimensions)), np.empty(0)
    proposals: list[tuple[Array, Array]] = []
    mean, factor = _mode(log_density, mean, sd)
    for batch in range(MAX_BATCHES):
        scale = np.sqrt(rng.chisquare(TAIL, (BATCH, 1)) / TAIL)
        new = mean + rng.standard_normal((BATCH, dimensions)) / scale @ factor.T
        proposals.append((mean, factor))
        draws, target = np.concatenate([draws, new]), np.concatenate([target, log_density(new)])
        log_weights = target - special.logsumexp([_log_student_t(draws, *proposal) for proposal in proposals], axis=0)
        weights = special.softmax(log_weights)
        if batch and _effective(weights) >= EFFECTIVE_DRAWS:
            break
        # A proposal far from the posterior leaves all weight on a few draws: flatten the weights to move toward it.
        power = 1.0
        while _effective(weights) < 5 * dimensions:
            power *= 0.7
            weights = special.softmax(power * log_weights)
        mean = weights @ draws
        centered = draws - mean
        covariance = (weights[:, None] * centered).T @ centered
        factor = np.linalg.cholesky(1.1 * covariance + 1e-12 * np.diag(sd**2))
    return draws, special.softmax(log_weights)


def _mode(log_density: Callable[[Array], Array], start: Array, unit: Array) -> tuple[Array, Array]:
    """The mode and a Cholesky factor of the inverse Hessian there, both approximate."""
    steps = np.vstack([np.zeros(len(start)), 1e-4 * np.eye(len(start))])

    def objective(position: Array) -> tuple[float, Array]:
        values = -log_density(start + unit * (position + steps))
        return float(values[0]), (values[1:] - values[0]) / 1e-4

    found = optimize.minimize(
        objective, np.zeros(len(start)), jac=True, method="BFGS", options={"gtol": 0.05, "maxiter": 100}
    )
    return start + unit * found.x, unit[:, None] * np.linalg.cholesky(np.asarray(found.hess_inv))


def _effective(weights: Array) -> float:
    """Effective sample size of draws with these weights (Kish)."""
    return float(1 / np.sum(weights**2))


def _log_student_t(draws: Array, mean: Array, factor: Array) -> Array:
    """Log density of a multivariate Student t, up to a constant that all means and covariances share."""
    distance = np.sum(np.linalg.solve(factor, (draws - mean).T) ** 2, axis=0)
    tail = -0.5 * (TAIL + draws.shape[1]) * np.log1p(distance / TAIL)
    return np.asarray(tail - np.log(np.diag(factor)).sum())
