"""One self-contained HTML page about a table: words, pictures, tables, failures, and how to get the same again."""

from __future__ import annotations

import json
import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined

from analysis import remarks
from analysis.compare import COMPARISON_COLUMNS
from analysis.explorer import explorer_json
from analysis.figures import Picture, pictures
from analysis.findings import Findings
from analysis.style import label
from analysis.table import Study
from analysis.words import interval, p_text, setting, summary
from designspace.atomic import replace_file

AREA = ("area", "area_lower", "area_upper")


def write_report(findings: Findings, folder: str | Path, command: str = "") -> Path:
    """Write report.html and figures/*.png into a folder; return the path of the page.

    Args:
        findings: from `analysis.findings.find`.
        folder: usually the study folder.
        command: the command line that made the report, shown on the page.
    """
    folder = Path(folder)
    drawn = pictures(findings)
    for picture in drawn:
        replace_file(folder / "figures" / f"{picture.name}.png", picture.png())
    page = folder / "report.html"
    replace_file(page, render(findings, drawn, command))
    return page


def render(findings: Findings, drawn: Sequence[Picture], command: str = "") -> str:
    """The page as HTML; everything in it is escaped, nothing in it is fetched."""
    environment = Environment(
        loader=PackageLoader("analysis"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"cell": cell, "label": label}
    models, left_out = explorer_json(findings)
    return environment.get_template("report.html.j2").render(
        title=", ".join(study.name for study in findings.table.studies),
        subtitle=" | ".join(dict.fromkeys(filter(None, map(setting, findings.table.studies)))),
        made_at=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        summary=summary(findings),
        remarks={
            "search": remarks.search(findings),
            "parameters": remarks.parameters(findings),
            "structure": remarks.structure(findings),
            "exponents": remarks.exponents(findings),
            "training": remarks.training(findings),
            "best": remarks.best(findings),
        },
        pictures=drawn,
        models=models,
        left_out=left_out,
        all_models=len(findings.models),
        spaces=records(_spaces(findings.spaces)),
        comparison=records(comparison_table(findings.comparison)),
        meanings=COMPARISON_COLUMNS,
        ranges=records(ranges_table(findings.ranges, findings.correlations)),
        exponents=records(findings.exponents.drop(columns=["factor", "against"], errors="ignore")),
        best=records(best_table(findings.best, _numbers(findings))),
        front=records(best_table(findings.front, _numbers(findings))) if len(findings.front) else [],
        failures=records(findings.failures),
        sampling=records(_sampling(findings.sampling)),
        policy=findings.resolved.sentence,
        studies=[_study(study) for study in findings.table.studies],
        command=command,
        versions=_versions(),
    )


def _versions() -> str:
    packages = ("cnn-designspace", "numpy", "scipy", "pandas", "scikit-learn", "matplotlib")
    return f"Python {platform.python_version()}, " + ", ".join(f"{name} {version(name)}" for name in packages)


def records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """A frame as rows for the template."""
    return [{str(key): value for key, value in row.items()} for row in frame.to_dict("records")]


def cell(value: Any) -> str:
    """A value as the text of a table cell: up to four digits, a dash for nothing."""
    if value is None or (isinstance(value, float) and pd.isna(value)):
        return "–"
    if isinstance(value, float):
        if not np.isfinite(value):
            return "no bound"
        whole = value == round(value) or abs(value) >= 1e4
        return f"{value:,.0f}" if whole else f"{value:.2f}" if abs(value) >= 10 else f"{value:.3g}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def comparison_table(frame: pd.DataFrame) -> pd.DataFrame:
    """Pairs of spaces for a reader: values and intervals as text."""
    if frame.empty:
        return frame
    return pd.DataFrame(
        {
            "pair": frame["a"] + " − " + frame["b"],
            "matched by": frame["matched_by"],
            "models": frame["n_a"].astype(str) + " / " + frame["n_b"].astype(str),
            "effective": frame["effective_n_a"].map("{:.0f}".format)
            + " / "
            + frame["effective_n_b"].map("{:.0f}".format),
            "mean error": frame["mean_a"].map("{:.2f}".format) + " / " + frame["mean_b"].map("{:.2f}".format),
            "difference (95 %)": _with_ends(frame, "difference"),
            "area difference, % of box": _with_ends(frame.assign(**{n: 100 * frame[n] for n in AREA}), "area"),
            "curves": frame["order"],
            "KS D": frame["ks"].map("{:.2f}".format) + ", " + frame["ks_p"].map(p_text),
            "P(first better)": _with_ends(frame, "a_better"),
            "Holm": frame["ks_p_holm"].map(p_text),
            "detectable": frame["detectable"].map("{:.2f}".format),
        }
    )


def _with_ends(frame: pd.DataFrame, name: str) -> list[str]:
    columns = (frame[name], frame[f"{name}_lower"], frame[f"{name}_upper"])
    return [interval(*ends) if name != "a_better" else unsigned(*ends) for ends in zip(*columns, strict=True)]


def unsigned(value: float, low: float, high: float) -> str:
    """A value that cannot be negative with its interval: 0.80 (0.68 to 0.88)."""
    return f"{value:.2f} ({low:.2f} to {high:.2f})"


def mean_intervals(frame: pd.DataFrame) -> list[str]:
    """Intervals of the mean of `describe_spaces` as text; a dash for a single model."""
    ends = zip(frame["mean_lower"], frame["mean_upper"], strict=True)
    return [f"{low:.2f} to {high:.2f}" if np.isfinite(low) else "–" for low, high in ends]


def _spaces(frame: pd.DataFrame) -> pd.DataFrame:
    names = {"quarter": "25 %", "three_quarters": "75 %"}
    ends = mean_intervals(frame)
    return frame.drop(columns=["mean_lower", "mean_upper"]).rename(columns=names).assign(**{"95 % of the mean": ends})


def ranges_table(ranges: pd.DataFrame, correlations: pd.DataFrame) -> pd.DataFrame:
    """Best ranges and rank correlations of every parameter and space, for a reader."""
    if ranges.empty:
        return ranges
    both = ranges.merge(correlations, on=["space", "parameter"], suffixes=("", "_rho"))
    return pd.DataFrame(
        {
            "parameter": both["parameter"].map(label),
            "space": both["space"],
            "best at": both["likely"],
            "from": both["lower"],
            "to": both["upper"],
            "models behind it": both["support"],
            "rank correlation (95 %)": [
                interval(rho, low, high) if pd.notna(rho) else "–"
                for rho, low, high in zip(both["rho"], both["lower_rho"], both["upper_rho"], strict=True)
            ],
        }
    ).sort_values("parameter", kind="stable")


def _numbers(findings: Findings) -> list[str]:
    return [name for name in findings.parameters if name not in ("macs", "params", "acts", "fit_error")]


def best_table(chosen: pd.DataFrame, parameters: Sequence[str] = ()) -> pd.DataFrame:
    """Chosen models for a reader: what was measured, what to expect again, complexity and parameters."""
    known = [n for n in ("macs", "params", "acts") if chosen[n].notna().any()]
    fit = ["fit_error"] if "fit_error" in chosen and chosen["fit_error"].notna().any() else []
    ends = chosen[["estimate", "estimate_lower", "estimate_upper"]].itertuples(index=False)
    again = [unsigned(*row) if pd.notna(row[0]) else "–" for row in ends]
    specs = [isinstance(spec, dict) for spec in chosen["spec"]]
    name = [str(i)[:8] if has_spec else str(i) for i, has_spec in zip(chosen["spec_id"], specs, strict=True)]
    tied = ["tied" if both else "" for both in chosen["tied"]]
    columns = ["rank", "space", "index", "name", "error_percent", "again", "tied", "seeds", *known, *parameters, *fit]
    names = {"error_percent": "error %", "fit_error": "e_fit", "again": "again % (95 %)"}
    return chosen.assign(name=name, again=again, tied=tied)[columns].rename(columns=names)


def _sampling(frame: pd.DataFrame) -> pd.DataFrame:
    if frame.empty:
        return frame
    return frame.assign(acceptance=[f"{100 * share:.3g} %" for share in frame["acceptance"].astype(float)])


def _study(study: Study) -> dict[str, Any]:
    manifest = study.manifest
    environment = manifest.get("environment") or {}
    git = environment.get("git") or {}
    packages = {"python": environment.get("python"), **(environment.get("packages") or {})}
    config = manifest.get("config") or {}
    revision = git.get("revision")
    facts = {
        "from": str(study.folder),
        "seed": config.get("seed"),
        "created": manifest.get("created_at"),
        "config hash": manifest.get("config_hash"),
        "recipe": manifest.get("recipe_id"),
        "data": manifest.get("data_id"),
        "git revision": revision and revision + (" with uncommitted changes" if git.get("dirty") else ""),
        "machine": environment.get("platform"),
        "cores": environment.get("cores"),
        "packages": ", ".join(f"{k} {v}" for k, v in packages.items() if v),
    }
    text = json.dumps(config, indent=2, ensure_ascii=False) if config else ""
    known = {key: value for key, value in facts.items() if value not in (None, "")}
    return {"name": study.name, "facts": known, "config": text}
