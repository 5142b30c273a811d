"""Specs as ResNets of basic blocks and VGGs of torchvision (`torchvision.models.resnet`, `torchvision.models.vgg`).

Both classes have fixed widths or heads, so they express the published networks with any depths and number of classes.
"""

from __future__ import annotations

from typing import NoReturn

from designspace.export.target import Support, key_map, python_file
from designspace.spec import Head, ModelSpec, Stem, VanillaStage

RESNET = Support("torchvision", ("basic",), ("relu",), residuals=False)
RESNET_STEM = Stem(width=64, kernel_size=7, max_pool=True)
WIDTHS = (64, 128, 256, 512)

RESNET_BODY = '''def build():
    """The network: images (N, 3, {resolution}, {resolution}) to logits (N, {classes})."""
    return ResNet(BasicBlock, {depths}, num_classes={classes})'''

BLOCK = "layer{stage1}.{block}."
RESNET_NAMES = {
    "stem": {"conv1": "conv1", "bn1": "bn1"},
    "head": {"linear1": "fc"},
    "basic": {
        **{name: f"{BLOCK}{name}" for name in ("conv1", "bn1", "conv2", "bn2")},
        "shortcut.conv1": f"{BLOCK}downsample.0",
        "shortcut.bn1": f"{BLOCK}downsample.1",
    },
}

VGG_BODY = '''def build():
    """The network: images (N, 3, {resolution}, {resolution}) to logits (N, {classes})."""
    features = make_layers({layers}, batch_norm={batch_norm})
    return VGG(features, num_classes={classes}, dropout={dropout})'''
CLASSIFIER = ("classifier.0", "classifier.3", "classifier.6")
"""Linear layers of torchvision's VGG."""


def resnet_source(spec: ModelSpec, version: str) -> str:
    """As `torchvision_source`, for basic blocks."""
    RESNET.check(spec)
    _same("stem", spec.stem, RESNET_STEM)
    _same("in_channels", spec.in_channels, 3)
    _same("width of the stages", tuple(stage.width for stage in spec.stages), WIDTHS)
    _same("stride of the stages", tuple(stage.stride for stage in spec.stages), (1, 2, 2, 2))
    for number, stage in enumerate(spec.stages):
        _same(f"stages.{number}.se_ratio", getattr(stage, "se_ratio", 0), 0)
    body = RESNET_BODY.format(
        depths=[stage.depth for stage in spec.stages], resolution=spec.resolution, classes=spec.head.classes
    )
    imports = "from torchvision.models.resnet import BasicBlock, ResNet"
    return _file(spec, version, imports, body, key_map(spec, RESNET_NAMES))


def vgg_source(spec: ModelSpec, version: str) -> str:
    """As `torchvision_source`, for vanilla blocks."""
    _same("stem", spec.stem, None)
    _same("in_channels", spec.in_channels, 3)
    _same("activation", spec.activation, "relu")
    if spec.batch_norm and not spec.conv_bias:
        _refuse("conv_bias", False, "be True with batch norm")
    layers: list[int | str] = []
    for number, stage in enumerate(spec.stages):
        if not isinstance(stage, VanillaStage):
            _refuse(f"stages.{number}.block", stage.block, "be vanilla in all stages of a VGG")
        for field, value in {"stride": 1, "kernel_size": 3, "residual": False, "padding": "same"}.items():
            _same(f"stages.{number}.{field}", getattr(stage, field), value)
        layers += [stage.width] * stage.depth + ["M"] * stage.max_pool
    _same("width of the last stage", spec.stages[-1].width, 512)
    head = Head(classes=spec.head.classes, pool_size=7, hidden=(4096, 4096), dropout=spec.head.dropout)
    _same("head", spec.head, head)
    body = VGG_BODY.format(
        layers=layers,
        batch_norm=spec.batch_norm,
        resolution=spec.resolution,
        classes=head.classes,
        dropout=head.dropout,
    )
    imports = "from torchvision.models.vgg import VGG, make_layers"
    return _file(spec, version, imports, body, _vgg_keys(spec, layers))


def _vgg_keys(spec: ModelSpec, layers: list[int | str]) -> dict[str, str]:
    """The key map; torchvision numbers convolution, batch norm, activation and pooling in sequence."""
    theirs, position = [], 0
    for layer in layers:
        if layer == "M":
            position += 1
            continue
        theirs += [f"features.{position + i}" for i in range(1 + spec.batch_norm)]
        position += 2 + spec.batch_norm
    roles = {"vanilla": ("conv1", "bn1"), "head": ("linear1", "linear2", "linear3")}
    ours = key_map(spec, {part: dict.fromkeys(names, "") for part, names in roles.items()})
    return dict(zip(ours, (*theirs, *CLASSIFIER), strict=True))


def _file(spec: ModelSpec, version: str, imports: str, body: str, keys: dict[str, str]) -> str:
    return python_file(spec.name or spec.spec_id, f"torchvision {version}", imports, body, keys)


def _same(field: str, value: object, allowed: object) -> None:
    if value != allowed:
        _refuse(field, value, f"be {allowed}")


def _refuse(field: str, value: object, requirement: str) -> NoReturn:
    RESNET.refuse(field, value, requirement)
