"""Widths: the quantized linear rule, group-width compatibility, and rounding."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from designspace.layers import Number

CLOSE = 1e-6
"""Distance in blocks from a stage boundary below which rounding errors matter."""


@dataclass(frozen=True)
class QuantizedLinear:
    """Block widths of a RegNet: linear in the block index, quantized to stages (arXiv 2003.13678, Eqs. 2-4).

    u_j = w_0 + w_a·j (Eq. 2); s_j = log(u_j / w_0) / log(w_m) (Eq. 3); w_j = w_0·w_m^round(s_j) (Eq. 4), rounded to a
    multiple of `quantum`.

    Args:
        depth: number of blocks, at least 1.
        w_0: initial width, positive.
        w_a: slope in channels per block, at least 0.
        w_m: width multiplier between stages, above 1.
        quantum: widths are multiples of it (8 in the official code, 1 for unrounded widths).
    """

    depth: int
    w_0: float
    w_a: float
    w_m: float
    quantum: int = 8

    def __post_init__(self) -> None:
        for name, valid, allowed in (
            ("depth", self.depth >= 1, "at least 1"),
            ("w_0", self.w_0 > 0, "above 0"),
            ("w_a", self.w_a >= 0, "at least 0"),
            ("w_m", self.w_m > 1, "above 1"),
            ("quantum", self.quantum >= 1, "at least 1"),
        ):
            if not valid:
                raise ValueError(f"{name} = {getattr(self, name)}: must be {allowed}")

    def block_widths(self) -> np.ndarray:
        """The width w_j of each block, shape (depth,), int64."""
        quantized = self.w_0 * np.power(self.w_m, self.levels())
        return (np.round(quantized / self.quantum) * self.quantum).astype(np.int64)

    def stages(self) -> tuple[np.ndarray, np.ndarray]:
        """Width and depth of each stage (runs of equal width), int64."""
        widths, depths = np.unique(self.block_widths(), return_counts=True)
        return widths, depths

    def levels(self) -> np.ndarray:
        """round(s_j) of each block (half to even), shape (depth,)."""
        linear = self.w_0 + self.w_a * np.arange(self.depth)
        return np.round(np.log(linear / self.w_0) / np.log(self.w_m))


def stage_arrays(
    depth: np.ndarray, w_0: np.ndarray, w_a: np.ndarray, w_m: np.ndarray, stages: int, quantum: int = 8
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Apply the quantized linear rule to N networks at once.

    Block j has level round(s_j) >= i from the first j with u_j >= w_0·w_m^(i - 1/2), which is solved for j. If the
    solution is within rounding error of an integer, `QuantizedLinear` is used.

    Args:
        depth, w_0, w_a, w_m: shape (N,), as in `QuantizedLinear`.
        stages: S, the required number of stages.

    Returns:
        A mask of the networks with exactly S stages of different widths and no empty level (shape (N,), bool), and
        their stage widths and depths (shape (kept, S), int64).
    """
    with np.errstate(divide="ignore", over="ignore"):
        slope = w_0 / w_a
        last = slope * (w_m ** (stages - 0.5) - 1)  # the network must end before this block
        before = slope * (w_m ** (stages - 1.5) - 1)  # the first block of the last stage
    index = np.flatnonzero((last > depth - 1 - CLOSE) & (before < depth - 1 + CLOSE))

    levels = np.arange(1, stages + 1)
    first = slope[index, None] * (w_m[index, None] ** (levels - 0.5) - 1)
    first = np.minimum(first, depth[index, None] + 0.5)  # levels that no block reaches
    depths = np.diff(np.minimum(np.ceil(first), depth[index, None]), axis=1, prepend=0).astype(np.int64)
    widths = w_0[index, None] * w_m[index, None] ** (levels - 1)
    widths = (np.rint(widths / quantum) * quantum).astype(np.int64)
    valid = np.all(depths > 0, axis=1) & np.all(np.diff(widths, axis=1) > 0, axis=1)
    close = np.any(np.abs(first - np.rint(first)) < CLOSE, axis=1)
    for row in np.flatnonzero(close):
        i = index[row]
        rule = QuantizedLinear(int(depth[i]), float(w_0[i]), float(w_a[i]), float(w_m[i]), quantum)
        exact_widths, exact_depths = rule.stages()
        valid[row] = len(exact_widths) == stages == int(rule.levels().max()) + 1
        if valid[row]:
            widths[row], depths[row] = exact_widths, exact_depths
    kept = np.zeros(len(depth), bool)
    kept[index[valid]] = True
    return kept, widths[valid], depths[valid]


def fit_group_width(
    width: np.ndarray, bottleneck_ratio: np.ndarray | float, group_width: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Make widths and group widths compatible: groups divide the inner width (arXiv 2003.13678, App. D).

    The inner width v = width / b limits the group width, is rounded to a multiple of it (half to even), and determines
    the new width. In an inverted bottleneck, v also stays a multiple of 1/b (pycls `adjust_block_compatibility`).

    Args:
        width: block widths, int64.
        bottleneck_ratio: b, where b or 1/b is an integer; broadcasts with width.
        group_width: g, int64; broadcasts with width.

    Raises:
        ValueError: neither b nor 1/b is an integer.
    """
    ratio = np.asarray(bottleneck_ratio, dtype=np.float64)
    multiplier = 1 / ratio
    larger = np.maximum(ratio, multiplier)
    rounded = np.rint(larger)
    if not np.allclose(larger, rounded):
        value = ratio.flat[np.argmax(np.abs(larger - rounded))]
        raise ValueError(f"bottleneck_ratio = {value:g}: must be an integer or the inverse of one")
    inner = np.maximum(1, (width * multiplier).astype(np.int64))
    group = np.minimum(group_width, inner)
    inverted = ratio < 1
    step = np.lcm(group, np.where(inverted, rounded, 1).astype(np.int64)) if inverted.any() else group
    inner = np.maximum(step, np.rint(inner / step).astype(np.int64) * step)
    return (inner * ratio + 1e-6).astype(np.int64), group


def fit_stage(fields: Mapping[str, Any], w_in: Number) -> dict[str, Any]:
    """The fields of a stage with compatible width and group width; numbers or arrays.

    In a bottleneck the groups divide width / b. In an inverted block they divide the expansions of both input widths:
    the width is rounded to a multiple of the group width, and the group width shrinks to fit the stage's input.
    """
    fitted = dict(fields)
    width, group = fields["width"], fields.get("group_width")
    if group is None:
        return fitted
    if "expansion_ratio" in fields:
        width, group = fit_group_width(np.asarray(width), 1.0, np.asarray(group))
        for divided in (w_in, width):
            group = np.gcd(group, round_number(np.asarray(divided) * np.asarray(fields["expansion_ratio"])))
    else:
        width, group = fit_group_width(np.asarray(width), fields.get("bottleneck_ratio", 1.0), np.asarray(group))
    fitted["width"], fitted["group_width"] = (value if value.ndim else int(value) for value in (width, group))
    return fitted


def round_number(value: float | np.ndarray) -> Number:
    """Round to the nearest integer, half to even, as Python's round and pycls's np.round do."""
    return np.rint(value).astype(np.int64) if isinstance(value, np.ndarray) else round(value)


def round_channels(width: float | np.ndarray, multiple: int = 8) -> Number:
    """Round to a multiple, at least one multiple and never below 90 % of the width (code of MobileNetV2)."""
    rounded = np.maximum(multiple, (np.asarray(width) + multiple / 2) // multiple * multiple)
    return _integers(rounded + multiple * (rounded < 0.9 * np.asarray(width)))


def round_to(value: float | np.ndarray, multiple: int) -> Number:
    """Round to the nearest multiple, at least one multiple."""
    return _integers(np.maximum(multiple, np.rint(np.asarray(value) / multiple) * multiple))


def round_repeats(depth: float | np.ndarray, up: bool = False) -> Number:
    """Round to a number of blocks, at least 1; `up` as in EfficientNet's code, except for floating-point noise."""
    cleaned = np.round(depth, 9)
    return _integers(np.maximum(1, np.ceil(cleaned) if up else np.rint(cleaned)))


def round_group_width(group_width: float | np.ndarray) -> Number:
    """Round to an integer up to 2, to 4 up to 5, to a multiple of 8 above that (pycls `scaler.py`)."""
    value = np.maximum(1, np.rint(group_width))
    return _integers(np.where(value <= 2, value, np.where(value <= 5, 4, round_to(value, 8))))


def _integers(value: np.ndarray) -> Number:
    """Convert to int64, or to int for a scalar; ValueError above 1e12, long before int64 overflows."""
    if not (largest := np.max(value, initial=0)) <= 1e12:
        raise ValueError(f"width, depth or resolution = {largest:g}: must be at most 1e12")
    converted = np.asarray(value).astype(np.int64)
    return converted if converted.ndim else int(converted)
