"""The EN section of pycls: EfficientNet-like networks."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from designspace.export.pycls_keys import ACTIVATIONS, Depth, Multiplier, Share, Width, per_stage
from designspace.export.refusal import Support
from designspace.spec import InvertedStage, Kernel, ModelSpec, Stride
from designspace.validated import Validated

SUPPORT = Support("pycls effnet", ("inverted",), ACTIVATIONS, kernel_sizes=(), head_width=True, dropout=True)


class EffNet(Validated):
    """The EN section; tuples have one value per stage."""

    STEM_W: Width = 32
    DEPTHS: tuple[Depth, ...] = ()
    WIDTHS: tuple[Width, ...] = ()
    EXP_RATIOS: tuple[Multiplier, ...] = ()
    SE_R: Share = 0.25
    STRIDES: tuple[Stride, ...] = ()
    KERNELS: tuple[Kernel, ...] = ()
    HEAD_W: Width = 1280
    DC_RATIO: Share = 0.0
    DROPOUT_RATIO: Annotated[float, Field(ge=0, lt=1, strict=True)] = 0.0


def from_effnet(section: EffNet) -> dict[str, Any]:
    """The spec's mapping of an EN section; drop-connect belongs to training and is ignored."""
    keys = ("DEPTHS", "WIDTHS", "STRIDES", "KERNELS", "EXP_RATIOS")
    stages = [
        {
            "block": "inverted",
            "depth": depth,
            "width": width,
            "stride": stride,
            "kernel_size": kernel_size,
            "expansion_ratio": expansion,
            "se_ratio": section.SE_R,
        }
        for depth, width, stride, kernel_size, expansion in per_stage("EN", section.model_dump(), keys)
    ]
    head = {"width": section.HEAD_W, "dropout": section.DROPOUT_RATIO}
    return {"stem": {"width": section.STEM_W}, "stages": stages, "head": head}


def to_effnet(spec: ModelSpec) -> dict[str, Any]:
    """The EN section of a network; NotExpressible where pycls's MBConv is another block."""
    SUPPORT.check(spec)
    stem = spec.stem
    assert stem is not None
    if (stem.kernel_size, stem.stride, stem.max_pool) != (3, 2, False):
        SUPPORT.refuse("stem", stem, "its stem is 3×3 with stride 2")
    if spec.head.width is None:
        SUPPORT.refuse("head.width", None, "its head has a 1×1 convolution")
    width = stem.width
    stages = [stage for stage in spec.stages if isinstance(stage, InvertedStage)]
    for number, stage in enumerate(stages):
        if (stage.group_width, stage.linear, stage.shortcut) != (1, True, "bottlenecks"):
            SUPPORT.refuse(
                f"stages.{number}", stage, "its blocks are depthwise with a linear projection and its shortcut"
            )
        if stage.se_ratio == 0 or stage.se_ratio != stages[0].se_ratio:
            SUPPORT.refuse(f"stages.{number}.se_ratio", stage.se_ratio, "all its blocks have SE of one ratio")
        for w_in in stage.input_widths(width):
            for field, ratio in (("expansion_ratio", stage.expansion_ratio), ("se_ratio", stage.se_ratio)):
                if int(w_in * ratio) != round(w_in * ratio):
                    SUPPORT.refuse(
                        f"stages.{number}.{field}", ratio, f"it rounds {w_in}·{ratio:g} down, not to nearest"
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
