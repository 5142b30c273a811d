"""A figure with its words, as PNG for the folder and as SVG for the page."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass

from matplotlib import rc_context
from matplotlib.figure import Figure

from designspace.atomic import MARK

WIDTH = 6.4
"""Inches of a figure with one panel."""


@dataclass(frozen=True)
class Picture:
    """A figure with its part of the report, file name (without suffix), title, and the sentence below it."""

    part: str
    name: str
    title: str
    caption: str
    figure: Figure

    def __post_init__(self) -> None:
        # Laying out takes as long as drawing, and is the same for both kinds: once is enough.
        self.figure.draw_without_rendering()
        self.figure.set_layout_engine("none")

    @property
    def inches(self) -> float:
        """Width of the figure: a page shows all at one scale, so that their letters have one size."""
        return float(self.figure.get_figwidth())

    def png(self) -> bytes:
        """The picture as PNG, 150 dots an inch."""
        return self._bytes("png")

    def data_uri(self) -> str:
        """The picture as a data URI of SVG."""
        return f"data:image/svg+xml;base64,{base64.b64encode(self._bytes('svg')).decode()}"

    def _bytes(self, kind: str) -> bytes:
        return figure_bytes(self.figure, kind, self.name)


def figure_bytes(figure: Figure, kind: str, salt: str) -> bytes:
    """A figure as "png" (150 dots per inch) or "svg"; equal figures with one salt give equal bytes."""
    buffer = io.BytesIO()
    metadata = {"Date": None, "Creator": MARK} if kind == "svg" else {"Software": MARK}
    with rc_context({"svg.hashsalt": salt}):
        figure.savefig(buffer, format=kind, dpi=150, metadata=metadata)
    return buffer.getvalue()
