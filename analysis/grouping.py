"""Which rows of a table count, and by which of its columns they are spaces."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pandas as pd

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
    """The table with the values of a column as its spaces, labelled "column = value" where they are numbers.

    Raises:
        ValueError: a column that is not there, or one with more than MAX_GROUPS values.
    """
    frame = table.frame
    if by == "space":
        return table
    if by not in frame:
        raise ValueError(f"by is {by!r}; the table has {', '.join(map(str, frame.columns))}")
    values = frame[by].dropna()
    distinct = list(dict.fromkeys(values.map(_text)))
    if not 1 <= len(distinct) <= MAX_GROUPS:
        raise ValueError(
            f"by is {by!r}, which has {len(distinct)} values; 1 to {MAX_GROUPS} spaces can be compared; "
            f"choose with --where {by}=VALUE,VALUE"
        )
    frame = frame.loc[values.index].copy()
    numeric = pd.api.types.is_numeric_dtype(values)
    frame["space"] = [f"{by} = {_text(value)}" if numeric else _text(value) for value in values]
    order = sorted(frame["space"].unique(), key=lambda label: float(label.rpartition("= ")[2])) if numeric else None
    if order:
        frame["rank_of_space"] = frame["space"].map({label: place for place, label in enumerate(order)})
        frame = frame.sort_values("rank_of_space", kind="stable").drop(columns="rank_of_space")
    parameters = tuple(name for name in table.parameters if name != by)
    return replace(table, frame=frame.reset_index(drop=True), parameters=parameters)


def _text(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
