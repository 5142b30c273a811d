"""Xception (arXiv 1610.02357, Fig. 5) at 299 pixels; its first two convolutions are not padded, as in its code.

Error: Table 1, single crop.
"""

from collections.abc import Iterator

from designspace.spec import ModelSpec, SeparableStage, Stem, VanillaStage, XceptionStage


def models() -> Iterator[tuple[ModelSpec, float]]:
    """The network with its top-1 error in percent."""
    entry = tuple(XceptionStage(depth=1, width=width, convs=2) for width in (128, 256, 728))
    middle = XceptionStage(depth=8, width=728, stride=1)
    last = XceptionStage(depth=1, width=1024, convs=2, grow="last")
    exits = tuple(SeparableStage(depth=1, width=w, stride=1, activate_depthwise=False) for w in (1536, 2048))
    second = VanillaStage(depth=1, width=64, stride=1, padding="valid")
    yield (
        ModelSpec(
            name="Xception-299",
            resolution=299,
            stem=Stem(width=32, padding="valid"),
            stages=(second, *entry, middle, last, *exits),
        ),
        21.0,
    )
