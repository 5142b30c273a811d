"""Pictures of networks by the widths of their blocks."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from analysis.number_text import short
from analysis.plots.style import axes_or_new, legend_above, look, tidy


def plot_width_profiles(frame: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Widths of networks block by block with the quantized linear rule fitted to them, on a logarithmic axis.

    Args:
        frame: as made by `analysis.profiles.width_profiles`: columns model, block, width, predicted, group,
            error_percent.
        ax: where to draw; a new figure by default.
    """
    ax = tidy(axes_or_new(ax))
    for position, group in enumerate(frame["group"].unique()):
        style = look(position)
        for place, (_, line) in enumerate(frame[frame["group"] == group].groupby("model", sort=False)):
            ax.step(
                line["block"],
                line["width"],
                where="mid",
                color=style["color"],
                linestyle=style["linestyle"],
                linewidth=1.6,
                alpha=0.85,
                label=_told(group, frame[frame["group"] == group]["error_percent"]) if place == 0 else None,
            )
            ax.plot(line["block"], line["predicted"], marker=".", markersize=3, linestyle="", color=style["color"])
    ax.set_yscale("log", base=2)
    ax.yaxis.set_major_formatter(lambda value, _: short(value))
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.set(xlabel="block", ylabel="width (channels)")
    legend_above(ax)
    return ax


def _told(group: str, errors: pd.Series) -> str:
    return f"{group}: {errors.min():.2f} to {errors.max():.2f} %"


def plot_linear_structure(
    widths: pd.DataFrame, slope: float, intercept: float, *, name: str = "best models", ax: Axes | None = None
) -> Axes:
    """Widths of the best networks block by block and the straight line through them, on a logarithmic axis.

    Args:
        widths: `analysis.profiles.LinearStructure.widths`: columns model, block, width.
        slope, intercept: of the line.
        name: what the networks are, for the legend.
        ax: where to draw; a new figure by default.
    """
    ax = tidy(axes_or_new(ax))
    for place, (_, line) in enumerate(widths.groupby("model", sort=False)):
        told = name if place == 0 else None
        ax.step(
            line["block"], line["width"], where="mid", color=look(0)["color"], alpha=0.35, linewidth=1.2, label=told
        )
    blocks = np.arange(widths["block"].max() + 1)
    fitted = slope * blocks + intercept
    sign = "+" if intercept >= 0 else "−"
    ax.plot(
        blocks[fitted > 0],
        fitted[fitted > 0],
        color=look(1)["color"],
        linewidth=2.2,
        label=f"w = {slope:.1f}·j {sign} {abs(intercept):.0f}",
    )
    ax.set_yscale("log", base=2)
    ax.yaxis.set_major_formatter(lambda value, _: short(value))
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.set(xlabel="block", ylabel="width (channels)")
    legend_above(ax)
    return ax
