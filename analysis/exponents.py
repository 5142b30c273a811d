"""How one complexity grows with another: exponents of power laws, with intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy import stats


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
