"""Plots of restrictions of a space."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from numpy.typing import NDArray

from analysis.display import label
from analysis.plots.style import COLORS, FONT, NEUTRAL, axes_or_new, label_axes, legend_above, scale_x, tidy

VERDICT_COLORS = {"better": COLORS[2], "simpler": COLORS[0], "undecided": NEUTRAL, "worse": COLORS[1]}
MAX_ROWS = 15


def plot_restrictions(frame: pd.DataFrame, margin: float, *, ax: Axes | None = None) -> Axes:
    """Forest plot: effect of each restriction on the mean error, with its simultaneous interval.

    Args:
        frame: columns of `analysis.refine.REFINE_COLUMNS`; the first rows with an estimate are drawn.
        margin: of equivalence, points, drawn as a band.
        ax: Axes to draw on; by default a new figure.
    """
    ax = tidy(axes_or_new(ax))
    rows = frame[frame["effect"].notna()].head(MAX_ROWS)
    ax.axvspan(-margin, margin, color=NEUTRAL, alpha=0.15, linewidth=0, label=f"within ±{margin:.2g} points")
    ax.axvline(0, color=NEUTRAL, linewidth=1)
    named: set[str] = set()
    for place, (_, row) in enumerate(rows.iterrows()):
        verdict = str(row["verdict"])
        color = VERDICT_COLORS[verdict]
        ax.plot([row["effect_lower"], row["effect_upper"]], [-place] * 2, color=color, linewidth=2)
        name = None if verdict in named else verdict
        ax.plot([row["effect"]], [-place], "o", color=color, markersize=5, label=name)
        named.add(verdict)
    texts = [f"{text if len(text) <= 34 else text[:33] + '…'}" for text in rows["restriction"]]
    ax.set_yticks([-place for place in range(len(rows))], texts, fontsize=FONT, parse_math=False)
    ax.set_ylim(-len(rows) + 0.4, 0.6)
    ax.grid(visible=False, axis="y")
    ax.set_xlabel("effect on the mean error (points)\n← restricted space is better    worse →")
    legend_above(ax)
    return ax


def plot_kept(
    models: pd.DataFrame, kept: NDArray[np.bool_], restriction: str, x: str | None = "macs", ax: Axes | None = None
) -> Axes:
    """Scatter plot of the models that a restriction keeps and drops.

    Args:
        models: columns error_percent and `x`.
        kept: shape (n,).
        restriction: its text.
        x: complexity column; None for the order of the models.
        ax: Axes to draw on; by default a new figure.
    """
    ax = tidy(axes_or_new(ax))
    position = np.arange(len(models)) if x is None else models[x].to_numpy(dtype=float)
    errors = models["error_percent"].to_numpy(dtype=float)
    for inside, color, marker, name in ((False, COLORS[1], "x", "dropped"), (True, COLORS[0], "o", "kept")):
        part = kept == inside
        text = f"{restriction}: {name} {int(part.sum()):,}" if inside else f"{name} {int(part.sum()):,}"
        ax.scatter(position[part], errors[part], s=18, color=color, marker=marker, linewidths=1, alpha=0.8, label=text)
    scale_x(ax, x or "", position)
    label_axes(ax, "model" if x is None else label(x), label("error_percent"))
    legend_above(ax)
    return ax
