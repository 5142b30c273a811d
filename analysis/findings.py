"""Findings of a report: every number it shows, computed once."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import combinations

import pandas as pd
from pandas.api.types import is_numeric_dtype

from analysis.compare import check_same_training, compare_spaces
from analysis.early_stopping import epochs_saved
from analysis.error_distributions import describe_spaces, edf_by
from analysis.grouping import group_by, in_families, space_families
from analysis.latency import latency_correlations
from analysis.matching import ComplexityMatch, complexity_weights
from analysis.parameters import (
    Importance,
    correlations_per_space,
    permutation_importance,
    ranges_per_space,
    trends_per_space,
    varies,
)
from analysis.random_search import random_search_by
from analysis.refine import Refinement, refine_space
from analysis.regimes import assign_regimes, best_by_regime, regime_trends, scaling_exponents
from analysis.rows import (
    LATENCY,
    FailurePolicy,
    Resolved,
    Source,
    Trainings,
    apply_failure_policy,
    average_seeds,
    complexity_column,
    costs,
    distinct_trainings,
    is_proposal,
    planned_epochs,
    validation_size,
)
from analysis.search import Efficiency, search_efficiency
from analysis.select import pareto_front, select_best
from analysis.training import (
    DepthNoise,
    NoiseFloor,
    RankAgreement,
    epoch_fidelity,
    learning_curves,
    noise_by_depth,
    noise_floor,
    recipe_fidelity,
    seed_agreement,
)
from analysis.widths import LinearStructure, fit_population, linear_structure, width_profiles
from designspace.study import STOPPED

MIN_TO_REFINE = 60
"""Fewest models for the section on restrictions."""
MAX_FITS = 2000
"""Maximum number of distinct networks whose widths are fitted. One fit takes a few milliseconds."""


@dataclass(frozen=True)
class SpaceFindings:
    """Error distributions of the spaces and their comparison.

    Attributes:
        summary: `describe_spaces`, one row per space.
        curves: `edf_by`, unweighted.
        match: complexity column used for matching; "" for none.
        matching: weights that match all spaces; None for one space, no common range, or no `match`.
        match_problem: reason why `matching` failed; "" otherwise.
        matched_curves: `edf_by` with the matching weights; empty without `matching`.
        comparison: `compare_spaces`, matched pairs first, then unmatched pairs. Pairs of regimes of one design space
            are excluded. Empty for one space.
        search: `random_search_by`.
    """

    summary: pd.DataFrame
    curves: pd.DataFrame
    match: str
    matching: ComplexityMatch | None
    match_problem: str
    matched_curves: pd.DataFrame
    comparison: pd.DataFrame
    search: pd.DataFrame


@dataclass(frozen=True)
class ParameterFindings:
    """Relation of the error to each parameter.

    Attributes:
        names: numeric columns that vary within a space: free parameters, then complexity, then fit_error.
        ranges: one row per space and parameter, fields of `BestRange`.
        correlations: one row per space and parameter, fields of `RankTrend`.
        trends: rows of `trend` per space and parameter.
        importance: of the free parameters over all spaces; None with too few models.
        latency: `latency_correlations`; empty without measured latencies.
    """

    names: tuple[str, ...]
    ranges: pd.DataFrame
    correlations: pd.DataFrame
    trends: pd.DataFrame
    importance: Importance | None
    latency: pd.DataFrame


@dataclass(frozen=True)
class RegimeFindings:
    """Best models by complexity regime.

    Attributes:
        designs: design space by space label (`analysis.families`); empty if a column defines the spaces.
        best: `best_by_regime` of the error and every parameter, for design spaces with several regimes of macs.
        trends: `regime_trends`; empty with fewer than three regimes.
        exponents: `scaling_exponents` of all models and of the best quarter of each regime ("NAME, best quarter").
    """

    designs: dict[str, str]
    best: pd.DataFrame
    trends: pd.DataFrame
    exponents: pd.DataFrame


@dataclass(frozen=True)
class WidthFindings:
    """Block widths of the best networks.

    Attributes:
        profiles: `width_profiles`.
        structures: `linear_structure` by space.
    """

    profiles: pd.DataFrame
    structures: dict[str, LinearStructure]


@dataclass(frozen=True)
class TrainingFindings:
    """Training noise and rank agreement between trainings.

    Attributes:
        curves: `learning_curves`; empty without epoch errors.
        epochs: `epoch_fidelity`; empty without epoch errors.
        recipes: `recipe_fidelity`.
        noise: `noise_floor`; None without repeated seeds.
        depth_noise: `noise_by_depth`; None with few repeated seeds.
        seeds: `seed_agreement`; None without repeated seeds.
    """

    curves: pd.DataFrame
    epochs: pd.DataFrame
    recipes: pd.DataFrame
    noise: NoiseFloor | None
    depth_noise: DepthNoise | None
    seeds: RankAgreement | None


@dataclass(frozen=True)
class SelectionFindings:
    """Selected models.

    Attributes:
        best: `select_best` by error.
        front: `select_best` on the Pareto front of error and complexity; empty if the complexity is unknown.
    """

    best: pd.DataFrame
    front: pd.DataFrame


@dataclass(frozen=True)
class Findings:
    """All findings of a table under one failure policy.

    Attributes:
        table: the table, grouped into the requested spaces.
        resolved: the trainings after the failure policy.
        warnings: accepted differences between trainings (`check_same_training`).
        models: one row per model with its mean error over seeds, the columns of `fit_population`, and `pareto`. Only
            random draws.
        trained: `models` and the proposals of searches.
        spaces, parameters, regimes, widths, training, selection: the parts of the report.
        saved: `epochs_saved` by early stopping.
        failures: one row per space and status other than ok and stopped, with "collapsed": number of models and one
            message.
        sampling: one row per study and space: asked, drawn, kept, acceptance, distinct, duplicates
            (`designspace.population.SamplingReport`), and the number of rejections by constraint.
        refinement: `refine_space` of a single space; None with several spaces or too few models.
        search: `search_efficiency`; None without trained proposals in a space with random draws.
    """

    table: Trainings
    resolved: Resolved
    warnings: tuple[str, ...]
    models: pd.DataFrame
    trained: pd.DataFrame
    spaces: SpaceFindings
    parameters: ParameterFindings
    regimes: RegimeFindings
    widths: WidthFindings
    training: TrainingFindings
    selection: SelectionFindings
    saved: pd.DataFrame
    failures: pd.DataFrame
    sampling: pd.DataFrame
    refinement: Refinement | None
    search: Efficiency | None

    @property
    def error(self) -> str:
        """Which error the report shows."""
        if not all(study.manifest for study in self.table.sources):
            return "error from the table"
        last = "last epoch that all models reached" if self.resolved.common_epochs else "last epoch"
        return f"validation error of the {last}"


def find(
    table: Trainings,
    *,
    policy: FailurePolicy | str = "worst",
    match: str = "macs",
    by: str = "space",
    top: int = 5,
    across: Collection[str] = (),
) -> Findings:
    """Compute all findings of a table.

    Args:
        table: from `load_table`.
        policy: error assigned to failed models.
        match: "macs", "params", "acts" or "latency_ms" to compare spaces at equal cost; "" to compare them unmatched.
        by: column that defines the spaces.
        top: number of best models.
        across: "recipe", "data" or both to compare spaces trained differently.

    Raises:
        ValueError: no finished model, an unknown `match` or `by`, or spaces trained differently.
    """
    match = complexity_column(match, table.frame) or ""
    table = group_by(table, by)
    resolved = apply_failure_policy(table.frame, policy)
    trained = _with_fits(_all_models(resolved))
    objectives = ("error_percent", match or "macs")
    trained["pareto"] = False
    has_complexity = bool(trained.loc[~trained["failed"], objectives[1]].notna().any())
    if has_complexity:
        finished = trained[~trained["failed"]]
        trained.loc[finished.index, "pareto"] = pareto_front(finished, objectives)
    models = trained[~is_proposal(trained)].reset_index(drop=True)
    finished = models[~models["failed"]]
    warnings = check_same_training(models, across, table.sources) if len(set(models["space"])) > 1 else []
    names = _varying(models, table.parameters)
    designs = space_families(models, table.sources) if by == "space" else {}
    return Findings(
        table=table,
        resolved=resolved,
        warnings=tuple(warnings),
        models=models,
        trained=trained,
        spaces=_spaces(models, table.space_order, match, designs, across),
        parameters=_parameters(models, names, table.parameters),
        regimes=_regimes(finished, names, designs),
        widths=WidthFindings(width_profiles(models), _structures(finished)),
        # The error of a failed training comes from the policy and is not a measurement.
        training=_training(finished, resolved.frame[~resolved.frame["failed"]]),
        selection=_selection(table, top, objectives[1] if has_complexity else ""),
        saved=epochs_saved(distinct_trainings(table.frame), planned_epochs(table.sources)),
        failures=_failures(table.frame[table.frame["status"] != STOPPED]),
        sampling=_sampling(table.sources),
        refinement=_refinement(models, table.parameters, match),
        search=search_efficiency(table.frame, policy) if _has_reference(resolved) else None,
    )


def _has_reference(resolved: Resolved) -> bool:
    """Whether a space has proposals and random draws."""
    return len(resolved.proposals) > 0 and bool(resolved.proposals["space"].isin(resolved.frame["space"]).any())


def _all_models(resolved: Resolved) -> pd.DataFrame:
    """One row per random draw, then one per proposal."""
    models = average_seeds(resolved.frame)
    if resolved.proposals.empty:
        return models
    return pd.concat([models, average_seeds(resolved.proposals)], ignore_index=True)


def _with_fits(models: pd.DataFrame) -> pd.DataFrame:
    return pd.concat([models, fit_population(models["block_widths"], most=MAX_FITS)], axis=1)


def _varying(models: pd.DataFrame, free: Sequence[str]) -> tuple[str, ...]:
    spaces = [part for _, part in models.groupby("space", sort=False)]
    return tuple(name for name in (*free, *costs(models), "fit_error") if any(varies(part[name]) for part in spaces))


def _spaces(
    models: pd.DataFrame, order: Sequence[str], match: str, designs: Mapping[str, str], across: Collection[str]
) -> SpaceFindings:
    matching, problem = _match(models, match)
    summary = describe_spaces(models)
    order = [space for space in order if space in set(summary["space"])]
    return SpaceFindings(
        summary=summary.set_index("space").loc[order].reset_index(),
        curves=edf_by(models),
        match=match,
        matching=matching,
        match_problem=problem,
        matched_curves=pd.DataFrame() if matching is None else edf_by(models, weights=matching.weights),
        comparison=_comparison(models, order, match, designs, across),
        search=random_search_by(models),
    )


def _match(models: pd.DataFrame, match: str) -> tuple[ComplexityMatch | None, str]:
    if not match or len(set(models["space"])) < 2:
        return None, ""
    try:
        return complexity_weights(models, match), ""
    except ValueError as reason:
        return None, str(reason)


def _comparison(
    models: pd.DataFrame, order: Sequence[str], match: str, designs: Mapping[str, str], across: Collection[str]
) -> pd.DataFrame:
    ends = models.groupby("space")["macs"].agg(["min", "max"])
    pairs = []
    for a, b in combinations(order, 2):
        apart = ends["max"][a] < ends["min"][b] or ends["max"][b] < ends["min"][a]
        if not (apart and a in designs and designs[a] == designs.get(b)):
            pairs.append((a, b))
    if not pairs:
        return pd.DataFrame()
    parts = []
    if match:
        with suppress(ValueError):  # no pair has a common range
            parts.append(compare_spaces(models, match=match, pairs=pairs, across=across))
    parts.append(compare_spaces(models, match=None, pairs=pairs, across=across))
    return pd.concat(parts, ignore_index=True)


def _parameters(models: pd.DataFrame, names: tuple[str, ...], free: Sequence[str]) -> ParameterFindings:
    # Over all spaces, a parameter may also differ between spaces only, but almost every model must have it.
    common = [name for name in free if varies(models[name]) and models[name].notna().mean() > 0.9]
    return ParameterFindings(
        names=names,
        ranges=ranges_per_space(models, names),
        correlations=correlations_per_space(models, names),
        trends=trends_per_space(models, names),
        importance=permutation_importance(models, common),
        latency=latency_correlations(models) if LATENCY in models else pd.DataFrame(),
    )


def _regimes(finished: pd.DataFrame, names: tuple[str, ...], designs: dict[str, str]) -> RegimeFindings:
    models = in_families(finished, designs)
    wanted = ["error_percent", *(name for name in names if name not in ("macs", "fit_error"))]
    best = best_by_regime(models, wanted)
    best = best[best.groupby("space")["regime"].transform("max") > 0].reset_index(drop=True)
    # The best quarter of all models would come mostly from the largest regime.
    errors = models.groupby(["space", assign_regimes(models)])["error_percent"]
    top = models[models["error_percent"] <= errors.transform(lambda values: values.quantile(0.25))]
    exponents = [scaling_exponents(models), scaling_exponents(top.assign(space=top["space"] + ", best quarter"))]
    return RegimeFindings(designs, best, regime_trends(best), pd.concat(exponents, ignore_index=True))


def _structures(models: pd.DataFrame) -> dict[str, LinearStructure]:
    lines = {str(space): linear_structure(part) for space, part in models.groupby("space", sort=False)}
    return {space: line for space, line in lines.items() if line is not None}


def _training(models: pd.DataFrame, trainings: pd.DataFrame) -> TrainingFindings:
    return TrainingFindings(
        curves=learning_curves(models),
        epochs=epoch_fidelity(models),
        recipes=recipe_fidelity(trainings),
        noise=noise_floor(trainings),
        depth_noise=noise_by_depth(trainings),
        seeds=seed_agreement(trainings),
    )


def _selection(table: Trainings, top: int, complexity: str) -> SelectionFindings:
    size = validation_size(table.sources)
    best = _with_fits(select_best(table.frame, top, validation_size=size))
    if not complexity:
        return SelectionFindings(best, pd.DataFrame())
    front = select_best(table.frame, None, objectives=(complexity,), validation_size=size)
    return SelectionFindings(best, _with_fits(front))


def _refinement(models: pd.DataFrame, parameters: Sequence[str], match: str) -> Refinement | None:
    known = models[models[match].notna()] if match else models
    parameters = [name for name in parameters if varies(known[name]) or not is_numeric_dtype(known[name])]
    if len(set(models["space"])) > 1 or len(known) < MIN_TO_REFINE or not parameters:
        return None
    if known["fit_error"].notna().all():
        known = known.assign(e_fit=known["fit_error"])
    return refine_space(known, parameters, match=match or None)


def _failures(frame: pd.DataFrame) -> pd.DataFrame:
    if "collapsed" in frame:
        collapsed = frame["collapsed"].eq(True) & (frame["status"] == "ok")
        frame = frame.assign(
            status=frame["status"].mask(collapsed, "collapsed"),
            message=frame["message"].mask(collapsed, "no better than a constant prediction; counts with its error"),
        )
    grouped = frame[frame["status"] != "ok"].groupby(["space", "status"], sort=False)["message"]
    counts = grouped.agg(models="size", example="first").reset_index()
    counts["example"] = counts["example"].fillna("").astype(str).str.split("\n").str[0].str.slice(0, 200)
    return counts


def _sampling(studies: Sequence[Source]) -> pd.DataFrame:
    rows = []
    for study in studies:
        for space, report in study.manifest.get("sampling", {}).items():
            rejected = ", ".join(f"{name} {count:,}" for name, count in report.get("rejected", {}).items())
            counts = {
                key: report.get(key) for key in ("asked", "drawn", "kept", "acceptance", "distinct", "duplicates")
            }
            rows.append({"study": study.name, "space": space, **counts, "rejected": rejected})
    return pd.DataFrame(rows)
