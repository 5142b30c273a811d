"""How widths, depths and resolutions are rounded; each takes a number or an array and gives whole numbers."""

from __future__ import annotations

import numpy as np

from designspace.layers import Number


def round_number(value: float | np.ndarray) -> Number:
    """To the nearest integer, half to even, as Python's round and pycls's np.round do."""
    return np.rint(value).astype(np.int64) if isinstance(value, np.ndarray) else round(value)


def round_channels(width: float | np.ndarray, multiple: int = 8) -> Number:
    """A width rounded to a multiple, at least that multiple, and never below nine tenths of it (MobileNetV2's code)."""
    rounded = np.maximum(multiple, (np.asarray(width) + multiple / 2) // multiple * multiple)
    return integers(rounded + multiple * (rounded < 0.9 * np.asarray(width)))


def round_to(value: float | np.ndarray, multiple: int) -> Number:
    """The nearest multiple, at least one."""
    return integers(np.maximum(multiple, np.rint(np.asarray(value) / multiple) * multiple))


def round_repeats(depth: float | np.ndarray, up: bool = False) -> Number:
    """The nearest whole number of blocks, at least one; up, as EfficientNet's code does, but not for a last bit."""
    cleaned = np.round(depth, 9)
    return integers(np.maximum(1, np.ceil(cleaned) if up else np.rint(cleaned)))


def round_group_width(group_width: float | np.ndarray) -> Number:
    """To a whole number, which up to 2 stays, up to 5 becomes 4, above that a multiple of 8 (pycls `scaler.py`)."""
    value = np.maximum(1, np.rint(group_width))
    return integers(np.where(value <= 2, value, np.where(value <= 5, 4, round_to(value, 8))))


def integers(value: np.ndarray) -> Number:
    """Whole numbers as int64, one alone as int; ValueError above 1e12, far from any network and from overflow."""
    if not (largest := np.max(value, initial=0)) <= 1e12:
        raise ValueError(f"{largest:g}: must be at most 1e12 for a width, depth or resolution")
    whole = np.asarray(value).astype(np.int64)
    return whole if whole.ndim else int(whole)
