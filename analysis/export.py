"""The best models, or given specs, as spec files or as folders for other tools."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from analysis.expression import column_names
from analysis.select import select_best
from analysis.sentences import setting
from analysis.table import Study, Table, validation_size
from designspace import ModelSpec, save_spec
from designspace.export import FORMATS, check_folder, write
from designspace.outputs import check_output

SPECS = ("yaml", "json")


def export_best(
    table: Table,
    folder: Path,
    *,
    top: int = 3,
    formats: tuple[str, ...] = ("yaml",),
    objectives: tuple[str, ...] = (),
    within: Mapping[str, tuple[float, float]] | None = None,
    force: bool = False,
) -> list[tuple[Path, dict[str, Any]]]:
    """Write the best models of a table as RANK-SPEC_ID.yaml with a `provenance` mapping that `load_spec` ignores.

    With a format beyond yaml and json each model has a folder RANK-SPEC_ID with spec.yaml and a model card.

    Args:
        table: from `load_table`.
        folder: created if missing; files of the same name that this tool wrote are replaced.
        top: number of models, at least 1.
        formats: of FORMATS.
        objectives: columns to minimize besides the error; only models that no other beats in all of them are chosen.
        within: columns with the lowest and highest value of models that can be chosen.
        force: whether files of other origin may be replaced.

    Returns:
        The files or folders in order of rank, each with the model's row as a mapping; `refused` in it gives the
        reasons of formats that cannot express the model.

    Raises:
        ValueError: an unknown format, `top` below 1, no finished model, or a file that this tool did not write.
    """
    check_formats(formats)
    studies = {study.name: study for study in table.studies}
    frame = keep_within(table.frame, within or {})
    best = select_best(frame, top, objectives=objectives, validation_size=validation_size(table.studies))
    written = []
    for row in best.to_dict("records"):
        model = {str(key): value for key, value in row.items()}
        if not isinstance(model["spec"], dict):
            raise ValueError(f"{model['spec_id']} has no spec; only models of studies and of pycls can be written")
        spec = ModelSpec.from_mapping(model["spec"])
        origin = provenance(model, studies[model["study"]])
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
    """Write a spec as NUMBER-SPEC_ID.yaml (and .json), or with other formats as a folder NUMBER-SPEC_ID.

    Nothing else is part of a file name, because names of models and spaces come from files.

    Returns:
        The files, or the folder, each with the reasons of formats that cannot express the spec.

    Raises:
        ValueError: an unknown format, or a file that this tool did not write and `force` is not set.
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
            raise ValueError(f"format = {name!r}: must be one of {', '.join(FORMATS)}")


def keep_within(frame: pd.DataFrame, within: Mapping[str, tuple[float, float]]) -> pd.DataFrame:
    """The rows whose columns lie between two values, both included; ValueError for an unknown column or none left."""
    for column, (low, high) in within.items():
        if column not in frame:
            raise ValueError(f"within is {column}; the table has {column_names(frame)}")
        if not frame[column].between(low, high).any():
            raise ValueError(f"within is {column}={low:g}:{high:g}; no model lies there")
        frame = frame[frame[column].between(low, high)]
    return frame


def parse_within(text: str) -> dict[str, tuple[float, float]]:
    """`macs=3e6:5e6,params=0:1e6` as columns with their two ends."""
    ends = {}
    for part in filter(None, text.split(",")):
        column, _, values = part.partition("=")
        try:
            low, high = (float(value) for value in values.split(":"))
        except ValueError:
            raise ValueError(f"within is {part!r}; it is written COLUMN=LOW:HIGH, like macs=3e6:5e6") from None
        ends[column] = (low, high)
    return ends


def provenance(model: dict[str, Any], study: Study) -> dict[str, Any]:
    """Where an exported model comes from, how it was trained and how it was chosen, as plain values."""
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
    git = (study.manifest.get("environment") or {}).get("git") or {}
    return {
        **{key: value for key, value in origin.items() if value not in (None, "")},
        f"{study.error.replace(' ', '_')}_percent": round(float(model["error_percent"]), 4),
        **_expected(model),
        "chosen": f"rank {model['rank']} of {model['candidates']} by last-epoch error"
        + (", which is optimistic" if model["candidates"] > 1 else ""),
        "trained": setting(study),
        **({"git_revision": git["revision"]} if git.get("revision") else {}),
    }


def _expected(model: dict[str, Any]) -> dict[str, Any]:
    """Expected error and 95 % prediction interval of one more training, where the noise of a training is known."""
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
