"""Which rows of a table count, and by which of its columns they are spaces."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pandas as pd

from analysis.seeds import drop_duplicate_trainings
from analysis.table import Table

MAX_GROUPS = 12
"""Spaces that can be told apart in a picture and compared pair by pair."""


def keep_where(table: Table, conditions: Sequence[str]) -> Table:
    """The rows that fulfil every condition "COLUMN=VALUE[,VALUE…]", compared as text.

    Raises:
        ValueError: a condition of another form, a column that is not there, or no row left.
    """
    frame = table.frame
    for condition in conditions:
        column, equals, values = condition.partition("=")
        if not equals or column not in frame:
            raise ValueError(
                f"where is {condition!r}; it must be COLUMN=VALUE[,VALUE], columns {', '.join(frame.columns)}"
            )
        kept = frame[[_text(value) in values.split(",") for value in frame[column]]]
        if kept.empty:
            found = ", ".join(sorted({_text(value) for value in frame[column]})[:20])
            raise ValueError(f"where {condition!r} keeps no model; {column} is one of {found}")
        frame = kept
    return replace(table, frame=frame.reset_index(drop=True))


def group_by(table: Table, by: str) -> Table:
    """The table with the values of a column as its spaces, labelled "column = value" where they are numbers or bools.

    Rows without a value are left out, which a note says, and so are those that now repeat a training.

    Raises:
        ValueError: a column that is not there, or one with more than MAX_GROUPS values.
    """
    frame = table.frame
    if by == "space":
        return table
    if by not in frame:
        raise ValueError(f"by is {by!r}; the table has {', '.join(map(str, frame.columns))}")
    values = frame[by].dropna().infer_objects()
    distinct = list(dict.fromkeys(values.map(_text)))
    if not 1 <= len(distinct) <= MAX_GROUPS:
        raise ValueError(
            f"by is {by!r}, which has {len(distinct)} values; 1 to {MAX_GROUPS} spaces can be compared; "
            f"choose with --where {by}=VALUE,VALUE"
        )
    unknown = len(frame) - len(values)
    notes = (f"{unknown:,} of {len(frame):,} rows have no {by} and are left out.",) if unknown else ()
    numeric = pd.api.types.is_numeric_dtype(values)
    if numeric:
        values = values.sort_values(kind="stable")
    labels = [f"{by} = {_text(value)}" if numeric else _text(value) for value in values]
    frame, repeated = drop_duplicate_trainings(frame.loc[values.index].assign(space=labels).reset_index(drop=True))
    parameters = tuple(name for name in table.parameters if name != by)
    return replace(table, frame=frame, parameters=parameters, notes=(*table.notes, *notes, *repeated))


def _text(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
