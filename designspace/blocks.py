"""The blocks: a stage class per block, with its fields and its layers.

A block is defined once, as layers, for complexity, training memory and the torch module. The numbers in a stage are
those of one network, or arrays of shape (N,) with one entry per network of a population.

Installed packages add blocks through the entry point group `designspace.blocks`; see docs/blocks.md.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import cache
from importlib.metadata import EntryPoint
from inspect import isabstract
from math import isclose
from typing import Annotated, Literal, NamedTuple, Self

import numpy as np
from pydantic import AfterValidator, Field

from designspace.layers import (
    Act,
    AverageDownsample,
    BatchNorm,
    Condition,
    Conv,
    LayerNorm,
    Layers,
    LayerScale,
    MaxPool,
    Number,
    Residual,
    SqueezeExcite,
    choose,
    when,
    where,
)
from designspace.packages import load_plugin, plugins, provider
from designspace.validated import Validated, accept_numpy, shorten
from designspace.widths import round_channels, round_number

GROUP = "designspace.blocks"
"""Entry point group of the blocks of other packages: the block's name and its stage class."""

MAX_DEPTH = 100_000


def _odd(value: int) -> int:
    if value % 2 == 0:
        raise ValueError("must be odd")
    return value


Count = Annotated[int, Field(ge=1, le=10**8, strict=True), accept_numpy]
Depth = Annotated[int, Field(ge=1, le=MAX_DEPTH, strict=True), accept_numpy]
Kernel = Annotated[int, Field(ge=1, le=999, strict=True), AfterValidator(_odd), accept_numpy]
Stride = Annotated[int, Field(ge=1, le=4, strict=True), accept_numpy]
Ratio = Annotated[float, Field(ge=1e-3, le=1e3)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Activation = Literal["relu", "relu6", "silu", "gelu", "hard_swish"]
Norm = Literal["batch", "layer"]
Downsample = Literal["conv", "avg", "none"]
"""Shortcut where the shape changes: 1×1 convolution with the stride, average pooling and 1×1 convolution, or none."""


class Style(NamedTuple):
    """Settings that all convolutions of a stage share; arrays of shape (N,) if a space draws them.

    `norm` is "batch", "layer" or "none".
    """

    activation: str | np.ndarray
    norm: str | np.ndarray
    conv_bias: bool = False

    def of(self, stage: Stage) -> Self:
        """The style of a stage: its own activation and norm, or those of the network."""
        own = {name: value for name in ("activation", "norm") if (value := getattr(stage, name)) is not None}
        return self._replace(**own)

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
        normalize: bool = True,
        activate: bool = True,
    ) -> Layers:
        """Convolution, norm and activation; `number` names the layers, like conv1.

        The convolution has a bias with `conv_bias`, and unless the norm is batch norm.
        """
        if group_width is None:
            group_width = w_in
        pixels = kernel_size // 2 * (padding == "same")

        def layers(norm: str) -> Layers:
            bias = self.conv_bias or norm != "batch"
            convolution = Conv(w_in, w_out, kernel_size, stride, pixels, group_width, bias, f"conv{number}")
            return (convolution, *(norm_layers(norm, w_out, number) if normalize else ()))

        return (*choose(self.norm, layers), *(self.act() if activate else ()))

    def normalize(self, number: int, width: Number) -> Layers:
        """The norm alone, empty in networks without one."""
        return choose(self.norm, lambda norm: norm_layers(norm, width, number))

    def act(self, *, needed: bool = False) -> Layers:
        """The activation; `needed` as in `Act`."""
        return choose(self.activation, lambda function: (Act(function, needed),))

    def add_residual(
        self,
        body: Layers,
        residual: Condition,
        w_in: Number,
        w_out: Number,
        stride: int,
        downsample: str | np.ndarray = "conv",
    ) -> Layers:
        """Add a shortcut where `residual` holds: the identity, or `downsample` where the shape changes."""
        changes = np.not_equal(w_in, w_out) | (stride > 1)
        residual = residual & ~(changes & np.equal(downsample, "none"))
        project, averaged = residual & changes, np.equal(downsample, "avg")
        pool: Layers = (AverageDownsample(stride),) if stride > 1 else ()
        shortcut = (
            *when(project & ~averaged, self.conv(1, w_in, w_out, 1, stride, activate=False)),
            *when(project & averaged, (*pool, *self.conv(1, w_in, w_out, activate=False))),
        )
        return (*when(residual, (Residual(body, shortcut),)), *when(np.logical_not(residual), body))


def norm_layers(norm: str, width: Number, number: int) -> Layers:
    """One norm, named like bn1 or ln1; empty for "none"."""
    if norm == "batch":
        return (BatchNorm(width, f"bn{number}"),)
    return (LayerNorm(width, f"ln{number}"),) if norm == "layer" else ()


class Stage(Validated, ABC):
    """`depth` blocks of one width; the first has the stride, the others stride 1.

    `activation` and `norm` are those of the network unless given.
    """

    block: str
    depth: Depth
    width: Count
    stride: Stride = 2
    kernel_size: Kernel = 3
    activation: Activation | None = None
    norm: Norm | None = None

    @abstractmethod
    def layers(self, w_in: Number, stride: int, style: Style) -> Layers:
        """Layers of one block with `w_in` input channels; blocks after the first have w_in = width and stride 1."""

    def check(self, w_in: int) -> None:
        """Raise ValueError("field = value: must be …") unless the fields fit each other and the input width."""

    def runs(self, w_in: Number, style: Style) -> list[tuple[Layers, Number]]:
        """Layers of the stage, each with its number of repetitions in sequence: the first block, then the others."""
        once = at_most(self.depth, 1)
        return [
            (self.layers(w_in, self.stride, style), once),
            (self.layers(self.width, 1, style), self.depth - once),
        ]

    def input_widths(self, w_in: int) -> tuple[int, ...]:
        """Input widths of the blocks: that of the first block, and that of the others."""
        return (w_in, self.width)[: self.depth]


class BottleneckStage(Stage):
    """1×1, k×k group convolution, 1×1, residual: RegNet's X block; Y with `se_ratio`; R without groups.

    `bottleneck_ratio` b divides: the inner width is width / b, so b < 1 is an inverted bottleneck.
    `group_width` is in channels per group; None is one group.
    `se_position` "inner" squeezes the k×k convolution's output, and `se_ratio` is relative to the width of the block's
    input (RegNet, arXiv 2003.13678, App. D). "output" squeezes the last convolution's output, and `se_ratio` is
    relative to its width (SE-ResNet, 1709.01507, Fig. 3).
    `downsample` is the shortcut where the shape changes: "conv", a 1×1 convolution with the stride; "avg", average
    pooling and a 1×1 convolution (ResNet-D, 1812.01187, Fig. 2c); or "none". `linear=True` removes the activation after
    the addition; with `downsample="none"` this is RegNetZ's block (2103.06877).
    """

    block: Literal["bottleneck"] = "bottleneck"
    bottleneck_ratio: Ratio = 1.0
    group_width: Count | None = None
    se_ratio: Fraction = 0.0
    se_position: Literal["inner", "output"] = "inner"
    residual: bool = True
    downsample: Downsample = "conv"
    linear: bool = False

    def check(self, w_in: int) -> None:
        inner = self.width / self.bottleneck_ratio
        if not isclose(inner, round(inner), rel_tol=1e-12) or round(inner) < 1:  # w / (w / v) equals v up to rounding
            raise ValueError(f"bottleneck_ratio = {self.bottleneck_ratio:g}: must divide width {self.width} evenly")
        check_group_width(self.group_width, round(inner), "inner width width / bottleneck_ratio")
        if self.se_position == "output":
            check_se_ratio(self.se_ratio, self.width, "output")
        else:
            for width in self.input_widths(w_in):
                check_se_ratio(self.se_ratio, width)

    def layers(self, w_in: Number, stride: int, style: Style) -> Layers:
        """RegNet's X block and variants (arXiv 2003.13678, Fig. 4): 1×1, k×k in groups, SE, 1×1, add, activation."""
        inner = round_number(self.width / self.bottleneck_ratio)
        squeezed, on_output = np.greater(self.se_ratio, 0), np.equal(self.se_position, "output")
        body = (
            *style.conv(1, w_in, inner),
            *style.conv(2, inner, inner, self.kernel_size, stride, self.group_width),
            *when(squeezed & ~on_output, squeeze_excite(inner, w_in * self.se_ratio, style.activation)),
            *style.conv(3, inner, self.width, activate=False),
            *when(squeezed & on_output, squeeze_excite(self.width, self.width * self.se_ratio, style.activation)),
        )
        layers = style.add_residual(body, self.residual, w_in, self.width, stride, self.downsample)
        return (*layers, *when(np.logical_not(self.linear), style.act()))


class BasicStage(Stage):
    """Two k×k convolutions with a residual (ResNet-18), or without (the plain networks of the ResNet paper).

    `se_ratio` is relative to the stage's width; SE follows the second convolution (SE-ResNet, arXiv 1709.01507).
    `downsample` as in BottleneckStage.
    """

    block: Literal["basic"] = "basic"
    se_ratio: Fraction = 0.0
    residual: bool = True
    downsample: Downsample = "conv"

    def check(self, w_in: int) -> None:
        check_se_ratio(self.se_ratio, self.width, "output")

    def layers(self, w_in: Number, stride: int, style: Style) -> Layers:
        """Two k×k convolutions, SE, add, activation (ResNet, arXiv 1512.03385, Fig. 5 left)."""
        body = (
            *style.conv(1, w_in, self.width, self.kernel_size, stride),
            *style.conv(2, self.width, self.width, self.kernel_size, activate=False),
            *when(
                np.greater(self.se_ratio, 0), squeeze_excite(self.width, self.width * self.se_ratio, style.activation)
            ),
        )
        layers = style.add_residual(body, self.residual, w_in, self.width, stride, self.downsample)
        return (*layers, *style.act())


class VanillaStage(Stage):
    """One k×k convolution per block: RegNet's V; VR with `residual`; `max_pool` ends the stage as in VGG.

    `downsample` as in BottleneckStage.
    """

    block: Literal["vanilla"] = "vanilla"
    residual: bool = False
    downsample: Downsample = "conv"
    max_pool: bool = False
    padding: Literal["same", "valid"] = "same"

    def check(self, w_in: int) -> None:
        if self.residual and self.padding == "valid":
            raise ValueError('padding = "valid": must be "same" in a block with a residual')
        if self.depth > 1 and self.padding == "valid":
            raise ValueError(f'depth = {self.depth}: must be 1 with padding "valid"')

    def layers(self, w_in: Number, stride: int, style: Style) -> Layers:
        """One k×k convolution, optionally with a residual (V and VR of arXiv 2003.13678, Fig. 23)."""
        body = style.conv(1, w_in, self.width, self.kernel_size, stride, padding=self.padding, activate=False)
        layers = style.add_residual(body, self.residual, w_in, self.width, stride, self.downsample)
        return (*layers, *style.act())

    def runs(self, w_in: Number, style: Style) -> list[tuple[Layers, Number]]:
        pool = when(self.max_pool, (MaxPool(self.width, 2, 2, 0),))
        return [*super().runs(w_in, style), *([(pool, at_most(self.depth, 1))] if pool else [])]


class InvertedStage(Stage):
    """1×1 expansion, k×k depthwise or group convolution, 1×1 linear projection: MobileNetV2 and V3, EfficientNet.

    `expansion_ratio` t multiplies the width of the block's input; t = 1 has no expansion layer.
    `fused` replaces the expansion and the depthwise convolution by one k×k convolution without groups (Fused-MBConv of
    EfficientNetV2); for t = 1 the block is this convolution, which is then activated.
    `se_ratio` is relative to the width of the block's input, or with `se_base="expansion"` to the expansion, rounded to
    a multiple of 8 (MobileNetV3). `se_activation` is that of the block unless given.
    `linear=False` adds an activation after the projection.
    `shortcut` connects the narrow tensors ("bottlenecks"), the wide ones ("expansions") or nothing ("none") where the
    shapes agree. The last two are ablations of arXiv 1801.04381, Fig. 6.
    """

    block: Literal["inverted"] = "inverted"
    expansion_ratio: Ratio = 6.0
    group_width: Count | None = 1
    se_ratio: Fraction = 0.0
    linear: bool = True
    shortcut: Literal["bottlenecks", "expansions", "none"] = "bottlenecks"
    fused: bool = False
    se_base: Literal["input", "expansion"] = "input"
    se_gate: Literal["sigmoid", "hard_sigmoid"] = "sigmoid"
    se_activation: Activation | None = None

    def check(self, w_in: int) -> None:
        for width in self.input_widths(w_in):
            inner = width * self.expansion_ratio
            if round(inner) < 1:
                raise ValueError(f"expansion_ratio = {self.expansion_ratio:g}: must keep a channel of width {width}")
            if not self.fused:
                check_group_width(self.group_width, round(inner), "inner width expansion_ratio · input width")
            if self.se_base == "input":
                check_se_ratio(self.se_ratio, width)

    def layers(self, w_in: Number, stride: int, style: Style) -> Layers:
        """MobileNetV2's block (arXiv 1801.04381, Table 1), with SE or fused (2104.00298, Fig. 2)."""
        body = (*self.expand(w_in, stride, style), *self.project(w_in, stride, style))
        same = np.equal(w_in, self.width) & (stride == 1)
        layers = style.add_residual(body, same & (self.shortcut == "bottlenecks"), w_in, self.width, stride)
        return (*layers, *when(np.logical_not(self.linear), style.act()))

    def expand(self, w_in: Number, stride: int, style: Style) -> Layers:
        """The expansion, 1×1 or fused with the k×k convolution; absent for expansion ratio 1."""
        wide = round_number(w_in * self.expansion_ratio)
        expands = np.not_equal(self.expansion_ratio, 1)
        return (
            *when(expands & np.logical_not(self.fused), style.conv(1, w_in, wide)),
            *when(expands & self.fused, style.conv(1, w_in, wide, self.kernel_size, stride)),
        )

    def project(self, w_in: Number, stride: int, style: Style) -> Layers:
        """The k×k convolution on the expansion of width w_in unless fused, SE, projection to the stage's width."""
        wide = round_number(w_in * self.expansion_ratio)
        at_once = np.equal(self.expansion_ratio, 1) & self.fused  # the only convolution is k×k
        activation = style.activation if self.se_activation is None else self.se_activation
        squeeze = squeeze_excite(wide, self.squeezed_width(w_in), activation, self.se_gate)
        return (
            *when(np.logical_not(self.fused), style.conv(2, wide, wide, self.kernel_size, stride, self.group_width)),
            *when(np.greater(self.se_ratio, 0), squeeze),
            *when(np.logical_not(at_once), style.conv(3, wide, self.width, activate=False)),
            *when(at_once, style.conv(3, wide, self.width, self.kernel_size, stride)),
        )

    def squeezed_width(self, w_in: Number) -> Number:
        """Squeezed width of the SE in a block with w_in input channels."""
        of_expansion = round_channels(round_number(w_in * self.expansion_ratio) * self.se_ratio)
        return where(self.se_base == "expansion", of_expansion, round_number(w_in * self.se_ratio))

    def runs(self, w_in: Number, style: Style) -> list[tuple[Layers, Number]]:
        runs = super().runs(w_in, style)
        wide = self.shortcut == "expansions"
        if not np.any(wide):
            return runs
        return [
            *((layers, where(wide, 0, repeats)) for layers, repeats in runs),
            *((layers, where(wide, repeats, 0)) for layers, repeats in self.expansion_runs(w_in, style)),
        ]

    def expansion_runs(self, w_in: Number, style: Style) -> list[tuple[Layers, Number]]:
        """Inverted blocks whose shortcuts connect the wide tensors: each spans a projection and the next expansion.

        The layers and their order are those of other inverted stages; only the additions differ.
        """
        activation = when(np.logical_not(self.linear), style.act())
        narrow = (*self.project(self.width, 1, style), *activation)
        widen = self.expand(self.width, 1, style)
        between = style.add_residual((*narrow, *widen), True, self.width, self.width, 1)
        once = at_most(self.depth, 1)
        several = at_most(self.depth, 2) - once
        return [
            ((*self.expand(w_in, self.stride, style), *self.project(w_in, self.stride, style), *activation), once),
            (widen, several),
            (between, self.depth - once - several),
            (narrow, several),
        ]


class SeparableStage(Stage):
    """k×k depthwise and 1×1 convolution, each followed by BN and activation: MobileNetV1.

    `activate_depthwise=False` removes both after the depthwise convolution, as in Xception.
    """

    block: Literal["separable"] = "separable"
    activate_depthwise: bool = True

    def layers(self, w_in: Number, stride: int, style: Style) -> Layers:
        """Depthwise and pointwise convolution (arXiv 1704.04861, Fig. 3)."""
        return (
            *depthwise(1, w_in, self.kernel_size, stride, style, self.activate_depthwise),
            *style.conv(2, w_in, self.width),
        )


class XceptionStage(Stage):
    """`convs` separable convolutions, each after an activation, with a residual; a 3×3 max-pool applies the stride.

    `grow` selects the convolution that changes the width (arXiv 1610.02357, Fig. 5).
    """

    block: Literal["xception"] = "xception"
    convs: Annotated[int, Field(ge=1, le=32, strict=True), accept_numpy] = 3
    grow: Literal["first", "last"] = "first"

    def layers(self, w_in: Number, stride: int, style: Style) -> Layers:
        """Several activations and separable convolutions, max-pool, add (arXiv 1610.02357, Fig. 5)."""
        early = where(self.grow == "first", self.width, w_in)
        body: Layers = ()
        before = w_in
        for number in range(1, int(np.max(self.convs)) + 1):
            after = where(number == self.convs, self.width, early)
            act = style.act(needed=not body)  # the shortcut reads the first activation's input
            spatial = depthwise(2 * number - 1, before, self.kernel_size, 1, style, activate=False)
            pointwise = style.conv(2 * number, before, after, activate=False)
            body += when(number <= self.convs, (*act, *spatial, *pointwise))
            before = after
        if stride > 1:
            body += (MaxPool(self.width, 3, stride, 1),)
        return style.add_residual(body, True, w_in, self.width, stride)


class ConvNeXtStage(Stage):
    """k×k depthwise convolution, norm, 1×1 expansion, activation, 1×1 projection, layer scale, residual: ConvNeXt.

    Where the stride or the width changes, the stage starts with a norm and an s×s convolution of stride s.
    `expansion_ratio` multiplies the width. `layer_scale` is its initial value; 0 omits it.
    ConvNeXt has norm "layer" and activation "gelu", which are settings of the network.
    """

    block: Literal["convnext"] = "convnext"
    kernel_size: Kernel = 7
    expansion_ratio: Ratio = 4.0
    layer_scale: Fraction = 1e-6

    def check(self, w_in: int) -> None:
        if round(self.width * self.expansion_ratio) < 1:
            raise ValueError(f"expansion_ratio = {self.expansion_ratio:g}: must keep a channel of width {self.width}")

    def layers(self, w_in: Number, stride: int, style: Style) -> Layers:
        """ConvNeXt's downsampling where needed, and its block (arXiv 2201.03545, § 2.6 and Fig. 4)."""
        inner = round_number(self.width * self.expansion_ratio)
        bare = style._replace(norm="none")
        patches = bare.conv(1, w_in, self.width, stride, stride, padding="valid", activate=False)
        body = (
            *style.conv(2, self.width, self.width, self.kernel_size, 1, 1, activate=False),
            *bare.conv(3, self.width, inner),
            *bare.conv(4, inner, self.width, activate=False),
            *when(np.greater(self.layer_scale, 0), (LayerScale(self.width, self.layer_scale),)),
        )
        changes = np.not_equal(w_in, self.width) | (stride > 1)
        return (*when(changes, (*style.normalize(1, w_in), *patches)), Residual(body, ()))


def check_group_width(group_width: int | None, inner: int, meaning: str) -> None:
    """Raise ValueError unless the groups divide the inner width."""
    if group_width is not None and inner % group_width:
        raise ValueError(f"group_width = {group_width}: must divide the {meaning} = {inner}")


def check_se_ratio(se_ratio: float, width: int, meaning: str = "input") -> None:
    """Raise ValueError unless squeeze-excitation keeps at least one channel of the block's input or output."""
    if se_ratio and round(width * se_ratio) < 1:
        raise ValueError(f"se_ratio = {se_ratio:g}: must squeeze the {meaning} width {width} to at least one channel")


def depthwise(
    number: int, width: Number, kernel_size: Number, stride: int, style: Style, activate: Condition
) -> Layers:
    """k×k depthwise convolution, alone or with norm and activation."""
    activated = style.conv(number, width, width, kernel_size, stride, 1)
    bare = style.conv(number, width, width, kernel_size, stride, 1, normalize=False, activate=False)
    return (*when(activate, activated), *when(np.logical_not(activate), bare))


def squeeze_excite(
    width: Number, squeezed: float | np.ndarray, activation: str | np.ndarray, gate: str | np.ndarray = "sigmoid"
) -> Layers:
    """Squeeze-excitation from `width` channels to `squeezed`, rounded, and back."""
    narrow = round_number(squeezed)
    return choose(
        activation, lambda function: choose(gate, lambda final: (SqueezeExcite(width, narrow, function, final),))
    )


def at_most(value: Number, limit: int) -> Number:
    """The smaller of a number or array and a limit."""
    return np.minimum(value, limit) if isinstance(value, np.ndarray) else min(value, limit)


STAGES: dict[str, type[Stage]] = {
    kind.model_fields["block"].default: kind
    for kind in (BottleneckStage, BasicStage, VanillaStage, InvertedStage, SeparableStage, XceptionStage, ConvNeXtStage)
}
"""Stage classes of the built-in blocks."""


def stage_class(block: object) -> type[Stage]:
    """The stage class of a block, built in or from an installed package; the package is imported on first use.

    Raises:
        ValueError: unknown block, two definitions of one block, or a package that cannot be imported.
    """
    points = [point for point in plugins(GROUP) if point.name == block]
    built_in = isinstance(block, str) and block in STAGES
    if not points and not built_in:
        names = dict.fromkeys([*STAGES, *(point.name for point in plugins(GROUP))])
        hint = f"packages add blocks by the entry point group {GROUP}"
        raise ValueError(f"block = {shorten(block)}: must be one of {', '.join(names)} ({hint})")
    if len(points) + built_in > 1:
        packages = ["cnn-designspace"] * built_in + [provider(point) for point in points]
        raise ValueError(f"block = {block}: must be defined by one package only, not by {' and '.join(packages)}")
    return _load(points[0]) if points else STAGES[str(block)]


def block_packages() -> list[str]:
    """The installed packages that add blocks."""
    return sorted({point.dist.name for point in plugins(GROUP) if point.dist})


@cache
def _load(point: EntryPoint) -> type[Stage]:
    kind = load_plugin("block", point)
    defined = f"block = {point.name}: {point.value} of {provider(point)}"
    if not isinstance(kind, type) or not issubclass(kind, Stage) or isabstract(kind):
        raise ValueError(f"{defined} must be a subclass of Stage with a method layers")
    if (name := kind.model_fields["block"].default) != point.name:
        raise ValueError(f"{defined} must have the default block = {point.name!r}, not {shorten(name)}")
    return kind
