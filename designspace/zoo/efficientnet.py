"""EfficientNet-B0 … B7 (arXiv 1905.11946): B0 of Table 1, the others by the factors of the official code.

Errors: Table 2.
"""

from collections.abc import Iterator
from math import ceil

from designspace.rounding import round_channels
from designspace.spec import Head, InvertedStage, ModelSpec, Stem

B0_STAGES = (  # expansion, width, depth, kernel, stride
    (1, 16, 1, 3, 1),
    (6, 24, 2, 3, 2),
    (6, 40, 2, 5, 2),
    (6, 80, 3, 3, 2),
    (6, 112, 3, 5, 1),
    (6, 192, 4, 5, 2),
    (6, 320, 1, 3, 1),
)
FACTORS = (  # width, depth, resolution, dropout, top-1 error
    (1.0, 1.0, 224, 0.2, 22.9),
    (1.0, 1.1, 240, 0.2, 20.9),
    (1.1, 1.2, 260, 0.3, 19.9),
    (1.2, 1.4, 300, 0.3, 18.4),
    (1.4, 1.8, 380, 0.4, 17.1),
    (1.6, 2.2, 456, 0.4, 16.4),
    (1.8, 2.6, 528, 0.5, 16.0),
    (2.0, 3.1, 600, 0.5, 15.7),
)


def models() -> Iterator[tuple[ModelSpec, float]]:
    """Each network with its top-1 error in percent."""
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
