"""Making widths and group widths fit each other (RegNet, arXiv 2003.13678, App. D)."""

from __future__ import annotations

import numpy as np


def fit_group_width(
    width: np.ndarray, bottleneck_ratio: np.ndarray, group_width: np.ndarray
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
    whole = np.rint(np.maximum(ratio, multiplier))
    if not np.allclose(np.maximum(ratio, multiplier), whole):
        value = ratio.flat[np.argmax(np.abs(np.maximum(ratio, multiplier) - whole))]
        raise ValueError(f"bottleneck_ratio = {value:g}: it or its inverse must be a whole number")
    inner = np.maximum(1, (width * multiplier).astype(np.int64))
    group = np.minimum(group_width, inner)
    inverted = ratio < 1
    step = np.lcm(group, np.where(inverted, whole, 1).astype(np.int64)) if inverted.any() else group
    inner = np.maximum(step, np.rint(inner / step).astype(np.int64) * step)
    return (inner * ratio + 1e-6).astype(np.int64), group
