"""EfficientNetV2 (arXiv 2104.00298)."""

from __future__ import annotations

from collections.abc import Iterator

from designspace.spec import Head, InvertedStage, ModelSpec, Stem

# Expansion, width, depth, stride of the fused stages, then of those with SE (S: Table 4; M: code of the authors,
# google/automl, efficientnetv2/effnetv2_configs.py).
Stages = tuple[tuple[int, int, int, int], ...]
S_FUSED: Stages = ((1, 24, 2, 1), (4, 48, 4, 2), (4, 64, 4, 2))
S_SQUEEZED: Stages = ((4, 128, 6, 2), (6, 160, 9, 1), (6, 256, 15, 2))
M_FUSED: Stages = ((1, 24, 3, 1), (4, 48, 5, 2), (4, 80, 5, 2))
M_SQUEEZED: Stages = ((4, 160, 7, 2), (6, 176, 14, 1), (6, 304, 18, 2), (6, 512, 5, 1))

# Name: stages, resolution of the evaluation, dropout, top-1 error (ImageNet-1K; all from google/automl).
EFFICIENTNET_V2: dict[str, tuple[Stages, Stages, int, float, float]] = {
    "EfficientNetV2-S": (S_FUSED, S_SQUEEZED, 384, 0.2, 16.1),
    "EfficientNetV2-M": (M_FUSED, M_SQUEEZED, 480, 0.3, 14.8),
}


def efficientnets_v2() -> Iterator[tuple[ModelSpec, float]]:
    """EfficientNetV2-S and M at the resolution of their evaluation; they are trained at lower resolutions."""
    for name, (fused, squeezed, resolution, dropout, error) in EFFICIENTNET_V2.items():
        rows = [(row, True) for row in fused] + [(row, False) for row in squeezed]
        stages = tuple(
            InvertedStage(
                depth=depth,
                width=width,
                stride=stride,
                expansion_ratio=expansion,
                fused=is_fused,
                se_ratio=0 if is_fused else 0.25,
            )
            for (expansion, width, depth, stride), is_fused in rows
        )
        yield (
            ModelSpec(
                name=name,
                resolution=resolution,
                activation="silu",
                stem=Stem(width=24),
                stages=stages,
                head=Head(width=1280, dropout=dropout),
            ),
            error,
        )
