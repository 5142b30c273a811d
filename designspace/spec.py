"""The description of a network: immutable, validated, and identified by a hash.

Every number has a limit far above any published network, so counts cannot overflow and no file takes unbounded time.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from functools import cache
from typing import Annotated, Any, Literal, Self

from pydantic import Field, GetCoreSchemaHandler, SerializeAsAny, TypeAdapter, model_validator
from pydantic_core import CoreSchema, core_schema

from designspace.blocks import (
    MAX_DEPTH,
    STAGES,
    Activation,
    BasicStage,
    BottleneckStage,
    ConvNeXtStage,
    Count,
    InvertedStage,
    Norm,
    SeparableStage,
    Stage,
    Stride,
    VanillaStage,
    XceptionStage,
    stage_class,
)
from designspace.validated import Name, Validated, accept_numpy, shorten

SCHEMA_VERSION = 1
"""Version of the spec format. It changes when a valid file becomes invalid or describes another network."""


class Stem(Validated):
    """The first convolution (k×k, stride s, norm, activation), optionally with ResNet's 3×3 max-pool of stride 2.

    `hidden` has the widths of further convolutions before the last, as in ResNet-D's deep stem (32, 32). All are k×k,
    and the first has the stride. A kernel of even size must have padding "valid", like the patches of ConvNeXt: kernel
    size 4, stride 4, without an activation.
    """

    width: Count = 32
    hidden: Annotated[tuple[Count, ...], Field(max_length=32)] = ()
    kernel_size: Annotated[int, Field(ge=1, le=999, strict=True), accept_numpy] = 3
    stride: Stride = 2
    max_pool: bool = False
    padding: Literal["same", "valid"] = "same"
    activate: bool = True

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.kernel_size % 2 == 0 and self.padding == "same":
            raise ValueError(f'kernel_size = {self.kernel_size}: must be odd unless padding is "valid"')
        return self


class Head(Validated):
    """The classifier: optional 1×1 convolution, average pooling, optional norm, hidden linear layers, linear layer.

    `pool_size` is the side length after pooling (VGG 7, all others 1). `norm` normalizes the pooled channels, as in
    ConvNeXt.
    """

    classes: Count = 1000
    width: Count | None = None
    pool_size: Annotated[int, Field(ge=1, le=1000, strict=True), accept_numpy] = 1
    hidden: Annotated[tuple[Count, ...], Field(max_length=32)] = ()
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    norm: bool = False


BuiltIn = BottleneckStage | BasicStage | VanillaStage | InvertedStage | SeparableStage | XceptionStage | ConvNeXtStage


class _ByBlock:
    """Validates a stage as the class of its block. The JSON schema has the built-in blocks only."""

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        built_in = handler.generate_schema(Annotated[BuiltIn, Field(discriminator="block")])
        return core_schema.no_info_wrap_validator_function(cls.validate, built_in)

    @staticmethod
    def validate(value: Any, built_in: Callable[[Any], Stage]) -> Stage:
        block = value.get("block") if isinstance(value, Mapping) else getattr(value, "block", None)
        if block is None:
            return built_in(value)
        kind = stage_class(block)
        return built_in(value) if block in STAGES else _with_built_in(kind).validate_python(value)


@cache
def _with_built_in(kind: type[Stage]) -> TypeAdapter[Any]:
    """Validates stages of a class. A tagged union, like that of the built-in blocks, so errors have equal locations."""
    union: Any = Annotated[BuiltIn | kind, Field(discriminator="block")]
    return TypeAdapter(union)


class ModelSpec(Validated):
    """A network for square images of `resolution` pixels; equal networks have equal `spec_id`.

    `batch_norm=False` gives every convolution a bias instead of a norm (VGG), `conv_bias=True` a bias in addition to
    batch norm (VGG with batch norm). `norm="layer"` replaces batch norm by layer norm. The name is a label, not part of
    the identity.
    """

    name: Name | None = None
    resolution: Count = 224
    in_channels: Count = 3
    activation: Activation = "relu"
    batch_norm: bool = True
    conv_bias: bool = False
    stem: Stem | None = Stem()
    stages: Annotated[tuple[Annotated[Stage, _ByBlock, SerializeAsAny()], ...], Field(max_length=1000)]
    head: Head = Head()
    norm: Norm = "batch"

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not self.stages:
            raise ValueError("stages = []: must have at least one stage")
        if self.norm == "layer" and not self.batch_norm:
            raise ValueError("norm = layer: must be batch if batch_norm is false")
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
