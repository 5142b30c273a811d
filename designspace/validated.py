"""Immutable, validated descriptions, and one-line errors: `FIELD = VALUE: must be …`.

Every model of the project derives from `Validated`. `explain` translates pydantic's errors, for constructors and for
mappings from files alike; `unknown` describes names that do not exist.
"""

from __future__ import annotations

import difflib
import json
import os
import re
import reprlib
import stat
from collections.abc import Iterable, Mapping
from numbers import Integral
from pathlib import Path
from typing import Annotated, Any, Self, TypeVar, get_args

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError

T = TypeVar("T")

SHOWN_CHARACTERS = 80  # of a value
SHOWN_ERRORS = 5
SHOWN_NAMES = 20  # in a list of allowed names
FEW_NAMES = 5  # that are listed unless one is very similar
ERROR_CHARACTERS = 300


def _printable(name: str) -> str:
    if not name.isprintable():
        raise ValueError("must have printable characters only")
    return name


Name = Annotated[str, Field(max_length=200), AfterValidator(_printable)]
"""A label that is safe in terminals, tables and files: no NUL, control, line or surrogate characters."""


def _plain_integer(value: Any) -> Any:
    return int(value) if isinstance(value, Integral) and not isinstance(value, bool) else value


accept_numpy = BeforeValidator(_plain_integer)
"""Makes a strict int field accept NumPy integers. It comes after the limits, which the JSON schema would lose."""


class Validated(BaseModel):
    """An immutable model that rejects unknown keys; invalid fields raise a ValueError of one line.

    A field's `description`, if any, completes the error "must be …".
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    def __init__(self, /, **fields: Any) -> None:
        try:
            super().__init__(**fields)
        except ValidationError as error:
            raise ValueError(explain(error, fields, type(self))) from None

    # Validate nested models without their __init__, so that errors keep their path.
    __init__.__pydantic_base_init__ = True  # type: ignore[attr-defined]

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"{name}: cannot be set on an immutable {type(self).__name__}; use changed({name}=…)")

    def __repr_args__(self) -> Iterable[tuple[str | None, Any]]:
        fields = type(self).model_fields
        return [(name, value) for name, value in self if repr(value) != repr(fields[name].default)]

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, Any], section: str = "") -> Self:
        """Validate a nested mapping, as read from a file.

        Args:
            mapping: the fields.
            section: prefix of the fields in errors, like "recipe".

        Raises:
            ValueError: naming field, value and allowed values.
        """
        try:
            return cls.model_validate(mapping)
        except ValidationError as error:
            raise ValueError(explain(error, mapping, cls, section)) from None

    def changed(self, **fields: Any) -> Self:
        """A validated copy with other values for some fields."""
        return self.from_mapping(self.given() | fields)

    def given(self) -> dict[str, Any]:
        """The fields that were set, with their values."""
        return {name: value for name, value in self if name in self.model_fields_set}

    def to_mapping(self) -> dict[str, Any]:
        """The nested mapping of JSON types that `from_mapping` reads; None is omitted where it is the default."""
        fields = type(self).model_fields
        return {name: plain(item) for name, item in self if item is not None or fields[name].default is not None}


def plain(value: Any) -> Any:
    """Convert a field's value to JSON types."""
    if isinstance(value, Validated):
        return value.to_mapping()
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, list | tuple) else value


def parse_json(adapter: TypeAdapter[T], content: str | bytes) -> T:
    """Validate a JSON text; ValueError of one line for invalid JSON or values."""
    try:
        return adapter.validate_json(content)
    except ValidationError as error:
        try:
            value = json.loads(content)
        except (ValueError, RecursionError):
            value = None
        raise ValueError(explain(error, value)) from None


def read_regular(path: Path) -> bytes:
    """Read a regular file; ValueError for folders, broken links, FIFOs and devices."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # opening a FIFO would wait for a writer
    except FileNotFoundError:
        if path.is_symlink():
            raise ValueError("must not be a broken link") from None
        raise
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise ValueError("must be a regular file")
    with open(descriptor, "rb") as stream:
        return stream.read()


class _Repr(reprlib.Repr):
    """repr() whose length and time do not depend on the size of the value."""

    def repr_int(self, value: int, level: int) -> str:
        return repr(value) if value.bit_length() <= 64 else f"<integer of {value.bit_length():,} bits>"


_repr = _Repr()
_repr.maxstring = _repr.maxother = SHOWN_CHARACTERS
_repr.maxlist = _repr.maxtuple = _repr.maxdict = 8


def shorten(value: Any) -> str:
    """repr() of a value for a message: one line of at most `SHOWN_CHARACTERS` characters."""
    return cut(" ".join(_repr.repr(value).split("\n")))


def cut(text: str, characters: int = SHOWN_CHARACTERS) -> str:
    """The text, truncated with "…" if it is longer."""
    return text if len(text) <= characters else text[: characters - 1] + "…"


def check_integer(field: str, value: object, smallest: int) -> int:
    """Check that a value is an integer, at least `smallest`; ValueError names the field."""
    integer = _plain_integer(value)
    if type(integer) is not int:
        raise ValueError(f"{field} = {shorten(value)}: must be an integer")
    if integer < smallest:
        raise ValueError(f"{field} = {integer}: must be at least {smallest}")
    return integer


def unknown(field: str, value: object, names: Iterable[str], listing: str = "") -> str:
    """Describe a name that does not exist: `FIELD = NAME: unknown; did you mean …?`

    Args:
        field: what the name stands for, like "space".
        value: the name that was given.
        names: the names that exist.
        listing: the command that lists the names, if any.
    """
    given = value if isinstance(value, str) and value and value.isprintable() else shorten(value)
    return f"{field} = {cut(given)}: unknown; {suggestion(str(value), names, listing)}"


def suggestion(value: str, names: Iterable[str], listing: str = "") -> str:
    """Up to three similar names; otherwise all names if they are few."""
    shown = list(dict.fromkeys(names))
    by_case = {name.casefold(): name for name in shown}
    few = len(shown) <= FEW_NAMES
    text = value[:200].casefold()
    similar = [name for name in by_case if "".join(word[:1] for word in re.split("[_.-]", name)) == text]
    similar += [name for name in by_case if len(text) >= 2 and name.startswith(text)]
    similar += difflib.get_close_matches(text, by_case, n=3, cutoff=0.75 if few else 0.6)
    if similar:
        return f"did you mean {', '.join(by_case[name] for name in list(dict.fromkeys(similar))[:3])}?"
    if listing and not few:
        return f"run '{listing}' for all {len(shown)}"
    more = f", … ({len(shown)} in all)" if len(shown) > SHOWN_NAMES else ""
    return f"must be one of {', '.join(shown[:SHOWN_NAMES])}{more}"


def explain(error: ValidationError, root: Any = None, model: type[BaseModel] | None = None, section: str = "") -> str:
    """Translate a validation error into one line.

    Args:
        error: the error.
        root: the validated value.
        model: the model that validated it, for suggestions of field names.
        section: prefix of all fields.
    """
    messages: dict[str, list[str]] = {}  # by field; a union reports one error for each of its members
    items = error.errors(include_url=False)
    for item in items:
        if item["type"] == "too_short" and any(item["loc"] == other["loc"][:-1] for other in items):
            continue  # pydantic counts only the valid items
        field, message = _field_and_message(item, root, model)
        messages.setdefault(".".join(part for part in (section, field) if part), []).append(message)
    lines = [cut(_join(field, reasons), ERROR_CHARACTERS) for field, reasons in messages.items()]
    if len(lines) > SHOWN_ERRORS:
        more = len(lines) - SHOWN_ERRORS
        lines[SHOWN_ERRORS:] = [f"and {more:,} more error{'s' if more > 1 else ''}"]
    return "; ".join(lines)


def _join(field: str, reasons: list[str]) -> str:
    first, *others = dict.fromkeys(reasons)
    first += "".join(f" or {other.partition(': must be ')[2] or other.lstrip(' =:')}" for other in others)
    if first.startswith((" = ", ": ")):
        return f"{field}{first}" if field else first.removeprefix(" = ").removeprefix(": ")
    return f"{field}.{first}" if field else first


def _field_and_message(item: Mapping[str, Any], root: Any, model: type[BaseModel] | None) -> tuple[str, str]:
    """The field of an error, and the rest of its message: " = VALUE: must be …" or ": required"."""
    loc, value, kind = item["loc"], item["input"], item["type"]
    context = item.get("ctx", {})
    field = ".".join(_steps(loc, root, missing=kind == "missing"))
    if kind == "json_invalid":
        return field, f": not valid JSON: {context['error']}"
    if kind == "missing":
        return field, ": required"
    if kind in ("union_tag_not_found", "union_tag_invalid"):
        discriminator = context["discriminator"].strip("'")
        field = f"{field}.{discriminator}" if field else discriminator
        if kind == "union_tag_not_found":
            return field, ": required"
        return field, f" = {shorten(context['tag'])}: must be one of {context['expected_tags'].replace(chr(39), '')}"
    fields = _fields(loc, model)
    if kind == "extra_forbidden":
        advice = suggestion(str(loc[-1]), map(str, fields)) if fields else "remove it"
        return field, f" = {shorten(value)}: unknown; {advice}"
    if kind == "value_error":
        message = str(context["error"])
        if isinstance(value, Mapping | BaseModel):
            return field, message
    else:
        message = _requirement(item)
    name = next((step for step in reversed(loc) if step in fields), None)
    if name is not None and fields[name].description:
        message = f"must be {fields[name].description}"
    return field, f" = {shorten(value)}: {message}"


_REQUIREMENTS = {
    "greater_than_equal": "be at least {ge}",
    "less_than_equal": "be at most {le}",
    "greater_than": "be greater than {gt}",
    "less_than": "be less than {lt}",
    "multiple_of": "be a multiple of {multiple_of}",
    "finite_number": "be a finite number",
    "string_too_long": "have at most {max_length} characters",
    "string_too_short": "have at least {min_length} characters",
    "too_long": "have at most {max_length} items",
    "too_short": "have at least {min_length} items",
    "invalid_key": "be text",
    "callable_type": "be a function",
    "none_required": "be null",
}
_TYPES = {
    "int": "an integer",
    "float": "a number",
    "bool": "true or false",
    "string": "text",
    "dict": "a mapping",
    "mapping": "a mapping",
    "model": "a mapping",
    "dataclass": "a mapping",
    "tuple": "a list",
    "list": "a list",
}


def _requirement(item: Mapping[str, Any]) -> str:
    """ "must be …" for an error of pydantic."""
    kind = item["type"]
    if kind == "literal_error":
        allowed = item["ctx"]["expected"].replace(" or ", ", ").replace("'", "")
        return f"must be one of {allowed}" if "," in allowed else f"must be {allowed}"
    if kind in _REQUIREMENTS:
        limits = {key: _number(limit) for key, limit in item.get("ctx", {}).items()}
        return re.sub(r"\b1 (item|character)s", r"1 \1", "must " + _REQUIREMENTS[kind].format(**limits))
    if (name := _TYPES.get(kind.partition("_")[0])) is not None:
        return f"must be {name}"
    message = re.sub(r"^[A-Z][a-z]+ should (be|have) ", r"must \1 ", item["msg"])
    return message[:1].lower() + message[1:]


def _number(limit: Any) -> str:
    return f"{limit:,}" if isinstance(limit, int) else f"{limit:g}" if isinstance(limit, float) else str(limit)


def _steps(loc: tuple[int | str, ...], value: Any, *, missing: bool) -> list[str]:
    """The keys and indices of an error's location, without the union members that pydantic adds."""
    if value is None:
        return [key_text(step) for step in loc]
    steps = []
    for number, step in enumerate(loc):
        items = _items(value)
        if step in items or (missing and number == len(loc) - 1):
            value = items.get(step)
            steps.append(key_text(step))
    return steps


def _items(value: Any) -> dict[Any, Any]:
    if isinstance(value, Mapping | BaseModel):
        return dict(value)
    return dict(enumerate(value)) if isinstance(value, list | tuple) else {}


def _fields(loc: tuple[int | str, ...], model: type[BaseModel] | None) -> dict[int | str, Any]:
    """The fields of the model that contains a location."""
    models = [] if model is None else [model]
    for step in loc[:-1]:
        nested = [
            inner
            for outer in models
            if step in outer.model_fields
            for inner in _models(outer.model_fields[str(step)].annotation)
        ]
        tagged = [
            one
            for one in models
            if isinstance(step, str) and any(field.default == step for field in one.model_fields.values())
        ]
        models = nested or tagged or models
    return {name: field for one in models for name, field in one.model_fields.items()}


def _models(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation, *(model for kind in annotation.__subclasses__() for model in _models(kind))]
    return [model for argument in get_args(annotation) for model in _models(argument)]


def key_text(step: int | str) -> str:
    """A key or index in a path, shortened if it is long or unprintable."""
    text = str(step)
    return text if len(text) <= SHOWN_CHARACTERS and text.isprintable() else shorten(text)
