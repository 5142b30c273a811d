"""Specs with inverted blocks as torchvision networks: EfficientNet (V1 and V2), or MobileNetV3 with a hidden layer."""

from __future__ import annotations

from designspace.export.target import Support, key_map, python_file
from designspace.spec import InvertedStage, ModelSpec
from designspace.widths import round_channels

EFFICIENTNET = Support(
    "torchvision", ("inverted",), ("silu",), kernel_sizes=(), strides=(1, 2), head_width=True, dropout=True
)
MOBILENET_V3 = EFFICIENTNET._replace(activations=("hard_swish",), stage_activations=("relu",), hidden=1)
ACTIVATION_CODES = {"relu": "RE", "hard_swish": "HS"}

IMPORTS = """from torch import nn
from torchvision.models.{module} import {classes}"""

BODY = '''BLOCKS = [
{blocks}
]


def build():
    """The network: images (N, 3, {resolution}, {resolution}) to logits (N, {classes})."""
    network = {network}(
        BLOCKS,
        {options},
        num_classes={classes},
        dropout={dropout},
        norm_layer=nn.BatchNorm2d,
    )
{patch}    return network'''

PATCH = "    network.features[0][0].stride = (1, 1)  # torchvision's stem has stride 2; weights do not depend on it\n"


def mobile_source(spec: ModelSpec, version: str) -> str:
    """As `torchvision_source`, for inverted blocks."""
    stem, head = spec.stem, spec.head
    support = MOBILENET_V3 if head.hidden else EFFICIENTNET
    support.check(spec)
    assert stem is not None
    if spec.in_channels != 3:
        support.refuse("in_channels", spec.in_channels, "be 3")
    if (stem.kernel_size, stem.max_pool) != (3, False) or stem.stride > 2:
        support.refuse("stem", stem, "be 3×3 with stride 1 or 2 and no max-pool")
    if head.width is None:
        support.refuse("head.width", None, "be a number of channels")
    stages = [stage for stage in spec.stages if isinstance(stage, InvertedStage)]
    names: dict[str, dict[str, str]] = {"stem": _convolution(1, "features.0")}
    blocks, w_in = [], stem.width
    for number, stage in enumerate(stages):
        _check(support, stage, number, w_in)
        prefix = "features.{number1}" if head.hidden else "features.{stage1}.{block}"
        names[f"stage{number}"] = _names(stage, f"{prefix}.block")
        blocks += _mobilenet_v3(stage, w_in) if head.hidden else [_efficientnet(stage, w_in)]
        w_in = stage.width
    if head.hidden:
        if head.width != 6 * w_in:
            support.refuse("head.width", head.width, f"be {6 * w_in}, six times the width of the last stage")
        module, network, configs = "mobilenetv3", "MobileNetV3", "InvertedResidualConfig as Block"
        options, classifier = f"last_channel={head.hidden[0]}", {"linear1": "classifier.0", "linear2": "classifier.3"}
    else:
        module, network, configs = "efficientnet", "EfficientNet", "FusedMBConvConfig, MBConvConfig"
        options = f"stochastic_depth_prob=0.0,\n        last_channel={head.width}"
        classifier = {"linear1": "classifier.1"}
    names["head"] = _convolution(1, f"features.{len(blocks) + 1}") | classifier
    body = BODY.format(
        blocks="\n".join(f"    {block}," for block in blocks),
        network=network,
        options=options,
        resolution=spec.resolution,
        classes=head.classes,
        dropout=head.dropout,
        patch=PATCH if stem.stride == 1 else "",
    )
    imports = IMPORTS.format(module=module, classes=", ".join(sorted((network, *configs.split(", ")), key=str.lower)))
    return python_file(spec.name or spec.spec_id, f"torchvision {version}", imports, body, key_map(spec, names))


def _convolution(number: int, key: str) -> dict[str, str]:
    return {f"conv{number}": f"{key}.0", f"bn{number}": f"{key}.1"}


def _names(stage: InvertedStage, key: str) -> dict[str, str]:
    """torchvision numbers the layers that a block has; ours have fixed names."""
    expands = stage.expansion_ratio != 1
    layers = [*([1] if expands else []), *([] if stage.fused else [2]), *(["se"] if stage.se_ratio else []), 3]
    names: dict[str, str] = {}
    for position, layer in enumerate(layers):
        if isinstance(layer, int):
            names |= _convolution(layer, f"{key}.{position}")
        else:
            names |= {"se.squeeze": f"{key}.{position}.fc1", "se.excite": f"{key}.{position}.fc2"}
    return names


def _efficientnet(stage: InvertedStage, w_in: int) -> str:
    kind = "FusedMBConvConfig" if stage.fused else "MBConvConfig"
    return f"{kind}({stage.expansion_ratio}, {stage.kernel_size}, {stage.stride}, {w_in}, {stage.width}, {stage.depth})"


def _mobilenet_v3(stage: InvertedStage, w_in: int) -> list[str]:
    code = ACTIVATION_CODES[stage.activation or "hard_swish"]
    return [
        f"Block({width}, {stage.kernel_size}, {round(width * stage.expansion_ratio)}, {stage.width}, "
        f'{bool(stage.se_ratio)}, "{code}", {stride}, 1, 1.0)'
        for width, stride in [(w_in, stage.stride)] + [(stage.width, 1)] * (stage.depth - 1)
    ]


def _check(support: Support, stage: InvertedStage, number: int, w_in: int) -> None:
    v3 = support is MOBILENET_V3
    required: dict[str, object] = {"linear": True, "shortcut": "bottlenecks"}
    if not stage.fused:
        required["group_width"] = 1
    if v3:
        required["fused"] = False
    if stage.se_ratio and v3:
        required |= {"se_base": "expansion", "se_gate": "hard_sigmoid", "se_activation": "relu"}
    elif stage.se_ratio:
        required |= {"se_base": "input", "se_gate": "sigmoid", "se_activation": None, "fused": False}
    for field, value in required.items():
        if getattr(stage, field) != value:
            support.refuse(f"stages.{number}.{field}", getattr(stage, field), f"be {value}")
    if not (v3 or stage.fused or stage.se_ratio):
        support.refuse(f"stages.{number}.se_ratio", stage.se_ratio, "be 0.25 in a block that is not fused")
    for width in stage.input_widths(w_in):
        inner = round(width * stage.expansion_ratio)
        for field, value in (("width", width), ("expansion_ratio · input width", inner)):
            if value % 8:
                support.refuse(f"stages.{number}.{field}", value, "be a multiple of 8")
        squeezed = round_channels(inner // 4) if v3 else width // 4
        if stage.se_ratio and stage.squeezed_width(width) != squeezed:
            support.refuse(f"stages.{number}.se_ratio", stage.se_ratio, f"squeeze width {width} to {squeezed}")
