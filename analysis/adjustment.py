"""Regression adjustment: the mean error of a space as a smooth curve over complexity, averaged over a range.

Comparing two spaces at equal complexity means comparing two such averages over the same range. The errors of all models
inform the curve, so the comparison needs fewer trained models than one between complexity bins.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from scipy.interpolate import CubicSpline

Array = NDArray[np.float64]

NULL_DRAWS = 10_000
FULL_LEVERAGE = 1e-8
"""A model whose residual keeps less than this share of its variance determines its own fitted value."""


@dataclass(frozen=True)
class AdjustedMean:
    """An average of an error curve.

    Attributes:
        mean: percent.
        variance: heteroscedasticity-robust (HC2), squared points.
        degrees: Satterthwaite degrees of freedom of `variance`.
        effective_n: number of models whose plain mean would be as precise if all errors had the same variance.
    """

    mean: float
    variance: float
    degrees: float
    effective_n: float


class ErrorCurve:
    """Mean error of one space over log complexity: a natural cubic spline fitted by least squares.

    The spline has round(n^(1/4)) degrees of freedom beyond the constant (2 from n = 6, 3 from 40, 4 from 151), at most
    one less than there are distinct complexities, and its knots are quantiles of the models' complexities.

    Args:
        errors: shape (n,), percent.
        position: shape (n,), log complexity; None for a constant curve, whose average is the plain mean.

    Source: regression adjustment with separate slopes, Lin, Annals of Applied Statistics 7 (2013) 295-318; HC2
    variance, MacKinnon & White, Journal of Econometrics 29 (1985) 305-325; its degrees of freedom, Bell & McCaffrey,
    Survey Methodology 28 (2002) 169-181.
    """

    def __init__(self, errors: Array, position: Array | None = None) -> None:
        n = len(errors)
        self._spline = None if position is None else _cardinal_spline(position)
        design = np.ones((n, 1)) if self._spline is None or position is None else self._spline(position)
        self._q, self._r = np.linalg.qr(design)
        self.coefficients = np.linalg.solve(self._r, self._q.T @ errors)
        residuals = errors - design @ self.coefficients
        self._spare = 1 - np.sum(self._q**2, axis=1)  # 1 - leverage
        self._free = n - design.shape[1]
        own = self._spare < FULL_LEVERAGE
        with np.errstate(divide="ignore", invalid="ignore"):
            squares = residuals**2 / self._spare
            # The residual of a model with full leverage is 0 whatever its noise; the average variance replaces it.
            squares[own] = np.sum(residuals**2) / np.float64(self._free)
        half = np.linalg.solve(self._r, (self._q * np.sqrt(squares)[:, None]).T)
        self.covariance = half @ half.T
        """HC2 covariance matrix of the coefficients."""

    def average(self, low: float, high: float) -> tuple[Array, AdjustedMean]:
        """Average over positions low to high (the value at low where they are equal).

        Returns:
            The weights of the coefficients in the average, shape (p,), and the average.
        """
        if self._spline is None:
            weights = np.ones(1)
        elif low == high:
            weights = np.asarray(self._spline(low))
        else:
            weights = np.asarray(self._spline.integrate(low, high)) / (high - low)
        squares = (self._q @ np.linalg.solve(self._r.T, weights)) ** 2
        own = self._spare < FULL_LEVERAGE
        scaled = np.where(own, 0.0, squares / np.where(own, 1.0, self._spare))
        # With M = I - QQ' the variance is the quadratic form e'M diag(scaled) M e. Its first two moments under equal
        # variances need tr(M diag) and tr((M diag)^2), which expand into sums over models.
        second = np.sum(scaled**2 * (2 * self._spare - 1)) + np.sum((self._q.T @ (self._q * scaled[:, None])) ** 2)
        lone = float(np.sum(squares[own]))
        with np.errstate(divide="ignore", invalid="ignore"):
            degrees = np.sum(squares) ** 2 / (second + lone**2 / np.float64(self._free))
        return weights, AdjustedMean(
            float(weights @ self.coefficients),
            float(weights @ self.covariance @ weights),
            float(degrees),
            float(1 / np.sum(squares)),
        )


def smoothness(n: int) -> int:
    """Degrees of freedom beyond the constant for a curve through n models."""
    return max(1, round(n**0.25))


def _cardinal_spline(position: Array) -> CubicSpline | None:
    """Natural cubic splines that are 1 at one knot and 0 at the others; None where all positions are the same."""
    distinct = np.unique(position)
    intervals = min(smoothness(len(position)), len(distinct) - 1)
    if intervals < 1:
        return None
    # Knots at data points keep the least-squares problem nonsingular however the points cluster.
    knots = np.quantile(distinct, np.linspace(0, 1, intervals + 1), method="inverted_cdf")
    return CubicSpline(knots, np.eye(len(knots)), bc_type="natural")


class Contrast:
    """Difference of two spaces' mean errors, a - b, averaged over the same positions low to high.

    Attributes:
        a, b: the adjusted means.
        difference: points.
        standard_error: points.
        degrees: Welch-Satterthwaite degrees of freedom.
        parts: each space's curve and the signed weights of its coefficients.
    """

    def __init__(self, curve_a: ErrorCurve, curve_b: ErrorCurve, low: float = 0.0, high: float = 0.0) -> None:
        weights_a, self.a = curve_a.average(low, high)
        weights_b, self.b = curve_b.average(low, high)
        self.parts = ((curve_a, weights_a), (curve_b, -weights_b))
        self.difference = self.a.mean - self.b.mean
        self.standard_error = float(np.sqrt(self.a.variance + self.b.variance))
        terms = sum(mean.variance**2 / mean.degrees for mean in (self.a, self.b) if mean.variance > 0)
        self.degrees = self.standard_error**4 / terms if terms else np.inf

    @property
    def p_value(self) -> float:
        """Two-sided p-value of no difference; 0 or 1 where no error varies."""
        if self.standard_error == 0:
            return float(self.difference == 0)
        return float(2 * stats.t.sf(abs(self.difference) / self.standard_error, self.degrees))

    def quantile(self, level: float) -> float:
        """Multiple of the standard error that an estimate without a true difference exceeds with probability level."""
        return float(stats.t.isf(level / 2, self.degrees))

    def half_width(self, level: float) -> float:
        """Half the width of the interval with error probability `level`, points; 0 where no error varies."""
        return self.quantile(level) * self.standard_error if self.standard_error else 0.0


def smallest_p_values(contrasts: Sequence[Contrast], rng: np.random.Generator) -> Array:
    """Draws of the smallest p-value of several contrasts when there is no true difference, shape (NULL_DRAWS,).

    Contrasts that share a space are correlated. The share of draws below a p-value adjusts it for all contrasts, and a
    quantile of the draws is the pointwise level at which all intervals hold together.

    Source: single-step max-t, Hothorn, Bretz & Westfall, Biometrical Journal 50 (2008) 346-363, on the scale of
    p-values, since each contrast has its own degrees of freedom.
    """
    curves = {id(curve): curve for contrast in contrasts for curve, _ in contrast.parts}
    noise = {
        key: rng.standard_normal((NULL_DRAWS, len(curve.covariance))) @ _square_root(curve.covariance).T
        for key, curve in curves.items()
    }
    smallest = np.ones(NULL_DRAWS)
    for contrast in contrasts:
        if contrast.standard_error > 0:
            error = sum(noise[id(curve)] @ weights for curve, weights in contrast.parts) / contrast.standard_error
            spread = rng.chisquare(contrast.degrees, NULL_DRAWS) / contrast.degrees
            smallest = np.minimum(smallest, 2 * stats.t.sf(np.abs(error) / np.sqrt(spread), contrast.degrees))
    return smallest


def _square_root(covariance: Array) -> Array:
    if not np.all(np.isfinite(covariance)):  # a single model: its contrasts have no standard error and are skipped
        return np.zeros_like(covariance)
    values, vectors = np.linalg.eigh(covariance)
    return vectors * np.sqrt(np.clip(values, 0, None))


class CommonCurve:
    """One error curve of two spaces together, with a constant difference between them.

    Args:
        position: shape (N,), log complexity, of both spaces.
        first: shape (N,), True for the models of the first space.
    """

    def __init__(self, position: Array, first: NDArray[np.bool_]) -> None:
        spline = _cardinal_spline(position)
        basis = np.ones((len(position), 1)) if spline is None else spline(position)
        self._centered = basis - basis.mean(axis=0)
        self._fit = np.linalg.pinv(np.column_stack([basis, first]))[:-1]
        self._q = np.linalg.qr(basis)[0]

    def remove(self, errors: Array) -> Array:
        """Errors moved along the curve to its mean, shape (..., N): the difference between the spaces stays."""
        return errors - (errors @ self._fit.T) @ self._centered.T

    def residuals(self, errors: Array) -> Array:
        """Residuals of the curve without a difference between the spaces, shape (N,), of the errors' own variance."""
        spare = np.clip(1 - np.sum(self._q**2, axis=1), FULL_LEVERAGE, None)
        return np.asarray((errors - self._q @ (self._q.T @ errors)) / np.sqrt(spare))
