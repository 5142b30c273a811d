"""The blocks and the complete network as layers.

The functions take parts of a `ModelSpec`, or of the networks of a `Population`, whose numbers are arrays with one entry
per network.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, Protocol

import numpy as np

from designspace.layers import (
    Act,
    AveragePool,
    BatchNorm,
    Condition,
    Conv,
    Dropout,
    Flatten,
    Layers,
    Linear,
    MaxPool,
    Number,
    Residual,
    SqueezeExcite,
    when,
    where,
)
from designspace.spec import (
    BasicStage,
    BottleneckStage,
    Head,
    InvertedStage,
    ModelSpec,
    SeparableStage,
    Stem,
    VanillaStage,
    XceptionStage,
)
from designspace.validated import shorten
from designspace.widths import round_number


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
    def stem(self) -> Stem | None: ...
    @property
    def stages(self) -> tuple[Any, ...]: ...
    @property
    def head(self) -> Head: ...


def as_model(value: Any) -> Model:
    """A spec as it is, the networks of a `Population`; ValueError for anything else."""
    networks = getattr(value, "networks", value)
    if not isinstance(networks, ModelSpec):
        raise ValueError(f"model = {shorten(value)}: must be a ModelSpec or a Population")
    return networks


class Style(NamedTuple):
    """Settings that all convolutions of a network share."""

    activation: str
    batch_norm: bool

    def conv(
        self,
        number: int,
        w_in: Number,
        w_out: Number,
        kernel_size: Number = 1,
        stride: int = 1,
        group_width: Number | None = None,
        *,
        padding: str = "same",
        activate: bool = True,
    ) -> Layers:
        """Convolution, batch norm (or a bias) and optionally the activation; `number` names the layers, like conv1."""
        layers: Layers = (
            Conv(
                w_in,
                w_out,
                kernel_size,
                stride,
                kernel_size // 2 * (padding == "same"),
                w_in if group_width is None else group_width,
                not self.batch_norm,
                f"conv{number}",
            ),
        )
        if self.batch_norm:
            layers += (BatchNorm(w_out, f"bn{number}"),)
        return (*layers, *self.act()) if activate else layers

    def act(self) -> Layers:
        """The activation."""
        return (Act(self.activation),)

    def add_residual(self, body: Layers, residual: Condition, w_in: Number, w_out: Number, stride: int) -> Layers:
        """Add a shortcut where `residual` holds: the identity, or a 1×1 convolution where the shape changes."""
        if not np.any(residual):
            return body
        project = residual & (np.not_equal(w_in, w_out) | (stride > 1))
        return (Residual(body, when(project, self.conv(1, w_in, w_out, 1, stride, activate=False))),)


def bottleneck(stage: BottleneckStage, w_in: Number, stride: int, style: Style) -> Layers:
    """RegNet's X block and variants (arXiv 2003.13678, Fig. 4): 1×1, k×k in groups, SE, 1×1, add, activation."""
    inner = round_number(stage.width / stage.bottleneck_ratio)
    squeeze = when(np.greater(stage.se_ratio, 0), squeeze_excite(inner, w_in, stage.se_ratio, style))
    body = (
        *style.conv(1, w_in, inner),
        *style.conv(2, inner, inner, stage.kernel_size, stride, stage.group_width),
        *squeeze,
        *style.conv(3, inner, stage.width, activate=False),
    )
    return (*style.add_residual(body, stage.residual, w_in, stage.width, stride), *style.act())


def basic(stage: BasicStage, w_in: Number, stride: int, style: Style) -> Layers:
    """Two k×k convolutions, add, activation (ResNet, arXiv 1512.03385, Fig. 5 left)."""
    body = (
        *style.conv(1, w_in, stage.width, stage.kernel_size, stride),
        *style.conv(2, stage.width, stage.width, stage.kernel_size, activate=False),
    )
    return (*style.add_residual(body, stage.residual, w_in, stage.width, stride), *style.act())


def vanilla(stage: VanillaStage, w_in: Number, stride: int, style: Style) -> Layers:
    """One k×k convolution, optionally with a residual (V and VR of arXiv 2003.13678, Fig. 23)."""
    body = style.conv(1, w_in, stage.width, stage.kernel_size, stride, padding=stage.padding, activate=False)
    return (*style.add_residual(body, stage.residual, w_in, stage.width, stride), *style.act())


def inverted(stage: InvertedStage, w_in: Number, stride: int, style: Style) -> Layers:
    """MobileNetV2's block with EfficientNet's SE (arXiv 1801.04381, Table 1; 1905.11946, § 4)."""
    body = (*expand(stage, w_in, style), *project(stage, w_in, stride, style))
    same = np.equal(w_in, stage.width) & (stride == 1)
    layers = style.add_residual(body, same & (stage.shortcut == "bottlenecks"), w_in, stage.width, stride)
    return (*layers, *when(np.logical_not(stage.linear), style.act()))


def expand(stage: InvertedStage, w_in: Number, style: Style) -> Layers:
    """The 1×1 expansion of an inverted block; absent for expansion ratio 1."""
    wide = round_number(w_in * stage.expansion_ratio)
    return when(np.not_equal(stage.expansion_ratio, 1), style.conv(1, w_in, wide))


def project(stage: InvertedStage, w_in: Number, stride: int, style: Style) -> Layers:
    """The k×k convolution on the expansion of width w_in, SE, and the projection to the stage's width."""
    wide = round_number(w_in * stage.expansion_ratio)
    squeeze = when(np.greater(stage.se_ratio, 0), squeeze_excite(wide, w_in, stage.se_ratio, style))
    return (
        *style.conv(2, wide, wide, stage.kernel_size, stride, stage.group_width),
        *squeeze,
        *style.conv(3, wide, stage.width, activate=False),
    )


def separable(stage: SeparableStage, w_in: Number, stride: int, style: Style) -> Layers:
    """Depthwise and pointwise convolution (arXiv 1704.04861, Fig. 3)."""
    return (
        *depthwise(1, w_in, stage.kernel_size, stride, style, stage.activate_depthwise),
        *style.conv(2, w_in, stage.width),
    )


def depthwise(
    number: int, width: Number, kernel_size: Number, stride: int, style: Style, activate: Condition
) -> Layers:
    """k×k depthwise convolution, alone or with BN and activation."""
    bare, *rest = style.conv(number, width, width, kernel_size, stride, 1)
    return (bare, *when(activate, tuple(rest)))


def xception(stage: XceptionStage, w_in: Number, stride: int, style: Style) -> Layers:
    """Several activations and separable convolutions, max-pool, add (arXiv 1610.02357, Fig. 5)."""
    early = where(stage.grow == "first", stage.width, w_in)
    body: Layers = ()
    before = w_in
    for number in range(1, int(np.max(stage.convs)) + 1):
        after = where(number == stage.convs, stage.width, early)
        act = Act(style.activation, needed=not body)  # the shortcut reads the first activation's input
        spatial = depthwise(2 * number - 1, before, stage.kernel_size, 1, style, activate=False)
        pointwise = style.conv(2 * number, before, after, activate=False)
        body += when(number <= stage.convs, (act, *spatial, *pointwise))
        before = after
    if stride > 1:
        body += (MaxPool(stage.width, 3, stride, 1),)
    return style.add_residual(body, True, w_in, stage.width, stride)


def squeeze_excite(width: Number, w_in: Number, se_ratio: float | np.ndarray, style: Style) -> Layers:
    """Squeeze-excitation on `width` channels; the squeezed width is se_ratio · (width of the block's input)."""
    return (SqueezeExcite(width, round_number(w_in * se_ratio), style.activation),)


BLOCKS: dict[str, Callable[[Any, Number, int, Style], Layers]] = {
    "bottleneck": bottleneck,
    "basic": basic,
    "vanilla": vanilla,
    "inverted": inverted,
    "separable": separable,
    "xception": xception,
}


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
    style = Style(model.activation, model.batch_norm)
    width: Number = model.in_channels
    if model.stem:
        yield Part("stem", stem(model.stem, width, style), 1)
        width = model.stem.width
    for number, stage in enumerate(model.stages, start=1):
        for layers, repeats in runs(stage, width, style):
            yield Part(f"stage{number}", layers, repeats)
        width = where(stage.depth > 0, stage.width, width)
    yield Part("head", head(model.head, width, style), 1)


def runs(stage: Any, w_in: Number, style: Style) -> list[tuple[Layers, Number]]:
    """The layers of a stage, each with its number of repetitions in sequence."""
    once = at_most(stage.depth, 1)
    block = BLOCKS[stage.block]
    layer_runs = [
        (block(stage, w_in, stage.stride, style), once),
        (block(stage, stage.width, 1, style), stage.depth - once),
    ]
    if pool := when(getattr(stage, "max_pool", False), (MaxPool(stage.width, 2, 2, 0),)):
        layer_runs.append((pool, once))
    wide = getattr(stage, "shortcut", None) == "expansions"
    if np.any(wide):
        layer_runs = [(layers, where(wide, 0, repeats)) for layers, repeats in layer_runs]
        layer_runs += [
            (layers, where(wide, repeats, 0)) for layers, repeats in expansion_runs(stage, w_in, style, once)
        ]
    return layer_runs


def expansion_runs(stage: InvertedStage, w_in: Number, style: Style, once: Number) -> list[tuple[Layers, Number]]:
    """Inverted blocks whose shortcuts connect the wide tensors: each spans a projection and the next expansion.

    The layers and their order are those of other inverted stages; only the additions differ.
    """
    activation = when(np.logical_not(stage.linear), style.act())
    narrow = (*project(stage, stage.width, 1, style), *activation)
    widen = expand(stage, stage.width, style)
    between = style.add_residual((*narrow, *widen), True, stage.width, stage.width, 1)
    several = at_most(stage.depth, 2) - once
    return [
        ((*expand(stage, w_in, style), *project(stage, w_in, stage.stride, style), *activation), once),
        (widen, several),
        (between, stage.depth - once - several),
        (narrow, several),
    ]


def at_most(value: Number, limit: int) -> Number:
    """The smaller of a number or array and a limit."""
    return np.minimum(value, limit) if isinstance(value, np.ndarray) else min(value, limit)


def stem(stem: Stem, w_in: Number, style: Style) -> Layers:
    """The first convolution and its optional max-pool."""
    layers = style.conv(1, w_in, stem.width, stem.kernel_size, stem.stride, padding=stem.padding)
    return (*layers, MaxPool(stem.width, 3, 2, 1, in_stem=True)) if stem.max_pool else layers


def head(head: Head, w_in: Number, style: Style) -> Layers:
    """The classifier."""
    layers: Layers = ()
    if head.width is not None:
        layers += style.conv(1, w_in, head.width)
        w_in = head.width
    layers += (AveragePool(head.pool_size), Flatten())
    w_in = w_in * head.pool_size**2
    for number, hidden in enumerate(head.hidden, start=1):
        layers += (Linear(w_in, hidden, f"linear{number}"), *style.act(), *dropout(head.dropout))
        w_in = hidden
    last = Linear(w_in, head.classes, f"linear{len(head.hidden) + 1}")
    return (*layers, *(() if head.hidden else dropout(head.dropout)), last)


def dropout(rate: float) -> Layers:
    """Dropout, unless the rate is zero."""
    return (Dropout(rate),) if rate else ()
