"""Everything a report says about a table, computed once, as frames."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import pandas as pd

from analysis.compare import compare_spaces, describe_spaces
from analysis.curves import learning_curves
from analysis.edf import edf_by
from analysis.exponents import scaling_exponents
from analysis.failures import FailurePolicy, Resolved, apply_failure_policy
from analysis.fidelity import RankAgreement, epoch_fidelity, recipe_fidelity, seed_agreement
from analysis.importance import Importance, permutation_importance
from analysis.kolmogorov_smirnov import holm
from analysis.matching import ComplexityMatch, complexity_weights
from analysis.noise import NoiseFloor, noise_floor
from analysis.pareto import pareto_front
from analysis.profiles import LinearStructure, linear_structure, width_profiles
from analysis.quantized_linear_fit import fit_population
from analysis.random_search import random_search_by
from analysis.ranges import ranges_per_space
from analysis.regimes import best_by_regime
from analysis.seeds import average_seeds
from analysis.select import select_best
from analysis.spaces import varies
from analysis.table import Study, Table, group_by, validation_size
from analysis.trends import correlations_per_space, trends_per_space

COMPLEXITY = ("macs", "params", "acts")
MOST_FITS = 2000
"""Different networks whose widths are fitted; a fit takes some milliseconds."""


@dataclass(frozen=True)
class Findings:
    """What a table says, under one failure policy.

    Attributes:
        table: as loaded, its spaces those asked for.
        resolved: the trainings that count.
        models: one row per network, its error the mean over seeds, with the width-fit columns and `pareto`.
        match: complexity column the spaces were matched by, "" if they were not.
        matching: weights of the matching of all spaces together; None with one space or without overlap.
        match_problem: why there is no matching, "" if there is or none was wanted.
        spaces: `describe_spaces`, one row a space.
        curves, matched_curves: `edf_by` as drawn and at matched complexity (empty without matching).
        comparison: `compare_spaces`, matched pairs first, then as drawn; empty with one space.
        search: `random_search_by`, as drawn.
        parameters: numbers that vary within some space: free parameters, then complexity, then fit_error.
        ranges: one row per space and parameter, fields of `BestRange`.
        correlations: one row per space and parameter, fields of `RankTrend`.
        trends: rows of `trend` per space and parameter.
        importance: of the free parameters, all spaces together; None with few models.
        regimes: `best_by_regime` where some space spans several regimes, else empty.
        exponents: `scaling_exponents` of all models and (space "… best quarter") of the best quarter of each space.
        structures: line through the widths of the best 20 of each space.
        learning: `learning_curves`; empty without curves.
        fidelity: `epoch_fidelity`; empty without curves.
        recipes: `recipe_fidelity` between studies.
        noise, noise_best: `noise_floor` of all models and of the best tenth; None without repeated seeds.
        seeds: `seed_agreement`; None without repeated seeds.
        best: the best models, `select_best`.
        front: the Pareto front of error and `match` (or macs), best first; empty without complexity.
        profiles: `width_profiles`.
        failures: one row per space and status that is not ok: count and one message.
        sampling: one row per study and space: asked, drawn, kept, acceptance, turned down for which reasons.
    """

    table: Table
    resolved: Resolved
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
    regimes: pd.DataFrame
    exponents: pd.DataFrame
    structures: dict[str, LinearStructure]
    learning: pd.DataFrame
    fidelity: pd.DataFrame
    recipes: pd.DataFrame
    noise: NoiseFloor | None
    noise_best: NoiseFloor | None
    seeds: RankAgreement | None
    best: pd.DataFrame
    front: pd.DataFrame
    profiles: pd.DataFrame
    failures: pd.DataFrame
    sampling: pd.DataFrame


def find(
    table: Table, *, policy: FailurePolicy | str = "worst", match: str = "macs", by: str = "space", top: int = 5
) -> Findings:
    """Compute all findings of a table.

    Args:
        table: from `load_table`.
        policy: what a failed model counts as.
        match: "macs", "params" or "acts" to compare at equal complexity, "" to compare only as drawn.
        by: the column whose values are the spaces.
        top: number of best models.

    Raises:
        ValueError: no model finished, an unknown `match`, or a `by` that names no spaces.
    """
    if match not in ("", *COMPLEXITY):
        raise ValueError(f"match is {match!r}; allowed: {', '.join(COMPLEXITY)}, none")
    table = group_by(table, by)
    resolved = apply_failure_policy(table.frame, policy)
    fits = fit_population(resolved.frame["block_widths"], most=MOST_FITS)
    trainings = pd.concat([resolved.frame, fits], axis=1)
    frame = average_seeds(trainings)
    cost = match or "macs"
    priced = frame[cost].notna().any()
    ok = frame[~frame["failed"]]
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
    return Findings(
        table=table,
        resolved=resolved,
        models=frame,
        match=match,
        matching=matching,
        match_problem=problem,
        spaces=describe_spaces(frame),
        curves=edf_by(frame),
        matched_curves=pd.DataFrame() if matching is None else edf_by(frame, weights=weights),
        comparison=_comparison(frame, match),
        search=random_search_by(frame),
        parameters=names,
        ranges=ranges_per_space(frame, names),
        correlations=correlations_per_space(frame, names),
        trends=trends_per_space(frame, names),
        importance=permutation_importance(frame, _across(frame, table.parameters)),
        regimes=_regimes(ok, names),
        exponents=_exponents(ok),
        structures=_structures(ok),
        learning=learning_curves(ok),
        fidelity=epoch_fidelity(ok),
        recipes=recipe_fidelity(resolved.frame) if len(table.studies) > 1 else pd.DataFrame(),
        noise=noise_floor(resolved.frame),
        noise_best=noise_floor(resolved.frame, best=0.1),
        seeds=seed_agreement(resolved.frame),
        best=select_best(trainings, top, validation_size=size),
        front=select_best(trainings, None, objectives=(cost,), validation_size=size) if priced else pd.DataFrame(),
        profiles=width_profiles(frame),
        failures=_failures(table.frame),
        sampling=_sampling(table.studies),
    )


def _match(frame: pd.DataFrame, match: str) -> tuple[ComplexityMatch | None, str]:
    if not match or len(frame["space"].unique()) < 2:
        return None, ""
    unknown = int(frame[match].isna().sum())
    if unknown:
        return None, f"{match} is not known for {unknown} of {len(frame)} models"
    try:
        return complexity_weights(frame, match), ""
    except ValueError as reason:
        return None, str(reason)


def _comparison(frame: pd.DataFrame, match: str) -> pd.DataFrame:
    """Matched pairs, as far as two spaces overlap, then all pairs as drawn."""
    labels = list(dict.fromkeys(frame["space"]))
    if len(labels) < 2:
        return pd.DataFrame()
    matched = []
    for pair in combinations(labels, 2):
        try:
            if match and frame[match].notna().all():
                matched.append(compare_spaces(frame[frame["space"].isin(pair)], match=match))
        except ValueError:
            continue  # no common range: the pair stands among those as drawn
    parts = [pd.concat(matched, ignore_index=True)] if matched else []
    for part in parts:
        part["ks_p_holm"] = holm(part["ks_p"].to_numpy())
    return pd.concat([*parts, compare_spaces(frame, match=None)], ignore_index=True)


def _across(frame: pd.DataFrame, names: tuple[str, ...]) -> list[str]:
    """Parameters every model has; one that differs between spaces only is a parameter here, too."""
    return [name for name in names if varies(frame[name]) and frame[name].notna().mean() > 0.9]


def _regimes(frame: pd.DataFrame, names: tuple[str, ...]) -> pd.DataFrame:
    wanted = [name for name in names if name not in ("macs", "fit_error")]
    if not frame["macs"].notna().any():
        return pd.DataFrame()
    found = best_by_regime(frame, wanted)
    return found if found["regime"].max() > 0 else pd.DataFrame()


def _exponents(frame: pd.DataFrame) -> pd.DataFrame:
    if not frame["macs"].notna().any():
        return pd.DataFrame()
    quarter = frame.groupby("space")["error_percent"].transform(lambda e: e <= e.quantile(0.25))
    best = frame[quarter.astype(bool)]
    return pd.concat(
        [scaling_exponents(frame), scaling_exponents(best.assign(space=best["space"] + ", best quarter"))],
        ignore_index=True,
    )


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
            counts = {key: report.get(key) for key in ("asked", "drawn", "kept", "acceptance")}
            rows.append({"study": study.name, "space": space, **counts, "turned down": reasons})
    return pd.DataFrame(rows)
