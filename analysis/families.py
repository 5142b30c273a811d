"""Which spaces of a table are one design space, drawn at several complexities."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import takewhile
from typing import Any

import pandas as pd

from analysis.table import Study

LIMITS = ("macs", "params", "acts")
"""Constraints that say where in a design space to look, not which it is."""


def in_families(frame: pd.DataFrame, designs: Mapping[str, str]) -> pd.DataFrame:
    """Models with their design space as `space`, and the column `population`: the space they were drawn for.

    Args:
        frame: columns study, space.
        designs: as made by `space_families`; a space that is not in it is a design space of its own.
    """
    names = frame["space"].map(lambda label: designs.get(label, label))
    return frame.assign(space=names, population=frame["study"] + "/" + frame["space"])


def space_families(frame: pd.DataFrame, studies: Sequence[Study]) -> dict[str, str]:
    """The design space of every space of a table, by label.

    Two spaces of studies are one design space if their configurations differ in the limits of macs, params and acts
    only and their models were trained alike. A space of a table is a design space of its own.

    Args:
        frame: columns study, space, recipe_id, data_id; spaces as loaded.
        studies: of the table.

    Returns:
        Label to the name of its design space: the label itself, or for several what they begin with, or all of them.
    """
    configs = {study.name: study.manifest.get("config") or {} for study in studies}
    origins: dict[str, set[str]] = {}
    for row in frame[["study", "space", "recipe_id", "data_id"]].drop_duplicates().to_dict("records"):
        study, label = str(row["study"]), str(row["space"])
        origin = _origin(configs.get(study, {}), label.removeprefix(f"{study}/"))
        key = [label] if origin is None else [origin, str(row["recipe_id"]), str(row["data_id"])]
        origins.setdefault(label, set()).add(json.dumps(key, sort_keys=True, default=str))
    groups: dict[tuple[str, ...], list[str]] = {}
    for label, keys in origins.items():
        groups.setdefault(tuple(sorted(keys)), []).append(label)
    found: dict[str, str] = {}
    for labels in sorted(groups.values(), key=len):  # a space of its own keeps its label
        name = next(name for name in _names(labels) if name and name not in found.values())
        found |= dict.fromkeys(labels, name)
    return found


def _origin(config: dict[str, Any], label: str) -> list[Any] | None:
    """All of a space's configuration but its name and its limits; None where there is none."""
    settings = (config.get("spaces") or {}).get(label)
    if not isinstance(settings, dict):
        return None
    kept = {name: value for name, value in settings.items() if name not in ("name", "constraints")}
    limits = settings.get("constraints") or {}
    return [kept, {name: limit for name, limit in limits.items() if name not in LIMITS}, config.get("template")]


def _names(labels: list[str]) -> list[str]:
    same = takewhile(lambda letters: len(set(letters)) == 1, zip(*labels, strict=False))
    common = "".join(letters[0] for letters in same)
    return [common if len(labels) == 1 else common.rstrip("0123456789.-_ /"), ", ".join(labels)]
