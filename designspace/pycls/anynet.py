"""The ANYNET and REGNET sections of pycls (`models/anynet.py`, `models/regnet.py`)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, NamedTuple

import numpy as np
from pydantic import Field

from designspace.pycls.keys import Depth, Multiplier, Share, Width, one_of, per_stage
from designspace.spec import Stride
from designspace.validated import Validated
from designspace.widths import QuantizedLinear, fit_group_width

STEMS: dict[str, dict[str, Any]] = {
    "simple_stem_in": {"kernel_size": 3, "stride": 2, "max_pool": False},
    "res_stem_cifar": {"kernel_size": 3, "stride": 1, "max_pool": False},
    "res_stem_in": {"kernel_size": 7, "stride": 2, "max_pool": True},
}
BLOCKS: dict[str, dict[str, Any]] = {  # vanilla_block has two convolutions, unlike our vanilla block
    "res_bottleneck_block": {"block": "bottleneck"},
    "res_bottleneck_linear_block": {"block": "bottleneck", "downsample": "none", "linear": True},
    "res_basic_block": {"block": "basic", "residual": True},
    "vanilla_block": {"block": "basic", "residual": False},
}
"""Our block and the fields that define it by block type of pycls."""


class Shared(Validated):
    """Keys that anynet and regnet share."""

    STEM_TYPE: Annotated[str, one_of(STEMS)] = "simple_stem_in"
    STEM_W: Width = 32
    BLOCK_TYPE: Annotated[str, one_of(BLOCKS)] = "res_bottleneck_block"
    HEAD_W: Annotated[int, Field(ge=0, le=1_000_000, strict=True)] = 0
    SE_ON: Annotated[bool, Field(strict=True)] = False
    SE_R: Share = 0.25

    @property
    def stem(self) -> dict[str, Any]:
        """The spec's stem as a mapping."""
        return STEMS[self.STEM_TYPE] | {"width": self.STEM_W}

    @property
    def head(self) -> dict[str, Any]:
        """The spec's head as a mapping, without classes."""
        return {"width": self.HEAD_W or None}

    @property
    def se_ratio(self) -> float:
        """SE ratio of bottlenecks, 0 without SE."""
        return self.SE_R if self.SE_ON else 0.0


class RegNet(Shared):
    """The REGNET section."""

    STRIDE: Stride = 2
    DEPTH: Depth = 10
    W0: Width = 32
    WA: Annotated[float, Field(ge=0, strict=True)] = 5.0
    WM: Annotated[float, Field(gt=1, strict=True)] = 2.5
    GROUP_W: Width = 16
    BOT_MUL: Multiplier = 1.0


class AnyNet(Shared):
    """The ANYNET section; tuples have one value per stage."""

    DEPTHS: tuple[Depth, ...] = ()
    WIDTHS: tuple[Width, ...] = ()
    STRIDES: tuple[Stride, ...] = ()
    BOT_MULS: tuple[Multiplier, ...] = ()
    GROUP_WS: tuple[Width, ...] = ()


class _Stage(NamedTuple):
    """Numbers of a stage; basic and vanilla blocks ignore the last two."""

    depth: int
    width: int
    stride: int
    multiplier: float = 1.0
    group_width: int = 1


def from_anynet(section: AnyNet) -> dict[str, Any]:
    """The spec's mapping of an ANYNET section."""
    keys = ["DEPTHS", "WIDTHS", "STRIDES"]
    if BLOCKS[section.BLOCK_TYPE]["block"] == "bottleneck":
        keys += ["BOT_MULS", "GROUP_WS"]
    stages = [_Stage(*values) for values in per_stage("ANYNET", section.model_dump(), tuple(keys))]
    mapping = _mapping(section, stages, "ANYNET.BOT_MULS", "ANYNET.GROUP_WS")
    if all(
        stage["block"] == "bottleneck" and stage["group_width"] == round(stage["width"] / stage["bottleneck_ratio"])
        for stage in mapping["stages"]
    ):
        mapping["stages"] = [stage | {"group_width": None} for stage in mapping["stages"]]
    return mapping


def from_regnet(section: RegNet) -> dict[str, Any]:
    """The spec's mapping of a REGNET section."""
    if section.W0 % 8:
        raise ValueError(f"REGNET.W0 = {section.W0}: must be a multiple of 8")
    try:
        with np.errstate(over="raise", invalid="raise"):
            widths, depths = QuantizedLinear(section.DEPTH, section.W0, section.WA, section.WM).stages()
    except FloatingPointError:
        raise ValueError(
            f"REGNET.WA = {section.WA:g}: must be smaller, the widths of {section.DEPTH} blocks overflow"
        ) from None
    try:
        widths, groups = fit_group_width(widths, 1 / section.BOT_MUL, np.full(len(widths), section.GROUP_W))
    except ValueError:
        raise ValueError(f"REGNET.BOT_MUL = {section.BOT_MUL:g}: must be an integer or the inverse of one") from None
    stages = [
        _Stage(depth, width, section.STRIDE, section.BOT_MUL, group_width)
        for depth, width, group_width in zip(depths.tolist(), widths.tolist(), groups.tolist(), strict=True)
    ]
    return _mapping(section, stages, "REGNET.BOT_MUL", "REGNET.GROUP_W")


def _mapping(section: Shared, stages: Iterable[_Stage], multiplier_key: str, group_key: str) -> dict[str, Any]:
    """The spec's mapping of a section with some stages; errors name the given keys."""
    mappings: list[dict[str, Any]] = []
    for stage in stages:
        mapping = {"depth": stage.depth, "width": stage.width, "stride": stage.stride} | BLOCKS[section.BLOCK_TYPE]
        if mapping["block"] == "bottleneck":
            inner = round(stage.width * stage.multiplier)
            if inner < 1:
                raise ValueError(f"{multiplier_key} = {stage.multiplier:g}: must keep a channel of width {stage.width}")
            if inner % stage.group_width:
                raise ValueError(f"{group_key} = {stage.group_width}: must divide the inner width {inner}")
            mapping |= {"group_width": stage.group_width, "se_ratio": section.se_ratio}
            mapping["bottleneck_ratio"] = stage.width / inner
        mappings.append(mapping)
    return {"stem": section.stem, "stages": mappings, "head": section.head}
