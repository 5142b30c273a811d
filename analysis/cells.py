"""Cells of other people's tables as numbers, text and lists; an ambiguous cell is an error that names its place."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from designspace.validated import cut, shorten

MISSING = ("", "nan", "-nan", "null", "none", "na", "<na>")
"""Texts, in any case, that mean "no value" in a column of numbers."""
NO_TEXT = ("", "nan", "null", "<na>")
"""Texts, in any case, that mean "no value" in a column of text; "none" may be a value there."""
LARGEST = 100_000
"""Most channels of a block, and most blocks of a stage, that are believed."""

_NUMBER = re.compile(r"[+-]?(?:(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?|inf|infinity)", re.ASCII | re.IGNORECASE)
_THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2}(?:,\d{3})+(?:\.\d+)?", re.ASCII)
_CERTAINLY_THOUSANDS = re.compile(r"[+-]?\d+(?:,\d{3}){2,}(?:\.\d+)?|[+-]?\d+,\d{3}\.\d+", re.ASCII)
_PERCENT = re.compile(r"(.*\d.*?)\s*%")
_IDENTIFIER = re.compile(r"[+-]?0\d+|\d{16,}", re.ASCII)
"""Digits that are a name: 00000012, or more of them than a float can hold."""


@dataclass(frozen=True)
class Cells:
    """A table as its file has it.

    Attributes:
        path: of the file.
        frame: the cells, text or as stored.
        places: where each row is in the file.
        unit: what `places` count: "line" of a CSV file (the header is line 1), "row" of a Parquet file (from 1), or
            "record" of a JSON file (from 1).
    """

    path: Path
    frame: pd.DataFrame
    places: Sequence[int]
    unit: str = "line"

    def keep(self, rows: pd.Series) -> Cells:
        """The rows for which a mask (aligned with `frame`) is true."""
        places = [place for place, kept in zip(self.places, rows, strict=True) if kept]
        return Cells(self.path, self.frame[rows.to_numpy()].reset_index(drop=True), places, self.unit)

    def error(self, row: int, name: str, value: object, allowed: str) -> ValueError:
        """The error for one cell: file, line, column and value, and what is allowed."""
        return ValueError(f"{self.path}, {self.unit} {self.places[row]}: {cut(name)} = {shorten(value)}: {allowed}")

    def numbers(self, column: str, *, percent: bool = False) -> pd.Series:
        """A column as floats, NaN where there is no value.

        Args:
            column: its name.
            percent: accept a column in which every number has a percent sign.

        Raises:
            ValueError: a cell that is not a number. Thousands separators are read where some cell of the column leaves
                no doubt that they are not decimal commas (1,234,567 or 1,234.5).
        """
        cells = self.frame[column]
        if _is_number_column(cells):
            return cells.astype(float)
        values, bad = _parse(cells.tolist(), percent)
        if bad is not None:
            raise self.error(
                bad, column, cells.iloc[bad], "must be a number such as 6.5 or 1e9 (decimal point, no unit), or empty"
            )
        return pd.Series(values, dtype=float)

    def text(self, column: str) -> pd.Series:
        """A column as stripped texts, None where there is no value."""
        texts = [cell.strip() if isinstance(cell, str) else as_text(cell) for cell in self.frame[column]]
        return pd.Series([None if text.casefold() in NO_TEXT else text for text in texts], dtype=object)

    def lists(self, column: str) -> pd.Series:
        """A column as tuples of numbers, None where there is no value: 24,56,152 or [24, 56, 152] or 24 56 152."""
        cells = self.frame[column].tolist()
        return pd.Series([self._list(row, column, cell) for row, cell in enumerate(cells)], dtype=object)

    def _list(self, row: int, column: str, cell: Any) -> tuple[float, ...] | None:
        if isinstance(cell, str):
            text = cell.strip()
            if text.casefold() in MISSING:
                return None
            items: Sequence[Any] = [item for item in re.split(r"[\s,;]+", text.strip("[]()")) if item]
        else:
            items = (
                cell.tolist() if isinstance(cell, np.ndarray) else cell if isinstance(cell, list | tuple) else [cell]
            )
            if len(items) == 1 and not isinstance(cell, list | tuple | np.ndarray) and pd.isna(cell):
                return None
        values = [parse_number(item) for item in items]
        if None in values:
            raise self.error(row, column, cell, "must be a list of numbers such as 24,56,152")
        return tuple(value for value in values if value is not None)

    def typed(self, column: str, *, parameter: bool = False) -> pd.Series:
        """A column as integers, floats, booleans or text, whichever all of its cells are.

        Args:
            column: its name.
            parameter: raise ValueError for a cell that is not a number where most others are, instead of taking the
                column as text.
        """
        cells = self.frame[column]
        if cells.dtype != object and not pd.api.types.is_string_dtype(cells):
            return as_integers(cells.astype(float)) if _is_number_column(cells) else cells
        values = cells.tolist()
        if any(isinstance(cell, list | tuple | dict | np.ndarray) for cell in values):
            return cells
        if not any(isinstance(cell, str) and _IDENTIFIER.fullmatch(cell.strip()) for cell in values):
            numbers, bad = _parse(values, percent=True)
            if bad is None:
                return as_integers(pd.Series(numbers, dtype=float))
            known = sum(value is not None and value == value for value in map(parse_number, values))
            if parameter and known > len(values) / 2:
                raise self.error(bad, column, values[bad], "must be a number, as most of the column are")
        text = self.text(column)
        words = {"true": True, "false": False}
        if text.dropna().str.lower().isin(list(words)).all():
            return text.map(lambda cell: words[cell.lower()] if cell else None).infer_objects()
        return text.infer_objects()


def parse_number(cell: Any) -> float | None:
    """A cell as a float, NaN where it has no value, None where it is not a number."""
    if isinstance(cell, str):
        text = cell.strip()
        if _NUMBER.fullmatch(text):
            return float(text)
        return float("nan") if text.casefold() in MISSING else None
    if isinstance(cell, bool | np.bool_):
        return None
    if isinstance(cell, int | float | np.number | Decimal):
        try:
            return float(cell)
        except OverflowError:  # an integer beyond the range of floats
            return float("inf")
    return float("nan") if cell is None or cell is pd.NA or cell is pd.NaT else None


def as_text(value: Any) -> str:
    """A cell as text: 12 for 12.0, empty for no value."""
    if value is None or value is pd.NA or value is pd.NaT or (isinstance(value, float) and np.isnan(value)):
        return ""
    return f"{value:.15g}" if isinstance(value, float | np.floating) else str(value).strip()


def as_integers(values: pd.Series) -> pd.Series:
    """Floats as integers where all of them are whole."""
    whole = len(values) and np.isfinite(values).all() and (values % 1 == 0).all() and values.abs().max() < 2**53
    return values.astype("int64") if whole else values


def _is_number_column(cells: pd.Series) -> bool:
    return pd.api.types.is_numeric_dtype(cells) and not pd.api.types.is_bool_dtype(cells)


def _parse(cells: list[Any], percent: bool) -> tuple[list[float | None], int | None]:
    """Cells as floats, and the position of the first that is not a number under a convention all of them share."""
    if all(isinstance(cell, str) and _NUMBER.fullmatch(cell) for cell in cells):  # nearly all columns of numbers
        return list(map(float, cells)), None
    values = [parse_number(cell) for cell in cells]
    bad = [row for row, value in enumerate(values) if value is None]
    if not bad:
        return values, None
    texts = [str(cells[row]).strip() for row in bad]
    if percent and all(map(_PERCENT.fullmatch, texts)) and all(v is None or v != v for v in values):
        texts = [text.removesuffix("%").strip() for text in texts]
    elif all(map(_THOUSANDS.fullmatch, texts)) and any(map(_CERTAINLY_THOUSANDS.fullmatch, texts)):
        texts = [text.replace(",", "") for text in texts]
    for row, text in zip(bad, texts, strict=True):
        values[row] = parse_number(text) if text else None
        if values[row] is None:
            return values, row
    return values, None
