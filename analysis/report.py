"""One self-contained HTML page about a table: findings, figures, tables, failures, and how to reproduce it."""

from __future__ import annotations

import json
import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined

from analysis import display, remarks
from analysis.compare import COMPARISON_COLUMNS
from analysis.explorer import explorer_json
from analysis.figures import pictures
from analysis.findings import COMPLEXITY, Findings
from analysis.picture import Picture
from analysis.rows import Source
from analysis.words import setting, summary
from designspace.atomic import MARK, check_output, write_output

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
        title=", ".join(study.name for study in findings.table.sources),
        subtitle=" | ".join(dict.fromkeys(filter(None, map(setting, findings.table.sources)))),
        error=findings.error,
        made_at=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        summary=summary(findings),
        remarks={
            "search": remarks.search(findings),
            "parameters": remarks.parameters(findings),
            "structure": remarks.structure(findings),
            "regimes": remarks.regimes(findings),
            "exponents": remarks.exponents(findings),
            "training": remarks.training(findings),
            "best": remarks.best(findings),
        },
        pictures=drawn,
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


def _study(study: Source) -> dict[str, Any]:
    manifest = study.manifest
    environment = manifest.get("environment") or {}
    git = environment.get("git") or {}
    packages = {"python": environment.get("python"), **(environment.get("packages") or {})}
    config = manifest.get("config") or {}
    revision = git.get("revision")
    facts = {
        "from": str(study.path),
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
