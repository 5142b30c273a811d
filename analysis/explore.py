"""Interactive view of all models: scatter plot, parallel coordinates and model cards in one HTML fragment."""

from __future__ import annotations

import base64
import json
import shlex
import zlib
from collections.abc import Mapping, Sequence
from functools import cache
from itertools import groupby
from typing import Any

import numpy as np
import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from plotly.offline import get_plotlyjs, get_plotlyjs_version

from analysis.select import thin_models
from designspace.figures import is_logarithmic

ERROR = "error_percent"
MAX_CATEGORIES = 20


def explore_html(
    models: pd.DataFrame,
    *,
    parameters: Sequence[str] = (),
    complexity: Sequence[str] = ("macs", "params", "acts"),
    categories: Sequence[str] = ("space", "status", "study", "proposed_by"),
    labels: Mapping[str, str] | None = None,
    colors: Mapping[str, str] | None = None,
    folders: Mapping[str, str] | None = None,
) -> Markup:
    """Render the interactive view as an HTML fragment with its styles, script, library and data.

    The fragment makes no requests and works under the Content-Security-Policy `default-src 'none'; style-src
    'unsafe-inline'; script-src 'unsafe-inline'`. A page can contain it once.

    Args:
        models: one row per model; columns `error_percent`, `spec_id`, `space`, those named below, and where available
            `index`, `seed`, `status`, `message`, `failed`, `pareto`, `spec` (mapping), `block_widths` and
            `epoch_validation_error_percent` (sequences). More than `MAX_POINTS` rows are thinned.
        parameters: columns of the free parameters, numbers or text.
        complexity: numeric columns.
        categories: text columns to color and filter by; a column with one value or above 20 is left out.
        labels: axis label of a column; the default is its name.
        colors: CSS color of each space.
        folders: study folder or table file of each value of `study`, for the export command.

    Raises:
        ValueError: there are no models.
    """
    if models.empty:
        raise ValueError("models = 0 rows: must have at least 1")
    frame = models.reset_index(drop=True)
    frame = frame.assign(**{name: False for name in ("failed", "pareto") if name not in frame})
    frame["failed"] |= ~np.isfinite(frame[ERROR].astype(float))
    shown, weights = thin_models(frame)
    numeric = [name for name in (ERROR, *complexity, *parameters) if _has_numbers(frame, name)]
    text = [name for name in (*categories, *parameters) if name not in numeric and _has_categories(frame, name)]
    axes = [name for name in dict.fromkeys((*parameters, *complexity)) if name in numeric + text]
    labels, colors = labels or {}, colors or {}
    content = {
        "error": ERROR,
        "columns": {
            name: {"label": labels.get(name, name)}
            | (_numbers(shown, name) if name in numeric else _codes(shown[name], colors if name == "space" else {}))
            for name in dict.fromkeys((ERROR, *axes, *text))
        },
        "axes": [*axes, ERROR],
        "x": next((name for name in (*complexity, *axes) if name in numeric), ERROR),
        "failed": shown["failed"].astype(int).tolist(),
        "weights": [] if len(shown) == len(frame) else weights.round(4).tolist(),
        "total": len(frame),
        "models": [_model(row, folders or {}) for row in shown.to_dict("records")],
    }
    payload = json.dumps(content, allow_nan=False, separators=(",", ":"))
    environment = Environment(
        loader=PackageLoader("analysis"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    html = environment.get_template("explore.html.j2").render(
        payload=_deflate(payload),
        library=_library(),
        version=get_plotlyjs_version(),
        shown=len(shown),
        total=len(frame),
    )
    return Markup(html)


def _has_numbers(frame: pd.DataFrame, name: str) -> bool:
    numeric = name in frame and pd.api.types.is_numeric_dtype(frame[name].infer_objects())
    return numeric and bool(frame[name].notna().any())


def _has_categories(frame: pd.DataFrame, name: str) -> bool:
    return name in frame and 1 < frame[name].astype(str).nunique() <= MAX_CATEGORIES


def _numbers(frame: pd.DataFrame, name: str) -> dict[str, Any]:
    """Integers, or values to seven digits; None where there is no value. A failed model has no error."""
    values = frame[name].astype(float)
    if name == ERROR:
        values = values.mask(frame["failed"])
    return {"values": [_plain(value) for value in values], "log": is_logarithmic(name, values)}


def _codes(column: pd.Series, colors: Mapping[str, str]) -> dict[str, Any]:
    codes, levels = pd.factorize(column.astype(str))
    return {"values": codes.tolist(), "levels": list(levels), "colors": [colors.get(level) for level in levels]}


def _model(row: Mapping[Any, Any], folders: Mapping[str, str]) -> dict[str, Any]:
    """What the card of a model shows besides the columns; absent entries are left out."""
    spec_id = str(row["spec_id"])
    spec = row.get("spec") if isinstance(row.get("spec"), dict) else None
    widths, curve = _sequence(row.get("block_widths")), _sequence(row.get("epoch_validation_error_percent"))
    source = folders.get(str(row.get("study")), f"{spec_id}.yaml")
    chosen = f" --where {shlex.quote(f'spec_id={spec_id}')}" if str(row.get("study")) in folders else ""
    model = {
        "id": spec_id,
        "name": f"#{row['index']} {spec_id[:8]}" if spec and "index" in row else spec_id,
        "space": str(row.get("space", "")),
        "failure": f"{row.get('status', 'failed')}: {_first_line(row.get('message'))}" if row["failed"] else "",
        "spec": spec,
        "widths": [[int(width), len(list(run))] for width, run in groupby(widths)],
        "curve": [_plain(value) for value in curve],
        "export": f"designspace export {shlex.quote(source)}{chosen} --to yaml,timm,onnx --out exported"
        if spec
        else "",
    }
    return {key: value for key, value in model.items() if value}


def _sequence(value: Any) -> list[Any]:
    return list(value) if isinstance(value, tuple | list | np.ndarray) else []


def _first_line(value: Any) -> str:
    return (value.splitlines() or [""])[0][:200] if isinstance(value, str) else ""


def _plain(value: Any) -> float | int | None:
    if value is None or not np.isfinite(value):
        return None
    number = float(value)
    return int(number) if number.is_integer() and abs(number) < 1e15 else float(f"{number:.7g}")


def _deflate(text: str) -> str:
    return base64.b64encode(zlib.compress(text.encode(), 9)).decode()


@cache
def _library() -> str:
    return _deflate(get_plotlyjs())
