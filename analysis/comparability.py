"""Whether models were trained alike, so that a difference between their spaces is one of the spaces."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd

if TYPE_CHECKING:
    from analysis.rows import Source

TRAINING = {"recipe": "recipe_id", "data": "data_id"}
"""What a training consists of besides the network, and the column that identifies it."""


def check_same_training(frame: pd.DataFrame, across: Collection[str] = (), studies: Sequence[Source] = ()) -> list[str]:
    """Require that all models were trained with one recipe on the same data, as far as the table says.

    Args:
        frame: columns recipe_id and data_id if they are known; an empty or missing value is unknown, not different.
        across: "recipe", "data" or both: accept such a difference.
        studies: where the models come from; their configs say what differs.

    Returns:
        A warning per accepted difference.

    Raises:
        ValueError: a difference that `across` does not accept, or an unknown value of `across`.
    """
    unknown = [name for name in across if name not in TRAINING]
    if unknown:
        raise ValueError(f"across = {unknown[0]}: must be recipe or data")
    warnings, problems = [], []
    for name, column in TRAINING.items():
        ids = list(frame[column].dropna().unique()) if column in frame else []
        if len(ids) < 2:
            continue
        differences = "; ".join(_differences(name, ids, column, studies)) or f"{column} {' and '.join(map(str, ids))}"
        if name in across:
            effect = "the errors also differ for that reason" if name == "recipe" else "the errors are not of one task"
            warnings.append(f"Warning: the models were trained with different {_noun(name)} ({differences}); {effect}.")
        else:
            problems.append(f"different {_noun(name)} ({differences})")
    if problems:
        needed = ",".join(name for name, column in TRAINING.items() if any(_noun(name) in text for text in problems))
        raise ValueError(f"the models were trained with {' and '.join(problems)}; to compare anyway: across = {needed}")
    return warnings


def _noun(name: str) -> str:
    return "recipes" if name == "recipe" else "data"


def _differences(name: str, ids: Sequence[Any], column: str, studies: Sequence[Source]) -> Iterator[str]:
    """The settings in which the studies' configs differ, e.g. "epochs: 1, 2"."""
    settings = {
        study.manifest[column]: dict(_flat(study.manifest.get("config", {}).get(name) or {}))
        for study in studies
        if study.manifest.get(column) in ids
    }
    if len(settings) < len(ids):
        return
    for key in dict.fromkeys(key for found in settings.values() for key in found):
        values = list(dict.fromkeys(json.dumps(found.get(key)) for found in settings.values()))
        if len(values) > 1:
            yield f"{key}: {', '.join(values)}"


def _flat(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in settings.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
