"""Expressions that users type: arithmetic such as 100-acc, and restrictions such as depth <= 20 and group_width >= 8.

A restriction is a condition on networks, drawn or trained. It is evaluated on columns: those of
`designspace.population.NetworkColumns` or of a table of trained models.

- Comparisons (<, <=, >, >=, ==, !=, in, not in), also chained, joined by `and`, `or` and `not`.
- Numbers, true, false, 'text', + - * / and parentheses.
- `depth` is the number of blocks of the network. Any other parameter with a value for every stage, such as `width`,
  stands for all of them: width <= 64 holds if it holds in every stage. width_1 is the value in the first stage.
- shared(x): all stages have the same value. nondecreasing(x): no stage has a smaller value than the one before.
  ratio(x) <= 2: the ratio of every stage to the one before. min(x), max(x): over the stages. In these functions,
  `depth` is the number of blocks of a stage.
- `e_fit`: distance of the block widths from a quantized linear rule (arXiv 2003.13678, Sec. 3.3).

A network without a value for a name satisfies no restriction with that name.
"""

from __future__ import annotations

import ast
import math
import operator
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, reduce
from itertools import count, pairwise, takewhile
from typing import Any

import numpy as np

from designspace.validated import cut, shorten, unknown

MAX_CHARACTERS = 300
"""Characters of an expression, far below what exhausts the parser."""
LISTED_NAMES = 30

QUOTED = r"`(?:[^`]|``)+`"
"""A name in backticks; a backtick inside is doubled."""
PLAIN = r"[^\W\d][\w.]*"
"""A name that needs no backticks."""
_TOKEN = re.compile(
    rf"(?P<quoted>{QUOTED})|(?P<text>'[^'\\]*'|\"[^\"\\]*\")|(?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)"
    rf"|(?P<plain>{PLAIN})"
)
_ARITHMETIC = "must consist of numbers, columns, + - * / and ( ), with backticks around names that are not one word"
_CONDITION = (
    "must consist of comparisons such as width <= 64 or shared(width), joined by and, or, not, with backticks around "
    "names that are not one word"
)

_BINARY: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}
_UNARY: dict[type[ast.unaryop], Callable[[Any], Any]] = {ast.UAdd: operator.pos, ast.USub: operator.neg}
_COMPARE: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}
_WORDS = {"and": "and", "or": "or", "not": "not", "in": "in"} | {
    word: str(value) for value in (True, False) for word in (str(value), str(value).lower())
}
PREDICATES = ("shared", "nondecreasing")
"""Functions of a parameter that are true or false."""
FUNCTIONS = (*PREDICATES, "ratio", "min", "max")
OF_NETWORK = ("depth", "macs", "params", "acts", "e_fit")
"""Quantities with one value per network, never per stage."""
_STAGE = re.compile(r"_[1-9]\d*$")
_MIRRORED: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.Gt,
    ast.LtE: ast.GtE,
    ast.Gt: ast.Lt,
    ast.GtE: ast.LtE,
    ast.Eq: ast.Eq,
}
_SHAPES = "must not combine parameters with different numbers of stages, or a ratio with a parameter"


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


def unknown_column(field: str, value: str, names: Iterable[object], listed: str = "columns") -> str:
    """The message for a name that does not exist: the closest names, else all of them."""
    columns = list(map(str, names))
    message = unknown(field, value, columns)
    return (
        message if "did you mean" in message else f"{field} = {cut(value)}: unknown; {listed}: {list_columns(columns)}"
    )


@dataclass(frozen=True)
class Expression:
    """A parsed arithmetic expression.

    Attributes:
        tree: operators and numbers, with the names _0, _1, … in place of the columns.
        columns: the columns in that order.
    """

    tree: ast.expr
    columns: tuple[str, ...]

    def evaluate(self, column: Callable[[str], Any]) -> Any:
        """The value of every row, or one number without columns. Division by zero gives infinity or NaN.

        Args:
            column: returns a column as floats.
        """
        with np.errstate(all="ignore"):
            return _arithmetic(self.tree, lambda node: column(_name(node, self.columns)))


def parse_expression(text: str, columns: Sequence[str]) -> Expression:
    """Parse an arithmetic expression.

    Args:
        text: numbers, columns, + - * / and parentheses; names that are not one word in backticks.
        columns: names that the expression may use.

    Raises:
        ValueError: anything else in the expression, or an unknown column; the message starts with the expression.
    """
    _check_length(text)
    bare = _column_without_backticks(text, columns)
    if bare is not None:
        raise ValueError(f"{cut(text)}: must have backticks around {cut(bare)}, as in {_with_backticks(text, bare)}")
    tree, used, _ = _parse(text, condition=False)
    if not _is_arithmetic(tree):
        raise ValueError(f"{shorten(text)}: {_ARITHMETIC}")
    absent = next((name for name in used if name not in columns), None)
    if absent is not None:
        raise ValueError(f"{cut(text)}: {unknown_column('column', absent, columns)}")
    return Expression(tree, used)


@dataclass(frozen=True)
class Restriction:
    """A parsed restriction; see the module's docstring for its language.

    Attributes:
        text: as typed, on one line.
        tree: with the names _0, _1, … in place of the columns.
        names: the columns and parameters in that order, with repetitions.
    """

    text: str
    tree: ast.expr
    names: tuple[str, ...]

    def check(self, columns: Iterable[str]) -> None:
        """Raise ValueError unless the columns have every name of the restriction."""
        present = dict.fromkeys(columns)
        for name, in_function in self.uses:
            if not any(_columns(name, present, in_function)):
                raise ValueError(f"{cut(self.text)}: {_unknown_name(name, present)}")

    def holds(self, columns: Mapping[str, Any]) -> np.ndarray:
        """Mask of the networks that satisfy the restriction, shape (N,).

        Args:
            columns: arrays of shape (N,) by name; a parameter drawn per stage as name_1, name_2, ….

        Raises:
            ValueError: an unknown name, or a comparison of a number with text.
        """
        self.check(columns.keys())
        evaluation = _Evaluation(self, columns)
        try:
            with np.errstate(all="ignore"):
                holds = evaluation.condition(self.tree)
        except TypeError:
            raise ValueError(f"{cut(self.text)}: must use text only in shared and with ==, != and in") from None
        return np.asarray(holds & ~evaluation.missing)

    def conjuncts(self) -> tuple[Restriction, ...]:
        """The conditions that `and` joins; the restriction itself if there is only one."""
        if not isinstance(self.tree, ast.BoolOp) or not isinstance(self.tree.op, ast.And):
            return (self,)
        origin = _parse(self.text, condition=True)[2]
        ends = [(origin[node.col_offset], origin[(node.end_col_offset or 0) - 1] + 1) for node in self.tree.values]
        return tuple(part for start, end in ends for part in parse_restriction(self.text[start:end]).conjuncts())

    @cached_property
    def uses(self) -> tuple[tuple[str, bool], ...]:
        """Each name, and whether it is the argument of a function."""
        arguments = {id(node.args[0]) for node in ast.walk(self.tree) if isinstance(node, ast.Call)}
        names = [node for node in ast.walk(self.tree) if isinstance(node, ast.Name) and node.id.startswith("_")]
        return tuple((_name(node, self.names), id(node) in arguments) for node in names)

    @property
    def predicate(self) -> tuple[str, str] | None:
        """The function and its parameter, if the restriction is just shared(…) or nondecreasing(…)."""
        return (_function(self.tree), self.names[0]) if isinstance(self.tree, ast.Call) else None

    def limits(self, *, integer: bool) -> tuple[float, float] | None:
        """Closed limits [low, high], if the restriction is only limits of one name.

        Args:
            integer: whether it is an integer: x < 3 is x <= 2 then, and x <= 3 otherwise.
        """
        if not isinstance(self.tree, ast.Compare):
            return None
        low, high = -math.inf, math.inf
        for left, sign, right in _comparisons(self.tree):
            if not isinstance(left, ast.Name):
                left, sign, right = right, _MIRRORED.get(sign, sign), left
            if not isinstance(left, ast.Name) or sign not in _MIRRORED or not _is_constant(right):
                return None
            with np.errstate(all="ignore"):
                limit = _arithmetic(right, _no_names)
            if _is_text(limit) or not math.isfinite(limit):
                return None
            if sign in (ast.Gt, ast.GtE, ast.Eq):
                low = max(low, math.floor(limit) + 1 if sign is ast.Gt and integer else float(limit))
            if sign in (ast.Lt, ast.LtE, ast.Eq):
                high = min(high, math.ceil(limit) - 1 if sign is ast.Lt and integer else float(limit))
        return low, high

    def holds_by_stage(self) -> bool:
        """Whether each stage satisfies the restriction or not, whatever the values of the other stages.

        This is a comparison of one parameter with constants, an upper limit of its max, or a lower limit of its min.
        """
        if not isinstance(self.tree, ast.Compare) or len(set(self.names)) > 1:
            return False
        if not any(isinstance(node, ast.Call) for node in ast.walk(self.tree)):
            return True
        signs = {"max": (ast.Lt, ast.LtE), "min": (ast.Gt, ast.GtE)}
        for left, sign, right in _comparisons(self.tree):
            if not isinstance(left, ast.Call):
                left, sign, right = right, _MIRRORED.get(sign, sign), left
            if not isinstance(left, ast.Call) or sign not in signs.get(_function(left), ()) or not _is_constant(right):
                return False
        return True


def parse_restriction(text: str) -> Restriction:
    """Parse a restriction; names are resolved when it is evaluated.

    Raises:
        ValueError: not a restriction; the message starts with the text.
    """
    if not isinstance(text, str):
        raise ValueError(f"{shorten(text)}: must be text, such as depth <= 20 and group_width >= 8")
    text = " ".join(text.split())
    _check_length(text)
    tree, names, _ = _parse(text, condition=True)
    _check_condition(tree, text)
    if not names:
        raise ValueError(f"{shorten(text)}: must name a parameter or column")
    return Restriction(text, tree, names)


def _columns(name: str, present: Mapping[str, Any], in_function: bool) -> tuple[str | None, tuple[str, ...]]:
    """The column with one value per network, if any, and the columns of the stages, if any, that a name stands for."""
    stages = tuple(takewhile(present.__contains__, (f"{name}_{number}" for number in count(1))))
    if name in OF_NETWORK:
        return (None, stages) if in_function else (name if name in present else None, ())
    if not stages and name not in present:
        shared = _STAGE.sub("", name)  # width_2 if all stages share width
        return (shared if shared in present and shared not in OF_NETWORK else None), ()
    return (name if name in present else None), stages


def _unknown_name(name: str, present: Mapping[str, Any]) -> str:
    if name in present:
        return f"name = {cut(name)}: must be a parameter with a value for every stage in {', '.join(FUNCTIONS)}"
    parameters = [column[:-2] for column in present if column.endswith("_1")]
    return unknown_column("name", name, dict.fromkeys((*parameters, *present)), "names")


class _Evaluation:
    """Evaluates a restriction on columns.

    Values have the shape (S, N) if there is one per stage, (S - 1, N) if they are ratios, and (N,) otherwise. NaN is a
    stage that a network lacks.

    Attributes:
        missing: mask of the networks without a value for some name, shape (N,).
    """

    def __init__(self, restriction: Restriction, columns: Mapping[str, Any]) -> None:
        self.text = cut(restriction.text)
        self.names = restriction.names
        self.columns = columns
        self.missing: Any = False

    def condition(self, node: ast.expr) -> Any:
        """Mask of the networks, shape (N,)."""
        match node:
            case ast.BoolOp():
                join = np.logical_and if isinstance(node.op, ast.And) else np.logical_or
                return reduce(join, [self.condition(value) for value in node.values])
            case ast.UnaryOp():
                return ~self.condition(node.operand)
            case ast.Call():
                values = self.stages(node)
                before, after = (values[:1], values) if _function(node) == "shared" else (values[:-1], values[1:])
                sign = ast.Eq if _function(node) == "shared" else ast.GtE
                return _all_stages(_compared(after, sign, before), after)
        assert isinstance(node, ast.Compare)
        return reduce(np.logical_and, [self.comparison(*sides) for sides in _comparisons(node)])

    def comparison(self, left: ast.expr, sign: type[ast.cmpop], right: ast.expr) -> np.ndarray:
        """Mask of the networks for which two values compare as they should in every stage, shape (N,)."""
        if sign in (ast.In, ast.NotIn):
            one = self.value(left)
            options = [self.value(option) for option in right.elts]  # type: ignore[attr-defined]
            holds = reduce(np.logical_or, [self.compared(one, ast.Eq, option) for option in options])
            return _all_stages(holds if sign is ast.In else ~holds, one)
        one, other = self.value(left), self.value(right)
        return _all_stages(self.compared(one, sign, other), one, other)

    def compared(self, one: Any, sign: type[ast.cmpop], other: Any) -> np.ndarray:
        """Compare two values; ValueError unless both are numbers or both are text."""
        if _is_text(one) != _is_text(other):
            raise ValueError(f"{self.text}: must compare numbers with numbers, and text with 'text'")
        if _is_text(one) and sign not in (ast.Eq, ast.NotEq):
            raise TypeError
        try:
            return _compared(one, sign, other)
        except ValueError:
            raise ValueError(f"{self.text}: {_SHAPES}") from None

    def value(self, node: ast.expr) -> Any:
        """The value of an arithmetic expression, a function or text."""
        try:
            return _arithmetic(node, self.leaf)
        except ValueError:  # arrays that NumPy cannot broadcast
            raise ValueError(f"{self.text}: {_SHAPES}") from None

    def leaf(self, node: ast.expr) -> Any:
        """The value of a name or function."""
        if isinstance(node, ast.Name):
            return self.read(_name(node, self.names), in_function=False)
        assert isinstance(node, ast.Call)
        values = self.stages(node)
        match _function(node):
            case "min":
                return np.fmin.reduce(values)
            case "max":
                return np.fmax.reduce(values)
        return values[1:] / values[:-1] if len(values) > 1 else np.ones_like(values)

    def stages(self, node: ast.Call) -> np.ndarray:
        """The values of a function's argument in all stages, shape (S, N), or (1, N) if all stages share it."""
        values = np.atleast_2d(self.read(_name(node.args[0], self.names), in_function=True))
        if _is_text(values) and _function(node) != "shared":
            raise TypeError
        return values

    def read(self, name: str, in_function: bool) -> np.ndarray:
        """The values of a name. In a table of several spaces, networks can have stages or one value for all of them."""
        single, numbered = _columns(name, self.columns, in_function)
        values = _array(self.columns[single]) if single is not None else None
        if numbered:
            stages = np.stack([_array(self.columns[column]) for column in numbered])
            values = stages if values is None else np.where(_absent(stages), values, stages)
        assert values is not None
        self.missing = self.missing | (_absent(values).all(axis=0) if values.ndim > 1 else _absent(values))
        return values


def _array(column: Any) -> np.ndarray:
    """A column as floats, with NaN for missing values, or as text, with None."""
    array = np.asarray(column)
    if array.dtype.kind in "biuf":
        return array.astype(float)
    cells = [None if cell is None or cell != cell else cell for cell in array.tolist()]
    if all(cell is None or isinstance(cell, bool | int | float) for cell in cells):
        return np.array([math.nan if cell is None else float(cell) for cell in cells])
    return np.array([cell if cell is None else str(cell) for cell in cells], dtype=object)


def _absent(values: Any) -> np.ndarray:
    array = np.asarray(values)
    return np.asarray(array == None, bool) if _is_text(array) else np.isnan(array)  # noqa: E711


def _is_text(values: Any) -> bool:
    return isinstance(values, str) or np.asarray(values).dtype.kind == "O"


def _compared(one: Any, sign: type[ast.cmpop], other: Any) -> np.ndarray:
    return np.asarray(_COMPARE[sign](one, other), bool)


def _all_stages(holds: np.ndarray, *sides: Any) -> np.ndarray:
    """Reduce a comparison per stage, shape (S, N), to networks; stages that a network lacks do not count."""
    if holds.ndim < 2:
        return holds
    absent = [np.broadcast_to(_absent(side), holds.shape) for side in sides if np.ndim(side)]
    return np.all(reduce(np.logical_or, absent, holds), axis=0)


def _comparisons(node: ast.Compare) -> Iterator[tuple[ast.expr, type[ast.cmpop], ast.expr]]:
    """The pairs of a chained comparison, each with its sign."""
    for (left, right), sign in zip(pairwise((node.left, *node.comparators)), node.ops, strict=True):
        yield left, type(sign), right


def _function(node: ast.expr) -> str:
    assert isinstance(node, ast.Call)
    assert isinstance(node.func, ast.Name)
    return node.func.id


def _name(node: ast.expr, names: Sequence[str]) -> str:
    assert isinstance(node, ast.Name)
    return names[int(node.id[1:])]


def _is_constant(node: ast.expr) -> bool:
    return not any(isinstance(part, ast.Name) for part in ast.walk(node))


def _no_names(node: ast.expr) -> Any:
    raise AssertionError


def _check_length(text: str) -> None:
    if len(text) > MAX_CHARACTERS:
        raise ValueError(f"{shorten(text)}: must have at most {MAX_CHARACTERS} characters, not {len(text):,}")


def _parse(text: str, condition: bool) -> tuple[ast.expr, tuple[str, ...], list[int]]:
    """Parse a text with the names _0, _1, … in place of the columns.

    Returns:
        The tree, the columns, and for each byte of the parsed text the index of its character in `text`.
    """
    used: list[str] = []
    source, origin, end = "", [], 0

    def append(piece: str, first: int, last: int) -> None:
        nonlocal source
        source += piece
        origin.extend([first] * (len(piece.encode()) - 1) + [last])

    for token in _TOKEN.finditer(text):
        for position in range(end, token.start()):
            append(text[position], position, position)
        end = token.end()
        called = condition and re.match(r"\s*\(", text[end:])
        if condition and token["plain"] in _WORDS:
            replacement = _WORDS[token[0]]
        elif token.lastgroup == "number" or (condition and (token.lastgroup == "text" or (token["plain"] and called))):
            replacement = token[0]
        elif token.lastgroup == "text":  # a column may contain a quote
            raise ValueError(f"{shorten(text)}: {_ARITHMETIC}")
        else:
            used.append(unquoted(token[0]))
            replacement = f" _{len(used) - 1} "  # the spaces separate it from an adjacent digit
        append(replacement, token.start(), end - 1)
    for position in range(end, len(text)):
        append(text[position], position, position)
    stripped = source.lstrip()
    origin = origin[len(source.encode()) - len(stripped.encode()) :]
    try:
        return ast.parse(stripped.rstrip(), mode="eval").body, tuple(used), origin
    except (SyntaxError, ValueError) as error:
        if condition and re.search(r"(?<![<>=!])=(?!=)", text):
            raise ValueError(f"{shorten(text)}: must compare with ==, not =") from error
        raise ValueError(f"{shorten(text)}: {_CONDITION if condition else _ARITHMETIC}") from error


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


def _check_condition(node: ast.expr, text: str) -> None:
    """Raise ValueError unless a tree is a condition."""
    match node:
        case ast.BoolOp():
            for value in node.values:
                _check_condition(value, text)
        case ast.UnaryOp(op=ast.Not()):
            _check_condition(node.operand, text)
        case ast.Call():
            if (name := _check_call(node, text)) not in PREDICATES:
                raise ValueError(f"{shorten(text)}: must compare {name}(…) with a number, as in {name}(…) <= 2")
        case ast.Compare():
            if not any(isinstance(part, ast.Name) for part in ast.walk(node)):
                raise ValueError(f"{shorten(text)}: must name a parameter or column in every comparison")
            for left, sign, right in _comparisons(node):
                _check_value(left, text)
                if sign not in (ast.In, ast.NotIn):
                    _check_value(right, text)
                elif not isinstance(right, ast.Tuple | ast.List) or not right.elts or not _is_constant(right):
                    raise ValueError(f"{shorten(text)}: must have a list of values after in, such as in (1, 2, 4)")
                else:
                    for option in right.elts:
                        _check_value(option, text)
        case ast.Name():
            raise ValueError(f"{shorten(text)}: must compare every name with a value, such as residual == true")
        case _:
            raise ValueError(f"{shorten(text)}: {_CONDITION}")


def _check_value(node: ast.expr, text: str) -> None:
    """Raise ValueError unless a tree is a number, text, or arithmetic with names and functions of parameters."""
    match node:
        case ast.BinOp() if type(node.op) in _BINARY:
            _check_value(node.left, text)
            _check_value(node.right, text)
        case ast.UnaryOp() if type(node.op) in _UNARY:
            _check_value(node.operand, text)
        case ast.Call():
            if (name := _check_call(node, text)) in PREDICATES:
                raise ValueError(f"{shorten(text)}: must use {name}(…) without a comparison")
        case ast.Constant() if type(node.value) in (int, float, bool, str):
            pass
        case ast.Name():
            pass
        case _:
            raise ValueError(f"{shorten(text)}: {_CONDITION}")


def _check_call(node: ast.Call, text: str) -> str:
    """The name of a function; ValueError unless it exists and has one name as its argument."""
    if not isinstance(node.func, ast.Name):
        raise ValueError(f"{shorten(text)}: {_CONDITION}")
    name = node.func.id
    if name not in FUNCTIONS:
        raise ValueError(f"{shorten(text)}: {unknown('function', name, FUNCTIONS)}")
    if node.keywords or len(node.args) != 1 or not isinstance(node.args[0], ast.Name):
        raise ValueError(f"{shorten(text)}: must have one parameter in {name}(…), such as {name}(width)")
    return name


def _arithmetic(node: ast.expr, leaf: Callable[[ast.expr], Any]) -> Any:
    """Evaluate arithmetic; `leaf` returns the value of a name or function."""
    match node:
        case ast.BinOp():
            return _BINARY[type(node.op)](_arithmetic(node.left, leaf), _arithmetic(node.right, leaf))
        case ast.UnaryOp():
            return _UNARY[type(node.op)](_arithmetic(node.operand, leaf))
        case ast.Constant():
            return node.value if isinstance(node.value, str) else np.float64(node.value)  # type: ignore[arg-type]
    return leaf(node)
