"""One self-contained HTML page about a table: words, pictures, tables, failures, and how to get the same again."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined

from analysis.compare import COMPARISON_COLUMNS
from analysis.figures import Picture, pictures
from analysis.findings import Findings
from analysis.style import label
from analysis.words import interval, p_text, setting, summary
from designspace.files import write_whole

FIRST = ("edf", "edf_matched", "differences")


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
        write_whole(folder / "figures" / f"{picture.name}.png", picture.png())
    page = folder / "report.html"
    write_whole(page, render(findings, drawn, command))
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
    return environment.get_template("report.html.j2").render(
        title=", ".join(study.name for study in findings.table.studies),
        subtitle=" | ".join(dict.fromkeys(filter(None, map(setting, findings.table.studies)))),
        made_at=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        summary=summary(findings),
        main_pictures=[p for p in drawn if p.name in FIRST],
        fit_pictures=[p for p in drawn if p.name in ("error_vs_fit_error", "width_profiles")],
        trend_pictures=[p for p in drawn if p.name not in (*FIRST, "error_vs_fit_error", "width_profiles")],
        spaces=records(_spaces(findings.spaces)),
        comparison=records(_comparison(findings.comparison)),
        meanings=COMPARISON_COLUMNS,
        ranges=records(_ranges(findings)),
        best=records(_best(findings)),
        failures=records(findings.failures),
        sampling=records(_sampling(findings.sampling)),
        policy=findings.resolved.sentence,
        studies=[_study(study.name, study.manifest) for study in findings.table.studies],
        command=command,
    )


def records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """A frame as rows for the template."""
    return [{str(key): value for key, value in row.items()} for row in frame.to_dict("records")]


def cell(value: Any) -> str:
    """A value as the text of a table cell: up to four digits, a dash for nothing."""
    if value is None or (isinstance(value, float) and pd.isna(value)):
        return "–"
    if isinstance(value, float):
        whole = value == round(value) or abs(value) >= 1e4
        return f"{value:,.0f}" if whole else f"{value:.2f}" if abs(value) >= 10 else f"{value:.3g}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def _comparison(frame: pd.DataFrame) -> pd.DataFrame:
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
            "KS D": frame["ks"].map("{:.2f}".format) + ", " + frame["ks_p"].map(p_text),
            "P(first better)": _with_ends(frame, "a_better"),
            "detectable": frame["detectable"].map("{:.2f}".format),
        }
    )


def _with_ends(frame: pd.DataFrame, name: str) -> list[str]:
    columns = (frame[name], frame[f"{name}_lower"], frame[f"{name}_upper"])
    return [interval(*ends) if name == "difference" else unsigned(*ends) for ends in zip(*columns, strict=True)]


def unsigned(value: float, low: float, high: float) -> str:
    """A value that cannot be negative with its interval: 0.80 (0.68 to 0.88)."""
    return f"{value:.2f} ({low:.2f} to {high:.2f})"


def _spaces(frame: pd.DataFrame) -> pd.DataFrame:
    names = {"quarter": "25 %", "three_quarters": "75 %"}
    ends = [f"{low:.2f} to {high:.2f}" for low, high in zip(frame["mean_lower"], frame["mean_upper"], strict=True)]
    return frame.drop(columns=["mean_lower", "mean_upper"]).rename(columns=names).assign(**{"95 % of the mean": ends})


def _ranges(findings: Findings) -> pd.DataFrame:
    if findings.ranges.empty:
        return findings.ranges
    both = findings.ranges.merge(findings.correlations, on=["space", "parameter"], suffixes=("", "_rho"))
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


def _best(findings: Findings) -> pd.DataFrame:
    numbers = [n for n in findings.parameters if n not in ("macs", "params", "acts", "fit_error")]
    columns = ["rank", "space", "index", "spec", "error_percent", "macs", "params", "acts", *numbers, "fit_error"]
    best = findings.best.assign(spec=findings.best["spec_id"].str.slice(0, 8))
    return best[columns].rename(columns={"error_percent": "error %", "fit_error": "e_fit"})


def _sampling(frame: pd.DataFrame) -> pd.DataFrame:
    if frame.empty:
        return frame
    return frame.assign(acceptance=[f"{100 * share:.3g} %" for share in frame["acceptance"].astype(float)])


def _study(name: str, manifest: dict[str, Any]) -> dict[str, Any]:
    environment = manifest.get("environment") or {}
    git = environment.get("git") or {}
    packages = {"python": environment.get("python"), **(environment.get("packages") or {})}
    facts = {
        "created": manifest.get("created_at"),
        "config hash": manifest.get("config_hash"),
        "recipe": manifest.get("recipe_id"),
        "data": manifest.get("data_id"),
        "git revision": (git.get("revision") or "unknown") + (" with uncommitted changes" if git.get("dirty") else ""),
        "machine": environment.get("platform"),
        "cores": environment.get("cores"),
        "packages": ", ".join(f"{k} {v}" for k, v in packages.items() if v),
    }
    config = json.dumps(manifest.get("config") or {}, indent=2, ensure_ascii=False)
    return {"name": name, "facts": {k: v for k, v in facts.items() if v}, "config": config}
