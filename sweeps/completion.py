"""Shell completion of overrides: config groups and their choices, keys and their values, names of spaces."""

from __future__ import annotations

import argparse
import contextlib
import os
import re
from collections.abc import Sequence
from typing import Any

import hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.plugins.completion_plugin import DefaultCompletionPlugin

from sweeps.config import CONF

SPACES = re.compile(r"(\+*spaces=\[?(?:[^,\]]+,)*|\+*spaces\.[^.=]+\.base=)[^,\]]*")
"""An override that names spaces; the group is everything before the last name."""


def add_completer(action: argparse.Action) -> None:
    """Complete the words of an argument as overrides."""

    def complete(prefix: str, parsed_args: argparse.Namespace, **_: Any) -> list[str]:
        overrides = [text for text in parsed_args.overrides or [] if isinstance(text, str) and "=" in text]
        return complete_override(prefix, overrides, parsed_args.config_dir)

    action.completer = complete  # type: ignore[attr-defined]


def complete_override(prefix: str, overrides: Sequence[str] = (), config_dir: str | None = None) -> list[str]:
    """The possible continuations of a word.

    Args:
        prefix: the beginning of the word.
        overrides: the other overrides of the command line.
        config_dir: folder with further configs.
    """
    from designspace import spaces

    if match := SPACES.fullmatch(prefix):
        return [match[1] + name for name in spaces.names() if (match[1] + name).startswith(prefix)]
    key, equals, value = prefix.partition("=")
    before, comma, last = value.rpartition(",")  # of swept values
    words = [f"hydra.searchpath=[file://{os.path.abspath(config_dir)}]"] if config_dir else []
    words += [text for text in overrides if " " not in text]
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"), contextlib.suppress(Exception):
        # Incomplete or wrong overrides raise errors of any kind.
        plugin = DefaultCompletionPlugin(GlobalHydra.instance().config_loader())
        matches: list[str] = plugin._query("config", " ".join([*words, key + equals + last if comma else prefix]))
        while len(matches) == 1 and matches[0].endswith(".") and matches[0] != prefix:
            prefix = matches[0]
            matches = plugin._query("config", " ".join([*words, prefix])) or matches
        return [f"{key}={before},{match.partition('=')[2]}" if comma else match for match in matches]
    return []
