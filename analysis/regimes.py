"""Best parameters by complexity regime, and power laws."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from analysis.ranges import BestRange, best_range


@dataclass(frozen=True)
class PowerLaw:
    """y = factor * x ** exponent, fitted on logarithms.

    Attributes:
        exponent, lower, upper: the exponent with its t-interval.
        factor: value of y at x = 1.
        scatter: standard deviation of log10(y) around the line.
        n: models.
    """

    exponent: float
    lower: float
    upper: float
    factor: float
    scatter: float
    n: int


def power_law(x: ArrayLike, y: ArrayLike, *, confidence: float = 0.95) -> PowerLaw:
    """Least squares of log y on log x.

    Args:
        x, y: shape (N,), positive; pairs with a value that is not finite or not positive are left out.
        confidence: of the interval. With fewer than three pairs, or one value of x, everything but n is NaN.
    """
    a, b = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
    if a.shape != b.shape or a.ndim != 1:
        raise ValueError(f"x has shape {a.shape} and y {b.shape}; both must be one-dimensional and the same")
    known = np.isfinite(a) & np.isfinite(b) & (a > 0) & (b > 0)
    u, v = np.log10(a[known]), np.log10(b[known])
    n = len(u)
    if n < 3 or np.ptp(u) < 1e-12:
        return PowerLaw(np.nan, np.nan, np.nan, np.nan, np.nan, n)
    found = stats.linregress(u, v)
    half = float(stats.t.ppf(0.5 + confidence / 2, n - 2) * found.stderr)
    scatter = float(np.sqrt(np.sum((v - found.intercept - found.slope * u) ** 2) / (n - 2)))
    slope = float(found.slope)
    return PowerLaw(slope, slope - half, slope + half, float(10**found.intercept), scatter, n)


def scaling_exponents(
    frame: pd.DataFrame, by: str = "space", *, of: Sequence[str] = ("params", "acts"), against: str = "macs"
) -> pd.DataFrame:
    """Exponents of params and acts against macs in each space; one row per space and complexity, fields of `PowerLaw`.

    Where every model of a space lies in one narrow regime there is no range to fit over: spaces whose `against` spans
    less than a factor of two are left out.

    Source: Radosavovic et al. 2020 (arXiv 2003.13678), Fig. 12: for the best models acts grow as the root of macs and
    params in proportion; Dollár et al. 2021 (arXiv 2103.06877) for what each way of scaling gives.
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
"""Fewer models than carry a best range would make it a range over all of them."""
MOST = 6


def regime_index(complexity: Sequence[float] | NDArray[np.float64], regimes: int | None = None) -> NDArray[np.int64]:
    """Cut models into regimes of equal number by complexity.

    Args:
        complexity: shape (N,), positive; a value that is not finite is in no regime (-1).
        regimes: their number; by default one for each factor of two between the fifth and the ninety-fifth percentile,
            as far as 12 models are left in each, at most 6. RegNet's regimes are a factor of two apart or so.
    """
    x = np.asarray(complexity, dtype=float)
    known = np.isfinite(x)
    number = _number(x[known]) if regimes is None else regimes
    if number < 1:
        raise ValueError(f"regimes is {number}; it must be at least 1")
    index = np.full(len(x), -1, dtype=np.int64)
    if known.any():
        inner = np.quantile(x[known], np.linspace(0, 1, number + 1)[1:-1])
        index[known] = np.searchsorted(inner, x[known], side="right")
    return index


def _number(x: NDArray[np.float64]) -> int:
    if not len(x):
        return 1
    low, high = np.quantile(x, [0.05, 0.95])
    return max(1, min(len(x) // MODELS_PER_REGIME, round(float(np.log2(high / low))), MOST))


def _populations(complexity: NDArray[np.float64], names: NDArray[np.object_]) -> NDArray[np.int64] | None:
    """Populations that follow each other in complexity as regimes; None for a single one or where some overlap."""
    known = np.isfinite(complexity)
    ends = pd.Series(complexity[known]).groupby(names[known]).agg(["min", "max"]).sort_values("min")
    if len(ends) < 2 or (ends["max"].to_numpy()[:-1] > ends["min"].to_numpy()[1:]).any():
        return None
    return np.where(known, ends.index.get_indexer(pd.Index(names)), -1).astype(np.int64)


def assign_regimes(
    frame: pd.DataFrame, *, by: str = "space", complexity: str = "macs", regimes: int | None = None
) -> pd.Series:
    """The regime of each model within its space, from 0; -1 where its complexity is unknown.

    Args:
        frame: columns `by`, `complexity` and perhaps `population` (`analysis.families`): the populations of a space are
            its regimes where they do not overlap.
        regimes: cut each space into so many regimes of equal numbers of models; see `regime_index`.
    """
    found = pd.Series(-1, index=frame.index)
    for _, part in frame.groupby(by, sort=False):
        x = part[complexity].to_numpy(dtype=float)
        x = np.where(x > 0, x, np.nan)
        drawn = _populations(x, part["population"].to_numpy()) if "population" in part and regimes is None else None
        found[part.index] = regime_index(x, regimes) if drawn is None else drawn
    return found


def best_by_regime(
    frame: pd.DataFrame,
    parameters: Sequence[str],
    *,
    by: str = "space",
    complexity: str = "macs",
    regimes: int | None = None,
) -> pd.DataFrame:
    """Best range of every parameter in every regime of complexity.

    Args:
        frame: columns `by`, `complexity`, `parameters`, `error_percent`; one row a model, the index unique.
        parameters: numbers; complexities such as acts and params, and the error itself, are welcome.
        regimes: as in `assign_regimes`.

    Returns:
        One row per space, regime and parameter: by, parameter, regime (from 0), complexity (geometric middle of the
        regime's models), low, high (its ends) and the fields of `BestRange`.

    Source: Radosavovic et al. 2020 (arXiv 2003.13678), Fig. 11, where each regime is a population of its own.
    """
    rows = []
    index = assign_regimes(frame, by=by, complexity=complexity, regimes=regimes)
    for label, part in frame.groupby(by, sort=False):
        mine_in = index[part.index]
        for regime in range(mine_in.max() + 1):
            mine = part[mine_in == regime]
            if mine.empty:
                continue
            ends = mine[complexity].astype(float)
            place = {"regime": regime, "complexity": float(np.exp(np.log(ends).mean()))}
            place |= {"low": float(ends.min()), "high": float(ends.max())}
            for name in parameters:
                values = pd.to_numeric(mine[name], errors="coerce").to_numpy(dtype=float)
                known = np.isfinite(values)
                if known.any():
                    errors = mine["error_percent"].to_numpy(dtype=float)
                    rows.append(
                        {by: label, "parameter": name} | place | asdict(best_range(values[known], errors[known]))
                    )
    columns = [by, "parameter", "regime", "complexity", "low", "high", *BestRange.__dataclass_fields__]
    return pd.DataFrame(rows, columns=columns)


def regime_trends(regimes: pd.DataFrame, *, by: str = "space") -> pd.DataFrame:
    """Power law of each parameter's likely best value over the regimes; one row per space and parameter.

    Args:
        regimes: from `best_by_regime`.

    Returns:
        by, parameter and the fields of `PowerLaw`; only where there are three regimes and more.
    """
    rows = []
    for (label, name), part in regimes.groupby([by, "parameter"], sort=False):
        law = power_law(part["complexity"].to_numpy(), part["likely"].to_numpy())
        if law.n >= 3:
            rows.append({by: label, "parameter": name, **asdict(law)})
    return pd.DataFrame(rows, columns=[by, "parameter", *PowerLaw.__dataclass_fields__])
