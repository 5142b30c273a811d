"""Specs with ConvNeXt blocks as torchvision ConvNeXts."""

from __future__ import annotations

from designspace.export.target import Support, key_map, python_file
from designspace.spec import ConvNeXtStage, ModelSpec

SUPPORT = Support("torchvision", ("convnext",), ("gelu",), kernel_sizes=(7,), strides=(1, 2), convnext=True)
IMPORTS = """from torchvision.models.convnext import CNBlockConfig, ConvNeXt"""

BODY = '''BLOCKS = [
{blocks}
]


def build():
    """The network: images (N, 3, {resolution}, {resolution}) to logits (N, {classes})."""
    return ConvNeXt(BLOCKS, layer_scale={layer_scale}, num_classes={classes})'''


def convnext_source(spec: ModelSpec, version: str) -> str:
    """As `torchvision_source`, for ConvNeXt blocks."""
    SUPPORT.check(spec)
    stem = spec.stem
    assert stem is not None
    if spec.in_channels != 3:
        SUPPORT.refuse("in_channels", spec.in_channels, "be 3")
    if (stem.kernel_size, stem.stride, stem.max_pool) != (4, 4, False):
        SUPPORT.refuse("stem", stem, "be 4×4 with stride 4 and no max-pool")
    if spec.depth == 1:
        SUPPORT.refuse("depth", 1, "be at least 2")
    stages = [stage for stage in spec.stages if isinstance(stage, ConvNeXtStage)]
    if stages[0].width != stem.width:
        SUPPORT.refuse("stages.0.width", stages[0].width, f"be {stem.width}, the width of the stem")
    names = {
        "stem": {"conv1": "features.0.0", "ln1": "features.0.1"},
        "head": {"ln2": "classifier.0", "linear1": "classifier.2"},
    }
    blocks = []
    for number, stage in enumerate(stages):
        first = stages[0]
        for field, value in (
            ("stride", 2 if number else 1),
            ("expansion_ratio", 4),
            ("layer_scale", first.layer_scale or 1e-6),
        ):
            if getattr(stage, field) != value:
                SUPPORT.refuse(f"stages.{number}.{field}", getattr(stage, field), f"be {value}")
        block = f"features.{2 * number + 1}.{{block}}"
        names[f"stage{number}"] = {
            "ln1": f"features.{2 * number}.0",
            "conv1": f"features.{2 * number}.1",
            "conv2": f"{block}.block.0",
            "ln2": f"{block}.block.2",
            "conv3": f"{block}.block.3",
            "conv4": f"{block}.block.5",
            "scale": block,
        }
        after = stages[number + 1].width if number + 1 < len(stages) else None
        blocks.append(f"    CNBlockConfig({stage.width}, {after}, {stage.depth}),")
    body = BODY.format(
        blocks="\n".join(blocks),
        resolution=spec.resolution,
        classes=spec.head.classes,
        layer_scale=stages[0].layer_scale,
    )
    keys = key_map(spec, names)
    title, library = spec.name or spec.spec_id, f"torchvision {version}"
    return python_file(title, library, IMPORTS, body, keys, {"gamma": "layer_scale"})
