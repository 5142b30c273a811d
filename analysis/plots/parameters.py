"""Pictures of the error against what a network is made of."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.patheffects import withStroke
from matplotlib.transforms import ScaledTranslation, blended_transform_factory

from analysis.display import label
from analysis.number_text import short
from analysis.plots.style import axes_or_new, label_axes, legend_above, look, padded, scale_x, tidy

FEW_VALUES = 12
"""Up to this many distinct values a parameter is drawn as columns of points."""
FEWEST_FOR_AN_INTERVAL = 5
"""The t-interval of a smaller group reaches over the whole picture, and says no more."""


def plot_parameter(
    frame: pd.DataFrame,
    parameter: str,
    *,
    by: str = "space",
    trend: pd.DataFrame | None = None,
    ranges: pd.DataFrame | None = None,
    limit: float | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Error of every model against one of its numbers, with group means and the range of the best.

    Args:
        frame: columns `by`, `parameter`, `error_percent` and, if failed models are to be marked, `failed`.
        trend: columns `by` and those of `analysis.trends.trend`; drawn as means, with intervals from five models on.
        ranges: columns `by`, `lower`, `likely`, `upper`; drawn as bars above the points, a tick at the likely best.
        limit: upper end of the error axis, percent; models beyond it are drawn there.
        ax: where to draw; a new figure by default.
    """
    ax = tidy(axes_or_new(ax))
    names = list(frame[by].unique())
    few = frame[parameter].nunique() <= FEW_VALUES
    frame = frame.assign(error_percent=frame["error_percent"].clip(upper=limit))
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
            bars[:, line["n"] < FEWEST_FOR_AN_INTERVAL] = 0
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
                zorder=3,
                path_effects=[withStroke(linewidth=3, foreground="white")],
            )
    scale_x(ax, frame[parameter])
    # The models set the scale: the interval of a small group may reach far beyond, and a shifted artist sets none.
    ax.set_xlim(*padded(frame[parameter], logarithmic=ax.get_xscale() == "log"))
    ax.set_ylim(*padded(frame["error_percent"]))
    if ranges is not None and len(ranges):
        _range_bars(ax, ranges, names, by)
    label_axes(ax, label(parameter), label("error_percent"))
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


def plot_regimes(
    frame: pd.DataFrame,
    parameter: str,
    *,
    by: str = "space",
    trends: pd.DataFrame | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Best range of a parameter in every regime of complexity, the likely best joined by a line.

    Args:
        frame: as made by `analysis.regimes.best_by_regime`.
        parameter: of the frame's column `parameter`.
        by: the column that names the spaces.
        trends: as made by `analysis.regimes.regime_trends`; a power law whose interval leaves out 0 is drawn, dotted.
        ax: where to draw; a new figure by default.
    """
    ax = tidy(axes_or_new(ax))
    mine = frame[frame["parameter"] == parameter]
    for position, name in enumerate(frame[by].unique()):
        style, line = look(position), mine[mine[by] == name]
        if line.empty:
            continue
        # Bars of several spaces stand beside each other.
        x = line["complexity"] * 1.02 ** (position - (frame[by].nunique() - 1) / 2)
        ax.vlines(x, line["lower"], line["upper"], color=style["color"], linewidth=5, alpha=0.3)
        ax.plot(x, line["likely"], **style, linewidth=1.6, markersize=5, label=str(name))
        law = None if trends is None else trends[(trends[by] == name) & (trends["parameter"] == parameter)]
        if law is not None and len(law) and not law["lower"].iloc[0] <= 0 <= law["upper"].iloc[0]:
            fitted = law["factor"].iloc[0] * line["complexity"] ** law["exponent"].iloc[0]
            told = f"∝ macs^{law['exponent'].iloc[0]:.2f}"
            ax.plot(line["complexity"], fitted, color=style["color"], linestyle=":", linewidth=1.4, label=told)
    ax.set_xscale("log")
    centres = max((line["complexity"] for _, line in mine.groupby(by)), key=len)
    ax.set_xticks(centres, [short(float(f"{centre:.2g}")) for centre in centres])
    ax.set_xticks([], minor=True)
    values = mine[["lower", "upper"]].to_numpy(dtype=float)
    if values.min() > 0 and values.max() / values.min() >= 8:
        ax.set_yscale("log", base=2 if values.max() < 1e4 else 10)
    ax.yaxis.set_major_formatter(lambda value, _: short(value))
    whose = " of the best" if parameter == "error_percent" else ""
    label_axes(ax, label("macs"), label(parameter).replace(" (", f"{whose} (", 1))
    legend_above(ax)
    return ax


def plot_importance(frame: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Permutation importance of each parameter as a bar with its spread.

    Args:
        frame: `analysis.importance.Importance.table`.
        ax: where to draw; a new figure by default.
    """
    ax = tidy(axes_or_new(ax))
    place = -np.arange(len(frame))
    ax.barh(place, frame["importance"], color=look(0)["color"], alpha=0.75, height=0.6)
    ax.hlines(place, frame["lower"], frame["upper"], color="#222222", linewidth=1.4)
    ax.axvline(0, color="#888888", linewidth=1)
    ax.set_yticks(place, [label(name) for name in frame["parameter"]], parse_math=False)
    ax.set_xlabel("points of prediction error added by shuffling it")
    return ax


def plot_dependence(frame: pd.DataFrame, parameter: str, *, ax: Axes | None = None) -> Axes:
    """Mean predicted error with one parameter set to a value in every model.

    Args:
        frame: `analysis.importance.Importance.dependence`.
        parameter: of the frame's column `parameter`.
        ax: where to draw; a new figure by default.
    """
    ax = tidy(axes_or_new(ax))
    line = frame[frame["parameter"] == parameter]
    ax.plot(line["value"], line["error"], **look(0), linewidth=1.8, markersize=4)
    scale_x(ax, line["value"])
    ax.set_ylim(*padded(frame["error"]))  # one scale for all parameters: a flat line is an unimportant one
    label_axes(ax, label(parameter), "predicted error (%)")
    return ax


def plot_pareto(
    frame: pd.DataFrame,
    objective: str = "macs",
    *,
    by: str = "space",
    front: str = "pareto",
    limit: float | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Every model by complexity and error, those that no other beats joined by steps.

    Args:
        frame: columns `by`, `objective`, `error_percent` and `front` (bool, as from `analysis.pareto.pareto_front`).
        objective: the horizontal axis.
        by: the column that names the spaces.
        front: the column that marks the front.
        limit: upper end of the error axis, percent; models beyond it are drawn there.
        ax: where to draw; a new figure by default.
    """
    ax = tidy(axes_or_new(ax))
    frame = frame.assign(error_percent=frame["error_percent"].clip(upper=limit))
    for position, name in enumerate(frame[by].unique()):
        style, mine = look(position), frame[frame[by] == name]
        point: dict[str, Any] = {"color": style["color"], "marker": style["marker"], "linewidths": 0}
        ax.scatter(mine[objective], mine["error_percent"], s=14, alpha=0.3, **point)
        best = mine[mine[front]]
        ax.scatter(best[objective], best["error_percent"], s=42, label=str(name), zorder=3, **point)
    line = frame[frame[front]].sort_values(objective)
    ax.step(line[objective], line["error_percent"], where="post", color="#444444", linewidth=1.2, zorder=2)
    scale_x(ax, frame[objective].dropna())
    label_axes(ax, label(objective), label("error_percent"))
    legend_above(ax)
    return ax
