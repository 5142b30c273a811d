"""The commands that write pages and specs: report, export."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Mapping
from pathlib import Path

from analysis.commands import inputs
from designspace import terminal
from designspace.outputs import check_output

SPEC_FILES = (".yaml", ".yml")


def report(argv: list[str]) -> int:
    """Write everything about one or more studies or tables as one HTML page: EDFs, differences, trends, best models."""
    parser = inputs.make_parser(
        "report",
        report.__doc__,
        "runs/demo",
        "runs/a runs/b --failures error=90",
        "nets.csv --map name=arch,error=100-acc,macs=gmacs*1e9,layers --by layers --out pages",
    )
    inputs.add_by(parser)
    inputs.add_failures(parser)
    inputs.add_match(parser)
    inputs.add_across(parser)
    parser.add_argument("--out", metavar="DIR", help="write report.html and figures/ there (default: the first RUN)")
    terminal.add_force(parser)
    arguments = parser.parse_args(argv)

    from analysis.findings import find
    from analysis.report import PAGE, write_report
    from analysis.sentences import headline

    table = inputs.read(arguments)
    first = table.studies[0].folder
    folder = Path(arguments.out) if arguments.out else first if first.is_dir() else Path(f"{first.name}-report")
    force = arguments.force or folder == first  # a study folder is this tool's own
    check_output(folder / PAGE, force=force)
    findings = find(
        table,
        policy=arguments.failures,
        match=inputs.matched_by(arguments),
        by=arguments.by,
        across=arguments.across,
    )
    page = write_report(findings, folder, shlex.join(["designspace", "report", *argv]), force=force)
    inputs.print_table(inputs.described(findings.spaces.summary))
    inputs.print_lines(*findings.warnings, *headline(findings), findings.resolved.sentence, *findings.table.notes)
    print(f"\nreport: {page}\nfigures: {page.parent / 'figures'}")
    return 0


def export(argv: list[str]) -> int:
    """Write the best models of studies, or given specs, as specs and for pycls, timm, torchvision and ONNX."""
    parser = inputs.make_parser(
        "export",
        export.__doc__,
        "runs/demo --top 3 --to yaml,timm,onnx --out specs",
        "RegNetX-400MF_dds_8gpu.yaml --to timm --out specs    # a spec, or a configuration of pycls",
    )
    parser.add_argument("--top", type=int, metavar="K", help="how many models (default 3)")
    parser.add_argument(
        "--to",
        default="yaml",
        metavar="FORMAT,…",
        help="yaml (default), json; or a folder for each model with any of pycls, timm, torchvision, onnx, torch",
    )
    parser.add_argument(
        "--pareto", default="", metavar="COLUMN,…", help="only models that no other beats in error and these, e.g. macs"
    )
    parser.add_argument(
        "--within", default="", metavar="COLUMN=LOW:HIGH,…", help="only models between two values, e.g. macs=3e6:5e6"
    )
    parser.add_argument(
        "--out", required=True, metavar="DIR", help="where to write; files and folders are named RANK-SPEC_ID"
    )
    terminal.add_force(parser)
    arguments = parser.parse_args(argv)

    from analysis.export import export_best, parse_within

    formats = tuple(arguments.to.split(","))
    if any(Path(name).suffix in SPEC_FILES for name in arguments.tables):
        return _export_specs(arguments, formats)
    table = inputs.read(arguments)
    written = export_best(
        table,
        Path(arguments.out),
        top=3 if arguments.top is None else arguments.top,
        formats=formats,
        objectives=tuple(filter(None, arguments.pareto.split(","))),
        within=parse_within(arguments.within),
        force=arguments.force,
    )
    kinds = {study.name: study.error for study in table.studies}
    for path, model in written:
        kind = kinds[model["study"]]
        print(f"{path}  {model['error_percent']:.2f} % {kind}, {model['space']} #{model['index']}")
        _print_refused(model["refused"])
    inputs.print_lines(*table.notes)
    return 0


def _export_specs(arguments: argparse.Namespace, formats: tuple[str, ...]) -> int:
    from analysis.export import export_spec
    from designspace import load_spec

    for name in arguments.tables:
        if Path(name).suffix not in SPEC_FILES:
            raise ValueError(f"RUN = {name}: must be a YAML file too, specs and studies are exported separately")
    for option in ("top", "pareto", "within", "map", "where"):
        if getattr(arguments, option):
            raise ValueError(f"--{option}: chooses among the models of a study, must be left out with spec files")
    specs = [load_spec(name) for name in arguments.tables]
    for number, spec in enumerate(specs, start=1):
        for path, refused in export_spec(spec, Path(arguments.out), number, formats, force=arguments.force):
            print(f"{path}  {arguments.tables[number - 1]}")
            _print_refused(refused)
    return 0


def _print_refused(refused: Mapping[str, str]) -> None:
    for reason in refused.values():
        print(f"    not for {reason}")
