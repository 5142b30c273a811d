"""Configuration from plain mappings, with mistakes told in one sentence."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

Config = TypeVar("Config", bound=BaseModel)


def checked(kind: type[Config], section: str, mapping: Mapping[str, Any]) -> Config:
    """Build a frozen config from a mapping; ValueError names field, value and what is allowed.

    Args:
        kind: the config; a field's description, where it has one, says what is allowed.
        section: where in the whole config it stands; "" is the whole.
        mapping: the values.
    """
    try:
        return kind.model_validate(dict(mapping))
    except ValidationError as error:
        told = [_sentence(kind, section, mapping, problem) for problem in error.errors()]
        raise ValueError("; ".join(dict.fromkeys(told))) from None  # each choice of a union has a problem of its own


def _sentence(kind: type[BaseModel], section: str, mapping: Mapping[str, Any], problem: Any) -> str:
    reason = problem["msg"].removeprefix("Value error, ")
    if not problem["loc"]:
        return f"{section}: {reason}" if section else reason
    name, *_ = place = [str(part) for part in problem["loc"]]
    prefix = f"{section}." if section else ""
    field = prefix + ".".join(place)
    if problem["type"] == "extra_forbidden":
        return f"{field} is not known; {section or 'the config'} has {', '.join(kind.model_fields)}"
    if problem["type"] == "missing":
        return f"{field} is missing"
    if allowed := kind.model_fields[name].description:
        return f"{prefix}{name}={mapping[name]} is not allowed; allowed: {allowed}"
    return f"{field} = {problem['input']!r}: {reason[0].lower()}{reason[1:]}"
