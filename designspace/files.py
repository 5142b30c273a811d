"""Spec and space files, YAML or JSON by suffix. Reading takes bounded time and memory for any content."""

from __future__ import annotations

import json
import re
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from yaml.composer import Composer
from yaml.resolver import Resolver

from designspace.atomic import MARK, replace_file
from designspace.pycls import from_pycls, is_pycls
from designspace.spec import ModelSpec, check_spec
from designspace.validated import shorten

SUFFIXES = (".yaml", ".yml", ".json")
MAX_BYTES = 1 << 18  # a spec has a few kilobytes, with 1,000 stages 160 kB
MAX_VALUES = 50_000  # in a YAML text, aliases expanded
MAX_NESTING = 32

# libyaml scans ten times faster, but its composer has no limits, so PyYAML's composer comes first below.
_SafeLoader: Any = yaml.CSafeLoader if yaml.__with_libyaml__ else yaml.SafeLoader


class _LimitedComposer(Composer):
    """Enforces the limits above; rejects explicit tags (!!…) and duplicate keys."""

    _nesting = _values = 0
    _anchored: dict[Any, int]  # number of values of each anchor
    peek_event: Any

    def compose_node(self, parent: Any, index: Any) -> Any:
        event = self.peek_event()
        if getattr(event, "tag", None) is not None:
            raise _error(event, f"tag {event.tag}: must be removed")
        before = self._values
        if isinstance(event, yaml.AliasEvent):
            if event.anchor in self.anchors and event.anchor not in self._anchored:
                raise _error(event, f"alias *{event.anchor}: must not occur inside its own anchor")
            self._values += self._anchored.get(event.anchor, 0)
        self._values += 1
        self._nesting += 1
        if self._values > MAX_VALUES:
            raise _error(event, f"must have at most {MAX_VALUES:,} values")
        if self._nesting > MAX_NESTING:
            raise _error(event, f"must be nested at most {MAX_NESTING} levels deep")
        node = super().compose_node(parent, index)
        self._nesting -= 1
        if event.anchor is not None:
            self._anchored.setdefault(event.anchor, self._values - before)
        return node

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        keys = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                if key.value in keys:
                    raise _error(key, f"duplicate key {shorten(key.value)}")
                keys.add(key.value)
        return node


class _Loader(_LimitedComposer, _SafeLoader):
    """Loads plain values: strings, numbers, true, false, null, lists and mappings."""

    def __init__(self, stream: str) -> None:
        _SafeLoader.__init__(self, stream)
        Composer.__init__(self)
        self._anchored = {}


def _error(event: Any, problem: str) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=problem, problem_mark=event.start_mark)


class _Dumper(yaml.SafeDumper):
    """Writes mappings of plain values below the top level in flow style, so each stage is one line."""


# Numbers as in OmegaConf and YAML 1.2: 4e8 is a number, 2024-05-01 is text. The dumper quotes text that looks like a
# number.
_FLOAT = re.compile(r"^[-+]?(\d[\d_]*\.?[\d_]*|\.\d[\d_]*)([eE][-+]?\d+)?$|^[-+]?\.(inf|Inf|INF)$|^\.(nan|NaN|NAN)$")
for _side in (_Loader, _Dumper):
    _side.yaml_implicit_resolvers = {
        first: [(tag, pattern) for tag, pattern in resolvers if tag.rpartition(":")[2] not in ("float", "timestamp")]
        for first, resolvers in Resolver.yaml_implicit_resolvers.items()
    }
    _side.add_implicit_resolver("tag:yaml.org,2002:float", _FLOAT, list("-+0123456789."))


def _represent_mapping(dumper: yaml.SafeDumper, mapping: dict[str, Any]) -> yaml.MappingNode:
    flat = not any(isinstance(value, dict | list) and value for value in mapping.values())
    return dumper.represent_mapping("tag:yaml.org,2002:map", mapping, flow_style=flat)


_Dumper.add_representer(dict, _represent_mapping)


def read_yaml(text: str) -> Any:
    """Parse YAML; ValueError gives the line of a syntax error or an exceeded limit."""
    try:
        return yaml.load(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f"line {mark.line + 1}: " if mark else ""
        problem = ", ".join(part for part in (error.context, error.problem) if part)
        raise ValueError(f"not valid YAML: {line}{problem[:200]}") from None
    except (yaml.YAMLError, ValueError) as error:  # ValueError: an integer of thousands of digits
        raise ValueError(f"not valid YAML: {' '.join(str(error).split())[:200]}") from None


def _read_json(text: str) -> Any:
    """Parse JSON; ValueError gives the line of a syntax error, a duplicate key or too deep nesting."""
    try:
        value = json.loads(text)
    except RecursionError:
        raise ValueError(f"not valid JSON: must be nested at most {MAX_NESTING} levels deep") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"not valid JSON: line {error.lineno}: {error.msg}") from None
    except ValueError as error:  # an integer of thousands of digits
        raise ValueError(f"not valid JSON: {error}") from None
    objects: list[set[str] | None] = []  # keys of the open objects; None for an array
    for token in re.finditer(r'("(?:[^"\\]|\\.)*")(\s*:)?|[][{}]', text):
        if token[0] in ("{", "["):
            objects.append(set() if token[0] == "{" else None)
        elif token[0] in ("}", "]"):
            objects.pop()
        elif token[2] and (keys := objects[-1]) is not None:
            if (key := json.loads(token[1])) in keys:
                line = text.count("\n", 0, token.start()) + 1
                raise ValueError(f"not valid JSON: line {line}: duplicate key {shorten(key)}")
            keys.add(key)
        if len(objects) > MAX_NESTING:
            line = text.count("\n", 0, token.start()) + 1
            raise ValueError(f"not valid JSON: line {line}: must be nested at most {MAX_NESTING} levels deep")
    return value


def read_mapping(path: Path) -> Mapping[str, Any]:
    """Read the mapping in a YAML or JSON file; ValueError names the file."""
    if not stat.S_ISREG(path.stat().st_mode):  # opening a pipe would wait forever
        raise ValueError(f"{path}: must be a regular file")
    with path.open("rb") as stream:
        content = stream.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise ValueError(f"{path}: must have at most {MAX_BYTES:,} bytes")
    try:
        text = content.decode("utf-8-sig")
        value = _read_json(text) if path.suffix == ".json" else read_yaml(text)
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: must be UTF-8 text, byte {error.start + 1} is not") from None
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    if not isinstance(value, Mapping):
        kind = "an empty file" if value is None else type(value).__name__
        raise ValueError(f"{path}: must contain a mapping, not {kind}")
    return value


def to_yaml(value: Any) -> str:
    """YAML with keys in the given order and one line per mapping of plain values."""
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, width=160, allow_unicode=True)


def to_lines(mapping: Mapping[str, Any]) -> str:
    """YAML with one line per key, and one per parameter of a space."""
    lines = []
    for key, value in mapping.items():
        if key == "parameters" and value:
            lines += [f"{key}:", *(f"  {name}: {_in_flow_style(item)}" for name, item in value.items())]
        else:
            lines.append(f"{key}: {_in_flow_style(value)}")
    return "\n".join(lines) + "\n"


def _in_flow_style(value: Any) -> str:
    text = yaml.dump([value], Dumper=_Dumper, default_flow_style=True, sort_keys=False, width=1e9, allow_unicode=True)
    return text.strip()[1:-1]


def load_spec(path: str | Path) -> ModelSpec:
    """Read a spec from a YAML or JSON file; a `provenance` mapping in it is ignored.

    A pycls configuration is converted (see `designspace.pycls.from_pycls`); its spec is named after the file.

    Raises:
        FileNotFoundError: the file does not exist.
        ValueError: naming the file and the error in it.
    """
    path = _spec_path(path)
    content = read_mapping(path)
    try:
        if is_pycls(content):
            return from_pycls(content, path.stem)
        return ModelSpec.from_mapping({key: item for key, item in content.items() if key != "provenance"})
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def save_spec(spec: ModelSpec, path: str | Path, provenance: Mapping[str, Any] | None = None) -> None:
    """Write a spec to a YAML or JSON file, with its origin as the mapping `provenance`."""
    path = _spec_path(path)
    content = check_spec(spec).to_mapping() | {"provenance": {"generator": MARK, **(provenance or {})}}
    replace_file(path, json.dumps(content, indent=2) + "\n" if path.suffix == ".json" else to_yaml(content))


def _spec_path(given: str | Path) -> Path:
    path = Path(given)
    if path.suffix not in SUFFIXES:
        raise ValueError(f"path = {given}: must end in {', '.join(SUFFIXES)}")
    return path
