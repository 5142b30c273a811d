"""Pictures of what the statistics found: each draws a frame onto Axes and returns them, and computes nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.transforms import ScaledTranslation, blended_transform_factory

from analysis.style import axes_or_new, label, legend_above, look, padded, scale_x, short, tidy

FEW_VALUES = 12
"""Up to this many distinct values a parameter is drawn as columns of points."""


def plot_edf(
    frame: pd.DataFrame,
    *,
    by: str = "space",
    legend: Mapping[str, str] | None = None,
    limit: float | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Error distributions with their simultaneous bands.

    Args:
        frame: as made by `analysis.edf.edf_by`.
        legend: text of each space in the legend, e.g. with n, min and mean; its label by default.
        limit: right end of the error axis, percent; by default a little beyond the largest error.
        ax: where to draw; a new figure by default.
    """
    ax = tidy(axes_or_new(ax))
    finite = frame.loc[np.isfinite(frame["error"]), "error"]
    low, high = float(finite.min()), float(finite.max()) if limit is None else limit
    room = 0.04 * (high - low or 1)
    for position, name in enumerate(frame[by].unique()):
        curve = frame[frame[by] == name]
        # The curve is 0 from the left edge to the first error and 1 from the last error to the right edge.
        ends = np.concatenate([[low - room], np.minimum(curve["error"], high + room)])
        style = look(position)
        fraction, lower, upper = (
            np.concatenate([[curve[column].iloc[0]], curve[column]]) for column in ("fraction", "lower", "upper")
        )
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
    ax.set(xlabel=label("error_percent"), ylabel="fraction of models below")
    ax.legend(frameon=True, framealpha=0.9, edgecolor="none", loc="lower right", fontsize="small")
    return ax


def plot_parameter(
    frame: pd.DataFrame,
    parameter: str,
    *,
    by: str = "space",
    trend: pd.DataFrame | None = None,
    ranges: pd.DataFrame | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Error of every model against one of its numbers, with group means and the range of the best.

    Args:
        frame: columns `by`, `parameter`, `error_percent` and, if failed models are to be marked, `failed`.
        trend: columns `by` and those of `analysis.trends.trend`; drawn as means with intervals.
        ranges: columns `by`, `lower`, `likely`, `upper`; drawn as bars above the points, a tick at the likely best.
        ax: where to draw; a new figure by default.
    """
    ax = tidy(axes_or_new(ax))
    names = list(frame[by].unique())
    few = frame[parameter].nunique() <= FEW_VALUES
    for position, name in enumerate(names):
        style = look(position)
        # Where values are few, spaces stand beside each other instead of on each other.
        shift = (position - (len(names) - 1) / 2) * 5 / 72 if few else 0.0
        place = ax.transData + ScaledTranslation(shift, 0, ax.figure.dpi_scale_trans)
        mine = frame[frame[by] == name]
        failed = mine["failed"].astype(bool) if "failed" in mine else pd.Series(False, index=mine.index)
        ok = mine[~failed]
        point: dict[str, Any] = {"color": style["color"], "s": 18, "alpha": 0.55, "linewidths": 0, "transform": place}
        ax.scatter(ok[parameter], ok["error_percent"], marker=style["marker"], label=str(name), **point)
        if failed.any():
            lost = mine[failed]
            ax.scatter(
                lost[parameter],
                lost["error_percent"],
                marker="x",
                color=style["color"],
                s=26,
                linewidths=1.2,
                transform=place,
            )
        if trend is not None:
            line = trend[trend[by] == name]
            bars = np.array([line["mean"] - line["lower"], line["upper"] - line["mean"]])
            ax.errorbar(
                line["value"],
                line["mean"],
                yerr=np.nan_to_num(bars),
                color=style["color"],
                linestyle=style["linestyle"],
                linewidth=1.6,
                elinewidth=1,
                capsize=2,
                transform=place,
            )
    scale_x(ax, frame[parameter])
    # The models set the scale: the interval of a small group may reach far beyond, and a shifted artist sets none.
    ax.set_xlim(*padded(frame[parameter], logarithmic=ax.get_xscale() == "log"))
    ax.set_ylim(*padded(frame["error_percent"]))
    if ranges is not None and len(ranges):
        _range_bars(ax, ranges, names, by)
    ax.set(xlabel=label(parameter), ylabel=label("error_percent"))
    legend_above(ax)
    return ax


def _range_bars(ax: Axes, ranges: pd.DataFrame, names: list[str], by: str) -> None:
    """Horizontal bars in a strip above the highest point, one a space."""
    low, high = ax.get_ylim()
    ax.set_ylim(low, high + (high - low) * (0.05 + 0.05 * len(names)))
    place = blended_transform_factory(ax.transData, ax.transAxes)
    for position, name in enumerate(names):
        found = ranges[ranges[by] == name]
        if found.empty:
            continue
        row, colour, y = found.iloc[0], look(position)["color"], 0.97 - 0.045 * position
        ax.plot([row["lower"], row["upper"]], [y, y], color=colour, linewidth=4, alpha=0.5, transform=place)
        ax.plot([row["likely"]], [y], marker="|", markersize=11, markeredgewidth=2, color=colour, transform=place)


def plot_differences(frame: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Differences of mean error with their intervals, one line a pair.

    Args:
        frame: as made by `analysis.compare.compare_spaces`; several stacked frames (matched and not) are fine.
        ax: where to draw; a new figure by default.
    """
    ax = tidy(axes_or_new(ax))
    for place, (_, row) in enumerate(frame.iterrows()):
        style = look(0 if row["matched_by"] != "none" else 6)
        y = -place
        ax.plot([row["difference_lower"], row["difference_upper"]], [y, y], color=style["color"], linewidth=2)
        ax.plot([row["difference"]], [y], marker=style["marker"], color=style["color"])
    ax.axvline(0, color="#888888", linewidth=1)
    ax.set_yticks([-place for place in range(len(frame))], [_pair_label(row) for _, row in frame.iterrows()])
    ax.set_ylim(-len(frame) + 0.4, 0.6)
    ax.set_xlabel("difference of mean error (points); left of 0 the first is better")
    return ax


def _pair_label(row: pd.Series) -> str:
    how = "as drawn" if row["matched_by"] == "none" else f"at equal {row['matched_by']}"
    return f"{row['a']} − {row['b']}\n{how}"


def plot_width_profiles(frame: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Widths of networks block by block with the quantized linear rule fitted to them, on a logarithmic axis.

    Args:
        frame: as made by `analysis.profiles.width_profiles`: columns model, block, width, predicted, group.
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
                label=group if place == 0 else None,
            )
            ax.plot(line["block"], line["predicted"], marker=".", markersize=3, linestyle="", color=style["color"])
    ax.set_yscale("log", base=2)
    ax.yaxis.set_major_formatter(lambda value, _: short(value))
    ax.set(xlabel="block", ylabel="width (channels)")
    legend_above(ax)
    return ax
