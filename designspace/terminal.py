"""Terminal output of the commands: argument parsers with examples, tables, progress."""

from __future__ import annotations

import argparse
import os
import sys
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from rich.table import Table

    from designspace.spec import ModelSpec


def usage_error(message: str) -> NoReturn:
    """Raise an error of argparse as a ValueError of one line."""
    message = message.removeprefix("argument ")
    if (missing := message.removeprefix("the following arguments are required: ")) != message:
        raise ValueError(f"{missing}: required")
    if (unknown := message.removeprefix("unrecognized arguments: ")) != message:
        raise ValueError(f"{unknown}: unknown; see --help")
    raise ValueError(message)


def autocomplete(parser: argparse.ArgumentParser) -> None:
    """Answer the shell and exit if this process was started to complete a command line."""
    if "_ARGCOMPLETE" in os.environ:
        import argcomplete

        argcomplete.autocomplete(parser, always_complete_options="long")


def complete_names(action: argparse.Action, names: Callable[[], Iterable[str]], *, files: bool = False) -> None:
    """Complete an argument with names, and with files if it may be one."""

    def complete(prefix: str, **_: Any) -> list[str]:
        from argcomplete.completers import FilesCompleter

        return [*names(), *(FilesCompleter()(prefix) if files else [])]

    action.completer = complete  # type: ignore[attr-defined]


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are a ValueError of one line; options and other arguments may be in any order."""

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        autocomplete(self)
        return self.parse_intermixed_args(args, namespace)

    def error(self, message: str) -> NoReturn:
        usage_error(message)

    def _get_value(self, action: argparse.Action, text: str) -> object:
        kind = "an integer" if action.type is int else "a number" if action.type is float else None
        try:
            return super()._get_value(action, text)
        except argparse.ArgumentError:
            if kind is None:
                raise
            raise ValueError(f"{'/'.join(action.option_strings) or action.dest} = {text}: must be {kind}") from None

    def _check_value(self, action: argparse.Action, value: object) -> None:
        if action.choices is not None and value not in action.choices:
            from designspace.validated import unknown

            raise ValueError(unknown("/".join(action.option_strings) or action.dest, value, map(str, action.choices)))


def parser(name: str, doc: str | None, *examples: str, more: str = "", kind: type[Parser] = Parser) -> Parser:
    """The argument parser of a subcommand, with its docstring, examples and an additional paragraph."""
    lines = [more, ""] if more else []
    lines += ["examples:" if len(examples) > 1 else "example:"]
    lines += [f"  designspace {name} {example}" for example in examples]
    return kind(
        prog=f"designspace {name}",
        description=doc,
        epilog="\n".join(lines),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def replace_deprecated(argv: Sequence[str], *names: str) -> list[str]:
    """Replace the KEY=VALUE arguments of earlier versions by options, with one warning.

    Args:
        argv: the arguments.
        names: of the options. A list such as [0.1,0.2] becomes one option per item.
    """
    replaced, deprecated = [], []
    for argument in argv:
        key, equals, value = argument.partition("=")
        if not equals or key not in names:
            replaced.append(argument)
            continue
        deprecated.append(key)
        replaced += [f"--{key}={item}" for item in _items(argument, value)]
    if deprecated:
        old = ", ".join(f"{key}=" for key in dict.fromkeys(deprecated))
        new = ", ".join(f"--{key}" for key in dict.fromkeys(deprecated))
        warnings.warn(f"{old} {'are' if ', ' in old else 'is'} deprecated: use {new}", FutureWarning, stacklevel=3)
    return replaced


def _items(argument: str, value: str) -> list[str]:
    """The items of a list or quoted text in YAML; other values as they are."""
    if not value.startswith(("[", "'", '"')):
        return [value]
    from designspace.files import read_yaml

    try:
        content: Any = read_yaml(value)
    except ValueError as error:
        raise ValueError(f"{argument}: {error}") from None
    return [str(item) for item in content] if isinstance(content, list) else [str(content)]


def add_force(parser: argparse.ArgumentParser) -> None:
    """Add the option --force."""
    parser.add_argument("--force", action="store_true", help="replace files that this tool did not write")


def table(first: str, *others: str) -> Table:
    """An empty table; all columns except the first are right-aligned."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    empty = Table(first, box=SIMPLE_HEAD)
    for name in others:
        empty.add_column(name, justify="right")
    return empty


@contextmanager
def progress_line(label: str, total: int, after_seconds: float = 3.0) -> Iterator[Callable[[int], None]]:
    """Show progress and the estimated remaining time on standard error, after some seconds.

    On a terminal this is one line that is overwritten, otherwise one line every ten seconds. The context is a function
    to call with the number of finished items.
    """
    terminal = sys.stderr.isatty()
    began = time.monotonic()
    next_at = began + after_seconds

    def on_progress(done: int) -> None:
        nonlocal next_at
        if (now := time.monotonic()) < next_at:
            return
        next_at = now + (0.2 if terminal else 10)
        left = f", about {(now - began) * (total - done) / done:,.0f} s left" if done else ""
        line = f"{label}: {done:,} of {total:,}{left}"
        print(f"\r{line:<70}" if terminal else line, end="" if terminal else "\n", file=sys.stderr, flush=True)

    yield on_progress
    if terminal and next_at > began + after_seconds:
        print("\r" + " " * 70, end="\r", file=sys.stderr, flush=True)


def print_table(filled: Table) -> None:
    """Print a table at its full width, even on a narrower terminal."""
    from rich.console import Console
    from rich.measure import Measurement

    console = Console()
    natural = Measurement.get(console, console.options.update_width(1000), filled).maximum
    Console(width=max(console.width, natural)).print(filled)


def spec_table(spec: ModelSpec) -> Table:
    """One row per part of the network with its complexity, and the total."""
    from designspace.counting import by_part

    rows = table("part", "block", "depth", "width", "stride", "b", "g", "resolution", "macs", "params", "acts")
    total = [0, 0, 0]
    for name, (counts, resolution) in by_part(spec).items():
        stage = spec.stages[int(name.removeprefix("stage")) - 1] if name.startswith("stage") else None
        shape = [""] * 6
        if stage is not None:
            ratio, group = getattr(stage, "bottleneck_ratio", None), getattr(stage, "group_width", None)
            shape = [stage.block, str(stage.depth), str(stage.width), str(stage.stride), _text(ratio), _text(group)]
        figures = (counts.macs, counts.params, counts.acts)
        total = [old + new for old, new in zip(total, figures, strict=True)]
        rows.add_row(name, *shape, str(resolution), *(f"{figure:,}" for figure in figures))
    rows.add_section()
    rows.add_row(spec.name or "total", "", str(spec.depth), *[""] * 5, *(f"{figure:,}" for figure in total))
    return rows


def summary_table(columns: dict[str, Any]) -> Table:
    """Minimum, median and maximum of each numeric column, in one format."""
    import numpy as np

    rows = table("", "min", "median", "max")
    for name, values in columns.items():
        if np.issubdtype(values.dtype, np.number):
            quantiles = np.quantile(values, (0, 0.5, 1))
            decimals = 0 if np.all(quantiles == quantiles.round()) or quantiles[-1] >= 1e4 else 2
            number = ".3g" if np.any((quantiles > 0) & (quantiles < 0.01)) else f",.{decimals}f"
            rows.add_row(name, *(f"{value:{number}}" for value in quantiles))
    return rows


def _text(value: float | None) -> str:
    """A group width or bottleneck ratio; below 1 as a fraction like 1/6."""
    if value is None:
        return ""
    inverse = round(1 / value)
    return f"1/{inverse}" if value < 1 and abs(value * inverse - 1) < 1e-9 else f"{value:g}"
