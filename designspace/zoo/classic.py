"""VGG and Xception."""

from __future__ import annotations

from collections.abc import Iterator

from designspace.spec import Head, ModelSpec, SeparableStage, Stem, VanillaStage, XceptionStage

# Name: convolutions in each of the five stages (configurations A, B, D, E of arXiv 1409.1556, Table 1), top-1 error
# (Table 3, one scale, S = Q = 256).
VGG: dict[str, tuple[tuple[int, ...], float]] = {
    "VGG-11": ((1, 1, 2, 2, 2), 29.6),
    "VGG-13": ((2, 2, 2, 2, 2), 28.7),
    "VGG-16": ((2, 2, 3, 3, 3), 27.0),
    "VGG-19": ((2, 2, 4, 4, 4), 27.3),
}
VGG_BN = {"VGG-11": 29.6, "VGG-13": 28.4, "VGG-16": 26.6, "VGG-19": 25.8}
"""Top-1 error with batch norm (torchvision's IMAGENET1K_V1 weights)."""


def vggs() -> Iterator[tuple[ModelSpec, float]]:
    """VGG (arXiv 1409.1556): plain 3×3 convolutions with max-pools between stages, without and with batch norm.

    With batch norm, convolutions keep their biases, as in torchvision and timm.
    """
    for name, (depths, error) in VGG.items():
        yield vgg(name, depths, batch_norm=False), error
    for name, error in VGG_BN.items():
        yield vgg(f"{name}-BN", VGG[name][0], batch_norm=True), error


def vgg(name: str, depths: tuple[int, ...], *, batch_norm: bool) -> ModelSpec:
    """A VGG with some numbers of convolutions per stage."""
    stages = tuple(
        VanillaStage(depth=depth, width=width, stride=1, max_pool=True)
        for depth, width in zip(depths, (64, 128, 256, 512, 512), strict=True)
    )
    head = Head(pool_size=7, hidden=(4096, 4096), dropout=0.5)
    return ModelSpec(name=name, batch_norm=batch_norm, conv_bias=batch_norm, stem=None, stages=stages, head=head)


def xceptions() -> Iterator[tuple[ModelSpec, float]]:
    """Xception (arXiv 1610.02357, Fig. 5; error of Table 1, single crop) at 299 pixels.

    As in its code, the first two convolutions are not padded.
    """
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
