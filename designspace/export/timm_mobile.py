"""Specs with inverted and separable blocks as timm networks: EfficientNet, or MobileNetV3 with a hidden layer."""

from __future__ import annotations

from math import isclose

from designspace.export.target import Support, key_map, python_file
from designspace.spec import InvertedStage, ModelSpec, SeparableStage, Stem
from designspace.widths import round_channels

ACTIVATION_CODES = {"relu": "re", "relu6": "r6", "hard_swish": "hs", "silu": "sw"}
SUPPORT = Support(
    "timm",
    ("inverted", "separable"),
    ("relu", "relu6", "silu", "gelu", "hard_swish"),
    kernel_sizes=(),
    strides=(1, 2),
    head_width=True,
    dropout=True,
    stage_activations=tuple(ACTIVATION_CODES),
    hidden=1,
)
IMPORTS = """from functools import partial

from timm.layers import get_act_layer
from timm.models._efficientnet_blocks import SqueezeExcite
from timm.models._efficientnet_builder import decode_arch_def, round_channels
from timm.models.{module} import {network}"""

BODY = '''STAGES = [
{stages}
]


def build():
    """The network: images (N, {in_channels}, {resolution}, {resolution}) to logits (N, {classes})."""
    network = {network}(
        decode_arch_def(STAGES),
        num_classes={classes},
        num_features={features},
        in_chans={in_channels},
        stem_size={width},
        fix_stem=True,
        round_chs_fn=int,
        act_layer=get_act_layer("{activation}"),
        se_layer={squeeze},
        drop_rate={dropout},
        {options},
    )
{patch}    return network'''

PATCH = """\
    network.conv_stem.stride = (1, 1)  # timm's stem has stride 2; weights do not depend on it
    for info in network.feature_info:
        info["reduction"] //= 2
"""

BLOCK = "blocks.{stage}.{block}."
SQUEEZE_EXCITE = {"se.squeeze": f"{BLOCK}se.conv_reduce", "se.excite": f"{BLOCK}se.conv_expand"}
WITHOUT_EXPANSION = {  # an inverted block with expansion ratio 1
    "conv2": f"{BLOCK}conv_dw",
    "bn2": f"{BLOCK}bn1",
    "conv3": f"{BLOCK}conv_pw",
    "bn3": f"{BLOCK}bn2",
    **SQUEEZE_EXCITE,
}
FUSED = {
    "conv1": f"{BLOCK}conv_exp",
    "bn1": f"{BLOCK}bn1",
    "conv3": f"{BLOCK}conv_pwl",
    "bn3": f"{BLOCK}bn2",
    **SQUEEZE_EXCITE,
}
FUSED_WITHOUT_EXPANSION = {"conv3": f"{BLOCK}conv", "bn3": f"{BLOCK}bn1"}
NAMES = {
    "stem": {"conv1": "conv_stem", "bn1": "bn1"},
    "head": {"conv1": "conv_head", "bn1": "bn2", "linear1": "classifier"},
    "separable": {
        "conv1": f"{BLOCK}conv_dw",
        "bn1": f"{BLOCK}bn1",
        "conv2": f"{BLOCK}conv_pw",
        "bn2": f"{BLOCK}bn2",
    },
    "inverted": {
        "conv1": f"{BLOCK}conv_pw",
        "bn1": f"{BLOCK}bn1",
        "conv2": f"{BLOCK}conv_dw",
        "bn2": f"{BLOCK}bn2",
        "conv3": f"{BLOCK}conv_pwl",
        "bn3": f"{BLOCK}bn3",
        **SQUEEZE_EXCITE,
    },
}


def mobile_source(spec: ModelSpec, version: str) -> str:
    """As `timm_source`, for inverted and separable blocks."""
    SUPPORT.check(spec)
    stem, head = spec.stem, spec.head
    assert stem is not None
    total = 2 * 2 ** sum(stage.stride == 2 for stage in spec.stages)
    _check_stem(stem, total, hidden=bool(head.hidden))
    stages, names, w_in = [], dict(NAMES), stem.width
    for number, stage in enumerate(spec.stages):
        if isinstance(stage, InvertedStage):
            _check(stage, number, w_in)
            names[f"stage{number}"] = _names(stage)
            stages.append(_inverted(stage))
        elif isinstance(stage, SeparableStage):
            if not stage.activate_depthwise:
                SUPPORT.refuse(f"stages.{number}.activate_depthwise", False, "be True")
            stages.append(f"dsa_r{stage.depth}_k{stage.kernel_size}_s{stage.stride}_c{stage.width}{_activation(stage)}")
        w_in = stage.width
    if head.hidden:
        module, network, options = "mobilenetv3", "MobileNetV3", "se_from_exp=False"
        names["head"] = {"linear1": "conv_head", "linear2": "classifier"}
        if head.width is not None:
            last = f"blocks.{len(stages)}.0."
            names["head"] |= {"conv1": f"{last}conv", "bn1": f"{last}bn1"}
            stages.append(f"cn_r1_k1_s1_c{head.width}")
    else:
        module, network = "efficientnet", "EfficientNet"
        options = f"stem_kernel_size={stem.kernel_size},\n        output_stride={max(32, total)}"  # timm dilates below
    body = BODY.format(
        stages="\n".join(f'    ["{stage}"],' for stage in stages),
        network=network,
        in_channels=spec.in_channels,
        resolution=spec.resolution,
        classes=head.classes,
        features=head.hidden[0] if head.hidden else head.width or 0,
        width=stem.width,
        activation=spec.activation,
        squeeze=_squeeze(spec),
        dropout=head.dropout,
        options=options,
        patch=PATCH if stem.stride == 1 else "",
    )
    imports = IMPORTS.format(module=module, network=network)
    return python_file(spec.name or spec.spec_id, f"timm {version}", imports, body, key_map(spec, names))


def _check_stem(stem: Stem, total_stride: int, *, hidden: bool) -> None:
    if stem.max_pool or stem.stride not in (1, 2):
        SUPPORT.refuse("stem", stem, "have stride 1 or 2 and no max-pool")
    if hidden and stem.kernel_size != 3:
        SUPPORT.refuse("stem.kernel_size", stem.kernel_size, "be 3 with a hidden layer")
    if hidden and total_stride > 32:
        SUPPORT.refuse("stages.*.stride", total_stride, "have a product of at most 32 with the stem and a hidden layer")


def _squeeze(spec: ModelSpec) -> str:
    """timm's SE layer, which all stages share."""
    fields = ("se_base", "se_gate", "se_activation")
    stages = [stage for stage in spec.stages if isinstance(stage, InvertedStage) and stage.se_ratio]
    for field in fields:
        values = {getattr(stage, field) for stage in stages}
        if len(values) > 1:
            SUPPORT.refuse(f"stages.*.{field}", sorted(map(str, values)), "be the same for all stages with SE")
    if not stages:
        return "SqueezeExcite"
    base, gate, activation = (getattr(stages[0], field) for field in fields)
    arguments = [
        *([f'gate_layer="{gate}"'] if gate != "sigmoid" else []),
        *([f'force_act_layer="{activation}"'] if activation else []),
        *(["rd_round_fn=round_channels"] if base == "expansion" else []),
    ]
    return f"partial(SqueezeExcite, {', '.join(arguments)})" if arguments else "SqueezeExcite"


def _names(stage: InvertedStage) -> dict[str, str]:
    if stage.fused:
        return FUSED_WITHOUT_EXPANSION if stage.expansion_ratio == 1 else FUSED
    return WITHOUT_EXPANSION if stage.expansion_ratio == 1 else NAMES["inverted"]


def _inverted(stage: InvertedStage) -> str:
    """A stage in timm's notation.

    `ds` is a block without expansion, `er` fused, `cn` fused without expansion. `e` is our expansion ratio; `gs` 0 is
    one group.
    """
    expansion = stage.expansion_ratio
    kind = ("cn" if stage.fused else "ds") if expansion == 1 else ("er" if stage.fused else "ir")
    parts = [kind, f"r{stage.depth}", f"k{stage.kernel_size}", f"s{stage.stride}", f"c{stage.width}"]
    parts += [f"e{expansion}"] if expansion != 1 else []
    parts += [f"se{_se_ratio(stage)}"] if stage.se_ratio else []
    parts += [f"gs{stage.group_width or 0}"] if stage.group_width != 1 and not stage.fused else []
    if kind == "cn":
        parts += ["skip"] if stage.shortcut == "bottlenecks" else []
    else:
        parts += ["noskip"] if stage.shortcut == "none" else []
    return "_".join(parts) + _activation(stage)


def _activation(stage: InvertedStage | SeparableStage) -> str:
    return f"_n{ACTIVATION_CODES[stage.activation]}" if stage.activation else ""


def _check(stage: InvertedStage, number: int, w_in: int) -> None:
    if not stage.linear:
        SUPPORT.refuse(f"stages.{number}.linear", False, "be True")
    if stage.shortcut == "expansions":
        SUPPORT.refuse(f"stages.{number}.shortcut", stage.shortcut, "be bottlenecks or none")
    ratio = stage.expansion_ratio
    if stage.fused and ratio == 1 and stage.se_ratio:
        SUPPORT.refuse(f"stages.{number}.se_ratio", stage.se_ratio, "be 0 in a fused block without expansion")
    for width in (w_in, stage.width)[: stage.depth]:
        inner = round(width * ratio)
        if ratio != 1 and (inner % 8 or not isclose(inner, width * ratio)):
            SUPPORT.refuse(
                f"stages.{number}.expansion_ratio",
                ratio,
                f"expand width {width} to a multiple of 8, not to {width * ratio:g}",
            )
        squeezed = inner * (_se_ratio(stage) / ratio)  # before rounding, as timm computes it
        by_timm = round_channels(squeezed) if stage.se_base == "expansion" else round(squeezed)
        if stage.se_ratio and by_timm != stage.squeezed_width(width):
            SUPPORT.refuse(
                f"stages.{number}.se_ratio", stage.se_ratio, f"squeeze width {width} to the same width in timm"
            )


def _se_ratio(stage: InvertedStage) -> float:
    """The SE ratio in timm's notation, which is relative to the input."""
    return stage.se_ratio * (stage.expansion_ratio if stage.se_base == "expansion" else 1)
