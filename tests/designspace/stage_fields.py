"""Design spaces that draw the fields of stages: fused convolutions, activations, norms, SE, ConvNeXt's block."""

from typing import Any


def options(*values: object) -> dict[str, object]:
    return {"distribution": "choice", "options": list(values), "per_stage": True}


def space(stage: dict[str, object], drawn: dict[str, object], **template: object) -> dict[str, Any]:
    small = {"resolution": 32, "head": {"classes": 10}, "stem": {"width": 16, "stride": 1}, "strides": [1, 2, 2]}
    shape = {"depth": options(1, 2, 3), "width": options(16, 24, 32)}
    return {
        "name": "drawn",
        "family": "anynet",
        "parameters": shape | drawn,
        "template": small | {"stage": stage} | template,
    }


STYLE = {"activation": options("relu", "hard_swish", "silu", "gelu", "relu6"), "norm": options("batch", "layer")}
PATCHES = {"width": 16, "kernel_size": 4, "stride": 2, "padding": "valid", "activate": False}
LAYER_NORM = {"norm": "layer", "activation": "gelu", "stem": PATCHES, "head": {"classes": 10, "norm": True}}
SPACES = {
    "inverted": space(
        {"block": "inverted"},
        {
            **STYLE,
            "fused": options(True, False),
            "expansion_ratio": options(1, 4),
            "shortcut": options("bottlenecks", "expansions", "none"),
        },
    ),
    "inverted with SE": space(
        {"block": "inverted", "se_ratio": 0.25},
        {
            "fused": options(True, False),
            "expansion_ratio": options(1, 3),
            "activation": options("relu", "hard_swish"),
            "se_base": options("input", "expansion"),
            "se_gate": options("sigmoid", "hard_sigmoid"),
            "se_activation": options("relu", "silu"),
        },
    ),
    "convnext": space(
        {"block": "convnext"},
        {
            **STYLE,
            "kernel_size": options(3, 5, 7),
            "expansion_ratio": options(2, 4),
            "layer_scale": options(0, 1e-6),
        },
        **LAYER_NORM,
    ),
    "bottleneck": space({"block": "bottleneck", "group_width": 8}, STYLE | {"se_ratio": options(0, 0.5)}),
    "basic": space({"block": "basic"}, STYLE | {"residual": options(True, False)}),
    "separable": space({"block": "separable"}, STYLE | {"activate_depthwise": options(True, False)}),
    "xception": space({"block": "xception"}, STYLE),
}
