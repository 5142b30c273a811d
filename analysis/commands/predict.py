"""The command predict."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from analysis.commands import common
from designspace import terminal

if TYPE_CHECKING:
    import pandas as pd


def predict(argv: list[str]) -> int:
    """Predict the errors of untrained networks, and list the networks with the smallest predicted errors."""
    parser = common.make_parser(
        "predict",
        predict.__doc__,
        "runs/demo --count 100000 --top 10",
        "runs/demo --where space=regnetx --specs predicted --out predicted.csv",
        "runs/demo --out predicted.svg    # measured against predicted error, cross-validated",
    )
    common.add_by(parser)
    common.add_failures(parser)
    parser.add_argument("--top", type=int, default=10, metavar="K", help="networks listed per space (default 10)")
    parser.add_argument("--count", type=int, default=10_000, metavar="N", help="draws per space (default 10000)")
    parser.add_argument("--specs", metavar="DIR", help="write the listed networks as spec files, ROW-SPEC_ID.yaml")
    common.add_out(parser)
    arguments = parser.parse_args(argv)
    common.check_out(arguments)
    table = common.read(arguments)
    with terminal.progress_line("drawn", arguments.count) as on_progress:
        result = table.predict(
            arguments.top, count=arguments.count, on_progress=on_progress, **common.given(arguments, "failures")
        )
    common.show(result, arguments)
    if arguments.specs is not None:
        _write_specs(result.frame, Path(arguments.specs), force=arguments.force)
    return 0


def _write_specs(frame: pd.DataFrame, folder: Path, *, force: bool) -> None:
    from analysis.export import export_spec
    from designspace import ModelSpec

    if "spec" not in frame:
        raise ValueError(f"specs = {folder}: must be omitted, because the design space of these models is unknown")
    for number, row in enumerate(frame.to_dict("records"), start=1):
        origin = {name: row[name] for name in ("space", "index", "spec_id", "predicted_percent")}
        spec = ModelSpec.from_mapping(row["spec"])
        for path, _ in export_spec(spec, folder, number, ("yaml",), origin, force=force):
            print(f"written: {path}")
