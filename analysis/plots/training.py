"""Plots of learning curves and of rank agreement."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

from analysis.display import label
from analysis.plots.style import NEUTRAL, axes_or_new, group_styles, legend_above, series_style, tidy

AGREEMENTS = {
    "spearman": "Spearman's ρ",
    "kendall": "Kendall's τ",
    "top_overlap": "overlap of the top 10 %",
    "order": "pairs of spaces in the same order",
}


def plot_learning_curves(
    frame: pd.DataFrame, *, by: str = "space", order: Sequence[str] | None = None, ax: Axes | None = None
) -> Axes:
    """Median and quartiles of the validation error by epoch, and the curve of the best model (thin).

    Args:
        frame: from `learning_curves`.
        by: column that defines the spaces.
        order: all spaces in the order that fixes their colors; by default those of the frame.
        ax: Axes to draw on; by default a new figure.
    """
    ax = tidy(axes_or_new(ax))
    for name, style in group_styles(frame[by], order).items():
        line = frame[frame[by] == name]
        ax.fill_between(line["epoch"], line["lower"], line["upper"], color=style["color"], alpha=0.18, linewidth=0)
        ax.plot(line["epoch"], line["median"], **style, linewidth=1.8, markersize=4, label=str(name))
        ax.plot(line["epoch"], line["best"], color=style["color"], linestyle=style["linestyle"], linewidth=0.8)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    if frame["upper"].max() > 8 * frame["best"].min() > 0:
        ax.set_yscale("log")
        ax.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
        ax.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 3.0, 5.0)))
        ax.yaxis.set_minor_formatter(NullFormatter())
    ax.set(xlabel="epoch", ylabel=label("error_percent"))
    legend_above(ax)
    return ax


def plot_rank_agreement(frame: pd.DataFrame, *, threshold: float | None = None, ax: Axes | None = None) -> Axes:
    """Agreement of the ranking after each epoch with the ranking after the last.

    Args:
        frame: from `epoch_fidelity`.
        threshold: horizontal line.
        ax: Axes to draw on; by default a new figure.
    """
    ax = tidy(axes_or_new(ax))
    for position, (column, name) in enumerate(AGREEMENTS.items()):
        if frame[column].notna().any():
            ax.plot(
                frame["epoch"], frame[column], **series_style(6 + position), linewidth=1.8, markersize=4, label=name
            )
    ax.fill_between(
        frame["epoch"],
        frame["spearman_lower"],
        frame["spearman_upper"],
        color=series_style(6)["color"],
        alpha=0.15,
        linewidth=0,
    )
    if threshold is not None:
        ax.axhline(threshold, color=NEUTRAL, linewidth=1, linestyle=":")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.set(xlabel="epoch", ylabel="agreement with the last epoch", ylim=(min(0.0, frame["kendall"].min()), 1.03))
    legend_above(ax)
    return ax
