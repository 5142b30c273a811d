"""Effective rank and dead channels at the narrow point of every block, on a fixed set of images.

A candidate for the narrow point is the input of an activation function, or a linear tensor: the output of the block, or
the output of a convolution that mixes channels (with its batch norm) if another convolution reads it. The candidate
with the fewest channels is the narrow point; among equals, one with an activation function, then the last. Layers
inside squeeze-excitation, parallel branches and layers of other packages are not candidates.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import chain
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from designspace.network import ACTIVATIONS, Residual
from sweeps.trainer.device import Device

RECTIFIERS = (nn.ReLU, nn.ReLU6)
"""Activation functions that are exactly zero for negative inputs."""

NEGLIGIBLE = 1e-10
"""Variance relative to the mean square up to which a tensor is constant, except for rounding in float32."""


class Moments:
    """Covariance of the channels of a tensor over images and positions, and the channels that are ever positive.

    Sums over batches are relative to the mean of the first batch, to avoid cancellation.

    Args:
        x: the first batch (N, C, …).
    """

    def __init__(self, x: Tensor) -> None:
        rows = _rows(x)
        self._shift = rows.mean(0)
        self._count = 0
        self._sum = rows.new_zeros(rows.shape[1], dtype=torch.float64)
        self._products = self._sum.diag()
        self._fires = torch.zeros_like(self._sum, dtype=torch.bool)
        self.add(x)

    def add(self, x: Tensor) -> None:
        """Add a batch."""
        rows = _rows(x)
        self._fires |= (rows > 0).any(0)
        rows = rows - self._shift
        self._count += len(rows)
        self._sum += rows.sum(0)
        with torch.autocast(x.device.type, enabled=False):
            self._products += rows.T @ rows

    @property
    def channels(self) -> int:
        """Number of channels."""
        return len(self._sum)

    @property
    def effective_rank(self) -> float | None:
        """The effective rank, from 0 (constant) to C; None if a value is not finite.

        It is the participation ratio (Σλ)² / Σλ² of the eigenvalues λ of the covariance: the square of its trace over
        the square of its Frobenius norm.
        """
        mean = self._sum / self._count
        covariance = self._products / self._count - mean.outer(mean)
        if not covariance.isfinite().all():
            return None
        trace = covariance.trace()
        if trace <= NEGLIGIBLE * (self._shift + mean).square().sum():
            return 0.0
        return float(trace.square() / covariance.square().sum())

    @property
    def dead_fraction(self) -> float:
        """Fraction of the channels that are never positive."""
        return 1 - float(self._fires.double().mean())


def _rows(x: Tensor) -> Tensor:
    """The values of each image and position, (rows, C), float32."""
    return x.detach().movedim(1, -1).flatten(0, -2).float()


class Point(NamedTuple):
    """A candidate for the narrow point: an activation function, or a module with a linear output."""

    module: nn.Module
    has_activation: bool


class _Observed:
    """The tensors before and after a point, while hooks are registered."""

    def __init__(self, point: Point) -> None:
        self.point = point
        self.before: Moments | None = None
        self.after: Moments | None = None
        if point.has_activation:  # it may work in place
            point.module.register_forward_pre_hook(self._add_input)
        point.module.register_forward_hook(self._add_output)

    def _add_input(self, _: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        self.before = _added(self.before, inputs[0])

    def _add_output(self, _: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        self.after = _added(self.after, output)

    def fields(self) -> dict[str, float | None]:
        """The values of the block in a record."""
        assert self.after is not None
        is_rectified = isinstance(self.point.module, RECTIFIERS)
        return {
            "block_channels": self.after.channels,
            "block_rank_before": (self.before or self.after).effective_rank,
            "block_rank_after": self.after.effective_rank,
            "block_dead_fraction": self.after.dead_fraction if is_rectified else None,
        }


def _added(moments: Moments | None, x: Tensor) -> Moments:
    if moments is None:
        return Moments(x)
    moments.add(x)
    return moments


@torch.no_grad()
def measure_activations(network: nn.Module, images: Iterable[Tensor], device: Device) -> dict[str, Any]:
    """Measure the activations at the narrow points in evaluation mode.

    Args:
        network: not modified. Its children named stage1, stage2, … contain the blocks.
        images: batches (B, C, H, W), float32, on the device of the network.
        device: where and in which arithmetic; float32 instead of float16, which may overflow.

    Returns:
        The fields `probe_images` and `block_…` of a record.
    """
    replica = copy.deepcopy(network).eval()
    batches = iter(images)
    first = next(batches)
    observed = [_Observed(point) for point in narrow_points(replica, first[:1])]
    count = 0
    if device.dtype == torch.float16:
        device = replace(device, dtype=torch.float32)
    with device.autocast():
        for batch in chain([first], batches):
            replica(batch)
            count += len(batch)
    blocks = [point.fields() for point in observed]
    return {"probe_images": count} | {name: tuple(block[name] for block in blocks) for name in (blocks or [{}])[0]}


def narrow_points(network: nn.Module, image: Tensor) -> list[Point]:
    """The narrow point of every block, in order.

    Args:
        network: its children named stage1, stage2, … contain the blocks.
        image: an input, which shows the number of channels of every candidate.
    """
    stages = [child for name, child in network.named_children() if name.startswith("stage")]
    blocks = [(stage, candidates(block)) for stage in stages for block in stage.children()]
    modules = [point.module for _, points in blocks for point in points]
    channels = _channels(network, [*modules, *stages], image)
    narrow = []
    for stage, points in blocks:
        if points:
            point = min(reversed(points), key=lambda point: (channels[point.module], not point.has_activation))
            # The output of a block is a candidate. Wider points are those of the expansion between the projections of
            # an inverted stage whose shortcuts connect the wide tensors.
            if channels[point.module] <= channels[stage]:
                narrow.append(point)
    return narrow


def candidates(block: nn.Module) -> list[Point]:
    """The candidates for the narrow point of a block, in order; empty without a convolution."""
    if not any(isinstance(module, nn.Conv2d) for module in block.modules()):
        return []
    points = list(_candidates(block))
    last = [*block.children()][-1]
    return points if _is_activation(last) else [*points, Point(block, False)]


def _candidates(layers: nn.Module) -> Iterator[Point]:
    linear: nn.Module | None = None  # the module that produced the tensor, if it is linear and of mixed channels
    for layer in layers.children():
        if linear is not None and isinstance(layer, nn.Conv2d | Residual):
            yield Point(linear, False)
        if _is_activation(layer):
            yield Point(layer, True)
        elif isinstance(layer, Residual):
            yield from _candidates(layer.body)
        is_mixed = isinstance(layer, Residual) or (isinstance(layer, nn.Conv2d) and layer.groups < layer.in_channels)
        linear = layer if is_mixed or (linear is not None and isinstance(layer, _BatchNorm)) else None


def _is_activation(module: nn.Module) -> bool:
    return isinstance(module, tuple(ACTIVATIONS.values()))


def _channels(network: nn.Module, modules: Sequence[nn.Module], image: Tensor) -> dict[nn.Module, int]:
    """Number of output channels of modules."""
    channels: dict[nn.Module, int] = {}

    def note(module: nn.Module, _: object, output: Tensor) -> None:
        channels[module] = output.shape[1]

    hooks = [module.register_forward_hook(note) for module in modules]
    network(image)
    for hook in hooks:
        hook.remove()
    return channels
