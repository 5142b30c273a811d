"""The ANYNET and REGNET sections of pycls."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
from pydantic import Field

from designspace.export.pycls_keys import ACTIVATIONS, Depth, Multiplier, Share, Width, one_of, per_stage
from designspace.export.refusal import Support
from designspace.group_width import fit_group_width
from designspace.quantized_linear import QuantizedLinear
from designspace.spec import BottleneckStage, ModelSpec, Stride
from designspace.validated import Validated

STEMS = {  # pycls `anynet.py`: name: kernel size, stride, max-pool
    "simple_stem_in": (3, 2, False),
    "res_stem_cifar": (3, 1, False),
    "res_stem_in": (7, 2, True),
}
BLOCKS = {  # (our block, residual) in pycls's words; its vanilla block has two convolutions, so ours of one has none
    ("bottleneck", True): "res_bottleneck_block",
    ("basic", True): "res_basic_block",
    ("basic", False): "vanilla_block",
}
SUPPORT = Support("pycls", ("bottleneck", "basic"), ACTIVATIONS, head_width=True)


class _Shared(Validated):
    """Keys that anynet and regnet share."""

    STEM_TYPE: Annotated[str, one_of(STEMS)] = "simple_stem_in"
    STEM_W: Width = 32
    BLOCK_TYPE: Annotated[str, one_of(BLOCKS.values())] = "res_bottleneck_block"
    HEAD_W: Annotated[int, Field(ge=0, le=1_000_000, strict=True)] = 0
    SE_ON: Annotated[bool, Field(strict=True)] = False
    SE_R: Share = 0.25


class RegNet(_Shared):
    """The REGNET section."""

    STRIDE: Stride = 2
    DEPTH: Depth = 10
    W0: Width = 32
    WA: Annotated[float, Field(ge=0, strict=True)] = 5.0
    WM: Annotated[float, Field(gt=1, strict=True)] = 2.5
    GROUP_W: Width = 16
    BOT_MUL: Multiplier = 1.0


class AnyNet(_Shared):
    """The ANYNET section; tuples have one value per stage."""

    DEPTHS: tuple[Depth, ...] = ()
    WIDTHS: tuple[Width, ...] = ()
    STRIDES: tuple[Stride, ...] = ()
    BOT_MULS: tuple[Multiplier, ...] = ()
    GROUP_WS: tuple[Width, ...] = ()


def unroll(regnet: RegNet) -> AnyNet:
    """The AnyNet section that a RegNet section stands for (pycls `regnet.py`)."""
    if regnet.W0 % 8:
        raise ValueError(f"REGNET.W0 = {regnet.W0}: must be a multiple of 8")
    try:
        with np.errstate(over="raise", invalid="raise"):
            widths, depths = QuantizedLinear(regnet.DEPTH, regnet.W0, regnet.WA, regnet.WM).stages()
    except FloatingPointError:
        raise ValueError(
            f"REGNET.WA = {regnet.WA:g}: too large, the widths of {regnet.DEPTH} blocks overflow"
        ) from None
    groups = np.full(len(widths), regnet.GROUP_W)
    try:
        widths, groups = fit_group_width(widths, 1 / regnet.BOT_MUL, groups)
    except ValueError:
        raise ValueError(f"REGNET.BOT_MUL = {regnet.BOT_MUL:g}: it or its inverse must be a whole number") from None
    return AnyNet.from_mapping(
        {key: getattr(regnet, key) for key in _Shared.model_fields}
        | {"DEPTHS": depths.tolist(), "WIDTHS": widths.tolist(), "GROUP_WS": groups.tolist()}
        | {"STRIDES": [regnet.STRIDE] * len(widths), "BOT_MULS": [regnet.BOT_MUL] * len(widths)}
    )


def from_anynet(anynet: AnyNet, one_group: bool = True) -> dict[str, Any]:
    """The spec's mapping of an AnyNet section; `one_group` recognizes group widths that make a single group."""
    names = {name: key for key, name in BLOCKS.items()}
    block, residual = names[anynet.BLOCK_TYPE]
    bottleneck = block == "bottleneck"
    keys = ("DEPTHS", "WIDTHS", "STRIDES", *(("BOT_MULS", "GROUP_WS") if bottleneck else ()))
    stages = []
    for depth, width, stride, *rest in per_stage("ANYNET", anynet.model_dump(), keys):
        stage = {"block": block, "depth": depth, "width": width, "stride": stride, "residual": residual}
        if rest:
            multiplier, group_width = rest
            inner = round(width * multiplier)
            if inner < 1:
                raise ValueError(
                    f"ANYNET.BOT_MULS = {list(anynet.BOT_MULS)}: {multiplier:g} leaves no channel of width {width}"
                )
            stage |= {"bottleneck_ratio": width / inner, "group_width": group_width}
            stage |= {"se_ratio": anynet.SE_R if anynet.SE_ON else 0.0}
        stages.append(stage)
    if bottleneck and one_group and all(s["group_width"] == round(s["width"] / s["bottleneck_ratio"]) for s in stages):
        stages = [stage | {"group_width": None} for stage in stages]
    kernel_size, stride, max_pool = STEMS[anynet.STEM_TYPE]
    stem = {"width": anynet.STEM_W, "kernel_size": kernel_size, "stride": stride, "max_pool": max_pool}
    return {"stem": stem, "stages": stages, "head": {"width": anynet.HEAD_W or None}}


def to_anynet(spec: ModelSpec) -> dict[str, Any]:
    """The AnyNet section of a network."""
    assert spec.stem is not None
    stem = (spec.stem.kernel_size, spec.stem.stride, spec.stem.max_pool)
    stem_type = next((name for name, known in STEMS.items() if known == stem), None)
    if stem_type is None:
        reason = f"kernel size, stride and max-pool of a stem are one of {STEMS}"
        SUPPORT.refuse("stem", stem, reason)
    first = spec.stages[0]
    for field in ("block", "residual", "se_ratio"):
        values = {getattr(stage, field, None) for stage in spec.stages}
        if len(values) > 1:
            SUPPORT.refuse(f"stages.*.{field}", sorted(map(str, values)), "it is the same for all stages")
    key = (first.block, bool(getattr(first, "residual", True)))
    if key not in BLOCKS:
        SUPPORT.refuse("stages.0.residual", key[1], "its bottleneck blocks always have one")
    anynet: dict[str, Any] = {
        "STEM_TYPE": stem_type,
        "STEM_W": spec.stem.width,
        "BLOCK_TYPE": BLOCKS[key],
        "STRIDES": [stage.stride for stage in spec.stages],
        "DEPTHS": [stage.depth for stage in spec.stages],
        "WIDTHS": [stage.width for stage in spec.stages],
    }
    bottlenecks = [stage for stage in spec.stages if isinstance(stage, BottleneckStage)]
    if bottlenecks:
        inner = [round(stage.width / stage.bottleneck_ratio) for stage in bottlenecks]
        anynet["BOT_MULS"] = [1 / stage.bottleneck_ratio for stage in bottlenecks]
        anynet["GROUP_WS"] = [stage.group_width or w for stage, w in zip(bottlenecks, inner, strict=True)]
        if bottlenecks[0].se_ratio:
            anynet |= {"SE_ON": True, "SE_R": bottlenecks[0].se_ratio}
    if spec.head.width:
        anynet["HEAD_W"] = spec.head.width
    return anynet


def to_regnet(anynet: dict[str, Any], rule: QuantizedLinear) -> dict[str, Any]:
    """The RegNet section whose unrolling should be an AnyNet section."""
    for key in ("STRIDES", "BOT_MULS"):
        if len(set(anynet.get(key, ()))) != 1:
            raise ValueError(f"rule = {rule}: a regnet has one value of {key} for all stages, not {anynet.get(key)}")
    kept: dict[str, Any] = {key: anynet[key] for key in ("STEM_TYPE", "STEM_W", "BLOCK_TYPE")}
    rest = {key: anynet[key] for key in ("SE_ON", "SE_R", "HEAD_W") if key in anynet}
    parameters: dict[str, Any] = {
        "STRIDE": anynet["STRIDES"][0],
        "DEPTH": rule.depth,
        "W0": rule.w_0,
        "WA": rule.w_a,
        "WM": rule.w_m,
        "GROUP_W": max(anynet["GROUP_WS"]),
        "BOT_MUL": anynet["BOT_MULS"][0],
    }
    return kept | parameters | rest
