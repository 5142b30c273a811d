"""What a network is: a frozen, validated description that is written to files, hashed, counted and built.

Every number has a limit far above any published network, so that no file can make a spec that overflows or never ends.
"""

from __future__ import annotations

import hashlib
import json
from math import isclose
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import AfterValidator, Field, model_validator

from designspace.validated import Name, Validated

MAX_DEPTH = 100_000


def _odd(value: int) -> int:
    if value % 2 == 0:
        raise ValueError("must be odd")
    return value


Count = Annotated[int, Field(ge=1, le=10**8, strict=True)]
Depth = Annotated[int, Field(ge=1, le=MAX_DEPTH, strict=True)]
Kernel = Annotated[int, Field(ge=1, le=999, strict=True), AfterValidator(_odd)]
Stride = Annotated[int, Field(ge=1, le=4, strict=True)]
Ratio = Annotated[float, Field(ge=1e-3, le=1e3)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Activation = Literal["relu", "relu6", "silu", "gelu"]


class Stem(Validated):
    """The first convolution (k×k, stride s, BN, activation) and, as in ResNet, a 3×3 max-pool of stride 2."""

    width: Count = 32
    kernel_size: Kernel = 3
    stride: Stride = 2
    max_pool: bool = False
    padding: Literal["same", "valid"] = "same"


class Head(Validated):
    """The classifier: an optional 1×1 convolution, average pooling, optional hidden linear layers, a linear layer.

    `pool_size` is the number of positions a side that pooling leaves (VGG 7, all others 1).
    """

    classes: Count = 1000
    width: Count | None = None
    pool_size: Annotated[int, Field(ge=1, le=1000, strict=True)] = 1
    hidden: Annotated[tuple[Count, ...], Field(max_length=32)] = ()
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0


class _Stage(Validated):
    """A run of `depth` blocks of one width; the first has the stride, the others stride 1."""

    block: str
    depth: Depth
    width: Count
    stride: Stride = 2
    kernel_size: Kernel = 3

    def check(self, w_in: int) -> None:
        """Raise ValueError("field = value …") where the fields do not fit each other or the input width."""

    def input_widths(self, w_in: int) -> tuple[int, ...]:
        """The widths that blocks of the stage read: the first block's, and the others'."""
        return (w_in, self.width)[: self.depth]


class BottleneckStage(_Stage):
    """1×1, k×k group convolution, 1×1 with a residual: RegNet's X block; Y with `se_ratio`; R without groups.

    `bottleneck_ratio` b divides: the inner width is width / b, so b < 1 is an inverted bottleneck.
    `group_width` is in channels per group; without it the k×k convolution has one group.
    `se_ratio` is relative to the width of the block's input (RegNet, arXiv 2003.13678, App. D).
    """

    block: Literal["bottleneck"] = "bottleneck"
    bottleneck_ratio: Ratio = 1.0
    group_width: Count | None = None
    se_ratio: Fraction = 0.0
    residual: bool = True

    def check(self, w_in: int) -> None:
        inner = self.width / self.bottleneck_ratio
        if not isclose(inner, round(inner), rel_tol=1e-12) or round(inner) < 1:  # w / (w / v) is v but for a last bit
            raise ValueError(
                f"bottleneck_ratio = {self.bottleneck_ratio:g}: width {self.width} divided by it must be a whole number"
            )
        check_group_width(self.group_width, round(inner), "inner width width / bottleneck_ratio")
        for width in self.input_widths(w_in):
            check_se_ratio(self.se_ratio, width)


class BasicStage(_Stage):
    """Two k×k convolutions with a residual (ResNet-18); without it, the plain net of the ResNet paper."""

    block: Literal["basic"] = "basic"
    residual: bool = True


class VanillaStage(_Stage):
    """One k×k convolution a block: RegNet's V, with `residual` VR; `max_pool` ends the stage as in VGG."""

    block: Literal["vanilla"] = "vanilla"
    residual: bool = False
    max_pool: bool = False
    padding: Literal["same", "valid"] = "same"

    def check(self, w_in: int) -> None:
        if self.residual and self.padding == "valid":
            raise ValueError('padding = "valid": a block with a residual needs padding "same"')
        if self.depth > 1 and self.padding == "valid":
            raise ValueError(f'depth = {self.depth}: a stage with padding "valid" has one block')


class InvertedStage(_Stage):
    """1×1 expansion, k×k depthwise or group convolution, 1×1 linear projection: MobileNetV2 and EfficientNet.

    `expansion_ratio` t multiplies the width of the block's input; t = 1 has no expansion layer.
    `se_ratio` is relative to the width of the block's input. `linear=False` puts the activation after the projection
    and `shortcut` says what is added where the shapes agree: the narrow tensors ("bottlenecks"), the wide ones
    ("expansions") or nothing ("none") — the ablations of arXiv 1801.04381, Fig. 6.
    """

    block: Literal["inverted"] = "inverted"
    expansion_ratio: Ratio = 6.0
    group_width: Count | None = 1
    se_ratio: Fraction = 0.0
    linear: bool = True
    shortcut: Literal["bottlenecks", "expansions", "none"] = "bottlenecks"

    def check(self, w_in: int) -> None:
        for width in self.input_widths(w_in):
            inner = width * self.expansion_ratio
            if round(inner) < 1:
                raise ValueError(f"expansion_ratio = {self.expansion_ratio:g}: leaves no channel of width {width}")
            check_group_width(self.group_width, round(inner), "inner width expansion_ratio · input width")
            check_se_ratio(self.se_ratio, width)


class SeparableStage(_Stage):
    """k×k depthwise and 1×1 convolution, BN and activation after each: MobileNetV1.

    `activate_depthwise=False` leaves the depthwise convolution without both, as Xception does.
    """

    block: Literal["separable"] = "separable"
    activate_depthwise: bool = True


class XceptionStage(_Stage):
    """`convs` separable convolutions, each after an activation, with a residual; the stride is a 3×3 max-pool's.

    `grow` says which of them changes the width (arXiv 1610.02357, Fig. 5).
    """

    block: Literal["xception"] = "xception"
    convs: Annotated[int, Field(ge=1, le=32, strict=True)] = 3
    grow: Literal["first", "last"] = "first"


def check_group_width(group_width: int | None, inner: int, meaning: str) -> None:
    """Raise ValueError unless the groups divide the inner width."""
    if group_width is not None and inner % group_width:
        raise ValueError(f"group_width = {group_width}: must divide the {meaning} = {inner}")


def check_se_ratio(se_ratio: float, width: int) -> None:
    """Raise ValueError where squeeze-excitation would squeeze to nothing."""
    if se_ratio and round(width * se_ratio) < 1:
        raise ValueError(f"se_ratio = {se_ratio:g}: squeezes the input width {width} to no channel at all")


Stage = Annotated[
    BottleneckStage | BasicStage | VanillaStage | InvertedStage | SeparableStage | XceptionStage,
    Field(discriminator="block"),
]


STAGES: dict[str, Any] = {kind.model_fields["block"].default: kind for kind in get_args(get_args(Stage)[0])}


class ModelSpec(Validated):
    """A whole network for square images of `resolution` pixels; equal specs have equal `spec_id`.

    `batch_norm=False` gives every convolution a bias instead (VGG). The name is a label, not part of the identity.
    """

    name: Name | None = None
    resolution: Count = 224
    in_channels: Count = 3
    activation: Activation = "relu"
    batch_norm: bool = True
    stem: Stem | None = Stem()
    stages: Annotated[tuple[Stage, ...], Field(max_length=1000)]
    head: Head = Head()

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not self.stages:
            raise ValueError("stages = []: must have at least one stage")
        if self.depth > MAX_DEPTH:
            raise ValueError(f"depth = {self.depth}: must be at most {MAX_DEPTH} blocks in all stages")
        width = self.stem.width if self.stem else self.in_channels
        for number, stage in enumerate(self.stages):
            try:
                stage.check(width)
            except ValueError as error:
                raise ValueError(f"stages.{number}.{error}") from None
            width = stage.width
        return self

    def to_json(self) -> str:
        """One line of canonical JSON: sorted keys, no spaces."""
        return json.dumps(self.to_mapping(), sort_keys=True, separators=(",", ":"))

    @property
    def spec_id(self) -> str:
        """Sixteen hex digits of SHA-256 over what differs from the defaults, without the name."""
        content = self.model_dump(mode="json", exclude={"name"}, exclude_defaults=True)
        for stage, dumped in zip(self.stages, content["stages"], strict=True):
            dumped["block"] = stage.block
        text = json.dumps(content, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @property
    def depth(self) -> int:
        """Blocks in all stages."""
        return sum(stage.depth for stage in self.stages)

    @property
    def block_widths(self) -> tuple[int, ...]:
        """w_j, the width of each block j = 0 … depth - 1."""
        return tuple(stage.width for stage in self.stages for _ in range(stage.depth))
