"""The design spaces by name, and spaces made of a name and what differs from it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from designspace.spaces import anynet, regnet
from designspace.spaces.space import Constraints, DesignSpace, Template

__all__ = ["Constraints", "DesignSpace", "Template", "names", "space", "space_from_config"]

SPACES: dict[str, DesignSpace] = {
    value.name: value
    for module in (anynet, regnet)
    for value in vars(module).values()
    if isinstance(value, DesignSpace)
}


def names() -> tuple[str, ...]:
    """The names `space` knows."""
    return tuple(SPACES)


def space(name: str) -> DesignSpace:
    """The design space of that name; ValueError names those there are."""
    if name not in SPACES:
        raise ValueError(f"space = {name!r}: must be one of {', '.join(SPACES)}")
    return SPACES[name]


def space_from_config(config: Mapping[str, Any]) -> DesignSpace:
    """A space from a mapping: the named space under `base`, if any, with every given setting replaced.

    A law under `parameters` replaces the base's law whole; null removes the parameter. Other mappings are merged.

    Raises:
        ValueError: naming the field, the value and what is allowed.
    """
    given = dict(config)
    base = given.pop("base", None)
    if base is not None:
        given = _merge(space(base).model_dump(), given)
    given["parameters"] = {name: law for name, law in given.get("parameters", {}).items() if law is not None}
    return DesignSpace.from_mapping(given)


def _merge(base: dict[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in given.items():
        is_law = isinstance(value, Mapping) and ("distribution" in value or "distribution" in (base.get(key) or {}))
        if isinstance(value, Mapping) and isinstance(base.get(key), Mapping) and not is_law:
            merged[key] = _merge(base[key], value)
        else:
            merged[key] = value
    return merged
