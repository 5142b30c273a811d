"""The table that every statistic reads: one row per draw and training seed, trained or not."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from analysis.formatting import Note, merged
from analysis.readers import is_foreign, read_foreign
from analysis.trainings import MISSING, drop_duplicate_trainings
from designspace import ModelSpec
from designspace import study as study_folder
from designspace.study import COLUMNS as RECORD_COLUMNS
from designspace.study import damaged_text

TABLE_COLUMNS = {
    "study": "name of the study folder or table",
    **{name: column.meaning for name, column in RECORD_COLUMNS.items() if name != "parameters"},
    "status": "as in a record, or 'missing' for a model that was drawn and has no record yet",
    "draw_id": "with spec_id, one draw of a population: stream and seed of the sampling, earlier draws of the network",
    "block_widths": "width of each block, a tuple of integers",
}
"""Meaning of each column; the space's free parameters follow, flattened (a list becomes name_1, name_2, ...).

Other people's tables have those that their file gives (`analysis.foreign`), at least error_percent; recipe_id and
data_id are None where it does not."""


@dataclass(frozen=True)
class Study:
    """What a study folder or table says besides its models: name, place, manifest ({} for a table)."""

    name: str
    folder: Path
    manifest: dict[str, Any]

    @property
    def error(self) -> str:
        """What its errors are: of the validation split for our studies; a table does not say of which split."""
        return "validation error" if self.manifest else "error"


@dataclass(frozen=True)
class Table:
    """Models of one or more studies.

    Attributes:
        frame: one row a training (of a model from a seed), columns as in TABLE_COLUMNS and the free parameters.
        studies: the studies, in the order given.
        parameters: names of the free-parameter columns, in the order met, `depth` first if there is one.
        notes: sentences to repeat with every result.
    """

    frame: pd.DataFrame
    studies: tuple[Study, ...]
    parameters: tuple[str, ...]
    notes: tuple[str, ...] = ()


def load(*paths: str | Path, columns: Mapping[str, str] | None = None) -> pd.DataFrame:
    """The table of one or more study folders and table files as a frame; see `load_table`."""
    return load_table(*paths, columns=columns).frame


def load_table(*paths: str | Path, columns: Mapping[str, str] | None = None) -> Table:
    """Read study folders and other people's tables into one table.

    Args:
        paths: study folders written by `designspace sweep`, complete or not; files (.csv, .tsv, either with .gz,
            .parquet, NDS or pycls .json).
        columns: column map of the files, name to expression, e.g. {"error": "100-acc", "macs": "gmacs*1e9"}; names as
            in `analysis.column_map.TARGETS`, any other name becomes a parameter.

    Returns:
        The table. If a space of the same name is in several studies with different recipes or data, or in tables that
        do not state theirs, its label becomes "study/space"; see `_separate` for tables that hold seeds of one recipe.

    Raises:
        FileNotFoundError: a folder is not a study, or a file is not there.
        ValueError: no path, the same path twice, a study without models, a column map that does not fit.
    """
    if not paths:
        raise ValueError("no study folder or table given; name at least one, e.g. runs/demo")
    places = [Path(path) for path in paths]
    if len({path.resolve() for path in places}) < len(places):
        raise ValueError(f"a study folder or table is given twice: {', '.join(map(str, places))}")
    if columns and not any(map(is_foreign, places)):
        raise ValueError("map is for tables (.csv, .parquet, .json); study folders name their columns themselves")
    studies, parts, parameters = [], [], ["depth"]
    notes: list[Note] = []
    named: set[str] = set()
    for path, name in zip(places, _names(places), strict=True):
        if is_foreign(path):
            foreign = read_foreign(path, columns or {})
            part, own_parameters = foreign.frame, foreign.parameters
            notes += foreign.notes
            named |= {name} if foreign.trainings_named else set()
            studies.append(Study(name, path, {}))
        else:
            folder = study_folder.Study.open(path)
            if not folder.models:
                raise ValueError(f"{path} has no models in models.jsonl; run `designspace sweep` first")
            part = pd.DataFrame(_rows(folder))
            own_parameters = [str(key) for key in part if key not in TABLE_COLUMNS]
            studies.append(Study(name, path, dict(folder.manifest)))
        parts.append(part.assign(study=name))
        parameters += [key for key in own_parameters if key not in parameters]
    frame = parts[0] if len(parts) == 1 else pd.concat(parts, ignore_index=True)
    frame = frame[["study", *(c for c in frame if c != "study")]]
    frame, pooled = _separate(frame, named)
    frame, repeated = drop_duplicate_trainings(frame)
    present = tuple(name for name in parameters if name in frame and frame[name].notna().any())
    return Table(frame, tuple(studies), present, (*merged([*notes, *pooled]), *repeated))


def validation_size(studies: Sequence[Study]) -> int | None:
    """Images of the smallest validation split of the studies; None where some study does not say."""
    sizes = [((study.manifest.get("config") or {}).get("data") or {}).get("validation_size") for study in studies]
    known = [int(size) for size in sizes if isinstance(size, int) and size > 0]
    return min(known) if known and len(known) == len(studies) else None


def _names(paths: list[Path]) -> list[str]:
    """Folder names, lengthened by their parents where two are the same."""
    for parts in range(1, 1 + max(len(path.resolve().parts) for path in paths)):
        names = ["/".join(path.resolve().parts[-parts:]) for path in paths]
        if len(set(names)) == len(names):
            break
    return names


def _rows(folder: study_folder.Study) -> list[dict[str, Any]]:
    """One row per model, with its record where it has one; warns of records that are damaged or of no model."""
    records, damaged = folder.read_records()
    if damaged:
        text = f"{folder.paths.root}: {damaged_text(damaged)}; their models count as missing until the next sweep"
        warnings.warn(text, stacklevel=4)
    if foreign := folder.foreign_records():
        text = f"{folder.paths.root}: {foreign} records belong to no model of models.jsonl and are left out"
        warnings.warn(text, stacklevel=4)
    spaces, seed = folder.config["spaces"], folder.config.get("seed")
    earlier: Counter[tuple[str, str]] = Counter()
    rows = []
    for model in folder.models:
        row: dict[str, Any] = {name: getattr(model, name, None) for name in RECORD_COLUMNS if name != "parameters"}
        if (record := records.get(model.key)) is None:  # draws of one network share a record
            row |= {name: folder.manifest[name] for name in ("recipe_id", "data_id")}
            row |= {"status": MISSING, "message": ""}
        else:
            # Origin and complexity of a model are those in models.jsonl, the outcome is the record's.
            row = {name: getattr(record, name) if value is None else value for name, value in row.items()}
        stream = spaces.get(model.space, {}).get("name", model.space)
        row["draw_id"] = f"{stream}/{seed}/{earlier[model.space, model.key]}"
        earlier[model.space, model.key] += 1
        row["block_widths"] = ModelSpec.from_mapping(model.spec).block_widths
        rows.append(row | _flat(model.parameters, row))
    return rows


def _flat(parameters: dict[str, Any], row: dict[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in parameters.items():
        if isinstance(value, list | tuple):
            flat |= {f"{name}_{stage}": item for stage, item in enumerate(value, start=1)}
        elif name not in row:  # depth is a parameter and a complexity; they agree
            flat[name] = value
    return flat


def _separate(frame: pd.DataFrame, named: set[str]) -> tuple[pd.DataFrame, list[Note]]:
    """Spaces of one name as "study/space", unless their models were trained with one recipe on the same data.

    A table that states no recipe may have any. Its spaces are pooled with those of another table only if both name
    models and seeds (`named`), share models, and nowhere give one training two errors.
    """
    groups = frame.groupby("space", sort=False)
    settings = groups[["recipe_id", "data_id"]].nunique().max(axis=1)
    apart, notes = set(settings.index[settings > 1]), []
    several = groups["study"].nunique()
    for label in several.index[several > 1].difference(list(apart)):
        part = frame[frame["space"] == label]
        if part["recipe_id"].notna().all():
            continue
        if set(part["study"]) <= named and _same_trainings(part):
            text = "its tables share models and count as seeds of one recipe; map recipe_id if the recipes differ"
            notes.append(Note(str(label), text))
        else:
            apart.add(label)
    mixed = frame["space"].isin(apart)
    frame.loc[mixed, "space"] = frame["study"] + "/" + frame["space"]
    return frame, notes


def _same_trainings(part: pd.DataFrame) -> bool:
    """Whether every study shares a model with another one, and equal seeds of a model have equal errors everywhere."""
    shared = part.groupby("spec_id")["study"].transform("nunique") > 1
    if part.loc[shared, "study"].nunique() < part["study"].nunique():
        return False
    values = part.groupby(["spec_id", "seed"])[["study", "error_percent"]].nunique()
    return not (values > 1).all(axis=1).any()
