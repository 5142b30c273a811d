"""The RESNET section of archived pycls configurations (pycls `models/resnet.py`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import ConfigDict, Field

from designspace.pycls.anynet import STEMS
from designspace.pycls.keys import Width, one_of, read_section
from designspace.validated import Validated

DEPTHS = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}
"""Blocks per stage of ResNets for ImageNet by number of layers."""


class ResNet(Validated):
    """The RESNET section."""

    TRANS_FUN: Annotated[str, one_of(("basic_transform", "bottleneck_transform"))] = "basic_transform"
    NUM_GROUPS: Width = 1
    WIDTH_PER_GROUP: Width = 64
    STRIDE_1X1: Annotated[bool, Field(strict=True)] = True


class _Model(Validated):
    model_config = ConfigDict(extra="ignore")

    DEPTH: Annotated[int, Field(ge=8, le=100_000, strict=True)]


class _Train(Validated):
    model_config = ConfigDict(extra="ignore")

    DATASET: Annotated[str, one_of(("cifar10", "imagenet"))]


def from_resnet(config: Mapping[str, Any]) -> dict[str, Any]:
    """The spec's mapping of a resnet; stem and stages depend on the data set."""
    section = read_section(config, "RESNET", ResNet)
    depth = read_section(config, "MODEL", _Model).DEPTH
    cifar = read_section(config, "TRAIN", _Train).DATASET == "cifar10"
    if (section.TRANS_FUN == "basic_transform") != cifar:
        allowed = "basic_transform with TRAIN.DATASET cifar10, bottleneck_transform with imagenet"
        raise ValueError(f"RESNET.TRANS_FUN = {section.TRANS_FUN!r}: must be {allowed}")
    return _cifar(depth) if cifar else _imagenet(section, depth)


def _cifar(depth: int) -> dict[str, Any]:
    if depth % 6 != 2:
        raise ValueError(f"MODEL.DEPTH = {depth}: must be 6n + 2 with TRAIN.DATASET cifar10")
    stages = [
        {"block": "basic", "depth": depth // 6, "width": width, "stride": 1 if width == 16 else 2}
        for width in (16, 32, 64)
    ]
    return {"stem": STEMS["res_stem_cifar"] | {"width": 16}, "stages": stages}


def _imagenet(section: ResNet, depth: int) -> dict[str, Any]:
    if depth not in DEPTHS:
        allowed = ", ".join(map(str, DEPTHS))
        raise ValueError(f"MODEL.DEPTH = {depth}: must be one of {allowed} with TRAIN.DATASET imagenet")
    if section.STRIDE_1X1:
        raise ValueError(
            "RESNET.STRIDE_1X1 = True (default of pycls): must be False, because the stride of a bottleneck is in its "
            "3×3 convolution"
        )
    inner = section.NUM_GROUPS * section.WIDTH_PER_GROUP
    stages = [
        {
            "block": "bottleneck",
            "depth": blocks,
            "width": 256 * 2**i,
            "stride": 1 if i == 0 else 2,
            "bottleneck_ratio": 256 / inner,
            "group_width": section.WIDTH_PER_GROUP * 2**i if section.NUM_GROUPS > 1 else None,
        }
        for i, blocks in enumerate(DEPTHS[depth])
    ]
    return {"stem": STEMS["res_stem_in"] | {"width": 64}, "stages": stages}
