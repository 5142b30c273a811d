"""The commands of analysis: report, export."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Column

    from analysis.findings import Findings


def report(argv: list[str]) -> int:
    """Compare the spaces of one or more studies: EDFs, differences, width fits, trends, one HTML page."""
    parser = _parser(
        "report", report.__doc__, "designspace report runs/demo\n  designspace report runs/a runs/b --failures error=90"
    )
    parser.add_argument("folders", nargs="+", metavar="DIR", help="a study folder; the page is written into the first")
    parser.add_argument(
        "--failures",
        default="worst",
        metavar="POLICY",
        help="what a failed model counts as: worst (the largest error seen, default), drop, or error=NUMBER",
    )
    parser.add_argument(
        "--match",
        default="macs",
        metavar="COLUMN",
        help="compare at equal macs (default), params or acts; none: as drawn",
    )
    parser.add_argument("--out", metavar="DIR", help="write report.html and figures/ there instead")
    arguments = parser.parse_args(argv)

    from analysis.findings import find
    from analysis.report import write_report
    from analysis.table import load_table

    match = "" if arguments.match == "none" else arguments.match
    findings = find(load_table(*arguments.folders), policy=arguments.failures, match=match)
    page = write_report(findings, arguments.out or arguments.folders[0], shlex.join(["designspace", "report", *argv]))
    _print_summary(findings)
    print(f"\nreport: {page}\nfigures: {page.parent / 'figures'}")
    return 0


def export(argv: list[str]) -> int:
    """Write the best models of one or more studies as specs that load back to the same networks."""
    parser = _parser("export", export.__doc__, "designspace export runs/demo --top 3 --to yaml --out specs")
    parser.add_argument("folders", nargs="+", metavar="DIR", help="a study folder")
    parser.add_argument("--top", type=int, default=3, metavar="K", help="how many models (default 3)")
    parser.add_argument("--to", default="yaml", metavar="FORMAT", help="yaml (default), json, or both with a comma")
    parser.add_argument("--out", required=True, metavar="SPECS", help="folder for the specs, named RANK-SPEC_ID")
    arguments = parser.parse_args(argv)

    from analysis.export import export_best
    from analysis.table import load_table

    table = load_table(*arguments.folders)
    written = export_best(table, Path(arguments.out), top=arguments.top, formats=tuple(arguments.to.split(",")))
    for path, model in written:
        print(f"{path}  {model['error_percent']:.2f} % validation error, {model['space']} #{model['index']}")
    return 0


def _parser(name: str, description: str | None, example: str) -> argparse.ArgumentParser:
    return argparse.ArgumentParser(
        prog=f"designspace {name}",
        description=description,
        epilog=f"example:\n  {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def _print_summary(findings: Findings) -> None:
    from rich.console import Console
    from rich.table import Table

    from analysis.words import headline

    console = Console()
    table = Table("space", *(_right(n) for n in ("n", "failed", "min %", "median %", "mean %", "95 % of the mean")))
    for _, row in findings.spaces.iterrows():
        numbers = (f"{row[name]:.2f}" for name in ("min", "median", "mean"))
        ends = f"{row['mean_lower']:.2f} to {row['mean_upper']:.2f}"
        table.add_row(str(row["space"]), str(row["n"]), str(row["failed"]), *numbers, ends)
    console.print(table)
    for sentence in [*headline(findings), findings.resolved.sentence]:
        console.print(f"• {sentence}", markup=False, highlight=False)


def _right(name: str) -> Column:
    from rich.table import Column

    return Column(name, justify="right")
