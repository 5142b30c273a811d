"""What the commands of analysis have in common: which tables to read, which of their models, and where to write."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from designspace import terminal
from designspace.outputs import check_output, write_output

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from analysis.failures import Resolved
    from analysis.table import Table

FIGURES = (".png", ".svg")


def make_parser(name: str, description: str | None, *examples: str) -> argparse.ArgumentParser:
    """A parser with what every command takes: tables, column map, conditions."""
    parser = terminal.parser(name, description, *examples)
    parser.add_argument(
        "tables", nargs="+", metavar="RUN", help="a study folder, or a table: .csv, .tsv, .parquet, NDS or pycls .json"
    )
    parser.add_argument(
        "--map",
        action="append",
        default=[],
        metavar="NAME=EXPR,…",
        help="columns of a table: error (percent), macs, params, acts, depth, space, name, seed, status, recipe_id, "
        "error_1 error_2 … (one per seed), widths (of blocks; of stages with depths); any other name is a parameter; "
        "expressions of numbers, columns and + - * /; a name that is not one word in backticks: 'error=100-`val/acc`'",
    )
    parser.add_argument(
        "--where",
        action="append",
        default=[],
        metavar="CONDITION",
        help="only models that fulfill it: COL=VALUE,… or with !=, <, <=, >, >= (in quotes: 'depth>=12')",
    )
    return parser


def add_by(parser: argparse.ArgumentParser) -> None:
    """The option --by."""
    parser.add_argument(
        "--by",
        default="space",
        metavar="COLUMN[:N]",
        help="the column whose values are the spaces; COLUMN:N cuts numbers into N groups",
    )


def add_failures(parser: argparse.ArgumentParser) -> None:
    """The option --failures."""
    parser.add_argument(
        "--failures",
        default="worst",
        metavar="POLICY",
        help="what a failed model counts as: worst (the largest error seen, default), drop, or error=NUMBER",
    )


def add_match(parser: argparse.ArgumentParser, default: str = "macs") -> None:
    """The option --match."""
    parser.add_argument(
        "--match",
        default=default,
        metavar="COLUMN",
        help=f"compare at equal macs, params or acts; none: as drawn (default {default})",
    )


def add_across(parser: argparse.ArgumentParser) -> None:
    """The option --across."""
    parser.add_argument(
        "--across",
        action="append",
        default=[],
        choices=("recipe", "data"),
        help="compare models trained with different recipes (or data) anyway; without it they are rejected",
    )


def add_out(parser: argparse.ArgumentParser) -> None:
    """The option --out FILE."""
    parser.add_argument("--out", metavar="FILE", help="write the result there as .csv, .png or .svg")
    terminal.add_force(parser)


def read(arguments: argparse.Namespace) -> Table:
    """The table the arguments name."""
    from analysis.expression import parse_map
    from analysis.grouping import keep_where
    from analysis.table import load_table

    return keep_where(load_table(*arguments.tables, columns=parse_map(",".join(arguments.map))), arguments.where)


def models_of(arguments: argparse.Namespace) -> tuple[pd.DataFrame, Resolved, Table]:
    """One row a model after the failure policy, what the policy did, and the table with its spaces."""
    from analysis.failures import apply_failure_policy
    from analysis.grouping import group_by
    from analysis.seeds import average_seeds

    table = group_by(read(arguments), arguments.by)
    resolved = apply_failure_policy(table.frame, arguments.failures)
    return average_seeds(resolved.frame), resolved, table


def comparable_models_of(arguments: argparse.Namespace) -> tuple[pd.DataFrame, Resolved, Table]:
    """`models_of` for a comparison of spaces: rejects models trained differently unless --across accepts them.

    Prints a warning first where it does.
    """
    from analysis.compare import check_same_training

    models, resolved, table = models_of(arguments)
    print_lines(*check_same_training(models, arguments.across, table.studies))
    return models, resolved, table


def matched_by(arguments: argparse.Namespace) -> str:
    """The complexity to match by, "" for none."""
    match = "" if arguments.match == "none" else arguments.match
    if match not in ("", "macs", "params", "acts"):
        raise ValueError(f"match is {match!r}; allowed: macs, params, acts, none")
    return match


def check_out(arguments: argparse.Namespace) -> None:
    """Reject --out before any work is done: a file of an unknown kind, or one that this tool did not write."""
    if arguments.out is None:
        return
    allowed = (".csv", *FIGURES)
    if Path(arguments.out).suffix not in allowed:
        raise ValueError(f"out = {arguments.out}: must end in {', '.join(allowed)}")
    check_output(arguments.out, force=arguments.force)


def write_out(arguments: argparse.Namespace, frame: pd.DataFrame, draw: Callable[[Axes], object]) -> None:
    """Write a frame as CSV or its figure as PNG or SVG, by the suffix of --out, and say so."""
    if arguments.out is None:
        return
    path = Path(arguments.out)
    if path.suffix in FIGURES:
        from matplotlib.figure import Figure

        from analysis.plots.style import WIDTH, figure_bytes

        figure = Figure(figsize=(WIDTH, 4.2), layout="constrained")
        draw(figure.subplots())
        content = figure_bytes(figure, path.suffix[1:], path.stem)
    else:
        content = frame.to_csv(index=False).encode()
    write_output(path, content, force=arguments.force)
    print(f"written: {path}")


def print_table(frame: pd.DataFrame, title: str = "") -> None:
    """A frame as a rich table, numbers to the right; nothing for an empty one."""
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
        table.add_row(*map(Text, row))  # a name may have brackets, which are no markup here
    terminal.print_table(table)


def print_lines(*lines: str) -> None:
    """Sentences as a list, wrapped at the width of the terminal."""
    from rich.console import Console

    for line in lines:
        Console().print(f"• {line}", markup=False, highlight=False)


def described(spaces: pd.DataFrame) -> pd.DataFrame:
    """`describe_spaces` for the terminal."""
    from analysis.display import spaces_table

    kept = spaces_table(spaces).drop(columns=["25 %", "75 %", "max"])
    return kept.rename(columns={name: f"{name} %" for name in ("min", "median", "mean")})
