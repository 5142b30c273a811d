"""Design spaces: by name, and from a base with changed settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from designspace.packages import import_attribute
from designspace.spaces.named import SPACES
from designspace.spaces.pycls_sweep import Sweep, from_pycls_sweep
from designspace.spaces.sampling import DesignSpace
from designspace.spaces.settings import RATES, Constraints, Template
from designspace.validated import shorten, unknown

__all__ = [
    "RATES",
    "Constraints",
    "DesignSpace",
    "Template",
    "from_pycls_sweep",
    "merge",
    "names",
    "space",
    "space_from_config",
]


def names() -> tuple[str, ...]:
    """Names of the design spaces."""
    return tuple(SPACES)


def space(name: str) -> DesignSpace:
    """The design space with a name or an import path, like `my_spaces:pyramids`; ValueError for anything else."""
    if not isinstance(name, str):
        raise ValueError(f"space = {shorten(name)}: must be a name, or an import path like my_spaces:pyramids")
    if name in SPACES:
        return SPACES[name]
    if ":" not in name:
        raise ValueError(unknown("space", name, SPACES, "designspace spaces"))
    imported = import_attribute("space", name)
    if not isinstance(imported, DesignSpace):
        raise ValueError(f"space = {shorten(name)}: must be a DesignSpace, not {type(imported).__name__}")
    return imported


def space_from_config(config: str | Mapping[str, Any]) -> DesignSpace:
    """Build a space from its name, or from a mapping with a base and changed settings.

    The key `base` is a name or MODULE:ATTRIBUTE. A mapping with the keys of a pycls sweep configuration is also a base.
    A parameter with the key `distribution` replaces the distribution of the base but inherits `per_stage`. Without this
    key it changes single settings; null removes the parameter. Other mappings are merged.

    `space_from_config(config).to_mapping()` is the complete mapping without a base.

    Raises:
        ValueError: naming the field, the value and what is allowed.
    """
    if not isinstance(config, Mapping):
        return space(config)
    given = dict(config)
    if "SETUP" in given:
        base: DesignSpace | None = from_pycls_sweep({key: given.pop(key) for key in Sweep.model_fields if key in given})
    else:
        name = given.pop("base", None)
        base = None if name is None else space(name)
    if base is not None:
        template = base.template.model_dump(exclude_unset=True) | {"stage": base.template.stage}
        given = merge(base.model_dump() | {"template": template}, given)
    if isinstance(parameters := given.get("parameters"), Mapping):
        given["parameters"] = {name: value for name, value in parameters.items() if value is not None}
    return DesignSpace.from_mapping(given)


def merge(base: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Merge settings into those of a base as described in `space_from_config`."""
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
