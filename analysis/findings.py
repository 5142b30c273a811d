"""Everything a report says about a table, computed once, as frames."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import combinations

import pandas as pd

from analysis.compare import check_same_training, compare_spaces
from analysis.error_distributions import describe_spaces, edf_by
from analysis.failures import FailurePolicy, Resolved, apply_failure_policy
from analysis.families import in_families, space_families
from analysis.grouping import group_by
from analysis.matching import ComplexityMatch, complexity_weights
from analysis.parameters import Importance, correlations_per_space, permutation_importance, trends_per_space
from analysis.random_search import random_search_by
from analysis.ranges import ranges_per_space
from analysis.regimes import assign_regimes, best_by_regime, regime_trends, scaling_exponents
from analysis.seeds import average_seeds
from analysis.select import pareto_front, select_best
from analysis.spaces import varies
from analysis.table import Study, Table, validation_size
from analysis.training import (
    NoiseFloor,
    RankAgreement,
    epoch_fidelity,
    learning_curves,
    noise_floor,
    recipe_fidelity,
    seed_agreement,
)
from analysis.widths import LinearStructure, fit_population, linear_structure, width_profiles

COMPLEXITY = ("macs", "params", "acts")
MOST_FITS = 2000
"""Different networks whose widths are fitted; a fit takes some milliseconds."""


@dataclass(frozen=True)
class Findings:
    """What a table says, under one failure policy.

    Attributes:
        table: as loaded, its spaces those asked for.
        resolved: the trainings that count.
        warnings: accepted differences between the trainings, which every comparison contains.
        models: one row per network, its error the mean over seeds, with the width-fit columns and `pareto`.
        match: complexity column the spaces were matched by, "" if they were not.
        matching: weights of the matching of all spaces together; None with one space or without overlap.
        match_problem: why there is no matching, "" if there is or none was wanted.
        spaces: `describe_spaces`, one row a space.
        curves, matched_curves: `edf_by` as drawn and at matched complexity (empty without matching).
        comparison: `compare_spaces`, pairs at equal complexity first, then as drawn; without the pairs that are one
            design space in two regimes, which differ for that reason alone; empty with one space.
        search: `random_search_by`, as drawn.
        parameters: numbers that vary within some space: free parameters, then complexity, then fit_error.
        ranges: one row per space and parameter, fields of `BestRange`.
        correlations: one row per space and parameter, fields of `RankTrend`.
        trends: rows of `trend` per space and parameter.
        importance: of the free parameters, all spaces together; None with few models.
        designs: the design space of each space, by label (`analysis.families`); empty if the spaces are a column's.
        regimes: `best_by_regime` of the error and every parameter in each design space that spans
            several regimes of macs; empty if none does.
        regime_trends: `regime_trends`; empty with fewer than three regimes.
        exponents: `scaling_exponents` of all models and (space "…, best quarter") of the best quarter of each regime.
        structures: `linear_structure` of each space.
        learning: `learning_curves`; empty without curves.
        fidelity: `epoch_fidelity`; empty without curves.
        recipes: `recipe_fidelity`.
        noise: `noise_floor`; None without repeated seeds.
        seeds: `seed_agreement`; None without repeated seeds.
        best: the best models, `select_best`.
        front: the Pareto front of error and `match` (or macs), best first; empty without complexity.
        profiles: `width_profiles`.
        failures: one row per space and status that is not ok: count and one message.
        sampling: one row per study and space: asked, drawn, kept, acceptance, distinct and duplicates (as in
            `designspace.population.SamplingReport`), rejected by which constraints.
    """

    table: Table
    resolved: Resolved
    warnings: tuple[str, ...]
    models: pd.DataFrame
    match: str
    matching: ComplexityMatch | None
    match_problem: str
    spaces: pd.DataFrame
    curves: pd.DataFrame
    matched_curves: pd.DataFrame
    comparison: pd.DataFrame
    search: pd.DataFrame
    parameters: tuple[str, ...]
    ranges: pd.DataFrame
    correlations: pd.DataFrame
    trends: pd.DataFrame
    importance: Importance | None
    designs: dict[str, str]
    regimes: pd.DataFrame
    regime_trends: pd.DataFrame
    exponents: pd.DataFrame
    structures: dict[str, LinearStructure]
    learning: pd.DataFrame
    fidelity: pd.DataFrame
    recipes: pd.DataFrame
    noise: NoiseFloor | None
    seeds: RankAgreement | None
    best: pd.DataFrame
    front: pd.DataFrame
    profiles: pd.DataFrame
    failures: pd.DataFrame
    sampling: pd.DataFrame

    @property
    def error(self) -> str:
        """What the errors of all studies are."""
        ours = all(study.manifest for study in self.table.studies)
        return "validation error of the last epoch" if ours else "error as the table gives it"


def find(
    table: Table,
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
        policy: what a failed model counts as.
        match: "macs", "params" or "acts" to compare at equal complexity, "" to compare only as drawn.
        by: the column whose values are the spaces.
        top: number of best models.
        across: "recipe", "data" or both to compare spaces although they were trained differently.

    Raises:
        ValueError: no model finished, an unknown `match`, a `by` that names no spaces, or models trained differently.
    """
    if match not in ("", *COMPLEXITY):
        raise ValueError(f"match is {match!r}; allowed: {', '.join(COMPLEXITY)}, none")
    table = group_by(table, by)
    resolved = apply_failure_policy(table.frame, policy)
    frame = _with_fits(average_seeds(resolved.frame))
    warnings = check_same_training(frame, across, table.studies) if len(set(frame["space"])) > 1 else []
    finished = resolved.frame[~resolved.frame["failed"]]  # the error of a failure is the policy's, not a measurement
    cost = match or "macs"
    ok = frame[~frame["failed"]]
    priced = ok[cost].notna().any()
    frame["pareto"] = False
    if priced:
        frame.loc[ok.index, "pareto"] = pareto_front(ok, ("error_percent", cost))
    matching, problem = _match(frame, match)
    weights = None if matching is None else matching.weights
    spaces = [part for _, part in frame.groupby("space", sort=False)]
    free = tuple(name for name in table.parameters if any(varies(part[name]) for part in spaces))
    derived = (*COMPLEXITY, "fit_error")
    names = (*free, *(name for name in derived if any(varies(part[name]) for part in spaces)))
    size = validation_size(table.studies)
    designs = space_families(frame, table.studies) if by == "space" else {}
    by_design = in_families(ok, designs)
    regimes = _regimes(by_design, names)
    return Findings(
        table=table,
        resolved=resolved,
        warnings=tuple(warnings),
        models=frame,
        match=match,
        matching=matching,
        match_problem=problem,
        spaces=describe_spaces(frame),
        curves=edf_by(frame),
        matched_curves=pd.DataFrame() if matching is None else edf_by(frame, weights=weights),
        comparison=_comparison(frame, match, designs, across),
        search=random_search_by(frame),
        parameters=names,
        ranges=ranges_per_space(frame, names),
        correlations=correlations_per_space(frame, names),
        trends=trends_per_space(frame, names),
        importance=permutation_importance(frame, _across(frame, table.parameters)),
        designs=designs,
        regimes=regimes,
        regime_trends=regime_trends(regimes),
        exponents=_exponents(by_design),
        structures=_structures(ok),
        learning=learning_curves(ok),
        fidelity=epoch_fidelity(ok),
        recipes=recipe_fidelity(finished),
        noise=noise_floor(finished),
        seeds=seed_agreement(finished),
        best=_with_fits(select_best(table.frame, top, validation_size=size)),
        front=_with_fits(select_best(table.frame, None, objectives=(cost,), validation_size=size))
        if priced
        else pd.DataFrame(),
        profiles=width_profiles(frame),
        failures=_failures(table.frame),
        sampling=_sampling(table.studies),
    )


def _with_fits(models: pd.DataFrame) -> pd.DataFrame:
    return pd.concat([models, fit_population(models["block_widths"], most=MOST_FITS)], axis=1)


def _match(frame: pd.DataFrame, match: str) -> tuple[ComplexityMatch | None, str]:
    if not match or len(frame["space"].unique()) < 2:
        return None, ""
    try:
        return complexity_weights(frame, match), ""
    except ValueError as reason:
        return None, str(reason)


def _comparison(frame: pd.DataFrame, match: str, designs: Mapping[str, str], across: Collection[str]) -> pd.DataFrame:
    """Pairs at equal complexity, then the pairs as drawn; each kind simultaneous over all its pairs."""
    ends = frame.groupby("space")["macs"].agg(["min", "max"])
    pairs = []
    for a, b in combinations(dict.fromkeys(frame["space"]), 2):
        apart = ends["max"][a] < ends["min"][b] or ends["max"][b] < ends["min"][a]
        if not (apart and a in designs and designs[a] == designs.get(b)):
            pairs.append((a, b))
    if not pairs:
        return pd.DataFrame()
    parts = []
    if match:
        with suppress(ValueError):  # no pair has a common range: all are compared as drawn only
            parts.append(compare_spaces(frame, match=match, pairs=pairs, across=across))
    parts.append(compare_spaces(frame, match=None, pairs=pairs, across=across))
    return pd.concat(parts, ignore_index=True)


def _across(frame: pd.DataFrame, names: tuple[str, ...]) -> list[str]:
    """Parameters every model has; one that differs between spaces only is a parameter here, too."""
    return [name for name in names if varies(frame[name]) and frame[name].notna().mean() > 0.9]


def _regimes(frame: pd.DataFrame, names: tuple[str, ...]) -> pd.DataFrame:
    wanted = ["error_percent", *(name for name in names if name not in ("macs", "fit_error"))]
    found = best_by_regime(frame, wanted)
    several = found.groupby("space")["regime"].transform("max") > 0
    return found[several].reset_index(drop=True)


def _exponents(frame: pd.DataFrame) -> pd.DataFrame:
    # The best of all would be the best of the largest regime.
    groups = frame.groupby(["space", assign_regimes(frame)])["error_percent"]
    best = frame[frame["error_percent"] <= groups.transform(lambda errors: errors.quantile(0.25))]
    parts = [scaling_exponents(frame), scaling_exponents(best.assign(space=best["space"] + ", best quarter"))]
    return pd.concat(parts, ignore_index=True)


def _structures(frame: pd.DataFrame) -> dict[str, LinearStructure]:
    found = {str(space): linear_structure(part) for space, part in frame.groupby("space", sort=False)}
    return {space: line for space, line in found.items() if line is not None}


def _failures(frame: pd.DataFrame) -> pd.DataFrame:
    lost = frame[frame["status"] != "ok"]
    grouped = lost.groupby(["space", "status"], sort=False)["message"]
    counted = grouped.agg(models="size", example="first").reset_index()
    counted["example"] = counted["example"].fillna("").astype(str).str.split("\n").str[0].str.slice(0, 200)
    return counted


def _sampling(studies: tuple[Study, ...]) -> pd.DataFrame:
    rows = []
    for study in studies:
        for space, report in study.manifest.get("sampling", {}).items():
            reasons = ", ".join(f"{name} {count:,}" for name, count in report.get("rejected", {}).items())
            counts = {
                key: report.get(key) for key in ("asked", "drawn", "kept", "acceptance", "distinct", "duplicates")
            }
            rows.append({"study": study.name, "space": space, **counts, "rejected": reasons})
    return pd.DataFrame(rows)
