"""The quantized linear width rule of RegNet (arXiv 2003.13678, Eqs. 2-4)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

CLOSE = 1e-6  # blocks; nearer to a stage's boundary than this, rounding errors matter


@dataclass(frozen=True)
class QuantizedLinear:
    """Widths of `depth` blocks that grow linearly and are quantized to stages.

    u_j = w_0 + w_a·j (Eq. 2); s_j = log(u_j / w_0) / log(w_m) (Eq. 3); w_j = w_0·w_m^round(s_j) (Eq. 4), then
    rounded to a multiple of `quantum`.

    Args:
        depth: blocks, at least 1.
        w_0: initial width, positive.
        w_a: slope in channels a block, not negative.
        w_m: width multiplier between stages, above 1.
        quantum: widths are multiples of it (8 in the official code; 1 for the continuous reading).
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
    """The rule for N networks at once, without a list of blocks.

    Block j has level round(s_j) >= i from the first j with u_j >= w_0·w_m^(i - 1/2), which is solved for j; where
    that is within rounding error of a whole number, the rule itself decides.

    Args:
        depth, w_0, w_a, w_m: shape (N,), as in `QuantizedLinear`.
        stages: S, the number of stages wanted.

    Returns:
        which networks have exactly S stages of different widths, every level occupied (shape (N,), bool); their
        stage widths and depths (shape (kept, S), int64).
    """
    with np.errstate(divide="ignore", over="ignore"):
        slope = w_0 / w_a
        last = slope * (w_m ** (stages - 0.5) - 1)  # the block before which the network must end
        before = slope * (w_m ** (stages - 1.5) - 1)  # the first block of the last stage
    index = np.flatnonzero((last > depth - 1 - CLOSE) & (before < depth - 1 + CLOSE))

    levels = np.arange(1, stages + 1)
    first = slope[index, None] * (w_m[index, None] ** (levels - 0.5) - 1)
    first = np.minimum(first, depth[index, None] + 0.5)  # levels no block reaches
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
