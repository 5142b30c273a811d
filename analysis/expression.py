"""Column expressions such as `gmacs*1e9`: numbers, columns, + - * / and brackets, and nothing else."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping
from typing import Any

import pandas as pd

LONGEST = 300
"""Characters of an expression: far from what nesting a parser can bear."""

_BINARY: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}
_SIGNS: dict[type[ast.unaryop], Callable[[Any], Any]] = {ast.UAdd: operator.pos, ast.USub: operator.neg}


def parse_map(text: str) -> dict[str, str]:
    """Read "error=top1_err,macs=gmacs*1e9,n_id" into {"error": "top1_err", "macs": "gmacs*1e9", "n_id": "n_id"}.

    Raises:
        ValueError: an item without a name, without an expression, or a name given twice.
    """
    found: dict[str, str] = {}
    for item in filter(None, (part.strip() for part in text.split(","))):
        name, equals, expression = (part.strip() for part in item.partition("="))
        expression = expression if equals else name
        if not name or not expression:
            raise ValueError(f"map has the item {item!r}; it must be NAME=EXPRESSION, e.g. macs=gmacs*1e9, or a column")
        if name in found:
            raise ValueError(f"map names {name!r} twice")
        found[name] = expression
    return found


def evaluate(expression: str, frame: pd.DataFrame) -> pd.Series:
    """The value of an expression in every row; a bare column name gives that column as it is, text included.

    Args:
        expression: numbers, column names (dots allowed), + - * / and brackets.
        frame: where the columns are.

    Raises:
        ValueError: anything else in the expression, a column the frame lacks, or arithmetic with text.
    """
    text = expression.strip()
    if text in frame:  # names that are no identifiers, e.g. "top-1 error", work alone
        return frame[text]
    if len(text) > LONGEST:
        raise ValueError(f"map expression of {len(text)} characters is too long; at most {LONGEST}")
    try:
        tree = ast.parse(text, mode="eval").body
    except (SyntaxError, ValueError) as mistake:
        raise ValueError(f"map expression {text!r} cannot be read; allowed: numbers, columns, + - * / ( )") from mistake
    columns = {str(name): frame[name] for name in frame}
    value = _value(tree, columns, text)
    return value if isinstance(value, pd.Series) else pd.Series(value, index=frame.index)


def _value(node: ast.expr, columns: Mapping[str, pd.Series], text: str) -> Any:
    if isinstance(node, ast.Constant) and type(node.value) in (int, float):
        return node.value
    if isinstance(node, ast.Name | ast.Attribute):
        name = ast.unparse(node)
        if name not in columns:
            raise ValueError(f"map expression {text!r} names the column {name!r}; the table has {', '.join(columns)}")
        return columns[name]
    if isinstance(node, ast.UnaryOp) and type(node.op) in _SIGNS:
        return _SIGNS[type(node.op)](_number(node.operand, columns, text))
    if isinstance(node, ast.BinOp) and type(node.op) in _BINARY:
        left, right = _number(node.left, columns, text), _number(node.right, columns, text)
        return _BINARY[type(node.op)](left, right)
    raise ValueError(f"map expression {text!r} has {ast.unparse(node)!r}; allowed: numbers, columns, + - * / ( )")


def _number(node: ast.expr, columns: Mapping[str, pd.Series], text: str) -> Any:
    value = _value(node, columns, text)
    if isinstance(value, pd.Series) and not pd.api.types.is_numeric_dtype(value):
        raise ValueError(
            f"map expression {text!r} computes with the column {ast.unparse(node)!r}, which is not a number"
        )
    return float(value) if isinstance(value, int) else value  # in floats a division by zero is inf, not an error
