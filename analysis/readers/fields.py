"""Fields of JSON records. A value of the wrong kind becomes unknown and is listed by its key."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from analysis.formatting import Note
from analysis.readers.cells import parse_number
from designspace.validated import shorten


class Fields:
    """A JSON object and the problems found in it.

    Args:
        value: parsed JSON; null inside an object is read as an empty object.
        key: path of the object, for messages; "" at the top.
        problems: list to append to, shared with nested objects.
    """

    def __init__(self, value: Any, key: str = "", problems: list[str] | None = None) -> None:
        self.key = key
        self.problems: list[str] = [] if problems is None else problems
        self.value: Mapping[str, Any] = {}
        if isinstance(value, Mapping):
            self.value = value
        elif value is not None or not key:
            self._add(key or "content", value, "must be a mapping")

    def __contains__(self, name: str) -> bool:
        return name in self.value

    def fields(self, name: str) -> Fields:
        """A nested object."""
        return Fields(self.value.get(name), self._path(name), self.problems)

    def number(self, name: str, low: float = float("-inf")) -> float:
        """A number of at least `low`; NaN if null or absent."""
        value = self.value.get(name)
        number = None if isinstance(value, str) else parse_number(value)
        if number is None or number < low:
            self.problem(name, "must be a number" if number is None else f"must be at least {low:g}")
            return float("nan")
        return number

    def numbers(self, name: str) -> list[float]:
        """A list of numbers, NaN for null; empty if null or absent."""
        value = self.value.get(name)
        values = [] if value is None else value
        numbers = (
            [None if isinstance(v, str) else parse_number(v) for v in values] if isinstance(values, list) else None
        )
        if numbers is None or None in numbers:
            self.problem(name, "must be a list of numbers")
            return []
        return [number for number in numbers if number is not None]

    def integer(self, name: str, default: int) -> int | None:
        """A whole number; the default if absent, None if unreadable."""
        if name not in self:
            return default
        number = self.number(name)
        if np.isfinite(number) and number % 1 == 0:
            return int(number)
        self.problem(name, "must be a whole number")
        return None

    def percent(self, name: str, value: float) -> float:
        """The value read from a field; NaN if it is finite but outside 0 to 100."""
        if np.isfinite(value) and not 0 <= value <= 100:
            self._add(self._path(name), value, "must be from 0 to 100 percent")
            return float("nan")
        return value

    def problem(self, name: str, rule: str) -> None:
        """Record that a field breaks a rule."""
        self._add(self._path(name), self.value.get(name), rule)

    def _path(self, name: str) -> str:
        return f"{self.key}.{name}" if self.key else name

    def _add(self, path: str, value: Any, rule: str) -> None:
        problem = f"{path} = {shorten(value)}: {rule}"
        if problem not in self.problems:  # a field may be read twice
            self.problems.append(problem)


def unreadable_note(records: Sequence[Fields], label: str) -> tuple[Note, ...]:
    """The note on records with problems; empty without any."""
    bad = [(place, record.problems[0]) for place, record in enumerate(records, start=1) if record.problems]
    if not bad:
        return ()
    place, problem = bad[0]
    have = "has an unreadable value" if len(bad) == 1 else "have unreadable values"
    return (
        Note(label, f"{len(bad):,} of {len(records):,} records {have}, read as unknown; record {place}: {problem}"),
    )
