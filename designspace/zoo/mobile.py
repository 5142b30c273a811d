"""MobileNetV1 (arXiv 1704.04861), MobileNetV2 (1801.04381) and EfficientNet (1905.11946)."""

from __future__ import annotations

from collections.abc import Iterator
from math import ceil

from designspace.spec import Head, InvertedStage, ModelSpec, SeparableStage, Stem
from designspace.widths import round_channels

V1_STAGES = ((64, 1, 1), (128, 2, 2), (256, 2, 2), (512, 6, 2), (1024, 2, 2))  # width, depth, stride
V1_ERRORS = {  # (width multiplier, resolution): top-1 error (arXiv 1704.04861, Tables 6 and 7)
    (1.0, 224): 29.4,
    (1.0, 192): 30.9,
    (1.0, 160): 32.8,
    (1.0, 128): 35.6,
    (0.75, 224): 31.6,
    (0.5, 224): 36.3,
    (0.25, 224): 49.4,
}

V2_STAGES = (  # expansion, width, depth, stride (arXiv 1801.04381, Table 2)
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
V2_ERRORS = {  # from the official model table (tensorflow/models, slim/nets/mobilenet)
    (1.4, 224): 25.0,
    (1.3, 224): 25.6,
    **dict(zip([(1.0, r) for r in (224, 192, 160, 128, 96)], (28.2, 29.3, 31.2, 34.7, 39.7), strict=True)),
    **dict(zip([(0.75, r) for r in (224, 192, 160, 128, 96)], (30.2, 31.3, 33.6, 36.8, 41.2), strict=True)),
    **dict(zip([(0.5, r) for r in (224, 192, 160, 128, 96)], (34.6, 36.1, 39.0, 42.3, 48.8), strict=True)),
    **dict(zip([(0.35, r) for r in (224, 192, 160, 128, 96)], (39.7, 41.8, 44.3, 49.2, 54.5), strict=True)),
}

B0_STAGES = (  # expansion, width, depth, kernel, stride
    (1, 16, 1, 3, 1),
    (6, 24, 2, 3, 2),
    (6, 40, 2, 5, 2),
    (6, 80, 3, 3, 2),
    (6, 112, 3, 5, 1),
    (6, 192, 4, 5, 2),
    (6, 320, 1, 3, 1),
)
FACTORS = (  # width, depth, resolution, dropout, top-1 error (arXiv 1905.11946, Table 2)
    (1.0, 1.0, 224, 0.2, 22.9),
    (1.0, 1.1, 240, 0.2, 20.9),
    (1.1, 1.2, 260, 0.3, 19.9),
    (1.2, 1.4, 300, 0.3, 18.4),
    (1.4, 1.8, 380, 0.4, 17.1),
    (1.6, 2.2, 456, 0.4, 16.4),
    (1.8, 2.6, 528, 0.5, 16.0),
    (2.0, 3.1, 600, 0.5, 15.7),
)


def mobilenets() -> Iterator[tuple[ModelSpec, float | None]]:
    """MobileNetV1 and V2 for all published width multipliers and resolutions."""
    for multiplier in (1.0, 0.75, 0.5, 0.25):
        for resolution in (224, 192, 160, 128):
            yield mobilenet_v1(multiplier, resolution), V1_ERRORS.get((multiplier, resolution))
    for (multiplier, resolution), error in V2_ERRORS.items():
        yield mobilenet_v2(multiplier, resolution), error


def mobilenet_v1(multiplier: float, resolution: int) -> ModelSpec:
    """MobileNetV1 with every width multiplied (arXiv 1704.04861, Table 1)."""
    stages = tuple(
        SeparableStage(depth=depth, width=int(width * multiplier), stride=stride) for width, depth, stride in V1_STAGES
    )
    return ModelSpec(
        name=f"MobileNetV1-{multiplier}-{resolution}",
        resolution=resolution,
        stem=Stem(width=int(32 * multiplier)),
        stages=stages,
    )


def mobilenet_v2(multiplier: float, resolution: int) -> ModelSpec:
    """MobileNetV2 with every width multiplied and rounded; the last 1×1 convolution has at least 1280 channels."""
    stages = tuple(
        InvertedStage(
            depth=depth, width=int(round_channels(width * multiplier)), stride=stride, expansion_ratio=expansion
        )
        for expansion, width, depth, stride in V2_STAGES
    )
    return ModelSpec(
        name=f"MobileNetV2-{multiplier}-{resolution}",
        resolution=resolution,
        activation="relu6",
        stem=Stem(width=int(round_channels(32 * multiplier))),
        stages=stages,
        head=Head(width=int(round_channels(1280 * max(1.0, multiplier)))),
    )


def efficientnets() -> Iterator[tuple[ModelSpec, float]]:
    """EfficientNet-B0 … B7 (arXiv 1905.11946): B0 of Table 1, the others by the factors of the official code."""
    for number, (width_factor, depth_factor, resolution, dropout, error) in enumerate(FACTORS):
        stages = tuple(
            InvertedStage(
                depth=ceil(depth * depth_factor),
                width=int(round_channels(width * width_factor)),
                stride=stride,
                kernel_size=kernel_size,
                expansion_ratio=expansion,
                se_ratio=0.25,
            )
            for expansion, width, depth, kernel_size, stride in B0_STAGES
        )
        yield (
            ModelSpec(
                name=f"EfficientNet-B{number}",
                resolution=resolution,
                activation="silu",
                stem=Stem(width=int(round_channels(32 * width_factor))),
                stages=stages,
                head=Head(width=int(round_channels(1280 * width_factor)), dropout=dropout),
            ),
            error,
        )
