"""Descriptions that are checked when they are made, and whose mistakes are told in sentences."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ValidationError


class Validated(BaseModel):
    """An immutable description; unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, Any]) -> Self:
        """Check a nested mapping, as read from a file; ValueError names field, value and what is allowed."""
        try:
            return cls.model_validate(mapping)
        except ValidationError as error:
            raise ValueError(explain(error)) from None

    def changed(self, **fields: Any) -> Self:
        """The description with other values for some fields, checked as a new one is."""
        return self.from_mapping(self.given() | fields)

    def given(self) -> dict[str, Any]:
        """The fields that were set, with their values."""
        return {name: value for name, value in self if name in self.model_fields_set}

    def to_mapping(self) -> dict[str, Any]:
        """The nested mapping of plain values that `from_mapping` reads; None is left out where it is the default."""
        fields = type(self).model_fields
        return {name: _plain(item) for name, item in self if item is not None or fields[name].default is not None}


def _plain(value: Any) -> Any:
    if isinstance(value, Validated):
        return value.to_mapping()
    return [_plain(item) for item in value] if isinstance(value, tuple) else value


def explain(error: ValidationError) -> str:
    """One sentence for each mistake: the field, its value, what is allowed."""
    return "; ".join(_sentence(item) for item in error.errors(include_url=False))


def _sentence(item: Mapping) -> str:
    path, value = _path(item), item["input"]
    message = item["msg"].removeprefix("Value error, ")
    match item["type"]:
        case "extra_forbidden":
            return f"{path}: unknown key"
        case "missing":
            return f"{path}: required and missing"
        case "union_tag_not_found":
            return f"{path}.{item['ctx']['discriminator'].strip(chr(39))}: required and missing"
        case "union_tag_invalid":
            context = item["ctx"]
            field = context["discriminator"].strip("'")
            return (
                f"{path}.{field} = {context['tag']!r}: must be one of {context['expected_tags'].replace(chr(39), '')}"
            )
        case "value_error" if isinstance(value, Mapping | BaseModel):
            return f"{path}.{message}" if path else message
    return f"{path} = {value!r}: {message[0].lower()}{message[1:]}"


def _path(item: Mapping) -> str:
    """The field's place; pydantic also names the chosen member of a union in it, which no key of the file does."""
    steps = [str(step) for step in item["loc"]]
    union = {i + 1 for i, step in enumerate(item["loc"][:-1]) if isinstance(step, int) and steps[0] == "stages"}
    if steps[:1] == ["parameters"]:
        union.add(2)
    return ".".join(step for i, step in enumerate(steps) if i not in union)
