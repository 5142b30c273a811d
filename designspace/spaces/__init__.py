"""The design spaces by name, and spaces made of a name and what differs from it."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

from designspace.spaces import anynet, compound, mobile, nds, regnet
from designspace.spaces.settings import Constraints, Template
from designspace.spaces.space import DesignSpace
from designspace.validated import shorten

__all__ = ["Constraints", "DesignSpace", "Template", "merge", "names", "space", "space_from_config"]

SPACES: dict[str, DesignSpace] = {
    space.name: space
    for module in (anynet, regnet, nds, mobile, compound)
    for value in vars(module).values()
    for space in (value.values() if isinstance(value, dict) else (value,))
    if isinstance(space, DesignSpace)
}


def names() -> tuple[str, ...]:
    """The names `space` knows."""
    return tuple(SPACES)


def space(name: str) -> DesignSpace:
    """The design space of that name or import path (module:attribute); ValueError names those there are."""
    if ":" in name:
        return _imported(name)
    if name not in SPACES:
        raise ValueError(
            f"space = {shorten(name)}: must be one of {', '.join(SPACES)}, or MODULE:ATTRIBUTE of your own"
        )
    return SPACES[name]


def _imported(path: str) -> DesignSpace:
    module, _, attribute = path.partition(":")
    if not all(name.isidentifier() for name in (*module.split("."), attribute)):
        raise ValueError(f"space = {shorten(path)}: must be MODULE:ATTRIBUTE, like my_spaces:pyramids")
    try:
        found = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"space = {path!r}: {error}") from None
    if not isinstance(found, DesignSpace):
        raise ValueError(f"space = {path!r}: is a {type(found).__name__}, not a DesignSpace")
    return found


def space_from_config(config: Mapping[str, Any]) -> DesignSpace:
    """A space from a mapping: the named space under `base`, if any, with every given setting replaced.

    A law with a `distribution` replaces the base's law (every stage keeps a draw of its own unless `per_stage` is
    given), one without changes it; null removes the parameter. Other mappings are merged.

    Raises:
        ValueError: naming the field, the value and what is allowed.
    """
    given = dict(config)
    base = given.pop("base", None)
    if base is not None:
        named = space(str(base))
        template = named.template.model_dump(exclude_unset=True) | {"stage": named.template.stage}
        given = merge(named.model_dump() | {"template": template}, given)
    if isinstance(laws := given.get("parameters"), Mapping):
        given["parameters"] = {name: law for name, law in laws.items() if law is not None}
    return DesignSpace.from_mapping(given)


def merge(base: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """The base's settings with the given ones, as `space_from_config` merges them."""
    merged = dict(base)
    for key, value in given.items():
        old = base.get(key)
        if not isinstance(value, Mapping) or not isinstance(old, Mapping):
            merged[key] = value
        elif "distribution" in value:
            merged[key] = {"per_stage": old.get("per_stage", False)} | dict(value)
        else:
            merged[key] = merge(old, value)
    return merged
