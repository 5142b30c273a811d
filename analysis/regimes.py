"""Complexity regimes: best parameters by regime, and power laws against complexity."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from analysis.parameters import BestRange, best_range


@dataclass(frozen=True)
class PowerLaw:
    """y = factor * x ** exponent, fitted on logarithms.

    Attributes:
        exponent, lower, upper: exponent with its t-interval.
        factor: y at x = 1.
        scatter: residual standard deviation of log10(y).
        n: number of points.
    """

    exponent: float
    lower: float
    upper: float
    factor: float
    scatter: float
    n: int


def power_law(x: ArrayLike, y: ArrayLike, *, confidence: float = 0.95) -> PowerLaw:
    """Least-squares fit of log y on log x.

    Args:
        x, y: shape (N,). Pairs with a nonfinite or nonpositive value are excluded.
        confidence: confidence of the interval. With fewer than three pairs or constant x, all fields but n are NaN.
    """
    a, b = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
    if a.shape != b.shape or a.ndim != 1:
        raise ValueError(f"x = array of shape {a.shape}: must be one-dimensional with the shape of y, {b.shape}")
    valid = np.isfinite(a) & np.isfinite(b) & (a > 0) & (b > 0)
    u, v = np.log10(a[valid]), np.log10(b[valid])
    n = len(u)
    if n < 3 or np.ptp(u) < 1e-12:
        return PowerLaw(np.nan, np.nan, np.nan, np.nan, np.nan, n)
    line = stats.linregress(u, v)
    half = float(stats.t.ppf(0.5 + confidence / 2, n - 2) * line.stderr)
    scatter = float(np.sqrt(np.sum((v - line.intercept - line.slope * u) ** 2) / (n - 2)))
    slope = float(line.slope)
    return PowerLaw(slope, slope - half, slope + half, float(10**line.intercept), scatter, n)


def scaling_exponents(
    frame: pd.DataFrame, by: str = "space", *, of: Sequence[str] = ("params", "acts"), against: str = "macs"
) -> pd.DataFrame:
    """Exponents of params and acts against macs in each space: one row per space and column, fields of `PowerLaw`.

    Spaces whose `against` spans less than a factor of two are excluded.

    Source: Radosavovic et al. 2020 (arXiv 2003.13678), Fig. 12: for the best models, acts grow with the square root of
    macs and params in proportion. Dollár et al. 2021 (arXiv 2103.06877) give the exponents of each scaling method.
    """
    rows = []
    for label, part in frame.groupby(by, sort=False):
        x = part[against].to_numpy(dtype=float)
        x_known = x[np.isfinite(x) & (x > 0)]
        if len(x_known) < 3 or x_known.max() < 2 * x_known.min():
            continue
        for name in of:
            law = power_law(x, part[name].to_numpy(dtype=float))
            if law.n >= 3:
                rows.append({by: label, "of": name, "against": against, **asdict(law)})
    columns = [by, "of", "against", *PowerLaw.__dataclass_fields__]
    return pd.DataFrame(rows, columns=columns)


MODELS_PER_REGIME = 12
"""Number of models that determine a best range."""
MAX_REGIMES = 6


def regime_index(complexity: Sequence[float] | NDArray[np.float64], regimes: int | None = None) -> NDArray[np.int64]:
    """Divide models into regimes of equal size by complexity.

    Args:
        complexity: shape (N,), positive. Nonfinite values get regime -1.
        regimes: number of regimes; by default one per factor of two between the 5 % and 95 % quantiles, at most 6, with
            at least 12 models each. The regimes of RegNet are about a factor of two apart.
    """
    x = np.asarray(complexity, dtype=float)
    finite = np.isfinite(x)
    number = _number(x[finite]) if regimes is None else regimes
    if number < 1:
        raise ValueError(f"regimes = {number}: must be at least 1")
    index = np.full(len(x), -1, dtype=np.int64)
    if finite.any():
        inner = np.quantile(x[finite], np.linspace(0, 1, number + 1)[1:-1])
        index[finite] = np.searchsorted(inner, x[finite], side="right")
    return index


def _number(x: NDArray[np.float64]) -> int:
    if not len(x):
        return 1
    low, high = np.quantile(x, [0.05, 0.95])
    return max(1, min(len(x) // MODELS_PER_REGIME, round(float(np.log2(high / low))), MAX_REGIMES))


def _populations(complexity: NDArray[np.float64], names: NDArray[np.object_]) -> NDArray[np.int64] | None:
    """Populations with disjoint complexity ranges as regimes; None for one population or overlapping ranges."""
    finite = np.isfinite(complexity)
    ends = pd.Series(complexity[finite]).groupby(names[finite]).agg(["min", "max"]).sort_values("min")
    if len(ends) < 2 or (ends["max"].to_numpy()[:-1] > ends["min"].to_numpy()[1:]).any():
        return None
    return np.where(finite, ends.index.get_indexer(pd.Index(names)), -1).astype(np.int64)


def assign_regimes(
    frame: pd.DataFrame, *, by: str = "space", complexity: str = "macs", regimes: int | None = None
) -> pd.Series:
    """Regime of each model within its space, from 0; -1 if its complexity is unknown.

    Args:
        frame: columns `by`, `complexity` and optionally `population` (`analysis.families`). Populations of a space with
            disjoint complexity ranges are its regimes.
        by: column that defines the spaces.
        complexity: complexity column.
        regimes: number of regimes of equal size per space; see `regime_index`.
    """
    index = pd.Series(-1, index=frame.index)
    for _, part in frame.groupby(by, sort=False):
        x = part[complexity].to_numpy(dtype=float)
        x = np.where(x > 0, x, np.nan)
        drawn = _populations(x, part["population"].to_numpy()) if "population" in part and regimes is None else None
        index[part.index] = regime_index(x, regimes) if drawn is None else drawn
    return index


def best_by_regime(
    frame: pd.DataFrame,
    parameters: Sequence[str],
    *,
    by: str = "space",
    complexity: str = "macs",
    regimes: int | None = None,
) -> pd.DataFrame:
    """Best range of every parameter in every complexity regime.

    Args:
        frame: columns `by`, `complexity`, `parameters`, `error_percent`; one row per model, unique index.
        parameters: numeric columns, including complexities and the error.
        by: column that defines the spaces.
        complexity: complexity column.
        regimes: as in `assign_regimes`.

    Returns:
        One row per space, regime and parameter: by, parameter, regime (from 0), complexity (geometric mean of the
        regime), low, high (its ends) and the fields of `BestRange`.

    Source: Radosavovic et al. 2020 (arXiv 2003.13678), Fig. 11, where each regime is a separate population.
    """
    rows = []
    index = assign_regimes(frame, by=by, complexity=complexity, regimes=regimes)
    for label, part in frame.groupby(by, sort=False):
        part_index = index[part.index]
        for regime in range(part_index.max() + 1):
            models = part[part_index == regime]
            if models.empty:
                continue
            ends = models[complexity].astype(float)
            row = {"regime": regime, "complexity": float(np.exp(np.log(ends).mean()))}
            row |= {"low": float(ends.min()), "high": float(ends.max())}
            for name in parameters:
                values = pd.to_numeric(models[name], errors="coerce").to_numpy(dtype=float)
                finite = np.isfinite(values)
                if finite.any():
                    errors = models["error_percent"].to_numpy(dtype=float)
                    rows.append(
                        {by: label, "parameter": name} | row | asdict(best_range(values[finite], errors[finite]))
                    )
    columns = [by, "parameter", "regime", "complexity", "low", "high", *BestRange.__dataclass_fields__]
    return pd.DataFrame(rows, columns=columns)


def regime_trends(regimes: pd.DataFrame, *, by: str = "space") -> pd.DataFrame:
    """Power law of the most likely best value of each parameter over the regimes, one row per space and parameter.

    Args:
        regimes: from `best_by_regime`.
        by: column that defines the spaces.

    Returns:
        by, parameter and the fields of `PowerLaw`, for at least three regimes.
    """
    rows = []
    for (label, name), part in regimes.groupby([by, "parameter"], sort=False):
        law = power_law(part["complexity"].to_numpy(), part["likely"].to_numpy())
        if law.n >= 3:
            rows.append({by: label, "parameter": name, **asdict(law)})
    return pd.DataFrame(rows, columns=[by, "parameter", *PowerLaw.__dataclass_fields__])
