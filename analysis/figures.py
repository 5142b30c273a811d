"""Figures of the report."""

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
from analysis.number_text import interval
from analysis.parameters import MEANS_LITTLE
from analysis.plots.style import WIDTH, figure_bytes
from analysis.sentences import context, shown_pairs
from analysis.training import TRUSTWORTHY

HEIGHT = 4.2
MAX_PAIRS = 12
"""More pairs than this are a table, not a picture."""
MAX_PANELS = 6
MAX_SCATTERS = 12
MAX_REGIMES = 9


def pictures(findings: Findings) -> list[Picture]:
    """All pictures of a report, in reading order."""
    parts = (_spaces, _parameters, _widths, _regimes, _training, _best)
    return [picture for part in parts for picture in part(findings)]


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
    figure.supxlabel(textwrap.fill(told, 110), fontsize=7, color="#666666", parse_math=False)
    return figure, axes[:panels]


def _one(findings: Findings, draw: Callable[[Axes], object], height: float = HEIGHT) -> Figure:
    figure, axes = _figure(findings, height=height)
    draw(axes[0])
    return figure


def _spaces(findings: Findings) -> Iterator[Picture]:
    legend = {
        str(row["space"]): f"{row['space']}: n {row['n']}, min {row['min']:.2f}, mean {row['mean']:.2f}"
        for _, row in findings.spaces.iterrows()
    }
    limit = _limit(findings)
    cut = "" if limit is None else f" The axis ends at {limit:.1f} %, where the upper twentieth of the models begins."
    yield Picture(
        "spaces",
        "edf",
        "Error distributions",
        f"Fraction of models with a smaller error. Bands: {_bands(findings.curves['band'])}; each holds the whole true "
        f"curve of its space with that confidence.{cut}",
        _one(findings, lambda ax: plots.plot_edf(thinned_curves(findings.curves), legend=legend, limit=limit, ax=ax)),
    )
    if findings.matching is not None:
        curves = thinned_curves(findings.matched_curves)
        weighted = {
            space: f"{space}: effective n {n:.1f}, weighted mean {_weighted_mean(findings, space):.2f}"
            for space, n in findings.matching.effective_n.items()
        }
        yield Picture(
            "spaces",
            "edf_matched",
            f"Error distributions at equal {label(findings.match)}",
            "Models are weighted so that each space is uniform in log complexity over the common range. "
            f"{findings.matching.sentence} Bands: {_bands(findings.matched_curves['band'])}.",
            _one(findings, lambda ax: plots.plot_edf(curves, legend=weighted, limit=limit, ax=ax)),
        )
    compared = findings.comparison
    if len(compared):
        compared = compared[compared["problem"] == ""]
    shown = shown_pairs(compared)
    if 0 < len(shown) <= MAX_PAIRS:
        both = compared if len(compared) <= MAX_PAIRS else shown
        yield Picture(
            "spaces",
            "differences",
            "Differences of mean error",
            "With 95 % intervals that hold simultaneously for all pairs; n is the number of models on either side.",
            _one(findings, lambda ax: plots.plot_differences(both, ax=ax), height=1.3 + 0.6 * len(both)),
        )
    bounded = findings.search[(findings.search["lower"] > 0) & (findings.search["upper"] < 100)]
    band = "The band is around the median and ends where the models at hand set no bound."
    yield Picture(
        "spaces",
        "random_search",
        "What random search gets",
        "Expected error of the best of m models drawn at random from a space as it is, in closed form. "
        + (band if bounded["space"].duplicated().any() else "There are too few models for a band."),
        _one(findings, lambda ax: plots.plot_random_search(findings.search, ax=ax)),
    )


def _parameters(findings: Findings) -> Iterator[Picture]:
    found = findings.importance
    if found is not None and found.explained >= MEANS_LITTLE:
        yield Picture(
            "parameters",
            "importance",
            "Importance of the parameters",
            "Mean absolute error that a random forest's prediction for unseen models gains when the parameter is "
            "shuffled, with its spread over folds and shuffles. Parameters that go together share their importance.",
            _one(findings, lambda ax: plots.plot_importance(found.table, ax=ax), height=1.4 + 0.42 * len(found.table)),
        )
        names = found.table["parameter"].head(MAX_PANELS)
        figure, axes = _figure(findings, len(names))
        for name, ax in zip(names, axes, strict=True):
            plots.plot_dependence(found.dependence, name, ax=ax)
        yield Picture(
            "parameters",
            "dependence",
            "Partial dependence",
            "Mean prediction of the forest with one parameter set to a value in every model; a flat line is one that "
            "does not matter by itself.",
            figure,
        )
    sample = thinned(findings.models)
    for name in [name for name in findings.parameters if name != "fit_error"][:MAX_SCATTERS]:
        yield _scatter(findings, sample, name, "parameters")


def _widths(findings: Findings) -> Iterator[Picture]:
    if "fit_error" in findings.parameters:
        sample = thinned(findings.models[findings.models["fit_error"].notna()])
        yield _scatter(findings, sample, "fit_error", "widths")
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
        for (space, line), ax in zip(shown, axes, strict=True):
            name = f"{space}: best {line.models}"
            plots.plot_linear_structure(line.widths, line.slope, line.intercept, name=name, ax=ax)
        caption = "Widths of the best networks block by block and the straight line fitted to all of them."
        yield Picture("widths", "linear_structure", "The line through the best", caption, figure)


def _regimes(findings: Findings) -> Iterator[Picture]:
    if findings.regimes.empty:
        return
    names = list(dict.fromkeys(findings.regimes["parameter"]))[:MAX_REGIMES]
    figure, axes = _figure(findings, len(names))
    for name, ax in zip(names, axes, strict=True):
        plots.plot_regimes(findings.regimes, name, trends=findings.regime_trends, ax=ax)
        legend = ax.get_legend()
        if legend and ax is not axes[0] and _legend(ax) == _legend(axes[0]):
            legend.remove()  # one is enough for all panels
    caption = (
        "Range of the best models in each regime (bars), the likely best (line), and where its change is shown the "
        "power law through it (dotted). Each population is a regime; a space drawn over a wide range is cut into "
        "regimes with equally many models."
    )
    yield Picture("regimes", "regimes", "The best from regime to regime", caption, figure)


def _legend(ax: Axes) -> list[str]:
    return ax.get_legend_handles_labels()[1]


def _training(findings: Findings) -> Iterator[Picture]:
    if len(findings.learning):
        caption = "Median with a ribbon from quartile to quartile; thin, the model that is best in the end."
        figure = _one(findings, lambda ax: plots.plot_learning_curves(findings.learning, ax=ax))
        yield Picture("training", "learning_curves", "Learning curves", caption, figure)
    if len(findings.fidelity):
        caption = (
            "How well each epoch ranks the models as the last one does, with a 95 % interval of Spearman's ρ; the "
            "dotted line is what counts as trustworthy."
        )
        figure = _one(findings, lambda ax: plots.plot_rank_agreement(findings.fidelity, threshold=TRUSTWORTHY, ax=ax))
        yield Picture("training", "rank_agreement", "How early the end can be told", caption, figure)


def _best(findings: Findings) -> Iterator[Picture]:
    if findings.models["pareto"].any():
        cost = findings.match or "macs"
        limit, sample = _limit(findings), thinned(findings.models)
        figure = _one(findings, lambda ax: plots.plot_pareto(sample, cost, limit=limit, ax=ax))
        caption = f"Models that no other beats in both error and {label(cost)}, joined by steps.{_beyond(findings)}"
        noise = findings.best["noise_sd"].iloc[0]
        chance = f" One training varies by {noise:.2f} points (from {findings.best['noise_from'].iloc[0]})."
        yield Picture("best", "pareto", "The Pareto front", caption + (chance if np.isfinite(noise) else ""), figure)


def _scatter(findings: Findings, sample: pd.DataFrame, name: str, part: str) -> Picture:
    trend, ranges, rho = (f[f["parameter"] == name] for f in (findings.trends, findings.ranges, findings.correlations))
    # A group mean means little for the fit error, whose values crowd at 0.
    line = None if name == "fit_error" else trend
    told = [
        f"{row['space']} {interval(row['rho'], row['lower'], row['upper'])}"
        for _, row in rho.iterrows()
        if np.isfinite(row["rho"])
    ]
    caption = (f"Rank correlation: {', '.join(told)}." if told else "") + _beyond(findings)
    more: dict[str, Any] = {"trend": line, "ranges": ranges, "limit": _limit(findings)}
    figure = _one(findings, lambda ax: plots.plot_parameter(sample, name, **more, ax=ax))
    return Picture(part, scatter_name(name, findings.parameters), f"Error against {label(name)}", caption, figure)


def scatter_name(parameter: str, parameters: Sequence[str]) -> str:
    """The file name of a parameter's figure: with its name if that is a short lower-case word, else with its number.

    Tables and studies may have any text as a parameter's name: val/acc, .., A besides a, thousands of characters.
    """
    plain = re.fullmatch("[a-z0-9_]{1,40}", parameter)
    return f"error_vs_{parameter}" if plain else f"error_vs-{1 + list(parameters).index(parameter)}"


def _limit(findings: Findings) -> float | None:
    """Right end of the error axis where a few very bad models would squeeze all others to the left, else None."""
    errors = findings.models["error_percent"]
    low, most, high = errors.min(), errors.quantile(0.95), errors.max()
    return float(most) if high - low > 3 * (most - low) > 0 else None


def _beyond(findings: Findings) -> str:
    limit = _limit(findings)
    number = 0 if limit is None else int((findings.models["error_percent"] > limit).sum())
    return f" {number} models with more than {limit:.1f} % stand at the upper edge." if number else ""


def _bands(made: object) -> str:
    kinds = list(dict.fromkeys(map(str, np.asarray(made))))
    return "; ".join(kinds) if len(kinds) <= 3 else f"{kinds[0]} and the like"


def _weighted_mean(findings: Findings, space: str) -> float:
    assert findings.matching is not None
    frame, weights = findings.models, findings.matching.weights
    return float(np.sum((weights * frame["error_percent"])[frame["space"].astype(str) == space]))


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


MAX_POINTS = 3000
"""Models drawn one by one, and steps of a curve."""


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
