"""The command refine."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from analysis.commands import common

if TYPE_CHECKING:
    import pandas as pd

    from analysis.refinements import RefineResult
    from analysis.rows import Source


@common.option_names()
def refine(argv: list[str]) -> int:
    """Find the next design space: restrictions that would lower the error, cost nothing, or raise it."""
    parser = common.make_parser(
        "refine",
        refine.__doc__,
        "runs/anynet_a",
        "runs/anynet_a --try 'depth <= 20 and group_width >= 8'",
        "runs/anynet_a --take 1 --write next.yaml    # then: designspace sweep 'spaces=[next.yaml]'",
        "runs/anynet_a --steps 4 --out ladder.svg",
        "runs/anynet_a --take 1 --confirm    # plan an independent draw of both spaces",
    )
    parser.add_argument(
        "--try",
        action="append",
        default=[],
        dest="tries",
        metavar="TEXT",
        help="another restriction, such as 'shared(group_width) and depth <= 20'",
    )
    parser.add_argument(
        "--take", type=int, metavar="K", help="number of a restriction in the table, for the options below"
    )
    parser.add_argument("--steps", type=int, metavar="N", help="accept up to N restrictions one by one")
    parser.add_argument("--write", metavar="FILE", help="write the space with the restriction (or all steps) as YAML")
    parser.add_argument(
        "--confirm", action="store_true", help="plan a study that draws both spaces anew (--take, or 1)"
    )
    parser.add_argument(
        "--margin", type=float, metavar="POINTS", help="largest difference that is equivalent (default sd / 5)"
    )
    parser.add_argument(
        "--draws", type=int, default=10, metavar="M", help="effect on the best of M random models (default 10)"
    )
    common.add_failures(parser)
    common.add_match(parser)
    common.add_out(parser)
    arguments = parser.parse_args(argv)
    common.check_out(arguments)
    if arguments.write is not None:
        if arguments.take is None and arguments.steps is None:
            raise ValueError(f"write = {arguments.write}: must be used with --take K or --steps N")
        if Path(arguments.write).exists() and not arguments.force:
            raise ValueError(f"write = {arguments.write}: exists; choose another name, or add --force")
    table = common.read(arguments)
    result = table.refine(
        *arguments.tries,
        take=arguments.take,
        steps=arguments.steps,
        margin=arguments.margin,
        draws=arguments.draws,
        **common.given(arguments, "match", "failures"),
    )
    common.show(result, arguments)
    row = result.frame.iloc[(arguments.take or 1) - 1]
    if arguments.write is not None:
        _write(result, row, arguments.write, table.sources[0])
    if arguments.confirm:
        _confirm(result, row, table.sources[0], force=arguments.force)
    return 0


def _write(result: RefineResult, row: pd.Series, file: str, source: Source) -> None:
    from designspace.spaces import save_space

    text, verdict, models = str(row["restriction"]), str(row["verdict"]), int(row["inside"])
    if result.steps:
        last = result.steps[-1]
        if not last.text:
            raise ValueError(f"write = {file}: no step was accepted, so there is no next space")
        text, verdict, models = last.text, last.verdict, int(last.kept.sum())
    if result.space is None:
        raise ValueError(f"write = {file}: must be omitted, because the design space of these models is unknown")
    save_space(result.space, file, text, {"from": str(source.path), "models": models, "verdict": verdict})
    print(f"written: {file}\nnext: designspace sweep 'spaces=[{file}]' run={source.path.parent / Path(file).stem}")


def _confirm(result: RefineResult, row: pd.Series, source: Source, *, force: bool) -> None:
    from analysis.refinements import plan_confirmation
    from analysis.report import sweep_command
    from designspace.files import read_mapping

    overrides = shlex.split(sweep_command(source.path))[2:]
    seed = int((source.manifest.get("config") or {}).get("seed") or 0)
    folder = Path(f"{source.path}-confirm")
    before = folder / "restricted.yaml"
    if before.exists() and not force and read_mapping(before).get("restrict") != row["restriction"]:
        raise ValueError(f"confirm: {before} exists and has another restriction; move it, or add --force")
    command, n = plan_confirmation(result, str(row["restriction"]), row, folder, str(source.path), seed, overrides)
    print(f"written: {folder / 'full.yaml'}, {folder / 'restricted.yaml'}")
    print(f"\n{n:,} models per space detect the effect with 80 % power in independent draws:\n    {command}")
    print(f"    designspace report {folder / 'run'}")
