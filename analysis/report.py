"""The HTML report: one self-contained page and its figures."""

from __future__ import annotations

import base64
import json
import platform
import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import Any

import pandas as pd
import yaml
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from analysis import display
from analysis.compare import COMPARISON_COLUMNS
from analysis.explore import explore_html
from analysis.figures import ReportFigure, report_figures, space_figures
from analysis.findings import Findings
from analysis.headline import badges, cards, headline
from analysis.plots.style import group_styles
from analysis.rows import Source, costs
from analysis.sentences import context, section_sentences, statistics
from designspace.atomic import MARK, check_output, write_output

PAGE = "report.html"
FIGURES = "figures"
EDFS = ("edf_matched", "edf")
"""Figures of the first screen, in order of preference."""


def write_report(findings: Findings, folder: str | Path, command: str = "", *, force: bool = False) -> Path:
    """Write report.html and its figures as PNG and SVG into a folder, and return the path of the page.

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
    files = {folder / FIGURES / f"{figure.name}.png": figure.png for figure in figures}
    files |= {folder / FIGURES / f"{figure.name}.svg": figure.svg for figure in figures}
    files[page] = render(findings, figures, command).encode()
    for path in files:
        check_output(path, force=force)
    for path, content in files.items():
        write_output(path, content, force=force)
    return page


def render(findings: Findings, figures: Iterable[ReportFigure], command: str = "") -> str:
    """Render the page as HTML. All content is escaped and embedded."""
    figures = list(figures)
    return _template("report.html.j2").render(
        mark=MARK,
        title=_title(findings),
        first_screen=first_screen(findings, figures),
        error=findings.error,
        made_at=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        sentences=section_sentences(findings),
        figures=figures,
        explorer=_explorer(findings),
        tables={table.name: table for table in _tables(findings) if len(table.shown)},
        meanings=COMPARISON_COLUMNS,
        studies=[_study(study) for study in findings.table.sources],
        command=command,
        versions=_versions(),
    )


def first_screen(findings: Findings, figures: Iterable[ReportFigure] | None = None) -> Markup:
    """Render question, answer, cards, badges and the EDF as an HTML fragment, styled by templates/report.css.

    Args:
        findings: from `analysis.findings.find`.
        figures: of the report; by default, the EDF is drawn.
    """
    # The EDFs come first, with the matched one second.
    named = {figure.name: figure for figure in (islice(space_figures(findings), 2) if figures is None else figures)}
    html = _template("first_screen.html.j2").render(
        title=_title(findings),
        headline=headline(findings),
        context=context(findings),
        badges=badges(findings),
        cards=cards(findings),
        statistics=statistics(findings),
        figure=next((named[name] for name in EDFS if name in named), None),
    )
    return Markup(html)


def _template(name: str) -> Any:
    environment = Environment(
        loader=PackageLoader("analysis"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["methods"] = METHODS
    return environment.get_template(name)


METHODS = {
    "edf": "edf",
    "edf_matched": "matching",
    "differences": "differences",
    "importance": "importance",
    "dependence": "importance",
    "learning_curves": "training",
    "rank_agreement": "training",
    "width_profiles": "widths",
    "linear_structure": "widths",
    "pareto": "best",
}
"""Entry under Methods by figure; by default its section."""


def _title(findings: Findings) -> str:
    return ", ".join(study.name for study in findings.table.sources)


def _explorer(findings: Findings) -> Markup:
    styles = group_styles(findings.trained["space"].astype(str), findings.table.space_order)
    origin = findings.trained["proposed_by"].replace("", "random draw")
    return explore_html(
        findings.trained.assign(proposed_by=origin),
        parameters=[*findings.table.parameters, *(["fit_error"] if "fit_error" in findings.parameters.names else [])],
        complexity=costs(findings.trained),
        labels=display.LABELS,
        colors={space: style["color"] for space, style in styles.items()},
        folders={source.name: str(source.path) for source in findings.table.sources},
    )


@dataclass(frozen=True, eq=False)
class ReportTable:
    """A table of the page.

    Attributes:
        name: of the table and its CSV file.
        shown: formatted for display.
        frame: all columns, for the CSV file.
    """

    name: str
    shown: pd.DataFrame
    frame: pd.DataFrame

    @cached_property
    def columns(self) -> list[display.Column]:
        """Formatted columns."""
        return display.columns(self.shown)

    @property
    def csv(self) -> str:
        """Data URI of the CSV file."""
        content = self.frame.drop(columns=["spec", "block_widths"], errors="ignore").to_csv(index=False)
        return f"data:text/csv;base64,{base64.b64encode(content.encode('utf-8', 'surrogatepass')).decode()}"


def _tables(findings: Findings) -> list[ReportTable]:
    parameters, regimes, selection = findings.parameters, findings.regimes, findings.selection
    comparison, front = findings.spaces.comparison, selection.front
    ranges = parameters.ranges
    if len(ranges):
        ranges = ranges.merge(parameters.correlations, on=["space", "parameter"], suffixes=("", "_rho"))
    return [
        ReportTable("spaces", display.spaces_table(findings.spaces.summary), findings.spaces.summary),
        ReportTable("comparison", display.comparison_table(comparison), comparison),
        ReportTable("ranges", display.ranges_table(parameters.ranges, parameters.correlations), ranges),
        *_searches(findings),
        ReportTable("regimes", display.regimes_table(regimes.best), regimes.best),
        ReportTable("regime_trends", display.powers_table(regimes.trends, "regimes"), regimes.trends),
        ReportTable("exponents", display.powers_table(regimes.exponents, "models"), regimes.exponents),
        *_restrictions(findings),
        ReportTable("best", display.best_table(selection.best), selection.best),
        ReportTable("front", display.best_table(front) if len(front) else front, front),
        ReportTable("failures", findings.failures, findings.failures),
        ReportTable("sampling", display.sampling_table(findings.sampling), findings.sampling),
    ]


def _searches(findings: Findings) -> list[ReportTable]:
    if findings.search is None:
        return []
    return [ReportTable("search", display.search_table(findings.search.summary), findings.search.summary)]


def _restrictions(findings: Findings) -> list[ReportTable]:
    if findings.refinement is None:
        return []
    frame = findings.refinement.frame.drop(columns="_bound")
    return [ReportTable("restrictions", display.restrictions_table(frame.head(10), findings.refinement.draws), frame)]


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
    return {"name": study.name, "facts": present, "config": text, "command": sweep_command(study.path)}


def sweep_command(folder: Path) -> str:
    """The command of a study, with the overrides that Hydra stored at the last start of the sweep; "" without any."""
    stored = sorted(folder.glob("hydra/*/.hydra/overrides.yaml"), key=lambda path: path.stat().st_mtime)
    overrides = yaml.safe_load(stored[-1].read_text()) if stored else None
    if not isinstance(overrides, list):
        return ""
    # Each worker has its number as an override.
    return shlex.join(
        ["designspace", "sweep", *(str(item) for item in overrides if not str(item).startswith("worker="))]
    )
