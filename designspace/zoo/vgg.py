"""VGG (arXiv 1409.1556): plain 3×3 convolutions without batch norm, max-pools between the stages.

Errors: Table 3, one scale, S = Q = 256.
"""

from collections.abc import Iterator

from designspace.spec import Head, ModelSpec, VanillaStage

# name: convolutions in each of the five stages (configurations A, B, D, E of Table 1), top-1 error
CONFIGURATIONS: dict[str, tuple[tuple[int, ...], float]] = {
    "VGG-11": ((1, 1, 2, 2, 2), 29.6),
    "VGG-13": ((2, 2, 2, 2, 2), 28.7),
    "VGG-16": ((2, 2, 3, 3, 3), 27.0),
    "VGG-19": ((2, 2, 4, 4, 4), 27.3),
}


def models() -> Iterator[tuple[ModelSpec, float]]:
    """Each network with its top-1 error in percent."""
    for name, (depths, error) in CONFIGURATIONS.items():
        stages = tuple(
            VanillaStage(depth=depth, width=width, stride=1, max_pool=True)
            for depth, width in zip(depths, (64, 128, 256, 512, 512), strict=True)
        )
        head = Head(pool_size=7, hidden=(4096, 4096), dropout=0.5)
        yield ModelSpec(name=name, batch_norm=False, stem=None, stages=stages, head=head), error
