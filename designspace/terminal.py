"""What the commands put on the terminal: parsers with an example, tables that are never cut."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.table import Table

    from designspace.spec import ModelSpec


def parser(name: str, doc: str | None, *examples: str, more: str = "") -> argparse.ArgumentParser:
    """The argument parser of a sub-command, with its docstring, examples and what else there is to say."""
    lines = [more, ""] if more else []
    lines += ["examples:" if len(examples) > 1 else "example:"]
    lines += [f"  designspace {name} {example}" for example in examples]
    return argparse.ArgumentParser(
        prog=f"designspace {name}",
        description=doc,
        epilog="\n".join(lines),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def add_force(parser: argparse.ArgumentParser) -> None:
    """The option --force."""
    parser.add_argument("--force", action="store_true", help="replace files that this tool did not write")


def table(first: str, *others: str) -> Table:
    """An empty table; all columns but the first are aligned to the right."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    empty = Table(first, box=SIMPLE_HEAD)
    for name in others:
        empty.add_column(name, justify="right")
    return empty


@contextmanager
def progress_line(what: str, total: int, after_seconds: float = 3.0) -> Iterator[Callable[[int], None]]:
    """Show how much is done, with an estimate of the time left, on standard error once the work takes some seconds.

    On a terminal it is one line that is overwritten, elsewhere a line every ten seconds. The block gets a function to
    call with the number done.
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
        line = f"{what}: {done:,} of {total:,}{left}"
        print(f"\r{line:<70}" if terminal else line, end="" if terminal else "\n", file=sys.stderr, flush=True)

    yield on_progress
    if terminal and next_at > began + after_seconds:
        print("\r" + " " * 70, end="\r", file=sys.stderr, flush=True)


def print_table(filled: Table) -> None:
    """Print a table at its full width, also where the terminal is narrower."""
    from rich.console import Console
    from rich.measure import Measurement

    console = Console()
    natural = Measurement.get(console, console.options.update_width(1000), filled).maximum
    Console(width=max(console.width, natural)).print(filled)


def spec_table(spec: ModelSpec) -> Table:
    """One row for each part of the network with its complexity, and the total."""
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
    """Smallest, median and largest value of each numeric column, the three in one format."""
    import numpy as np

    rows = table("", "min", "median", "max")
    for name, values in columns.items():
        if np.issubdtype(values.dtype, np.number):
            found = np.quantile(values, (0, 0.5, 1))
            decimals = 0 if np.all(found == found.round()) or found[-1] >= 1e4 else 2
            rows.add_row(name, *(f"{value:,.{decimals}f}" for value in found))
    return rows


def _text(value: float | None) -> str:
    """A group width or bottleneck ratio; that of an inverted bottleneck is the fraction it is made from: 1/6."""
    if value is None:
        return ""
    inverse = round(1 / value)
    return f"1/{inverse}" if value < 1 and abs(value * inverse - 1) < 1e-9 else f"{value:g}"
