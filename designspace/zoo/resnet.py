"""ResNet and variants: Wide-ResNet, ResNeXt, SE-ResNet, ResNet-D."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from designspace.spec import BasicStage, BottleneckStage, ModelSpec, Stage, Stem

# Blocks per stage by number of layers (arXiv 1512.03385, Table 1; 26 as in timm, 200 as in 1603.05027).
DEPTHS = {
    18: (2, 2, 2, 2),
    26: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
    152: (3, 8, 36, 3),
    200: (3, 24, 36, 3),
}
BASIC = (18, 34)
"""Numbers of layers of the networks with basic blocks; the others have bottlenecks."""

# Name: layers, bottleneck ratio, group width of the first stage, top-1 error (single center crop). Sources of the
# errors: RegNet (arXiv 2003.13678, Table 3, retrained without enhancements) for ResNet-50 to -152 and ResNeXt-32x4d,
# facebookresearch/ResNeXt for ResNeXt-101-64x4d, torchvision's IMAGENET1K_V1 weights for the others.
RESNET: dict[str, tuple[int, int, int | None, float | None]] = {
    "ResNet-18": (18, 1, None, 30.2),
    "ResNet-26": (26, 4, None, None),
    "ResNet-34": (34, 1, None, 26.7),
    "ResNet-50": (50, 4, None, 23.2),
    "ResNet-101": (101, 4, None, 21.4),
    "ResNet-152": (152, 4, None, 20.9),
    "Wide-ResNet-50-2": (50, 2, None, 21.5),
    "Wide-ResNet-101-2": (101, 2, None, 21.2),
    "ResNeXt-50-32x4d": (50, 2, 4, 21.9),
    "ResNeXt-101-32x4d": (101, 2, 4, 20.7),
    "ResNeXt-101-32x8d": (101, 1, 8, 20.7),
    "ResNeXt-101-64x4d": (101, 1, 4, 20.4),
    "ResNeXt-152-32x4d": (152, 2, 4, 20.4),
}
SE_RESNET = {  # layers: top-1 error (models of the authors, hujie-frank/SENet)
    50: 22.4,
    101: 21.8,
    152: 21.3,
}
RESNET_D = {  # layers: top-1 error (arXiv 1812.01187, Table 5)
    18: None,
    26: None,
    34: None,
    50: 22.8,
    101: None,
    152: None,
    200: None,
}

STEM = Stem(width=64, kernel_size=7, max_pool=True)
DEEP_STEM = Stem(width=64, hidden=(32, 32), max_pool=True)


def resnets() -> Iterator[tuple[ModelSpec, float | None]]:
    """ResNet (arXiv 1512.03385), Wide-ResNet (1605.07146), ResNeXt (1611.05431), SE-ResNet (1709.01507), ResNet-D.

    The stride of a bottleneck is in its 3×3 convolution, as in pycls, torchvision and timm. ResNet-D (1812.01187,
    Fig. 2) has a deep stem and shortcuts with average pooling.
    """
    for name, (layers, ratio, group_width, error) in RESNET.items():
        yield ModelSpec(name=name, stem=STEM, stages=_stages(layers, ratio, group_width)), error
    for layers, error in SE_RESNET.items():
        squeezed = _stages(layers, se_ratio=1 / 16, se_position="output")
        yield ModelSpec(name=f"SE-ResNet-{layers}", stem=STEM, stages=squeezed), error
    for layers, error in RESNET_D.items():
        averaged = _stages(layers, downsample="avg")
        yield ModelSpec(name=f"ResNet-{layers}-D", stem=DEEP_STEM, stages=averaged), error


def _stages(layers: int, ratio: int = 4, group_width: int | None = None, **fields: Any) -> tuple[Stage, ...]:
    """The four stages; in every stage the number of groups is that of the first."""
    stages: list[Stage] = []
    for i, depth in enumerate(DEPTHS[layers]):
        fields |= {"depth": depth, "stride": 1 if i == 0 else 2}
        if layers in BASIC:
            stages.append(BasicStage(width=64 * 2**i, **fields))
        else:
            groups = group_width and group_width * 2**i
            stages.append(BottleneckStage(width=256 * 2**i, bottleneck_ratio=ratio, group_width=groups, **fields))
    return tuple(stages)
