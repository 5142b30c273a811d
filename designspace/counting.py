"""Multiply-adds, parameters and activations from the layers, in closed form.

The same code counts one spec (exact Python integers) and a whole population (int64 arrays of shape (N,)).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from designspace.blocks import Model, parts
from designspace.layers import (
    AveragePool,
    BatchNorm,
    Conv,
    Layer,
    Layers,
    Linear,
    Masked,
    MaxPool,
    Number,
    Residual,
    SqueezeExcite,
    where,
)

LARGEST = 1 << 60
"""Largest number of multiply-adds that is counted; eight times less than int64 holds, so that no other count overflows.
The largest published networks have 1e12."""


@dataclass(frozen=True)
class Convention:
    """Which extras count in addition to the convolutions and linear layers.

    Args:
        bias_macs: one multiply-add for each output a bias is added to.
        pool_acts: the output of the stem's max-pool.
        linear_acts: the outputs of linear layers.
    """

    bias_macs: bool
    pool_acts: bool
    linear_acts: bool


CONVENTIONS = {
    # facebookresearch/pycls blocks.py, the *_cx functions; all published integers are of this kind
    "pycls": Convention(bias_macs=True, pool_acts=True, linear_acts=True),
    # the RegNet paper's definition ("the size of the output tensors of all conv layers"), timm's and fvcore's
    "conv": Convention(bias_macs=False, pool_acts=False, linear_acts=False),
}


@dataclass(frozen=True)
class Complexity:
    """Counts of one network (ints) or of N networks (int64 arrays of shape (N,)).

    Attributes:
        macs: multiply-adds of one image's forward pass (the papers' "flops").
        params: learnable parameters.
        acts: elements of the convolutions' outputs for one image (arXiv 2003.13678, § 4).
    """

    macs: Any
    params: Any
    acts: Any


def complexity(model: Model, convention: str = "pycls") -> Complexity:
    """Multiply-adds, parameters and activations of a spec or of every model of a population.

    Args:
        model: a `ModelSpec` or a `Population`.
        convention: "pycls" (default) or "conv"; see `Convention`.

    Raises:
        ValueError: unknown convention, an image that becomes empty, or more multiply-adds than `LARGEST` (of a
            population: by the largest depth, width and resolution of its models together).
    """
    macs: Number = 0
    params: Number = 0
    acts: Number = 0
    for counts, _ in by_part(model, convention).values():
        macs, params, acts = macs + counts.macs, params + counts.params, acts + counts.acts
    return Complexity(macs, params, acts)


def by_part(model: Model, convention: str = "pycls") -> dict[str, tuple[Complexity, Number]]:
    """The complexity of stem, stage1, stage2 …, head, each with its output resolution; else as `complexity`."""
    if convention not in CONVENTIONS:
        raise ValueError(f"convention = {convention!r}: must be one of {', '.join(CONVENTIONS)}")
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
            raise ValueError(f"macs = {largest:.1e}: must be at most {LARGEST:.1e} for the counts to fit 64 bits")
        resolution = where(part.repeats > 0, after, resolution)
        if np.min(resolution) < 1:
            raise ValueError(f"resolution = {model.resolution}: nothing is left of the image after the {part.name}")
        so_far = counted[part.name][0] if part.name in counted else Complexity(0, 0, 0)
        total = Complexity(
            so_far.macs + macs * part.repeats, so_far.params + params * part.repeats, so_far.acts + acts * part.repeats
        )
        counted[part.name] = (total, resolution)
    return counted


def output_resolution(layer: Conv | MaxPool, resolution: Number) -> Number:
    """Pixels a side after a convolution or max-pool."""
    return (resolution + 2 * layer.padding - layer.kernel_size) // layer.stride + 1


Counts = tuple[Number, Number, Number]


class _Counter:
    """Folds layers into (macs, params, acts), following the resolution.

    `largest` adds up, in exact integers, a bound on the macs that holds for every model of a population.
    """

    def __init__(self, convention: Convention) -> None:
        self.convention = convention
        self.largest = 0

    def count(self, layers: Layers, resolution: Number) -> tuple[Counts, Number]:
        """The counts of layers applied in a row at an input resolution, and the resolution after them."""
        macs: Number = 0
        params: Number = 0
        acts: Number = 0
        for layer in layers:
            (m, p, a), resolution = self.count_layer(layer, resolution)
            macs, params, acts = macs + m, params + p, acts + a
        return (macs, params, acts), resolution

    def count_layer(self, layer: Layer, resolution: Number) -> tuple[Counts, Number]:
        match layer:
            case Conv(_, w_out, kernel_size, _, _, group_width, bias):
                after = output_resolution(layer, resolution)
                self._bound(kernel_size, kernel_size, group_width, w_out, after, after)
                weights = kernel_size * kernel_size * group_width * w_out
                acts = after * after * w_out
                macs = weights * (after * after)
                if bias:
                    return (macs + acts * self.convention.bias_macs, weights + w_out, acts), after
                return (macs, weights, acts), after
            case BatchNorm(width):
                return (0, 2 * width, 0), resolution
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
            case Residual(body, shortcut):
                inner, after = self.count(body, resolution)
                outer, _ = self.count(shortcut, resolution)
                return (inner[0] + outer[0], inner[1] + outer[1], inner[2] + outer[2]), after
            case Masked(masked, present):
                (m, p, a), after = self.count(masked, resolution)
                return (m * present, p * present, a * present), where(present, after, resolution)
            case _:
                return (0, 0, 0), resolution

    def _bound(self, *numbers: Number) -> None:
        self.largest += prod(int(number.max()) if isinstance(number, np.ndarray) else number for number in numbers)
