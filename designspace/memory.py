"""Training memory from the layers, in closed form.

Counts the tensors that autograd keeps for the backward pass, each once: the inputs of convolutions, linear layers,
norms and layer scales, the outputs of activations, max-pool indices, statistics of norms, and under autocast the
low-precision copies of the weights.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import numpy as np

from designspace.counting import LARGEST, complexity, output_resolution
from designspace.layers import (
    Act,
    AverageDownsample,
    AveragePool,
    BatchNorm,
    Concat,
    Conv,
    CustomLayer,
    Dropout,
    Flatten,
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
)
from designspace.parts import Model, as_model, parts
from designspace.validated import check_integer, unknown

Precision = Literal["float32", "bfloat16", "float16"]
Optimizer = Literal["sgd", "adam"]
INDEX_BYTES = 8  # max-pool positions are int64
FLOAT_BYTES = 4  # parameters, gradients, optimizer state and statistics of norms are float32


@dataclass(frozen=True)
class TrainingMemory:
    """Bytes of one training step (ints, or int64 arrays of shape (N,) for a population).

    Attributes:
        activations: kept for the backward pass.
        parameters, gradients, optimizer: float32.
    """

    activations: Any
    parameters: Any
    gradients: Any
    optimizer: Any

    @property
    def total(self) -> Any:
        """The sum of all four."""
        return self.activations + self.parameters + self.gradients + self.optimizer


def training_memory(
    model: Model, batch_size: int, precision: Precision = "float32", optimizer: Optimizer = "sgd"
) -> TrainingMemory:
    """Memory of one training step, without kernel workspaces and allocator overhead.

    Under autocast, layer scale returns float32. The few norms that keep its output are counted in the lower precision,
    so the activations of small ConvNeXts are up to 6 % larger.

    Args:
        model: a `ModelSpec` or a `Population`.
        batch_size: images per step.
        precision: of the activations; bfloat16 and float16 mean autocast with float32 parameters.
        optimizer: "sgd" with momentum keeps one number per parameter, "adam" two.

    Raises:
        ValueError: batch_size below 1 or too large, unknown precision or optimizer.
    """
    model = as_model(model)
    batch_size = check_integer("batch_size", batch_size, 1)
    for field, value, names in (
        ("precision", precision, get_args(Precision)),
        ("optimizer", optimizer, get_args(Optimizer)),
    ):
        if value not in names:
            raise ValueError(unknown(field, value, names))
    counts = complexity(model)
    if int(np.max(counts.acts)) * batch_size > LARGEST // 8:  # an activation keeps fewer than 64 bytes
        raise ValueError(f"batch_size = {batch_size}: must be smaller, the byte count exceeds 64 bits")
    counter = _Counter(batch_size, 4 if precision == "float32" else 2)
    kept: Number = 0
    state = _Tensor(model.in_channels, model.resolution, False)
    for part in parts(model):
        if isinstance(part.repeats, int) and part.repeats == 0:
            continue
        added, after = counter.count(part.layers, state)
        kept = kept + added * part.repeats
        state = after if isinstance(part.repeats, int) else after.where(part.repeats, state)
    params = counts.params * FLOAT_BYTES
    return TrainingMemory(kept, params, params, params * (2 if optimizer == "adam" else 1))


@dataclass(frozen=True)
class _Tensor:
    """Shape of the tensor between two layers, and whether autograd already keeps it."""

    width: Number
    resolution: Number
    kept: bool | np.ndarray

    @property
    def elements(self) -> Number:
        return self.width * self.resolution * self.resolution

    def where(self, condition: np.ndarray, other: _Tensor) -> _Tensor:
        """This tensor where the condition holds, otherwise the other."""
        return _Tensor(
            np.where(condition, self.width, other.width),
            np.where(condition, self.resolution, other.resolution),
            np.where(condition, self.kept, other.kept),
        )


class _Counter:
    """Sums the bytes that layers keep, following the tensor between them."""

    def __init__(self, batch_size: int, element_bytes: int) -> None:
        self.batch_size = batch_size
        self.element_bytes = element_bytes
        self.autocast = element_bytes < FLOAT_BYTES

    def count(self, layers: Layers, tensor: _Tensor) -> tuple[Number, _Tensor]:
        kept: Number = 0
        for layer in layers:
            added, tensor = self.count_layer(layer, tensor)
            kept = kept + added
        return kept, tensor

    def keep(self, tensor: _Tensor) -> Number:
        """Bytes added by keeping the tensor."""
        return self.bytes(tensor.elements) * (1 - tensor.kept)

    def bytes(self, elements: Number) -> Number:
        """Bytes of a batch of activations."""
        return elements * (self.batch_size * self.element_bytes)

    def copies(self, weights: Number) -> Number:
        """Bytes of the copies of weights under autocast."""
        return weights * self.element_bytes if self.autocast else 0

    def count_layer(self, layer: Layer, tensor: _Tensor) -> tuple[Number, _Tensor]:
        match layer:
            case Conv(_, w_out, kernel_size, _, _, group_width):
                copies = self.copies(kernel_size * kernel_size * group_width * w_out)
                return self.keep(tensor) + copies, _Tensor(w_out, output_resolution(layer, tensor.resolution), False)
            case BatchNorm(width):
                return self.keep(tensor) + 2 * FLOAT_BYTES * width, _Tensor(width, tensor.resolution, False)
            case LayerNorm(width):
                statistics = 2 * FLOAT_BYTES * self.batch_size * tensor.resolution * tensor.resolution
                return self.keep(tensor) + statistics, _Tensor(width, tensor.resolution, False)
            case LayerScale(width):
                return self.keep(tensor), _Tensor(width, tensor.resolution, False)
            case Act("relu", needed):
                result = _Tensor(tensor.width, tensor.resolution, True)
                return (self.bytes(tensor.elements) if needed else self.keep(tensor)), result
            case Act():  # other activations keep their input and return a new tensor
                return self.keep(tensor), _Tensor(tensor.width, tensor.resolution, False)
            case SqueezeExcite(width, squeezed, activation, gate):
                vectors = width * (2 if gate == "sigmoid" else 3) + squeezed * (1 if activation == "relu" else 2)
                small = self.bytes(vectors) + self.copies(2 * width * squeezed)
                return self.keep(tensor) + small, _Tensor(width, tensor.resolution, False)
            case MaxPool(width):
                after = _Tensor(width, output_resolution(layer, tensor.resolution), False)
                return self.keep(tensor) + after.elements * (self.batch_size * INDEX_BYTES), after
            case AveragePool(size):
                return (0 if size == 1 else self.keep(tensor)), _Tensor(tensor.width * size * size, 1, False)
            case AverageDownsample(stride):
                return self.keep(tensor), _Tensor(tensor.width, -(-tensor.resolution // stride), False)
            case Flatten():
                return 0, tensor
            case Linear(w_in, w_out):
                return self.keep(tensor) + self.copies(w_in * w_out), _Tensor(w_out, 1, False)
            case Dropout():
                return self.bytes(tensor.elements), _Tensor(tensor.width, tensor.resolution, False)
            case Residual(body, shortcut):
                inner, after = self.count(body, tensor)
                kept = tensor.kept if _first_is_activation(body) else True  # the body's first convolution keeps it
                outer, _ = self.count(shortcut, _Tensor(tensor.width, tensor.resolution, kept))
                return inner + outer, _Tensor(after.width, after.resolution, False)
            case Concat(branches, split):
                return self.count_concat(branches, split, tensor)
            case CustomLayer():
                added = self.bytes(layer.kept(tensor.width, tensor.resolution))
                if layer.keeps_input:
                    added = added + self.keep(tensor)
                width, resolution = layer.output_width(tensor.width), layer.output_resolution(tensor.resolution)
                return added, _Tensor(width, resolution, False)
            case Masked(masked, present):
                added, after = self.count(masked, tensor)
                return added * present, after.where(present, tensor)
        raise AssertionError(f"unknown layer {layer}")

    def count_concat(self, branches: tuple[Layers, ...], split: bool, tensor: _Tensor) -> tuple[Number, _Tensor]:
        """Count a concatenation; a part of a split input shares the storage of the complete input."""
        added: Number = 0
        width: Number = 0
        after = tensor
        for branch in branches:
            if branch and not _first_is_activation(branch):  # the branch's first convolution keeps the input
                added, tensor = added + self.keep(tensor), replace(tensor, kept=True)
            part = replace(tensor, width=tensor.width // len(branches)) if split else tensor
            inner, after = self.count(branch, part)
            added, width = added + inner, width + after.width
        return added, _Tensor(width, after.resolution, False)


def _first_is_activation(layers: Layers) -> bool:
    first = layers[0]
    while isinstance(first, Masked):
        first = first.layers[0]
    return isinstance(first, Act)
