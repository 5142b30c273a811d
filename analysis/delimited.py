"""Text tables: CSV with commas, semicolons or tabs, each row with its line in the file."""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import re
import zlib
from collections import Counter
from itertools import islice
from pathlib import Path

import pandas as pd

from analysis.cells import Cells
from designspace.validated import cut, shorten

DELIMITERS = (",", ";", "\t")
_BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # begins with the mark of UTF-16
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def read_delimited(path: Path) -> Cells:
    """The cells of a text table, all of them text; blank lines and rows of empty cells are not rows.

    Args:
        path: UTF-8, or UTF-8, UTF-16 or UTF-32 with a byte order mark; gzip is recognized. The delimiter is that of
            comma, semicolon and tab that splits header and first row alike into most cells.

    Raises:
        ValueError: another encoding, a column name that occurs twice, a row with more or fewer cells than the header,
            an unfinished quote.
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
                        f"{path}, line {start}: number of cells = {len(row)}: must be {len(header)} as in the header; "
                        f"put a cell that contains {delimiter!r} in double quotes"
                    )
                rows.append(row)
                lines.append(start)
    except csv.Error as error:
        raise ValueError(f"{path}, line {line}: {error}; check its double quotes") from None
    if not rows or header is None:
        raise ValueError(f"{path} has no rows")
    columns = {name: list(column) for name, column in zip(header, zip(*rows, strict=True), strict=True)}
    if re.search("[\udc80-\udcff]", text):  # bytes that are not UTF-8
        for name, cells in columns.items():
            for place, cell in zip(("header", *(f"line {line}" for line in lines)), (name, *cells), strict=True):
                if re.search("[\udc80-\udcff]", cell):
                    shown = f"{cut(ascii(name))} = {shorten(cell.encode('utf-8', 'surrogateescape'))}"
                    raise ValueError(f"{path}, {place}: {shown}: not UTF-8; save the table as UTF-8")
    return Cells(path, pd.DataFrame(columns, dtype=object), lines)


def _decode(path: Path) -> str:
    content = path.read_bytes()
    try:
        if content.startswith(b"\x1f\x8b"):
            content = gzip.decompress(content)
        encoding = next((encoding for mark, encoding in _BOMS if content.startswith(mark)), "")
        text = content.decode(encoding) if encoding else content.decode("utf-8", "surrogateescape")
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise ValueError(f"{path} cannot be read: {error}") from None
    if "\0" in text:
        line = text[: text.index("\0")].count("\n") + 1
        raise ValueError(f"{path}, line {line}: a NUL character; save the table as UTF-8")
    return text


def _fit(text: str, delimiter: str) -> tuple[bool, int]:
    """How well a delimiter fits: whether it splits header and first row into the same several cells, and how many."""
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        header, first = islice(filter(None, rows), 2)
    except (csv.Error, ValueError):
        return False, 0
    return 1 < len(header) == len(first), len(header)


def _header(path: Path, line: int, row: list[str]) -> list[str]:
    """Column names; one without a name is called as pandas calls it."""
    names = [name.strip() or f"Unnamed: {place}" for place, name in enumerate(row)]
    repeated = [name for name, count in Counter(names).items() if count > 1]
    if repeated:
        places = ", ".join(str(place) for place, name in enumerate(names, start=1) if name == repeated[0])
        raise ValueError(
            f"{path}, line {line}: columns {cut(places)} are all named {shorten(repeated[0])}; rename them"
        )
    return names
