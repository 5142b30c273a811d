"""Figures of the study pages, from the stored tables."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from analysis import edf_by, trend
from analysis.formatting import si_format
from analysis.manifold import DIMENSIONS, embeddings, spiral
from analysis.plots import plot_edf, plot_embedding, plot_manifold, plot_parameter
from analysis.plots.style import group_styles, label_axes, legend_inside, tidy
from benchmarks.studies.claims import AGREES, CONTRADICTS, UNDECIDED, with_quantity
from benchmarks.studies.exact import manifold_results
from benchmarks.studies.study import Results

COLORS = {AGREES: "#117733", CONTRADICTS: "#aa3377", UNDECIDED: "#777777"}


def claims_figure(findings: pd.DataFrame, figure: Figure) -> None:
    """Estimates with simultaneous intervals, a panel per unit, colored by verdict."""
    units = list(dict.fromkeys(findings["unit"]))
    sizes = [int((findings["unit"] == unit).sum()) for unit in units]
    panels = figure.subplots(len(units), 1, squeeze=False, height_ratios=[size + 1 for size in sizes])[:, 0]
    for unit, ax in zip(units, panels, strict=True):
        part = findings[findings["unit"] == unit].reset_index(drop=True)
        tidy(ax).axvline(0, color="#444444", linewidth=0.8)
        for place, row in part.iterrows():
            color = COLORS[row["verdict"]]
            ax.plot([row["lower"], row["upper"]], [-place, -place], color=color, linewidth=2)
            ax.plot(row["estimate"], -place, "o", color=color, markersize=5)
            if row["expected"].startswith("within"):
                margin = float(row["expected"].removeprefix("within ±"))
                ax.plot(
                    [-margin, -margin, np.nan, margin, margin],
                    -place + np.array([-0.3, 0.3, 0, -0.3, 0.3]),
                    color="#444444",
                )
        ax.set_yticks(-part.index.to_numpy(), [f"{row.claim}: {row.verdict}" for row in part.itertuples()], fontsize=8)
        ax.set_ylim(-len(part) + 0.4, 0.6)
        ax.set_xlabel(unit)
        ax.grid(False)


def edfs(*spaces: str) -> Callable[[Results, Figure], None]:
    """EDFs of spaces with their bands, as drawn."""

    def draw(results: Results, figure: Figure) -> None:
        models = results.table.models()
        models = models[models["space"].isin(spaces)]
        limit = float(np.quantile(models["error_percent"], 0.95))
        plot_edf(edf_by(models), order=spaces, limit=limit, ax=figure.subplots())

    return draw


def against(
    column: str, *spaces: str, label: str = "", quantity: str = "error_percent"
) -> Callable[[Results, Figure], None]:
    """Error, or the training error as `quantity`, against a column, with the means of groups of models."""

    def draw(results: Results, figure: Figure) -> None:
        models = with_quantity(results.table, quantity).models()
        models = models[models["space"].isin(spaces)]
        lines = [
            trend(part[column], part["error_percent"]).assign(space=space)
            for space, part in models.groupby("space", sort=False)
        ]
        limit = float(np.quantile(models["error_percent"], 0.97))
        ax = plot_parameter(models, column, order=spaces, trend=pd.concat(lines), limit=limit, ax=figure.subplots())
        ylabel = ax.get_ylabel() if quantity == "error_percent" else "training error of the last epoch (%)"
        label_axes(ax, label or ax.get_xlabel(), ylabel)

    return draw


def predictors(target: str, label: str, space: str, columns: dict[str, str]) -> Callable[[Results, Figure], None]:
    """Time against complexities on log axes, a panel each, with the correlation of the logs."""

    def draw(results: Results, figure: Figure) -> None:
        models = results.table.models()
        models = models[(models["space"] == space) & ~models["failed"]]
        panels = figure.subplots(1, len(columns), sharey=True)
        for ax, (column, text) in zip(panels, columns.items(), strict=True):
            known = models[[column, target]].astype(float).dropna()
            tidy(ax).plot(known[column], known[target], ".", color=group_styles([space])[space]["color"])
            ax.set_xscale("log")
            ax.set_yscale("log")
            for axis in (ax.xaxis, ax.yaxis):
                axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
                axis.set_major_formatter(FuncFormatter(lambda value, _: si_format(value)))
                axis.set_minor_formatter(NullFormatter())
            r = np.corrcoef(np.log(known.to_numpy().T))[0, 1]
            label_axes(ax, text, label if ax is panels[0] else "")
            ax.set_title(f"r = {r:.2f}", fontsize=9)

    return draw


def gradient_norms(*spaces: str) -> Callable[[Results, Figure], None]:
    """Gradient norm of each part of the networks in the first and in the last epoch, a line per space."""

    def draw(results: Results, figure: Figure) -> None:
        frame = results.table.frame
        styles = group_styles(spaces)
        epochs = ("first", "last")
        for epoch, ax in zip(epochs, figure.subplots(1, len(epochs), sharey=True), strict=True):
            for place, space in enumerate(spaces):
                norms = pd.DataFrame(frame.loc[frame["space"] == space, f"part_gradient_norm_{epoch}"].tolist())
                lower, middle, upper = norms.astype(float).quantile([0.25, 0.5, 0.75]).to_numpy()
                at = np.arange(len(middle)) + 0.12 * (place - (len(spaces) - 1) / 2)
                tidy(ax).errorbar(
                    at, middle, [middle - lower, upper - middle], **styles[space], markersize=4, capsize=2, label=space
                )
            ax.set_xticks(range(len(middle)), ["stem", *(f"stage {i}" for i in range(1, len(middle) - 1)), "head"])
            ax.set_yscale("log")
            ax.set_title(f"{epoch} epoch", fontsize=9)
            label_axes(ax, "", "gradient norm" if epoch == epochs[0] else "")
        legend_inside(ax, "best")

    return draw


def manifold(_results: Results, figure: Figure) -> None:
    """MobileNetV2's Fig. 1: one embedding per dimension above the means of many."""
    above, below = figure.subfigures(2, 1, height_ratios=(1, 1.7))
    points = spiral()
    panels = above.subplots(1, len(DIMENSIONS))
    for n, ax in zip(DIMENSIONS, panels, strict=True):
        plot_embedding(next(embeddings(points, n, 1)), ax=ax)
        ax.set_title(f"n = {n}", fontsize=9)
    plot_manifold(manifold_results(), ax=below.subplots())


def scaling(results: Results, figure: Figure) -> None:
    """Mean and standard deviation of the error over the seeds of each scaled network, a line per rule."""
    frame = results.table.frame
    frame = frame[frame["error_percent"].notna() & (frame["space"] != "grid")]
    networks = frame.groupby("space", sort=False).agg(
        macs=("macs", "first"), error=("error_percent", "mean"), sd=("error_percent", "std")
    )
    rules = list(dict.fromkeys(space.partition("_")[0] for space in networks.index if space != "base"))
    ax: Axes = tidy(figure.subplots())
    for rule, style in group_styles(rules).items():
        chosen = networks.loc[["base", *(space for space in networks.index if space.startswith(f"{rule}_"))]]
        x = chosen["macs"].astype(float) / 1e6
        ax.errorbar(
            x, chosen["error"], chosen["sd"], marker="o", markersize=4, capsize=3, label=rule, color=style["color"]
        )
    ax.legend(title="scaled by", frameon=False)
    label_axes(ax, "macs (million)", "validation error (%)")


def grid(results: Results, figure: Figure) -> None:
    """Mean error of each point of the grid of alpha, beta and gamma, sorted."""
    frame = results.table.frame
    frame = frame[(frame["space"] == "grid") & frame["error_percent"].notna()]
    means = frame.groupby(["alpha", "beta", "gamma"])["error_percent"].agg(["mean", "std"]).sort_values("mean")
    ax: Axes = tidy(figure.subplots())
    places = np.arange(len(means))
    ax.errorbar(means["mean"], -places, xerr=means["std"], fmt="o", markersize=4, capsize=3, color="#4477aa")
    ax.set_yticks(-places, [f"α {a:.3g}, β {b:.3g}, γ {c:.3g}" for a, b, c in means.index], fontsize=8)
    label_axes(ax, "validation error (%)", "")
