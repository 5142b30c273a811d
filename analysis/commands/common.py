"""Options and output of the commands."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from designspace import terminal
from designspace.atomic import check_output, write_output
from designspace.figures import FIGURES, figure_bytes

if TYPE_CHECKING:
    import pandas as pd

    from analysis.results import Result
    from analysis.table import Table


def make_parser(name: str, description: str | None, *examples: str) -> argparse.ArgumentParser:
    """A parser with the arguments of every command: tables, column map, conditions."""
    parser = terminal.parser(name, description, *examples)
    parser.add_argument(
        "tables",
        nargs="+",
        metavar="RUN",
        help="study folder, folder of studies, or table: .csv, .tsv, .parquet, NDS or pycls .json",
    )
    parser.add_argument(
        "--map",
        action="append",
        default=[],
        metavar="NAME=EXPR,…",
        help="columns of a table: error (percent), macs, params, acts, depth, space, name, seed, status, recipe_id, "
        "error_1 error_2 … (one per seed), widths (of blocks; of stages with depths); any other name is a parameter; "
        "EXPR has numbers, columns and + - * /; names that are not one word go in backticks: 'error=100-`val/acc`'",
    )
    parser.add_argument(
        "--where",
        action="append",
        default=[],
        metavar="CONDITION",
        help="use only models with COL=VALUE,… or with !=, <, <=, >, >= (quote it: 'depth>=12')",
    )
    parser.add_argument(
        "--latency", metavar="NAME", help="condition of the column latency_ms, if several were measured"
    )
    return parser


def add_by(parser: argparse.ArgumentParser) -> None:
    """Add --by."""
    parser.add_argument(
        "--by",
        default="space",
        metavar="COLUMN[:N]",
        help="column whose values are the spaces; COLUMN:N splits numbers, or an expression, into N groups",
    )


# Omitted options are not passed on, so the defaults are those of the methods of `Table`.


def add_failures(parser: argparse.ArgumentParser) -> None:
    """Add --failures."""
    parser.add_argument(
        "--failures",
        default=argparse.SUPPRESS,
        metavar="POLICY",
        help="error of a failed model: worst (the largest error, default), drop (exclude it), or error=NUMBER",
    )


def add_match(parser: argparse.ArgumentParser, default: str = "macs") -> None:
    """Add --match.

    Args:
        default: of the command, for the help text.
    """
    parser.add_argument(
        "--match",
        default=argparse.SUPPRESS,
        metavar="COLUMN",
        help=f"compare at equal macs, params, acts or latency_ms; none: as drawn (default {default})",
    )


def add_across(parser: argparse.ArgumentParser) -> None:
    """Add --across."""
    parser.add_argument(
        "--across",
        action="append",
        default=argparse.SUPPRESS,
        choices=("recipe", "data"),
        help="compare models with different recipes (or data), which is an error otherwise",
    )


def add_out(parser: argparse.ArgumentParser) -> None:
    """Add --out FILE and --force."""
    parser.add_argument("--out", metavar="FILE", help="write the result to a .csv, .png or .svg file")
    terminal.add_force(parser)


def given(arguments: argparse.Namespace, *names: str) -> dict[str, Any]:
    """The options on the command line among `names`."""
    return {name: getattr(arguments, name) for name in names if hasattr(arguments, name)}


def split(text: str) -> tuple[str, ...]:
    """The non-empty items of a comma-separated list."""
    return tuple(filter(None, text.split(",")))


@contextmanager
def option_names() -> Iterator[None]:
    """Name options in errors instead of the arguments of Python functions."""
    options = {"columns": "map", "formats": "to", "tables": "RUN", "runs": "RUN"}
    try:
        yield
    except ValueError as error:
        raise ValueError(re.sub(r"^\w+", lambda name: options.get(name[0], name[0]), str(error))) from error


@option_names()
def read(arguments: argparse.Namespace) -> Table:
    """The table that the arguments describe."""
    from analysis.expressions import parse_map
    from analysis.loading import load

    table = load(*arguments.tables, columns=parse_map(",".join(arguments.map)), latency=arguments.latency)
    table = table.where(*arguments.where)
    return table.by(arguments.by) if hasattr(arguments, "by") else table


def check_out(arguments: argparse.Namespace) -> None:
    """Reject --out before any work: an unknown file type, or a file that this tool did not write."""
    if arguments.out is None:
        return
    allowed = (".csv", *FIGURES)
    if Path(arguments.out).suffix not in allowed:
        raise ValueError(f"out = {arguments.out}: must end in {', '.join(allowed)}")
    check_output(arguments.out, force=arguments.force)


def show(result: Result, arguments: argparse.Namespace) -> int:
    """Print a result, and write it to --out as CSV or as its figure."""
    for title, frame in result.tables:
        print_table(frame, title)
    print_lines(*result.sentences)
    if arguments.out is None:
        return 0
    path = Path(arguments.out)
    if path.suffix in FIGURES:
        from matplotlib.figure import Figure

        from analysis.plots.style import WIDTH

        figure = Figure(figsize=(WIDTH, 4.2), layout="constrained")
        result.plot(figure.subplots())
        content = figure_bytes(figure, path.suffix[1:], path.stem)
    else:
        content = result.frame.drop(columns=["spec"], errors="ignore").to_csv(index=False).encode()
    write_output(path, content, force=arguments.force)
    print(f"written: {path}")
    return 0


def print_table(frame: pd.DataFrame, title: str = "") -> None:
    """Print a frame with numbers aligned to the right; nothing if it is empty."""
    from rich.table import Table as RichTable
    from rich.text import Text

    from analysis.display import columns

    if frame.empty:
        return
    shown = columns(frame)
    table: RichTable = RichTable(title=title or None, title_justify="left")
    for column in shown:
        table.add_column(column.name, justify="right" if column.right else "left", overflow="fold")
    for row in zip(*(column.texts for column in shown), strict=True):
        table.add_row(*map(Text, row))  # Text, since names may contain brackets, which rich takes as markup
    terminal.print_table(table)


def print_lines(*lines: str) -> None:
    """Print sentences as a list, wrapped at the width of the terminal."""
    from rich.console import Console

    for line in lines:
        Console().print(f"• {line}", markup=False, highlight=False)
