"""ConvNeXt (arXiv 2201.03545)."""

from __future__ import annotations

from collections.abc import Iterator

from designspace.spec import ConvNeXtStage, Head, ModelSpec, Stem

# Name: width of the first stage, depths, top-1 error (ImageNet-1K, 224 pixels: Table 1).
CONVNEXT: dict[str, tuple[int, tuple[int, ...], float]] = {
    "ConvNeXt-T": (96, (3, 3, 9, 3), 17.9),
    "ConvNeXt-S": (96, (3, 3, 27, 3), 16.9),
    "ConvNeXt-B": (128, (3, 3, 27, 3), 16.2),
}


def convnexts() -> Iterator[tuple[ModelSpec, float]]:
    """ConvNeXt-T, S and B: 4×4 patches, then four stages whose widths double."""
    for name, (width, depths, error) in CONVNEXT.items():
        stages = tuple(
            ConvNeXtStage(depth=depth, width=width * 2**i, stride=1 if i == 0 else 2) for i, depth in enumerate(depths)
        )
        stem = Stem(width=width, kernel_size=4, stride=4, padding="valid", activate=False)
        head = Head(norm=True)
        yield ModelSpec(name=name, activation="gelu", norm="layer", stem=stem, stages=stages, head=head), error
