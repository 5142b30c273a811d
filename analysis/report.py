"""The HTML report."""

from __future__ import annotations

import json
import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from analysis import display, sentences
from analysis.compare import COMPARISON_COLUMNS
from analysis.display import label
from analysis.figures import Picture, pictures, thinned
from analysis.findings import COMPLEXITY, Findings
from analysis.plots.style import COLOURS
from analysis.sentences import setting, summary
from analysis.table import Study
from designspace.outputs import MARK, check_output, write_output

PAGE = "report.html"
FIGURES = "figures"


def write_report(findings: Findings, folder: str | Path, command: str = "", *, force: bool = False) -> Path:
    """Write report.html and figures/*.png into a folder; return the path of the page.

    Args:
        findings: from `analysis.findings.find`.
        folder: usually the study folder.
        command: the command line that made the report, shown on the page.
        force: whether files of other origin may be replaced.
    Raises:
        ValueError: a file of that name exists that this tool did not write.
    """
    folder = Path(folder)
    drawn = pictures(findings)
    page = folder / PAGE
    files = {folder / FIGURES / f"{picture.name}.png": picture.png() for picture in drawn}
    files[page] = render(findings, drawn, command).encode()
    for path in files:  # all or none
        check_output(path, force=force)
    for path, content in files.items():
        write_output(path, content, force=force)
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
    environment.filters["count"] = "{:,}".format
    models, left_out = explorer_json(findings)
    return environment.get_template("report.html.j2").render(
        mark=MARK,
        title=", ".join(study.name for study in findings.table.studies),
        subtitle=" | ".join(dict.fromkeys(filter(None, map(setting, findings.table.studies)))),
        error=findings.error,
        made_at=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        summary=summary(findings),
        remarks={
            "search": sentences.search(findings),
            "parameters": sentences.parameters(findings),
            "structure": sentences.structure(findings),
            "regimes": sentences.regimes(findings),
            "exponents": sentences.exponents(findings),
            "training": sentences.training(findings),
            "best": sentences.best(findings),
        },
        pictures=drawn,
        models=models,
        left_out=left_out,
        all_models=len(findings.models),
        tables={name: display.columns(frame) for name, frame in _tables(findings).items()},
        meanings=COMPARISON_COLUMNS,
        policy=findings.resolved.sentence,
        studies=[_study(study) for study in findings.table.studies],
        command=command,
        versions=_versions(),
    )


def _tables(findings: Findings) -> dict[str, pd.DataFrame]:
    numbers = [name for name in findings.parameters if name not in (*COMPLEXITY, "fit_error")]
    return {
        "spaces": display.spaces_table(findings.spaces),
        "comparison": display.comparison_table(findings.comparison),
        "ranges": display.ranges_table(findings.ranges, findings.correlations),
        "regimes": display.regimes_table(findings.regimes),
        "regime_trends": display.powers_table(findings.regime_trends, "regimes"),
        "exponents": display.powers_table(findings.exponents, "models"),
        "best": display.best_table(findings.best, numbers),
        "front": display.best_table(findings.front, numbers) if len(findings.front) else findings.front,
        "failures": findings.failures,
        "sampling": display.sampling_table(findings.sampling),
    }


def _versions() -> str:
    packages = ("cnn-designspace", "numpy", "scipy", "pandas", "scikit-learn", "matplotlib")
    return f"Python {platform.python_version()}, " + ", ".join(f"{name} {version(name)}" for name in packages)


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


def explorer_json(findings: Findings) -> tuple[Markup, int]:
    """The models of a report's scatter plot, and how many were left out of it.

    Returns:
        JSON, safe inside a script element: axes (column: label), values (column: number or null a model), spaces,
        colours, models (space, name, failed, facts, widths as runs, spec). The best and a random choice where there are
        very many.
    """
    frame = thinned(findings.models)
    spaces = list(dict.fromkeys(findings.models["space"].astype(str)))
    names = list(dict.fromkeys(["error_percent", *COMPLEXITY, *findings.parameters]))
    names = [name for name in names if frame[name].notna().any()]
    values = {name: [_plain(v) for v in frame[name].astype(float)] for name in names}
    content = {
        "axes": {name: label(name) for name in names},
        "values": values,
        "spaces": spaces,
        "colours": COLOURS,
        "across": next((name for name in (findings.match, *COMPLEXITY) if name in names), names[-1]),
        "models": [_model(row, names, spaces) for row in frame.to_dict("records")],
    }
    text = json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    # A script element ends at the first "</script", wherever it stands; no other character can close it.
    return Markup(text.replace("<", "\\u003c")), len(findings.models) - len(frame)


def _model(row: dict[Any, Any], names: list[str], spaces: list[str]) -> dict[str, Any]:
    spec = row["spec"] if isinstance(row["spec"], dict) else None
    widths = row["block_widths"]
    facts = {name: _plain(row[name]) for name in names}
    facts = {name: value for name, value in facts.items() if value is not None}
    model: dict[str, Any] = {
        "space": spaces.index(str(row["space"])),
        "name": f"#{row['index']} {str(row['spec_id'])[:8]}" if spec else str(row["spec_id"]),
        "facts": facts | {"spec_id": str(row["spec_id"])},
        "spec": spec,
    }
    if row["failed"]:
        model |= {"failed": True}
        model["facts"] |= {"status": str(row["status"])}
    if isinstance(widths, tuple | list | np.ndarray) and len(widths):
        model["widths"] = [[int(width), len(list(run))] for width, run in groupby(widths)]
    return model


def _plain(value: Any) -> Any:
    if value is None or (isinstance(value, float | np.floating) and not np.isfinite(value)) or value is pd.NA:
        return None
    number = float(value)
    return int(number) if number == round(number) and abs(number) < 1e15 else float(f"{number:.7g}")
