"""Cells of table files as numbers, text and lists. An ambiguous cell is an error with its line and column."""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import re
import zlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from designspace.validated import cut, shorten

MISSING = ("", "nan", "-nan", "null", "none", "na", "<na>")
"""Text that means "no value" in a numeric column, ignoring case."""
NO_TEXT = ("", "nan", "null", "<na>")
"""Text that means "no value" in a text column, ignoring case. There, "none" may be a value."""
LARGEST = 100_000
"""Upper limit on the channels of a block and the blocks of a stage."""

_NUMBER = re.compile(r"[+-]?(?:(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?|inf|infinity)", re.ASCII | re.IGNORECASE)
_THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2}(?:,\d{3})+(?:\.\d+)?", re.ASCII)
_CERTAINLY_THOUSANDS = re.compile(r"[+-]?\d+(?:,\d{3}){2,}(?:\.\d+)?|[+-]?\d+,\d{3}\.\d+", re.ASCII)
_PERCENT = re.compile(r"(.*\d.*?)\s*%")
_IDENTIFIER = re.compile(r"[+-]?0\d+|\d{16,}", re.ASCII)
"""Digits that form a name: 00000012, or more digits than a float holds."""


@dataclass(frozen=True)
class Cells:
    """The raw cells of a table.

    Attributes:
        path: the file, for messages.
        frame: cells as stored; a text file has only text.
        places: number of each row in the file, starting at 1.
        unit: unit of `places`: "line" of a text file (the header is line 1), "row" of Parquet, "record" of JSON.
    """

    path: Path
    frame: pd.DataFrame
    places: Sequence[int]
    unit: str = "line"

    def keep(self, rows: pd.Series) -> Cells:
        """The rows where a mask, aligned with `frame`, is true."""
        places = [place for place, kept in zip(self.places, rows, strict=True) if kept]
        return Cells(self.path, self.frame[rows.to_numpy()].reset_index(drop=True), places, self.unit)

    def error(self, row: int, name: str, value: object, allowed: str) -> ValueError:
        """The error for one cell, with its file, line, column and value."""
        return ValueError(f"{self.path}, {self.unit} {self.places[row]}: {cut(name)} = {shorten(value)}: {allowed}")

    def numbers(self, column: str, *, percent: bool = False) -> pd.Series:
        """A column as floats, NaN for no value.

        Thousands separators are accepted only if some cell of the column rules out decimal commas (1,234,567 or
        1,234.5).

        Args:
            column: its name.
            percent: accept a column in which every number has a percent sign.

        Raises:
            ValueError: a cell that is not a number.
        """
        cells = self.frame[column]
        if _is_number_column(cells):
            return cells.astype(float)
        values, bad = _parse(cells.tolist(), percent)
        if bad is not None:
            raise self.error(
                bad,
                column,
                cells.iloc[bad],
                "must be a number with a decimal point and no unit, such as 6.5 or 1e9, or empty",
            )
        return pd.Series(values, dtype=float)

    def text(self, column: str) -> pd.Series:
        """A column as stripped text, None for no value."""
        texts = [cell.strip() if isinstance(cell, str) else as_text(cell) for cell in self.frame[column]]
        return pd.Series([None if text.casefold() in NO_TEXT else text for text in texts], dtype=object)

    def lists(self, column: str) -> pd.Series:
        """A column as tuples of numbers, None for no value. Formats: 24,56,152 or [24, 56, 152] or 24 56 152."""
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
        """A column as integers, floats, booleans or text: the first type that fits all cells.

        Args:
            column: its name.
            parameter: raise ValueError for a cell that is not a number if most others are, instead of returning text.
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
            count = sum(value is not None and value == value for value in map(parse_number, values))
            if parameter and count > len(values) / 2:
                raise self.error(bad, column, values[bad], "must be a number, like most of the column")
        text = self.text(column)
        if text.dropna().str.lower().isin(["true", "false"]).all():
            return text.map(lambda cell: cell.lower() == "true" if cell else None).infer_objects()
        return text.infer_objects()


def parse_number(cell: Any) -> float | None:
    """A cell as a float, NaN for no value, None if it is not a number."""
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
    """Floats as integers if all are whole numbers."""
    integral = len(values) and np.isfinite(values).all() and (values % 1 == 0).all() and values.abs().max() < 2**53
    return values.astype("int64") if integral else values


def _is_number_column(cells: pd.Series) -> bool:
    return pd.api.types.is_numeric_dtype(cells) and not pd.api.types.is_bool_dtype(cells)


def _parse(cells: list[Any], percent: bool) -> tuple[list[float | None], int | None]:
    """Cells as floats, and the position of the first that is not a number in the notation common to all."""
    if all(isinstance(cell, str) and _NUMBER.fullmatch(cell) for cell in cells):  # almost every numeric column
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


DELIMITERS = (",", ";", "\t")
_BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # begins with the mark of UTF-16
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def read_delimited(path: Path) -> Cells:
    """Read a text table; blank lines and rows of empty cells are skipped.

    Args:
        path: UTF-8, or UTF-8, UTF-16 or UTF-32 with a byte order mark, optionally gzipped. The delimiter is the one of
            comma, semicolon and tab that splits header and first row into the same number of cells, and the most.

    Raises:
        ValueError: another encoding, a repeated column name, a row whose length differs from the header's, an
            unclosed quote.
    """
    text = _decode(path)
    delimiter = max(DELIMITERS, key=lambda candidate: _fit(text, candidate))
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    rows: list[list[str]] = []
    lines: list[int] = []
    header: list[str] | None = None
    line = 1
    try:
        for row in reader:
            start, line = line, reader.line_num + 1
            if header is None:
                if row:
                    header = _header(path, start, row)
            elif row and (len(row) == 1 or any(map(str.strip, row))):
                if len(row) != len(header):
                    raise ValueError(
                        f"{path}, line {start}: number of cells = {len(row)}: must be {len(header)}, as in the header; "
                        f"use double quotes around a cell that contains {delimiter!r}"
                    )
                rows.append(row)
                lines.append(start)
    except csv.Error as error:
        raise ValueError(f"{path}, line {line}: {error}; check the double quotes") from None
    if not rows or header is None:
        raise ValueError(f"{path}: no rows")
    columns = {name: list(column) for name, column in zip(header, zip(*rows, strict=True), strict=True)}
    if re.search("[\udc80-\udcff]", text):  # bytes that are not UTF-8
        for name, cells in columns.items():
            for place, cell in zip(("header", *(f"line {line}" for line in lines)), (name, *cells), strict=True):
                if re.search("[\udc80-\udcff]", cell):
                    shown = f"{cut(ascii(name))} = {shorten(cell.encode('utf-8', 'surrogateescape'))}"
                    raise ValueError(f"{path}, {place}: {shown}: must be UTF-8")
    return Cells(path, pd.DataFrame(columns, dtype=object), lines)


def _decode(path: Path) -> str:
    content = path.read_bytes()
    try:
        if content.startswith(b"\x1f\x8b"):
            content = gzip.decompress(content)
        encoding = next((encoding for mark, encoding in _BOMS if content.startswith(mark)), "")
        text = content.decode(encoding) if encoding else content.decode("utf-8", "surrogateescape")
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: unreadable ({error})") from None
    if "\0" in text:
        line = text[: text.index("\0")].count("\n") + 1
        raise ValueError(f"{path}, line {line}: NUL character; save the table as UTF-8")
    return text


def _fit(text: str, delimiter: str) -> tuple[bool, int]:
    """Whether a delimiter splits header and first row into equally many cells, and the number of cells."""
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        header, first = islice(filter(None, rows), 2)
    except (csv.Error, ValueError):
        return False, 0
    return 1 < len(header) == len(first), len(header)


def _header(path: Path, line: int, row: list[str]) -> list[str]:
    """Column names; a column without one is named as pandas names it."""
    names = [name.strip() or f"Unnamed: {place}" for place, name in enumerate(row)]
    repeated = [name for name, count in Counter(names).items() if count > 1]
    if repeated:
        places = ", ".join(str(place) for place, name in enumerate(names, start=1) if name == repeated[0])
        raise ValueError(
            f"{path}, line {line}: column names = {shorten(repeated[0])} (columns {cut(places)}): must be unique"
        )
    return names


def read_parquet(path: Path) -> Cells:
    """Read a Parquet file; named index levels become columns."""
    try:
        frame = pd.read_parquet(path)
    except (ValueError, OSError) as error:
        raise ValueError(f"{path}: not a readable Parquet file ({error})") from None
    return frame_cells(frame, path)


def frame_cells(frame: pd.DataFrame, path: Path) -> Cells:
    """The cells of a data frame; named index levels become columns.

    Args:
        frame: any column types.
        path: its name, for messages.
    """
    frame = frame if frame.index.names == [None] else frame.reset_index()
    frame = frame.reset_index(drop=True).rename(columns=str)
    if frame.empty:
        raise ValueError(f"{path}: no rows")
    if not frame.columns.is_unique:
        name = frame.columns[frame.columns.duplicated()][0]
        raise ValueError(f"{path}: column names = {shorten(name)}: must be unique")
    return Cells(path, frame, range(1, len(frame) + 1), "row")
