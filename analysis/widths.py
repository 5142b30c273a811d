"""Block widths: fits of RegNet's quantized linear rule, width profiles, and the line through the best networks.

The rule (`designspace.widths`) is w_j = w_0 * w_m ** round(log(1 + r * j) / log(w_m)), r = w_a / w_0, rounded
to a multiple of q. For given (r, w_m), the levels round(...) are the same for all networks of a depth, and the best w_0
is a median of log-ratios. The paper's three-dimensional grid therefore reduces to a two-dimensional one, computed once
per depth.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import qmc

from analysis.parameters import best_range, rank_trend
from analysis.rows import distinct_models
from designspace.validated import shorten

Array = NDArray[np.float64]

MULTIPLIERS = (1.1, 4.0)
"""Search range of w_m. RegNet samples 1.5 to 3."""
SLOPES = 72
FACTORS = 48
STARTS = 24
ROUNDS = 12

FIT_COLUMNS = {
    "fit_w_0": "initial width of the fitted rule, channels",
    "fit_w_a": "slope of the fitted rule, channels per block",
    "fit_w_m": "width multiplier of the fitted rule",
    "fit_error": "e_fit: mean over blocks of |log(predicted / observed width)|",
}


@dataclass(frozen=True)
class QuantizedLinearFit:
    """Best-fitting quantized linear rule. Its parameters are not unique: many rules give the same widths.

    Attributes:
        w_0, w_a, w_m: parameters (channels, channels per block, factor).
        quantum: the predicted widths are multiples of it.
        error: e_fit, mean over blocks of |log(predicted / observed)|; 0 is a perfect fit.
        predicted: predicted width of each block.
    """

    w_0: float
    w_a: float
    w_m: float
    quantum: int
    error: float
    predicted: tuple[int, ...]


def fit_quantized_linear(widths: Sequence[int] | NDArray[np.int64], *, quantum: int = 8) -> QuantizedLinearFit:
    """Fit the quantized linear rule to the block widths of one network.

    Args:
        widths: shape (d,), positive width of each block in order, d >= 1.
        quantum: predictions are rounded to multiples of it (8 in the official code, 1 for no rounding).

    Raises:
        ValueError: no block, a width that is not positive, or a quantum below 1.

    Source: Radosavovic et al. 2020 (arXiv 2003.13678), Sec. 3.3, Eqs. 2-4: d is the depth of the network, and a grid
    over w_0, w_a, w_m is searched for the smallest mean log-ratio of predicted to observed widths (the absolute value
    is our interpretation; the grid spacing is not published). Here, a grid over w_a / w_0 and w_m with the optimal w_0
    is followed by a local search.
    """
    w = np.asarray(widths, dtype=float)
    if w.ndim != 1 or not len(w) or not np.all(w > 0):
        raise ValueError(f"widths = {shorten(list(widths))}: must have one positive width per block")
    if quantum < 1:
        raise ValueError(f"quantum = {quantum}: must be at least 1")
    point, error = _refine(w, _starts(w), quantum)
    w_0, slope, w_m = (float(x) for x in point)
    predicted = _predict(point[None], len(w), quantum)[0]
    return QuantizedLinearFit(w_0, w_0 * slope, w_m, quantum, float(error), tuple(int(x) for x in predicted))


def fit_population(
    block_widths: Iterable[Sequence[int] | None], *, quantum: int = 8, most: int | None = None
) -> pd.DataFrame:
    """Fit the quantized linear rule to every network of a population.

    Args:
        block_widths: block widths of each network, None if unknown (a row of NaN). Equal networks are fitted once.
        quantum: as in `fit_quantized_linear`.
        most: maximum number of distinct networks to fit, spread evenly over the population; NaN for the others.

    Returns:
        One row per network, columns of FIT_COLUMNS.
    """
    fits: dict[tuple[int, ...], dict[str, float]] = {}
    keys = [None if widths is None else tuple(int(w) for w in widths) for widths in block_widths]
    wanted = list(dict.fromkeys(key for key in keys if key))
    if most is not None and len(wanted) > most:
        wanted = [wanted[position] for position in np.linspace(0, len(wanted) - 1, most).astype(int)]
    chosen = set(wanted)
    unknown = dict.fromkeys(FIT_COLUMNS, np.nan)
    rows: list[dict[str, float]] = []
    for key in keys:
        if key is None or key not in chosen:
            rows.append(unknown)
            continue
        if key not in fits:
            fit = fit_quantized_linear(key, quantum=quantum)
            fits[key] = {"fit_w_0": fit.w_0, "fit_w_a": fit.w_a, "fit_w_m": fit.w_m, "fit_error": fit.error}
        rows.append(fits[key])
    return pd.DataFrame(rows, columns=list(FIT_COLUMNS), dtype=float)


def _levels(slope: Array, w_m: Array, depth: int) -> Array:
    """round(s_j), shape (points, depth)."""
    j = np.arange(depth)
    return np.round(np.log1p(slope[:, None] * j) / np.log(w_m)[:, None])


def _predict(points: Array, depth: int, quantum: int) -> Array:
    """Widths of the rule, shape (points, depth), at least one quantum."""
    w_0, slope, w_m = points.T
    raw = w_0[:, None] * w_m[:, None] ** _levels(slope, w_m, depth)
    return np.maximum(np.round(raw / quantum) * quantum, quantum)


@lru_cache(maxsize=128)
def _grid(depth: int) -> tuple[Array, Array, Array]:
    """Slopes r = w_a / w_0, multipliers w_m, and log(w_j / w_0), without slopes that give the same levels."""
    # Slope 0 is a network of constant width, 1 / 64 doubles the width over 64 blocks, 32 = 256 / 8 is RegNet's maximum.
    slopes = np.concatenate([[0.0], np.geomspace(1 / 64, 32, SLOPES)])
    factors = np.geomspace(*MULTIPLIERS, FACTORS)
    r, m = (axis.ravel() for axis in np.meshgrid(slopes, factors, indexing="ij"))
    levels = _levels(r, m, depth)
    _, first = np.unique(np.column_stack([m, levels]), axis=0, return_index=True)
    return r[first], m[first], levels[first] * np.log(m[first])[:, None]


def _starts(widths: Array) -> Array:
    """Best grid points (w_0, r, w_m) without rounding, and the same with w_0 set to the first width."""
    slope, w_m, rise = _grid(len(widths))
    gap = np.log(widths) - rise
    # The median minimizes the sum of absolute gaps, so it is the best w_0 for these levels.
    log_w_0 = np.median(gap, axis=1)
    loss = np.abs(gap - log_w_0[:, None]).mean(axis=1)
    best = np.argsort(loss, kind="stable")[:STARTS]
    points = np.column_stack([np.exp(log_w_0[best]), slope[best], w_m[best]])
    # For small widths, rounding moves the optimum. The first width is another good start.
    first = points.copy()
    first[:, 0] = widths[0]
    return np.concatenate([points, first])


def _refine(widths: Array, points: Array, quantum: int) -> tuple[Array, float]:
    """Search shrinking boxes around the best points. Returns the best point and its e_fit."""
    log_widths = np.log(widths)

    def losses(candidates: Array) -> Array:
        return np.abs(np.log(_predict(candidates, len(widths), quantum)) - log_widths).mean(axis=1)

    offsets = _offsets()
    loss = losses(points)
    keep = np.argsort(loss, kind="stable")[:STARTS]
    points, loss = points[keep], loss[keep]
    scale = np.array([0.1, 0.1, 0.03])  # grid spacing in log w_0, log r, log w_m
    for _ in range(ROUNDS):
        tried = (points[:, None, :] * np.exp(offsets * scale)).reshape(-1, 3)
        tried[:, 2] = np.clip(tried[:, 2], *MULTIPLIERS)
        pool, pool_loss = np.concatenate([points, tried]), np.concatenate([loss, losses(tried)])
        best = np.argsort(pool_loss, kind="stable")[: len(points)]
        points, loss = pool[best], pool_loss[best]
        if loss[0] == 0:
            break
        scale = scale * 0.6
        points, loss = points[: max(2, len(points) - 1)], loss[: max(2, len(loss) - 1)]
    return points[0], float(loss[0])


@lru_cache(maxsize=1)
def _offsets() -> Array:
    """The first 64 points of the Halton sequence in the cube [-1, 1]^3."""
    return 2 * np.asarray(qmc.Halton(3, scramble=False).fast_forward(1).random(64)) - 1


def width_profiles(frame: pd.DataFrame, k: int = 3) -> pd.DataFrame:
    """Block widths of the k best and the k worst finished models, one row per block.

    Args:
        frame: columns `space`, `index`, `status`, `error_percent`, `block_widths`.
        k: models per group; fewer in small tables, where the groups must not overlap.

    Returns:
        model ("space #index"), group ("k best", "k worst"), error_percent, block (from 0), width, predicted (by the
        fitted rule), fit_error.

    Source: Radosavovic et al. 2020 (arXiv 2003.13678), Figs. 6 and 8.
    """
    frame = distinct_models(frame)
    finished = frame[(frame["status"] == "ok") & frame["block_widths"].notna()]
    ordered = finished.sort_values("error_percent", kind="stable")
    k = min(k, len(ordered) // 2)
    rows = []
    for group, part in (("best", ordered.head(k)), ("worst", ordered.tail(k))):
        for _, model in part.iterrows():
            fit = fit_quantized_linear(model["block_widths"])
            for block, (width, predicted) in enumerate(zip(model["block_widths"], fit.predicted, strict=True)):
                rows.append(
                    {
                        "model": f"{model['space']} #{model['index']}",
                        "group": f"{k} {group}",
                        "error_percent": model["error_percent"],
                        "block": block,
                        "width": width,
                        "predicted": predicted,
                        "fit_error": fit.error,
                    }
                )
    columns = ["model", "group", "error_percent", "block", "width", "predicted", "fit_error"]
    return pd.DataFrame(rows, columns=columns)


@dataclass(frozen=True)
class LinearStructure:
    """Straight line through the block widths of the best networks: w_j = slope * j + intercept.

    Attributes:
        slope, slope_lower, slope_upper: channels per block, with a bootstrap interval over networks.
        intercept, intercept_lower, intercept_upper: width at block 0, channels, with a bootstrap interval.
        r_squared: R^2 of the pooled line.
        models: number of networks.
        widths: one row per block: model, block, width.
    """

    slope: float
    slope_lower: float
    slope_upper: float
    intercept: float
    intercept_lower: float
    intercept_upper: float
    r_squared: float
    models: int
    widths: pd.DataFrame


def linear_structure(
    frame: pd.DataFrame, k: int | None = None, *, confidence: float = 0.95, seed: int = 0
) -> LinearStructure | None:
    """Fit w_j = a * j + b to the best models of a space.

    Args:
        frame: columns `space`, `index`, `status`, `error_percent`, `block_widths`; models of one space.
        k: number of best models; by default a quarter of the models, 5 to 20.
        confidence: confidence of the intervals, from resampling networks.
        seed: seed of the resampling.

    Returns:
        None if no best network has at least two blocks.

    Source: Radosavovic et al. 2020 (arXiv 2003.13678), Sec. 3.3 and Fig. 8 (top left): the best 20 AnyNetX_E follow
    w_j = 48 * (j + 1).
    """
    frame = distinct_models(frame)
    finished = frame[(frame["status"] == "ok") & frame["block_widths"].map(lambda w: w is not None and len(w) > 1)]
    k = min(20, max(5, len(finished) // 4)) if k is None else k
    best = finished.sort_values("error_percent", kind="stable").head(k)
    if best.empty:
        return None
    rows, sums = [], []
    for _, model in best.iterrows():
        name, w = f"{model['space']} #{model['index']}", np.asarray(model["block_widths"], dtype=float)
        j = np.arange(len(w), dtype=float)
        sums.append([len(w), j.sum(), w.sum(), (j * j).sum(), (j * w).sum(), (w * w).sum()])
        rows += [(name, block, width) for block, width in enumerate(model["block_widths"])]
    table = np.array(sums)
    slope, intercept, fitted = _line(table.sum(axis=0))
    drawn = np.random.default_rng(seed).integers(len(table), size=(2000, len(table)))
    resampled = np.array([_line(total)[:2] for total in table[drawn].sum(axis=1)])
    ends = np.quantile(resampled, [0.5 - confidence / 2, 0.5 + confidence / 2], axis=0)
    return LinearStructure(
        slope,
        float(ends[0, 0]),
        float(ends[1, 0]),
        intercept,
        float(ends[0, 1]),
        float(ends[1, 1]),
        fitted,
        len(best),
        pd.DataFrame(rows, columns=["model", "block", "width"]),
    )


def _line(sums: NDArray[np.float64]) -> tuple[float, float, float]:
    """Slope, intercept and R^2 from n, sum j, sum w, sum j^2, sum jw, sum w^2."""
    n, j, w, jj, jw, ww = sums
    across, along, total = jw - j * w / n, jj - j * j / n, ww - w * w / n
    slope = across / along
    return float(slope), float((w - slope * j) / n), float(slope * across / total) if total > 0 else 1.0


def describe_fits(models: pd.DataFrame) -> pd.DataFrame:
    """Fit errors of each space, and the line through the widths of its best models, for display.

    Args:
        models: columns space, error_percent, block_widths and those of `fit_population`.
    """
    rows = []
    for space, part in models.groupby("space", sort=False):
        fits, errors = part["fit_error"], part["error_percent"]
        line, best = linear_structure(part), best_range(fits, errors)
        rows.append(
            {
                "space": space,
                "n": len(part),
                "mean e_fit": float(fits.mean()),
                "median": float(fits.median()),
                "largest": float(fits.max()),
                "best models": f"{best.lower:.3f} to {best.upper:.3f}",
                "rank correlation with error": rank_trend(fits, errors).rho,
                "line through the best": "–" if line is None else f"{line.slope:.1f}·j + {line.intercept:.0f}",
            }
        )
    return pd.DataFrame(rows)
