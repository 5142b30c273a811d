"""The HTML report: one self-contained page and its figures."""

from __future__ import annotations

import json
import platform
from collections.abc import Iterable
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from analysis import display
from analysis.compare import COMPARISON_COLUMNS
from analysis.explore import explore_html
from analysis.figures import ReportFigure, report_figures
from analysis.findings import Findings
from analysis.plots.style import series_style
from analysis.rows import Source
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
    return environment.get_template("report.html.j2").render(
        mark=MARK,
        title=", ".join(study.name for study in findings.table.sources),
        subtitle=" | ".join(dict.fromkeys(filter(None, map(setting, findings.table.sources)))),
        error=findings.error,
        made_at=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        summary=summary(findings),
        sentences=section_sentences(findings),
        figures=list(figures),
        explorer=_explorer(findings),
        tables={name: display.columns(frame) for name, frame in _tables(findings).items()},
        meanings=COMPARISON_COLUMNS,
        policy=findings.resolved.sentence,
        studies=[_study(study) for study in findings.table.sources],
        command=command,
        versions=_versions(),
    )


def _explorer(findings: Findings) -> Markup:
    spaces = dict.fromkeys(findings.models["space"].astype(str))
    return explore_html(
        findings.models,
        parameters=(*findings.table.parameters, "fit_error"),
        labels=display.LABELS,
        colors={space: series_style(position)["color"] for position, space in enumerate(spaces)},
        folders={source.name: str(source.path) for source in findings.table.sources},
    )


def _tables(findings: Findings) -> dict[str, pd.DataFrame]:
    parameters, regimes, selection = findings.parameters, findings.regimes, findings.selection
    numbers = [name for name in parameters.names if name not in (*display.COMPLEXITY, "fit_error")]
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
