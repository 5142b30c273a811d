"""Plots of the error against parameters and complexity."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.markers import CARETUP
from matplotlib.patheffects import withStroke
from matplotlib.transforms import ScaledTranslation, blended_transform_factory

from analysis.display import label
from analysis.formatting import si_format
from analysis.plots.style import (
    MIN_FOR_INTERVAL,
    NEUTRAL,
    OTHER,
    axes_or_new,
    group_styles,
    label_axes,
    legend_above,
    padded,
    scale_x,
    tidy,
)
from designspace.figures import is_logarithmic

FEW_VALUES = 12
"""Maximum number of distinct values for which the spaces are shifted apart horizontally."""
MAX_VECTORS = 200
"""Maximum number of points of one space drawn as vectors."""
BAR = 6.0
"""Height reserved for the best range of one space, points."""


def plot_parameter(
    frame: pd.DataFrame,
    parameter: str,
    *,
    by: str = "space",
    order: Sequence[str] | None = None,
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
        order: all spaces in the order that fixes their colors; by default those of the frame.
        trend: columns `by` and those of `trend`; group means, with intervals if most groups have five models.
        ranges: columns `by`, `lower`, `likely`, `upper`; bars above the Axes, with a tick at the most likely best
            value.
        limit: upper end of the error axis, percent. Carets mark the models above it.
        ax: Axes to draw on; by default a new figure.
    """
    ax = tidy(axes_or_new(ax))
    styles = group_styles(frame[by], order)
    values = frame[parameter].nunique()
    step = min(5, 30 / len(styles), 200 / (values * len(styles))) if values <= FEW_VALUES else 0.0  # points
    for position, (name, style) in enumerate(styles.items()):
        # With few distinct values, shift the spaces apart.
        shift = (position - (len(styles) - 1) / 2) * step / 72
        shifted = ax.transData + ScaledTranslation(shift, 0, ax.figure.dpi_scale_trans)
        _scatter(ax, frame[frame[by] == name], parameter, style, limit, label=str(name), s=18, transform=shifted)
        if trend is not None:
            line = trend[trend[by] == name]
            ax.plot(
                line["value"],
                line["mean"],
                color=style["color"],
                linestyle=style["linestyle"],
                linewidth=1.6,
                transform=shifted,
                zorder=3,
                path_effects=[withStroke(linewidth=3, foreground="white")],
            )
            enough = line[line["n"] >= MIN_FOR_INTERVAL]
            if len(enough) > max(1, len(line) / 2):
                ends = (enough["lower"], enough["upper"])
                ax.vlines(enough["value"], *ends, color=style["color"], linewidth=1, transform=shifted, zorder=3)
    scale_x(ax, parameter, frame[parameter])
    # Scale the axes to the models, because intervals can extend far beyond and shifted artists are ignored.
    ax.set_xlim(*padded(frame[parameter], logarithmic=ax.get_xscale() == "log"))
    ax.set_ylim(*padded(frame["error_percent"].clip(upper=limit)))
    label_axes(ax, label(parameter), label("error_percent"))
    shown = {} if ranges is None else {name: ranges[ranges[by] == name] for name in styles}
    bars_drawn = [(row.iloc[0], styles[name]["color"]) for name, row in shown.items() if len(row)]
    for position, (row, color) in enumerate(reversed(bars_drawn)):
        _range_bar(ax, row, color, BAR * (position + 0.7))
    legend_above(ax, offset=BAR * len(bars_drawn))
    return ax


def _scatter(
    ax: Axes, frame: pd.DataFrame, x: str, style: dict[str, Any], limit: float | None, *, label: str = "", **more: Any
) -> None:
    """Points of one space: crosses for failed models, carets at the upper edge for errors above the limit."""
    failed = frame["failed"].astype(bool) if "failed" in frame else pd.Series(False, index=frame.index)
    above = frame["error_percent"] > (np.inf if limit is None else limit)
    frame = frame.assign(error_percent=frame["error_percent"].clip(upper=limit))
    # As vectors, thousands of points make a large file.
    more = {"color": style["color"], "alpha": 0.55, "rasterized": len(frame) > MAX_VECTORS, **more}
    ok = frame[~failed & ~above]
    ax.scatter(ok[x], ok["error_percent"], marker=style["marker"], linewidths=0, label=label or None, **more)
    more |= {"alpha": 0.8, "s": 26}
    markers: tuple[tuple[pd.DataFrame, Any], ...] = ((frame[above & ~failed], CARETUP), (frame[failed], "x"))
    for rows, marker in markers:
        if len(rows):
            ax.scatter(rows[x], rows["error_percent"], marker=marker, linewidths=1.2, clip_on=False, **more)


def _range_bar(ax: Axes, row: pd.Series, color: str, height: float) -> None:
    """Horizontal bar above the Axes, at a height in points."""
    up = ScaledTranslation(0, height / 72, ax.figure.dpi_scale_trans)
    above: dict[str, Any] = {"transform": blended_transform_factory(ax.transData, ax.transAxes) + up, "clip_on": False}
    ax.plot([row["lower"], row["upper"]], [1, 1], color=color, linewidth=3.5, alpha=0.5, **above)
    ax.plot([row["likely"]], [1], marker="|", markersize=6, markeredgewidth=2, color=color, **above)


def plot_regimes(
    frame: pd.DataFrame,
    parameter: str,
    *,
    by: str = "space",
    order: Sequence[str] | None = None,
    trends: pd.DataFrame | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Best range of a parameter in every complexity regime, with a line through the most likely best values.

    Args:
        frame: from `best_by_regime`.
        parameter: value of the column `parameter`.
        by: column that defines the spaces.
        order: all spaces in the order that fixes their colors; by default those of the frame.
        trends: from `regime_trends`. Significant power laws are drawn as dotted lines.
        ax: Axes to draw on; by default a new figure.
    """
    ax = tidy(axes_or_new(ax))
    mine = frame[frame["parameter"] == parameter]
    styles = group_styles(frame[by], order)
    for position, (name, style) in enumerate(styles.items()):
        line = mine[mine[by] == name]
        if line.empty:
            continue
        # Shift the bars of the spaces apart.
        x = line["complexity"] * 1.02 ** (position - (len(styles) - 1) / 2)
        ax.vlines(x, line["lower"], line["upper"], color=style["color"], linewidth=5, alpha=0.3)
        ax.plot(x, line["likely"], **style, linewidth=1.6, markersize=5, label=str(name))
        law = None if trends is None else trends[(trends[by] == name) & (trends["parameter"] == parameter)]
        if law is not None and len(law) and not law["lower"].iloc[0] <= 0 <= law["upper"].iloc[0]:
            fitted = law["factor"].iloc[0] * line["complexity"] ** law["exponent"].iloc[0]
            text = f"∝ macs^{law['exponent'].iloc[0]:.2f}"
            ax.plot(line["complexity"], fitted, color=style["color"], linestyle=":", linewidth=1.4, label=text)
    ax.set_xscale("log")
    centers = _apart(max((line["complexity"] for _, line in mine.groupby(by)), key=len))
    ax.set_xticks(centers, [si_format(float(f"{center:.2g}")) for center in centers])
    ax.set_xticks([], minor=True)
    ax.margins(x=0.1)
    values = mine[["lower", "upper"]].to_numpy(dtype=float)
    if is_logarithmic(parameter, values.ravel()):
        ax.set_yscale("log", base=2 if values.max() < 1e4 else 10)
    ax.yaxis.set_major_formatter(lambda value, _: si_format(value))
    suffix = " of the best models" if parameter == "error_percent" else ""
    label_axes(ax, label("macs"), label(parameter).replace(" (", f"{suffix} (", 1))
    legend_above(ax)
    return ax


def _apart(values: pd.Series) -> list[float]:
    """The values whose labels fit next to each other on a logarithmic axis."""
    logs = np.log(values.sort_values().to_numpy(dtype=float))
    kept: list[float] = []
    for value in logs:
        if not kept or value - kept[-1] >= 0.16 * (logs[-1] - logs[0]):
            kept.append(value)
    return [float(value) for value in np.exp(kept)]


def plot_importance(frame: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Bar plot of permutation importances with their ranges.

    Args:
        frame: `Importance.table`.
        ax: Axes to draw on; by default a new figure.
    """
    ax = tidy(axes_or_new(ax))
    y = -np.arange(len(frame))
    ax.barh(y, frame["importance"], color=OTHER["color"], alpha=0.75, height=0.6)
    ax.hlines(y, frame["lower"], frame["upper"], color="#222222", linewidth=1.4)
    ax.axvline(0, color=NEUTRAL, linewidth=1)
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
    ax.plot(line["value"], line["error"], **OTHER, linewidth=1.8, markersize=4)
    scale_x(ax, parameter, line["value"])
    ax.set_ylim(*padded(frame["error"]))  # the same scale for all parameters
    label_axes(ax, label(parameter), "predicted error (%)")
    return ax


def plot_pareto(
    frame: pd.DataFrame,
    objective: str = "macs",
    *,
    by: str = "space",
    order: Sequence[str] | None = None,
    front: str = "pareto",
    limit: float | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Scatter plot of error against complexity, with steps along the Pareto front.

    Args:
        frame: columns `by`, `objective`, `error_percent` and `front` (bool, from `pareto_front`).
        objective: column of the horizontal axis.
        by: column that defines the spaces.
        order: all spaces in the order that fixes their colors; by default those of the frame.
        front: column that marks the front.
        limit: upper end of the error axis, percent. Carets mark the models above it.
        ax: Axes to draw on; by default a new figure.
    """
    ax = tidy(axes_or_new(ax))
    for name, style in group_styles(frame[by], order).items():
        mine = frame[frame[by] == name]
        _scatter(ax, mine[~mine[front]], objective, style, limit, s=14, alpha=0.3)
        _scatter(ax, mine[mine[front]], objective, style, limit, label=str(name), s=42, alpha=1, zorder=3)
    line = frame[frame[front]].sort_values(objective)
    errors = line["error_percent"].clip(upper=limit)
    ax.step(line[objective], errors, where="post", color="#444444", linewidth=1.2, zorder=2)
    scale_x(ax, objective, frame[objective].dropna())
    label_axes(ax, label(objective), label("error_percent"))
    legend_above(ax)
    return ax


def plot_predictions(frame: pd.DataFrame, *, order: Sequence[str] | None = None, ax: Axes | None = None) -> Axes:
    """Scatter plot of the measured error against its prediction by a surrogate fitted to other networks.

    Args:
        frame: columns `space`, `predicted` and `error_percent`.
        order: all spaces in the order that fixes their colors; by default those of the frame.
        ax: Axes to draw on; by default a new figure.
    """
    ax = tidy(axes_or_new(ax))
    for name, style in group_styles(frame["space"], order).items():
        part = frame[frame["space"] == name]
        ax.scatter(
            part["predicted"],
            part["error_percent"],
            color=style["color"],
            marker=style["marker"],
            s=16,
            alpha=0.7,
            linewidths=0,
            label=str(name),
        )
    low, high = frame["predicted"].min(), frame["predicted"].max()
    ax.plot([low, high], [low, high], color=NEUTRAL, linewidth=1, linestyle=":", label="equal")
    ax.set(xlabel="predicted error (%), cross-validated", ylabel=label("error_percent"))
    legend_above(ax)
    return ax


def plot_scores(frame: pd.DataFrame, *, order: Sequence[str] | None = None, ax: Axes | None = None) -> Axes:
    """Rank agreement of scores and complexities with the error, with intervals.

    Args:
        frame: from `score_agreement`.
        order: all spaces in the order that fixes their colors; by default those of the frame.
        ax: Axes to draw on; by default a new figure.
    """
    ax = tidy(axes_or_new(ax))
    styles = group_styles(frame["space"], order)
    measures = list(dict.fromkeys(frame["measure"]))
    for number, (space, style) in enumerate(styles.items()):
        part = frame[frame["space"] == space]
        y = part["measure"].map(measures.index) + 0.6 * ((number + 0.5) / len(styles) - 0.5)
        ends = [part["agreement"] - part["lower"], part["upper"] - part["agreement"]]
        ax.errorbar(
            part["agreement"],
            y,
            xerr=ends,
            color=style["color"],
            marker=style["marker"],
            markersize=4,
            linestyle="none",
            linewidth=1.2,
            label=str(space),
        )
    ax.axvline(0, color=NEUTRAL, linewidth=1)
    ax.set_yticks(range(len(measures)), [label(name) for name in measures])
    ax.invert_yaxis()
    ax.set(xlabel="rank agreement (1: larger value, smaller error)", xlim=(-1, 1))
    legend_above(ax)
    return ax
