"""Plots of the manifold experiment of `analysis.manifold`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from analysis.plots.style import NEUTRAL, axes_or_new, legend_above, series_style, tidy

if TYPE_CHECKING:
    from analysis.manifold import Embedding


def plot_manifold(frame: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Collapsed points, with their closed form, and relative reconstruction errors by dimension.

    Args:
        frame: from `manifold_experiment`.
        ax: Axes to draw on; by default a new figure.
    """
    ax = tidy(axes_or_new(ax))
    at = np.arange(len(frame))
    ax.plot(at, frame["expected_collapsed"], color=NEUTRAL, linewidth=5, alpha=0.5, label="collapsed, closed form")
    ax.plot(at, frame["collapsed"], **series_style(0), linewidth=1.2, markersize=4, label="collapsed, mean")
    names = {"inverse": "error of the generalized inverse", "decoder": "error of the best linear decoder"}
    for position, (column, name) in enumerate(names.items(), start=1):
        style = series_style(position)
        lower, upper = frame[f"{column}_lower"], frame[f"{column}_upper"]
        ax.fill_between(at, lower, upper, color=style["color"], alpha=0.18, linewidth=0)
        ax.plot(at, frame[column], **style, linewidth=1.8, markersize=4, label=name)
    ax.set_xticks(at, [f"{n}" for n in frame["dimensions"]])
    ax.set(xlabel="dimensions n", ylabel="fraction", ylim=(0, None))
    legend_above(ax)
    return ax


def plot_embedding(embedding: Embedding, *, ax: Axes | None = None) -> Axes:
    """Points before the embedding (line) and after their return by the generalized inverse; collapsed ones differ.

    Args:
        embedding: from `embed`.
        ax: Axes to draw on; by default a new figure.
    """
    ax = axes_or_new(ax)
    ax.plot(*embedding.points.T, color=NEUTRAL, linewidth=0.8, label="input")
    for position, (name, rows) in enumerate(
        {"returned": ~embedding.collapsed, "returned, collapsed": embedding.collapsed}.items()
    ):
        color = series_style(position)["color"]
        ax.plot(*embedding.inverse[rows].T, color=color, linestyle="none", marker=".", markersize=3, label=name)
    ax.set_aspect("equal")
    ax.set_axis_off()
    return ax
