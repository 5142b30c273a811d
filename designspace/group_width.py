"""Making widths and group widths fit each other (RegNet, arXiv 2003.13678, App. D)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from designspace.layers import Number
from designspace.rounding import round_number


def fit_group_width(
    width: np.ndarray, bottleneck_ratio: np.ndarray | float, group_width: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Widths and group widths, changed as little as possible so that groups divide the inner width.

    The inner width v = width / b limits the group width, is rounded to a multiple of it (half to even), and gives the
    width back; an inverted bottleneck's v is kept a multiple of 1/b too (pycls `adjust_block_compatibility`).

    Args:
        width: block widths, int64.
        bottleneck_ratio: b, where b or 1/b is a whole number; broadcasts with width.
        group_width: g, int64; broadcasts with width.

    Raises:
        ValueError: neither b nor 1/b is a whole number.
    """
    ratio = np.asarray(bottleneck_ratio, dtype=np.float64)
    multiplier = 1 / ratio
    larger = np.maximum(ratio, multiplier)
    whole = np.rint(larger)
    if not np.allclose(larger, whole):
        value = ratio.flat[np.argmax(np.abs(larger - whole))]
        raise ValueError(f"bottleneck_ratio = {value:g}: it or its inverse must be a whole number")
    inner = np.maximum(1, (width * multiplier).astype(np.int64))
    group = np.minimum(group_width, inner)
    inverted = ratio < 1
    step = np.lcm(group, np.where(inverted, whole, 1).astype(np.int64)) if inverted.any() else group
    inner = np.maximum(step, np.rint(inner / step).astype(np.int64) * step)
    return (inner * ratio + 1e-6).astype(np.int64), group


def fit_stage(fields: Mapping[str, Any], w_in: Number) -> dict[str, Any]:
    """The fields of a stage with width and group width made to fit; numbers or arrays.

    In a bottleneck the groups divide width / b. In an inverted block they divide the expansions of both its input
    widths: the width is rounded to a multiple of the group width, which shrinks where the stage's input asks for it.
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
