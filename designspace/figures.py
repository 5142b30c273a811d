"""Figures: logarithmic axes, and files with our metadata."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from designspace.atomic import MARK

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FIGURES = (".png", ".svg")
"""Suffixes of figure files."""
SPAN = 10
"""Ratio of the largest to the smallest value from which an axis is logarithmic."""
_GROUP_WIDTH = re.compile(r"group_width(_\d+)?")


def is_group_width(column: str) -> bool:
    """Whether a column has group widths, of the network or of one stage."""
    return _GROUP_WIDTH.fullmatch(column) is not None


def is_logarithmic(column: str, values: Iterable[float]) -> bool:
    """Whether an axis should be logarithmic: for positive values that span a decade, and for any group widths.

    Group widths are powers of two in the papers, so their ratios matter even within a decade.
    """
    finite = [value for value in values if math.isfinite(value)]
    low, high = min(finite, default=0.0), max(finite, default=0.0)
    return bool(0 < low < high and (is_group_width(column) or high >= SPAN * low))


def figure_bytes(figure: Figure, kind: str, salt: str) -> bytes:
    """A figure as "png" (150 dots per inch) or "svg". Equal figures with the same salt give equal bytes."""
    from matplotlib import rc_context

    buffer = io.BytesIO()
    metadata = {"Date": None, "Creator": MARK} if kind == "svg" else {"Software": MARK}
    with rc_context({"svg.hashsalt": salt}):
        figure.savefig(buffer, format=kind, dpi=150, metadata=metadata)
    return buffer.getvalue()
