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


def plot_recipes(frame: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Agreement of each recipe with the reference over its cost, with intervals; baselines are horizontal lines.

    Args:
        frame: from `compare_recipes`.
        ax: Axes to draw on; by default a new figure.
    """
    ax = tidy(axes_or_new(ax))
    trained = frame[frame["seeds"] > 0]
    stopped = trained["recipe"].str.contains(", stopped after")
    kinds = {
        "one seed": (trained["seeds"] == 1) & ~stopped,
        "mean over seeds": trained["seeds"] > 1,
        "reference, stopped early": stopped,
    }
    for position, (name, rows) in enumerate(kinds.items()):
        points = trained[rows & trained["spearman"].notna()]
        if points.empty:
            continue
        ends = (points["spearman"] - points["spearman_lower"], points["spearman_upper"] - points["spearman"])
        style = {key: value for key, value in series_style(position).items() if key != "linestyle"}
        ax.errorbar(
            points["cost"],
            points["spearman"],
            ends,
            **style,
            linestyle="none",
            elinewidth=0.8,
            markersize=5,
            label=name,
        )
        if position < 2:
            for _, row in points.iterrows():
                ax.annotate(
                    row["recipe"], (row["cost"], row["spearman"]), (4, 4), textcoords="offset points", fontsize=7
                )
    for _, row in frame[frame["seeds"] == 0].iterrows():
        ax.axhline(row["spearman"], color=NEUTRAL, linewidth=1, linestyle=":")
        ax.annotate(
            row["recipe"],
            (1, row["spearman"]),
            (0, 2),
            xycoords=ax.get_yaxis_transform(),
            textcoords="offset points",
            ha="right",
            fontsize=7,
        )
    ax.set_xscale("log")
    ax.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    ax.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.set(xlabel="seconds per network", ylabel="Spearman's ρ with the reference")
    legend_above(ax)
    return ax
