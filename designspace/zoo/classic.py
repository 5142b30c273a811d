"""VGG, ResNet, ResNeXt and Xception."""

from __future__ import annotations

from collections.abc import Iterator

from designspace.spec import BottleneckStage, Head, ModelSpec, SeparableStage, Stem, VanillaStage, XceptionStage

# Name: convolutions in each of the five stages (configurations A, B, D, E of arXiv 1409.1556, Table 1), top-1 error
# (Table 3, one scale, S = Q = 256).
VGG: dict[str, tuple[tuple[int, ...], float]] = {
    "VGG-11": ((1, 1, 2, 2, 2), 29.6),
    "VGG-13": ((2, 2, 2, 2, 2), 28.7),
    "VGG-16": ((2, 2, 3, 3, 3), 27.0),
    "VGG-19": ((2, 2, 4, 4, 4), 27.3),
}

# Name: depths of the four stages, bottleneck ratio, group width of the first stage, top-1 error (single center crop,
# retrained without enhancements: RegNet, arXiv 2003.13678, Table 3).
RESNET: dict[str, tuple[tuple[int, ...], int, int | None, float]] = {
    "ResNet-50": ((3, 4, 6, 3), 4, None, 23.2),
    "ResNet-101": ((3, 4, 23, 3), 4, None, 21.4),
    "ResNet-152": ((3, 8, 36, 3), 4, None, 20.9),
    "ResNeXt-50-32x4d": ((3, 4, 6, 3), 2, 4, 21.9),
    "ResNeXt-101-32x4d": ((3, 4, 23, 3), 2, 4, 20.7),
    "ResNeXt-152-32x4d": ((3, 8, 36, 3), 2, 4, 20.4),
}


def vggs() -> Iterator[tuple[ModelSpec, float]]:
    """VGG (arXiv 1409.1556): plain 3×3 convolutions without batch norm, with max-pools between stages."""
    for name, (depths, error) in VGG.items():
        stages = tuple(
            VanillaStage(depth=depth, width=width, stride=1, max_pool=True)
            for depth, width in zip(depths, (64, 128, 256, 512, 512), strict=True)
        )
        head = Head(pool_size=7, hidden=(4096, 4096), dropout=0.5)
        yield ModelSpec(name=name, batch_norm=False, stem=None, stages=stages, head=head), error


def resnets() -> Iterator[tuple[ModelSpec, float]]:
    """ResNet (arXiv 1512.03385) and ResNeXt (1611.05431), with the stride in the 3×3 convolution as in pycls."""
    for name, (depths, ratio, group_width, error) in RESNET.items():
        stages = tuple(
            BottleneckStage(
                depth=depth,
                width=256 * 2**i,
                stride=1 if i == 0 else 2,
                bottleneck_ratio=ratio,
                group_width=group_width and group_width * 2**i,  # 32 groups in every stage
            )
            for i, depth in enumerate(depths)
        )
        yield ModelSpec(name=name, stem=Stem(width=64, kernel_size=7, max_pool=True), stages=stages), error


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
