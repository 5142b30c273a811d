"""MobileNetV1 (arXiv 1704.04861) and V2 (1801.04381) for all published width multipliers and resolutions.

Errors: V1 from Tables 6 and 7; V2 from the official model table (tensorflow/models, slim/nets/mobilenet).
"""

from collections.abc import Iterator

from designspace.rounding import round_channels
from designspace.spec import Head, InvertedStage, ModelSpec, SeparableStage, Stem

V1_STAGES = ((64, 1, 1), (128, 2, 2), (256, 2, 2), (512, 6, 2), (1024, 2, 2))  # width, depth, stride
V1_ERRORS = {
    (1.0, 224): 29.4,
    (1.0, 192): 30.9,
    (1.0, 160): 32.8,
    (1.0, 128): 35.6,
    (0.75, 224): 31.6,
    (0.5, 224): 36.3,
    (0.25, 224): 49.4,
}

V2_STAGES = (  # expansion, width, depth, stride (Table 2)
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
V2_ERRORS = {
    (1.4, 224): 25.0,
    (1.3, 224): 25.6,
    **dict(zip([(1.0, r) for r in (224, 192, 160, 128, 96)], (28.2, 29.3, 31.2, 34.7, 39.7), strict=True)),
    **dict(zip([(0.75, r) for r in (224, 192, 160, 128, 96)], (30.2, 31.3, 33.6, 36.8, 41.2), strict=True)),
    **dict(zip([(0.5, r) for r in (224, 192, 160, 128, 96)], (34.6, 36.1, 39.0, 42.3, 48.8), strict=True)),
    **dict(zip([(0.35, r) for r in (224, 192, 160, 128, 96)], (39.7, 41.8, 44.3, 49.2, 54.5), strict=True)),
}


def models() -> Iterator[tuple[ModelSpec, float | None]]:
    """Each network with its top-1 error in percent, where published."""
    for multiplier in (1.0, 0.75, 0.5, 0.25):
        for resolution in (224, 192, 160, 128):
            yield v1(multiplier, resolution), V1_ERRORS.get((multiplier, resolution))
    for (multiplier, resolution), error in V2_ERRORS.items():
        yield v2(multiplier, resolution), error


def v1(multiplier: float, resolution: int) -> ModelSpec:
    """MobileNetV1 with every width multiplied (Table 1)."""
    stages = tuple(
        SeparableStage(depth=depth, width=int(width * multiplier), stride=stride) for width, depth, stride in V1_STAGES
    )
    return ModelSpec(
        name=f"MobileNetV1-{multiplier}-{resolution}",
        resolution=resolution,
        stem=Stem(width=int(32 * multiplier)),
        stages=stages,
    )


def v2(multiplier: float, resolution: int) -> ModelSpec:
    """MobileNetV2 with every width multiplied and rounded; the last 1×1 convolution never has fewer than 1280."""
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
