"""Expected and retrained error of selected models, corrected for selection bias.

A hierarchical Bayesian estimate shrinks each measured error toward the distribution of the errors of all models.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import optimize, special, stats

from designspace.validated import shorten

Array = NDArray[np.float64]

BATCH = 256
MAX_BATCHES = 12
EFFECTIVE_DRAWS = 150
TAIL = 6
"""Degrees of freedom of the Student t proposals, which need heavier tails than the posterior."""


def sample_posterior(
    log_density: Callable[[Array], Array], mean: Array, sd: Array, rng: np.random.Generator
) -> tuple[Array, Array]:
    """Draw a weighted sample from a posterior by adaptive importance sampling, starting at the mode.

    Each batch has a multivariate Student t proposal with the mean and covariance of the draws so far. All draws are
    weighted by the mixture of all proposals. Sampling stops at EFFECTIVE_DRAWS or after MAX_BATCHES.

    Args:
        log_density: maps shape (draws, dimensions) to (draws,), up to a constant.
        mean, sd: shape (dimensions,), start and scale of the search for the mode.
        rng: random generator.

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
        # If a few draws have all the weight, flatten the weights to move the proposal toward the posterior.
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
    """The mode and a Cholesky factor of the inverse Hessian at the mode, both approximate."""
    steps = np.vstack([np.zeros(len(start)), 1e-4 * np.eye(len(start))])

    def objective(position: Array) -> tuple[float, Array]:
        values = -log_density(start + unit * (position + steps))
        return float(values[0]), (values[1:] - values[0]) / 1e-4

    optimum = optimize.minimize(
        objective, np.zeros(len(start)), jac=True, method="BFGS", options={"gtol": 0.05, "maxiter": 100}
    )
    return start + unit * optimum.x, unit[:, None] * np.linalg.cholesky(np.asarray(optimum.hess_inv))


def _effective(weights: Array) -> float:
    """Effective sample size of draws with these weights (Kish)."""
    return float(1 / np.sum(weights**2))


def _log_student_t(draws: Array, mean: Array, factor: Array) -> Array:
    """Log density of a multivariate Student t, up to a common constant."""
    distance = np.sum(np.linalg.solve(factor, (draws - mean).T) ** 2, axis=0)
    tail = -0.5 * (TAIL + draws.shape[1]) * np.log1p(distance / TAIL)
    return np.asarray(tail - np.log(np.diag(factor)).sum())


FEWEST = 4
"""Minimum number of models to estimate their distribution. With fewer, each model has a flat prior."""
COLUMNS = ("estimate", "lower", "upper", "retrained_lower", "retrained_upper")
KNOWN = 1e6
"""Degrees of freedom of a known noise level."""
PRIORS = 80
"""Number of posterior draws of the distribution of true errors."""
NODES = 80
"""Number of nodes for interpolation when there are more rows."""

STEP = 0.3
Z = np.arange(-3.6, 3.6 + STEP / 2, STEP)
"""Standard normal quantiles of the components of a distribution."""
TILTS = np.column_stack([np.sqrt(2 * k + 1) * special.eval_legendre(k, 2 * special.ndtr(Z) - 1) for k in range(2, 7)])
"""Legendre polynomials, orthonormal under the normal distribution of Z."""
SHAPE_SD = np.array([1.0, 0.35, *np.full(TILTS.shape[1], 0.5)])
"""Prior standard deviations of the shape parameters skewness, log tail weight and tilts, which are 0 for the normal."""


def shrink(
    errors: ArrayLike,
    noise_sd: float,
    *,
    seeds: ArrayLike = 1,
    degrees: float = np.inf,
    rows: ArrayLike | None = None,
    confidence: float = 0.95,
) -> pd.DataFrame:
    """Estimate the expected error of each model and the error of one retraining.

    The distribution of the true errors of all models is a flexible family around the normal distribution: location,
    scale, skewness, tail weight (sinh-arcsinh), and smooth tilts of the density, which allow several modes. The
    posterior of each model averages over this distribution and the noise level, so the intervals include the
    uncertainty of both. Because the estimate conditions on the whole population, later selection of the best model does
    not bias it.

    Args:
        errors: shape (N,), percent, measured, averaged over `seeds` trainings.
        noise_sd: standard deviation of the error of one training, points, positive.
        seeds: number of trainings of each model, at least 1: a number, or shape (N,).
        degrees: degrees of freedom of `noise_sd`; infinite if it is known.
        rows: positions of the models to estimate; all by default.
        confidence: confidence of both intervals.

    Returns:
        A frame with one row per model of `rows`: `estimate` (posterior mean of the expected error), `lower`, `upper`
        (posterior quantiles), `retrained_lower`, `retrained_upper` (quantiles of the error of one retraining).

    Raises:
        ValueError: nonfinite errors, nonpositive noise or degrees, or seeds below 1.

    Source: sinh-arcsinh distributions, Jones & Pewsey, Biometrika 96 (2009) 761-780; smooth tilts, Neyman, Skandinavisk
    Aktuarietidskrift 20 (1937) 149-199; averaging over the posterior of the distribution with a flat prior on the
    squared scale, Morris, Journal of the American Statistical Association 78 (1983) 47-65. Coverage:
    `benchmarks.calibration.selection`.
    """
    x = np.asarray(errors, dtype=float)
    if x.ndim != 1 or not len(x) or not np.all(np.isfinite(x)):
        raise ValueError(f"errors = {shorten(x.tolist())}: must be one-dimensional and finite with at least one value")
    trainings = np.broadcast_to(np.asarray(seeds, dtype=float), x.shape)
    if not (np.isfinite(noise_sd) and noise_sd > 0):
        raise ValueError(f"noise_sd = {noise_sd}: must be positive, in points of error")
    if not degrees > 0:
        raise ValueError(f"degrees = {degrees}: must be positive")
    if not np.all(trainings >= 1):
        raise ValueError(f"seeds = {trainings.min():g}: must be at least 1")
    positions = np.arange(len(x)) if rows is None else np.asarray(rows, dtype=np.int64)
    x_rows, trainings_rows = x[positions], trainings[positions]
    if len(x) < FEWEST:
        estimates = _estimate_alone(x_rows, trainings_rows, noise_sd, degrees, confidence)
    else:
        priors = _sample_priors(x, trainings, noise_sd, degrees)
        estimates = np.empty((len(x_rows), len(COLUMNS)))
        for number in np.unique(trainings_rows):
            same = trainings_rows == number
            estimates[same] = _estimate(priors, x_rows[same], number, confidence)
    return pd.DataFrame(estimates, columns=list(COLUMNS))


def _estimate_alone(x: Array, seeds: Array, noise_sd: float, degrees: float, confidence: float) -> Array:
    """Estimates with a flat prior, in the order of COLUMNS."""
    half = noise_sd * stats.t(degrees).ppf(0.5 + confidence / 2)
    expected, retrained = half / np.sqrt(seeds), half * np.sqrt(1 + 1 / seeds)
    return np.column_stack([x, x - expected, x + expected, x - retrained, x + retrained])


@dataclass(frozen=True)
class _Priors:
    """Distributions of true errors, each a mixture of normal components, with a noise level each.

    Attributes:
        center, variance, log_weight: shape (distributions, components).
        noise: shape (distributions, 1), variance of the error of one training.
    """

    center: Array
    variance: Array
    log_weight: Array
    noise: Array

    def log_joint(self, x: Array, seeds: float) -> Array:
        """Log of weight times density of means over `seeds` trainings, shape (len(x), distributions, components)."""
        total = self.noise / seeds + self.variance
        constant = self.log_weight - 0.5 * np.log(total)
        return np.asarray(constant - 0.5 * (x[:, None, None] - self.center) ** 2 / total)


def _priors(parameters: Array) -> _Priors:
    """Distributions with the given location, log scale, log noise sd and shape (columns in this order)."""
    location, log_scale, log_noise, skewness, log_tail = (parameters[:, [i]] for i in range(5))
    tail = np.exp(np.clip(log_tail, -1.3, 1.3))

    def quantile(z: ArrayLike) -> Array:
        return np.asarray(np.sinh((np.arcsinh(z) + np.clip(skewness, -3, 3)) / tail))

    # For every shape, location is the median and scale is half the distance of the quantiles at -1 and +1.
    unit = np.exp(log_scale) / (0.5 * (quantile(1.0) - quantile(-1.0)))
    slope = np.cosh((np.arcsinh(Z) + np.clip(skewness, -3, 3)) / tail) / (tail * np.sqrt(1 + Z**2))
    log_weight = -0.5 * Z**2 + parameters[:, 5:] @ TILTS.T
    return _Priors(
        center=location + unit * (quantile(Z) - quantile(0.0)),
        variance=(STEP * unit * slope) ** 2,  # components as wide as their spacing give a smooth density
        log_weight=log_weight - special.logsumexp(log_weight, axis=1, keepdims=True),
        noise=np.exp(2 * log_noise),
    )


def _sample_priors(x: Array, seeds: Array, noise_sd: float, degrees: float) -> _Priors:
    """Equally weighted draws from the posterior of the distribution and the noise."""
    low, median, high = np.quantile(x, [0.16, 0.5, 0.84])
    noise = noise_sd * np.sqrt(np.mean(1 / seeds))
    spread = max(0.5 * (high - low), noise / 4)
    degrees = min(degrees, KNOWN)
    # Group nearby errors into one weighted observation: within a third of the noise or a fifteenth of the spread, and
    # more coarsely far from the median.
    cell = np.round(15 * np.arcsinh((x - median) / max(5 * noise, spread)))
    cells = {}
    for number in np.unique(seeds):
        same = seeds == number
        cells[float(number)] = pd.Series(x[same]).groupby(cell[same]).agg(["mean", "size"]).to_numpy(dtype=float).T

    def log_density(parameters: Array) -> Array:
        priors = _priors(parameters)
        likelihood = np.zeros(len(parameters))
        chunk = max(1, 8192 // len(parameters))  # arrays that fit into the cache
        for number, (centers, counts) in cells.items():
            for start in range(0, len(centers), chunk):
                center, count = centers[start : start + chunk], counts[start : start + chunk]
                joint = priors.log_joint(center, number)
                largest = joint.max(axis=2)  # several times faster than scipy.special.logsumexp
                likelihood += count @ (largest + np.log(np.exp(joint - largest[:, :, None]).sum(axis=2)))
        log_scale, log_noise, shape = parameters[:, 1], parameters[:, 2], parameters[:, 3:]
        ratio = np.log(noise_sd) - log_noise
        # Flat prior on location and squared scale, chi-square likelihood of the noise, normal prior on the shape.
        return np.asarray(
            likelihood
            + 2 * log_scale
            + degrees * (ratio - 0.5 * np.exp(2 * ratio))
            - 0.5 * np.sum((shape / SHAPE_SD) ** 2, axis=1)
        )

    scale, root = np.sqrt(max(spread**2 - noise**2, (spread / 4) ** 2)), np.sqrt(len(x))
    mean = np.array([median, np.log(scale), np.log(noise_sd), *np.zeros(len(SHAPE_SD))])
    scale_sd = min(1.0, 1.5 * (spread / scale) ** 2 / root)
    sd = np.array([1.5 * spread / root, scale_sd, np.sqrt(0.5 / degrees), *np.minimum(SHAPE_SD, 2.5 / root)])
    draws, weights = sample_posterior(log_density, mean, sd, np.random.default_rng(0))
    chosen = np.searchsorted(np.cumsum(weights), (np.arange(PRIORS) + 0.5) / PRIORS)  # systematic resampling
    return _priors(draws[np.minimum(chosen, len(draws) - 1)])


def _estimate(priors: _Priors, x: Array, seeds: float, confidence: float) -> Array:
    """Estimates in the order of COLUMNS, averaged over the distributions."""
    if len(x) > NODES:  # half of the nodes at quantiles, half equally spaced
        share = np.linspace(0, 1, NODES // 2)
        nodes = np.unique(np.concatenate([np.quantile(x, share), x.min() + share * np.ptp(x)]))
        return np.column_stack([np.interp(x, nodes, y) for y in _estimate(priors, nodes, seeds, confidence).T])
    weight = special.softmax(priors.log_joint(x, seeds), axis=2).reshape(len(x), -1) / len(priors.noise)
    noise = priors.noise / seeds
    total = noise + priors.variance
    mean = ((x[:, None, None] * priors.variance + priors.center * noise) / total).reshape(len(x), -1)
    variance = noise * priors.variance / total
    ends = [
        _mixture_quantile(weight, mean, np.sqrt(of).ravel(), probability)
        for of in (variance, variance + priors.noise)
        for probability in (0.5 - confidence / 2, 0.5 + confidence / 2)
    ]
    return np.column_stack([np.sum(weight * mean, axis=1), *ends])


def _mixture_quantile(weight: Array, mean: Array, sd: Array, probability: float) -> Array:
    """Quantile of each row's mixture of normal distributions, by bisection within Chebyshev bounds."""
    center = np.sum(weight * mean, axis=1)
    variance = np.sum(weight * (sd**2 + (mean - center[:, None]) ** 2), axis=1)
    reach = np.sqrt(variance / min(probability, 1 - probability))
    low, high = center - reach, center + reach
    for _ in range(12):
        middle = 0.5 * (low + high)
        below = np.sum(weight * special.ndtr((middle[:, None] - mean) / sd), axis=1) < probability
        low, high = np.where(below, middle, low), np.where(below, high, middle)
    return np.asarray(0.5 * (low + high))
