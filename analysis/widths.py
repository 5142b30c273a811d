"""Block widths: fits of RegNet's quantized linear rule, profiles and the line through the best networks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.seeds import distinct_models

Array = NDArray[np.float64]

MULTIPLIERS = (1.1, 4.0)
"""Range of w_m searched; RegNet samples 1.5 to 3."""
SLOPES = 72
FACTORS = 48
STARTS = 24
ROUNDS = 12

FIT_COLUMNS = {
    "fit_w_0": "initial width of the fitted rule, channels",
    "fit_w_a": "slope of the fitted rule, channels a block",
    "fit_w_m": "width multiplier of the fitted rule",
    "fit_error": "e_fit: mean over blocks of |log(predicted / observed width)|",
}


@dataclass(frozen=True)
class QuantizedLinearFit:
    """The quantized linear rule nearest to a network. Many rules give the same widths: the parameters are one of them.

    Attributes:
        w_0, w_a, w_m: its parameters (channels, channels a block, factor).
        quantum: predicted widths are multiples of it.
        error: e_fit, mean over blocks of |log(predicted / observed)|; 0 is a perfect fit.
        predicted: widths of the rule, one a block.
    """

    w_0: float
    w_a: float
    w_m: float
    quantum: int
    error: float
    predicted: tuple[int, ...]


def fit_quantized_linear(widths: Sequence[int] | NDArray[np.int64], *, quantum: int = 8) -> QuantizedLinearFit:
    """Fit the quantized linear rule to the widths of one network's blocks.

    Args:
        widths: shape (d,), positive width of every block, in order; d of at least 1.
        quantum: the prediction is rounded to multiples of it (8 as in the official code; 1 for the continuous reading).

    Raises:
        ValueError: no block, a width that is not positive, a quantum below 1.

    Source: Radosavovic et al. 2020 (arXiv 2003.13678), Sec. 3.3, Eqs. 2-4: d is set to the network's depth and a grid
    over w_0, w_a, w_m is searched for the least mean log-ratio of predicted to observed widths (absolute value: our
    reading; the grid's spacing is not published). Here a grid over w_a / w_0 and w_m with the exact w_0 is followed by
    a shrinking local search.
    """
    w = np.asarray(widths, dtype=float)
    if w.ndim != 1 or not len(w) or not np.all(w > 0):
        raise ValueError(f"widths is {list(widths)}; one positive width a block is needed")
    if quantum < 1:
        raise ValueError(f"quantum is {quantum}; it must be at least 1")
    point, error = _refine(w, _starts(w), quantum)
    w_0, slope, w_m = (float(x) for x in point)
    predicted = _predict(point[None], len(w), quantum)[0]
    return QuantizedLinearFit(w_0, w_0 * slope, w_m, quantum, float(error), tuple(int(x) for x in predicted))


def fit_population(
    block_widths: Iterable[Sequence[int] | None], *, quantum: int = 8, most: int | None = None
) -> pd.DataFrame:
    """Fit every network of a population; one row each, columns as in FIT_COLUMNS.

    Args:
        block_widths: the widths of each network's blocks, None where they are not known (a row of NaN); equal networks
            are fitted once.
        quantum: as in `fit_quantized_linear`.
        most: fit at most so many different networks, spread evenly over the population; the others are NaN. A fit takes
            some milliseconds.
    """
    done: dict[tuple[int, ...], dict[str, float]] = {}
    keys = [None if widths is None else tuple(int(w) for w in widths) for widths in block_widths]
    wanted = list(dict.fromkeys(key for key in keys if key))
    if most is not None and len(wanted) > most:
        wanted = [wanted[place] for place in np.linspace(0, len(wanted) - 1, most).astype(int)]
    chosen = set(wanted)
    unknown = dict.fromkeys(FIT_COLUMNS, np.nan)
    rows: list[dict[str, float]] = []
    for key in keys:
        if key is None or key not in chosen:
            rows.append(unknown)
            continue
        if key not in done:
            fit = fit_quantized_linear(key, quantum=quantum)
            done[key] = {"fit_w_0": fit.w_0, "fit_w_a": fit.w_a, "fit_w_m": fit.w_m, "fit_error": fit.error}
        rows.append(done[key])
    return pd.DataFrame(rows, columns=list(FIT_COLUMNS), dtype=float)


def _levels(slope: Array, w_m: Array, depth: int) -> Array:
    """round(s_j), shape (points, depth)."""
    j = np.arange(depth)
    return np.round(np.log1p(slope[:, None] * j) / np.log(w_m)[:, None])


def _predict(points: Array, depth: int, quantum: int) -> Array:
    """Widths of the rule, shape (points, depth), at least one quantum so that a logarithm exists."""
    w_0, slope, w_m = points.T
    raw = w_0[:, None] * w_m[:, None] ** _levels(slope, w_m, depth)
    return np.maximum(np.round(raw / quantum) * quantum, quantum)


@lru_cache(maxsize=128)
def _grid(depth: int) -> tuple[Array, Array, Array]:
    """Slopes r = w_a / w_0, multipliers w_m, and log(w_j / w_0); slopes that give the same levels are kept once."""
    # Slope 0 is the constant network; 1 / 64 doubles the width over 64 blocks; 32 = 256 / 8 is the steepest RegNet.
    slopes = np.concatenate([[0.0], np.geomspace(1 / 64, 32, SLOPES)])
    factors = np.geomspace(*MULTIPLIERS, FACTORS)
    r, m = (axis.ravel() for axis in np.meshgrid(slopes, factors, indexing="ij"))
    levels = _levels(r, m, depth)
    _, first = np.unique(np.column_stack([m, levels]), axis=0, return_index=True)
    return r[first], m[first], levels[first] * np.log(m[first])[:, None]


def _starts(widths: Array) -> Array:
    """The best grid points (w_0, r, w_m) in the continuous reading, each again with w_0 the first width."""
    slope, w_m, rise = _grid(len(widths))
    gap = np.log(widths) - rise
    # The sum of absolute gaps is least at their median: the best w_0 for these levels.
    log_w_0 = np.median(gap, axis=1)
    loss = np.abs(gap - log_w_0[:, None]).mean(axis=1)
    best = np.argsort(loss, kind="stable")[:STARTS]
    points = np.column_stack([np.exp(log_w_0[best]), slope[best], w_m[best]])
    # Where widths are a few quanta, rounding hides the continuous optimum; the first width is a good second guess.
    first = points.copy()
    first[:, 0] = widths[0]
    return np.concatenate([points, first])


def _refine(widths: Array, points: Array, quantum: int) -> tuple[Array, float]:
    """Search ever smaller boxes around the best points; deterministic. Returns the best point and its e_fit."""
    log_widths = np.log(widths)

    def losses(candidates: Array) -> Array:
        return np.abs(np.log(_predict(candidates, len(widths), quantum)) - log_widths).mean(axis=1)

    offsets = _offsets()
    loss = losses(points)
    keep = np.argsort(loss, kind="stable")[:STARTS]
    points, loss = points[keep], loss[keep]
    scale = np.array([0.1, 0.1, 0.03])  # about the spacing of the grid, in log w_0, log r, log w_m
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
    """Sixty-four points that fill the cube [-1, 1]^3 evenly (Halton), fixed so that a fit never depends on chance."""
    columns = []
    for base in (2, 3, 5):
        values = []
        for index in range(1, 65):
            value, fraction = 0.0, 1.0
            while index:
                fraction /= base
                index, digit = divmod(index, base)
                value += digit * fraction
            values.append(value)
        columns.append(values)
    return 2 * np.array(columns).T - 1


def width_profiles(frame: pd.DataFrame, k: int = 3) -> pd.DataFrame:
    """Block widths of the k best and the k worst finished models, long.

    Args:
        frame: columns `space`, `index`, `status`, `error_percent`, `block_widths`.
        k: models at each end; fewer where the table is short, so that no model is in both groups.

    Returns:
        One row a block: model ("space #index"), group ("best", "worst"), error_percent, block (from 0), width,
        predicted (by the fitted rule), fit_error.

    Source: Radosavovic et al. 2020 (arXiv 2003.13678), Figs. 6 and 8.
    """
    frame = distinct_models(frame)
    known = frame[(frame["status"] == "ok") & frame["block_widths"].notna()]
    ordered = known.sort_values("error_percent", kind="stable")
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
    """A straight line through the widths of the best networks: w_j = slope * j + intercept.

    Attributes:
        slope, slope_lower, slope_upper: channels a block, with a bootstrap interval over networks.
        intercept, intercept_lower, intercept_upper: width at block 0, channels, with the same.
        r_squared: of the pooled line.
        models: networks.
        widths: one row a block: model, block, width.
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
        k: number of best models; by default a quarter of them, 5 to 20.
        confidence: of the intervals, by resampling whole networks.
        seed: of the resampling.

    Returns:
        None without a network of two blocks and more among the best.

    Source: Radosavovic et al. 2020 (arXiv 2003.13678), Sec. 3.3 and Fig. 8 (top left): the best 20 AnyNetX_E follow
    w_j = 48 * (j + 1).
    """
    frame = distinct_models(frame)
    known = frame[(frame["status"] == "ok") & frame["block_widths"].map(lambda w: w is not None and len(w) > 1)]
    k = min(20, max(5, len(known) // 4)) if k is None else k
    best = known.sort_values("error_percent", kind="stable").head(k)
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
    again = np.array([_line(total)[:2] for total in table[drawn].sum(axis=1)])
    ends = np.quantile(again, [0.5 - confidence / 2, 0.5 + confidence / 2], axis=0)
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
