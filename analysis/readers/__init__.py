"""Reading one study folder, table file or data frame as rows of our table."""

from __future__ import annotations

import json
import math
import re
import warnings
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from analysis.expressions import single_column
from analysis.formatting import Note, excluded, is_are
from analysis.readers.cells import Cells, frame_cells, read_delimited, read_parquet
from analysis.readers.columns import (
    TARGETS,
    block_widths,
    check_errors,
    check_names,
    one_row_per_seed,
    read_column,
    read_statuses,
    seed_of,
    with_names,
    with_outcomes,
)
from analysis.readers.nds import read_nds
from analysis.readers.pycls import read_pycls
from analysis.rows import COLUMNS, MISSING, PROBE_MEANS
from designspace import ModelSpec
from designspace.expressions import list_columns, quoted
from designspace.study import COLUMNS as RECORD_COLUMNS
from designspace.study import SCORES, Study, damaged_text

SUFFIXES = (".csv", ".csv.gz", ".tsv", ".tsv.gz", ".parquet", ".json")

COMPUTED = frozenset(
    [
        "study",
        "spec",
        "failed",
        "seeds",
        "fit_w_0",
        "fit_w_a",
        "fit_w_m",
        "fit_error",
        "fit_error_continuous",
        "rank",
        "candidates",
        "left_out",
        "stopped",
        "tied",
        "pareto",
        "estimate",
        "estimate_lower",
        "estimate_upper",
        "retrained_lower",
        "retrained_upper",
        "noise_sd",
        "noise_from",
        "regime",
        "regime_low",
        "regime_high",
    ]
)
"""Columns that the commands compute and write. They are ignored when such a file is read again."""


@dataclass(frozen=True)
class Part:
    """The rows of one study, file or data frame.

    Attributes:
        frame: rows with those columns of `analysis.rows.COLUMNS` that are available.
        parameters: names of the parameters.
        notes: notes on how it was read.
        trainings_named: whether the file names models and seeds, which identifies trainings across files.
        manifest: of a study; empty otherwise.
    """

    frame: pd.DataFrame
    parameters: list[str]
    notes: tuple[Note, ...] = ()
    trainings_named: bool = False
    manifest: dict[str, Any] = field(default_factory=dict)


def is_file(path: Path) -> bool:
    """Whether a path names a table file rather than a study folder."""
    return path.name.lower().endswith(SUFFIXES)


def read_study(path: Path) -> Part:
    """Read a study: one row per model, with its record if it has one; warn about damaged and unrelated records.

    Raises:
        FileNotFoundError: the folder is not a study.
        ValueError: a study without models, a damaged manifest or model list, or a spec that cannot be read, such as one
            with a block of a package that is not installed.
    """
    study = Study.open(path)
    if not study.models:
        raise ValueError(f"{path}: no models; run `designspace sweep` first")
    records, damaged = study.read_records()
    if damaged:
        text = f"{study.paths.root}: {damaged_text(damaged)}; their models count as missing until the next sweep"
        warnings.warn(text, stacklevel=3)
    if unrelated := study.foreign_records():
        text = f"{study.paths.root}: {unrelated} records belong to no model of models.jsonl and are excluded"
        warnings.warn(text, stacklevel=3)
    spaces, seed = study.config["spaces"], study.config.get("seed")
    draws: Counter[tuple[str, str]] = Counter()
    rows = []
    for model in study.models:
        row: dict[str, Any] = {name: getattr(model, name, None) for name in RECORD_COLUMNS if name != "parameters"}
        row |= {name: study.manifest[name] for name in ("recipe_id", "data_id")}
        if (record := records.get(model.key)) is None:  # draws of one network share a record
            row |= {"status": MISSING, "message": ""}
        else:
            # models.jsonl has origin and complexity, the record has the outcome.
            row = {name: getattr(record, name) if value is None else value for name, value in row.items()}
        stream = spaces.get(model.space, {}).get("name", model.space)
        row["draw_id"] = f"{stream}/{seed}/{draws[model.space, model.key]}"
        draws[model.space, model.key] += 1
        try:
            row["block_widths"] = ModelSpec.from_mapping(model.spec).block_widths
        except ValueError as error:  # such as a block of a package that is not installed
            raise ValueError(f"{study.paths.root}: model {model.space}/{model.index}: {error}") from None
        rows.append(row | _flat(model.parameters, row))
    frame = pd.DataFrame(rows)
    for name in PROBE_MEANS:
        values = frame[name.removeprefix("mean_")].map(_mean)
        if values.notna().any():
            frame[name] = values
    absent = [name for name in SCORES if frame[name].isna().all()]
    frame = frame.drop(columns=absent).astype({name: float for name in SCORES if name not in absent})
    return Part(frame, [str(key) for key in frame if key not in COLUMNS], manifest=dict(study.manifest))


def _mean(values: tuple[float | None, ...] | None) -> float:
    """The mean of the numbers; NaN without any."""
    numbers = [value for value in values or () if value is not None]
    return sum(numbers) / len(numbers) if numbers else math.nan


def _flat(parameters: dict[str, Any], row: dict[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in parameters.items():
        if isinstance(value, list | tuple):
            flat |= {f"{name}_{stage}": item for stage, item in enumerate(value, start=1)}
        elif name not in row:  # depth is both a parameter and a complexity, with one value
            flat[name] = value
    return flat


def read_file(path: Path, columns: Mapping[str, str]) -> Part:
    """Read a table file.

    Args:
        path: .csv, .tsv, either with .gz, .parquet, or .json of NDS or pycls, recognized by its keys.
        columns: column map, such as {"error": "top1_err", "macs": "gmacs*1e9"}; see `analysis.readers.columns`. For
            JSON it applies to the columns with our names.

    Raises:
        FileNotFoundError: no such file.
        ValueError: no error column, an invalid map, an unreadable cell, or JSON of another kind.
    """
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file")
    if path.suffix.lower() == ".json":
        _check_map(columns)
        raw, parameters, notes = _read_json(path)
        return _part(Cells(path, raw, range(1, len(raw) + 1), "record"), columns, raw.copy(), parameters, [*notes])
    return _read_cells(read_parquet(path) if path.suffix.lower() == ".parquet" else read_delimited(path), columns)


def read_frame(frame: pd.DataFrame, name: str, columns: Mapping[str, str]) -> Part:
    """Read a data frame like a file; its name is the default space."""
    return _read_cells(frame_cells(frame, Path(name)), columns)


def _check_map(columns: Mapping[str, str]) -> None:
    check_names(columns)
    for name in sorted(COMPUTED.intersection(columns)):
        raise ValueError(
            f"columns = {name}: must not be the name of a computed column; choose another, such as my_{name}"
        )


def _read_cells(cells: Cells, columns: Mapping[str, str]) -> Part:
    """Apply the map and the columns that already have our names; all other columns stay as they are."""
    _check_map(columns)
    cells, notes = _without_repeats(cells, columns)
    names, targets = list(map(str, cells.frame)), {TARGETS.get(name, name) for name in columns}
    own = [name for name in names if name in TARGETS.values() and name not in targets]
    if any(seed_of(name) is not None for name in columns):  # they replace an error per model
        own = [name for name in own if name != "error_percent"]
    columns = {**{name: quoted(name) for name in own}, **columns}
    check_names(columns)
    rest = {name: cells.typed(name) for name in names if name not in (*COMPUTED, *own, *targets)}
    return _part(cells, columns, pd.DataFrame(rest, index=cells.frame.index), [], notes)


def _part(
    cells: Cells, columns: Mapping[str, str], frame: pd.DataFrame, parameters: list[str], notes: list[Note]
) -> Part:
    """Apply the map to the cells and complete the frame, which has the same rows."""
    path, label, is_json = cells.path, cells.path.name, cells.unit == "record"
    mapped, status_note = _mapped(cells, columns)
    notes = [note for note in notes if note.about not in mapped]
    notes += [Note(label, status_note)] if status_note else []
    frame = frame.drop(columns=list(mapped), errors="ignore")
    frame = pd.concat([frame, pd.DataFrame(mapped, index=frame.index)], axis=1)
    seeds = [name for name in columns if seed_of(name) is not None]
    if "error_percent" not in frame and not seeds:
        raise ValueError(
            f"{path}: error_percent: required and missing; map it, such as error=top1_err; "
            f"columns: {list_columns(cells.frame)}"
        )
    if "space" in mapped:
        named = mapped["space"].replace("", None).notna()
        if not named.any():
            raise ValueError(f"{path}: space = {columns['space']}: must have a value in some row")
        if not named.all():
            notes.append(Note(label, excluded(int((~named).sum()), len(frame), "space")))
            frame, cells = frame[named].reset_index(drop=True), cells.keep(named)
    models_named = "spec_id" in frame
    if not is_json:
        frame, name_note = with_names(frame, _stem(path), [f"{cells.unit} {place}" for place in cells.places])
        notes += [Note(label, name_note)] if name_note else []
    frame = one_row_per_seed(frame, seeds)
    seeded = "seed" in frame
    frame, unused = with_outcomes(frame)
    if unused:
        what = "1 error of a model that is" if unused == 1 else f"{unused:,} errors of models that are"
        notes.append(Note(label, f"{what} not ok {is_are(unused)} not final and not used"))
    parameters += [name for name in columns if name not in (*TARGETS, *seeds, *parameters)]
    return Part(frame, parameters, tuple(notes), models_named and seeded)


def _mapped(cells: Cells, columns: Mapping[str, str]) -> tuple[dict[str, pd.Series], str]:
    """The mapped columns by their names in our table, checked, and the note on status words."""
    mapped = {TARGETS.get(name, name): read_column(cells, name, text) for name, text in columns.items()}
    status_note = ""
    if "status" in mapped:
        mapped["status"], status_note = read_statuses(mapped["status"], str(cells.path))
    if "block_widths" in mapped:
        mapped["block_widths"] = block_widths(cells, mapped["block_widths"], mapped.pop("stage_depths", None))
        mapped.setdefault("depth", mapped["block_widths"].map(len, na_action="ignore"))
    for name, text in columns.items():
        if TARGETS.get(name) == "error_percent" or seed_of(name) is not None:
            kind = "error_percent" if cells.unit == "record" else name  # the errors of NDS and pycls are percent
            check_errors(cells, kind, text, mapped[TARGETS.get(name, name)], mapped.get("status"))
    return mapped, status_note


def _read_json(path: Path) -> tuple[pd.DataFrame, list[str], tuple[Note, ...]]:
    try:
        text = path.read_bytes()
        content: Any = json.loads(text)
        if re.search(rb"\\u[dD][89a-fA-F]", text):  # replace unpaired surrogates, which a table cannot store
            content = json.loads(json.dumps(content, ensure_ascii=False).encode("utf-8", "replace"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: not a JSON file ({error})") from None
    groups = list(content.values()) if isinstance(content, dict) else [content]
    records = [record for group in groups if isinstance(group, list) for record in group if isinstance(record, dict)]
    if any("net" in record for record in records):
        return read_nds(content, path.stem)
    if isinstance(content, list) and any("cfg" in job for job in records):  # a job that died early has no cfg
        return read_pycls(content, path.resolve().parent.name if path.stem.lower() == "sweep" else path.stem)
    raise ValueError(f"{path}: must be an NDS file (records with 'net') or a sweep.json of pycls (jobs with 'cfg')")


def _without_repeats(cells: Cells, columns: Mapping[str, str]) -> tuple[Cells, list[Note]]:
    """Exclude rows that repeat another in all columns, unless no column distinguishes models."""
    distinguishing = set(map(str, cells.frame)) - {"space", "status", "message", "error_percent", "seed"}
    for name, expression in columns.items():
        if name in ("error", "error_percent", "space", "status", "message", "seed") or seed_of(name) is not None:
            distinguishing.discard(single_column(expression, distinguishing) or "")
    repeats = cells.frame.apply(_hashable).duplicated()
    count = int(repeats.sum())
    if not count:
        return cells, []
    rows = f"{count:,} of {len(repeats):,} rows {'repeats' if count == 1 else 'repeat'} another in all columns"
    if not distinguishing:
        return cells, [Note(cells.path.name, f"{rows}; each counts, since no column distinguishes models")]
    return cells.keep(~repeats), [Note(cells.path.name, f"{rows} and {is_are(count)} excluded")]


def _hashable(column: pd.Series) -> pd.Series:
    """The column, or its cells as text if some are lists or mappings."""
    lists = column.dtype == object and not column.map(lambda cell: isinstance(cell, str)).all()
    return column.map(repr) if lists else column


def _stem(path: Path) -> str:
    """The file name without its suffix."""
    suffixes = sorted((suffix for suffix in SUFFIXES if path.name.lower().endswith(suffix)), key=len)
    return path.name[: -len(suffixes[-1])] or path.name if suffixes else path.name
