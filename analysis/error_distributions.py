"""The error empirical distribution function F(e): the fraction of models with an error below e, with its band."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from analysis import bands
from analysis.matching import effective_sample_size

EDF_COLUMNS = {
    "error": "right end of a step, percent; the last row is +inf",
    "fraction": "F(e) = sum of w_i with e_i < e (strictly), for e in (previous error, error]",
    "lower": "lower end of the simultaneous band on that step",
    "upper": "upper end of the simultaneous band on that step",
    "n": "models behind the curve",
    "effective_n": "1 / sum w_i^2 (Kish); equal to n without weights",
    "band": "how the band was made",
}


LEVELS = (0.05, 0.25, 0.5, 0.75, 0.95)


def edf(
    errors: ArrayLike,
    weights: ArrayLike | None = None,
    *,
    confidence: float = 0.95,
    band: Literal["auto", "exact", "ks", "dkw"] = "auto",
) -> pd.DataFrame:
    """Empirical distribution function of the errors with a simultaneous confidence band.

    Args:
        errors: shape (N,), percent, finite.
        weights: shape (N,), nonnegative, normalised here; None for equal weights. Models of weight 0 do not count.
        confidence: probability that the whole true curve lies within the band.
        band: "auto" takes the exact band of `analysis.bands` up to its limit and "ks" (also exact, constant width)
            beyond. With unequal weights there is no exact band: the Dvoretzky-Kiefer-Wolfowitz width at the effective
            sample size is used, which is approximate, and the column `band` says so.

    Returns:
        A frame with the columns of EDF_COLUMNS, one row per distinct error and a last one at +inf. The value of a row
        holds on (previous error, error], so that matplotlib's `step(where="pre")` draws it.

    Raises:
        ValueError: no model, a non-finite error, a negative weight, shapes that differ.

    Source: Radosavovic et al. 2020 (arXiv 2003.13678), Eq. 1; weights: NDS (arXiv 1905.13214), Sec. 2.
    """
    values, w = _checked(errors, weights)
    n = len(values)
    distinct, inverse = np.unique(values, return_inverse=True)
    mass = np.bincount(inverse, weights=w, minlength=len(distinct))
    # A weight sum can end a rounding error above 1; a distribution function may not.
    fraction = np.minimum(np.concatenate([[0.0], np.cumsum(mass)]), 1.0)
    fraction[-1] = 1.0
    equal = bool(np.allclose(w, 1 / n, rtol=1e-9, atol=0))
    effective = float(n) if equal else effective_sample_size(w)
    if equal:
        kind: bands.Band = ("exact" if n <= bands.EXACT_LIMIT else "ks") if band == "auto" else band
        below = np.concatenate([[0], np.cumsum(np.bincount(inverse, minlength=len(distinct)))])
        lower, upper = (bound[below] for bound in bands.simultaneous_band(n, confidence, kind))
        made = f"{kind} {confidence:.0%}"
    else:
        if band not in ("auto", "dkw"):
            raise ValueError(
                f"band is {band!r}; with unequal weights only 'auto' or 'dkw' (at the effective sample size) is allowed"
            )
        half_width = bands.dkw_half_width(effective, confidence)
        lower, upper = np.clip(fraction - half_width, 0, 1), np.clip(fraction + half_width, 0, 1)
        made = f"dkw {confidence:.0%} at effective n {effective:.1f} (approximate)"
    return pd.DataFrame(
        {
            "error": np.append(distinct, np.inf),
            "fraction": fraction,
            "lower": lower,
            "upper": upper,
            "n": n,
            "effective_n": effective,
            "band": made,
        }
    )


def edf_by(
    frame: pd.DataFrame, by: str = "space", *, weights: ArrayLike | None = None, confidence: float = 0.95
) -> pd.DataFrame:
    """One EDF per value of a column, stacked, with that column in front.

    Args:
        frame: columns `by` and `error_percent`, one row a model.
        weights: shape (len(frame),), e.g. `complexity_weights(...).weights`; models of weight 0 are left out.
        confidence: coverage of each curve's band by itself.
    """
    w = np.ones(len(frame)) if weights is None else np.asarray(weights, dtype=float)
    errors = frame["error_percent"].to_numpy(dtype=float)
    parts = []
    for label in frame[by].unique():
        rows = (frame[by] == label).to_numpy() & (w > 0)
        curve = edf(errors[rows], None if weights is None else w[rows], confidence=confidence)
        curve.insert(0, by, label)
        parts.append(curve)
    return pd.concat(parts, ignore_index=True)


def quantiles(curves: pd.DataFrame, by: str = "space", *, levels: Sequence[float] = LEVELS) -> pd.DataFrame:
    """Errors below which given fractions of the models lie, with the ends of the band.

    Args:
        curves: from `edf_by`.
        by: its first column.
        levels: fractions, in (0, 1).

    Returns:
        One row per space and level: `by`, fraction, error, lower, upper (percent; 0 and inf where the band is open).
    """
    rows = []
    for label, curve in curves.groupby(by, sort=False):
        at = np.concatenate([[0.0], curve["error"].to_numpy()[:-1], [np.inf]])
        for level in levels:
            ends = {
                name: float(at[np.searchsorted(curve[column].to_numpy(), level - 1e-12)])
                for name, column in (("error", "fraction"), ("lower", "upper"), ("upper", "lower"))
            }
            rows.append({by: label, "fraction": level, **ends})
    return pd.DataFrame(rows)


def _checked(errors: ArrayLike, weights: ArrayLike | None) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    values = np.asarray(errors, dtype=float)
    if values.ndim != 1 or not len(values):
        raise ValueError(f"errors has shape {values.shape}; a one-dimensional array of at least one model is needed")
    w = np.ones(len(values)) if weights is None else np.asarray(weights, dtype=float)
    if w.shape != values.shape:
        raise ValueError(f"weights has shape {w.shape}; it must be that of errors, {values.shape}")
    if not np.all(w >= 0) or not w.sum() > 0:
        raise ValueError("weights must be nonnegative with a positive sum")
    values, w = values[w > 0], w[w > 0]
    if not np.all(np.isfinite(values)):
        raise ValueError(f"{int(np.sum(~np.isfinite(values)))} errors are not finite; apply a failure policy first")
    return values, w / w.sum()
