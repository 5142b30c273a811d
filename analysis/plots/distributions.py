"""Plots of error distributions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from analysis.display import label
from analysis.formatting import interval
from analysis.plots.style import (
    FONT,
    MIN_FOR_INTERVAL,
    NEUTRAL,
    OTHER,
    axes_or_new,
    group_styles,
    legend_above,
    legend_inside,
    tidy,
)

MAX_INSIDE = 6
"""Maximum number of entries of a legend inside the Axes."""


def plot_edf(
    frame: pd.DataFrame,
    *,
    by: str = "space",
    order: Sequence[str] | None = None,
    legend: Mapping[str, str] | None = None,
    limit: float | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Plot error EDFs with their simultaneous bands.

    Args:
        frame: from `edf_by`.
        by: column that defines the spaces.
        order: all spaces in the order that fixes their colors; by default those of the frame.
        legend: legend text by space; by default the name.
        limit: right end of the error axis, percent; by default slightly above the largest error.
        ax: Axes to draw on; by default a new figure.
    """
    ax = tidy(axes_or_new(ax))
    finite = frame.loc[np.isfinite(frame["error"]), "error"]
    low, high = float(finite.min()), float(finite.max()) if limit is None else limit
    room = 0.04 * (high - low or 1)
    end = max(high, float(finite.max())) + room
    lower_right = 1.0  # of the curves, the smallest fraction in the right half
    styles = group_styles(frame[by], order)
    for name, style in styles.items():
        curve = frame[frame[by] == name]
        # The curve is 0 up to the first error and 1 after the last.
        ends = np.concatenate([[low - room], np.minimum(curve["error"], end)])
        fraction, lower, upper = (
            np.concatenate([[curve[column].iloc[0]], curve[column]]) for column in ("fraction", "lower", "upper")
        )
        if curve["n"].iloc[0] >= MIN_FOR_INTERVAL:
            ax.fill_between(ends, lower, upper, step="pre", color=style["color"], alpha=0.15, linewidth=0)
        ax.step(
            ends,
            fraction,
            where="pre",
            color=style["color"],
            linestyle=style["linestyle"],
            linewidth=2,
            label=(legend or {}).get(str(name), str(name)),
        )
        lower_right = min(lower_right, float(fraction[ends >= (low + high) / 2].min(initial=1.0)))
    ax.set(xlim=(low - room, high + room), ylim=(-0.02, 1.02))
    ax.set(xlabel=label("error_percent"), ylabel="fraction of models below this error")
    if len(styles) <= MAX_INSIDE and lower_right > 0.08 * (1 + len(styles)):
        legend_inside(ax, "lower right")
    else:
        legend_above(ax)
    return ax


def plot_differences(frame: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Forest plot: differences of mean error with their confidence intervals, one row per pair of spaces.

    Args:
        frame: from `compare_spaces`. In stacked matched and unmatched frames, unmatched differences are drawn hollow.
        ax: Axes to draw on; by default a new figure.
    """
    ax = tidy(axes_or_new(ax))
    pairs = list(dict.fromkeys(zip(frame["a"], frame["b"], strict=True)))
    matched = frame["matched_by"] != "none"
    both = matched.any() and not matched.all()
    for _, row in frame.iterrows():
        y = -pairs.index((row["a"], row["b"]))
        main = row["matched_by"] != "none" or not both
        color = OTHER["color"] if main else NEUTRAL
        offset = 0.12 if main and both else -0.2 if both else 0
        ax.plot(
            [row["difference_lower"], row["difference_upper"]],
            [y + offset] * 2,
            color=color,
            linewidth=2 if main else 1,
        )
        ax.plot(
            [row["difference"]],
            [y + offset],
            "o",
            color=color,
            markerfacecolor=None if main else "white",
            label=("at equal complexity" if main else "unmatched") if both else None,
        )
        if main:
            text = interval(row["difference"], row["difference_lower"], row["difference_upper"])
            ax.text(1.02, y, text, transform=ax.get_yaxis_transform(), fontsize=FONT, va="center")
    ax.axvline(0, color=NEUTRAL, linewidth=1)
    names = [f"{a} − {b}" if len(a) + len(b) <= 28 else f"{a}\n− {b}" for a, b in pairs]
    ax.set_yticks([-position for position in range(len(pairs))], names, parse_math=False)
    ax.set_ylim(-len(pairs) + 0.4, 0.6)
    ax.grid(visible=False, axis="y")
    ax.set_xlabel("difference of mean error, first − second (points)\n← first is better    second is better →")
    if both:
        handles = {name: handle for handle, name in zip(*ax.get_legend_handles_labels(), strict=True)}
        ax.legend(handles.values(), handles.keys(), loc="lower left", bbox_to_anchor=(0, 1), frameon=False, ncols=2)
    return ax


def plot_random_search(
    frame: pd.DataFrame, *, by: str = "space", order: Sequence[str] | None = None, ax: Axes | None = None
) -> Axes:
    """Plot the median error of the best of m random models against m, with its band.

    Args:
        frame: from `random_search_by`.
        by: column that defines the spaces.
        order: all spaces in the order that fixes their colors; by default those of the frame.
        ax: Axes to draw on; by default a new figure.
    """
    ax = tidy(axes_or_new(ax))
    for name, style in group_styles(frame[by], order).items():
        line = frame[frame[by] == name]
        # Omit the band where there is no bound: drawn to 0 %, it would compress the rest.
        bounded = line[(line["lower"] > 0) & (line["upper"] < 100)]
        if len(bounded) > 1:
            band = (bounded["draws"], bounded["lower"], bounded["upper"])
            ax.fill_between(*band, color=style["color"], alpha=0.15, linewidth=0)
        ax.plot(line["draws"], line["median"], **style, linewidth=1.8, markersize=4, label=str(name))
    ax.set_xscale("log", base=2)
    ax.xaxis.set_major_formatter(lambda value, _: f"{value:.0f}")
    ax.set(xlabel="random models trained", ylabel="median error of the best model (%)")
    legend_above(ax)
    return ax


def plot_search(
    curves: pd.DataFrame, reference: pd.DataFrame, *, order: Sequence[str] | None = None, ax: Axes | None = None
) -> Axes:
    """Plot the smallest error so far of searches of one space against the number of trained models.

    Args:
        curves: from `search_efficiency`, one space; the median and quartiles over the runs where there are several.
        reference: random search in that space, drawn in gray with its band where there are enough random draws.
        order: all strategies in the order that fixes their colors; by default those of the frame.
        ax: Axes to draw on; by default a new figure.
    """
    ax = tidy(axes_or_new(ax))
    bounded = reference[(reference["lower"] > 0) & (reference["upper"] < 100)]
    ax.fill_between(bounded["draws"], bounded["lower"], bounded["upper"], color=NEUTRAL, alpha=0.2, linewidth=0)
    ax.plot(reference["draws"], reference["median"], color=NEUTRAL, linewidth=1.8, label="random search")
    for name, style in group_styles(curves["strategy"], order).items():
        curve = curves[curves["strategy"] == name]
        runs = int(curve["runs"].iloc[0])
        line = {"color": style["color"], "linestyle": style["linestyle"], "drawstyle": "steps-post"}
        if runs > 1:
            ends = (curve["models"], curve["quarter"], curve["three_quarters"])
            ax.fill_between(*ends, step="post", color=style["color"], alpha=0.15, linewidth=0)
        ax.plot(
            curve["models"],
            curve["median"],
            linewidth=1.8,
            label=str(name) if runs == 1 else f"{name} ({runs} runs)",
            **line,
        )
    ax.set(xlabel="models trained", ylabel="smallest error so far (%)")
    # The first models would compress the part where the curves differ.
    shown = np.concatenate([curves["median"], reference["median"]])
    low, high = np.nanmin(shown), np.nanquantile(shown, 0.95)
    ax.set_ylim(low - 0.1 * (high - low), high + 0.25 * (high - low) or None)
    legend_above(ax)
    return ax
