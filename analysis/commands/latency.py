"""The command latency."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from analysis.commands import common
from designspace import terminal
from designspace.atomic import check_output, write_output

if TYPE_CHECKING:
    import pandas as pd

    from designspace.latency.records import Condition, Latency
    from designspace.spec import ModelSpec

MOST_SHOWN = 20
"""Networks that are listed individually."""


def latency(argv: list[str]) -> int:
    """Measure the latency of networks; repeat the command to resume, or to measure new networks."""
    parser = terminal.parser(
        "latency",
        latency.__doc__,
        "runs/demo --engine onnxruntime    # then: designspace report runs/demo --match latency_ms",
        "RegNetX-200MF RegNetX-400MF specs/1-3f2a9c.yaml --threads 4 --batch 8",
        "population.parquet --fit latency.yaml    # then: designspace sample … latency_predictor=latency.yaml",
    )
    parser.add_argument(
        "networks",
        nargs="+",
        metavar="RUN|POPULATION|SPEC",
        help="study folder; .parquet written by designspace sample; spec file or exported folder; or name of a "
        "published network",
    )
    parser.add_argument("--engine", default="torch", choices=("torch", "onnxruntime"), help="default torch (eager)")
    parser.add_argument("--batch", type=int, default=1, metavar="N", help="images per forward pass (default 1)")
    parser.add_argument("--threads", type=int, default=1, metavar="N", help="CPU threads (default 1)")
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"), help="default cpu")
    parser.add_argument(
        "--clock",
        default="wall",
        choices=("wall", "cpu"),
        help="wall (default), or cpu: processor time of the thread, for machines that run other programs",
    )
    parser.add_argument("--first", type=int, metavar="N", help="only the first N networks of the study or population")
    parser.add_argument(
        "--precision",
        type=float,
        metavar="FRACTION",
        help="repeat until the 95 %% confidence intervals of the medians are within this fraction (default 0.02)",
    )
    parser.add_argument("--rounds", type=int, metavar="N", help="repeat at most N times (default 30)")
    parser.add_argument(
        "--out", metavar="DIR", help="folder of the latencies (default RUN/latency, POPULATION-latency, none for specs)"
    )
    parser.add_argument("--fit", metavar="FILE", help="fit a predictor from complexity and write it (.yaml or .json)")
    terminal.add_force(parser)
    arguments = parser.parse_args(argv)
    frame, folder = _networks(arguments.networks, arguments.first)
    if arguments.fit is not None:
        _check_fit(arguments.fit, len(frame), force=arguments.force)
    folder = Path(arguments.out) if arguments.out is not None else folder

    from designspace.latency.engines import condition

    chosen = condition(arguments.engine, arguments.device, arguments.batch, arguments.threads, arguments.clock)
    options = {"precision": arguments.precision, "most_rounds": arguments.rounds}
    given = {name: value for name, value in options.items() if value is not None}
    measured = _measure(frame, chosen, folder, given)
    _show(frame, measured, chosen, folder)
    if arguments.fit is not None:
        from analysis.latency import fit_latency

        predictor = fit_latency(_with_latency(frame, measured), chosen.text)
        write_output(arguments.fit, predictor.to_file(Path(arguments.fit).suffix), force=arguments.force)
        common.print_lines(predictor.text)
        print(f"written: {arguments.fit}")
    return 0


def _check_fit(file: str, networks: int, *, force: bool) -> None:
    from analysis.latency import FEWEST_TO_FIT
    from designspace.files import SUFFIXES

    if Path(file).suffix not in SUFFIXES:
        raise ValueError(f"fit = {file}: must end in {', '.join(SUFFIXES)}")
    if networks < FEWEST_TO_FIT:
        raise ValueError(f"fit = {file}: must be used with at least {FEWEST_TO_FIT} networks, not {networks}")
    check_output(file, force=force)


def _networks(names: list[str], first: int | None) -> tuple[pd.DataFrame, Path | None]:
    """The distinct networks with their complexity and specs, and the default folder of their latencies."""
    import pandas as pd

    from designspace.commands import find_spec
    from designspace.validated import check_integer

    if first is not None:
        check_integer("first", first, 1)
    names = [str(Path(name) / "spec.yaml") if (Path(name) / "spec.yaml").exists() else name for name in names]
    sources = [name for name in names if Path(name).is_dir() or Path(name).suffix == ".parquet"]
    if sources and len(names) > 1:
        raise ValueError(f"networks = {sources[0]}: must be the only argument; measure studies one by one")
    if sources:
        return _of_source(Path(sources[0]), first)
    return pd.DataFrame([_row(name, find_spec(name)) for name in names]).drop_duplicates("spec_id"), None


def _of_source(path: Path, first: int | None) -> tuple[pd.DataFrame, Path]:
    import pandas as pd

    from designspace import ModelSpec
    from designspace.study import Study

    if path.is_dir():
        study = Study.open(path)
        models = list({model.spec_id: model for model in sorted(study.models, key=lambda model: model.index)}.values())
        rows = [(f"{model.space} #{model.index}", ModelSpec.from_mapping(model.spec)) for model in models]
        folder = study.paths.latency
    else:
        frame = pd.read_parquet(path)
        if not {"space", "index", "spec"} <= set(frame):
            raise ValueError(f"{path}: must be a population written by designspace sample --out")
        rows = [
            (f"{space} #{index}", ModelSpec.from_mapping(json.loads(spec)))
            for space, index, spec in frame[["space", "index", "spec"]].itertuples(index=False)
        ]
        folder = path.with_name(f"{path.stem}-latency")
    networks = pd.DataFrame([_row(name, spec) for name, spec in rows]).drop_duplicates("spec_id", ignore_index=True)
    if networks.empty:
        raise ValueError(f"{path}: must have at least one network")
    return networks.head(len(networks) if first is None else first), folder


def _row(name: str, spec: ModelSpec) -> dict[str, Any]:
    from designspace import complexity

    counts = complexity(spec)
    sizes = {"macs": counts.macs, "params": counts.params, "acts": counts.acts, "depth": spec.depth}
    return {"network": name, "spec_id": spec.spec_id, **sizes, "spec": spec}


def _measure(
    frame: pd.DataFrame, condition: Condition, folder: Path | None, options: dict[str, Any]
) -> dict[str, Latency]:
    """Latencies of the networks by spec_id: those in the folder, and the others measured and stored there."""
    from designspace.latency.measure import measure
    from designspace.latency.records import add_to_folder, read_folder

    before = read_folder(folder).get(condition.name) if folder is not None else None
    measured = {} if before is None else dict(before.networks)
    networks = zip(frame["spec_id"], frame["spec"], strict=True)
    specs: dict[str, ModelSpec] = {spec_id: spec for spec_id, spec in networks if spec_id not in measured}
    done = 0
    with terminal.progress_line("measured", len(specs)) as on_progress:
        for block in measure(specs, condition, **options):
            if folder is not None:
                add_to_folder(folder, condition, block)
            measured |= block
            on_progress(done := done + len(block))
    return measured


def _with_latency(frame: pd.DataFrame, measured: dict[str, Latency]) -> pd.DataFrame:
    return frame.assign(latency_ms=frame["spec_id"].map({key: one.median_ms for key, one in measured.items()}))


def _show(frame: pd.DataFrame, measured: dict[str, Latency], condition: Condition, folder: Path | None) -> None:
    from analysis.latency import latency_correlations, latency_sentences
    from analysis.readers.latency import busy_sentence

    known = _with_latency(frame, measured)
    rows = [measured[spec_id] for spec_id in frame["spec_id"]]
    print(f"{len(frame):,} networks: {condition.text}")
    if len(frame) <= MOST_SHOWN:
        table = known[["network", "macs", "params", "acts", "depth", "latency_ms"]].rename(
            columns={"latency_ms": "median ms"}
        )
        table["10 % to 90 %"] = [f"{row.low_ms:.3g} to {row.high_ms:.3g}" for row in rows]
        table["± %"] = [100 * row.relative_error for row in rows]
        table["runs"] = [row.runs for row in rows]
        common.print_table(table)
    else:
        columns = ("macs", "params", "acts", "depth", "latency_ms")
        terminal.print_table(terminal.summary_table({name: known[name].to_numpy() for name in columns}))
    common.print_lines(*busy_sentence(condition, rows), *latency_sentences(latency_correlations(known)))
    if folder is not None:
        print(f"written: {folder / condition.name}.json")
