"""Values of a JSON object; one that is not what it should be is unknown, and noted by its key."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from analysis.formatting import Note
from analysis.readers.cells import parse_number
from designspace.validated import shorten


class Fields:
    """A JSON object with the problems met in reading it.

    Args:
        value: the parsed JSON; null inside an object is an empty one.
        key: its place, for the problems; "" at the top.
        problems: the list they are added to, shared with the objects inside.
    """

    def __init__(self, value: Any, key: str = "", problems: list[str] | None = None) -> None:
        self.key = key
        self.problems: list[str] = [] if problems is None else problems
        self.value: Mapping[str, Any] = {}
        if isinstance(value, Mapping):
            self.value = value
        elif value is not None or not key:
            self._note(key or "content", value, "must be a mapping")

    def __contains__(self, name: str) -> bool:
        return name in self.value

    def fields(self, name: str) -> Fields:
        """An object inside."""
        return Fields(self.value.get(name), self._place(name), self.problems)

    def number(self, name: str, low: float = float("-inf")) -> float:
        """A number of at least `low`; NaN where it is null or absent."""
        value = self.value.get(name)
        number = None if isinstance(value, str) else parse_number(value)
        if number is None or number < low:
            self.problem(name, "must be a number" if number is None else f"must be at least {low:g}")
            return float("nan")
        return number

    def numbers(self, name: str) -> list[float]:
        """A list of numbers, NaN for null; empty where it is null or absent."""
        value = self.value.get(name)
        values = [] if value is None else value
        numbers = (
            [None if isinstance(v, str) else parse_number(v) for v in values] if isinstance(values, list) else None
        )
        if numbers is None or None in numbers:
            self.problem(name, "must be a list of numbers")
            return []
        return [number for number in numbers if number is not None]

    def whole(self, name: str, default: int) -> int | None:
        """A whole number, or the default where it is absent; None where it cannot be read."""
        if name not in self:
            return default
        number = self.number(name)
        if np.isfinite(number) and number % 1 == 0:
            return int(number)
        self.problem(name, "must be a whole number")
        return None

    def percent(self, name: str, value: float) -> float:
        """A value read from a field, NaN where it is finite and cannot be an error in percent."""
        if np.isfinite(value) and not 0 <= value <= 100:
            self._note(self._place(name), value, "must be from 0 to 100 percent")
            return float("nan")
        return value

    def problem(self, name: str, allowed: str) -> None:
        """Note that a field is not what it should be."""
        self._note(self._place(name), self.value.get(name), allowed)

    def _place(self, name: str) -> str:
        return f"{self.key}.{name}" if self.key else name

    def _note(self, place: str, value: Any, allowed: str) -> None:
        problem = f"{place} = {shorten(value)}: {allowed}"
        if problem not in self.problems:  # a field may be read twice
            self.problems.append(problem)


def unread(records: Sequence[Fields], label: str) -> tuple[Note, ...]:
    """The note on records of which something could not be read; none if all could."""
    bad = [(place, record.problems[0]) for place, record in enumerate(records, start=1) if record.problems]
    if not bad:
        return ()
    place, problem = bad[0]
    verbs = ("has a value", "is") if len(bad) == 1 else ("have values", "are")
    text = f"{len(bad):,} of {len(records):,} records {verbs[0]} that cannot be read and {verbs[1]} unknown"
    return (Note(label, f"{text}; record {place}: {problem}"),)
