"""The complete network as layers.

The functions take parts of a `ModelSpec`, or of the networks of a `Population`, whose numbers are arrays with one entry
per network.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple, Protocol

from designspace.blocks import Stage, Style
from designspace.layers import AveragePool, Dropout, Flatten, Layers, Linear, MaxPool, Number, where
from designspace.spec import Head, ModelSpec, Stem
from designspace.validated import shorten


class Model(Protocol):
    """Fields of a spec; numbers may be arrays."""

    @property
    def resolution(self) -> Any: ...
    @property
    def in_channels(self) -> int: ...
    @property
    def activation(self) -> str: ...
    @property
    def batch_norm(self) -> bool: ...
    @property
    def conv_bias(self) -> bool: ...
    @property
    def norm(self) -> str: ...
    @property
    def stem(self) -> Stem | None: ...
    @property
    def stages(self) -> tuple[Stage, ...]: ...
    @property
    def head(self) -> Head: ...


def as_model(value: Any) -> Model:
    """A spec as it is, the networks of a `Population`; ValueError for anything else."""
    networks = getattr(value, "networks", value)
    if not isinstance(networks, ModelSpec):
        raise ValueError(f"model = {shorten(value)}: must be a ModelSpec or a Population")
    return networks


class Part(NamedTuple):
    """Layers repeated in sequence, named after the stem, stage or head they belong to."""

    name: str
    layers: Layers
    repeats: Number


def parts(model: Model) -> Iterator[Part]:
    """The parts of a network from the image to the logits.

    A stage is its first block once and its other block depth - 1 times. A stage of depth 0, which occurs in populations
    of networks with different numbers of stages, is the identity.
    """
    style = Style(model.activation, model.norm if model.batch_norm else "none", model.conv_bias)
    width: Number = model.in_channels
    if model.stem:
        yield Part("stem", stem(model.stem, width, style), 1)
        width = model.stem.width
    for number, stage in enumerate(model.stages, start=1):
        try:
            stage_runs = stage.runs(width, style.of(stage))
        except Exception as error:  # raised by a package's block
            kind = type(stage)
            reason = f"{type(error).__name__} in {kind.__module__}.{kind.__qualname__}: {error}"
            raise ValueError(f"block = {stage.block}: {reason}") from error
        for layers, repeats in stage_runs:
            yield Part(f"stage{number}", layers, repeats)
        width = where(stage.depth > 0, stage.width, width)
    yield Part("head", head(model.head, width, style), 1)


def stem(stem: Stem, w_in: Number, style: Style) -> Layers:
    """The first convolutions and the optional max-pool."""
    layers: Layers = ()
    widths = (*stem.hidden, stem.width)
    for number, width in enumerate(widths, start=1):
        stride, activate = stem.stride if number == 1 else 1, stem.activate or number < len(widths)
        layers += style.conv(number, w_in, width, stem.kernel_size, stride, padding=stem.padding, activate=activate)
        w_in = width
    return (*layers, MaxPool(stem.width, 3, 2, 1, in_stem=True)) if stem.max_pool else layers


def head(head: Head, w_in: Number, style: Style) -> Layers:
    """The classifier."""
    layers: Layers = ()
    if head.width is not None:
        layers += style.conv(1, w_in, head.width)
        w_in = head.width
    layers += (AveragePool(head.pool_size), *(style.normalize(2, w_in) if head.norm else ()), Flatten())
    w_in = w_in * head.pool_size**2
    for number, hidden in enumerate(head.hidden, start=1):
        layers += (Linear(w_in, hidden, f"linear{number}"), *style.act(), *dropout(head.dropout))
        w_in = hidden
    last = Linear(w_in, head.classes, f"linear{len(head.hidden) + 1}")
    return (*layers, *(() if head.hidden else dropout(head.dropout)), last)


def dropout(rate: float) -> Layers:
    """Dropout, unless the rate is zero."""
    return (Dropout(rate),) if rate else ()
