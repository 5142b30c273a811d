"""Plots of error distributions."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from analysis.display import label
from analysis.plots.style import axes_or_new, legend_above, series_style, tidy

MIN_FOR_BAND = 5
"""Minimum number of models for a band. With fewer, it covers almost the whole Axes."""


def plot_edf(
    frame: pd.DataFrame,
    *,
    by: str = "space",
    legend: Mapping[str, str] | None = None,
    limit: float | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Plot error EDFs with their simultaneous bands.

    Args:
        frame: from `edf_by`.
        by: column that defines the spaces.
        legend: legend text by space; by default the name.
        limit: right end of the error axis, percent; by default slightly above the largest error.
        ax: Axes to draw on; by default a new figure.
    """
    ax = tidy(axes_or_new(ax))
    finite = frame.loc[np.isfinite(frame["error"]), "error"]
    low, high = float(finite.min()), float(finite.max()) if limit is None else limit
    room = 0.04 * (high - low or 1)
    end = max(high, float(finite.max())) + room
    for position, name in enumerate(frame[by].unique()):
        curve = frame[frame[by] == name]
        # The curve is 0 up to the first error and 1 after the last.
        ends = np.concatenate([[low - room], np.minimum(curve["error"], end)])
        style = series_style(position)
        fraction, lower, upper = (
            np.concatenate([[curve[column].iloc[0]], curve[column]]) for column in ("fraction", "lower", "upper")
        )
        if curve["n"].iloc[0] >= MIN_FOR_BAND:
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
    ax.set(xlim=(low - room, high + room), ylim=(-0.02, 1.02))
    ax.set(xlabel=label("error_percent"), ylabel="fraction of models below this error")
    legend_above(ax)
    return ax


def plot_differences(frame: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Plot differences of mean error with their confidence intervals, one line per pair.

    Args:
        frame: from `compare_spaces`. Stacked matched and unmatched frames are allowed.
        ax: Axes to draw on; by default a new figure.
    """
    ax = tidy(axes_or_new(ax))
    for position, (_, row) in enumerate(frame.iterrows()):
        style = series_style(0 if row["matched_by"] != "none" else 6)
        y = -position
        ax.plot([row["difference_lower"], row["difference_upper"]], [y, y], color=style["color"], linewidth=2)
        ax.plot([row["difference"]], [y], marker=style["marker"], color=style["color"])
    ax.axvline(0, color="#888888", linewidth=1)
    pairs = [_pair_label(row) for _, row in frame.iterrows()]
    ax.set_yticks([-position for position in range(len(frame))], pairs, parse_math=False)
    ax.set_ylim(-len(frame) + 0.4, 0.6)
    ax.set_xlabel("difference of mean error (points)\nnegative: the first space is better")
    return ax


def _pair_label(row: pd.Series) -> str:
    matching = "unmatched" if row["matched_by"] == "none" else f"at equal {row['matched_by']}"
    return f"{row['a']} − {row['b']}\n{matching}, n {row['n_a']} and {row['n_b']}"


def plot_random_search(frame: pd.DataFrame, *, by: str = "space", ax: Axes | None = None) -> Axes:
    """Plot the error of the best of m random models against m, with the band of its median.

    Args:
        frame: from `random_search_by`.
        by: column that defines the spaces.
        ax: Axes to draw on; by default a new figure.
    """
    ax = tidy(axes_or_new(ax))
    for position, name in enumerate(frame[by].unique()):
        style, line = series_style(position), frame[frame[by] == name]
        # Omit the band where there is no bound: drawn to 0 %, it would compress the rest.
        bounded = line[(line["lower"] > 0) & (line["upper"] < 100)]
        if len(bounded) > 1:
            band = (bounded["draws"], bounded["lower"], bounded["upper"])
            ax.fill_between(*band, color=style["color"], alpha=0.15, linewidth=0)
        ax.plot(line["draws"], line["expected"], **style, linewidth=1.8, markersize=4, label=f"{name}: expected")
    ax.set_xscale("log", base=2)
    ax.xaxis.set_major_formatter(lambda value, _: f"{value:.0f}")
    ax.set(xlabel="random models trained", ylabel="error of the best model (%)")
    legend_above(ax)
    return ax
