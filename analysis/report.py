"""The HTML report: one self-contained page and its figures."""

from __future__ import annotations

import json
import platform
from collections.abc import Iterable
from datetime import UTC, datetime
from importlib.metadata import version
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from analysis import display
from analysis.compare import COMPARISON_COLUMNS
from analysis.figures import ReportFigure, report_figures, thin_models
from analysis.findings import Findings
from analysis.plots.style import COLORS
from analysis.rows import COMPLEXITIES, Source
from analysis.sentences import section_sentences, setting, summary
from designspace.atomic import MARK, check_output, write_output

PAGE = "report.html"
FIGURES = "figures"


def write_report(findings: Findings, folder: str | Path, command: str = "", *, force: bool = False) -> Path:
    """Write report.html and figures/*.png into a folder and return the path of the page.

    Args:
        findings: from `analysis.findings.find`.
        folder: usually the study folder.
        command: the command line, shown on the page.
        force: overwrite files that this tool did not write.

    Raises:
        ValueError: a file exists that this tool did not write. No file is written then.
    """
    folder = Path(folder)
    figures = list(report_figures(findings))
    page = folder / PAGE
    files = {folder / FIGURES / f"{figure.name}.png": figure.png() for figure in figures}
    files[page] = render(findings, figures, command).encode()
    for path in files:
        check_output(path, force=force)
    for path, content in files.items():
        write_output(path, content, force=force)
    return page


def render(findings: Findings, figures: Iterable[ReportFigure], command: str = "") -> str:
    """Render the page as HTML. All content is escaped and embedded."""
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
        title=", ".join(study.name for study in findings.table.sources),
        subtitle=" | ".join(dict.fromkeys(filter(None, map(setting, findings.table.sources)))),
        error=findings.error,
        made_at=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        summary=summary(findings),
        sentences=section_sentences(findings),
        figures=list(figures),
        models=models,
        left_out=left_out,
        all_models=len(findings.models),
        tables={name: display.columns(frame) for name, frame in _tables(findings).items()},
        meanings=COMPARISON_COLUMNS,
        policy=findings.resolved.sentence,
        studies=[_study(study) for study in findings.table.sources],
        command=command,
        versions=_versions(),
    )


def _tables(findings: Findings) -> dict[str, pd.DataFrame]:
    parameters, regimes, selection = findings.parameters, findings.regimes, findings.selection
    numbers = [name for name in parameters.names if name not in (*COMPLEXITIES, "fit_error")]
    return {
        "spaces": display.spaces_table(findings.spaces.summary),
        "comparison": display.comparison_table(findings.spaces.comparison),
        "ranges": display.ranges_table(parameters.ranges, parameters.correlations),
        "regimes": display.regimes_table(regimes.best),
        "regime_trends": display.powers_table(regimes.trends, "regimes"),
        "exponents": display.powers_table(regimes.exponents, "models"),
        "best": display.best_table(selection.best, numbers),
        "front": display.best_table(selection.front, numbers) if len(selection.front) else selection.front,
        "failures": findings.failures,
        "sampling": display.sampling_table(findings.sampling),
    }


def _versions() -> str:
    packages = ("cnn-designspace", "numpy", "scipy", "pandas", "scikit-learn", "matplotlib")
    return f"Python {platform.python_version()}, " + ", ".join(f"{name} {version(name)}" for name in packages)


def _study(study: Source) -> dict[str, Any]:
    manifest = study.manifest
    environment = manifest.get("environment") or {}
    git = environment.get("git") or {}
    packages = {"python": environment.get("python"), **(environment.get("packages") or {})}
    config = manifest.get("config") or {}
    revision = git.get("revision")
    facts = {
        "path": str(study.path),
        "seed": config.get("seed"),
        "created": manifest.get("created_at"),
        "config hash": manifest.get("config_hash"),
        "recipe": manifest.get("recipe_id"),
        "data": manifest.get("data_id"),
        "git revision": revision and revision + (" with uncommitted changes" if git.get("dirty") else ""),
        "platform": environment.get("platform"),
        "cores": environment.get("cores"),
        "packages": ", ".join(f"{name} {number}" for name, number in packages.items() if number),
    }
    text = json.dumps(config, indent=2, ensure_ascii=False) if config else ""
    present = {name: value for name, value in facts.items() if value not in (None, "")}
    return {"name": study.name, "facts": present, "config": text}


def explorer_json(findings: Findings) -> tuple[Markup, int]:
    """Data of the interactive scatter plot, and the number of models left out.

    Returns:
        JSON, safe inside a script element: axes (column: label), values (column: number or null per model), spaces,
        colors, and models (space, name, failed, facts, run-length encoded widths, spec). Large tables are thinned with
        `thin_models`.
    """
    frame = thin_models(findings.models)
    spaces = list(dict.fromkeys(findings.models["space"].astype(str)))
    names = list(dict.fromkeys(["error_percent", *COMPLEXITIES, *findings.parameters.names]))
    names = [name for name in names if frame[name].notna().any()]
    values = {name: [_number(value) for value in frame[name].astype(float)] for name in names}
    content = {
        "axes": {name: display.label(name) for name in names},
        "values": values,
        "spaces": spaces,
        "colors": COLORS,
        "x": next((name for name in (findings.spaces.match, *COMPLEXITIES) if name in names), names[-1]),
        "models": [_model(row, names, spaces) for row in frame.to_dict("records")],
    }
    text = json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    # Only "</script" can end a script element.
    return Markup(text.replace("<", "\\u003c")), len(findings.models) - len(frame)


def _model(row: dict[Any, Any], names: list[str], spaces: list[str]) -> dict[str, Any]:
    spec = row["spec"] if isinstance(row["spec"], dict) else None
    widths = row["block_widths"]
    facts = {name: _number(row[name]) for name in names}
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


def _number(value: Any) -> Any:
    if value is None or (isinstance(value, float | np.floating) and not np.isfinite(value)) or value is pd.NA:
        return None
    number = float(value)
    return int(number) if number == round(number) and abs(number) < 1e15 else float(f"{number:.7g}")
