"""Figures of the report with titles and captions."""

from __future__ import annotations

import base64
import re
import textwrap
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis import plots
from analysis.display import label
from analysis.findings import Findings
from analysis.formatting import interval
from analysis.headline import leading_spaces
from analysis.parameters import MIN_EXPLAINED
from analysis.plots.style import FONT, MIN_FOR_INTERVAL, WIDTH, group_styles
from analysis.search import Efficiency
from analysis.select import thin_models
from analysis.sentences import context, matched_pairs
from analysis.training import RELIABLE
from designspace.figures import figure_bytes

AXES_HEIGHT = 2.9
"""Smallest height of the Axes of a figure with one panel, inches."""
MAX_RESTRICTIONS = 10
"""Restrictions in the forest plot."""
PANEL = (3.6, 2.0)
"""Width of a panel and smallest height of its Axes, inches."""
MAX_PAIRS = 28
"""Maximum number of pairs in the forest plot. With more, it has the pairs of the best space."""
MAX_STEPS = 500
"""Maximum number of steps of a curve."""
BANDS = {"ks": "Kolmogorov-Smirnov", "dkw": "approximate DKW at the effective n"}
"""Kind of band by the first word of its description in a frame; by default that word."""
MAX_PANELS = 6
MAX_SCATTERS = 12
MAX_REGIMES = 9
MAX_LEGEND = 6
"""Maximum number of spaces whose legend entries have numbers."""


@dataclass(frozen=True)
class ReportFigure:
    """A figure with its section of the report, file name without suffix, title and caption.

    Attributes:
        axes_height: smallest height of the Axes, inches. The figure grows until a legend leaves them this height.
    """

    section: str
    name: str
    title: str
    caption: str
    figure: Figure
    axes_height: float = AXES_HEIGHT

    def __post_init__(self) -> None:
        # The layout takes as long as drawing and is the same for PNG and SVG, so compute it once.
        self.figure.draw_without_rendering()
        panels = [ax.get_window_extent().height / self.figure.dpi for ax in self.figure.axes if ax.axison]
        missing = self.axes_height - min(panels)
        if missing > 0.1:
            spec = self.figure.axes[0].get_subplotspec()
            rows = spec.get_gridspec().nrows if spec else 1
            self.figure.set_figheight(self.figure.get_figheight() + rows * missing)
            self.figure.draw_without_rendering()
        self.figure.set_layout_engine("none")

    @property
    def inches(self) -> float:
        """Width of the figure. The page uses one scale for all figures so that font sizes agree."""
        return float(self.figure.get_figwidth())

    @cached_property
    def png(self) -> bytes:
        """PNG at 150 dots per inch."""
        return figure_bytes(self.figure, "png", self.name)

    @cached_property
    def svg(self) -> bytes:
        """SVG with text as paths."""
        return figure_bytes(self.figure, "svg", self.name)

    def data_uri(self) -> str:
        """Data URI of the SVG."""
        return f"data:image/svg+xml;base64,{base64.b64encode(self.svg).decode()}"


def report_figures(findings: Findings) -> Iterator[ReportFigure]:
    """Draw the figures of the report in reading order."""
    for section in (space_figures, _parameters, _widths, _refinement, _regimes, _training, _best):
        yield from section(findings)


def scatter_name(parameter: str, parameters: Sequence[str]) -> str:
    """File name of a parameter's figure: with the parameter if it is a short lowercase word, else with its number.

    Parameter names of tables can be any text: "val/acc", "..", names that differ only in case, thousands of characters.
    """
    plain = re.fullmatch("[a-z0-9_]{1,40}", parameter)
    return f"error_vs_{parameter}" if plain else f"error_vs-{1 + list(parameters).index(parameter)}"


def _thin_curves(curves: pd.DataFrame, most: int = MAX_STEPS) -> pd.DataFrame:
    parts = []
    for _, curve in curves.groupby("space", sort=False):
        rows = np.unique(np.linspace(0, len(curve) - 1, min(len(curve), most)).astype(int))
        parts.append(curve.iloc[rows])
    return pd.concat(parts, ignore_index=True)


def _panels(findings: Findings, panels: int = 1, height: float = AXES_HEIGHT + 1.1) -> tuple[Figure, list[Axes]]:
    """A figure with two or three panels per row and the data and recipe of the study below."""
    columns = panels if panels <= 3 else 2 if panels == 4 else 3
    rows = -(-panels // columns)
    size = (WIDTH, height) if panels == 1 else (PANEL[0] * columns, (PANEL[1] + 0.9) * rows + 0.4)
    figure = Figure(figsize=size, layout="constrained")
    axes = list(figure.subplots(rows, columns, squeeze=False).flat)
    for empty in axes[panels:]:
        empty.set_axis_off()
    width = int(14 * size[0])  # characters
    text = textwrap.shorten(context(findings), 2 * width, placeholder=" …")
    figure.supxlabel(textwrap.fill(text, width), fontsize=FONT, color="#666666", parse_math=False)
    return figure, axes[:panels]


def _single(findings: Findings, draw: Callable[[Axes], object], height: float = AXES_HEIGHT + 1.1) -> Figure:
    figure, axes = _panels(findings, height=height)
    draw(axes[0])
    return figure


def space_figures(findings: Findings) -> Iterator[ReportFigure]:
    """Draw the EDFs, as drawn and at equal complexity, the forest plot of differences, and random search."""
    spaces, limit, order = findings.spaces, _limit(findings), findings.table.space_order
    few = len(spaces.summary) <= MAX_LEGEND
    legend = {
        str(row["space"]): f"{row['space']}: n {row['n']}, mean {row['mean']:.2f} %"
        for _, row in spaces.summary.iterrows()
        if few
    }
    curves = _thin_curves(spaces.curves)
    cut = "" if limit is None else f" The axis ends at {limit:.1f} %, the 95 % quantile of the errors."
    yield ReportFigure(
        "spaces",
        "edf",
        "Error EDFs" if len(spaces.summary) > 1 else "Error EDF",
        f"Fraction of models below each error. {_bands(spaces.curves)}{cut}",
        _single(findings, lambda ax: plots.plot_edf(curves, order=order, legend=legend, limit=limit, ax=ax)),
    )
    if spaces.matching is not None:
        matched = _thin_curves(spaces.matched_curves)
        weighted = {
            space: f"{space}: effective n {n:.0f}, mean {_weighted_mean(findings, space):.2f} %"
            for space, n in spaces.matching.effective_n.items()
            if few
        }
        yield ReportFigure(
            "spaces",
            "edf_matched",
            f"Error EDFs at equal {label(spaces.match)}",
            "Fraction of models below each error, weighted so that each space is uniform in log complexity over the "
            f"common range. {_bands(spaces.matched_curves)}{cut}",
            _single(findings, lambda ax: plots.plot_edf(matched, order=order, legend=weighted, limit=limit, ax=ax)),
        )
    shown = _forest(findings)
    if len(shown):
        pairs = len(shown[["a", "b"]].drop_duplicates())
        total = int((matched_pairs(spaces.comparison)["problem"] == "").sum())
        only = f" Only the {pairs} of {total} pairs with the best space. The table has all." if pairs < total else ""
        figure = _single(findings, lambda ax: plots.plot_differences(shown, ax=ax), height=1.5 + 0.34 * max(pairs, 2))
        caption = f"95 % confidence intervals, simultaneous over all {total} pairs.{only}"
        if total == 1:
            caption = "95 % confidence interval."
        yield ReportFigure("spaces", "differences", "Differences of mean error", caption, figure, 0.0)
    bounded = spaces.search[(spaces.search["lower"] > 0) & (spaces.search["upper"] < 100)]
    bands = bounded["space"].value_counts().reindex(spaces.search["space"].unique(), fill_value=0)
    without = [str(space) for space, points in bands.items() if points < 2]
    caption = "Median error of the best of m random models of a space, without matching, with its 95 % band."
    if len(without) < len(bands):
        caption += " A band ends where the models give no bound."
    if without:
        caption += f" No band for {', '.join(without)}: too few models."
    if findings.search is not None:
        yield from _searches(findings, findings.search)
    yield ReportFigure(
        "search",
        "random_search",
        "Random search",
        caption,
        _single(findings, lambda ax: plots.plot_random_search(spaces.search, order=order, ax=ax)),
    )


def _searches(findings: Findings, search: Efficiency) -> Iterator[ReportFigure]:
    spaces = search.curves["space"].unique()
    for number, space in enumerate(spaces, start=1):
        yield _search(findings, search, space, f"search-{number}" if len(spaces) > 1 else "search")


def _search(findings: Findings, search: Efficiency, space: str, name: str) -> ReportFigure:
    order = list(dict.fromkeys(search.curves["strategy"]))
    curves, reference = (part[part["space"] == space] for part in (search.curves, search.reference))
    caption = (
        "Smallest error so far by number of trained models, in the order of the proposals. Gray: median of random "
        f"search, estimated from {int(reference['n'].iloc[0])} random draws, with its 95 % band as far as the "
        "draws give one."
    )
    figure = _single(findings, lambda ax: plots.plot_search(curves, reference, order=order, ax=ax))
    return ReportFigure("search", name, f"Search in {space}", caption, figure)


def _forest(findings: Findings) -> pd.DataFrame:
    """The rows of the forest plot: all pairs, or those of the best space if there are too many."""
    compared = findings.spaces.comparison
    if compared.empty:
        return compared
    compared = compared[compared["problem"] == ""]
    pairs = matched_pairs(compared)
    if len(pairs) > MAX_PAIRS:
        best = (leading_spaces(pairs) or [pairs["a"].iloc[0]])[0]
        pairs = pairs[(pairs["a"] == best) | (pairs["b"] == best)]
        return pairs.sort_values("difference", key=lambda column: column.where(pairs["a"] == best, -column))
    return compared if len(compared) <= MAX_PAIRS else pairs


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
            0.0,
        )
        names = forest.table["parameter"].head(MAX_PANELS)
        figure, axes = _panels(findings, len(names))
        for name, ax in zip(names, axes, strict=True):
            plots.plot_dependence(forest.dependence, name, ax=ax)
        caption = "Mean prediction of the forest with one parameter set to the same value in every model."
        yield ReportFigure("parameters", "dependence", "Partial dependence", caption, figure, PANEL[1])
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
        styles = group_styles(findings.widths.structures, findings.table.space_order)
        for (space, line), ax in zip(shown, axes, strict=True):
            name = f"{space}: best {line.models}"
            color = styles[space]["color"]
            plots.plot_linear_structure(line.widths, line.slope, line.intercept, name=name, color=color, ax=ax)
        caption = "Block widths of the best models and one straight line fitted to all of them."
        title = "Line through the widths of the best models"
        yield ReportFigure("widths", "linear_structure", title, caption, figure, PANEL[1] if len(axes) > 1 else 2.5)


def _refinement(findings: Findings) -> Iterator[ReportFigure]:
    refinement = findings.refinement
    if refinement is None or not refinement.searched:
        return
    shown = refinement.frame[refinement.frame["effect"].notna()].head(MAX_RESTRICTIONS)
    yield ReportFigure(
        "refine",
        "restrictions",
        "Effects of restrictions",
        f"Mean error of the restricted minus the full space at equal complexity, with 95 % confidence intervals, "
        f"simultaneous over {refinement.searched} restrictions.",
        _single(
            findings,
            lambda ax: plots.plot_restrictions(shown, refinement.margin, ax=ax),
            height=1.9 + 0.24 * max(len(shown), 2),
        ),
        0.0,
    )
    first = shown.iloc[0]
    kept, x = refinement.masks[:, int(first["rank"]) - 1], findings.spaces.match or None
    figure = _single(findings, lambda ax: plots.plot_kept(refinement.models, kept, str(first["restriction"]), x, ax=ax))
    yield ReportFigure("refine", "kept", "Kept and dropped models", "Models of the first restriction.", figure)


def _regimes(findings: Findings) -> Iterator[ReportFigure]:
    best = findings.regimes.best
    if best.empty:
        return
    names = list(dict.fromkeys(best["parameter"]))[:MAX_REGIMES]
    designs, order = findings.regimes.designs, findings.table.space_order
    # A design space has the color of its first space.
    order = tuple(designs.get(space, space) for space in order)
    figure, axes = _panels(findings, len(names))
    for name, ax in zip(names, axes, strict=True):
        plots.plot_regimes(best, name, trends=findings.regimes.trends, order=order, ax=ax)
    caption = (
        "Range of the best models (bars), most likely best value (line), and power law where the trend is significant "
        "(dotted). Each population is a regime. A space sampled over a wide range is split into regimes with equal "
        "numbers of models."
    )
    yield ReportFigure("regimes", "regimes", "Best models by complexity regime", caption, figure, PANEL[1])


def _training(findings: Findings) -> Iterator[ReportFigure]:
    curves, epochs = findings.training.curves, findings.training.epochs
    if len(curves):
        caption = "Median and quartiles over models. Thin line: the model that is best after the last epoch."
        figure = _single(
            findings, lambda ax: plots.plot_learning_curves(curves, order=findings.table.space_order, ax=ax)
        )
        yield ReportFigure("training", "learning_curves", "Learning curves", caption, figure)
    if len(epochs):
        caption = (
            "Agreement of the ranking after each epoch with the ranking after the last, with a 95 % confidence "
            f"interval of Spearman's ρ. Dotted line: {RELIABLE:g}, the criterion for a reliable ranking."
        )
        figure = _single(findings, lambda ax: plots.plot_rank_agreement(epochs, threshold=RELIABLE, ax=ax))
        yield ReportFigure("training", "rank_agreement", "Rank agreement by epoch", caption, figure)


def _best(findings: Findings) -> Iterator[ReportFigure]:
    if findings.trained["pareto"].any():
        cost = findings.spaces.match or "macs"
        limit, order = _limit(findings), findings.table.space_order
        sample, _ = thin_models(findings.trained)
        figure = _single(findings, lambda ax: plots.plot_pareto(sample, cost, order=order, limit=limit, ax=ax))
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
    more["order"] = findings.table.space_order
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
    return f" {number} models with errors above {limit:.1f} % are drawn as carets at the upper edge." if number else ""


def _bands(curves: pd.DataFrame) -> str:
    """The kinds of bands, and the spaces that have too few models for one."""
    few = list(dict.fromkeys(curves["space"][curves["n"] < MIN_FOR_INTERVAL].astype(str)))
    bands = curves["band"][curves["n"] >= MIN_FOR_INTERVAL].astype(str).unique()
    kinds = dict.fromkeys(BANDS.get(band.split()[0], band.split()[0]) for band in bands)
    text = f"Bands: {' or '.join(kinds)}, 95 %, simultaneous over the curve of each space." if kinds else ""
    missing = f"No band for {', '.join(few)}: fewer than {MIN_FOR_INTERVAL} models." if few else ""
    return " ".join(filter(None, (text, missing)))


def _weighted_mean(findings: Findings, space: str) -> float:
    assert findings.spaces.matching is not None
    models, weights = findings.models, findings.spaces.matching.weights
    return float(np.sum((weights * models["error_percent"])[models["space"].astype(str) == space]))
