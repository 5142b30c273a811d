"""Layers: each block is defined once as layers, for complexity, training memory and the torch module.

A number in a layer is an int, or an int array of shape (N,) with one entry per network of a population. Channel counts
are called `width`. `group_width` is the number of input channels per group, so a convolution has
kernel_size² · group_width · w_out weights. Layers with weights have a `name` that is unique in their block, like conv1.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from torch import nn

Number = int | np.ndarray
Condition = bool | np.bool_ | np.ndarray


class Conv(NamedTuple):
    """k×k convolution; the output has side length (r + 2·padding - k) // stride + 1."""

    w_in: Number
    w_out: Number
    kernel_size: Number
    stride: int
    padding: Number
    group_width: Number
    bias: bool
    name: str


class BatchNorm(NamedTuple):
    """Batch normalization with scale and shift."""

    width: Number
    name: str


class LayerNorm(NamedTuple):
    """Layer normalization over the channels of each position, with scale and shift."""

    width: Number
    name: str


class LayerScale(NamedTuple):
    """A learned factor for each channel, `initial` at first (arXiv 2103.17239)."""

    width: Number
    initial: float | np.ndarray
    name: str = "scale"


class Act(NamedTuple):
    """Elementwise nonlinearity; not in place if its input is `needed` elsewhere, for example by a shortcut."""

    function: str
    needed: bool = False


class SqueezeExcite(NamedTuple):
    """Squeeze-excitation: global average, 1×1 to `squeezed`, activation, 1×1 back, gate, multiply; with biases."""

    width: Number
    squeezed: Number
    activation: str
    gate: str = "sigmoid"
    name: str = "se"


class MaxPool(NamedTuple):
    """Max pooling; in the pycls convention only the stem's counts as an activation."""

    width: Number
    kernel_size: int
    stride: int
    padding: int
    in_stem: bool = False


class AveragePool(NamedTuple):
    """Average pooling to `size` × `size` positions."""

    size: int


class AverageDownsample(NamedTuple):
    """Average of stride × stride positions; incomplete windows at the border count, so r becomes ⌈r / stride⌉."""

    stride: int


class Flatten(NamedTuple):
    """Reshape each image's tensor to a vector."""


class Dropout(NamedTuple):
    """Dropout with probability `rate`."""

    rate: float


class Linear(NamedTuple):
    """Fully connected layer with bias."""

    w_in: Number
    w_out: Number
    name: str


class Residual(NamedTuple):
    """body(x) + shortcut(x); an empty shortcut is the identity."""

    body: Layers
    shortcut: Layers


class Concat(NamedTuple):
    """The outputs of the branches, concatenated along the channels; an empty branch is the identity.

    Every branch reads the complete input, or with `split` its part of the channels, in equal parts.
    """

    branches: tuple[Layers, ...]
    split: bool = False


class CustomLayer(ABC):
    """Base class of the layers that other packages define.

    The defaults describe a layer that keeps the shape, has no weights and no multiply-adds, and stores nothing for the
    backward pass. Fields and arguments may be arrays of shape (N,).
    """

    keeps_input = False
    """Whether autograd keeps the input for the backward pass."""

    @abstractmethod
    def module(self) -> nn.Module:
        """The torch module of the layer of one network."""

    def output_width(self, width: Number) -> Number:
        """Number of output channels."""
        return width

    def output_resolution(self, resolution: Number) -> Number:
        """Side length of the output in pixels."""
        return resolution

    def counts(self, resolution: Number) -> tuple[Number, Number, Number]:
        """Multiply-adds, parameters and activations for an input of this side length, in every convention."""
        return 0, 0, 0

    def kept(self, width: Number, resolution: Number) -> Number:
        """Elements that autograd keeps per image in addition to the input, for an input of this shape."""
        return 0


class Masked(NamedTuple):
    """Layers that only some networks of a population have; `present` is a mask of shape (N,)."""

    layers: Layers
    present: np.ndarray


Layer = (
    Conv
    | BatchNorm
    | LayerNorm
    | LayerScale
    | Act
    | SqueezeExcite
    | MaxPool
    | AveragePool
    | AverageDownsample
    | Flatten
    | Dropout
    | Linear
    | Residual
    | Concat
    | CustomLayer
    | Masked
)
Layers = tuple[Layer, ...]


def where(condition: Condition, yes: Number, no: Number) -> Number:
    """Select between two numbers, elementwise for a population."""
    if isinstance(condition, np.ndarray):
        return np.where(condition, yes, no)
    return yes if condition else no


def when(present: Condition, layers: Layers) -> Layers:
    """The layers where `present` holds: all of them, none, or masked."""
    if not isinstance(present, np.ndarray):
        return layers if present else ()
    if present.all():
        return layers
    return (Masked(layers, present),) if present.any() else ()


def choose(option: str | np.ndarray, layers: Callable[[str], Layers]) -> Layers:
    """The layers of an option; for a population, those of each option that occurs, masked."""
    if not isinstance(option, np.ndarray):
        return layers(option)
    return tuple(layer for name in np.unique(option).tolist() for layer in when(option == name, layers(name)))
