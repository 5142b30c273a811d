"""Figures of the report with titles and captions."""

from __future__ import annotations

import base64
import re
import textwrap
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis import plots
from analysis.display import label
from analysis.findings import Findings
from analysis.formatting import interval
from analysis.parameters import MIN_EXPLAINED
from analysis.plots.style import WIDTH, figure_bytes
from analysis.select import MAX_POINTS, thin_models
from analysis.sentences import context, matched_pairs
from analysis.training import RELIABLE

HEIGHT = 4.2
MAX_PAIRS = 12
MAX_PANELS = 6
MAX_SCATTERS = 12
MAX_REGIMES = 9


@dataclass(frozen=True)
class ReportFigure:
    """A figure with its section of the report, file name without suffix, title and caption."""

    section: str
    name: str
    title: str
    caption: str
    figure: Figure

    def __post_init__(self) -> None:
        # The layout takes as long as drawing and is the same for PNG and SVG, so compute it once.
        self.figure.draw_without_rendering()
        self.figure.set_layout_engine("none")

    @property
    def inches(self) -> float:
        """Width of the figure. The page uses one scale for all figures so that font sizes agree."""
        return float(self.figure.get_figwidth())

    def png(self) -> bytes:
        """PNG at 150 dots per inch."""
        return figure_bytes(self.figure, "png", self.name)

    def data_uri(self) -> str:
        """Data URI of the figure as SVG."""
        return f"data:image/svg+xml;base64,{base64.b64encode(figure_bytes(self.figure, 'svg', self.name)).decode()}"


def report_figures(findings: Findings) -> Iterator[ReportFigure]:
    """Draw the figures of the report in reading order."""
    for section in (_spaces, _parameters, _widths, _regimes, _training, _best):
        yield from section(findings)


def scatter_name(parameter: str, parameters: Sequence[str]) -> str:
    """File name of a parameter's figure: with the parameter if it is a short lowercase word, else with its number.

    Parameter names of tables can be any text: "val/acc", "..", names that differ only in case, thousands of characters.
    """
    plain = re.fullmatch("[a-z0-9_]{1,40}", parameter)
    return f"error_vs_{parameter}" if plain else f"error_vs-{1 + list(parameters).index(parameter)}"


def _thin_curves(curves: pd.DataFrame, most: int = MAX_POINTS) -> pd.DataFrame:
    parts = []
    for _, curve in curves.groupby("space", sort=False):
        rows = np.unique(np.linspace(0, len(curve) - 1, min(len(curve), most)).astype(int))
        parts.append(curve.iloc[rows])
    return pd.concat(parts, ignore_index=True)


def _panels(findings: Findings, panels: int = 1, height: float = HEIGHT) -> tuple[Figure, list[Axes]]:
    """A figure with two or three panels per row and the context of the study below."""
    columns = panels if panels <= 3 else 2 if panels == 4 else 3
    rows = -(-panels // columns)
    size = (WIDTH, height) if panels == 1 else (4.2 * columns, 3.1 * rows + 0.4)
    figure = Figure(figsize=size, layout="constrained")
    axes = list(figure.subplots(rows, columns, squeeze=False).flat)
    for empty in axes[panels:]:
        empty.set_axis_off()
    text = textwrap.shorten(context(findings), 330, placeholder=" …")
    figure.supxlabel(textwrap.fill(text, 110), fontsize=7, color="#666666", parse_math=False)
    return figure, axes[:panels]


def _single(findings: Findings, draw: Callable[[Axes], object], height: float = HEIGHT) -> Figure:
    figure, axes = _panels(findings, height=height)
    draw(axes[0])
    return figure


def _spaces(findings: Findings) -> Iterator[ReportFigure]:
    spaces, limit = findings.spaces, _limit(findings)
    legend = {
        str(row["space"]): f"{row['space']}: n {row['n']}, min {row['min']:.2f}, mean {row['mean']:.2f}"
        for _, row in spaces.summary.iterrows()
    }
    curves = _thin_curves(spaces.curves)
    cut = "" if limit is None else f" The axis ends at {limit:.1f} %, the 95 % quantile of the errors."
    yield ReportFigure(
        "spaces",
        "edf",
        "Error EDFs",
        f"Fraction of models below each error. Bands: {_bands(spaces.curves['band'])}, simultaneous over the curve of "
        f"each space.{cut}",
        _single(findings, lambda ax: plots.plot_edf(curves, legend=legend, limit=limit, ax=ax)),
    )
    if spaces.matching is not None:
        matched = _thin_curves(spaces.matched_curves)
        weighted = {
            space: f"{space}: effective n {n:.1f}, weighted mean {_weighted_mean(findings, space):.2f}"
            for space, n in spaces.matching.effective_n.items()
        }
        yield ReportFigure(
            "spaces",
            "edf_matched",
            f"Error EDFs at equal {label(spaces.match)}",
            "Weighted so that each space is uniform in log complexity over the common range. "
            f"{spaces.matching.sentence} Bands: {_bands(spaces.matched_curves['band'])}.",
            _single(findings, lambda ax: plots.plot_edf(matched, legend=weighted, limit=limit, ax=ax)),
        )
    compared = spaces.comparison
    if len(compared):
        compared = compared[compared["problem"] == ""]
    pairs = matched_pairs(compared)
    if 0 < len(pairs) <= MAX_PAIRS:
        shown = compared if len(compared) <= MAX_PAIRS else pairs
        yield ReportFigure(
            "spaces",
            "differences",
            "Differences of mean error",
            "95 % confidence intervals, simultaneous over all pairs. n: number of models of each space.",
            _single(findings, lambda ax: plots.plot_differences(shown, ax=ax), height=1.3 + 0.6 * len(shown)),
        )
    bounded = spaces.search[(spaces.search["lower"] > 0) & (spaces.search["upper"] < 100)]
    band = "The band is for the median and ends where the models give no bound."
    yield ReportFigure(
        "spaces",
        "random_search",
        "Random search",
        "Expected error of the best of m random models of a space, without matching. "
        + (band if bounded["space"].duplicated().any() else "There are too few models for a band."),
        _single(findings, lambda ax: plots.plot_random_search(spaces.search, ax=ax)),
    )


def _parameters(findings: Findings) -> Iterator[ReportFigure]:
    forest = findings.parameters.importance
    if forest is not None and forest.explained >= MIN_EXPLAINED:
        height = 1.4 + 0.42 * len(forest.table)
        yield ReportFigure(
            "parameters",
            "importance",
            "Permutation importance",
            "Increase of the mean absolute error of a random forest on held-out models when the parameter is permuted, "
            "with its range over folds and permutations. Correlated parameters share their importance.",
            _single(findings, lambda ax: plots.plot_importance(forest.table, ax=ax), height=height),
        )
        names = forest.table["parameter"].head(MAX_PANELS)
        figure, axes = _panels(findings, len(names))
        for name, ax in zip(names, axes, strict=True):
            plots.plot_dependence(forest.dependence, name, ax=ax)
        caption = "Mean prediction of the forest with one parameter set to the same value in every model."
        yield ReportFigure("parameters", "dependence", "Partial dependence", caption, figure)
    sample, _ = thin_models(findings.models)
    for name in [name for name in findings.parameters.names if name != "fit_error"][:MAX_SCATTERS]:
        yield _scatter(findings, sample, name, "parameters")


def _widths(findings: Findings) -> Iterator[ReportFigure]:
    if "fit_error" in findings.parameters.names:
        sample, _ = thin_models(findings.models[findings.models["fit_error"].notna()])
        yield _scatter(findings, sample, "fit_error", "widths")
    if len(findings.widths.profiles):
        figure = _single(findings, lambda ax: plots.plot_width_profiles(findings.widths.profiles, ax=ax))
        caption = "Lines: block widths. Dots: fitted quantized linear rule."
        yield ReportFigure("widths", "width_profiles", "Widths of the best and worst models", caption, figure)
    if findings.widths.structures:
        shown = list(findings.widths.structures.items())[:MAX_PANELS]
        figure, axes = _panels(findings, len(shown))
        for (space, line), ax in zip(shown, axes, strict=True):
            name = f"{space}: best {line.models}"
            plots.plot_linear_structure(line.widths, line.slope, line.intercept, name=name, ax=ax)
        caption = "Block widths of the best models and one straight line fitted to all of them."
        yield ReportFigure("widths", "linear_structure", "Line through the widths of the best models", caption, figure)


def _regimes(findings: Findings) -> Iterator[ReportFigure]:
    best = findings.regimes.best
    if best.empty:
        return
    names = list(dict.fromkeys(best["parameter"]))[:MAX_REGIMES]
    figure, axes = _panels(findings, len(names))
    for name, ax in zip(names, axes, strict=True):
        plots.plot_regimes(best, name, trends=findings.regimes.trends, ax=ax)
        legend = ax.get_legend()
        if legend and ax is not axes[0] and _legend_texts(ax) == _legend_texts(axes[0]):
            legend.remove()
    caption = (
        "Range of the best models (bars), most likely best value (line), and power law where the trend is significant "
        "(dotted). Each population is a regime. A space sampled over a wide range is split into regimes with equal "
        "numbers of models."
    )
    yield ReportFigure("regimes", "regimes", "Best models by complexity regime", caption, figure)


def _legend_texts(ax: Axes) -> list[str]:
    return ax.get_legend_handles_labels()[1]


def _training(findings: Findings) -> Iterator[ReportFigure]:
    curves, epochs = findings.training.curves, findings.training.epochs
    if len(curves):
        caption = "Median and quartiles over models. Thin line: the model that is best after the last epoch."
        figure = _single(findings, lambda ax: plots.plot_learning_curves(curves, ax=ax))
        yield ReportFigure("training", "learning_curves", "Learning curves", caption, figure)
    if len(epochs):
        caption = (
            "Agreement of the ranking after each epoch with the ranking after the last, with a 95 % confidence "
            f"interval of Spearman's ρ. Dotted line: {RELIABLE:g}, the criterion for a reliable ranking."
        )
        figure = _single(findings, lambda ax: plots.plot_rank_agreement(epochs, threshold=RELIABLE, ax=ax))
        yield ReportFigure("training", "rank_agreement", "Rank agreement by epoch", caption, figure)


def _best(findings: Findings) -> Iterator[ReportFigure]:
    if findings.models["pareto"].any():
        cost = findings.spaces.match or "macs"
        limit, (sample, _) = _limit(findings), thin_models(findings.models)
        figure = _single(findings, lambda ax: plots.plot_pareto(sample, cost, limit=limit, ax=ax))
        best = findings.selection.best.iloc[0]
        noise = f" Training noise: {best['noise_sd']:.2f} points (from {best['noise_from']})."
        caption = (
            f"Models that no other model beats in both error and {label(cost)}.{_beyond(findings)}"
            f"{noise if np.isfinite(best['noise_sd']) else ''}"
        )
        yield ReportFigure("best", "pareto", "Pareto front", caption, figure)


def _scatter(findings: Findings, sample: pd.DataFrame, name: str, section: str) -> ReportFigure:
    parameters = findings.parameters
    trend, ranges, correlations = (
        frame[frame["parameter"] == name] for frame in (parameters.trends, parameters.ranges, parameters.correlations)
    )
    rho = [
        f"{row['space']} {interval(row['rho'], row['lower'], row['upper'])}"
        for _, row in correlations.iterrows()
        if np.isfinite(row["rho"])
    ]
    caption = (f"Rank correlation: {', '.join(rho)}." if rho else "") + _beyond(findings)
    # Fit errors concentrate near 0, so their group means are not informative.
    more: dict[str, Any] = {"trend": None if name == "fit_error" else trend, "ranges": ranges}
    limit = _limit(findings)
    figure = _single(findings, lambda ax: plots.plot_parameter(sample, name, **more, limit=limit, ax=ax))
    title = f"Error vs. {label(name)}"
    return ReportFigure(section, scatter_name(name, parameters.names), title, caption, figure)


def _limit(findings: Findings) -> float | None:
    """Upper end of the error axis where a few large errors would compress the rest; None where it is not needed."""
    errors = findings.models["error_percent"]
    low, most, high = errors.min(), errors.quantile(0.95), errors.max()
    return float(most) if high - low > 3 * (most - low) > 0 else None


def _beyond(findings: Findings) -> str:
    limit = _limit(findings)
    number = 0 if limit is None else int((findings.models["error_percent"] > limit).sum())
    return f" {number} models with errors above {limit:.1f} % are drawn at the upper edge." if number else ""


def _bands(column: pd.Series) -> str:
    kinds = list(dict.fromkeys(column.astype(str)))
    return ", ".join(kinds) if len(kinds) <= 3 else f"{kinds[0]} and similar"


def _weighted_mean(findings: Findings, space: str) -> float:
    assert findings.spaces.matching is not None
    models, weights = findings.models, findings.spaces.matching.weights
    return float(np.sum((weights * models["error_percent"])[models["space"].astype(str) == space]))
