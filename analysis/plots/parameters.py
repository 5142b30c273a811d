"""Plots of the error against parameters and complexity."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.patheffects import withStroke
from matplotlib.transforms import ScaledTranslation, blended_transform_factory

from analysis.display import label
from analysis.formatting import si_format
from analysis.plots.style import axes_or_new, label_axes, legend_above, padded, scale_x, series_style, tidy

FEW_VALUES = 12
"""Maximum number of distinct values for which the spaces are shifted apart horizontally."""
MIN_FOR_INTERVAL = 5
"""Minimum group size for an interval of the mean. With fewer models, it covers almost the whole Axes."""


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
    """Scatter plot of error against a parameter, with group means and the range of the best models.

    Args:
        frame: columns `by`, `parameter`, `error_percent` and optionally `failed`, to mark failed models.
        parameter: column of the horizontal axis.
        by: column that defines the spaces.
        trend: columns `by` and those of `trend`; group means, with intervals for at least five models.
        ranges: columns `by`, `lower`, `likely`, `upper`; bars above the points, with a tick at the most likely best
            value.
        limit: upper end of the error axis, percent. Larger errors are drawn there.
        ax: Axes to draw on; by default a new figure.
    """
    ax = tidy(axes_or_new(ax))
    names = list(frame[by].unique())
    few = frame[parameter].nunique() <= FEW_VALUES
    frame = frame.assign(error_percent=frame["error_percent"].clip(upper=limit))
    for position, name in enumerate(names):
        style = series_style(position)
        # With few distinct values, shift the spaces apart.
        shift = (position - (len(names) - 1) / 2) * 5 / 72 if few else 0.0
        shifted = ax.transData + ScaledTranslation(shift, 0, ax.figure.dpi_scale_trans)
        mine = frame[frame[by] == name]
        failed = mine["failed"].astype(bool) if "failed" in mine else pd.Series(False, index=mine.index)
        ok = mine[~failed]
        point: dict[str, Any] = {"color": style["color"], "s": 18, "alpha": 0.55, "linewidths": 0, "transform": shifted}
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
                transform=shifted,
            )
        if trend is not None:
            line = trend[trend[by] == name]
            bars = np.array([line["mean"] - line["lower"], line["upper"] - line["mean"]])
            bars[:, line["n"] < MIN_FOR_INTERVAL] = 0
            ax.errorbar(
                line["value"],
                line["mean"],
                yerr=np.nan_to_num(bars),
                color=style["color"],
                linestyle=style["linestyle"],
                linewidth=1.6,
                elinewidth=1,
                capsize=2,
                transform=shifted,
                zorder=3,
                path_effects=[withStroke(linewidth=3, foreground="white")],
            )
    scale_x(ax, frame[parameter])
    # Scale the axes to the models, because intervals can extend far beyond and shifted artists are ignored.
    ax.set_xlim(*padded(frame[parameter], logarithmic=ax.get_xscale() == "log"))
    ax.set_ylim(*padded(frame["error_percent"]))
    if ranges is not None and len(ranges):
        _range_bars(ax, ranges, names, by)
    label_axes(ax, label(parameter), label("error_percent"))
    legend_above(ax)
    return ax


def _range_bars(ax: Axes, ranges: pd.DataFrame, names: list[str], by: str) -> None:
    """Horizontal bars above the highest point, one per space."""
    low, high = ax.get_ylim()
    ax.set_ylim(low, high + (high - low) * (0.05 + 0.05 * len(names)))
    transform = blended_transform_factory(ax.transData, ax.transAxes)
    for position, name in enumerate(names):
        rows = ranges[ranges[by] == name]
        if rows.empty:
            continue
        row, color, y = rows.iloc[0], series_style(position)["color"], 0.97 - 0.045 * position
        ax.plot([row["lower"], row["upper"]], [y, y], color=color, linewidth=4, alpha=0.5, transform=transform)
        ax.plot([row["likely"]], [y], marker="|", markersize=11, markeredgewidth=2, color=color, transform=transform)


def plot_regimes(
    frame: pd.DataFrame,
    parameter: str,
    *,
    by: str = "space",
    trends: pd.DataFrame | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Best range of a parameter in every complexity regime, with a line through the most likely best values.

    Args:
        frame: from `best_by_regime`.
        parameter: value of the column `parameter`.
        by: column that defines the spaces.
        trends: from `regime_trends`. Significant power laws are drawn as dotted lines.
        ax: Axes to draw on; by default a new figure.
    """
    ax = tidy(axes_or_new(ax))
    mine = frame[frame["parameter"] == parameter]
    for position, name in enumerate(frame[by].unique()):
        style, line = series_style(position), mine[mine[by] == name]
        if line.empty:
            continue
        # Shift the bars of the spaces apart.
        x = line["complexity"] * 1.02 ** (position - (frame[by].nunique() - 1) / 2)
        ax.vlines(x, line["lower"], line["upper"], color=style["color"], linewidth=5, alpha=0.3)
        ax.plot(x, line["likely"], **style, linewidth=1.6, markersize=5, label=str(name))
        law = None if trends is None else trends[(trends[by] == name) & (trends["parameter"] == parameter)]
        if law is not None and len(law) and not law["lower"].iloc[0] <= 0 <= law["upper"].iloc[0]:
            fitted = law["factor"].iloc[0] * line["complexity"] ** law["exponent"].iloc[0]
            text = f"∝ macs^{law['exponent'].iloc[0]:.2f}"
            ax.plot(line["complexity"], fitted, color=style["color"], linestyle=":", linewidth=1.4, label=text)
    ax.set_xscale("log")
    centres = max((line["complexity"] for _, line in mine.groupby(by)), key=len)
    ax.set_xticks(centres, [si_format(float(f"{centre:.2g}")) for centre in centres])
    ax.set_xticks([], minor=True)
    values = mine[["lower", "upper"]].to_numpy(dtype=float)
    if values.min() > 0 and values.max() / values.min() >= 8:
        ax.set_yscale("log", base=2 if values.max() < 1e4 else 10)
    ax.yaxis.set_major_formatter(lambda value, _: si_format(value))
    suffix = " of the best models" if parameter == "error_percent" else ""
    label_axes(ax, label("macs"), label(parameter).replace(" (", f"{suffix} (", 1))
    legend_above(ax)
    return ax


def plot_importance(frame: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Bar plot of permutation importances with their ranges.

    Args:
        frame: `Importance.table`.
        ax: Axes to draw on; by default a new figure.
    """
    ax = tidy(axes_or_new(ax))
    y = -np.arange(len(frame))
    ax.barh(y, frame["importance"], color=series_style(0)["color"], alpha=0.75, height=0.6)
    ax.hlines(y, frame["lower"], frame["upper"], color="#222222", linewidth=1.4)
    ax.axvline(0, color="#888888", linewidth=1)
    ax.set_yticks(y, [label(name) for name in frame["parameter"]], parse_math=False)
    ax.set_xlabel("increase of the prediction error when permuted (points)")
    return ax


def plot_dependence(frame: pd.DataFrame, parameter: str, *, ax: Axes | None = None) -> Axes:
    """Partial dependence of the error on one parameter.

    Args:
        frame: `Importance.dependence`.
        parameter: value of the column `parameter`.
        ax: Axes to draw on; by default a new figure.
    """
    ax = tidy(axes_or_new(ax))
    line = frame[frame["parameter"] == parameter]
    ax.plot(line["value"], line["error"], **series_style(0), linewidth=1.8, markersize=4)
    scale_x(ax, line["value"])
    ax.set_ylim(*padded(frame["error"]))  # the same scale for all parameters
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
    """Scatter plot of error against complexity, with steps along the Pareto front.

    Args:
        frame: columns `by`, `objective`, `error_percent` and `front` (bool, from `pareto_front`).
        objective: column of the horizontal axis.
        by: column that defines the spaces.
        front: column that marks the front.
        limit: upper end of the error axis, percent. Larger errors are drawn there.
        ax: Axes to draw on; by default a new figure.
    """
    ax = tidy(axes_or_new(ax))
    frame = frame.assign(error_percent=frame["error_percent"].clip(upper=limit))
    for position, name in enumerate(frame[by].unique()):
        style, mine = series_style(position), frame[frame[by] == name]
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
