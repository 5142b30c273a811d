"""Specs on disk: YAML or JSON by suffix, loaded safely, written whole."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from designspace.atomic import replace_file
from designspace.spec import ModelSpec

SUFFIXES = (".yaml", ".yml", ".json")


class _Loader(yaml.SafeLoader):
    """SafeLoader that reads 4e8 as a number, as YAML 1.2 and everybody's expectation have it."""


class _Dumper(yaml.SafeDumper):
    """One line for each stage: mappings of plain values below the top level are written in flow style."""


for _side in (_Loader, _Dumper):  # what one reads as a number, the other quotes where it is a word
    _side.add_implicit_resolver(
        "tag:yaml.org,2002:float",
        re.compile(r"^[-+]?(\d[\d_]*\.?[\d_]*|\.\d[\d_]*)([eE][-+]?\d+)?$|^[-+]?\.(inf|Inf|INF)$|^\.(nan|NaN|NAN)$"),
        list("-+0123456789."),
    )


def _represent_mapping(dumper: yaml.SafeDumper, mapping: dict[str, Any]) -> yaml.MappingNode:
    flat = not any(isinstance(value, dict | list) and value for value in mapping.values())
    return dumper.represent_mapping("tag:yaml.org,2002:map", mapping, flow_style=flat)


_Dumper.add_representer(dict, _represent_mapping)


def read_yaml(text: str) -> Any:
    """The value of a YAML text; ValueError where it is not YAML."""
    try:
        return yaml.load(text, Loader=_Loader)
    except yaml.YAMLError as error:
        raise ValueError(f"not valid YAML: {' '.join(str(error).split())}") from None


def read_mapping(path: Path) -> Mapping[str, Any]:
    """The mapping in a YAML or JSON file; ValueError names the file where it holds none."""
    text = path.read_text()
    try:
        value = json.loads(text) if path.suffix == ".json" else read_yaml(text)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    if not isinstance(value, Mapping):
        found = "an empty file" if value is None else type(value).__name__
        raise ValueError(f"{path}: a mapping is expected, not {found}")
    return value


def to_yaml(value: Any) -> str:
    """YAML with the keys in the given order and one line for each mapping of plain values."""
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, width=160, allow_unicode=True)


def load_spec(path: str | Path) -> ModelSpec:
    """Read a spec from a YAML or JSON file.

    Raises FileNotFoundError, or ValueError naming the file and what in it is wrong. A `provenance` mapping beside
    the spec is left alone.
    """
    path = Path(path)
    if path.suffix not in SUFFIXES:
        raise ValueError(f"{path}: the suffix of a spec file is one of {', '.join(SUFFIXES)}")
    content = read_mapping(path)
    try:
        return ModelSpec.from_mapping({key: item for key, item in content.items() if key != "provenance"})
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def save_spec(spec: ModelSpec, path: str | Path, provenance: Mapping[str, Any] | None = None) -> None:
    """Write a spec to a YAML or JSON file, with an optional mapping that says where it comes from."""
    path = Path(path)
    if path.suffix not in SUFFIXES:
        raise ValueError(f"{path}: the suffix of a spec file is one of {', '.join(SUFFIXES)}")
    content = spec.to_mapping() | ({"provenance": dict(provenance)} if provenance else {})
    replace_file(path, json.dumps(content, indent=2) + "\n" if path.suffix == ".json" else to_yaml(content))
