"""The table of trained models, with one method per statistic.

    table = load("runs/demo")
    table.edf().plot()
    print(table.compare(match="macs"))

Methods import the statistic they call, because loading a table needs none of them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from analysis.expressions import with_expression
from analysis.formatting import si_format
from analysis.grouping import group_by, keep_where
from analysis.results import Report, Result, html_list, html_table, spaces_summary
from analysis.rows import (
    MISSING,
    OK,
    PROBE_MEANS,
    FailurePolicy,
    Resolved,
    Trainings,
    apply_failure_policy,
    as_names,
    average_seeds,
    complexity_column,
    costs,
    distinct_trainings,
    planned_epochs,
    validation_size,
)
from designspace.expressions import PLAIN, unknown_column
from designspace.study import STOPPED
from designspace.validated import unknown

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from analysis.refinements import RefineResult

PREVIEW_ROWS = 5


class Table(Trainings):
    """Trained models of one or more studies, files or data frames, made by `load`.

    `frame` has one row per training. `where` and `by` return a new table with fewer rows or other spaces; the other
    methods compute a statistic from the mean error over the seeds of each model. They share these arguments:

    - failures: error of a failed model: "worst" (the largest error in the table), "drop" (exclude it) or
      "error=NUMBER" (percent).
    - match: complexity by which the spaces are matched: "macs", "params", "acts", "latency_ms" if it was measured, or
      None for the models as drawn.
    - across: "recipe", "data" or both, to compare models with different recipes or data, which is an error otherwise.

    If a study stopped models early, every statistic but `select` and `export` uses the errors after the last epoch that
    all its models reached (`analysis.early_stopping`), and says so.

    Invalid arguments raise ValueError.
    """

    def __len__(self) -> int:
        return len(self.frame)

    def __getitem__(self, column: str) -> pd.Series:
        if column not in self.frame:
            raise KeyError(unknown_column("column", str(column), self.frame))
        return self.frame[column]

    def __repr__(self) -> str:
        names = ", ".join(source.name for source in self.sources)
        status = self.frame["status"]
        missing, finished, stopped = (int((status == one).sum()) for one in (MISSING, OK, STOPPED))
        spaces = self.frame["space"].nunique()
        counts = f"{len(self):,} rows in {spaces} space{'s' if spaces != 1 else ''}"
        failed = len(self) - finished - missing - stopped
        early = f"{stopped:,} stopped early, " if stopped else ""
        return f"Table({names}: {counts}, {finished:,} finished, {early}{failed:,} failed, {missing:,} not trained yet)"

    def _repr_html_(self) -> str:
        names = ["space", "index", "status", "error_percent", *costs(self.frame), *self.parameters]
        shown = self.frame[[name for name in dict.fromkeys(names) if name in self.frame]].head(PREVIEW_ROWS)
        return f"<p>{escape(repr(self))}</p>{html_table(shown)}{html_list(self.notes)}"

    @property
    def spaces(self) -> tuple[str, ...]:
        """Labels of the spaces in order of appearance."""
        return tuple(map(str, self.frame["space"].unique()))

    def where(self, *conditions: str) -> Table:
        """Keep the rows that satisfy all conditions, such as "depth>=12" or "kind=a,b"; see `keep_where`."""
        return keep_where(self, conditions)

    def by(self, column: str) -> Table:
        """Use the values of a column as the spaces; "COLUMN:N" splits numbers into N groups. See `group_by`."""
        return group_by(self, column)

    def models(self, failures: FailurePolicy | str = "worst") -> pd.DataFrame:
        """One row per draw of a model, with its mean error over seeds, after the failure policy."""
        return self._models(failures)[0]

    def describe(self, failures: FailurePolicy | str = "worst") -> pd.DataFrame:
        """Number of models, failures, and quantiles and mean of the error for each space; see `describe_spaces`."""
        from analysis.error_distributions import describe_spaces

        return describe_spaces(self.models(failures))

    def epochs_saved(self) -> pd.DataFrame:
        """Epochs saved by early stopping in each space: trainings, stopped, epochs, saved; see `epochs_saved`."""
        from analysis.early_stopping import epochs_saved

        return epochs_saved(distinct_trainings(self.frame), planned_epochs(self.sources))

    def edf(
        self, *, match: str | None = None, failures: FailurePolicy | str = "worst", across: str | Collection[str] = ()
    ) -> Result:
        """Empirical distribution function of the error of each space, with a simultaneous band; see `edf_by`."""
        from analysis.error_distributions import describe_spaces, edf_by, quantiles
        from analysis.matching import complexity_weights
        from analysis.plots import plot_edf

        column = complexity_column(match, self.frame)
        models, resolved, warnings = self._comparable_models(failures, across)
        matching = complexity_weights(models, column) if column else None
        curves = edf_by(models, weights=matching.weights if matching else None)
        bands = f"Band: {'; '.join(dict.fromkeys(curves['band']))}."
        matched = [matching.sentence, *(f"{warning}." for warning in matching.warnings)] if matching else []
        return Result(
            "Error EDF",
            curves,
            (*warnings, resolved.sentence, bands, *matched, *self.notes),
            (
                ("as drawn", spaces_summary(describe_spaces(models))),
                (f"at equal {column}" if column else "with the band", quantiles(curves)),
            ),
            lambda ax: plot_edf(curves, ax=ax),
        )

    def compare(
        self, *, match: str | None = "macs", failures: FailurePolicy | str = "worst", across: str | Collection[str] = ()
    ) -> Result:
        """Compare every pair of spaces: differences with simultaneous intervals; see `compare_spaces`."""
        from analysis.compare import compare_spaces
        from analysis.display import comparison_table
        from analysis.plots import plot_differences
        from analysis.sentences import comparison_notes, comparison_sentences

        column = complexity_column(match, self.frame)
        models, resolved, warnings = self._comparable_models(failures, across)
        pairs = compare_spaces(models, match=column, across=as_names(across))
        shown = comparison_table(pairs).drop(columns=["matched by", "effective", "area difference, % of box"])
        statements = (*comparison_sentences(pairs), *comparison_notes(pairs))
        return Result(
            "Comparison of spaces",
            pairs,
            (*warnings, *statements, resolved.sentence, *self.notes),
            (("", shown),),
            lambda ax: plot_differences(pairs, ax=ax),
        )

    def fit_widths(self, *, failures: FailurePolicy | str = "worst", continuous: bool = False) -> Result:
        """Fit the quantized linear rule to the block widths of every model; see `fit_population`.

        Args:
            failures: see the class.
            continuous: also fit without rounding to 8 channels (column fit_error_continuous), as in the paper.
        """
        from analysis.plots import plot_parameter
        from analysis.widths import FIT_COLUMNS, describe_fits, fit_population

        models, resolved = self._models(failures)
        models = models[models["block_widths"].notna()].reset_index(drop=True)
        if models.empty:
            raise ValueError("widths: required and missing; map them, such as widths=COLUMN")
        models = pd.concat([models, fit_population(models["block_widths"])], axis=1)
        names = ["study", "space", "index", "spec_id", "error_percent", "block_widths", *FIT_COLUMNS]
        frame = models[names]
        if continuous:
            frame = frame.assign(fit_error_continuous=fit_population(models["block_widths"], quantum=1)["fit_error"])
        return Result(
            "Width fits",
            frame,
            (resolved.sentence, *self.notes),
            (("", describe_fits(models)),),
            lambda ax: plot_parameter(models, "fit_error", ax=ax),
        )

    def trends(self, parameter: str | None = None, *, failures: FailurePolicy | str = "worst") -> Result:
        """Trend of the error with every parameter and complexity in each space, importance, and regimes of macs.

        In studies with `probe: true`, also with the means of the probe.

        Args:
            parameter: only this parameter, complexity or mean, or an expression of columns like
                learning_rate*weight_decay; required for the figure.
            failures: see the class.
        """
        from analysis.display import powers_table, ranges_table, regimes_table
        from analysis.grouping import in_families, space_families
        from analysis.parameters import (
            correlations_per_space,
            permutation_importance,
            ranges_per_space,
            trends_per_space,
        )
        from analysis.plots import plot_parameter
        from analysis.regimes import best_by_regime, regime_trends

        models, resolved = self._models(failures)
        measured = [*costs(models), *(name for name in PROBE_MEANS if name in models)]
        names = [*self.parameters, *(name for name in measured if models[name].notna().any())]
        if parameter is not None and parameter not in names:
            if parameter in models or re.fullmatch(PLAIN, parameter):
                raise ValueError(unknown("parameter", parameter, names))
            models = with_expression(models, "parameter", parameter)
        names = names if parameter is None else [parameter]
        lines, ranges = trends_per_space(models, names), ranges_per_space(models, names)
        if lines.empty:
            raise ValueError(f"parameter = {', '.join(names)}: must be numeric and vary within some space")
        tables = [("", ranges_table(ranges, correlations_per_space(models, names)))]
        forest = permutation_importance(models, self.parameters) if parameter is None else None
        if forest is not None:
            explained = f"{max(0, forest.explained):.0%} of the variance explained"
            tables.append((f"importance: increase of the error when shuffled; {explained}", forest.table))
        families = space_families(models, self.sources) if self.grouped_by == "space" else {}
        finished = in_families(models[~models["failed"]], families)
        regimes = best_by_regime(finished, [name for name in names if name != "macs"])
        if regimes["regime"].max() > 0:
            laws = powers_table(regime_trends(regimes), "regimes")
            tables += [("best models by regime of macs", regimes_table(regimes)), ("y ∝ macs^exponent", laws)]

        def draw(ax: Axes | None) -> Axes:
            if parameter is None:
                raise ValueError("parameter: required for a figure of trends")
            return plot_parameter(models, parameter, trend=lines, ranges=ranges, ax=ax)

        return Result("Trends", lines, (resolved.sentence, *self.notes), tuple(tables), draw)

    def scores(self, *, failures: FailurePolicy | str = "worst") -> Result:
        """Rank agreement of zero-cost scores with the error, and of macs, params and acts; see `score_agreement`.

        Args:
            failures: see the class.

        Raises:
            ValueError: the studies have no scores.
        """
        from analysis.display import scores_table
        from analysis.plots import plot_scores
        from analysis.scores import score_agreement
        from analysis.sentences import score_sentences

        models, resolved = self._models(failures)
        agreement = score_agreement(models)
        if agreement.empty:
            raise ValueError("scores: required and missing; record them with designspace sweep … scores=true")
        return Result(
            "Zero-cost scores",
            agreement,
            (*score_sentences(agreement), resolved.sentence, *self.notes),
            (("", scores_table(agreement)),),
            lambda ax: plot_scores(agreement, order=self.space_order, ax=ax),
        )

    def best(self, k: int = 5) -> pd.DataFrame:
        """The k models with the smallest error, best first, with the columns of `select_best`."""
        return self.select(k).frame

    def search(self, *, failures: FailurePolicy | str = "worst") -> Result:
        """Compare searches with random search in the same space by the smallest error so far; see `search_efficiency`.

        The figure requires a single space.
        """
        from analysis.display import search_table
        from analysis.plots import plot_search
        from analysis.search import search_efficiency, search_sentences

        curves, reference, summary = search_efficiency(self.frame, failures)
        resolved = apply_failure_policy(self.frame, failures)
        notes = [resolved.stopped_sentence] if resolved.stopped_sentence else []
        if without := sorted(set(resolved.proposals["space"]) - set(curves["space"])):
            names = ", ".join(without)
            notes.append(f"Excluded, because a search is compared with the random draws of its space: {names}.")

        def draw(ax: Axes | None) -> Axes:
            spaces = curves["space"].unique()
            if len(spaces) > 1:
                raise ValueError(f"space = {', '.join(spaces)}: must be one for a figure; select it with where")
            return plot_search(curves, reference, ax=ax)

        renamed = {"draws": "models", "median": "random_median", "lower": "random_lower", "upper": "random_upper"}
        columns = reference.rename(columns=renamed)[["space", *renamed.values()]]
        return Result(
            "Search efficiency",
            curves.merge(columns, on=["space", "models"]),
            (*search_sentences(summary), *notes, *self.notes),
            (("", search_table(summary)),),
            draw,
        )

    def recipes(self, reference: str, base: str | None = None, *, failures: FailurePolicy | str = "worst") -> Result:
        """Compare training recipes, one study each, by agreement with a long training, separation and cost.

        Args:
            reference: name of the study with the long training; see `compare_recipes`.
            base: name of the study to compare with; by default the reference.
            failures: see the class.
        """
        from analysis.display import recipes_table
        from analysis.plots import plot_recipes
        from analysis.recipes import compare_recipes
        from analysis.sentences import recipe_sentences

        resolved = apply_failure_policy(self.frame, failures)
        recipes = compare_recipes(resolved.frame, reference, base)
        return Result(
            "Training recipes",
            recipes,
            (*recipe_sentences(recipes, reference, base or reference), resolved.sentence, *self.notes),
            (("", recipes_table(recipes)),),
            lambda ax: plot_recipes(recipes, ax=ax),
        )

    def select(
        self,
        top: int | None = None,
        *,
        pareto: str | Sequence[str] = (),
        regimes: int | None = None,
        noise: float | None = None,
    ) -> Result:
        """Select the best models, with the expected error of each on retraining; see `select_best`.

        Args:
            top: number of models, in each regime if `regimes` is given; default 5, or the full front with `pareto`.
            pareto: columns to minimize besides the error; only models on the Pareto front are selected.
            regimes: select in each of this many regimes of macs.
            noise: standard deviation of the error of one training in points, if known.
        """
        from analysis.display import best_table
        from analysis.plots import plot_pareto
        from analysis.select import candidates, pareto_front, select_best, selection_sentence

        pareto = self._columns("pareto", pareto)
        if top is not None and top < 1:
            raise ValueError(f"top = {top}: must be at least 1")
        if noise is not None and not 0 < noise < np.inf:
            raise ValueError(f"noise = {noise:g}: must be a positive number of points")
        best = select_best(
            self.frame,
            top if top is not None or pareto else 5,
            noise_sd=noise,
            validation_size=validation_size(self.sources),
            objectives=pareto,
            regimes=regimes,
        )
        models = candidates(self.frame)
        shown = best_table(best, [name for name in pareto if name not in costs(best)])
        if regimes is not None:
            ends = zip(best["regime_low"], best["regime_high"], strict=True)
            shown.insert(0, "regime of macs", [f"{si_format(low)} to {si_format(high)}" for low, high in ends])
        cost = pareto[0] if pareto else "macs"
        return Result(
            "Selection",
            best,
            (selection_sentence(best.iloc[0], models["spec_id"].nunique()), *self.notes),
            (("", shown),),
            lambda ax: plot_pareto(models.assign(pareto=pareto_front(models, ("error_percent", cost))), cost, ax=ax),
        )

    def predict(
        self,
        top: int = 10,
        *,
        count: int = 10_000,
        failures: FailurePolicy | str = "worst",
        on_progress: Callable[[int], None] | None = None,
    ) -> Result:
        """Predict the error of untrained networks of each space, with the cross-validated error of the predictions.

        A surrogate is fitted to the parameters and complexity of the trained networks of a space and applied to draws
        of the space; see `designspace.surrogate`. Table files have no space, so only the cross-validation is returned.

        Args:
            top: number of networks to return, those with the smallest predicted error.
            count: number of draws, which include the trained networks.
            failures: see the class.
            on_progress: called repeatedly with the number of networks drawn so far.
        """
        from analysis.predictions import predict_table

        return predict_table(self, top, count, failures, on_progress)

    def refine(
        self,
        *tries: str,
        take: int | None = None,
        steps: int | None = None,
        margin: float | None = None,
        draws: int = 10,
        match: str | None = "macs",
        failures: FailurePolicy | str = "worst",
    ) -> RefineResult:
        """Restrictions of the space that would lower the error, cost nothing, or raise it; see `refine_space`.

        Args:
            tries: more restrictions, such as "depth <= 20 and group_width >= 8".
            take: draw the models that restriction number `take` keeps and drops, instead of the forest plot.
            steps: accept up to this many restrictions one by one; see `analysis.refine.ladder`.
            margin: largest difference of mean error that counts as equivalent, points; by default a fifth of the
                standard deviation.
            draws: m of the expected best of m models.
            match, failures: see the class.
        """
        from analysis.refinements import refine_table

        return refine_table(self, tries, take, steps, margin, draws, complexity_column(match, self.frame), failures)

    def report(
        self,
        folder: str | Path | None = None,
        *,
        match: str | None = "macs",
        failures: FailurePolicy | str = "worst",
        across: str | Collection[str] = (),
        force: bool = False,
        command: str = "",
    ) -> Report:
        """Write report.html with all statistics, and its figures.

        Args:
            folder: output folder; default the first study, or NAME-report for a file.
            match, failures, across: see the class.
            force: replace files that this tool did not write.
            command: command line to state on the page.
        """
        from analysis.findings import find
        from analysis.report import PAGE, write_report
        from analysis.sentences import conclusions
        from designspace.atomic import check_output

        column = complexity_column(match, self.frame)
        first = self.sources[0].path
        folder = Path(folder) if folder else first if first.is_dir() else Path(f"{first.name}-report")
        force = force or folder == first  # a study folder is our own
        check_output(folder / PAGE, force=force)
        findings = find(self, policy=failures, match=column or "", by=self.grouped_by, across=as_names(across))
        page = write_report(findings, folder, command, force=force)
        sentences = (*findings.warnings, *conclusions(findings), findings.resolved.sentence, *self.notes)
        return Report(page, findings, sentences)

    def export(
        self,
        folder: str | Path,
        *,
        top: int = 3,
        formats: str | Sequence[str] = "yaml",
        pareto: str | Sequence[str] = (),
        within: Mapping[str, tuple[float, float]] | None = None,
        force: bool = False,
    ) -> list[tuple[Path, dict[str, Any]]]:
        """Write the best models as spec files, or as folders for other tools; see `export_best`.

        Args:
            folder: output folder.
            top: number of models.
            formats: "yaml", "json", or with a folder per model "pycls", "timm", "torchvision", "onnx", "torch".
            pareto: columns to minimize besides the error; only models on the Pareto front are written.
            within: column to its lowest and highest value.
            force: replace files that this tool did not write.

        Returns:
            The path and the row of each model.
        """
        from analysis.export import export_best

        return export_best(
            self,
            Path(folder),
            top=top,
            formats=as_names(formats),
            pareto=self._columns("pareto", pareto),
            within=within or {},
            force=force,
        )

    def _columns(self, argument: str, names: str | Sequence[str]) -> tuple[str, ...]:
        """Column names from an argument; ValueError for an unknown one."""
        for name in as_names(names):
            if name not in self.frame:
                raise ValueError(unknown_column(argument, name, self.frame))
        return as_names(names)

    def _models(self, failures: FailurePolicy | str) -> tuple[pd.DataFrame, Resolved]:
        resolved = apply_failure_policy(self.frame, failures)
        return average_seeds(resolved.frame), resolved

    def _comparable_models(
        self, failures: FailurePolicy | str, across: str | Collection[str]
    ) -> tuple[pd.DataFrame, Resolved, list[str]]:
        """Models trained with one recipe and data set, or else a warning about the differences in `across`."""
        from analysis.compare import check_same_training

        models, resolved = self._models(failures)
        return models, resolved, check_same_training(models, as_names(across), self.sources)
