"""What the report's scatter plot knows of each model, as JSON for the page."""

from __future__ import annotations

import json
from itertools import groupby
from typing import Any

import numpy as np
import pandas as pd
from markupsafe import Markup

from analysis.findings import COMPLEXITY, Findings
from analysis.style import COLOURS, label
from analysis.thinning import thinned


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
