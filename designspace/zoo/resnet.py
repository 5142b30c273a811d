"""ResNet (arXiv 1512.03385) and ResNeXt (1611.05431), with the stride in the 3×3 convolution as in pycls.

Errors: single centre crop, retrained without enhancements (RegNet, arXiv 2003.13678, Table 3).
"""

from collections.abc import Iterator

from designspace.spec import BottleneckStage, ModelSpec, Stem

# name: depths of the four stages, bottleneck ratio, group width of the first stage, top-1 error
CONFIGURATIONS: dict[str, tuple[tuple[int, ...], int, int | None, float]] = {
    "ResNet-50": ((3, 4, 6, 3), 4, None, 23.2),
    "ResNet-101": ((3, 4, 23, 3), 4, None, 21.4),
    "ResNet-152": ((3, 8, 36, 3), 4, None, 20.9),
    "ResNeXt-50-32x4d": ((3, 4, 6, 3), 2, 4, 21.9),
    "ResNeXt-101-32x4d": ((3, 4, 23, 3), 2, 4, 20.7),
    "ResNeXt-152-32x4d": ((3, 8, 36, 3), 2, 4, 20.4),
}


def models() -> Iterator[tuple[ModelSpec, float]]:
    """Each network with its top-1 error in percent."""
    for name, (depths, ratio, group_width, error) in CONFIGURATIONS.items():
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
