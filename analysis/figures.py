"""The pictures of a report, drawn from findings by `analysis.plots`, as PNG for the folder and SVG for the page."""

from __future__ import annotations

import base64
import io
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis import plots
from analysis.fidelity import TRUSTWORTHY
from analysis.findings import Findings
from analysis.style import label
from analysis.words import context, shown_pairs

WIDTH, HEIGHT = 6.4, 4.2
MAX_POINTS = 3000
"""Models drawn one by one; of more a random choice with the best among it, which the eye cannot tell from all."""


MAX_PAIRS = 12
"""More pairs than this are a table, not a picture."""
MAX_PANELS = 6
MAX_SCATTERS = 12


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
    def wide(self) -> bool:
        """Whether it has panels side by side and needs the whole width of a page."""
        return float(self.figure.get_figwidth()) > WIDTH

    def png(self) -> bytes:
        """The picture as PNG, 150 dots an inch."""
        return self._bytes("png")

    def data_uri(self) -> str:
        """The picture as a data URI of SVG."""
        return f"data:image/svg+xml;base64,{base64.b64encode(self._bytes('svg')).decode()}"

    def _bytes(self, kind: str) -> bytes:
        buffer = io.BytesIO()
        # A fixed salt and no date: the same findings give the same bytes.
        with rc_context({"svg.hashsalt": self.name}):
            metadata = {"Date": None} if kind == "svg" else {"Software": None}
            self.figure.savefig(buffer, format=kind, dpi=150, metadata=metadata)
        return buffer.getvalue()


def pictures(findings: Findings) -> list[Picture]:
    """All pictures of a report, in reading order."""
    return [*_spaces(findings), *_parameters(findings), *_widths(findings), *_regimes(findings), *_training(findings)]


def _figure(findings: Findings, panels: int = 1, height: float = HEIGHT) -> tuple[Figure, list[Axes]]:
    """A figure with its context written below; several panels stand two or three in a row."""
    columns = panels if panels <= 3 else 2 if panels == 4 else 3
    rows = -(-panels // columns)
    size = (WIDTH, height) if panels == 1 else (4.2 * columns, 3.1 * rows + 0.4)
    figure = Figure(figsize=size, layout="constrained")
    axes = list(figure.subplots(rows, columns, squeeze=False).flat)
    for empty in axes[panels:]:
        empty.set_axis_off()
    told = textwrap.shorten(context(findings), 330, placeholder=" …")
    figure.supxlabel(textwrap.fill(told, 110), fontsize=7, color="#666666")
    return figure, axes[:panels]


def _one(findings: Findings, draw: Callable[[Axes], object], height: float = HEIGHT) -> Figure:
    figure, axes = _figure(findings, height=height)
    draw(axes[0])
    return figure


def _spaces(findings: Findings) -> Iterator[Picture]:
    legend = {
        str(row["space"]): f"{row['space']}: n {row['n']}, min {row['min']:.1f}, mean {row['mean']:.1f}"
        for _, row in findings.spaces.iterrows()
    }
    limit = _limit(findings)
    cut = "" if limit is None else f" The axis ends at {limit:.0f} %, where the upper twentieth of the models begins."
    yield Picture(
        "spaces",
        "edf",
        "Error distributions",
        f"Fraction of models with a smaller error. Bands: {_bands(findings.curves['band'])}; each holds the whole true "
        f"curve of its space with that confidence.{cut}",
        _one(findings, lambda ax: plots.plot_edf(thinned_curves(findings.curves), legend=legend, limit=limit, ax=ax)),
    )
    if findings.matching is not None:
        weighted = {
            space: f"{space}: effective n {n:.0f}, weighted mean {_weighted_mean(findings, space):.1f}"
            for space, n in findings.matching.effective_n.items()
        }
        yield Picture(
            "spaces",
            "edf_matched",
            f"Error distributions at equal {label(findings.match)}",
            f"Models are weighted so that each space is uniform over the common range ({findings.matching.bins} bins). "
            f"Bands: {_bands(findings.matched_curves['band'])}.",
            _one(
                findings,
                lambda ax: plots.plot_edf(thinned_curves(findings.matched_curves), legend=weighted, limit=limit, ax=ax),
            ),
        )
    shown = shown_pairs(findings)
    if 0 < len(shown) <= MAX_PAIRS:
        both = findings.comparison if len(findings.comparison) <= MAX_PAIRS else shown
        yield Picture(
            "spaces",
            "differences",
            "Differences of mean error",
            "With 95 % bootstrap intervals.",
            _one(findings, lambda ax: plots.plot_differences(both, ax=ax), height=1.3 + 0.6 * len(both)),
        )
    yield Picture(
        "spaces",
        "random_search",
        "What random search gets",
        "Expected error of the best of m models drawn at random from a space as it is, in closed form. The band is "
        "around "
        "the median and ends where the models at hand set no bound.",
        _one(findings, lambda ax: plots.plot_random_search(findings.search, ax=ax)),
    )


def _parameters(findings: Findings) -> Iterator[Picture]:
    if findings.importance is not None:
        table, dependence = findings.importance.table, findings.importance.dependence
        yield Picture(
            "parameters",
            "importance",
            "Importance of the parameters",
            "Mean absolute error that a random forest's prediction for unseen models gains when the parameter is "
            "shuffled. "
            "Parameters that go together share their importance.",
            _one(findings, lambda ax: plots.plot_importance(table, ax=ax), height=1.4 + 0.42 * len(table)),
        )
        names = table["parameter"].head(MAX_PANELS)
        figure, axes = _figure(findings, len(names))
        for name, ax in zip(names, axes, strict=True):
            plots.plot_dependence(dependence, name, ax=ax)
        caption = (
            "Mean prediction of the forest with one parameter set to a value in every model; a flat line is one that "
        )
        yield Picture("parameters", "dependence", "Partial dependence", caption + "does not matter by itself.", figure)
    sample = thinned(findings.models)
    for name in findings.parameters[:MAX_SCATTERS]:
        if name == "fit_error":
            continue
        yield Picture(
            "parameters", f"error_vs_{name}", f"Error against {label(name)}", "", _scatter(findings, sample, name)
        )


def _widths(findings: Findings) -> Iterator[Picture]:
    if "fit_error" in findings.parameters:
        figure = _scatter(findings, thinned(findings.models[findings.models["fit_error"].notna()]), "fit_error")
        yield Picture("widths", "error_vs_fit_error", f"Error against {label('fit_error')}", "", figure)
    if len(findings.profiles):
        yield Picture(
            "widths",
            "width_profiles",
            "Widths of the best and the worst",
            "Lines are widths block by block, dots the quantized linear rule fitted to them.",
            _one(findings, lambda ax: plots.plot_width_profiles(findings.profiles, ax=ax)),
        )
    if findings.structures:
        shown = list(findings.structures.items())[:MAX_PANELS]
        figure, axes = _figure(findings, len(shown))
        for (space, found), ax in zip(shown, axes, strict=True):
            name = f"{space}: best {found.models}"
            plots.plot_linear_structure(found.widths, found.slope, found.intercept, name=name, ax=ax)
        caption = "Widths of the best networks block by block and the straight line fitted to all of them."
        yield Picture("widths", "linear_structure", "The line through the best", caption, figure)


def _regimes(findings: Findings) -> Iterator[Picture]:
    if len(findings.regimes):
        names = list(dict.fromkeys(findings.regimes["parameter"]))[: MAX_PANELS + 2]
        figure, axes = _figure(findings, len(names))
        for name, ax in zip(names, axes, strict=True):
            plots.plot_regimes(findings.regimes, name, ax=ax)
        caption = (
            "Range of the best models in each regime (bars), the likely best (line); regimes have equally many models."
        )
        yield Picture("regimes", "regimes", "The best from regime to regime", caption, figure)


def _training(findings: Findings) -> Iterator[Picture]:
    if len(findings.learning):
        caption = "Median with a ribbon from quartile to quartile; thin, the model that is best in the end."
        figure = _one(findings, lambda ax: plots.plot_learning_curves(findings.learning, ax=ax))
        yield Picture("training", "learning_curves", "Learning curves", caption, figure)
    if len(findings.fidelity):
        caption = (
            "How well each epoch ranks the models as the last one does; the dotted line is what counts as trustworthy."
        )
        figure = _one(findings, lambda ax: plots.plot_rank_agreement(findings.fidelity, threshold=TRUSTWORTHY, ax=ax))
        yield Picture("training", "rank_agreement", "How early the end can be told", caption, figure)
    if findings.models["pareto"].any():
        cost = findings.match or "macs"
        figure = _one(findings, lambda ax: plots.plot_pareto(thinned(findings.models), cost, ax=ax))
        caption = f"Models that no other beats in both error and {label(cost)}, joined by steps."
        yield Picture("best", "pareto", "The Pareto front", caption, figure)


def _scatter(findings: Findings, sample: pd.DataFrame, name: str) -> Figure:
    trend, ranges = (f[f["parameter"] == name] for f in (findings.trends, findings.ranges))
    # A group mean means little for the fit error, whose values crowd at 0.
    line = None if name == "fit_error" else trend
    return _one(findings, lambda ax: plots.plot_parameter(sample, name, trend=line, ranges=ranges, ax=ax))


def thinned(frame: pd.DataFrame, most: int = MAX_POINTS) -> pd.DataFrame:
    """At most so many models: the best tenth of that number, the Pareto front, and a random choice of the others."""
    if len(frame) <= most:
        return frame
    best = frame["error_percent"].rank(method="first") <= most // 10
    kept = best | frame["pareto"]
    others = frame[~kept].sample(max(0, most - int(kept.sum())), random_state=0)
    return frame[kept | frame.index.isin(others.index)]


def thinned_curves(curves: pd.DataFrame, most: int = MAX_POINTS) -> pd.DataFrame:
    """Curves of at most so many steps each: of more the eye sees none, but a page carries all."""
    parts = []
    for _, curve in curves.groupby("space", sort=False):
        rows = np.unique(np.linspace(0, len(curve) - 1, min(len(curve), most)).astype(int))
        parts.append(curve.iloc[rows])
    return pd.concat(parts, ignore_index=True)


def _limit(findings: Findings) -> float | None:
    """Right end of the error axis where a few very bad models would squeeze all others to the left, else None."""
    errors = findings.models["error_percent"]
    low, most, high = errors.min(), errors.quantile(0.95), errors.max()
    return float(most) if high - low > 3 * (most - low) > 0 else None


def _bands(made: object) -> str:
    kinds = list(dict.fromkeys(map(str, np.asarray(made))))
    return "; ".join(kinds) if len(kinds) <= 3 else f"{kinds[0]} and the like"


def _weighted_mean(findings: Findings, space: str) -> float:
    assert findings.matching is not None
    frame, weights = findings.models, findings.matching.weights
    return float(np.sum((weights * frame["error_percent"])[frame["space"].astype(str) == space]))
