"""Lists of columns and column maps, as typed on the command line; see `designspace.expressions` for the expressions."""

from __future__ import annotations

import re
from collections.abc import Iterable

from designspace.expressions import QUOTED, unquoted
from designspace.validated import cut, shorten


def split_items(text: str, separator: str = ",") -> list[str]:
    """The non-empty parts between separators outside backticks, stripped."""
    parts = re.findall(rf"(?:{QUOTED}|[^{re.escape(separator)}])+", text)
    return [part.strip() for part in parts if part.strip()]


def parse_map(text: str) -> dict[str, str]:
    """Parse "error=top1_err,macs=gmacs*1e9,n_id" as {"error": "top1_err", "macs": "gmacs*1e9", "n_id": "n_id"}.

    Raises:
        ValueError: an item without a name or an expression, or a repeated name.
    """
    columns: dict[str, str] = {}
    for item in split_items(text):
        parts = re.fullmatch(rf"({QUOTED}|[^=`]+)=(.+)", item, re.DOTALL)
        if not parts and "=" in re.sub(QUOTED, "", item):
            raise ValueError(f"map = {shorten(item)}: must be NAME=EXPRESSION, such as macs=gmacs*1e9, or a column")
        name, expression = (part.strip() for part in parts.groups()) if parts else (item, item)
        name = unquoted(name)
        if name in columns:
            raise ValueError(f"map = {shorten(text)}: must name {cut(name)} only once")
        columns[name] = expression
    return columns


def single_column(expression: str, columns: Iterable[str]) -> str | None:
    """The column, if the expression is just one column, with or without backticks."""
    text, names = expression.strip(), set(columns)
    return next((name for name in (text, unquoted(text)) if name in names), None)
