"""Column expressions such as 100-acc or gmacs*1e9: numbers, columns, + - * / and brackets, and nothing else."""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from designspace.validated import cut

LONGEST = 300
"""Characters of an expression: far from what nesting a parser can bear."""
MOST_NAMES = 30

QUOTED = r"`(?:[^`]|``)+`"
"""A name in backticks; a backtick in it is written twice."""
PLAIN = r"[^\W\d][\w.]*"
"""A name that needs no backticks."""
_TOKEN = re.compile(rf"(?P<quoted>{QUOTED})|(?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)|(?P<plain>{PLAIN})")
_ALLOWED = "allowed: numbers, columns, + - * / ( ), and `column` for a name that is not one word"

_BINARY: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}
_SIGNS: dict[type[ast.unaryop], Callable[[Any], Any]] = {ast.UAdd: operator.pos, ast.USub: operator.neg}


def quoted(name: str) -> str:
    """A column name as it is written in an expression: in backticks unless it is one word."""
    return name if re.fullmatch(PLAIN, name) else "`" + name.replace("`", "``") + "`"


def column_names(frame: pd.DataFrame) -> str:
    """The columns of a frame for a message, as they are written in an expression; the first of very many."""
    names = [cut(quoted(str(name)), 40) for name in frame.columns[:MOST_NAMES]]
    more = len(frame.columns) - len(names)
    return ", ".join(names) + (f" and {more:,} more" if more else "")


def unquoted(text: str) -> str:
    """The name that a text in backticks stands for; any other text as it is."""
    return text[1:-1].replace("``", "`") if re.fullmatch(QUOTED, text) else text


def split_items(text: str, separator: str = ",") -> list[str]:
    """Split at a separator that is not in backticks; parts are stripped, empty ones left out."""
    parts = re.findall(rf"(?:{QUOTED}|[^{re.escape(separator)}])+", text)
    return [part.strip() for part in parts if part.strip()]


def parse_map(text: str) -> dict[str, str]:
    """Read "error=top1_err,macs=gmacs*1e9,n_id" into {"error": "top1_err", "macs": "gmacs*1e9", "n_id": "n_id"}.

    Raises:
        ValueError: an item without a name, without an expression, or a name given twice.
    """
    columns: dict[str, str] = {}
    for item in split_items(text):
        parts = re.fullmatch(rf"({QUOTED}|[^=`]+)=(.+)", item, re.DOTALL)
        if not parts and "=" in re.sub(QUOTED, "", item):
            raise ValueError(f"map has the item {item!r}; it must be NAME=EXPRESSION, e.g. macs=gmacs*1e9, or a column")
        name, expression = (part.strip() for part in parts.groups()) if parts else (item, item)
        name = unquoted(name)
        if name in columns:
            raise ValueError(f"map names {name!r} twice")
        columns[name] = expression
    return columns


def single_column(expression: str, columns: Iterable[str]) -> str | None:
    """The column that an expression consists of, with or without backticks; None if it computes something."""
    text, names = expression.strip(), set(columns)
    return next((name for name in (text, unquoted(text)) if name in names), None)


def evaluate(expression: str, frame: pd.DataFrame, numbers: Callable[[str], pd.Series] | None = None) -> pd.Series:
    """The value of an expression in every row; a lone column as it is, text included.

    A division by zero is infinite or NaN.

    Args:
        expression: numbers, columns, + - * / and brackets; a column whose name is not one word is in backticks, unless
            it is all of the expression.
        frame: where the columns are.
        numbers: gives a column as floats, or raises ValueError; by default a column has to be numeric.

    Raises:
        ValueError: anything else in the expression, a column the frame lacks, or arithmetic with text.
    """
    text, names = expression.strip(), [str(name) for name in frame]
    column = single_column(text, names)
    if column is not None:
        return frame[column]
    if len(text) > LONGEST:
        raise ValueError(f"map expression of {len(text)} characters is too long; at most {LONGEST}")
    bare = _unquoted_column(text, names)
    if bare is not None:
        raise ValueError(f"map expression {text!r}: quote the column {bare!r}, --map 'NAME={_with_quotes(text, bare)}'")
    used: list[str] = []

    def placeholder(token: re.Match[str]) -> str:
        if token.lastgroup == "number":
            return token[0]
        used.append(unquoted(token[0]))
        return f" _{len(used) - 1} "  # the spaces keep it apart from a digit before it

    try:
        tree = ast.parse(_TOKEN.sub(placeholder, text).strip(), mode="eval").body
    except (SyntaxError, ValueError) as mistake:
        raise ValueError(f"map expression {text!r} cannot be read; {_ALLOWED}") from mistake
    if not _is_arithmetic(tree):
        raise ValueError(f"map expression {text!r} cannot be read; {_ALLOWED}")
    unknown = [name for name in used if name not in names]
    if unknown:
        raise ValueError(
            f"map expression {text!r} names the column {unknown[0]!r}; the table has {column_names(frame)}"
        )
    read = numbers or partial(_numeric, frame, text)
    with np.errstate(all="ignore"):
        value = _value(tree, [read(name) for name in used])
    return value if isinstance(value, pd.Series) else pd.Series(float(value), index=frame.index)


def _numeric(frame: pd.DataFrame, text: str, name: str) -> pd.Series:
    if not pd.api.types.is_numeric_dtype(frame[name]):
        raise ValueError(f"map expression {text!r} computes with the column {name!r}, which is not a number")
    return frame[name].astype(float)


def _unquoted_column(text: str, names: list[str]) -> str | None:
    """A column that stands in the text without backticks: `val/acc` in 100-val/acc must not divide val by acc."""
    bare = re.sub(QUOTED, " ", text)
    symbols = [name for name in names if re.search(r"\w", name) and re.search(r"[^\w.]", name)]
    digits_first = [name for name in names if re.fullmatch(r"\d[\w.]*[^\W\d][\w.]*", name) and not _is_number(name)]
    present = [n for n in (*symbols, *digits_first) if re.search(rf"(?<![\w.]){re.escape(n)}(?![\w.])", bare)]
    return max(present, key=len, default=None)


def _with_quotes(text: str, name: str) -> str:
    parts = re.split(rf"({QUOTED})", text)  # what is already in backticks stays
    return "".join(part if re.fullmatch(QUOTED, part) else part.replace(name, quoted(name)) for part in parts)


def _is_number(text: str) -> bool:
    token = _TOKEN.fullmatch(text)
    return token is not None and token.lastgroup == "number"


def _is_arithmetic(node: ast.expr) -> bool:
    match node:
        case ast.BinOp():
            return type(node.op) in _BINARY and _is_arithmetic(node.left) and _is_arithmetic(node.right)
        case ast.UnaryOp():
            return type(node.op) in _SIGNS and _is_arithmetic(node.operand)
        case ast.Constant():
            return type(node.value) in (int, float)
    return isinstance(node, ast.Name)


def _value(node: ast.expr, columns: list[pd.Series]) -> Any:
    match node:
        case ast.BinOp():
            return _BINARY[type(node.op)](_value(node.left, columns), _value(node.right, columns))
        case ast.UnaryOp():
            return _SIGNS[type(node.op)](_value(node.operand, columns))
        case ast.Constant():
            return np.float64(node.value)  # type: ignore[arg-type]
    assert isinstance(node, ast.Name)
    return columns[int(node.id[1:])]
