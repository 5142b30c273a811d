"""Plots of block widths."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from analysis.formatting import si_format
from analysis.plots.style import COLORS, axes_or_new, legend_above, series_style, tidy


def plot_width_profiles(frame: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Block widths with the fitted quantized linear rule, on a logarithmic axis.

    Args:
        frame: from `width_profiles`.
        ax: Axes to draw on; by default a new figure.
    """
    ax = tidy(axes_or_new(ax))
    for position, group in enumerate(frame["group"].unique()):
        style = series_style(6 + position)
        for number, (_, line) in enumerate(frame[frame["group"] == group].groupby("model", sort=False)):
            ax.step(
                line["block"],
                line["width"],
                where="mid",
                color=style["color"],
                linestyle=style["linestyle"],
                linewidth=1.6,
                alpha=0.85,
                label=_group_label(group, frame[frame["group"] == group]["error_percent"]) if number == 0 else None,
            )
            ax.plot(line["block"], line["predicted"], marker=".", markersize=3, linestyle="", color=style["color"])
    ax.set_yscale("log", base=2)
    ax.yaxis.set_major_formatter(lambda value, _: si_format(value))
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.set(xlabel="block", ylabel="width (channels)")
    legend_above(ax)
    return ax


def _group_label(group: str, errors: pd.Series) -> str:
    return f"{group}: {errors.min():.2f} to {errors.max():.2f} %"


def plot_linear_structure(
    widths: pd.DataFrame,
    slope: float,
    intercept: float,
    *,
    name: str = "best models",
    color: str = COLORS[0],
    ax: Axes | None = None,
) -> Axes:
    """Block widths of the best networks and the straight line through them.

    Args:
        widths: `LinearStructure.widths`.
        slope, intercept: of the line.
        name: legend entry of the networks.
        color: of the networks.
        ax: Axes to draw on; by default a new figure.
    """
    ax = tidy(axes_or_new(ax))
    for number, (_, line) in enumerate(widths.groupby("model", sort=False)):
        text = name if number == 0 else None
        ax.step(
            line["block"],
            line["width"],
            where="mid",
            color=color,
            alpha=0.35,
            linewidth=1.2,
            label=text,
        )
    blocks = np.arange(widths["block"].max() + 1)
    sign = "+" if intercept >= 0 else "−"
    ax.plot(
        blocks,
        slope * blocks + intercept,
        color="#222222",
        linewidth=2,
        label=f"w = {slope:.1f}·j {sign} {abs(intercept):.0f}",
    )
    ax.set_ylim(bottom=0)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.set(xlabel="block", ylabel="width (channels)")
    legend_above(ax)
    return ax
