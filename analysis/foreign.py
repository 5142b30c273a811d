"""Tables other people made: CSV and Parquet with a column map, the JSON files of NDS, the sweep.json of pycls."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from analysis.expression import evaluate
from analysis.nds import read_nds
from analysis.pycls import read_pycls

SUFFIXES = (".csv", ".csv.gz", ".parquet", ".json")

TARGETS = {
    "error": "error_percent",
    "name": "spec_id",
    **{name: name for name in ("error_percent", "spec_id", "macs", "params", "acts", "depth")},
    **{name: name for name in ("space", "index", "seed", "status", "message", "recipe_id", "data_id")},
}
"""Names of a column map that mean a column of the table; `error_1`, `error_2`, … are the errors of several seeds, and
every other name becomes a parameter of its own."""


def is_foreign(path: Path) -> bool:
    """Whether a path is a table of other people's making rather than a study folder."""
    return path.name.lower().endswith(SUFFIXES)


def read_foreign(path: Path, columns: Mapping[str, str]) -> tuple[pd.DataFrame, list[str], tuple[str, ...]]:
    """Read one file.

    Args:
        path: .csv, .csv.gz, .parquet, or .json (NDS or pycls, told apart by their keys).
        columns: column map, e.g. {"error": "top1_err", "macs": "gmacs*1e9"}; see `analysis.expression`. For JSON it
            is applied after the file's own vocabulary has been translated, and may be empty.

    Returns:
        Rows with the columns of `analysis.table.TABLE_COLUMNS` that are known; names of the parameters; sentences a
        reader of any result has to know.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: no error column, an expression that does not fit, a JSON file of another kind.
    """
    if not path.exists():
        raise FileNotFoundError(f"{path}: there is no such table")
    parameters: list[str] = []
    notes: tuple[str, ...] = ()
    if path.suffix == ".json":
        raw, parameters, notes = _json(path)
    elif path.suffix == ".parquet":
        raw = pd.read_parquet(path)
    else:
        # A name such as 00000012 is text, whatever it looks like.
        names = [columns[key] for key in ("name", "spec_id") if key in columns]
        raw = pd.read_csv(path, dtype=dict.fromkeys(names, str))
    if raw.empty:
        raise ValueError(f"{path} has no rows")
    frame = raw.copy()
    for name, expression in columns.items():
        target = TARGETS.get(name, name)
        frame[target] = evaluate(expression, raw)
        if target == "error_percent":
            notes = tuple(note for note in notes if "error" not in note)
        if name not in TARGETS and not _is_seed(name) and name not in parameters:
            parameters.append(name)
    frame = _one_row_a_seed(frame, columns)
    if "error_percent" not in frame:
        raise ValueError(
            f"{path} has no column error_percent; say where it is, e.g. --map error=top1_err; "
            f"the columns are {', '.join(map(str, raw.columns))}"
        )
    return _completed(frame, path), parameters, notes


def _json(path: Path) -> tuple[pd.DataFrame, list[str], tuple[str, ...]]:
    content: Any = json.loads(path.read_text())
    groups = list(content.values()) if isinstance(content, dict) else [content]
    records = [record for group in groups if isinstance(group, list) for record in group if isinstance(record, dict)]
    if records and "net" in records[0]:
        return read_nds(content, path.stem)
    if isinstance(content, list) and any("cfg" in job for job in records):  # a job may die before it says what it is
        return read_pycls(content, path.parent.name if path.stem == "sweep" else path.stem)
    raise ValueError(f"{path} is neither an NDS file (records with 'net') nor a sweep.json of pycls (jobs with 'cfg')")


def _is_seed(name: str) -> bool:
    return name.startswith("error_") and name[6:].isdigit()


def _one_row_a_seed(frame: pd.DataFrame, columns: Mapping[str, str]) -> pd.DataFrame:
    names = [name for name in columns if _is_seed(name)]
    if not names:
        return frame
    frame = frame.assign(index=frame["index"] if "index" in frame else range(len(frame)))
    parts = [frame.drop(columns=names).assign(seed=int(name[6:]), error_percent=frame[name]) for name in names]
    return pd.concat(parts, ignore_index=True)


def _completed(frame: pd.DataFrame, path: Path) -> pd.DataFrame:
    """The columns every table has, where the file says nothing: one study, one space, one seed, every row a model."""
    frame["error_percent"] = pd.to_numeric(frame["error_percent"], errors="coerce").astype(float)
    if "status" not in frame:
        frame["status"] = "ok"
    lost = frame["error_percent"].isna() & (frame["status"] == "ok")
    if "message" not in frame:
        frame["message"] = ""
    frame.loc[lost, "message"] = "the table has no error for it"
    # Unknown is not the same as good: without an error a model counts as failed, under the stated policy.
    frame.loc[lost, "status"] = "crashed"
    file = path.name.split(".")[0]
    # Two files are two recipes as far as anybody knows; spaces of one name in both are kept apart.
    defaults = {"space": file, "recipe_id": str(path), "data_id": None, "spec": None, "block_widths": None}
    for name, value in defaults.items():
        if name not in frame:
            frame[name] = value
    frame["space"] = frame["space"].astype(str)
    if "spec_id" not in frame:
        frame["spec_id"] = [f"{file}-{index}" for index in frame.get("index", range(len(frame)))]
    frame["spec_id"] = frame["spec_id"].astype(str)
    if "seed" not in frame:  # then a name that comes again is another model
        frame["seed"] = 0
        again = frame.groupby(["space", "spec_id"]).cumcount()
        frame["spec_id"] += [f" #{number + 1}" if number else "" for number in again]
    if "index" not in frame:
        frame["index"] = frame.groupby(["space", "spec_id"], sort=False).ngroup()
    for name in ("macs", "params", "acts"):
        if name not in frame:
            frame[name] = float("nan")
    return frame
