"""Specs with inverted and separable blocks as timm EfficientNets."""

from __future__ import annotations

from designspace.export.target import Support, key_map, python_file
from designspace.spec import InvertedStage, ModelSpec, SeparableStage

SUPPORT = Support(
    "timm",
    ("inverted", "separable"),
    ("relu", "relu6", "silu", "gelu"),
    kernel_sizes=(),
    strides=(1, 2),
    head_width=True,
    dropout=True,
)
IMPORTS = """from timm.layers import get_act_layer
from timm.models._efficientnet_builder import decode_arch_def
from timm.models.efficientnet import EfficientNet"""

BODY = '''STAGES = [
{stages}
]


def build():
    """The network: images (N, {in_channels}, {resolution}, {resolution}) to logits (N, {classes})."""
    network = EfficientNet(
        decode_arch_def(STAGES),
        num_classes={classes},
        num_features={features},
        in_chans={in_channels},
        stem_size={width},
        stem_kernel_size={kernel_size},
        fix_stem=True,
        round_chs_fn=int,
        act_layer=get_act_layer("{activation}"),
        drop_rate={dropout},
        output_stride={stride},
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
    if stem.max_pool or stem.stride not in (1, 2):
        SUPPORT.refuse("stem", stem, "have stride 1 or 2 and no max-pool")
    stages, names, w_in = [], dict(NAMES), stem.width
    for number, stage in enumerate(spec.stages):
        if isinstance(stage, InvertedStage):
            _check(stage, number, w_in)
            if stage.expansion_ratio == 1:
                names[f"stage{number}"] = WITHOUT_EXPANSION
            stages.append(_inverted(stage))
        elif isinstance(stage, SeparableStage):
            if not stage.activate_depthwise:
                SUPPORT.refuse(f"stages.{number}.activate_depthwise", False, "be True")
            stages.append(f"dsa_r{stage.depth}_k{stage.kernel_size}_s{stage.stride}_c{stage.width}")
        w_in = stage.width
    body = BODY.format(
        stages="\n".join(f'    ["{stage}"],' for stage in stages),
        in_channels=spec.in_channels,
        resolution=spec.resolution,
        classes=head.classes,
        features=head.width or 0,
        width=stem.width,
        kernel_size=stem.kernel_size,
        activation=spec.activation,
        dropout=head.dropout,
        stride=max(32, 2 * 2 ** sum(stage.stride == 2 for stage in spec.stages)),  # at a smaller value timm dilates
        patch=PATCH if stem.stride == 1 else "",
    )
    return python_file(spec.name or spec.spec_id, f"timm {version}", IMPORTS, body, key_map(spec, names))


def _inverted(stage: InvertedStage) -> str:
    """A stage in timm's notation: `ds` has no expansion layer, `e` is our expansion ratio, `gs` 0 is one group."""
    expansion = stage.expansion_ratio
    parts = [f"r{stage.depth}", f"k{stage.kernel_size}", f"s{stage.stride}", f"c{stage.width}"]
    parts = ["ds" if expansion == 1 else "ir", *parts, *([] if expansion == 1 else [f"e{expansion}"])]
    parts += [f"se{stage.se_ratio}"] if stage.se_ratio else []
    parts += [f"gs{stage.group_width or 0}"] if stage.group_width != 1 else []
    parts += ["noskip"] if stage.shortcut == "none" else []
    return "_".join(parts)


def _check(stage: InvertedStage, number: int, w_in: int) -> None:
    if not stage.linear:
        SUPPORT.refuse(f"stages.{number}.linear", False, "be True")
    if stage.shortcut == "expansions":
        SUPPORT.refuse(f"stages.{number}.shortcut", stage.shortcut, "be bottlenecks or none")
    ratio = stage.expansion_ratio
    for width in (w_in, stage.width)[: stage.depth]:
        inner = round(width * ratio)
        if ratio != 1 and (inner % 8 or inner != width * ratio):
            SUPPORT.refuse(
                f"stages.{number}.expansion_ratio",
                ratio,
                f"expand width {width} to a multiple of 8, not to {width * ratio:g}",
            )
        if stage.se_ratio and round(inner * (stage.se_ratio / ratio)) != round(width * stage.se_ratio):
            SUPPORT.refuse(
                f"stages.{number}.se_ratio", stage.se_ratio, f"squeeze width {width} to the same width in timm"
            )
