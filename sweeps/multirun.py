"""Sweeps over settings: one study for each combination of the swept values."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Glob, Override, Quote, QuotedString
from omegaconf import DictConfig, OmegaConf

MULTIRUN = "multirun"
"""End of the name of the folder of the studies of a sweep."""

LONGEST_NAME = 150
"""Characters of a folder's name; most file systems allow 255 bytes."""


@dataclass(frozen=True)
class Combination:
    """The overrides of one study, with a single value each, and those among them that are swept.

    Args:
        overrides: all overrides, in the order of the command line.
        swept: KEY=VALUE of the swept ones.
    """

    overrides: tuple[str, ...]
    swept: tuple[str, ...]

    @property
    def sets_run(self) -> bool:
        """Whether the study folder is on the command line."""
        return any(text.partition("=")[0].lstrip("+") == "run" for text in self.overrides)


def expand(overrides: Sequence[str], multirun: bool, roots: Sequence[str]) -> tuple[list[Combination], tuple[int, ...]]:
    """Expand swept values.

    Args:
        overrides: Hydra overrides.
        multirun: whether values may be swept.
        roots: folders of the config groups, for `glob`.
    Returns:
        All combinations, the last key varying fastest, and the values of `worker` if it is swept.
    Raises:
        ValueError: a sweep is not allowed.
    """
    workers: tuple[int, ...] = ()
    choices: dict[str, list[str]] = {}
    swept: set[str] = set()
    for text, parsed in zip(overrides, OverridesParser.create().parse_overrides(list(overrides)), strict=True):
        is_sweep = parsed.is_sweep_override()
        if is_sweep and not multirun:
            raise ValueError(f"{text}: must be used with -m, which trains one study per value; write a list as [1,2]")
        if is_sweep and parsed.is_hydra_override():
            raise ValueError(f"{text}: must be a single value; the studies of a sweep share the launcher")
        values = _values(text, parsed, roots) if is_sweep else []
        if is_sweep and parsed.key_or_group == "worker":
            if not all(value.isdigit() for value in values) or len(set(values)) < len(values):
                raise ValueError(f"{text}: must be different numbers from 0, like worker=0,1")
            workers = tuple(map(int, values))
            continue
        key = parsed.get_key_element()  # given twice, the last one counts
        choices[key] = [f"{key}={value}" for value in values] if is_sweep else [text]
        swept = swept | {key} if is_sweep else swept - {key}
    combinations = [
        Combination(chosen, tuple(text for key, text in zip(choices, chosen, strict=True) if key in swept))
        for chosen in itertools.product(*choices.values())
    ]
    return combinations, workers


def _values(text: str, parsed: Override, roots: Sequence[str]) -> list[str]:
    if not parsed.is_discrete_sweep():
        raise ValueError(f"{text}: must list its values, like 0.1,0.2 or range(1,5)")
    value: Any = parsed.value()
    if not isinstance(value, Glob):
        return list(parsed.sweep_string_iterator())
    names = {path.stem for root in roots for path in (Path(root) / parsed.key_or_group).glob("*.yaml")}
    values: list[str] = value.filter(sorted(names))
    if not values:
        raise ValueError(f"{text}: matches no config; {parsed.key_or_group} has {', '.join(sorted(names)) or 'none'}")
    return values


def set_runs(combinations: Sequence[Combination], configs: Sequence[DictConfig]) -> None:
    """Set `run` of the studies that would share the folder of their config, or have none.

    The folder of such a study is RUN-multirun/NAME, with `run` of its config and a name like "learning_rate-0.1".
    """
    runs = [None if OmegaConf.is_missing(config, "run") else str(config.run) for config in configs]
    shared = Counter(runs)
    for combination, config, run in zip(combinations, configs, runs, strict=True):
        if not combination.sets_run and (run is None or shared[run] > 1):
            parent = f"runs/{MULTIRUN}" if run is None else f"{run}-{MULTIRUN}"
            config.run = f"{parent}/{folder_name(combination.swept)}"


def run_override(run: str | Path) -> str:
    """The override that sets the study folder, whatever characters its name has."""
    return f"++run={QuotedString(str(run), Quote.single).with_quotes()}"


def folder_name(settings: Iterable[str]) -> str:
    """Name a folder after KEY=VALUE settings, such as "epochs-2-resolution-14".

    Keys are shortened to their last part where these differ.
    """
    pairs = [text.lstrip("+~").partition("=") for text in settings]
    last = [re.split(r"[./]", key)[-1] for key, _, _ in pairs]
    keys = last if len(set(last)) == len(last) else [key for key, _, _ in pairs]
    words = [word for key, (_, _, value) in zip(keys, pairs, strict=True) for word in (key, value)]
    return "-".join(re.sub(r"[^\w.]+", "-", word).strip("-") for word in words)[:LONGEST_NAME]
