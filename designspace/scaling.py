"""Scaling networks: rounding of channels, and (in `scale`) depth, width, resolution and group width together."""

from __future__ import annotations

import numpy as np

from designspace.layers import Number


def round_channels(width: float | np.ndarray, multiple: int = 8) -> Number:
    """A width rounded to a multiple, at least that multiple, and never below nine tenths of it (MobileNetV2's code)."""
    rounded = np.maximum(multiple, (np.asarray(width) + multiple / 2) // multiple * multiple)
    rounded = (rounded + multiple * (rounded < 0.9 * np.asarray(width))).astype(np.int64)
    return rounded if rounded.ndim else int(rounded)
