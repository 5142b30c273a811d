"""Other people's tables: CSV and Parquet with a column map, the JSON files of NDS, the sweep.json of pycls."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from analysis.cells import Cells
from analysis.column_map import TARGETS, block_widths, check_errors, check_names, read_column, seed_of
from analysis.completion import one_row_per_seed, with_names, with_outcomes
from analysis.delimited import read_delimited
from analysis.expression import column_names, quoted, single_column
from analysis.nds import read_nds
from analysis.notes import Note, is_are, left_out
from analysis.pycls import read_pycls
from analysis.select import SELECT_COLUMNS
from analysis.statuses import read_statuses
from analysis.widths import FIT_COLUMNS

TEXT_SUFFIXES = (".csv", ".csv.gz", ".tsv", ".tsv.gz")
SUFFIXES = (*TEXT_SUFFIXES, ".parquet", ".json")

COMPUTED = {"study", "failed", "spec", "fit_error_continuous", *FIT_COLUMNS}
COMPUTED |= {*", ".join(SELECT_COLUMNS).split(", ")} - {"error_percent"}
"""Columns the commands compute, and write into files that may be read again; those of a file are left out."""


@dataclass(frozen=True)
class Foreign:
    """One file as our table.

    Attributes:
        frame: rows with the columns of `analysis.table.TABLE_COLUMNS` that are known.
        parameters: names of the parameters.
        notes: remarks a reader of any result needs.
        trainings_named: whether the file names models and seeds, so that trainings of one model in two files are
            recognized.
    """

    frame: pd.DataFrame
    parameters: list[str]
    notes: tuple[Note, ...]
    trainings_named: bool


def is_foreign(path: Path) -> bool:
    """Whether a path is a table rather than a study folder."""
    return path.name.lower().endswith(SUFFIXES)


def read_foreign(path: Path, columns: Mapping[str, str]) -> Foreign:
    """Read one file.

    Args:
        path: .csv, .tsv, either with .gz, .parquet, or .json (NDS or pycls, recognized by their keys).
        columns: column map, e.g. {"error": "top1_err", "macs": "gmacs*1e9"}; see `analysis.column_map`. For JSON it is
            applied after the file's own vocabulary has been translated, and may be empty.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: no error column, a map that does not fit, a cell that cannot be read, a JSON file of another kind.
    """
    if not path.exists():
        raise FileNotFoundError(f"{path}: there is no such table")
    check_names(columns)
    reserved = sorted(COMPUTED.intersection(columns))
    if reserved:
        raise ValueError(f"map names {reserved[0]}, which is computed; choose another name, e.g. my_{reserved[0]}")
    if path.suffix.lower() == ".json":
        raw, parameters, notes = _json(path)
        return _read(Cells(path, raw, range(1, len(raw) + 1), "record"), columns, raw.copy(), parameters, [*notes])
    cells = _parquet(path) if path.suffix.lower() == ".parquet" else read_delimited(path)
    cells, repeated = _without_repeats(cells, columns)
    names, targets = list(map(str, cells.frame)), {TARGETS.get(name, name) for name in columns}
    own = [name for name in names if name in TARGETS.values() and name not in targets]
    if any(seed_of(name) is not None for name in columns):  # they replace an error per model
        own = [name for name in own if name != "error_percent"]
    columns = {**{name: quoted(name) for name in own}, **columns}
    check_names(columns)
    rest = {name: cells.typed(name) for name in names if name not in (*COMPUTED, *own, *targets)}
    return _read(cells, columns, pd.DataFrame(rest, index=cells.frame.index), [], repeated)


def _read(
    cells: Cells, columns: Mapping[str, str], frame: pd.DataFrame, parameters: list[str], notes: list[Note]
) -> Foreign:
    """Apply the map to the cells and complete the frame, whose rows are those of the cells."""
    path, label, is_json = cells.path, cells.path.name, cells.unit == "record"
    mapped, words = _mapped(cells, columns)
    notes = [*(note for note in notes if note.about not in mapped), *([Note(label, words)] if words else [])]
    frame = frame.drop(columns=list(mapped), errors="ignore")
    frame = pd.concat([frame, pd.DataFrame(mapped, index=frame.index)], axis=1)
    seeds = [name for name in columns if seed_of(name) is not None]
    if "error_percent" not in frame and not seeds:
        raise ValueError(
            f"{path} has no column error_percent; say where it is, e.g. --map error=top1_err; "
            f"the columns are {column_names(cells.frame)}"
        )
    if "space" in mapped:
        known = mapped["space"].replace("", None).notna()
        if not known.any():
            raise ValueError(f"{path}: space = {columns['space']}: no row has a value")
        if not known.all():
            notes.append(Note(label, left_out(int((~known).sum()), len(frame), "space")))
            frame, cells = frame[known].reset_index(drop=True), cells.keep(known)
    named = "spec_id" in frame
    if not is_json:
        frame, remark = with_names(frame, _stem(path), [f"{cells.unit} {place}" for place in cells.places])
        notes += [Note(label, remark)] if remark else []
    frame = one_row_per_seed(frame, seeds)
    seeded = "seed" in frame
    frame, unused = with_outcomes(frame)
    if unused:
        what = "1 error of a model that is" if unused == 1 else f"{unused:,} errors of models that are"
        notes.append(Note(label, f"{what} not ok {is_are(unused)} not final and not used"))
    parameters += [name for name in columns if name not in (*TARGETS, *seeds, *parameters)]
    return Foreign(frame, parameters, tuple(notes), named and seeded)


def _mapped(cells: Cells, columns: Mapping[str, str]) -> tuple[dict[str, pd.Series], str]:
    """The columns of the map by their names in our table, checked, and how status words were read."""
    mapped = {TARGETS.get(name, name): read_column(cells, name, text) for name, text in columns.items()}
    words = ""
    if "status" in mapped:
        mapped["status"], words = read_statuses(mapped["status"], str(cells.path))
    if "block_widths" in mapped:
        mapped["block_widths"] = block_widths(cells, mapped["block_widths"], mapped.pop("stage_depths", None))
        mapped.setdefault("depth", mapped["block_widths"].map(len, na_action="ignore"))
    for name, text in columns.items():
        if TARGETS.get(name) == "error_percent" or seed_of(name) is not None:
            kind = "error_percent" if cells.unit == "record" else name  # the errors of NDS and pycls are percent
            check_errors(cells, kind, text, mapped[TARGETS.get(name, name)], mapped.get("status"))
    return mapped, words


def _json(path: Path) -> tuple[pd.DataFrame, list[str], tuple[Note, ...]]:
    try:
        text = path.read_bytes()
        content: Any = json.loads(text)
        if re.search(rb"\\u[dD][89a-fA-F]", text):  # half a character, which no table can hold, becomes "?"
            content = json.loads(json.dumps(content, ensure_ascii=False).encode("utf-8", "replace"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: not a JSON file ({error})") from None
    groups = list(content.values()) if isinstance(content, dict) else [content]
    records = [record for group in groups if isinstance(group, list) for record in group if isinstance(record, dict)]
    if any("net" in record for record in records):
        return read_nds(content, path.stem)
    if isinstance(content, list) and any("cfg" in job for job in records):  # a job may die before it says what it is
        return read_pycls(content, path.resolve().parent.name if path.stem.lower() == "sweep" else path.stem)
    raise ValueError(f"{path} is neither an NDS file (records with 'net') nor a sweep.json of pycls (jobs with 'cfg')")


def _parquet(path: Path) -> Cells:
    try:
        raw = pd.read_parquet(path)
    except (ValueError, OSError) as error:
        raise ValueError(f"{path}: not a Parquet file that can be read ({error})") from None
    raw = raw if raw.index.names == [None] else raw.reset_index()
    raw = raw.reset_index(drop=True).rename(columns=str)
    if raw.empty:
        raise ValueError(f"{path} has no rows")
    return Cells(path, raw, range(1, len(raw) + 1), "row")


def _without_repeats(cells: Cells, columns: Mapping[str, str]) -> tuple[Cells, list[Note]]:
    """Leave out rows that repeat another in all columns, unless no column tells two models apart."""
    telling = set(map(str, cells.frame)) - {"space", "status", "message", "error_percent", "seed"}
    for name, expression in columns.items():
        if name in ("error", "error_percent", "space", "status", "message", "seed") or seed_of(name) is not None:
            telling.discard(single_column(expression, telling) or "")
    repeats = cells.frame.apply(_hashable).duplicated()
    count = int(repeats.sum())
    if not count:
        return cells, []
    rows = f"{count:,} of {len(repeats):,} rows {'repeats' if count == 1 else 'repeat'} another in all columns"
    if not telling:
        return cells, [Note(cells.path.name, f"{rows}; as no column tells models apart, each counts")]
    return cells.keep(~repeats), [Note(cells.path.name, f"{rows} and {is_are(count)} left out")]


def _hashable(column: pd.Series) -> pd.Series:
    """The column, or its cells as text where some are lists or mappings, which have no hash."""
    lists = column.dtype == object and not column.map(lambda cell: isinstance(cell, str)).all()
    return column.map(repr) if lists else column


def _stem(path: Path) -> str:
    """The file's name without its suffix."""
    suffix = next(suffix for suffix in sorted(SUFFIXES, key=len, reverse=True) if path.name.lower().endswith(suffix))
    return path.name[: -len(suffix)] or path.name
