"""Specs as pycls configurations (facebookresearch/pycls): anynet, regnet and effnet."""

from __future__ import annotations

from typing import Any

from designspace.export.target import Support
from designspace.pycls import from_pycls
from designspace.pycls.anynet import BLOCKS, STEMS
from designspace.pycls.keys import ACTIVATIONS
from designspace.spec import BasicStage, BottleneckStage, InvertedStage, ModelSpec, Stage
from designspace.widths import QuantizedLinear

ANYNET = Support(
    "pycls", ("bottleneck", "basic"), ACTIVATIONS, head_width=True, downsamples=("conv", "none"), linear=True
)
EFFNET = Support("pycls effnet", ("inverted",), ACTIVATIONS, kernel_sizes=(), head_width=True, dropout=True)


def to_pycls(spec: ModelSpec, rule: QuantizedLinear | None = None) -> dict[str, Any]:
    """The pycls configuration of a network: model section, classes and image size, without training settings.

    Args:
        spec: the network; inverted blocks with SE become effnet, all others anynet.
        rule: the network's width rule, to write regnet instead of anynet.

    Raises:
        NotExpressible: pycls cannot express the network.
        ValueError: the rule generates another network.
    """
    if spec.in_channels != 3:
        ANYNET.refuse("in_channels", spec.in_channels, "be 3")
    if spec.stages[0].block == "inverted":
        EFFNET.check(spec)
        return _config(spec, "effnet", "EN", _effnet(spec))
    ANYNET.check(spec)
    anynet = _anynet(spec)
    if rule is None:
        return _config(spec, "anynet", "ANYNET", anynet)
    config = _config(spec, "regnet", "REGNET", _regnet(anynet, rule))
    if _anynet(from_pycls(config)) != anynet:
        raise ValueError(f"rule = {rule}: must generate the widths and depths of the spec")
    return config


def _config(spec: ModelSpec, model_type: str, name: str, section: dict[str, Any]) -> dict[str, Any]:
    """The configuration, with test images larger than the crop as usual in pycls (256 for 224 pixels)."""
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
        allowed = ", ".join(str(tuple(values.values())) for values in STEMS.values())
        ANYNET.refuse("stem (kernel size, stride, max-pool)", tuple(stem.values()), f"be one of {allowed}")
    first = spec.stages[0]
    for field in ("block", "residual", "se_ratio", "downsample", "linear"):
        values = {getattr(stage, field, None) for stage in spec.stages}
        if len(values) > 1:
            ANYNET.refuse(f"stages.*.{field}", sorted(map(str, values)), "be the same for all stages")
    block_type = _block_type(first)
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


def _block_type(stage: Stage) -> str:
    """The block type of pycls; NotExpressible if there is none."""
    if isinstance(stage, BasicStage) and stage.se_ratio:
        ANYNET.refuse("stages.0.se_ratio", stage.se_ratio, "be 0 in basic blocks")
    usual = {"residual": True, "downsample": "conv", "linear": False}
    given = {field: getattr(stage, field, value) for field, value in {"block": stage.block, **usual}.items()}
    block_type = next((name for name, ours in BLOCKS.items() if usual | ours == given), None)
    if block_type is None and stage.block == "bottleneck" and not given["residual"]:
        ANYNET.refuse("stages.0.residual", False, "be True")
    if block_type is None:
        requirement = "be none in bottlenecks with a linear output, otherwise conv"
        ANYNET.refuse("stages.0.downsample", given["downsample"], requirement)
    return block_type


def _regnet(anynet: dict[str, Any], rule: QuantizedLinear) -> dict[str, Any]:
    """The REGNET section for the network of an ANYNET section."""
    for key in ("STRIDES", "BOT_MULS"):
        if len(set(anynet.get(key, ()))) != 1:
            raise ValueError(f"{key} = {anynet.get(key)}: must be the same for all stages of a regnet")
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
    """The EN section of a network; NotExpressible where pycls's MBConv differs."""
    stem = spec.stem
    assert stem is not None
    if (stem.kernel_size, stem.stride, stem.max_pool) != (3, 2, False):
        EFFNET.refuse("stem", stem, "be 3×3 with stride 2 and no max-pool")
    if spec.head.width is None:
        EFFNET.refuse("head.width", None, "be a number of channels")
    width = stem.width
    stages = [stage for stage in spec.stages if isinstance(stage, InvertedStage)]
    for number, stage in enumerate(stages):
        if (stage.group_width, stage.fused, stage.linear, stage.shortcut) != (1, False, True, "bottlenecks"):
            EFFNET.refuse(
                f"stages.{number}", stage, "be depthwise with a linear projection and shortcut between bottlenecks"
            )
        for field, value in (("se_base", "input"), ("se_gate", "sigmoid"), ("se_activation", None)):
            if getattr(stage, field) != value:
                EFFNET.refuse(f"stages.{number}.{field}", getattr(stage, field), f"be {value}")
        if stage.se_ratio == 0 or stage.se_ratio != stages[0].se_ratio:
            EFFNET.refuse(f"stages.{number}.se_ratio", stage.se_ratio, "be positive and the same for all stages")
        for w_in in stage.input_widths(width):
            for field, ratio in (("expansion_ratio", stage.expansion_ratio), ("se_ratio", stage.se_ratio)):
                if int(w_in * ratio) != round(w_in * ratio):
                    EFFNET.refuse(
                        f"stages.{number}.{field}",
                        ratio,
                        f"give a width that rounds down, not {w_in * ratio:g}",
                    )
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
