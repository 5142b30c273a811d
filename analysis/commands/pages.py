"""The commands report and export."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from analysis.commands import common
from designspace import terminal

if TYPE_CHECKING:
    from analysis.table import Table

SPEC_FILES = (".yaml", ".yml")


def report(argv: list[str]) -> int:
    """Write an HTML page about studies or tables: error distributions, differences, trends, best models."""
    parser = common.make_parser(
        "report",
        report.__doc__,
        "runs/demo",
        "runs/a runs/b --failures error=90",
        "runs/lr --across recipe    # all studies in a folder, with different recipes",
        "nets.csv --map name=arch,error=100-acc,macs=gmacs*1e9,layers --by layers --out pages",
        "runs/demo --watch    # a local page about running studies",
    )
    common.add_by(parser)
    common.add_failures(parser)
    common.add_match(parser)
    common.add_across(parser)
    parser.add_argument("--out", metavar="DIR", help="folder for report.html and figures/ (default: the first RUN)")
    parser.add_argument("--watch", action="store_true", help="serve a local page that follows running studies")
    parser.add_argument("--port", type=int, metavar="N", help="port of --watch (default 8420, or any free port)")
    terminal.add_force(parser)
    arguments = parser.parse_args(argv)
    if arguments.watch:
        return _watch(arguments)
    if arguments.port is not None:
        raise ValueError(f"port = {arguments.port}: must be used with --watch")

    table = common.read(arguments)
    out = arguments.out
    if out is None and len(table.sources) > 1 and Path(arguments.tables[0]).is_dir():
        out = arguments.tables[0]  # the first RUN may be a folder of studies
    written = table.report(
        out,
        force=arguments.force,
        command=shlex.join(["designspace", "report", *argv]),
        **common.given(arguments, "failures", "match", "across"),
    )
    from analysis.results import spaces_summary

    common.print_table(spaces_summary(written.findings.spaces.summary))
    common.print_lines(*written.sentences)
    print(f"\nreport: {written.page}\nfigures: {written.page.parent / 'figures'}")
    return 0


def _watch(arguments: argparse.Namespace) -> int:
    from analysis.live import LiveStudies, check_installed, serve
    from designspace.study import find_studies

    if arguments.out is not None:
        raise ValueError(f"out = {arguments.out}: must be left out with --watch, which writes no files")
    runs = [run for name in arguments.tables for run in find_studies(name) or [Path(name)]]
    for run in runs:
        if run.exists() and not run.is_dir():
            raise ValueError(f"RUN = {run}: must be a study folder with --watch")
    check_installed()

    def read(existing: list[Path]) -> Table:
        return common.read(argparse.Namespace(**vars(arguments) | {"tables": existing}))

    serve(LiveStudies(runs, read, **common.given(arguments, "match", "failures", "across")), arguments.port)
    return 0


@common.option_names()
def export(argv: list[str]) -> int:
    """Write the best models of studies, or given specs, as spec files or for pycls, timm, torchvision and ONNX."""
    parser = common.make_parser(
        "export",
        export.__doc__,
        "runs/demo --top 3 --to yaml,timm,onnx --out specs",
        "RegNetX-400MF_dds_8gpu.yaml --to timm --out specs    # a spec, or a pycls config",
    )
    parser.add_argument("--top", type=int, default=argparse.SUPPRESS, metavar="K", help="number of models (default 3)")
    parser.add_argument(
        "--to",
        default="yaml",
        metavar="FORMAT,…",
        help="yaml (default), json; or one folder per model with any of pycls, timm, torchvision, onnx, torch",
    )
    parser.add_argument(
        "--pareto", default="", metavar="COLUMN,…", help="only the Pareto front of the error and these, such as macs"
    )
    parser.add_argument(
        "--within", default="", metavar="COLUMN=LOW:HIGH,…", help="only models in these ranges, such as macs=3e6:5e6"
    )
    parser.add_argument(
        "--out", required=True, metavar="DIR", help="output folder; files and folders are named RANK-SPEC_ID"
    )
    terminal.add_force(parser)
    arguments = parser.parse_args(argv)

    from designspace.packages import missing_packages

    formats = common.split(arguments.to)
    missing = missing_packages(formats)
    if len(missing) == len(set(formats)):
        missing = {}  # nothing can be written, which is an error
    _export(arguments, tuple(name for name in formats if name not in missing))
    for name, error in missing.items():
        print(f"designspace export: {name} not written: {error}", file=sys.stderr)
    return 1 if missing else 0


def _export(arguments: argparse.Namespace, formats: tuple[str, ...]) -> None:
    from analysis.export import parse_within

    if any(Path(name).suffix in SPEC_FILES for name in arguments.tables):
        _export_specs(arguments, formats)
        return
    table = common.read(arguments)
    written = table.export(
        arguments.out,
        formats=formats,
        pareto=common.split(arguments.pareto),
        within=parse_within(arguments.within),
        force=arguments.force,
        **common.given(arguments, "top"),
    )
    errors = {source.name: source.error for source in table.sources}
    for path, model in written:
        error = f"{model['error_percent']:.2f} % {errors[model['study']]}"
        print(f"{path}  {error}, {model['space']} #{model['index']}")
        _print_refused(model["refused"])
    common.print_lines(*table.notes)


def _export_specs(arguments: argparse.Namespace, formats: tuple[str, ...]) -> None:
    from analysis.export import export_spec
    from designspace import load_spec

    for name in arguments.tables:
        if Path(name).suffix not in SPEC_FILES:
            raise ValueError(f"RUN = {name}: must be a YAML file too; specs and studies are exported separately")
    for option, value in common.given(arguments, "top", "pareto", "within", "map", "where").items():
        if value:
            text = ", ".join(value) if isinstance(value, list) else value
            raise ValueError(f"{option} = {text}: must be omitted with spec files; it selects models of a study")
    specs = [load_spec(name) for name in arguments.tables]
    for number, spec in enumerate(specs, start=1):
        for path, refused in export_spec(spec, Path(arguments.out), number, formats, force=arguments.force):
            print(f"{path}  {arguments.tables[number - 1]}")
            _print_refused(refused)


def _print_refused(refused: Mapping[str, str]) -> None:
    for reason in refused.values():
        print(f"    not for {reason}")
