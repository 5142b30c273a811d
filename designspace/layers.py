"""The vocabulary in which every block is written once, to be counted (complexity) and built (network).

A number in a layer is an int, or an int array of shape (N,) with one entry for each model of a population. Channels are
`width`s; `group_width` is the number of input channels of one group, so that a convolution has
kernel_size² · group_width · w_out weights.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

Number = int | np.ndarray
Condition = bool | np.bool_ | np.ndarray


class Conv(NamedTuple):
    """k×k convolution; its output has (r + 2·padding - k) // stride + 1 pixels a side."""

    w_in: Number
    w_out: Number
    kernel_size: Number
    stride: int
    padding: Number
    group_width: Number
    bias: bool


class BatchNorm(NamedTuple):
    """Batch normalisation with scale and shift."""

    width: Number


class Act(NamedTuple):
    """Elementwise non-linearity; not in place where its input is `needed` elsewhere, as by a shortcut."""

    name: str
    needed: bool = False


class SqueezeExcite(NamedTuple):
    """Global average, 1×1 to `squeezed`, activation, 1×1 back, sigmoid, multiply (SE; biases on, as in pycls)."""

    width: Number
    squeezed: Number
    activation: str


class MaxPool(NamedTuple):
    """Max pooling; only the stem's counts as an activation in the pycls convention."""

    width: Number
    kernel_size: int
    stride: int
    padding: int
    in_stem: bool = False


class AveragePool(NamedTuple):
    """Average to `size` × `size` positions, then flatten to a vector."""

    size: int


class Dropout(NamedTuple):
    """Dropout with probability `rate`."""

    rate: float


class Linear(NamedTuple):
    """Fully connected layer with bias."""

    w_in: Number
    w_out: Number


class Residual(NamedTuple):
    """body(x) + shortcut(x); an empty shortcut is the identity."""

    body: Layers
    shortcut: Layers


class Masked(NamedTuple):
    """Layers that only the models with `present` have; arises in populations alone, never in a single network."""

    layers: Layers
    present: np.ndarray


Layer = Conv | BatchNorm | Act | SqueezeExcite | MaxPool | AveragePool | Dropout | Linear | Residual | Masked
Layers = tuple[Layer, ...]


def where(condition: Condition, yes: Number, no: Number) -> Number:
    """One number or the other, model by model."""
    if isinstance(condition, np.ndarray):
        return np.where(condition, yes, no)
    return yes if condition else no


def when(present: Condition, layers: Layers) -> Layers:
    """The layers where `present` holds: all, none, or masked model by model."""
    if not isinstance(present, np.ndarray):
        return layers if present else ()
    if present.all():
        return layers
    return (Masked(layers, present),) if present.any() else ()
