"""The description of a network: immutable, validated, and identified by a hash.

Every number has a limit far above any published network, so counts cannot overflow and no file takes unbounded time.
"""

from __future__ import annotations

import hashlib
import json
from math import isclose
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import AfterValidator, Field, model_validator

from designspace.validated import Name, Validated, accept_numpy, shorten

SCHEMA_VERSION = 1
"""Version of the spec format. It changes when a valid file becomes invalid or describes another network."""

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
Activation = Literal["relu", "relu6", "silu", "gelu"]


class Stem(Validated):
    """The first convolution (k×k, stride s, BN, activation), optionally with ResNet's 3×3 max-pool of stride 2."""

    width: Count = 32
    kernel_size: Kernel = 3
    stride: Stride = 2
    max_pool: bool = False
    padding: Literal["same", "valid"] = "same"


class Head(Validated):
    """The classifier: optional 1×1 convolution, average pooling, optional hidden linear layers, linear layer.

    `pool_size` is the side length after pooling (VGG 7, all others 1).
    """

    classes: Count = 1000
    width: Count | None = None
    pool_size: Annotated[int, Field(ge=1, le=1000, strict=True), accept_numpy] = 1
    hidden: Annotated[tuple[Count, ...], Field(max_length=32)] = ()
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0


class _Stage(Validated):
    """`depth` blocks of one width; the first has the stride, the others stride 1."""

    block: str
    depth: Depth
    width: Count
    stride: Stride = 2
    kernel_size: Kernel = 3

    def check(self, w_in: int) -> None:
        """Raise ValueError("field = value: must be …") unless the fields fit each other and the input width."""

    def input_widths(self, w_in: int) -> tuple[int, ...]:
        """Input widths of the blocks: that of the first block, and that of the others."""
        return (w_in, self.width)[: self.depth]


class BottleneckStage(_Stage):
    """1×1, k×k group convolution, 1×1, residual: RegNet's X block; Y with `se_ratio`; R without groups.

    `bottleneck_ratio` b divides: the inner width is width / b, so b < 1 is an inverted bottleneck.
    `group_width` is in channels per group; None is one group.
    `se_ratio` is relative to the width of the block's input (RegNet, arXiv 2003.13678, App. D).
    """

    block: Literal["bottleneck"] = "bottleneck"
    bottleneck_ratio: Ratio = 1.0
    group_width: Count | None = None
    se_ratio: Fraction = 0.0
    residual: bool = True

    def check(self, w_in: int) -> None:
        inner = self.width / self.bottleneck_ratio
        if not isclose(inner, round(inner), rel_tol=1e-12) or round(inner) < 1:  # w / (w / v) equals v up to rounding
            raise ValueError(f"bottleneck_ratio = {self.bottleneck_ratio:g}: must divide width {self.width} evenly")
        check_group_width(self.group_width, round(inner), "inner width width / bottleneck_ratio")
        for width in self.input_widths(w_in):
            check_se_ratio(self.se_ratio, width)


class BasicStage(_Stage):
    """Two k×k convolutions with a residual (ResNet-18), or without (the plain networks of the ResNet paper)."""

    block: Literal["basic"] = "basic"
    residual: bool = True


class VanillaStage(_Stage):
    """One k×k convolution per block: RegNet's V; VR with `residual`; `max_pool` ends the stage as in VGG."""

    block: Literal["vanilla"] = "vanilla"
    residual: bool = False
    max_pool: bool = False
    padding: Literal["same", "valid"] = "same"

    def check(self, w_in: int) -> None:
        if self.residual and self.padding == "valid":
            raise ValueError('padding = "valid": must be "same" in a block with a residual')
        if self.depth > 1 and self.padding == "valid":
            raise ValueError(f'depth = {self.depth}: must be 1 with padding "valid"')


class InvertedStage(_Stage):
    """1×1 expansion, k×k depthwise or group convolution, 1×1 linear projection: MobileNetV2 and EfficientNet.

    `expansion_ratio` t multiplies the width of the block's input; t = 1 has no expansion layer.
    `se_ratio` is relative to the width of the block's input. `linear=False` adds an activation after the projection.
    `shortcut` connects the narrow tensors ("bottlenecks"), the wide ones ("expansions") or nothing ("none") where the
    shapes agree. Both are ablations of arXiv 1801.04381, Fig. 6.
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
                raise ValueError(f"expansion_ratio = {self.expansion_ratio:g}: must keep a channel of width {width}")
            check_group_width(self.group_width, round(inner), "inner width expansion_ratio · input width")
            check_se_ratio(self.se_ratio, width)


class SeparableStage(_Stage):
    """k×k depthwise and 1×1 convolution, each followed by BN and activation: MobileNetV1.

    `activate_depthwise=False` removes both after the depthwise convolution, as in Xception.
    """

    block: Literal["separable"] = "separable"
    activate_depthwise: bool = True


class XceptionStage(_Stage):
    """`convs` separable convolutions, each after an activation, with a residual; a 3×3 max-pool applies the stride.

    `grow` selects the convolution that changes the width (arXiv 1610.02357, Fig. 5).
    """

    block: Literal["xception"] = "xception"
    convs: Annotated[int, Field(ge=1, le=32, strict=True), accept_numpy] = 3
    grow: Literal["first", "last"] = "first"


def check_group_width(group_width: int | None, inner: int, meaning: str) -> None:
    """Raise ValueError unless the groups divide the inner width."""
    if group_width is not None and inner % group_width:
        raise ValueError(f"group_width = {group_width}: must divide the {meaning} = {inner}")


def check_se_ratio(se_ratio: float, width: int) -> None:
    """Raise ValueError unless squeeze-excitation keeps at least one channel."""
    if se_ratio and round(width * se_ratio) < 1:
        raise ValueError(f"se_ratio = {se_ratio:g}: must squeeze the input width {width} to at least one channel")


Stage = Annotated[
    BottleneckStage | BasicStage | VanillaStage | InvertedStage | SeparableStage | XceptionStage,
    Field(discriminator="block"),
]


STAGES: dict[str, Any] = {kind.model_fields["block"].default: kind for kind in get_args(get_args(Stage)[0])}


class ModelSpec(Validated):
    """A network for square images of `resolution` pixels; equal networks have equal `spec_id`.

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
        """Sixteen hex digits of the SHA-256 of all fields that differ from the defaults, except the name."""
        content = self.model_dump(mode="json", exclude={"name"}, exclude_defaults=True)
        for stage, dumped in zip(self.stages, content["stages"], strict=True):
            dumped["block"] = stage.block
        text = json.dumps(content, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @property
    def depth(self) -> int:
        """Number of blocks in all stages."""
        return sum(stage.depth for stage in self.stages)

    @property
    def block_widths(self) -> tuple[int, ...]:
        """w_j, the width of each block j = 0 … depth - 1."""
        return tuple(stage.width for stage in self.stages for _ in range(stage.depth))


def check_spec(value: object) -> ModelSpec:
    """Check that a value is a network; ValueError otherwise."""
    if not isinstance(value, ModelSpec):
        raise ValueError(f"spec = {shorten(value)}: must be a ModelSpec, as from load_spec, zoo.spec or population[0]")
    return value


def spec_schema() -> dict[str, Any]:
    """JSON Schema of spec files: the fields of ModelSpec, and a `provenance` mapping that `load_spec` ignores."""
    schema = ModelSpec.model_json_schema()
    provenance = {
        "type": "object",
        "title": "Provenance",
        "description": "Origin of the network; free-form, not part of its identity.",
    }
    head = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A convolutional network",
        "version": SCHEMA_VERSION,
    }
    return head | schema | {"title": head["title"], "properties": schema["properties"] | {"provenance": provenance}}


def schema_text() -> str:
    """The schema as indented JSON, as in docs/spec.schema.json."""
    return json.dumps(spec_schema(), indent=2, ensure_ascii=False) + "\n"
