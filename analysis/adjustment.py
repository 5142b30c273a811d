"""Regression adjustment: mean error as a smooth curve over complexity, averaged over a range.

The difference of two such averages over the same range compares two spaces at equal complexity. All models inform the
curves, so the comparison needs fewer trained models than one within complexity bins.
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
"""A model whose 1 - leverage is below this determines its own fitted value."""


@dataclass(frozen=True)
class AdjustedMean:
    """Average of an error curve.

    Attributes:
        mean: percent.
        variance: heteroscedasticity-robust (HC2), squared points.
        degrees: Satterthwaite degrees of freedom of `variance`.
        effective_n: number of models whose plain mean would have the same variance if all errors had equal variance.
    """

    mean: float
    variance: float
    degrees: float
    effective_n: float


class ErrorCurve:
    """Mean error of one space over log complexity: a natural cubic spline fitted by least squares.

    The spline has round(n^(1/4)) degrees of freedom besides the constant (2 from n = 6, 3 from 40, 4 from 151), at most
    one less than the number of distinct complexities. Its knots are quantiles of the complexities.

    Args:
        errors: shape (n,), percent.
        position: shape (n,), log complexity; None for a constant curve, whose average is the plain mean.

    Source: regression adjustment with separate slopes, Lin, Annals of Applied Statistics 7 (2013) 295-318; HC2
    variance, MacKinnon & White, Journal of Econometrics 29 (1985) 305-325; degrees of freedom, Bell & McCaffrey, Survey
    Methodology 28 (2002) 169-181.
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
            # With full leverage the residual is 0 regardless of the noise, so use the average variance.
            squares[own] = np.sum(residuals**2) / np.float64(self._free)
        half = np.linalg.solve(self._r, (self._q * np.sqrt(squares)[:, None]).T)
        self.covariance = half @ half.T
        """HC2 covariance matrix of the coefficients."""

    def average(self, low: float, high: float) -> tuple[Array, AdjustedMean]:
        """Average the curve over positions low to high, or evaluate it at low if they are equal.

        Returns:
            The weights of the coefficients, shape (p,), and the average.
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
        # With M = I - QQ', the variance is the quadratic form e'M diag(scaled) M e. Its first two moments under equal
        # variances need tr(M diag) and tr((M diag)^2), which are sums over models.
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
    """Degrees of freedom besides the constant of a curve through n models."""
    return max(1, round(n**0.25))


def _cardinal_spline(position: Array) -> CubicSpline | None:
    """Natural cubic splines that are 1 at one knot and 0 at the others; None if all positions are equal."""
    distinct = np.unique(position)
    intervals = min(smoothness(len(position)), len(distinct) - 1)
    if intervals < 1:
        return None
    # Knots at data points keep the least-squares problem nonsingular even if the points cluster.
    knots = np.quantile(distinct, np.linspace(0, 1, intervals + 1), method="inverted_cdf")
    return CubicSpline(knots, np.eye(len(knots)), bc_type="natural")


def trend_basis(n: int, position: Array | None) -> Array:
    """Orthonormal basis of the error curves of n models, shape (n, p); without positions, of a constant."""
    spline = None if position is None else _cardinal_spline(position)
    design = np.ones((n, 1)) if spline is None or position is None else spline(position)
    return np.linalg.qr(design)[0]


class Contrast:
    """Difference of the mean errors of two spaces, a - b, averaged over the same positions low to high.

    Attributes:
        a, b: adjusted means.
        difference: points.
        standard_error: points.
        degrees: Welch-Satterthwaite degrees of freedom.
        parts: curve of each space and the signed weights of its coefficients.
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
        """Two-sided p-value of zero difference; 0 or 1 if the standard error is 0."""
        if self.standard_error == 0:
            return float(self.difference == 0)
        return float(2 * stats.t.sf(abs(self.difference) / self.standard_error, self.degrees))

    def quantile(self, level: float) -> float:
        """Critical value of |t| at a two-sided level."""
        return float(stats.t.isf(level / 2, self.degrees))

    def half_width(self, level: float) -> float:
        """Half width of the confidence interval with error probability `level`, points; 0 if the standard error is
        0.
        """
        return self.quantile(level) * self.standard_error if self.standard_error else 0.0


def smallest_p_values(contrasts: Sequence[Contrast], rng: np.random.Generator) -> Array:
    """Null draws of the smallest p-value of several contrasts, shape (NULL_DRAWS,).

    The draws account for the correlation of contrasts that share a space. The fraction of draws below a p-value is the
    adjusted p-value. A quantile of the draws is the pointwise level at which all intervals hold simultaneously.

    Source: single-step max-t, Hothorn, Bretz & Westfall, Biometrical Journal 50 (2008) 346-363, on the scale of
    p-values because contrasts differ in their degrees of freedom.
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
    if not np.all(np.isfinite(covariance)):  # a single model, whose contrasts are skipped
        return np.zeros_like(covariance)
    values, vectors = np.linalg.eigh(covariance)
    return vectors * np.sqrt(np.clip(values, 0, None))


class CommonCurve:
    """One error curve for the models of two spaces, with a constant difference between the spaces.

    Args:
        position: shape (N,), log complexity of the models of both spaces.
        first: shape (N,), True for models of the first space.
    """

    def __init__(self, position: Array, first: NDArray[np.bool_]) -> None:
        spline = _cardinal_spline(position)
        basis = np.ones((len(position), 1)) if spline is None else spline(position)
        self._centered = basis - basis.mean(axis=0)
        self._fit = np.linalg.pinv(np.column_stack([basis, first]))[:-1]
        self._q = np.linalg.qr(basis)[0]

    def remove(self, errors: Array) -> Array:
        """Errors with the trend removed and its mean kept, shape (..., N). The difference between the spaces
        remains.
        """
        return errors - (errors @ self._fit.T) @ self._centered.T

    def residuals(self, errors: Array) -> Array:
        """Residuals without a difference between the spaces, shape (N,), scaled to the variance of the errors."""
        spare = np.clip(1 - np.sum(self._q**2, axis=1), FULL_LEVERAGE, None)
        return np.asarray((errors - self._q @ (self._q.T @ errors)) / np.sqrt(spare))
