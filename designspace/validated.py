"""Immutable descriptions that are validated when they are made, with validation errors of one line."""

from __future__ import annotations

import difflib
import os
import re
import reprlib
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Self, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

T = TypeVar("T")

SHOWN_CHARACTERS = 80  # of a value
SHOWN_ERRORS = 5
MOST_NAMES = 12  # that a message lists
SENTENCE_CHARACTERS = 300  # of an error


def _printable(name: str) -> str:
    if not name.isprintable():
        raise ValueError("must have printable characters only")
    return name


Name = Annotated[str, Field(max_length=200), AfterValidator(_printable)]
"""A label that is safe in terminals, tables and file formats: no NUL, control, line or surrogate characters."""


class Validated(BaseModel):
    """An immutable description; unknown keys are rejected."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, Any]) -> Self:
        """Validate a nested mapping, as read from a file; ValueError names field, value and what is allowed."""
        try:
            return cls.model_validate(mapping)
        except ValidationError as error:
            raise ValueError(explain(error)) from None

    def changed(self, **fields: Any) -> Self:
        """The description with other values for some fields, validated as a new one is."""
        return self.from_mapping(self.given() | fields)

    def given(self) -> dict[str, Any]:
        """The fields that were set, with their values."""
        return {name: value for name, value in self if name in self.model_fields_set}

    def to_mapping(self) -> dict[str, Any]:
        """The nested mapping of plain values that `from_mapping` reads; None is left out where it is the default."""
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
    """Validate a JSON text; ValueError of one line where it is not JSON or a value is not allowed."""
    try:
        return adapter.validate_json(content)
    except ValidationError as error:
        raise ValueError(explain(error)) from None


def read_regular(path: Path) -> bytes:
    """Read a regular file; ValueError for anything else: a folder, a broken link, a FIFO or device that never ends."""
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
    return cut(_repr.repr(value))


def cut(text: str, characters: int = SHOWN_CHARACTERS) -> str:
    """The text, or its beginning with "…" where it is longer."""
    return text if len(text) <= characters else text[: characters - 1] + "…"


def unknown(field: str, value: object, names: Iterable[str], listing: str = "") -> str:
    """Describe a name that does not exist: with the closest names, else with all of them if they are few.

    Args:
        field: what the name stands for, like "space".
        value: the name that was given.
        names: the names that exist.
        listing: the command that lists the names, if there is one.
    """
    names = list(names)
    given = value if isinstance(value, str) and value.isprintable() else shorten(value)
    by_case = {name.casefold(): name for name in names}
    close = difflib.get_close_matches(str(value)[:200].casefold(), by_case, n=3, cutoff=0.6)
    if close:
        advice = f"did you mean {', '.join(by_case[name] for name in close)}?"
    elif len(names) <= MOST_NAMES:
        advice = f"must be one of {', '.join(names)}"
    else:
        advice = f"run '{listing}' for the {len(names)} names" if listing else f"must be one of {len(names)} names"
    return f"{field} = {cut(given)}: unknown; {advice}"


def explain(error: ValidationError) -> str:
    """One sentence for each of the first errors: the field, its value, what is allowed."""
    items = error.errors(include_url=False)
    sentences = [cut(_sentence(item), SENTENCE_CHARACTERS) for item in items[:SHOWN_ERRORS]]
    if len(items) > SHOWN_ERRORS:
        sentences.append(f"and {len(items) - SHOWN_ERRORS:,} more errors")
    return "; ".join(sentences)


def _sentence(item: Mapping) -> str:
    path, value = _path(item), item["input"]
    message = item["msg"].removeprefix("Value error, ")
    message = re.sub(r"^[A-Z][a-z]+ should (be|have) ", r"must \1 ", message)
    match item["type"]:
        case "extra_forbidden":
            return f"{path}: unknown key"
        case "json_invalid":
            return f"not valid JSON: {item['ctx']['error']}"
        case "missing":
            return f"{path}: required and missing"
        case "union_tag_not_found":
            return f"{path}.{item['ctx']['discriminator'].strip(chr(39))}: required and missing"
        case "union_tag_invalid":
            context = item["ctx"]
            field, allowed = context["discriminator"].strip("'"), context["expected_tags"].replace("'", "")
            return f"{path}.{field} = {shorten(context['tag'])}: must be one of {allowed}"
        case "value_error" if isinstance(value, Mapping | BaseModel):
            return f"{path}.{message}" if path else message
    shown = f"{path} = {shorten(value)}" if path else shorten(value)
    return f"{shown}: {message[0].lower()}{message[1:]}"


def _path(item: Mapping) -> str:
    """The field's place; pydantic also names the chosen member of a union in it, which no key of the file does."""
    steps = [key_text(step) for step in item["loc"]]
    union = {i + 1 for i, step in enumerate(item["loc"][:-1]) if isinstance(step, int) and steps[0] == "stages"}
    if steps[:1] == ["parameters"]:
        union.add(2)
    return ".".join(step for i, step in enumerate(steps) if i not in union)


def key_text(step: int | str) -> str:
    """A key or index in a path; what a file made long or unprintable is shortened."""
    text = str(step)
    return text if len(text) <= SHOWN_CHARACTERS and text.isprintable() else shorten(text)
