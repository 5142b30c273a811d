"""The spaces of "On Network Design Spaces for Visual Recognition" (arXiv 1905.13214, Table 1), for CIFAR.

Stem, three stages, head. Depths, widths, ratios and groups are log-spaced; the paper gives ranges and counts but not
the rounding, which is ours: to the nearest integer, made different where two fall together.
"""

import numpy as np

from designspace.distributions import Choice
from designspace.spaces.settings import Template
from designspace.spaces.space import DesignSpace
from designspace.spec import Head, Stem


def log_spaced(low: int, high: int, count: int) -> Choice:
    """Equal probability for `count` log-spaced integers, drawn for every stage."""
    values: list[int] = []
    for value in np.geomspace(low, high, count):
        values.append(max(round(value), values[-1] + 1 if values else low))
    return Choice(options=tuple(values), per_stage=True)


def cifar(stem_width: int, **stage: object) -> Template:
    """What the networks share: 32×32 images, three stages at full, half and quarter resolution."""
    return Template(
        resolution=32, stem=Stem(width=stem_width, stride=1), strides=(1, 2, 2), head=Head(classes=10), stage=stage
    )


vanilla = DesignSpace(
    name="vanilla",
    family="anynet",
    parameters={"depth": log_spaced(1, 24, 9), "width": log_spaced(16, 256, 12)},
    template=cifar(16, block="basic", residual=False),
)
resnet = vanilla.changed(template=cifar(16, block="basic")).named("resnet")
resnext_a = DesignSpace(
    name="resnext_a",
    family="anynet",
    parameters={
        "depth": log_spaced(1, 16, 5),
        "width": log_spaced(16, 256, 5),
        "bottleneck_ratio": log_spaced(1, 4, 3),
        "groups": log_spaced(1, 4, 3),
    },
    template=cifar(16, block="bottleneck"),
)
resnext_b = (
    resnext_a.with_distributions(width=log_spaced(64, 1024, 5), groups=log_spaced(1, 16, 5))
    .changed(template=cifar(64, block="bottleneck"))
    .named("resnext_b")
)
