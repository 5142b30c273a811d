"""Style of the figures. Every function acts on one Axes and leaves the global settings unchanged."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.legend import Legend
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter
from matplotlib.transforms import ScaledTranslation

from analysis.formatting import si_format
from designspace.figures import is_group_width, is_logarithmic

COLORS = (
    *("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00"),
    *("#332288", "#882255", "#999933", "#117733", "#7F7F7F", "#000000"),
)
"""Palette of Okabe & Ito without yellow, which is too light on white, then colors of Paul Tol."""
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
LINES: tuple[Any, ...] = ("-", (0, (5, 2)), "-.", ":", (0, (3, 1, 1, 1)), (0, (1, 1)), (0, (8, 3)))
NEUTRAL = "#888888"
FONT = 9
"""Smallest font size, points."""
MIN_FOR_INTERVAL = 5
"""Minimum number of models for a band or an interval. With fewer, it covers almost the whole Axes."""


def series_style(position: int) -> dict[str, Any]:
    """Color, marker and line style of the space at this position. Colors repeat after twelve spaces."""
    return {
        "color": COLORS[position % len(COLORS)],
        "marker": MARKERS[position % len(MARKERS)],
        "linestyle": LINES[position % len(LINES)],
    }


OTHER: dict[str, Any] = {"color": COLORS[6], "marker": "o", "linestyle": "-"}
"""Style of a series that is no space."""


def group_styles(names: Iterable[str], order: Sequence[str] | None = None) -> dict[str, dict[str, Any]]:
    """Style of each group that occurs in `names`, in a fixed order.

    Args:
        names: group of each row.
        order: all groups in the order that fixes their styles, whether or not they occur; others follow.
    """
    present = dict.fromkeys(names)
    return {
        name: series_style(position)
        for position, name in enumerate(dict.fromkeys([*(order or ()), *present]))
        if name in present
    }


def axes_or_new(ax: Axes | None) -> Axes:
    """The given Axes, or those of a new pyplot figure."""
    if ax is not None:
        return ax
    import matplotlib.pyplot as plt

    return plt.subplots(layout="constrained")[1]


def tidy(ax: Axes) -> Axes:
    """Draw a light grid and remove the top and right spines."""
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(visible=True, color="#e3e3e3", linewidth=0.7)
    ax.set_axisbelow(True)
    ax.tick_params(labelsize=FONT)
    return ax


def scale_x(ax: Axes, column: str, values: Iterable[float]) -> None:
    """Set a base-2 scale for powers of two and group widths, a base-10 scale for a decade, else a linear scale."""
    x = np.unique(np.asarray(list(values), dtype=float))
    if len(x) > 1 and x[0] > 0 and np.allclose(np.log2(x), np.round(np.log2(x))):
        ax.set_xscale("log", base=2)
        ax.set_xticks(x[:: 1 + len(x) // 10])
    elif is_group_width(column) and is_logarithmic(column, x):
        ax.set_xscale("log", base=2)
    elif is_logarithmic(column, x):
        ax.set_xscale("log")
        # Less than two decades have too few powers of ten for ticks.
        ax.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if x[-1] / x[0] < 100 else (1.0,)))
    elif np.allclose(x, np.round(x)) and x[-1] < 1e4:
        ax.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: si_format(value)))
    ax.xaxis.set_minor_formatter(NullFormatter())


def legend_above(ax: Axes, *, offset: float = 0.0) -> None:
    """Place the legend above the Axes, where it covers no point, with as many columns as fit.

    Args:
        offset: space between the Axes and the legend, points.
    """
    texts = ax.get_legend_handles_labels()[1]
    if texts:
        spec = ax.get_subplotspec()
        panel = ax.figure.bbox.width / ax.figure.dpi / (spec.get_gridspec().ncols if spec else 1)
        columns = max(1, int((72 * panel - 50) / (0.55 * FONT * max(map(len, texts)) + 40)))
        up = ScaledTranslation(0, offset / 72, ax.figure.dpi_scale_trans)
        location: dict[str, Any] = {
            "loc": "lower left",
            "bbox_to_anchor": (0, 1),
            "bbox_transform": ax.transAxes + up,
            "borderaxespad": 0.2,
        }
        _plain(ax.legend(frameon=False, fontsize=FONT, ncols=columns, columnspacing=1.2, **location))


def legend_inside(ax: Axes, location: str) -> None:
    """Place the legend inside the Axes, at a location that the caller knows to be free."""
    _plain(ax.legend(loc=location, fontsize=FONT, framealpha=0.85, edgecolor="none"))  # type: ignore[call-overload]


def _plain(legend: Legend) -> None:
    for text in legend.get_texts():
        text.set_parse_math(False)  # names may contain $


def label_axes(ax: Axes, x: str, y: str) -> None:
    """Label both axes without interpreting $ as math."""
    ax.set_xlabel(x, parse_math=False)
    ax.set_ylabel(y, parse_math=False)


def padded(values: Iterable[float], *, logarithmic: bool = False) -> tuple[float, float]:
    """Axis limits with a 5 % margin on both sides; a single value gets a margin, too."""
    x = np.asarray(list(values), dtype=float)
    ends = np.array([np.nanmin(x), np.nanmax(x)])
    ends = np.log(ends) if logarithmic else ends
    margin = 0.05 * (ends[1] - ends[0]) or 0.5
    low, high = ends[0] - margin, ends[1] + margin
    return (float(np.exp(low)), float(np.exp(high))) if logarithmic else (float(low), float(high))


WIDTH = 5.8
"""Width of a figure with one panel, inches."""
