"""The commands that write pages and specs: report, export."""

from __future__ import annotations

import shlex
from pathlib import Path

from analysis.commands import inputs
from designspace import terminal
from designspace.outputs import check_output


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
    from analysis.words import headline

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
    inputs.print_table(inputs.described(findings.spaces))
    inputs.print_lines(*findings.warnings, *headline(findings), findings.resolved.sentence, *findings.table.notes)
    print(f"\nreport: {page}\nfigures: {page.parent / 'figures'}")
    return 0


def export(argv: list[str]) -> int:
    """Write the best models of one or more studies as specs, and for pycls, timm, torchvision and ONNX."""
    parser = inputs.make_parser("export", export.__doc__, "runs/demo --top 3 --to yaml,timm,onnx --out specs")
    parser.add_argument("--top", type=int, default=3, metavar="K", help="how many models (default 3)")
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
    parser.add_argument("--out", required=True, metavar="SPECS", help="where; files and folders are named RANK-SPEC_ID")
    terminal.add_force(parser)
    arguments = parser.parse_args(argv)

    from analysis.export import export_best, parse_within

    table = inputs.read(arguments)
    written = export_best(
        table,
        Path(arguments.out),
        top=arguments.top,
        formats=tuple(arguments.to.split(",")),
        objectives=tuple(filter(None, arguments.pareto.split(","))),
        within=parse_within(arguments.within),
        force=arguments.force,
    )
    kinds = {study.name: study.error for study in table.studies}
    for path, model in written:
        kind = kinds[model["study"]]
        print(f"{path}  {model['error_percent']:.2f} % {kind}, {model['space']} #{model['index']}")
        for reason in model.get("refused", {}).values():
            print(f"    not for {reason}")
    inputs.print_lines(*table.notes)
    return 0
