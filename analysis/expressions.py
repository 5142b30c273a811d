"""Column expressions such as 100-acc or gmacs*1e9: numbers, columns, + - * / and parentheses."""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from designspace.validated import cut, shorten, unknown

MAX_CHARACTERS = 300
"""Characters of an expression, far below what exhausts the parser."""
LISTED_NAMES = 30

QUOTED = r"`(?:[^`]|``)+`"
"""A name in backticks; a backtick inside is doubled."""
PLAIN = r"[^\W\d][\w.]*"
"""A name that needs no backticks."""
_TOKEN = re.compile(rf"(?P<quoted>{QUOTED})|(?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)|(?P<plain>{PLAIN})")
_GRAMMAR = "must consist of numbers, columns, + - * / and ( ), with backticks around names that are not one word"

_BINARY: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}
_UNARY: dict[type[ast.unaryop], Callable[[Any], Any]] = {ast.UAdd: operator.pos, ast.USub: operator.neg}


def quoted(name: str) -> str:
    """The column name as written in an expression: in backticks unless it is one word."""
    return name if re.fullmatch(PLAIN, name) else "`" + name.replace("`", "``") + "`"


def unquoted(text: str) -> str:
    """The text without its enclosing backticks, if it has any."""
    return text[1:-1].replace("``", "`") if re.fullmatch(QUOTED, text) else text


def list_columns(names: Iterable[object]) -> str:
    """Column names for a message, as written in an expression; long lists are cut."""
    texts = [cut(quoted(str(name)), 40) for name in names]
    more = len(texts) - LISTED_NAMES
    return ", ".join(texts[:LISTED_NAMES]) + (f" and {more:,} more" if more > 0 else "")


def unknown_column(field: str, value: str, names: Iterable[object]) -> str:
    """The message for a column that does not exist: the closest names, else the columns of the table."""
    columns = list(map(str, names))
    message = unknown(field, value, columns)
    return (
        message if "did you mean" in message else f"{field} = {cut(value)}: unknown; columns: {list_columns(columns)}"
    )


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


@dataclass(frozen=True)
class Expression:
    """A parsed arithmetic expression.

    Attributes:
        tree: operators and numbers, with the names _0, _1, … in place of the columns.
        columns: the columns in that order.
    """

    tree: ast.expr
    columns: tuple[str, ...]

    def evaluate(self, column: Callable[[str], pd.Series]) -> Any:
        """The value of every row, or one number without columns. Division by zero gives infinity or NaN.

        Args:
            column: returns a column as floats.
        """
        with np.errstate(all="ignore"):
            return _evaluate(self.tree, [column(name) for name in self.columns])


def parse_expression(text: str, columns: Sequence[str]) -> Expression:
    """Parse an expression.

    Args:
        text: numbers, columns, + - * / and parentheses; names that are not one word in backticks.
        columns: names that the expression may use.

    Raises:
        ValueError: anything else in the expression, or an unknown column; the message starts with the expression.
    """
    if len(text) > MAX_CHARACTERS:
        raise ValueError(f"{shorten(text)}: must have at most {MAX_CHARACTERS} characters, not {len(text):,}")
    bare = _column_without_backticks(text, columns)
    if bare is not None:
        raise ValueError(f"{cut(text)}: must have backticks around {cut(bare)}, as in {_with_backticks(text, bare)}")
    used: list[str] = []

    def placeholder(token: re.Match[str]) -> str:
        if token.lastgroup == "number":
            return token[0]
        used.append(unquoted(token[0]))
        return f" _{len(used) - 1} "  # the spaces separate it from an adjacent digit

    try:
        tree = ast.parse(_TOKEN.sub(placeholder, text).strip(), mode="eval").body
    except (SyntaxError, ValueError) as error:
        raise ValueError(f"{shorten(text)}: {_GRAMMAR}") from error
    if not _is_arithmetic(tree):
        raise ValueError(f"{shorten(text)}: {_GRAMMAR}")
    absent = next((name for name in used if name not in columns), None)
    if absent is not None:
        raise ValueError(f"{cut(text)}: {unknown_column('column', absent, columns)}")
    return Expression(tree, tuple(used))


def with_expression(frame: pd.DataFrame, field: str, text: str) -> pd.DataFrame:
    """A frame with the column `text`: itself if it has one, otherwise with the value of the expression in every row.

    Args:
        frame: the columns; an expression may use those with numbers.
        field: argument that holds the expression, for messages.
        text: a column or an expression.

    Raises:
        ValueError: an unknown column, or neither a column nor an expression.
    """
    if text in frame:
        return frame
    if re.fullmatch(PLAIN, text):
        raise ValueError(unknown_column(field, text, frame))
    numeric = [str(name) for name in frame.select_dtypes("number")]
    try:
        values = parse_expression(text, numeric).evaluate(lambda name: frame[name].astype(float))
    except ValueError as error:
        raise ValueError(f"{field} = {error}") from None
    return frame.assign(**{text: values})


def _column_without_backticks(text: str, columns: Sequence[str]) -> str | None:
    """A column that needs backticks and lacks them: 100-val/acc must not divide val by acc."""
    bare = re.sub(QUOTED, " ", text)
    symbols = [name for name in columns if re.search(r"\w", name) and re.search(r"[^\w.]", name)]
    digits_first = [name for name in columns if re.fullmatch(r"\d[\w.]*[^\W\d][\w.]*", name) and not _is_number(name)]
    present = [n for n in (*symbols, *digits_first) if re.search(rf"(?<![\w.]){re.escape(n)}(?![\w.])", bare)]
    return max(present, key=len, default=None)


def _with_backticks(text: str, name: str) -> str:
    parts = re.split(rf"({QUOTED})", text)
    return "".join(part if re.fullmatch(QUOTED, part) else part.replace(name, quoted(name)) for part in parts)


def _is_number(text: str) -> bool:
    token = _TOKEN.fullmatch(text)
    return token is not None and token.lastgroup == "number"


def _is_arithmetic(node: ast.expr) -> bool:
    match node:
        case ast.BinOp():
            return type(node.op) in _BINARY and _is_arithmetic(node.left) and _is_arithmetic(node.right)
        case ast.UnaryOp():
            return type(node.op) in _UNARY and _is_arithmetic(node.operand)
        case ast.Constant():
            return type(node.value) in (int, float)
    return isinstance(node, ast.Name)


def _evaluate(node: ast.expr, columns: list[pd.Series]) -> Any:
    match node:
        case ast.BinOp():
            return _BINARY[type(node.op)](_evaluate(node.left, columns), _evaluate(node.right, columns))
        case ast.UnaryOp():
            return _UNARY[type(node.op)](_evaluate(node.operand, columns))
        case ast.Constant():
            return np.float64(node.value)  # type: ignore[arg-type]
    assert isinstance(node, ast.Name)
    return columns[int(node.id[1:])]
