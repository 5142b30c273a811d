"""Remarks on how tables were read, each stated once for all the tables it holds for."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple


class Note(NamedTuple):
    """A remark on one table.

    Attributes:
        label: the table or space.
        text: the remark, without a final full stop.
        detail: what in it differs from table to table.
        about: the column it explains, if any; obsolete once the column map replaces that column.
    """

    label: str
    text: str
    detail: str = ""
    about: str = ""


def merged(notes: Iterable[Note]) -> tuple[str, ...]:
    """One sentence for each different text, with all its labels in front."""
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


def left_out(count: int, total: int, what: str, rows: str = "rows") -> str:
    """The remark on rows without a value: "1 of 12 rows has no space and is left out"."""
    return f"{count:,} of {total:,} {rows} {'has' if count == 1 else 'have'} no {what} and {is_are(count)} left out"


def is_are(count: int) -> str:
    """The verb for a number of things."""
    return "is" if count == 1 else "are"
