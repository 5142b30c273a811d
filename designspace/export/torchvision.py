"""Specs as torchvision networks: RegNet here, the others in `torchvision_*`."""

from __future__ import annotations

from designspace.export.target import Support, key_map, python_file
from designspace.export.torchvision_classic import resnet_source, vgg_source
from designspace.export.torchvision_convnext import convnext_source
from designspace.export.torchvision_mobile import mobile_source
from designspace.spec import BottleneckStage, ModelSpec

VERSION = "0.28.0"
SUPPORT = Support("torchvision", ("bottleneck",), ("relu", "relu6", "silu"), residuals=False)

IMPORTS = """from torch import nn
from torchvision.models.regnet import BlockParams, RegNet
from torchvision.ops.misc import Conv2dNormActivation"""

BODY = '''BLOCKS = BlockParams(
    depths={depths},
    widths={widths},
    group_widths={group_widths},
    bottleneck_multipliers={multipliers},
    strides={strides},
    se_ratio={se_ratio},
)


def stem(_, width, norm_layer, activation_layer):
    """The first convolution; the default of RegNet is 3×3 on three channels with stride 2."""
    layers = Conv2dNormActivation(
        {in_channels},
        width,
        kernel_size={kernel_size},
        stride={stride},
        norm_layer=norm_layer,
        activation_layer=activation_layer,
    )
{pool}    return layers


def build():
    """The network: images (N, {in_channels}, {resolution}, {resolution}) to logits (N, {classes})."""
    return RegNet(BLOCKS, num_classes={classes}, stem_width={stem_width}, stem_type=stem, activation=nn.{activation})'''

POOL = "    layers.append(nn.MaxPool2d(3, stride=2, padding=1))\n"
ACTIVATIONS = {"relu": "ReLU", "relu6": "ReLU6", "silu": "SiLU"}

BLOCK = "trunk_output.block{stage1}.block{stage1}-{block}."
NAMES = {
    "stem": {"conv1": "stem.0", "bn1": "stem.1"},
    "head": {"linear1": "fc"},
    "bottleneck": {
        "conv1": f"{BLOCK}f.a.0",
        "bn1": f"{BLOCK}f.a.1",
        "conv2": f"{BLOCK}f.b.0",
        "bn2": f"{BLOCK}f.b.1",
        "se.squeeze": f"{BLOCK}f.se.fc1",
        "se.excite": f"{BLOCK}f.se.fc2",
        "conv3": f"{BLOCK}f.c.0",
        "bn3": f"{BLOCK}f.c.1",
        "shortcut.conv1": f"{BLOCK}proj.0",
        "shortcut.bn1": f"{BLOCK}proj.1",
    },
}


def torchvision_source(spec: ModelSpec) -> str:
    """A Python file that builds the network in torchvision: `build()`, `load(weights)`, the key map.

    Raises:
        NotExpressible: no torchvision network can express this one.
    """
    sources = {
        "basic": resnet_source,
        "vanilla": vgg_source,
        "convnext": convnext_source,
        "inverted": mobile_source,
    }
    if (other := sources.get(spec.stages[0].block)) is not None:
        return other(spec, VERSION)
    SUPPORT.check(spec)
    stages = [stage for stage in spec.stages if isinstance(stage, BottleneckStage)]
    ratios = {stage.se_ratio for stage in stages}
    if len(ratios) > 1:
        SUPPORT.refuse("stages.*.se_ratio", sorted(ratios), "be the same for all stages")
    stem = spec.stem
    assert stem is not None
    body = BODY.format(
        depths=[stage.depth for stage in stages],
        widths=[stage.width for stage in stages],
        group_widths=[stage.group_width or round(stage.width / stage.bottleneck_ratio) for stage in stages],
        multipliers=[1 / stage.bottleneck_ratio for stage in stages],
        strides=[stage.stride for stage in stages],
        se_ratio=stages[0].se_ratio or None,
        in_channels=spec.in_channels,
        kernel_size=stem.kernel_size,
        stride=stem.stride,
        pool=POOL if stem.max_pool else "",
        resolution=spec.resolution,
        classes=spec.head.classes,
        stem_width=stem.width,
        activation=ACTIVATIONS[spec.activation],
    )
    return python_file(spec.name or spec.spec_id, f"torchvision {VERSION}", IMPORTS, body, key_map(spec, NAMES))
