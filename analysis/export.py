"""Export of the best models, or of given specs, as spec files or folders for other tools."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from analysis.rows import Source, Trainings, validation_size
from analysis.select import select_best
from analysis.sentences import setting
from designspace import ModelSpec, save_spec
from designspace.atomic import check_output
from designspace.export import FORMATS, check_folder, write
from designspace.expressions import unknown_column
from designspace.validated import shorten, unknown

SPECS = ("yaml", "json")


def export_best(
    table: Trainings,
    folder: Path,
    *,
    top: int,
    formats: tuple[str, ...],
    pareto: tuple[str, ...],
    within: Mapping[str, tuple[float, float]],
    force: bool,
) -> list[tuple[Path, dict[str, Any]]]:
    """Write the best models as RANK-SPEC_ID.yaml, with a mapping `provenance` that `load_spec` ignores.

    With formats other than yaml and json, each model gets a folder RANK-SPEC_ID with spec.yaml and a model card.

    Args:
        table: the trainings.
        folder: created if missing. Files of this tool are replaced.
        top: number of models, at least 1.
        formats: names in FORMATS.
        pareto: columns to minimize besides the error; only models on the Pareto front are written.
        within: column to its lowest and highest value.
        force: replace files that this tool did not write.

    Returns:
        Path and row of each model, best first; `refused` in the row has the reasons of formats that cannot express it.

    Raises:
        ValueError: an invalid argument, no finished model, or a file that this tool did not write.
    """
    check_formats(formats)
    if top < 1:
        raise ValueError(f"top = {top}: must be at least 1")
    sources = {source.name: source for source in table.sources}
    frame = keep_within(table.frame, within)
    best = select_best(frame, top, objectives=pareto, validation_size=validation_size(table.sources))
    written = []
    for row in best.to_dict("records"):
        model = {str(key): value for key, value in row.items()}
        if not isinstance(model["spec"], dict):
            raise ValueError(f"model {model['spec_id']}: must be from a study or a pycls sweep, which have specs")
        spec = ModelSpec.from_mapping(model["spec"])
        origin = provenance(model, sources[model["study"]])
        for path, refused in export_spec(spec, folder, model["rank"], formats, origin, force=force):
            written.append((path, model | {"refused": refused}))
    return written


def export_spec(
    spec: ModelSpec,
    folder: Path,
    number: int,
    formats: tuple[str, ...],
    origin: Mapping[str, Any] | None = None,
    *,
    force: bool = False,
) -> list[tuple[Path, dict[str, str]]]:
    """Write a spec as NUMBER-SPEC_ID.yaml or .json, or with other formats as a folder NUMBER-SPEC_ID.

    File names contain nothing else, because names of models and spaces come from files.

    Returns:
        The files, or the folder, each with the reasons of formats that cannot express the spec.

    Raises:
        ValueError: an unknown format, or a file that this tool did not write without `force`.
    """
    check_formats(formats)
    name = f"{int(number)}-{spec.spec_id[:8]}"
    if set(formats) <= set(SPECS):
        paths = [folder / f"{name}.{suffix}" for suffix in formats]
        for path in paths:
            check_output(path, force=force)
            save_spec(spec, path, origin)
        return [(path, {}) for path in paths]
    check_folder(folder / name, force=force)
    result = write(spec, formats, folder / name, provenance=origin)
    return [(result.folder, result.refused)]


def check_formats(formats: tuple[str, ...]) -> None:
    """Raise ValueError for an unknown format, or none."""
    for name in formats or ("",):
        if name not in FORMATS:
            raise ValueError(unknown("formats", name, FORMATS))


def keep_within(frame: pd.DataFrame, within: Mapping[str, tuple[float, float]]) -> pd.DataFrame:
    """The rows within the inclusive range of every column; ValueError for an unknown column or no row left."""
    for column, limits in within.items():
        if column not in frame:
            raise ValueError(unknown_column("within", column, frame))
        try:
            low, high = limits
        except (TypeError, ValueError):
            raise ValueError(f"within = {column}: {shorten(limits)}: must be a range (low, high)") from None
        inside = frame[column].between(low, high)
        if not inside.any():
            raise ValueError(f"within = {column}={low:g}:{high:g}: must contain some model")
        frame = frame[inside]
    return frame


def parse_within(text: str) -> dict[str, tuple[float, float]]:
    """Parse "macs=3e6:5e6,params=0:1e6" as columns with their lowest and highest value."""
    ranges = {}
    for part in filter(None, text.split(",")):
        column, _, values = part.partition("=")
        try:
            low, high = (float(value) for value in values.split(":"))
        except ValueError:
            raise ValueError(f"within = {shorten(part)}: must be COLUMN=LOW:HIGH, such as macs=3e6:5e6") from None
        ranges[column] = (low, high)
    return ranges


def provenance(model: dict[str, Any], source: Source) -> dict[str, Any]:
    """Origin, training and selection of an exported model, as plain values."""
    keys = (
        "study",
        "space",
        "index",
        "spec_id",
        "recipe_id",
        "data_id",
        "seed",
        "macs",
        "params",
        "acts",
        "started_at",
    )
    origin = {key: _plain(model.get(key)) for key in keys}
    git = (source.manifest.get("environment") or {}).get("git") or {}
    return {
        **{key: value for key, value in origin.items() if value not in (None, "")},
        f"{source.error.replace(' ', '_')}_percent": round(float(model["error_percent"]), 4),
        **_expected(model),
        "chosen": f"rank {model['rank']} of {model['candidates']} by last-epoch error"
        + (", which is optimistic" if model["candidates"] > 1 else ""),
        "trained": setting(source),
        **({"git_revision": git["revision"]} if git.get("revision") else {}),
    }


def _expected(model: dict[str, Any]) -> dict[str, Any]:
    """Expected error and 95 % prediction interval of another training, if the noise of one training is known."""
    if pd.isna(model["estimate"]):
        return {}
    columns = {
        "expected_error_percent": {"value": "estimate", "low": "estimate_lower", "high": "estimate_upper"},
        "retrained_error_percent": {"low": "retrained_lower", "high": "retrained_upper"},
    }
    return {name: {key: round(float(model[column]), 4) for key, column in of.items()} for name, of in columns.items()}


def _plain(value: Any) -> Any:
    value = value.item() if hasattr(value, "item") else value
    return None if isinstance(value, float) and pd.isna(value) else value
