"""The design spaces by name, and spaces defined by a name and the settings that differ from it."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

from designspace.spaces import anynet, compound, mobile, nds, regnet
from designspace.spaces.pycls_sweep import Sweep, from_pycls_sweep
from designspace.spaces.settings import Constraints, Template
from designspace.spaces.space import DesignSpace
from designspace.validated import shorten

__all__ = [
    "Constraints",
    "DesignSpace",
    "Template",
    "from_pycls_sweep",
    "merge",
    "names",
    "space",
    "space_from_config",
]

SPACES: dict[str, DesignSpace] = {
    space.name: space
    for module in (anynet, regnet, nds, mobile, compound)
    for value in vars(module).values()
    for space in (value.values() if isinstance(value, dict) else (value,))
    if isinstance(space, DesignSpace)
}


def names() -> tuple[str, ...]:
    """Names of the design spaces."""
    return tuple(SPACES)


def space(name: str) -> DesignSpace:
    """The design space of that name or import path (module:attribute); ValueError lists the names."""
    if ":" in name:
        return _imported(name)
    if name not in SPACES:
        raise ValueError(f"space = {shorten(name)}: must be one of {', '.join(SPACES)}, or MODULE:ATTRIBUTE")
    return SPACES[name]


def _imported(path: str) -> DesignSpace:
    module, _, attribute = path.partition(":")
    if not all(name.isidentifier() for name in (*module.split("."), attribute)):
        raise ValueError(f"space = {shorten(path)}: must be MODULE:ATTRIBUTE, like my_spaces:pyramids")
    try:
        imported = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"space = {path!r}: {error}") from None
    if not isinstance(imported, DesignSpace):
        raise ValueError(f"space = {path!r}: must be a DesignSpace, not {type(imported).__name__}")
    return imported


def space_from_config(config: Mapping[str, Any]) -> DesignSpace:
    """A space from a mapping: a base, if any, with every given setting replaced.

    The base is the named space under `base`, or the sweep configuration of pycls whose keys the mapping has. A
    parameter's mapping with the key `distribution` replaces the base's distribution (except for `per_stage`, which is
    kept unless given); one without this key changes it; null removes the parameter. Other mappings are merged.

    Raises:
        ValueError: naming the field, the value and what is allowed.
    """
    given = dict(config)
    if "SETUP" in given:
        base: DesignSpace | None = from_pycls_sweep({key: given.pop(key) for key in Sweep.model_fields if key in given})
    else:
        name = given.pop("base", None)
        base = None if name is None else space(str(name))
    if base is not None:
        template = base.template.model_dump(exclude_unset=True) | {"stage": base.template.stage}
        given = merge(base.model_dump() | {"template": template}, given)
    if isinstance(parameters := given.get("parameters"), Mapping):
        given["parameters"] = {name: value for name, value in parameters.items() if value is not None}
    return DesignSpace.from_mapping(given)


def merge(base: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Merge settings into those of a base, as described in `space_from_config`."""
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
