"""Specs as configurations of pycls (facebookresearch/pycls): anynet, regnet and effnet."""

from __future__ import annotations

from typing import Any

from designspace.export.refusal import Support
from designspace.pycls.anynet import BLOCKS, STEMS
from designspace.pycls.config import from_pycls
from designspace.pycls.keys import ACTIVATIONS
from designspace.quantized_linear import QuantizedLinear
from designspace.spec import BottleneckStage, InvertedStage, ModelSpec

ANYNET = Support("pycls", ("bottleneck", "basic"), ACTIVATIONS, head_width=True)
EFFNET = Support("pycls effnet", ("inverted",), ACTIVATIONS, kernel_sizes=(), head_width=True, dropout=True)


def to_pycls(spec: ModelSpec, rule: QuantizedLinear | None = None) -> dict[str, Any]:
    """The pycls configuration of a network: the model's section, classes and image size; no training settings.

    Args:
        spec: the network; inverted blocks with SE become effnet, all others anynet.
        rule: write regnet, with the width rule the network was made by, instead of anynet.

    Raises:
        NotExpressible: pycls cannot express the network.
        ValueError: the rule gives another network.
    """
    if spec.in_channels != 3:
        ANYNET.refuse("in_channels", spec.in_channels, "its stems read three channels")
    if spec.stages[0].block == "inverted":
        EFFNET.check(spec)
        return _config(spec, "effnet", "EN", _effnet(spec))
    ANYNET.check(spec)
    anynet = _anynet(spec)
    if rule is None:
        return _config(spec, "anynet", "ANYNET", anynet)
    config = _config(spec, "regnet", "REGNET", _regnet(anynet, rule))
    if _anynet(from_pycls(config)) != anynet:
        raise ValueError(f"rule = {rule}: it does not give the widths and depths of the spec")
    return config


def _config(spec: ModelSpec, model_type: str, name: str, section: dict[str, Any]) -> dict[str, Any]:
    """The configuration, with pycls's usual border in testing: 224 pixels out of 256."""
    model: dict[str, Any] = {"TYPE": model_type, "NUM_CLASSES": spec.head.classes}
    if spec.activation != "relu":
        model["ACTIVATION_FUN"] = spec.activation
    sizes = {"TRAIN": {"IM_SIZE": spec.resolution}, "TEST": {"IM_SIZE": round(spec.resolution / 0.875)}}
    return {"MODEL": model, name: section} | sizes


def _anynet(spec: ModelSpec) -> dict[str, Any]:
    """The ANYNET section of a network."""
    assert spec.stem is not None
    stem = {key: value for key, value in spec.stem if key in STEMS["simple_stem_in"]}
    stem_type = next((name for name, mapping in STEMS.items() if mapping == stem), None)
    if stem_type is None:
        reason = f"kernel size, stride and max-pool of a stem are one of {[tuple(s.values()) for s in STEMS.values()]}"
        ANYNET.refuse("stem", tuple(stem.values()), reason)
    first = spec.stages[0]
    for field in ("block", "residual", "se_ratio"):
        values = {getattr(stage, field, None) for stage in spec.stages}
        if len(values) > 1:
            ANYNET.refuse(f"stages.*.{field}", sorted(map(str, values)), "it is the same for all stages")
    block = (first.block, bool(getattr(first, "residual", True)))
    block_type = next((name for name, ours in BLOCKS.items() if ours == block), None)
    if block_type is None:
        ANYNET.refuse("stages.0.residual", block[1], "its bottleneck blocks always have one")
    section: dict[str, Any] = {
        "STEM_TYPE": stem_type,
        "STEM_W": spec.stem.width,
        "BLOCK_TYPE": block_type,
        "STRIDES": [stage.stride for stage in spec.stages],
        "DEPTHS": [stage.depth for stage in spec.stages],
        "WIDTHS": [stage.width for stage in spec.stages],
    }
    bottlenecks = [stage for stage in spec.stages if isinstance(stage, BottleneckStage)]
    if bottlenecks:
        inner = [round(stage.width / stage.bottleneck_ratio) for stage in bottlenecks]
        section["BOT_MULS"] = [1 / stage.bottleneck_ratio for stage in bottlenecks]
        section["GROUP_WS"] = [stage.group_width or w for stage, w in zip(bottlenecks, inner, strict=True)]
        if bottlenecks[0].se_ratio:
            section |= {"SE_ON": True, "SE_R": bottlenecks[0].se_ratio}
    if spec.head.width:
        section["HEAD_W"] = spec.head.width
    return section


def _regnet(anynet: dict[str, Any], rule: QuantizedLinear) -> dict[str, Any]:
    """The REGNET section whose network should be that of an ANYNET section."""
    for key in ("STRIDES", "BOT_MULS"):
        if len(set(anynet.get(key, ()))) != 1:
            raise ValueError(f"rule = {rule}: a regnet has one value of {key} for all stages, not {anynet.get(key)}")
    return {
        **{key: anynet[key] for key in ("STEM_TYPE", "STEM_W", "BLOCK_TYPE")},
        "STRIDE": anynet["STRIDES"][0],
        "DEPTH": rule.depth,
        "W0": rule.w_0,
        "WA": rule.w_a,
        "WM": rule.w_m,
        "GROUP_W": max(anynet["GROUP_WS"]),
        "BOT_MUL": anynet["BOT_MULS"][0],
        **{key: anynet[key] for key in ("SE_ON", "SE_R", "HEAD_W") if key in anynet},
    }


def _effnet(spec: ModelSpec) -> dict[str, Any]:
    """The EN section of a network; NotExpressible where pycls's MBConv is another block."""
    stem = spec.stem
    assert stem is not None
    if (stem.kernel_size, stem.stride, stem.max_pool) != (3, 2, False):
        EFFNET.refuse("stem", stem, "its stem is 3×3 with stride 2")
    if spec.head.width is None:
        EFFNET.refuse("head.width", None, "its head has a 1×1 convolution")
    width = stem.width
    stages = [stage for stage in spec.stages if isinstance(stage, InvertedStage)]
    for number, stage in enumerate(stages):
        if (stage.group_width, stage.linear, stage.shortcut) != (1, True, "bottlenecks"):
            EFFNET.refuse(
                f"stages.{number}", stage, "its blocks are depthwise with a linear projection and its shortcut"
            )
        if stage.se_ratio == 0 or stage.se_ratio != stages[0].se_ratio:
            EFFNET.refuse(f"stages.{number}.se_ratio", stage.se_ratio, "all its blocks have SE of one ratio")
        for w_in in stage.input_widths(width):
            for field, ratio in (("expansion_ratio", stage.expansion_ratio), ("se_ratio", stage.se_ratio)):
                if int(w_in * ratio) != round(w_in * ratio):
                    EFFNET.refuse(f"stages.{number}.{field}", ratio, f"it rounds {w_in}·{ratio:g} down, not to nearest")
        width = stage.width
    return {
        "STEM_W": stem.width,
        "STRIDES": [stage.stride for stage in stages],
        "DEPTHS": [stage.depth for stage in stages],
        "WIDTHS": [stage.width for stage in stages],
        "EXP_RATIOS": [stage.expansion_ratio for stage in stages],
        "KERNELS": [stage.kernel_size for stage in stages],
        "SE_R": stages[0].se_ratio,
        "HEAD_W": spec.head.width,
        **({"DROPOUT_RATIO": spec.head.dropout} if spec.head.dropout else {}),
    }
