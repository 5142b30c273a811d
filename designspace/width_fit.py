"""Fits of RegNet's quantized linear rule to the block widths of networks.

The rule (`designspace.widths`) is w_j = w_0 * w_m ** round(log(1 + r * j) / log(w_m)), r = w_a / w_0, rounded
to a multiple of q. For given (r, w_m), the levels round(...) are the same for all networks of a depth, and the best w_0
is a median of log-ratios. The paper's three-dimensional grid therefore reduces to a two-dimensional one, computed once
per depth.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from designspace.validated import shorten

Array = NDArray[np.float64]

MULTIPLIERS = (1.1, 4.0)
"""Search range of w_m. RegNet samples 1.5 to 3."""
SLOPES = 72
FACTORS = 48
STARTS = 24
ROUNDS = 12


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


@lru_cache(maxsize=1 << 16)
def fit_error(widths: tuple[int, ...]) -> float:
    """e_fit of a network's block widths: the error of `fit_quantized_linear`."""
    return fit_quantized_linear(widths).error


def least_fit_error(widths: NDArray[np.int64], depths: NDArray[np.int64]) -> Array:
    """Lower bound of e_fit that takes a fraction of its time: the error of the best non-decreasing widths.

    Widths of the rule do not decrease from block to block. The best non-decreasing sequence in the mean absolute
    log-ratio has only values of the network's own widths (isotonic median regression).

    Args:
        widths, depths: of the stages, shape (N, S).

    Returns:
        Shape (N,).
    """
    logs = np.log(widths)
    values = np.sort(logs, axis=1)
    total = np.zeros_like(logs)  # for each value of the last stage so far, the least sum over the blocks
    for stage in range(logs.shape[1]):
        cost = depths[:, stage, None] * np.abs(logs[:, stage, None] - values)
        total = np.minimum.accumulate(total, axis=1) + cost
    return np.asarray(total.min(axis=1) / depths.sum(axis=1))


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
    from scipy.stats import qmc

    return 2 * np.asarray(qmc.Halton(3, scramble=False).fast_forward(1).random(64)) - 1
