"""Command line of the studies; see the package."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import benchmarks.studies
from benchmarks.studies.definitions import DEFINITIONS
from benchmarks.studies.pages import write_overview, write_page, write_plan
from benchmarks.studies.study import PLAN, REPEAT, TABLE, Results

OUT = Path(__file__).parents[2] / "docs" / "studies"


def main() -> None:
    """Parse the command line and run a command; errors of the user are one line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.studies",
        description=benchmarks.studies.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("command", choices=("plan", "write", "repeat", "pages"))
    parser.add_argument("name", nargs="?", choices=tuple(DEFINITIONS))
    parser.add_argument("runs", nargs="*", type=Path, metavar="RUN")
    parser.add_argument("--n", type=int, help="plan: the chosen number of models per space")
    parser.add_argument("--why", metavar="TEXT", help="plan: the reason for this number, printed on the page")
    parser.add_argument(
        "--out", type=Path, default=OUT, metavar="DIR", help="folder of the pages (default docs/studies)"
    )
    arguments = parser.parse_args()
    if arguments.command != "pages" and (arguments.name is None or not arguments.runs):
        parser.error(f"{arguments.command}: NAME and RUN required")
    if arguments.command == "plan" and (arguments.n is None or arguments.why is None):
        parser.error("plan: --n and --why required, the number of models of the full run and its reason")
    try:
        run(arguments)
    except (ValueError, FileNotFoundError) as error:
        parser.error(str(error))


def run(arguments: argparse.Namespace) -> None:
    """Run a command."""
    if arguments.command == "pages":
        stored = [name for name in DEFINITIONS if (arguments.out / name / TABLE).exists()]
        for name in stored:
            write_page(DEFINITIONS[name], arguments.out / name)
        write_overview(arguments.out)
        return
    study, folder = DEFINITIONS[arguments.name], arguments.out / arguments.name
    if arguments.command == "plan":
        with tempfile.TemporaryDirectory() as pilot:
            study.store(arguments.runs, Path(pilot))
            write_plan(study, Results.read(Path(pilot)), arguments.n, arguments.why, folder)
        print(f"written: {folder / PLAN}")
        return
    study.store(arguments.runs, folder / REPEAT if arguments.command == "repeat" else folder)
    claims = write_page(study, folder)
    write_overview(arguments.out)
    print(claims[["claim", "estimate", "lower", "upper", "verdict"]].round(2).to_string(index=False))


if __name__ == "__main__":
    main()
