"""Column labels, and frames as tables for the terminal and the report."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from analysis.formatting import NOTHING, as_integer, format_column, interval, is_number, p_text, si_format, unsigned
from analysis.rows import costs

if TYPE_CHECKING:
    from analysis.refine import Step
    from designspace.spaces import DesignSpace

AREA = ("area", "area_lower", "area_upper")

LABELS = {
    "error_percent": "error (%)",
    "depth": "depth (blocks)",
    "group_width": "group width (channels)",
    "bottleneck_ratio": "bottleneck ratio b (width / inner)",
    "w_0": "initial width w₀ (channels)",
    "w_a": "width slope wₐ (channels per block)",
    "w_m": "width multiplier wₘ",
    "macs": "multiply-adds",
    "params": "parameters",
    "acts": "activations (conv outputs)",
    "latency_ms": "latency (ms)",
    "fit_error": "fit error of the quantized linear rule, e_fit",
    "score_nwot": "NASWOT",
    "score_synflow": "log SynFlow",
    "score_grad_norm": "gradient norm",
    "score_snip": "SNIP",
}


def label(column: str) -> str:
    """Axis label of a column; its name if there is none."""
    return LABELS.get(column, column)


@dataclass(frozen=True)
class Column:
    """A table column as shown.

    Attributes:
        name: heading.
        texts: text of each row.
        values: number of each row for sorting; None without a number.
        right: whether the column is right-aligned.
    """

    name: str
    texts: list[str]
    values: list[float | None]
    right: bool


def columns(frame: pd.DataFrame) -> list[Column]:
    """Format the columns of a frame, one format per column; [] for a frame without rows."""
    return [_column(str(name), frame[name].astype(object).tolist()) for name in frame] if len(frame) else []


def _column(name: str, values: list[Any]) -> Column:
    texts = format_column(values)
    right = all(re.fullmatch(r"[-−+]?[\d,.]+|no bound|–", text) for text in texts)
    return Column(name, texts, [float(v) if is_number(v) else None for v in values], right)


def spaces_table(spaces: pd.DataFrame) -> pd.DataFrame:
    """`describe_spaces` with the interval of the mean as text."""
    percent = {"min": "min", "quarter": "25 %", "median": "median", "three_quarters": "75 %", "max": "max"}
    ends = zip(spaces["mean_lower"], spaces["mean_upper"], strict=True)
    intervals = [f"{low:.2f} to {high:.2f}" if np.isfinite(low) else NOTHING for low, high in ends]
    shown = spaces[["space", "n", "failed", *percent, "mean"]].rename(columns=percent)
    return shown.assign(**{"mean (95 % CI)": intervals})


def comparison_table(frame: pd.DataFrame) -> pd.DataFrame:
    """Comparable pairs of spaces, with values and intervals as text."""
    if frame.empty:
        return frame
    frame = frame[frame["problem"] == ""]
    area = frame.assign(**{name: 100 * frame[name] for name in AREA})
    return pd.DataFrame(
        {
            "pair": frame["a"] + " − " + frame["b"],
            "matched by": frame["matched_by"],
            "models": _two(frame, "n", "d"),
            "effective": np.where(frame["matched_by"] == "none", NOTHING, _two(frame, "effective_n", ".1f")),
            "mean error": _two(frame, "mean", ".2f"),
            "difference (95 % CI)": _with_ends(frame, "difference", interval),
            "area difference, % of box": _with_ends(area, "area", interval),
            "EDF order": frame["order"],
            "KS D": frame["ks"].map("{:.2f}".format) + ", " + frame["ks_p"].map(p_text),
            "P(first better)": _with_ends(frame, "a_better", unsigned),
            "KS p (Holm)": frame["ks_p_holm"].map(p_text),
            "detectable": frame["detectable"].map("{:.2f}".format),
        }
    )


def _two(frame: pd.DataFrame, name: str, form: str) -> list[str]:
    return [f"{a:{form}} / {b:{form}}" for a, b in zip(frame[f"{name}_a"], frame[f"{name}_b"], strict=True)]


def _with_ends(frame: pd.DataFrame, name: str, write: Callable[[float, float, float], str]) -> list[str]:
    ends = (frame[name], frame[f"{name}_lower"], frame[f"{name}_upper"])
    return [write(*row) for row in zip(*ends, strict=True)]


def search_table(summary: pd.DataFrame) -> pd.DataFrame:
    """The summary of `search_efficiency`."""
    if summary.empty:
        return summary
    ends = zip(summary["random_lower"], summary["random_upper"], strict=True)
    bands = [f"{low:.2f} to {high:.2f}" if low > 0 else f"below {high:.2f}" for low, high in ends]
    needed = [f"{n:,.0f}" if np.isfinite(n) else NOTHING for n in summary["needed"]]
    return pd.DataFrame(
        {
            "space": summary["space"],
            "strategy": summary["strategy"],
            "runs": summary["runs"],
            "models": summary["models"],
            "smallest error %": summary["best"],
            "random search %": summary["random_median"],
            "95 % band": bands,
            "random models needed": needed,
            "at least": summary["needed_lower"].map("{:,.0f}".format),
            "P(proposal better)": summary["better"],
            "p": summary["p_value"].map(lambda p: NOTHING if np.isnan(p) else p_text(p)),
        }
    )


def ranges_table(ranges: pd.DataFrame, correlations: pd.DataFrame) -> pd.DataFrame:
    """Best ranges and rank correlations of every parameter and space."""
    if ranges.empty:
        return ranges
    both = ranges.merge(correlations, on=["space", "parameter"], suffixes=("", "_rho"))
    rho = (both["rho"], both["lower_rho"], both["upper_rho"])
    shown = pd.DataFrame(
        {
            "parameter": both["parameter"].map(label),
            "space": both["space"],
            **by_parameter(both, {"likely": "most likely", "lower": "from", "upper": "to"}),
            "supporting models": both["support"],
            "rank correlation (95 % CI)": [
                interval(*row) if pd.notna(row[0]) else NOTHING for row in zip(*rho, strict=True)
            ],
        }
    )
    return shown.sort_values("parameter", kind="stable")


def regimes_table(regimes: pd.DataFrame) -> pd.DataFrame:
    """Table of `best_by_regime`."""
    if regimes.empty:
        return regimes
    ends = zip(regimes["low"], regimes["high"], strict=True)
    return pd.DataFrame(
        {
            "parameter": regimes["parameter"].map(label),
            "space": regimes["space"],
            "regime of macs": [f"{si_format(low)} to {si_format(high)}" for low, high in ends],
            "n": regimes["n"],
            **by_parameter(regimes, {"likely": "most likely", "lower": "from", "upper": "to"}),
            "supporting models": regimes["support"],
        }
    ).sort_values("parameter", kind="stable")


def powers_table(laws: pd.DataFrame, counted: str) -> pd.DataFrame:
    """Table of power laws against macs.

    Args:
        laws: fields of `PowerLaw`, with the columns `space` and either `parameter` or `of`.
        counted: heading of the number of points: models or regimes.
    """
    if laws.empty:
        return laws
    laws = laws.rename(columns={"parameter": "of"})
    return pd.DataFrame(
        {
            "y": laws["of"].map(label),
            "space": laws["space"],
            "exponent": laws["exponent"],
            "from": laws["lower"],
            "to": laws["upper"],
            "sd of log10 y": laws["scatter"],
            counted: laws["n"],
        }
    ).sort_values("y", kind="stable")


def by_parameter(frame: pd.DataFrame, names: dict[str, str]) -> dict[str, pd.Series]:
    """Format columns as text, with one format for all values of a parameter.

    Args:
        frame: column `parameter` and the keys of `names`.
        names: headings by column.
    """
    shown = pd.DataFrame(index=frame.index, columns=list(names.values()), dtype=object)
    for _, part in frame.groupby("parameter", sort=False):
        texts = format_column(as_integer(pd.Series(part[list(names)].to_numpy().ravel())).astype(object))
        shown.loc[part.index] = np.array(texts, dtype=object).reshape(len(part), len(names))
    return {name: shown[name] for name in names.values()}


def best_table(chosen: pd.DataFrame, parameters: Sequence[str] = ()) -> pd.DataFrame:
    """Selected models: measured, expected and retrained error, complexity and parameters."""
    complexity = [name for name in costs(chosen) if chosen[name].notna().any()]
    fit = ["fit_error"] if "fit_error" in chosen and chosen["fit_error"].notna().any() else []
    intervals = chosen[["estimate", "estimate_lower", "estimate_upper"]].itertuples(index=False)
    expected = [unsigned(*row) if pd.notna(row[0]) else NOTHING for row in intervals]
    ends = chosen[["retrained_lower", "retrained_upper"]].itertuples(index=False)
    retrained = [f"{low:.2f} to {high:.2f}" if pd.notna(low) else NOTHING for low, high in ends]
    specs = [isinstance(spec, dict) for spec in chosen["spec"]]
    name = [str(i)[:8] if has_spec else str(i) for i, has_spec in zip(chosen["spec_id"], specs, strict=True)]
    tied = ["tied" if both else "" for both in chosen["tied"]]
    errors = {
        "error_percent": "error %",
        "expected": "expected error % (95 %)",
        "retrained": "retrained error % (95 %)",
    }
    shown = ["rank", "space", "index", "name", *errors, "tied", "seeds", *complexity, *parameters, *fit]
    counts = {column: as_integer(chosen[column]) for column in (*complexity, *parameters)}
    frame = chosen.assign(name=name, expected=expected, retrained=retrained, tied=tied, **counts)
    return frame[shown].rename(columns={**errors, "fit_error": "e_fit"})


def restrictions_table(frame: pd.DataFrame, draws: int) -> pd.DataFrame:
    """Restrictions for display."""
    if frame.empty:
        return frame
    effect, best = (
        [
            interval(*row) if pd.notna(row[0]) else NOTHING
            for row in frame[[name, f"{end}_lower", f"{end}_upper"]].itertuples(index=False)
        ]
        for name, end in (("effect", "effect"), ("best_effect", "best"))
    )
    needed = [f"{n:,.0f}" if np.isfinite(n) else NOTHING for n in frame["models_needed"]]
    shown = {
        "": frame["rank"],
        "restriction": frame["restriction"],
        "verdict": frame["verdict"],
        "inside": frame["inside"],
        "share": [f"{100 * share:.3g} %" for share in frame["share"]],
        "effect (95 % CI)": effect,
        f"on the best of {draws}": best,
        "models needed": [
            f"{n} drawn directly" if direct else (n if verdict == "undecided" else NOTHING)
            for n, direct, verdict in zip(needed, frame["draw_directly"], frame["verdict"], strict=True)
        ],
    }
    if frame["log10_size"].notna().any():
        shown["dof"] = frame["degrees_of_freedom"].astype("Int64")
        shown["log10 size"] = frame["log10_size"].map("{:.1f}".format)
    return pd.DataFrame(shown)


def sampling_table(frame: pd.DataFrame) -> pd.DataFrame:
    """Candidates, acceptance, distinct networks and duplicate draws of each space."""
    if frame.empty:
        return frame
    return frame.assign(
        **{name: as_integer(frame[name]) for name in ("asked", "drawn", "kept", "distinct")},
        acceptance=[f"{100 * share:.3g} %" for share in frame["acceptance"].astype(float)],
        duplicates=[_duplicates(*row) for row in frame[["asked", "distinct", "duplicates"]].itertuples(index=False)],
    )


def _duplicates(asked: float, distinct: float, duplicates: float) -> str:
    if pd.isna(duplicates):  # studies of earlier versions
        return NOTHING
    share = f"{100 * duplicates / (distinct + duplicates):.3g} %"
    return f"{share} dropped" if duplicates and asked == distinct else share


def ladder_table(steps: Sequence[Step], space: DesignSpace | None, models: pd.DataFrame) -> pd.DataFrame:
    """Steps like RegNet's Table 1: degrees of freedom, log10 size, models, mean error and effect."""
    rows = []
    size = 0.0 if space is None else space.log10_size
    for number, step in enumerate(steps):
        row: dict[str, Any] = {
            "step": number,
            "restriction": step.restriction or "full space",
            "verdict": step.verdict or NOTHING,
        }
        if space is not None:
            degrees = space.degrees_of_freedom
            if step.row is not None:
                degrees, size = int(step.row["degrees_of_freedom"]), size + float(np.log10(step.row["share"]))
            row |= {"dof": degrees, "log10 size": size}
        row |= {
            "models": int(step.kept.sum()),
            "mean error % (adjusted)": float(models.loc[step.kept, "adjusted"].mean()),
            "effect (95 % CI)": NOTHING
            if step.row is None
            else interval(*(float(step.row[name]) for name in ("effect", "effect_lower", "effect_upper"))),
        }
        rows.append(row)
    return pd.DataFrame(rows)


def recipe_name(row: Mapping[Any, Any]) -> str:
    """Name of a row of `compare_recipes`."""
    return f"{row['recipe']} with {row['seeds']} seeds" if row["seeds"] > 1 else str(row["recipe"])


def recipes_table(recipes: pd.DataFrame) -> pd.DataFrame:
    """`compare_recipes` for display, cheapest first."""
    rows = recipes.sort_values("relative_cost", kind="stable")
    return pd.DataFrame(
        {
            "recipe": [recipe_name(row) for row in rows.to_dict("records")],
            "s per network": rows["cost"],
            "relative cost": rows["relative_cost"],
            "rho (95 % CI)": list(map(unsigned, rows["spearman"], rows["spearman_lower"], rows["spearman_upper"])),
            "gain (95 % CI)": list(map(interval, rows["gain"], rows["gain_lower"], rows["gain_upper"])),
            "difference, points": rows["difference"],
            "difference / SE": rows["separation"],
            "models needed": as_integer(rows["models_needed"]),
            "hours needed": rows["hours_needed"],
        }
    )


def validations_table(frame: pd.DataFrame) -> pd.DataFrame:
    """Cross-validated errors of the predictions of each space."""
    return pd.DataFrame(
        {
            "space": frame["space"],
            "networks": frame["n"],
            "RMSE, points": frame["rmse"],
            "of the mean": frame["rmse_mean"],
            "of a line in log macs": frame["rmse_macs"],
            "R² (95 % CI)": _with_ends(frame, "explained", interval),
            "rank correlation (95 % CI)": _with_ends(frame, "spearman", interval),
            "Kendall's τ": frame["kendall"],
        }
    )


def predictions_table(frame: pd.DataFrame) -> pd.DataFrame:
    """Networks with the smallest predicted error: prediction, complexity and parameters."""
    if frame.empty:
        return frame
    shown = frame.drop(columns=["spec"]).assign(spec_id=frame["spec_id"].str[:8])
    numbers = map(str, shown.select_dtypes("number"))
    counts = {name: as_integer(shown[name]) for name in numbers if name != "predicted_percent"}
    return shown.assign(**counts).rename(columns={"spec_id": "name", "predicted_percent": "predicted error %"})


def scores_table(frame: pd.DataFrame) -> pd.DataFrame:
    """Rank agreement of scores and complexities with the error."""
    against = frame["verdict"].where(frame["verdict"] != "better", "better than macs, params and acts")
    return pd.DataFrame(
        {
            "space": frame["space"],
            "measure": frame["measure"].map(label),
            "networks": frame["n"],
            "rank agreement (95 % CI)": list(map(interval, frame["agreement"], frame["lower"], frame["upper"])),
            "Kendall's τ": frame["kendall"],
            "against macs, params, acts": against.replace("", NOTHING),
        }
    )
