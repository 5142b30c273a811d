"""Everything a report says about a table, computed once, as frames."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd

from analysis.compare import compare_spaces, describe_spaces
from analysis.edf import edf_by
from analysis.failures import FailurePolicy, Resolved, apply_failure_policy
from analysis.matching import ComplexityMatch, complexity_weights
from analysis.profiles import width_profiles
from analysis.quantized_linear_fit import fit_population
from analysis.ranges import best_range
from analysis.seeds import average_seeds
from analysis.select import select_best
from analysis.table import Study, Table
from analysis.trends import rank_trend, trend

COMPLEXITY = ("macs", "params", "acts")


@dataclass(frozen=True)
class Findings:
    """What a table says, under one failure policy.

    Attributes:
        table: as loaded.
        resolved: the trainings that count.
        models: one row per network, its error the mean over seeds, with the width-fit columns.
        match: complexity column the spaces were matched by, "" if they were not.
        matching: weights of the matching; None with one space or without overlap.
        match_problem: why there is no matching, "" if there is or none was wanted.
        spaces: `describe_spaces`, one row a space.
        curves, matched_curves: `edf_by` as drawn and at matched complexity (empty without matching).
        comparison: `compare_spaces`, matched pairs first, then as drawn; empty with one space.
        parameters: numbers that vary within some space: free parameters, then complexity, then fit_error.
        ranges: one row per space and parameter, fields of `BestRange`.
        correlations: one row per space and parameter, fields of `RankTrend`.
        trends: rows of `trend` per space and parameter.
        best: the best models, `select_best`.
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
    parameters: tuple[str, ...]
    ranges: pd.DataFrame
    correlations: pd.DataFrame
    trends: pd.DataFrame
    best: pd.DataFrame
    profiles: pd.DataFrame
    failures: pd.DataFrame
    sampling: pd.DataFrame


def find(table: Table, *, policy: FailurePolicy | str = "worst", match: str = "macs", top: int = 5) -> Findings:
    """Compute all findings of a table.

    Args:
        table: from `load_table`.
        policy: what a failed model counts as.
        match: "macs", "params" or "acts" to compare at equal complexity, "" to compare only as drawn.
        top: number of best models.

    Raises:
        ValueError: no model finished, or an unknown `match`.
    """
    if match not in ("", *COMPLEXITY):
        raise ValueError(f"match is {match!r}; allowed: {', '.join(COMPLEXITY)}, none")
    resolved = apply_failure_policy(table.frame, policy)
    fits = fit_population(resolved.frame["block_widths"])
    trainings = pd.concat([resolved.frame, fits], axis=1)
    frame = average_seeds(trainings)
    matching, problem = _match(frame, match)
    pairs = len(frame["space"].unique()) > 1
    comparison = [compare_spaces(frame, match=match)] if matching is not None else []
    comparison += [compare_spaces(frame, match=None)] if pairs else []
    spaces = [part for _, part in frame.groupby("space", sort=False)]
    candidates = (*table.parameters, *COMPLEXITY, "fit_error")
    names = tuple(name for name in candidates if any(_varies(part[name]) for part in spaces))
    return Findings(
        table=table,
        resolved=resolved,
        models=frame,
        match=match,
        matching=matching,
        match_problem=problem,
        spaces=describe_spaces(frame),
        curves=edf_by(frame),
        matched_curves=pd.DataFrame() if matching is None else edf_by(frame, weights=matching.weights),
        comparison=pd.concat(comparison, ignore_index=True) if comparison else pd.DataFrame(),
        parameters=names,
        ranges=_per_space(frame, names, lambda x, e: pd.DataFrame([asdict(best_range(x, e))])),
        correlations=_per_space(frame, names, lambda x, e: pd.DataFrame([asdict(rank_trend(x, e))])),
        trends=_per_space(frame, names, trend),
        best=select_best(trainings, top),
        profiles=width_profiles(frame),
        failures=_failures(table.frame),
        sampling=_sampling(table.studies),
    )


def _match(frame: pd.DataFrame, match: str) -> tuple[ComplexityMatch | None, str]:
    if not match or len(frame["space"].unique()) < 2:
        return None, ""
    try:
        return complexity_weights(frame, match), ""
    except ValueError as reason:
        return None, str(reason)


def _varies(column: pd.Series) -> bool:
    return bool(pd.api.types.is_numeric_dtype(column) and column.min() < column.max())


def _per_space(frame: pd.DataFrame, names: tuple[str, ...], statistic: object) -> pd.DataFrame:
    assert callable(statistic)
    parts = []
    for space, part in frame.groupby("space", sort=False):
        for name in names:
            known = part[np.isfinite(part[name].astype(float))]
            # A parameter that is fixed within a space has no trend there.
            if _varies(known[name]):
                found = statistic(known[name].to_numpy(dtype=float), known["error_percent"].to_numpy(dtype=float))
                parts.append(found.assign(space=space, parameter=name))
    if not parts:
        return pd.DataFrame(columns=["space", "parameter"])
    stacked = pd.concat(parts, ignore_index=True)
    return stacked[["space", "parameter", *(c for c in stacked if c not in ("space", "parameter"))]]


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
