"""Multiply-adds, parameters and activations from the layers, in closed form.

The same code counts one spec (exact Python integers) and a population (int64 arrays of shape (N,)).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from designspace.layers import (
    AverageDownsample,
    AveragePool,
    BatchNorm,
    Concat,
    Conv,
    CustomLayer,
    Layer,
    LayerNorm,
    Layers,
    LayerScale,
    Linear,
    Masked,
    MaxPool,
    Number,
    Residual,
    SqueezeExcite,
    where,
)
from designspace.parts import Model, as_model, parts
from designspace.validated import unknown

LARGEST = 1 << 60
"""Largest supported number of multiply-adds, an eighth of int64's range; the largest published networks have 1e12."""


@dataclass(frozen=True)
class Convention:
    """Extras that count in addition to convolutions and linear layers.

    Args:
        bias_macs: one multiply-add per output with a bias.
        pool_acts: the output of the stem's max-pool.
        linear_acts: the outputs of linear layers.
    """

    bias_macs: bool
    pool_acts: bool
    linear_acts: bool


CONVENTIONS = {
    # facebookresearch/pycls blocks.py, the *_cx functions; all published integers follow it
    "pycls": Convention(bias_macs=True, pool_acts=True, linear_acts=True),
    # the definition of the RegNet paper ("the size of the output tensors of all conv layers"), timm and fvcore
    "conv": Convention(bias_macs=False, pool_acts=False, linear_acts=False),
}


@dataclass(frozen=True)
class Complexity:
    """Counts of one network (ints) or of N networks (int64 arrays of shape (N,)).

    Attributes:
        macs: multiply-adds of the forward pass of one image ("flops" in the papers).
        params: learnable parameters.
        acts: output elements of the convolutions for one image (arXiv 2003.13678, § 4).
    """

    macs: Any
    params: Any
    acts: Any


def complexity(model: Model, convention: str = "pycls") -> Complexity:
    """Multiply-adds, parameters and activations of a spec, or of every network of a population.

    Args:
        model: a `ModelSpec` or a `Population`.
        convention: "pycls" (default) or "conv"; see `Convention`.

    Raises:
        ValueError: the convention is unknown, the resolution drops to zero, or the multiply-adds exceed `LARGEST`; for
            a population, this bound combines the largest depth, width and resolution of its networks.
    """
    macs: Number = 0
    params: Number = 0
    acts: Number = 0
    for counts, _ in by_part(model, convention).values():
        macs, params, acts = macs + counts.macs, params + counts.params, acts + counts.acts
    return Complexity(macs, params, acts)


def by_part(model: Model, convention: str = "pycls") -> dict[str, tuple[Complexity, Number]]:
    """Complexity and output resolution of stem, stage1, stage2, …, head; see `complexity`."""
    if convention not in CONVENTIONS:
        raise ValueError(unknown("convention", convention, CONVENTIONS))
    model = as_model(model)
    counter = _Counter(CONVENTIONS[convention])
    resolution = model.resolution
    largest = 0
    counted: dict[str, tuple[Complexity, Number]] = {}
    for part in parts(model):
        if isinstance(part.repeats, int) and part.repeats == 0:
            continue
        counter.largest = 0
        (macs, params, acts), after = counter.count(part.layers, resolution)
        largest += counter.largest * int(np.max(part.repeats))
        if largest > LARGEST:
            raise ValueError(f"macs = {largest:.1e}: must be at most {LARGEST:.1e}, counts exceed 64 bits")
        resolution = where(part.repeats > 0, after, resolution)
        if np.min(resolution) < 1:
            raise ValueError(f"resolution = {model.resolution}: must leave at least one pixel after the {part.name}")
        so_far = counted[part.name][0] if part.name in counted else Complexity(0, 0, 0)
        total = Complexity(
            so_far.macs + macs * part.repeats, so_far.params + params * part.repeats, so_far.acts + acts * part.repeats
        )
        counted[part.name] = (total, resolution)
    return counted


def output_resolution(layer: Conv | MaxPool, resolution: Number) -> Number:
    """Side length in pixels after a convolution or max-pool."""
    return (resolution + 2 * layer.padding - layer.kernel_size) // layer.stride + 1


Counts = tuple[Number, Number, Number]


class _Counter:
    """Sums (macs, params, acts) of layers, following the resolution.

    `largest` is an upper bound, in exact integers, on the macs of every network of a population.
    """

    def __init__(self, convention: Convention) -> None:
        self.convention = convention
        self.largest = 0

    def count(self, layers: Layers, resolution: Number) -> tuple[Counts, Number]:
        """Counts of layers applied in sequence at an input resolution, and the output resolution."""
        macs: Number = 0
        params: Number = 0
        acts: Number = 0
        for layer in layers:
            (m, p, a), resolution = self.count_layer(layer, resolution)
            macs, params, acts = macs + m, params + p, acts + a
        return (macs, params, acts), resolution

    def count_layer(self, layer: Layer, resolution: Number) -> tuple[Counts, Number]:
        match layer:
            case Conv(_, w_out, kernel_size, _, _, group_width, bias, _):
                after = output_resolution(layer, resolution)
                self._bound(kernel_size, kernel_size, group_width, w_out, after, after)
                weights = kernel_size * kernel_size * group_width * w_out
                acts = after * after * w_out
                macs = weights * (after * after)
                if bias:
                    return (macs + acts * self.convention.bias_macs, weights + w_out, acts), after
                return (macs, weights, acts), after
            case BatchNorm(width) | LayerNorm(width):
                return (0, 2 * width, 0), resolution
            case LayerScale(width):
                return (0, width, 0), resolution
            case SqueezeExcite(width, squeezed):
                self._bound(2, width, squeezed)
                weights, outputs = 2 * width * squeezed, width + squeezed
                return (weights + outputs * self.convention.bias_macs, weights + outputs, outputs), resolution
            case Linear(w_in, w_out):
                self._bound(w_in, w_out)
                weights = w_in * w_out
                macs = weights + w_out * self.convention.bias_macs
                return (macs, weights + w_out, w_out * self.convention.linear_acts), resolution
            case MaxPool(width, in_stem=in_stem):
                after = output_resolution(layer, resolution)
                return (0, 0, after * after * width if in_stem and self.convention.pool_acts else 0), after
            case AveragePool(size):
                return (0, 0, 0), size
            case AverageDownsample(stride):
                return (0, 0, 0), -(-resolution // stride)
            case Residual(body, shortcut):
                inner, after = self.count(body, resolution)
                outer, _ = self.count(shortcut, resolution)
                return (inner[0] + outer[0], inner[1] + outer[1], inner[2] + outer[2]), after
            case Concat(branches):
                counts: Counts = (0, 0, 0)
                after = resolution
                for branch in branches:
                    (m, p, a), after = self.count(branch, resolution)
                    counts = (counts[0] + m, counts[1] + p, counts[2] + a)
                return counts, after
            case CustomLayer():
                counts = layer.counts(resolution)
                self._bound(counts[0])
                return counts, layer.output_resolution(resolution)
            case Masked(masked, present):
                (m, p, a), after = self.count(masked, resolution)
                return (m * present, p * present, a * present), where(present, after, resolution)
            case _:
                return (0, 0, 0), resolution

    def _bound(self, *numbers: Number) -> None:
        self.largest += prod(int(number.max()) if isinstance(number, np.ndarray) else number for number in numbers)
