"""Loading studies, files and data frames into one table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from analysis.formatting import Note, merge_notes
from analysis.readers import is_file, read_file, read_frame, read_study
from analysis.readers.latency import join_latency
from analysis.rows import Source, drop_duplicate_trainings
from analysis.table import Table
from designspace.study import StudyPaths, find_studies
from designspace.validated import shorten


def load(
    *tables: str | Path | pd.DataFrame, columns: Mapping[str, str] | None = None, latency: str | None = None
) -> Table:
    """Load study folders, table files and data frames into one table.

    Args:
        tables: folders written by `designspace sweep`, finished or not, or folders of such folders; files (.csv, .tsv,
            either with .gz, .parquet, .json of NDS or pycls); data frames.
        columns: column map of files and data frames, name to expression, such as {"error": "100 - acc", "space":
            "arch"}. Names are error (percent), name, space, macs, params, acts, latency_ms, depth, seed, index, status,
            message, recipe_id, data_id, proposed_by, widths (of blocks; of stages with depths), error_1, error_2, …
            (one per seed); any other name becomes a parameter. Expressions consist of numbers, columns, + - * / and
            parentheses.
        latency: name of the condition, or its beginning, for the column latency_ms of studies with measured latencies;
            by default the one with the most networks.

    Returns:
        The table. A space of several sources is labeled "study/space" if their recipes or data differ or are unknown,
        unless files share models and name their seeds. Those are seeds of one recipe.

    Raises:
        FileNotFoundError: a folder is not a study, or a file does not exist.
        ValueError: no source, a repeated source, a study without models, or an invalid column map.
    """
    if not tables:
        raise ValueError("tables: must have at least one study folder or table, such as runs/demo")
    for table in tables:
        if not isinstance(table, str | Path | pd.DataFrame):
            raise ValueError(f"tables = {shorten(table)}: must be study folders, table files or data frames")
    if columns is not None and not isinstance(columns, Mapping):
        raise ValueError(f"columns = {shorten(columns)}: must be a mapping, such as {{'error': '100 - acc'}}")
    paths = [path for table in tables for path in _expand(table)]
    names = _names(paths)
    if columns and all(isinstance(path, Path) and not is_file(path) for path in paths):
        raise ValueError("columns: must be omitted for study folders, whose columns have fixed names")
    sources, frames, parameters = [], [], ["depth"]
    notes: list[Note] = []
    identified: set[str] = set()
    for path, name in zip(paths, names, strict=True):
        if isinstance(path, pd.DataFrame):
            part, path = read_frame(path, name, columns or {}), Path(name)
        else:
            part = read_file(path, columns or {}) if is_file(path) else read_study(path)
        frames.append(part.frame.assign(study=name))
        sources.append(Source(name, path, part.manifest))
        notes += part.notes
        identified |= {name} if part.trainings_named else set()
        parameters += [key for key in part.parameters if key not in parameters]
    frame = frames[0] if len(frames) == 1 else pd.concat(frames, ignore_index=True)
    frame = frame[["study", *(c for c in frame if c != "study")]]
    frame, pooled = _separate(frame, identified)
    frame, repeated = drop_duplicate_trainings(frame)
    studies = [source.path for source in sources if source.manifest]
    frame, latencies = join_latency(frame, [StudyPaths(path).latency for path in studies], latency)
    present = tuple(name for name in parameters if name in frame and frame[name].notna().any())
    return Table(frame, tuple(sources), present, (*merge_notes([*notes, *pooled]), *repeated, *latencies))


load_table = load
"""The name of `load` in earlier versions."""


def _expand(table: str | Path | pd.DataFrame) -> list[Path | pd.DataFrame]:
    """The studies of a folder of studies; everything else as it is."""
    if isinstance(table, pd.DataFrame):
        return [table]
    path = Path(table)
    return [*find_studies(path)] or [path]


def _names(paths: Sequence[Path | pd.DataFrame]) -> list[str]:
    """Names of the sources: of folders and files, with as many parents as make them distinct."""
    frames = sum(isinstance(path, pd.DataFrame) for path in paths)
    places = [path.resolve() for path in paths if isinstance(path, Path)]
    if len(set(places)) < len(places):
        repeated = next(path for path in places if places.count(path) > 1)
        raise ValueError(f"tables = {repeated}: must be given only once")
    names: list[str] = []
    for parts in range(1, 1 + max((len(path.parts) for path in places), default=0)):
        names = ["/".join(path.parts[-parts:]) for path in places]
        if len(set(names)) == len(names):
            break
    labels, numbers = iter(names), iter(range(1, frames + 1))
    one = frames == 1
    return [next(labels) if isinstance(p, Path) else "frame" if one else f"frame {next(numbers)}" for p in paths]


def _separate(frame: pd.DataFrame, identified: set[str]) -> tuple[pd.DataFrame, list[Note]]:
    """Label spaces of one name "study/space", unless their models were trained with one recipe on the same data.

    A file without recipe_id may have any recipe. Its spaces are pooled with those of another file only if both name
    models and seeds (`identified`), share models, and never give one training two errors.
    """
    groups = frame.groupby("space", sort=False)
    settings = groups[["recipe_id", "data_id"]].nunique().max(axis=1)
    separate, notes = set(settings.index[settings > 1]), []
    several = groups["study"].nunique()
    for label in several.index[several > 1].difference(list(separate)):
        part = frame[frame["space"] == label]
        if part["recipe_id"].notna().all():
            continue
        if set(part["study"]) <= identified and _same_trainings(part):
            text = "its tables share models and count as seeds of one recipe; map recipe_id if the recipes differ"
            notes.append(Note(str(label), text))
        else:
            separate.add(label)
    mixed = frame["space"].isin(separate)
    frame.loc[mixed, "space"] = frame["study"] + "/" + frame["space"]
    return frame, notes


def _same_trainings(part: pd.DataFrame) -> bool:
    """Whether every study shares a model with another one, and equal seeds of a model have equal errors everywhere."""
    shared = part.groupby("spec_id")["study"].transform("nunique") > 1
    if part.loc[shared, "study"].nunique() < part["study"].nunique():
        return False
    values = part.groupby(["spec_id", "seed"])[["study", "error_percent"]].nunique()
    return not (values > 1).all(axis=1).any()
