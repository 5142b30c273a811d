"""MnasNet (arXiv 1807.11626) and MobileNetV3 (1905.02244)."""

from __future__ import annotations

from collections.abc import Iterator

from designspace.spec import Head, InvertedStage, ModelSpec, Stem

MNASNET_STAGES = (  # expansion, width, depth, kernel, stride (code of the authors: mnasnet_b1 in tensorflow/tpu)
    (1, 16, 1, 3, 1),
    (3, 24, 3, 3, 2),
    (3, 40, 3, 5, 2),
    (6, 80, 3, 5, 2),
    (6, 96, 2, 3, 1),
    (6, 192, 4, 5, 2),
    (6, 320, 1, 3, 1),
)

# Kernel, expansion, width, depth, SE, activation, stride: equal blocks of arXiv 1905.02244, Tables 1 and 2, together.
# The expansion is the expanded width of the table, divided by the input width.
V3_LARGE = (
    (3, 1, 16, 1, False, "relu", 1),
    (3, 64 / 16, 24, 1, False, "relu", 2),
    (3, 72 / 24, 24, 1, False, "relu", 1),
    (5, 72 / 24, 40, 3, True, "relu", 2),
    (3, 240 / 40, 80, 1, False, "hard_swish", 2),
    (3, 200 / 80, 80, 1, False, "hard_swish", 1),
    (3, 184 / 80, 80, 2, False, "hard_swish", 1),
    (3, 480 / 80, 112, 2, True, "hard_swish", 1),
    (5, 672 / 112, 160, 3, True, "hard_swish", 2),
)
V3_SMALL = (
    (3, 1, 16, 1, True, "relu", 2),
    (3, 72 / 16, 24, 1, False, "relu", 2),
    (3, 88 / 24, 24, 1, False, "relu", 1),
    (5, 96 / 24, 40, 1, True, "hard_swish", 2),
    (5, 240 / 40, 40, 2, True, "hard_swish", 1),
    (5, 120 / 40, 48, 2, True, "hard_swish", 1),
    (5, 288 / 48, 96, 3, True, "hard_swish", 2),
)

# Name: stages, widths of the convolutions before and after pooling, top-1 error (tensorflow/models,
# research/slim/nets/mobilenet).
MOBILENET_V3 = {
    "MobileNetV3-Large": (V3_LARGE, 960, 1280, 24.8),
    "MobileNetV3-Small": (V3_SMALL, 576, 1024, 32.5),
}


def mnasnets() -> Iterator[tuple[ModelSpec, None]]:
    """MnasNet-1.0 without SE (B1), the model that timm and torchvision have under this name."""
    stages = tuple(
        InvertedStage(depth=depth, width=width, stride=stride, kernel_size=kernel_size, expansion_ratio=expansion)
        for expansion, width, depth, kernel_size, stride in MNASNET_STAGES
    )
    yield ModelSpec(name="MnasNet-1.0", stages=stages, head=Head(width=1280, dropout=0.2)), None


def mobilenets_v3() -> Iterator[tuple[ModelSpec, float]]:
    """MobileNetV3-Large and Small; the 1×1 convolution after pooling is a hidden linear layer."""
    for name, (rows, width_before, width_after, error) in MOBILENET_V3.items():
        stages = tuple(
            InvertedStage(
                depth=depth,
                width=width,
                stride=stride,
                kernel_size=kernel_size,
                activation=None if activation == "hard_swish" else activation,
                expansion_ratio=expansion,
                **(SQUEEZE if squeezed else {}),
            )
            for kernel_size, expansion, width, depth, squeezed, activation, stride in rows
        )
        yield (
            ModelSpec(
                name=name,
                activation="hard_swish",
                stem=Stem(width=16),
                stages=stages,
                head=Head(width=width_before, hidden=(width_after,), dropout=0.2),
            ),
            error,
        )


SQUEEZE = {"se_ratio": 0.25, "se_base": "expansion", "se_gate": "hard_sigmoid", "se_activation": "relu"}
"""Squeeze-excitation of MobileNetV3 (§ 5.3)."""
