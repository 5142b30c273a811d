"""Configuration from plain mappings, with mistakes told in one sentence."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

Config = TypeVar("Config", bound=BaseModel)


def checked(kind: type[Config], section: str, mapping: Mapping[str, Any]) -> Config:
    """Build a frozen config from a mapping; ValueError names field, value and what is allowed."""
    try:
        return kind.model_validate(dict(mapping))
    except ValidationError as error:
        raise ValueError("; ".join(_sentence(kind, section, problem) for problem in error.errors())) from None


def _sentence(kind: type[BaseModel], section: str, problem: Any) -> str:
    field = ".".join((section, *map(str, problem["loc"])))
    if problem["type"] == "extra_forbidden":
        return f"{field} is not known; {section} has {', '.join(kind.model_fields)}"
    if problem["type"] == "missing":
        return f"{field} is missing"
    reason = problem["msg"].removeprefix("Value error, ")
    if not problem["loc"]:
        return f"{section}: {reason}"
    return f"{field} = {problem['input']!r}: {reason[0].lower()}{reason[1:]}"
