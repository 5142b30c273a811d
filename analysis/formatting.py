"""Numbers, counts and notes as text."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

NOTHING = "–"
MINUS = "\N{MINUS SIGN}"


def format_column(values: Iterable[Any]) -> list[str]:
    """The values of one column as text: floats with the same number of decimals, a dash for no value.

    Floats have two decimals, more if all are below 1, none from 10,000 up; "no bound" stands for infinity. Convert
    counts that are stored as floats with `as_integer` first.
    """
    items = list(values)
    largest = max((abs(v) for v in items if isinstance(v, float) and np.isfinite(v)), default=0.0)
    small = 2 - int(np.floor(np.log10(largest))) if largest > 0 else 2
    decimals = 0 if largest >= 1e4 else max(2, small)
    return [_text(value, decimals) for value in items]


def as_integer(values: pd.Series) -> pd.Series:
    """The column as nullable integers if all its values are whole numbers, otherwise unchanged."""
    numbers = pd.to_numeric(values, errors="coerce").astype(float)
    finite = numbers[np.isfinite(numbers)]
    all_numbers = len(finite) == values.notna().sum()
    return numbers.astype("Int64") if all_numbers and np.all(finite == finite.round()) else values


def is_number(value: Any) -> bool:
    """Whether a cell of a frame is a number other than NaN."""
    return isinstance(value, int | float) and not isinstance(value, bool) and not np.isnan(value)


def _text(value: Any, decimals: int) -> str:
    if value is None or value is pd.NA or (isinstance(value, float) and np.isnan(value)):
        return NOTHING
    if isinstance(value, float):
        return f"{value:,.{decimals}f}".replace("-", MINUS) if np.isfinite(value) else "no bound"
    return f"{value:,}".replace("-", MINUS) if is_number(value) else str(value)


def si_format(value: float) -> str:
    """A number with an SI suffix for thousands, millions and billions: 4.2M."""
    for size, suffix in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if abs(value) >= size:
            return f"{value / (1e3 if suffix == 'k' else size):.4g}{suffix}"
    return f"{value:.4g}"


def signed(value: float) -> str:
    """A number with its sign: +0.31."""
    return f"{value:+.2f}".replace("-", MINUS)


def interval(value: float, low: float, high: float) -> str:
    """A signed value with its interval: +0.31 (-0.05 to +0.60)."""
    return f"{signed(value)} ({signed(low)} to {signed(high)})" if np.isfinite(low) else signed(value)


def unsigned(value: float, low: float, high: float) -> str:
    """A value with its interval, without a sign if it is not negative: 0.80 (0.68 to 0.88)."""
    return f"{value:.2f} ({low:.2f} to {high:.2f})".replace("-", MINUS)


def p_text(p: float) -> str:
    """A p-value as text, never "p = 0"."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}" if p < 0.1 else f"p = {p:.2f}"


class Note(NamedTuple):
    """A note on how one table was read.

    Attributes:
        label: the table or space.
        text: the note, without the period.
        detail: the part that differs between tables with the same note.
        about: the column that the note explains, if any; dropped when the column map replaces that column.
    """

    label: str
    text: str
    detail: str = ""
    about: str = ""


def merge_notes(notes: Iterable[Note]) -> tuple[str, ...]:
    """One sentence per distinct text, preceded by all its labels."""
    groups: dict[str, list[Note]] = {}
    for note in notes:
        groups.setdefault(note.text, []).append(note)
    sentences = []
    for text, members in groups.items():
        labels = ", ".join(dict.fromkeys(note.label for note in members))
        several = len({note.label for note in members}) > 1
        details = dict.fromkeys(
            f"{note.label}: {note.detail}" if several and note.detail else note.detail for note in members
        )
        shown = "; ".join(detail for detail in details if detail)
        sentences.append(f"{labels}: {text}{f' ({shown})' if shown else ''}.")
    return tuple(sentences)


def excluded(count: int, total: int, what: str, rows: str = "rows") -> str:
    """The note on rows without a value: "1 of 12 rows has no space and is excluded"."""
    return f"{count:,} of {total:,} {rows} {has_have(count)} no {what} and {is_are(count)} excluded"


def has_have(count: int) -> str:
    """The verb for a count."""
    return "has" if count == 1 else "have"


def is_are(count: int) -> str:
    """The verb for a count."""
    return "is" if count == 1 else "are"


def was_were(count: int) -> str:
    """The verb for a count."""
    return "was" if count == 1 else "were"
