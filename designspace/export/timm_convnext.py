"""Specs with ConvNeXt blocks as timm ConvNeXts."""

from __future__ import annotations

from designspace.export.target import Support, key_map, python_file
from designspace.spec import ConvNeXtStage, ModelSpec

SUPPORT = Support(
    "timm",
    ("convnext",),
    ("relu", "relu6", "silu", "gelu", "hard_swish"),
    kernel_sizes=(),
    strides=(1, 2),
    dropout=True,
    convnext=True,
)
IMPORTS = "from timm.models.convnext import ConvNeXt"

BODY = '''def build():
    """The network: images (N, {in_channels}, {resolution}, {resolution}) to logits (N, {classes})."""
    return ConvNeXt(
        in_chans={in_channels},
        num_classes={classes},
        depths={depths},
        dims={widths},
        kernel_sizes={kernel_sizes},
        ls_init_value={layer_scale},
        patch_size={patch_size},
        conv_mlp=True,
        act_layer="{activation}",
        drop_rate={dropout},
    )'''

BLOCK = "stages.{stage}.blocks.{block}"
NAMES = {
    "stem": {"conv1": "stem.0", "ln1": "stem.1"},
    "head": {"ln2": "head.norm", "linear1": "head.fc"},
    "convnext": {
        "ln1": "stages.{stage}.downsample.0",
        "conv1": "stages.{stage}.downsample.1",
        "conv2": f"{BLOCK}.conv_dw",
        "ln2": f"{BLOCK}.norm",
        "conv3": f"{BLOCK}.mlp.fc1",
        "conv4": f"{BLOCK}.mlp.fc2",
        "scale": BLOCK,  # its parameter is gamma in both
    },
}


def convnext_source(spec: ModelSpec, version: str) -> str:
    """As `timm_source`, for ConvNeXt blocks."""
    SUPPORT.check(spec)
    stem = spec.stem
    assert stem is not None
    if stem.kernel_size != stem.stride or stem.max_pool:
        SUPPORT.refuse("stem", stem, "have a kernel of the size of its stride and no max-pool")
    stages = [stage for stage in spec.stages if isinstance(stage, ConvNeXtStage)]
    if len(stages) != 4:
        SUPPORT.refuse("stages", len(stages), "be 4")
    if stages[0].width != stem.width:
        SUPPORT.refuse("stages.0.width", stages[0].width, f"be {stem.width}, the width of the stem")
    for number, stage in enumerate(stages):
        stride = 1 if number == 0 and stem.stride != 2 else 2
        if stage.stride != stride:
            SUPPORT.refuse(f"stages.{number}.stride", stage.stride, f"be {stride} after a stem of stride {stem.stride}")
        if stage.expansion_ratio != 4:
            SUPPORT.refuse(f"stages.{number}.expansion_ratio", stage.expansion_ratio, "be 4")
        if stage.layer_scale != stages[0].layer_scale:
            SUPPORT.refuse(f"stages.{number}.layer_scale", stage.layer_scale, "be the same for all stages")
    body = BODY.format(
        in_channels=spec.in_channels,
        resolution=spec.resolution,
        classes=spec.head.classes,
        depths=tuple(stage.depth for stage in stages),
        widths=tuple(stage.width for stage in stages),
        kernel_sizes=tuple(stage.kernel_size for stage in stages),
        layer_scale=stages[0].layer_scale or None,
        patch_size=stem.stride,
        activation=spec.activation,
        dropout=spec.head.dropout,
    )
    return python_file(spec.name or spec.spec_id, f"timm {version}", IMPORTS, body, key_map(spec, NAMES))
