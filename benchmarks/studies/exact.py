"""Sections of the study pages that need no trained network: numbers in closed form, and their comparison."""

from __future__ import annotations

from functools import cache

import pandas as pd

import designspace as ds
from analysis.manifold import manifold_experiment
from benchmarks.studies.markdown import markdown_table

V1_BLOCKS = (
    *((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2)),
    *(((512, 1),) * 5),
    *((1024, 2), (1024, 1)),
)
"""Width and stride of each separable block of MobileNetV1 (arXiv 1704.04861, Table 1)."""

V1_TABLES = {
    (1.0, 224): (569, 4.2),
    (0.75, 224): (325, 2.6),
    (0.5, 224): (149, 1.3),
    (0.25, 224): (41, 0.5),
    (1.0, 192): (418, 4.2),
    (1.0, 160): (290, 4.2),
    (1.0, 128): (186, 4.2),
}
"""Width multiplier and resolution: million multiply-adds and million parameters (MobileNetV1, Tables 6 and 7)."""


def mobilenet_v1_counts(multiplier: float, resolution: int, classes: int = 1000) -> tuple[int, int]:
    """Multiply-adds and parameters of MobileNetV1 in closed form.

    A separable block from M to N channels on D × D outputs costs 9 αM D² + αM αN D² multiply-adds (§ 3.1, § 3.3),
    with D reduced by the resolution multiplier. Batch norm has two parameters per channel.
    """
    size, width = resolution // 2, int(32 * multiplier)
    macs, params = 27 * width * size**2, (27 + 2) * width
    for outputs, stride in V1_BLOCKS:
        size, out = -(-size // stride), int(outputs * multiplier)
        macs += (9 * width + width * out) * size**2
        params += 9 * width + 2 * width + width * out + 2 * out
        width = out
    return macs + width * classes, params + (width + 1) * classes


def multipliers_section() -> str:
    """The counts of MobileNetV1's Tables 6 and 7: published, in closed form, and of the network built here."""
    rows = []
    for (multiplier, resolution), (macs, params) in V1_TABLES.items():
        closed = mobilenet_v1_counts(multiplier, resolution)
        cost = ds.complexity(ds.zoo.spec(f"MobileNetV1-{float(multiplier)}-{resolution}"))
        rows.append(
            (
                f"{multiplier:g}",
                resolution,
                f"{macs} / {params}",
                f"{closed[0]:,} / {closed[1]:,}",
                f"{cost.macs:,} / {cost.params:,}",
            )
        )
    header = ("width multiplier", "resolution", "paper (M)", "closed form", "counted from the network")
    return (
        "## MobileNetV1's multipliers in closed form\n\n"
        "Multiply-adds and parameters at the paper's scale (Tables 6 and 7). The width multiplier reduces both roughly "
        "quadratically, and the resolution only the multiply-adds. Counting the network adds one operation for each of "
        "the classifier's 1,000 biases.\n\n" + markdown_table(header, rows)
    )


@cache
def manifold_results() -> pd.DataFrame:
    """The manifold experiment with 1,000 matrices per dimension, for the table and the figure."""
    return manifold_experiment(draws=1000)


def manifold_section() -> str:
    """The collapsed fraction of MobileNetV2's Fig. 1 experiment against its closed form."""
    rows = [
        (
            f"{row.dimensions}",
            f"{row.expected_collapsed:.4f}",
            f"{row.collapsed:.4f} ± {row.collapsed_error:.4f}",
            f"{row.inverse:.2f}",
            f"{row.decoder:.2g}",
        )
        for row in manifold_results().itertuples()
    ]
    header = (
        "n",
        "collapsed, closed form",
        "collapsed, measured ± standard error",
        "error of T⁻¹",
        "best linear decoder",
    )
    return (
        "## Information lost by ReLU (MobileNetV2, Fig. 1)\n\n"
        "A spiral in the plane is embedded in n dimensions by 1,000 random Gaussian matrices T, passes ReLU, and "
        "returns to the plane. A point is collapsed if fewer than two of its n coordinates stay positive. Errors are "
        "squared errors relative to the spiral, median over the matrices. The generalized inverse T⁻¹ keeps an error "
        "of about 1/4 at any n, because ReLU halves the signal. With many dimensions, another linear map recovers the "
        "spiral.\n\n" + markdown_table(header, rows)
    )
