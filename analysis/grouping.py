"""Which rows of a table count, and by which of its columns they are spaces."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from analysis.cells import as_text, parse_number
from analysis.expression import QUOTED, column_names, split_items, unquoted
from analysis.failures import MISSING, OK
from analysis.notes import is_are, left_out
from analysis.number_text import short
from analysis.parameters import quantile_groups
from analysis.seeds import drop_duplicate_trainings
from analysis.table import Table

MAX_GROUPS = 12
"""Spaces that can be told apart in a figure and compared pair by pair."""

_ORDER: dict[str, Callable[[pd.Series, float], pd.Series]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_OUTCOME = ("status", "message", "error_percent")


def keep_where(table: Table, conditions: Sequence[str]) -> Table:
    """The rows that fulfil every condition; a row without a value fulfils none, which a note says.

    A note also says how many failed models a condition on status or error leaves out, or any condition that leaves out
    all of them: what remains describes the models that finished.

    Args:
        table: from `load_table`.
        conditions: "COLUMN=VALUE[,VALUE…]", or with != in place of =, or "COLUMN<NUMBER", <=, >, >=. Numbers are
            compared as numbers. Names and values with one of , = ! < > are put in backticks.

    Raises:
        ValueError: a condition of another form, a column that is not there, or no row left.
    """
    frame, notes = table.frame, list(table.notes)
    for condition in conditions:
        column, sign, values = _parse(condition, frame)
        known = frame[frame[column].map(as_text) != ""]
        kept = known[_fulfilled(known[column].infer_objects(), sign, values, condition)]
        if kept.empty:
            texts = sorted(set(known[column].map(as_text)))[:20]
            raise ValueError(f"where {condition!r} keeps no model; {column} is one of {', '.join(texts)}")
        if len(known) < len(frame) and column not in _OUTCOME:
            notes.append(f"{left_out(len(frame) - len(known), len(frame), column)}.")
        before, after = _failed(frame), _failed(kept)
        if before > after and (column in _OUTCOME or not after):
            lost = f"{before - after:,} of {before:,} failed models {is_are(before - after)} left out"
            notes.append(f"--where {condition}: {lost}, as by --failures drop, which flatters a space where many fail.")
        frame = kept
    return replace(table, frame=frame.reset_index(drop=True), notes=tuple(notes))


def _parse(condition: str, frame: pd.DataFrame) -> tuple[str, str, list[str]]:
    match = re.fullmatch(rf"\s*({QUOTED}|[^=!<>`]+?)\s*(<=|>=|!=|==?|<|>)(.*)", condition, re.DOTALL)
    column = unquoted(match[1]) if match else ""
    if match is None or column not in frame:
        raise ValueError(
            f"where is {condition!r}; it must be COLUMN=VALUE[,VALUE], or with !=, <, <=, >, >=; "
            f"a column with one of , = ! < > is put in backticks; columns {column_names(frame)}"
        )
    return column, match[2].replace("==", "="), [unquoted(value) for value in split_items(match[3])]


def _fulfilled(column: pd.Series, sign: str, values: list[str], condition: str) -> pd.Series:
    """Whether each of the known cells of a column fulfils a condition."""
    is_bool = pd.api.types.is_bool_dtype(column)
    if is_bool or not pd.api.types.is_numeric_dtype(column):
        if sign in _ORDER:
            raise ValueError(f"where is {condition!r}; {column.name} is not a number, and {sign} compares numbers")
        texts = column.map(as_text)
        equal = texts.str.lower().isin([value.lower() for value in values]) if is_bool else texts.isin(values)
        return equal if sign == "=" else ~equal
    numbers = [number for number in map(parse_number, values) if number is not None and number == number]
    if len(numbers) < len(values) or not numbers or (sign in _ORDER and len(numbers) > 1):
        count = "one number" if sign in _ORDER else "numbers"
        raise ValueError(f"where is {condition!r}; {column.name} is a number, and is compared with {count}")
    if sign in _ORDER:
        return _ORDER[sign](column.astype(float), numbers[0])
    equal = column.astype(float).isin(numbers)
    return equal if sign == "=" else ~equal


def _failed(frame: pd.DataFrame) -> int:
    return int((~frame["status"].isin([OK, MISSING])).sum())


def group_by(table: Table, by: str) -> Table:
    """The table with the values of a column as its spaces, labeled "column = value" where they are numbers or bools.

    Rows without a value are left out, which a note says, and so are those that now repeat a training.

    Args:
        table: from `load_table`.
        by: a column, or COLUMN:N to cut a column of numbers into N groups of about equally many rows, labeled by
            their ends. Equal values stay together, so that there may be fewer groups, and of different sizes.

    Raises:
        ValueError: a column that is not there, one with more than MAX_GROUPS values, or groups of text.
    """
    frame = table.frame
    if by == "space":
        return table
    column, groups = _column_and_groups(by, frame)
    values = frame.loc[frame[column].map(as_text) != "", column].infer_objects()
    if values.empty:
        raise ValueError(f"by is {by!r}; no row has a value of {column}")
    numeric = pd.api.types.is_numeric_dtype(values)
    if numeric:
        values = values.sort_values(kind="stable")
    if groups:
        if not numeric or pd.api.types.is_bool_dtype(values):
            raise ValueError(f"by is {by!r}; only a column of numbers is cut into groups, and {column} is not")
        labels = _range_labels(column, values.to_numpy(dtype=float), groups)
    else:
        texts = values.map(as_text)
        labels = [f"{column} = {text}" if numeric else text for text in texts]
    distinct = len(set(labels))
    if distinct > MAX_GROUPS:
        advice = f", or cut it into groups with --by {column}:4" if numeric else ""
        raise ValueError(
            f"by is {by!r}, which has {distinct} values; 1 to {MAX_GROUPS} spaces can be compared; "
            f"choose with --where {column}=VALUE,VALUE{advice}"
        )
    unknown = len(frame) - len(values)
    notes = (f"{left_out(unknown, len(frame), column)}.",) if unknown else ()
    frame, repeated = drop_duplicate_trainings(frame.loc[values.index].assign(space=labels).reset_index(drop=True))
    parameters = tuple(name for name in table.parameters if groups or name != column)
    return replace(table, frame=frame, parameters=parameters, notes=(*table.notes, *notes, *repeated))


def _column_and_groups(by: str, frame: pd.DataFrame) -> tuple[str, int]:
    """The column, and the number of groups; 0 for its values."""
    name, groups = unquoted(by), 0
    if name not in frame:
        head, _, number = by.rpartition(":")
        name = unquoted(head)
        groups = int(number) if number.isascii() and number.isdigit() else -1
    if name not in frame or groups < 0:
        raise ValueError(f"by is {by!r}; the table has {column_names(frame)}; write COLUMN or COLUMN:GROUPS")
    if groups == 1 or groups > MAX_GROUPS:
        raise ValueError(f"by is {by!r}; it must cut into 2 to {MAX_GROUPS} groups")
    return name, groups


def _range_labels(column: str, values: Any, groups: int) -> list[str]:
    """The label of each value's group: its ends, short if that tells the groups apart."""
    index = quantile_groups(values, groups)
    ends = {group: (values[index == group].min(), values[index == group].max()) for group in np.unique(index)}
    for write in (short, as_text):
        labels = {
            group: f"{column} {write(low)} to {write(high)}" if low < high else f"{column} = {write(low)}"
            for group, (low, high) in ends.items()
        }
        if len(set(labels.values())) == len(labels):
            break
    return [labels[group] for group in index]
