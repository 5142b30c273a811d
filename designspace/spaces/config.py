"""Design spaces by name, from a mapping with a base and changed settings, and in files."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from designspace.atomic import replace_file
from designspace.files import read_mapping, to_lines
from designspace.packages import import_attribute
from designspace.spaces.named import SPACES
from designspace.spaces.pycls_sweep import Sweep, from_pycls_sweep
from designspace.spaces.sampling import DesignSpace
from designspace.validated import shorten, unknown

SUFFIXES = (".yaml", ".yml")
"""Suffixes of space files."""


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

    The key `restrict` is the text of a restriction, or several in order, applied last; see `DesignSpace.restrict`. The
    mapping `provenance` is ignored.

    `space_from_config(config).to_mapping()` is the complete mapping without a base.

    Raises:
        ValueError: naming the field, the value and what is allowed.
    """
    if not isinstance(config, Mapping):
        return space(config)
    given = dict(config)
    given.pop("provenance", None)
    restrictions = given.pop("restrict", None) or []
    restrictions = [restrictions] if isinstance(restrictions, str) else restrictions
    if not isinstance(restrictions, list | tuple):
        raise ValueError(f"restrict = {shorten(restrictions)}: must be text or a list of texts")
    named = "name" in given
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
    built = DesignSpace.from_mapping(given)
    for text in restrictions:
        built = built.restrict(text, built.name if named else None)
    return built


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


def load_space(path: str | Path, changes: Mapping[str, Any] | None = None) -> DesignSpace:
    """Read a space from a YAML file with a mapping as in `space_from_config`.

    Args:
        path: the file.
        changes: settings that override those of the file.

    Raises:
        FileNotFoundError: the file does not exist.
        ValueError: naming the file and the error in it.
    """
    mapping = merge(read_mapping(Path(path)), changes or {})
    try:
        return space_from_config(mapping)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def save_space(
    base: DesignSpace, path: str | Path, restrict: str | None = None, provenance: Mapping[str, Any] | None = None
) -> None:
    """Write a space to a YAML file: the closest named space, the settings that differ from it, and a restriction.

    Args:
        base: the space, before the restriction.
        path: the file. Its stem is the name of the space, and therefore the key of its random stream.
        restrict: text of a restriction of the base.
        provenance: origin of the restriction, such as the study and its number of models.

    Raises:
        ValueError: another suffix than .yaml or .yml, or not a restriction of the base.
    """
    file = Path(path)
    if file.suffix not in SUFFIXES:
        raise ValueError(f"path = {path}: must end in {' or '.join(SUFFIXES)}")
    named = base.named(file.stem)
    content = {"name": file.stem} | differences(named)
    if restrict is not None:
        named.restrict(restrict)
        content |= {"restrict": restrict}
    if provenance:
        content |= {"provenance": dict(provenance)}
    replace_file(file, f"# designspace sample space={file.name}\n{to_lines(content)}")


def differences(space: DesignSpace) -> dict[str, Any]:
    """The shortest mapping of a space with a named base, or its complete mapping if no named space can be its base."""
    target = space.to_mapping()
    mappings = [{"base": base.name} | _changes(base.to_mapping(), target) for base in SPACES.values()]
    for mapping in sorted(mappings, key=lambda mapping: len(to_lines(mapping))):
        with contextlib.suppress(ValueError):  # a merge cannot remove every setting of a base
            if _draw_alike(space_from_config(mapping), space):
                return mapping
    return target


def _draw_alike(one: DesignSpace, other: DesignSpace) -> bool:
    """Whether two spaces are equal; under compound, settings given in the template change the spec even if equal."""
    given, other_given = (space.template.model_fields_set - {"stage"} for space in (one, other))
    return one == other and (one.family != "compound" or given == other_given)


def _changes(old: Any, new: Any) -> dict[str, Any]:
    """What `merge` has to be given to turn old settings into new ones."""
    changes: dict[str, Any] = {key: None for key in old if key not in new}
    for key, value in new.items():
        before = old.get(key)
        if key in old and before == value:
            continue
        nested = isinstance(value, Mapping) and isinstance(before, Mapping)
        if nested and value.get("distribution") == before.get("distribution"):
            changes[key] = _changes(before, value)
        else:
            changes[key] = value
    return changes
