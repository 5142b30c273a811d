"""Conditions on a table, spaces defined by a column, and families of spaces."""

from __future__ import annotations

import json
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import takewhile
from typing import Any, TypeVar

import numpy as np
import pandas as pd

from analysis.expressions import split_items, with_expression
from analysis.formatting import excluded, is_are, si_format
from analysis.parameters import quantile_groups
from analysis.readers.cells import as_text, parse_number
from analysis.restrictions import satisfies
from analysis.rows import COMPLEXITIES, MISSING, OK, Source, Trainings, drop_duplicate_trainings
from designspace.expressions import QUOTED, parse_restriction, unknown_column, unquoted
from designspace.study import STOPPED
from designspace.validated import shorten

MAX_GROUPS = 12
"""Most spaces that a figure can distinguish and that are compared pairwise."""

_ORDER: dict[str, Callable[[pd.Series, float], pd.Series]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_OUTCOME = ("status", "message", "error_percent", "epochs_done")

T = TypeVar("T", bound=Trainings)


def keep_where(table: T, conditions: Sequence[str]) -> T:
    """Keep the rows that satisfy all conditions.

    A row without a value satisfies no condition; a note counts these rows. A note also counts the failed models left
    out by a condition on status or error, or by any condition that excludes all of them, and another the models stopped
    early.

    Args:
        table: the trainings.
        conditions: "COLUMN=VALUE[,VALUE…]", with != for the opposite, or "COLUMN<NUMBER", <=, >, >=. Numbers are
            compared as numbers. Names and values that contain , = ! < or > go in backticks. A condition can also be a
            restriction such as "shared(group_width) and depth <= 20" (`designspace.expressions`).

    Raises:
        ValueError: an invalid condition, an unknown column, or no row left.
    """
    frame, notes = table.frame, list(table.notes)
    for condition in conditions:
        if _is_restriction(condition):
            frame = _keep_restricted(frame, condition)
            continue
        column, sign, values = _parse(condition, frame)
        known = frame[frame[column].map(as_text) != ""]
        kept = known[_satisfied(known[column].infer_objects(), sign, values, condition)]
        if kept.empty:
            texts = sorted(set(known[column].map(as_text)))[:20]
            raise ValueError(f"where = {condition}: no model is left; {column} is one of {', '.join(texts)}")
        if len(known) < len(frame) and column not in _OUTCOME:
            notes.append(f"{excluded(len(frame) - len(known), len(frame), column)}.")
        before, after = _failed(frame), _failed(kept)
        if before > after and (column in _OUTCOME or not after):
            lost = f"{before - after:,} of {before:,} failed models {is_are(before - after)} excluded"
            notes.append(f"where {condition}: {lost}, which favors a space with many failures.")
        before, after = (int((rows["status"] == STOPPED).sum()) for rows in (frame, kept))
        if before > after and (column in _OUTCOME or not after):
            lost = f"{before - after:,} of {before:,} models stopped early {is_are(before - after)} excluded"
            notes.append(f"where {condition}: {lost}, so the others are not a random sample of their spaces.")
        frame = kept
    return replace(table, frame=frame.reset_index(drop=True), notes=tuple(notes), filtered_from=table.space_order)


def _is_restriction(condition: str) -> bool:
    """Whether a condition uses words or functions of the language of restrictions, and is valid in it."""
    if not re.search(r"\b(and|or|not|in)\b|\w\s*\(", re.sub(QUOTED, "", condition)):
        return False
    try:
        parse_restriction(condition)
    except ValueError:
        return False
    return True


def _keep_restricted(frame: pd.DataFrame, condition: str) -> pd.DataFrame:
    try:
        kept = frame[satisfies(frame, condition)]
    except ValueError as error:
        raise ValueError(f"where = {error}") from None
    if kept.empty:
        raise ValueError(f"where = {condition}: no model is left")
    return kept


def _parse(condition: str, frame: pd.DataFrame) -> tuple[str, str, list[str]]:
    match = re.fullmatch(rf"\s*({QUOTED}|[^=!<>`]+?)\s*(<=|>=|!=|==?|<|>)(.*)", condition, re.DOTALL)
    if match is None:
        raise ValueError(
            f"where = {shorten(condition)}: must be COLUMN=VALUE[,VALUE], or with !=, <, <=, > or >=; "
            "a column that contains , = ! < or > goes in backticks"
        )
    column = unquoted(match[1])
    if column not in frame:
        raise ValueError(f"where = {condition}: {unknown_column('column', column, frame)}")
    return column, match[2].replace("==", "="), [unquoted(value) for value in split_items(match[3])]


def _satisfied(column: pd.Series, sign: str, values: list[str], condition: str) -> pd.Series:
    """Whether each cell of a column without empty cells satisfies a condition."""
    is_bool = pd.api.types.is_bool_dtype(column)
    if is_bool or not pd.api.types.is_numeric_dtype(column):
        if sign in _ORDER:
            raise ValueError(f"where = {condition}: must use = or !=, because {column.name} is not numeric")
        texts = column.map(as_text)
        equal = texts.str.lower().isin([value.lower() for value in values]) if is_bool else texts.isin(values)
        return equal if sign == "=" else ~equal
    numbers = [number for number in map(parse_number, values) if number is not None and number == number]
    if len(numbers) < len(values) or not numbers or (sign in _ORDER and len(numbers) > 1):
        count = "one number" if sign in _ORDER else "numbers"
        raise ValueError(f"where = {condition}: must have {count} after {sign}, because {column.name} is numeric")
    if sign in _ORDER:
        return _ORDER[sign](column.astype(float), numbers[0])
    equal = column.astype(float).isin(numbers)
    return equal if sign == "=" else ~equal


def _failed(frame: pd.DataFrame) -> int:
    return int((~frame["status"].isin([OK, MISSING, STOPPED])).sum())


def group_by(table: T, by: str) -> T:
    """Use the values of a column as the spaces; numbers and booleans are labeled "column = value".

    Rows without a value are excluded, as are rows that then repeat a training; notes count both.

    Args:
        table: the trainings.
        by: a column, or COLUMN:N to split a numeric column or an expression like learning_rate*weight_decay into N
            groups of about equal size, labeled by their range. Equal values stay together, so there may be fewer
            groups, of different sizes.

    Raises:
        ValueError: an unknown column, more than MAX_GROUPS values, or groups of a column that is not numeric.
    """
    if by == table.grouped_by:
        return table
    frame, column, groups = _column_and_groups(by, table.frame)
    values = frame.loc[frame[column].map(as_text) != "", column].infer_objects()
    if values.empty:
        raise ValueError(f"by = {by}: must have a value in some row")
    numeric = pd.api.types.is_numeric_dtype(values)
    if numeric:
        values = values.sort_values(kind="stable")
    if groups:
        if not numeric or pd.api.types.is_bool_dtype(values):
            raise ValueError(f"by = {by}: must be a numeric column to form groups")
        labels = _range_labels(column, values.to_numpy(dtype=float), groups)
    else:
        texts = values.map(as_text)
        labels = [f"{column} = {text}" if numeric and column != "space" else text for text in texts]
    distinct = len(set(labels))
    if distinct > MAX_GROUPS:
        advice = f", or split the column with {column}:4" if numeric else ""
        raise ValueError(
            f"by = {by}: must have at most {MAX_GROUPS} values, not {distinct:,}; select some with the condition "
            f"{column}=VALUE,VALUE{advice}"
        )
    unknown = len(frame) - len(values)
    notes = (f"{excluded(unknown, len(frame), column)}.",) if unknown else ()
    frame, repeated = drop_duplicate_trainings(frame.loc[values.index].assign(space=labels).reset_index(drop=True))
    parameters = tuple(name for name in table.parameters if groups or name != column)
    notes = (*table.notes, *notes, *repeated)
    return replace(table, frame=frame, parameters=parameters, notes=notes, grouped_by=by, filtered_from=())


def _column_and_groups(by: str, frame: pd.DataFrame) -> tuple[pd.DataFrame, str, int]:
    """The frame with the column, its name, and the number of groups; 0 for its values."""
    if (name := unquoted(by)) in frame:
        return frame, name, 0
    head, _, number = by.rpartition(":")
    if not head:
        raise ValueError(unknown_column("by", by, frame))
    name = unquoted(head)
    frame = with_expression(frame, "by", name)
    groups = int(number) if number.isascii() and number.isdigit() else -1
    if not 2 <= groups <= MAX_GROUPS:
        raise ValueError(f"by = {by}: must have 2 to {MAX_GROUPS} groups after the colon")
    return frame, name, groups


def _range_labels(column: str, values: Any, groups: int) -> list[str]:
    """The label of each value's group: its range, in SI format if that distinguishes the groups."""
    index = quantile_groups(values, groups)
    ends = {group: (values[index == group].min(), values[index == group].max()) for group in np.unique(index)}
    for write in (si_format, as_text):
        labels = {
            group: f"{column} {write(low)} to {write(high)}" if low < high else f"{column} = {write(low)}"
            for group, (low, high) in ends.items()
        }
        if len(set(labels.values())) == len(labels):
            break
    return [labels[group] for group in index]


def in_families(frame: pd.DataFrame, families: Mapping[str, str]) -> pd.DataFrame:
    """Use the families as `space`, and add the column `population` with the original study and space.

    Args:
        frame: columns study, space.
        families: as returned by `space_families`; a space without an entry stays as it is.
    """
    names = frame["space"].map(lambda label: families.get(label, label))
    return frame.assign(space=names, population=frame["study"] + "/" + frame["space"])


def space_families(frame: pd.DataFrame, sources: Sequence[Source]) -> dict[str, str]:
    """Group spaces into families: one design space, drawn at several complexities.

    Two spaces of studies form a family if their configurations differ only in the limits of macs, params and acts, and
    their recipes and data are equal. A space of a table file is a family of its own.

    Args:
        frame: columns study, space, recipe_id, data_id; spaces as loaded.
        sources: of the table.

    Returns:
        Label of each space to the name of its family: the label itself, or the common prefix of the labels, or all of
        them.
    """
    configs = {source.name: source.manifest.get("config") or {} for source in sources}
    origins: dict[str, set[str]] = {}
    for row in frame[["study", "space", "recipe_id", "data_id"]].drop_duplicates().to_dict("records"):
        study, label = str(row["study"]), str(row["space"])
        settings = _settings_without_limits(configs.get(study, {}), label.removeprefix(f"{study}/"))
        key = [label] if settings is None else [settings, str(row["recipe_id"]), str(row["data_id"])]
        origins.setdefault(label, set()).add(json.dumps(key, sort_keys=True, default=str))
    members: dict[tuple[str, ...], list[str]] = {}
    for label, keys in origins.items():
        members.setdefault(tuple(sorted(keys)), []).append(label)
    families: dict[str, str] = {}
    for labels in sorted(members.values(), key=len):  # a single space keeps its label
        name = next(name for name in _family_names(labels) if name and name not in families.values())
        families |= dict.fromkeys(labels, name)
    return families


def _settings_without_limits(config: dict[str, Any], label: str) -> list[Any] | None:
    """The configuration of a space without its name and complexity limits; None if there is none."""
    settings = (config.get("spaces") or {}).get(label)
    if not isinstance(settings, dict):
        return None
    kept = {name: value for name, value in settings.items() if name not in ("name", "constraints")}
    constraints = settings.get("constraints") or {}
    others = {name: limit for name, limit in constraints.items() if name not in COMPLEXITIES}
    return [kept, others, config.get("template")]


def _family_names(labels: list[str]) -> list[str]:
    same = takewhile(lambda letters: len(set(letters)) == 1, zip(*labels, strict=False))
    common = "".join(letters[0] for letters in same)
    return [common if len(labels) == 1 else common.rstrip("0123456789.-_ /"), ", ".join(labels)]
