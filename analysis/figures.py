"""The pictures of a report, drawn from findings by `analysis.plots`, as PNG for the folder and SVG for the page."""

from __future__ import annotations

import base64
import io
import textwrap
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis import plots
from analysis.findings import Findings
from analysis.style import label
from analysis.words import context

WIDTH, HEIGHT = 6.4, 4.2
MAX_SVG_POINTS = 5000
"""Above this many models a picture with a mark for each is inlined as PNG."""


@dataclass(frozen=True)
class Picture:
    """A figure with its file name (without suffix), title, alternative text and the sentence below it."""

    name: str
    title: str
    caption: str
    figure: Figure
    vector: bool = True

    def png(self) -> bytes:
        """The picture as PNG, 150 dots an inch."""
        return self._bytes("png")

    def data_uri(self) -> str:
        """The picture as a data URI: SVG, or PNG where marks are very many."""
        kind, mime = ("svg", "image/svg+xml") if self.vector else ("png", "image/png")
        return f"data:{mime};base64,{base64.b64encode(self._bytes(kind)).decode()}"

    def _bytes(self, kind: str) -> bytes:
        buffer = io.BytesIO()
        # A fixed salt and no date: the same findings give the same bytes.
        with rc_context({"svg.hashsalt": self.name}):
            metadata = {"Date": None} if kind == "svg" else {"Software": None}
            self.figure.savefig(buffer, format=kind, dpi=150, metadata=metadata)
        return buffer.getvalue()


def pictures(findings: Findings) -> list[Picture]:
    """All pictures of a report, in reading order."""
    frame, found = findings.models, []

    def draw(name: str, title: str, caption: str, onto: Callable[[Axes], Axes], height: float = HEIGHT) -> None:
        figure = Figure(figsize=(WIDTH, height), layout="constrained")
        onto(figure.subplots())
        figure.supxlabel(textwrap.fill(context(findings), 110), fontsize=7, color="#666666")
        found.append(Picture(name, title, caption, figure, vector=len(frame) <= MAX_SVG_POINTS))

    legend = {
        str(row["space"]): f"{row['space']}: n {row['n']}, min {row['min']:.1f}, mean {row['mean']:.1f}"
        for _, row in findings.spaces.iterrows()
    }
    draw(
        "edf",
        "Error distributions",
        f"Fraction of models with a smaller error. Bands: {_bands(findings.curves['band'])}; each holds the whole true "
        "curve of its space with that confidence.",
        lambda ax: plots.plot_edf(findings.curves, legend=legend, ax=ax),
    )
    if findings.matching is not None:
        weighted = {
            space: f"{space}: effective n {n:.0f}, weighted mean {_weighted_mean(findings, space):.1f}"
            for space, n in findings.matching.effective_n.items()
        }
        draw(
            "edf_matched",
            f"Error distributions at equal {label(findings.match)}",
            f"Models are weighted so that each space is uniform over the common range ({findings.matching.bins} bins). "
            f"Bands: {_bands(findings.matched_curves['band'])}.",
            lambda ax: plots.plot_edf(findings.matched_curves, legend=weighted, ax=ax),
        )
    if len(findings.comparison):
        draw(
            "differences",
            "Differences of mean error",
            "With 95 % bootstrap intervals.",
            lambda ax: plots.plot_differences(findings.comparison, ax=ax),
            height=1.3 + 0.6 * len(findings.comparison),
        )
    for name in ("fit_error", *(p for p in findings.parameters if p != "fit_error")):
        if name in findings.parameters:
            draw(
                f"error_vs_{name}",
                f"Error against {label(name)}",
                "",
                _scatter(findings, name),
            )
    if len(findings.profiles):
        draw(
            "width_profiles",
            "Widths of the best and the worst",
            "Lines are widths block by block, dots the quantized linear rule fitted to them.",
            lambda ax: plots.plot_width_profiles(findings.profiles, ax=ax),
        )
    return found


def _scatter(findings: Findings, name: str) -> Callable[[Axes], Axes]:
    trend, ranges = (f[f["parameter"] == name] for f in (findings.trends, findings.ranges))
    # A group mean means little for the fit error, whose values crowd at 0.
    line = None if name == "fit_error" else trend
    return lambda ax: plots.plot_parameter(findings.models, name, trend=line, ranges=ranges, ax=ax)


def _bands(made: object) -> str:
    return "; ".join(dict.fromkeys(map(str, np.asarray(made))))


def _weighted_mean(findings: Findings, space: str) -> float:
    assert findings.matching is not None
    frame, weights = findings.models, findings.matching.weights
    return float(np.sum((weights * frame["error_percent"])[frame["space"].astype(str) == space]))
