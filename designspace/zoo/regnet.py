"""RegNetX and RegNetY (arXiv 2003.13678, Figs. 15 and 16), RegNetZ (2103.06877)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from designspace.spec import BottleneckStage, Head, ModelSpec
from designspace.widths import QuantizedLinear, fit_group_width

# d, w_0, w_a, w_m, g, top-1 error (model zoo of facebookresearch/pycls: mean of five runs of 100 epochs)
PARAMETERS: dict[str, tuple[int, int, float, float, int, float]] = {
    "RegNetX-200MF": (13, 24, 36.44, 2.49, 8, 31.1),
    "RegNetX-400MF": (22, 24, 24.48, 2.54, 16, 27.3),
    "RegNetX-600MF": (16, 48, 36.97, 2.24, 24, 25.9),
    "RegNetX-800MF": (16, 56, 35.73, 2.28, 16, 24.8),
    "RegNetX-1.6GF": (18, 80, 34.01, 2.25, 24, 23.0),
    "RegNetX-3.2GF": (25, 88, 26.31, 2.25, 48, 21.7),
    "RegNetX-4.0GF": (23, 96, 38.65, 2.43, 40, 21.4),
    "RegNetX-6.4GF": (17, 184, 60.83, 2.07, 56, 20.8),
    "RegNetX-8.0GF": (23, 80, 49.56, 2.88, 120, 20.7),
    "RegNetX-12GF": (19, 168, 73.36, 2.37, 112, 20.3),
    "RegNetX-16GF": (22, 216, 55.59, 2.1, 128, 20.0),
    "RegNetX-32GF": (23, 320, 69.86, 2.0, 168, 19.5),
    "RegNetY-200MF": (13, 24, 36.44, 2.49, 8, 29.6),
    "RegNetY-400MF": (16, 48, 27.89, 2.09, 8, 25.9),
    "RegNetY-600MF": (15, 48, 32.54, 2.32, 16, 24.5),
    "RegNetY-800MF": (14, 56, 38.84, 2.4, 16, 23.7),
    "RegNetY-1.6GF": (27, 48, 20.71, 2.65, 24, 22.0),
    "RegNetY-3.2GF": (21, 80, 42.63, 2.66, 24, 21.0),
    "RegNetY-4.0GF": (22, 96, 31.41, 2.24, 64, 20.6),
    "RegNetY-6.4GF": (25, 112, 33.22, 2.27, 72, 20.1),
    "RegNetY-8.0GF": (17, 192, 76.82, 2.19, 56, 20.1),
    "RegNetY-12GF": (19, 168, 73.36, 2.37, 112, 19.7),
    "RegNetY-16GF": (18, 200, 106.23, 2.48, 112, 19.6),
    "RegNetY-32GF": (20, 232, 115.89, 2.53, 232, 19.0),
}

# d, w_0, w_a, w_m, g, resolution, width of the head's convolution (facebookresearch/ClassyVision, models/regnet.py; the
# heads are those of timm's regnetz_005, regnetz_040 and regnetz_040_h)
Z_PARAMETERS: dict[str, tuple[int, int, float, float, int, int, int | None]] = {
    "RegNetZ-500MF": (21, 16, 10.7, 2.51, 4, 224, 1024),
    "RegNetZ-4.0GF": (28, 48, 14.5, 2.226, 8, 256, None),
    "RegNetZ-4.0GF-H": (28, 48, 14.5, 2.226, 8, 256, 1536),
}


def regnets() -> Iterator[tuple[ModelSpec, float]]:
    """The 24 RegNets from the parameters of the width rule."""
    for name, (depth, w_0, w_a, w_m, group_width, error) in PARAMETERS.items():
        rule = QuantizedLinear(depth, w_0, w_a, w_m)
        stages = _stages(rule, group_width, se_ratio=0.25 if name.startswith("RegNetY") else 0.0)
        yield ModelSpec(name=name, stages=stages), error


def regnetzs() -> Iterator[tuple[ModelSpec, None]]:
    """RegNetZ: inverted bottlenecks with SE, a linear output, and shortcuts only where the shape does not change."""
    for name, (depth, w_0, w_a, w_m, group_width, resolution, head) in Z_PARAMETERS.items():
        rule = QuantizedLinear(depth, w_0, w_a, w_m)
        stages = _stages(rule, group_width, bottleneck_ratio=1 / 4, se_ratio=0.25, downsample="none", linear=True)
        yield (
            ModelSpec(name=name, resolution=resolution, activation="silu", stages=stages, head=Head(width=head)),
            None,
        )


def _stages(rule: QuantizedLinear, group_width: int, **fields: Any) -> tuple[BottleneckStage, ...]:
    """Stages of a width rule, with compatible widths and group widths."""
    widths, depths = rule.stages()
    widths, groups = fit_group_width(widths, fields.get("bottleneck_ratio", 1.0), np.full(len(widths), group_width))
    return tuple(
        BottleneckStage(depth=d, width=w, group_width=g, **fields)
        for d, w, g in zip(depths.tolist(), widths.tolist(), groups.tolist(), strict=True)
    )
