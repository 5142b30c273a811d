"""The subcommands `sweep`, `status`, `train` and `calibrate`."""

from __future__ import annotations

import argparse
import contextlib
import json
import signal
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from designspace import terminal
from designspace.atomic import check_output
from designspace.packages import own_module

if TYPE_CHECKING:
    from designspace.progress import Status
    from sweeps.launch import Sweep

_INTERRUPTED = "interrupted; repeat the command to resume (jobs on a cluster continue)"


def sweep(argv: list[str]) -> int:
    """Train the populations of a study; repeat the command to resume."""
    from designspace.progress import StudyReader
    from sweeps.launch import sweep as run_sweep
    from sweeps.study.progress import studies_lines
    from sweeps.worker.worker import WorkerError

    try:
        sweeps = run_sweep(argv)
    except WorkerError as error:
        print(f"designspace sweep: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"designspace sweep: {_INTERRUPTED}", file=sys.stderr)
        return 130
    except SystemExit as stopped:
        if stopped.code == 128 + signal.SIGTERM:
            print(f"designspace sweep: {_INTERRUPTED}", file=sys.stderr)
        raise
    if not sweeps:
        return 0
    statuses = {one.study.paths.root: StudyReader(one.study).read() for one in sweeps}
    print("\n".join(studies_lines(statuses)))
    problems = [problem for one in sweeps if (problem := _problem(one, statuses[one.study.paths.root]))]
    for problem in problems:
        print(f"designspace sweep: {problem}", file=sys.stderr)
    return 1 if problems else 0


def _problem(sweep: Sweep, status: Status) -> str:
    """Why a sweep failed; "" if it did not."""
    root, limit = sweep.study.paths.root, sweep.config.allowed_failures
    if sweep.study.is_gone():
        return f"run = {root}: the study folder was moved or deleted"
    if not status.complete:
        return f"{root}: some models have no record; repeat the command to train them"
    if status.failed_share > limit:
        reasons = ",".join(sorted(status.total.failed))
        return (
            f"{root}: {status.failed_share:.0%} of the models failed, more than allowed_failures = {limit:g}; "
            f"add 'retry=[{reasons}]' to train them again"
        )
    return ""


def status(argv: list[str]) -> int:
    """Show the progress of studies: done, running, failed, missing."""
    from designspace.progress import StudyReader
    from designspace.study import Study, find_studies
    from sweeps.study.progress import running_lines, studies_lines, watch

    parser = terminal.parser(
        "status", status.__doc__, "runs/smoke", "runs/smoke --watch", "runs/lr    # all studies in a folder"
    )
    parser.add_argument("studies", nargs="+", type=Path, metavar="RUN", help="study folders, or folders of studies")
    output = parser.add_mutually_exclusive_group()
    output.add_argument("--json", action="store_true", help="print JSON, by folder if there are several")
    output.add_argument("--watch", action="store_true", help="update until every model has a record")
    arguments = parser.parse_args(argv)
    # `Study.open` reports a folder without studies.
    roots = list(dict.fromkeys(root for given in arguments.studies for root in find_studies(given) or [given]))
    if arguments.watch:
        with contextlib.suppress(KeyboardInterrupt):
            watch(roots)
        return 0
    statuses = {root: StudyReader(Study.open(root)).read() for root in roots}
    if arguments.json:
        contents = {str(root): _as_json(current) for root, current in statuses.items()}
        print(json.dumps(contents if len(contents) > 1 else next(iter(contents.values()))))
    else:
        running = [line for current in statuses.values() for line in running_lines(current)]
        print("\n".join([*studies_lines(statuses), *running]))
    return 0


def _as_json(status: Status) -> dict[str, Any]:
    groups = {
        group.label: {
            "models": group.models,
            "trainings": group.trainings,
            "done": group.done,
            "stopped": group.stopped,
            "running": group.running,
            "failed": dict(group.failed),
            "missing": group.missing,
            "proposed": dict(Counter(proposal.proposed_by for proposal in group.proposals)),
            "best_error_percent": group.best_error_percent,
        }
        for group in (*status.groups, status.total)
    }
    running = [
        {
            "space": model.space,
            "index": model.index,
            "host": claim.host,
            "worker": claim.worker,
            "since": claim.since,
            "epochs_done": claim.epoch,
        }
        for model, claim in status.running
    ]
    left, device_left = status.training_seconds_left, status.device_seconds_left
    return {
        "groups": groups,
        "models_per_hour": status.models_per_hour,
        "seconds_left": status.seconds_left,
        "training_hours": status.training_seconds / 3600,
        "training_hours_left": None if left is None else left / 3600,
        "device_hours": status.device_seconds / 3600,
        "device_hours_left": None if device_left is None else device_left / 3600,
        "epochs": status.epochs,
        "epochs_saved": status.epochs_saved,
        "running": running,
        "damaged": status.damaged,
    }


def train(argv: list[str]) -> int:
    """Train one network to convergence and write its weights; repeat the command to resume."""
    from sweeps.train_one import run_command

    parser = _config_parser(
        "train",
        train.__doc__,
        "specs/1-0a1b2c3d.yaml recipe=full data=fashion_mnist --out runs/best --to yaml,timm,onnx",
        more="On several GPUs: torchrun --nproc-per-node=4 -m designspace train …, or as tasks of srun.",
    )
    parser.add_argument("spec", nargs="?", metavar="SPEC", help="a spec file, or an exported folder")
    _add_overrides(parser, "settings of recipe, data, device, and probe")
    parser.add_argument("--out", metavar="DIR", help="folder of checkpoint and results")
    parser.add_argument("--to", default="yaml", metavar="FORMAT,…", help="formats to export, as in designspace export")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of initialization and data order (default 0)")
    parser.add_argument("--weights", metavar="FILE|DIR", help="start from these weights")
    terminal.add_force(parser)
    arguments = parser.parse_args(terminal.replace_deprecated(argv, "out", "to", "seed", "weights"))
    if arguments.cfg or arguments.info:
        return _show_config(arguments, [arguments.spec] if "=" in (arguments.spec or "") else [])
    if arguments.spec is None:
        raise ValueError("SPEC: required")
    if not arguments.out:
        raise ValueError("--out: required, the folder of checkpoint and results, like --out runs/best")
    return run_command(
        Path(arguments.spec),
        arguments.overrides,
        arguments.out,
        config_dir=arguments.config_dir,
        seed=arguments.seed,
        formats=arguments.to.split(","),
        weights=arguments.weights,
        force=arguments.force,
    )


def calibrate(argv: list[str]) -> int:
    """Find a good learning rate and weight decay for a space, or a cheap recipe that ranks networks well."""
    from designspace.validated import check_integer
    from sweeps.calibrate import RANKING, RECOMMENDED, RESULTS, conclusion, table, try_recipes
    from sweeps.calibrate import calibrate as run_calibration
    from sweeps.worker.worker import WorkerError

    parser = _config_parser(
        "calibrate",
        "Train a few models of each space of an experiment with every pair of learning rate and weight decay.\n"
        f"Write the best recipe (OUT/{RECOMMENDED}) and the results (OUT/{RESULTS}).\n"
        "With --for ranking: train them with a long recipe and with cheaper ones, and compare the rankings\n"
        f"(OUT/{RANKING}, see designspace recipes).",
        "experiment=bottleneck_demo --lr 0.05,0.1,0.2,0.4 --models 4 --out runs/calibration",
        "experiment=bottleneck_demo --for ranking --models 20 --out runs/ranking",
        "experiment=demo --for ranking --try epochs=1 --try 'epochs=2 resolution=14' --reference epochs=12",
    )
    _add_overrides(parser, "settings, as in designspace sweep")
    parser.add_argument("--for", dest="purpose", default="rate", choices=("rate", "ranking"), help="default: rate")
    parser.add_argument("--models", type=int, metavar="N", help="models per space (default 4, for ranking 20)")
    parser.add_argument("--out", metavar="DIR", help="folder of the studies and the results (default: in runs/)")
    parser.add_argument("--lr", action="append", default=[], metavar="RATE,…", help="learning rates to try")
    parser.add_argument("--wd", action="append", default=[], metavar="DECAY,…", help="weight decays to try")
    parser.add_argument(
        "--try", action="append", default=[], dest="tries", metavar="SETTINGS", help="another recipe to rank with"
    )
    parser.add_argument("--reference", default="", metavar="SETTINGS", help="recipe of the long training")
    terminal.add_force(parser)
    argv = terminal.replace_deprecated(argv, "out", "models", "lr", "wd", "try", "reference")
    arguments = parser.parse_args(argv)
    if arguments.cfg or arguments.info:
        return _show_config(arguments)
    ranking, force, folder = arguments.purpose == "ranking", arguments.force, arguments.config_dir
    for name in ("lr", "wd") if ranking else ("tries", "reference"):
        if value := getattr(arguments, name):
            purpose = "rate" if ranking else "ranking"
            raise ValueError(f"--{'try' if name == 'tries' else name} = {value}: must be used with --for {purpose}")
    models = check_integer("models", (20 if ranking else 4) if arguments.models is None else arguments.models, 1)
    out = Path(arguments.out or ("runs/ranking" if ranking else "runs/calibration"))
    if ranking:
        check_output(out / RANKING, force=force)
    try:
        if ranking:
            studies, *names = try_recipes(
                arguments.overrides, arguments.tries, arguments.reference, models, out, config_dir=folder
            )
        else:
            rates, decays = _numbers("lr", arguments.lr), _numbers("wd", arguments.wd)
            rows, _ = run_calibration(arguments.overrides, rates, decays, models, out, force=force, config_dir=folder)
    except WorkerError as error:
        print(f"designspace calibrate: {error}", file=sys.stderr)
        return 1
    if not ranking:
        print(f"{table(rows)}\n{conclusion(rows)} Recipe: {out}/{RECOMMENDED}")
        return 0
    compare = [*map(str, studies), "--reference", names[0], "--base", names[1]]
    recipes: Callable[[list[str]], int] = own_module("analysis.commands").recipes
    code = recipes([*compare, "--out", str(out / RANKING), *["--force"] * force])
    print(f"Figure: designspace recipes {' '.join(compare)} --out ranking.svg")
    return code


def _numbers(key: str, lists: Sequence[str]) -> list[float]:
    texts = [text for item in lists for text in item.split(",")]
    try:
        return [float(text) for text in texts]
    except ValueError:
        raise ValueError(f"{key} = {','.join(texts)}: must be numbers, like --{key} 0.05,0.1") from None


class _ConfigParser(terminal.Parser):
    """Parser of a command with overrides of the config; its help ends with the config groups."""

    def print_help(self, file: Any = None) -> None:
        from sweeps.launch import run_hydra

        super().print_help(file)
        run_hydra(["--help", "hydra.help.header=''", "hydra.help.footer=''"])


def _config_parser(name: str, doc: str | None, *examples: str, more: str = "") -> terminal.Parser:
    """A parser with the options of Hydra that show the config or add to it."""
    parser = terminal.parser(name, doc, *examples, more=more, kind=_ConfigParser)
    hydra = parser.add_argument_group("config, as in designspace sweep")
    hydra.add_argument("--cfg", "-c", choices=("job", "hydra", "all"), help="print the config and stop")
    hydra.add_argument("--package", "-p", metavar="KEY", help="with --cfg: only this part, like recipe")
    hydra.add_argument("--resolve", action="store_true", help="with --cfg: with the values of interpolations")
    hydra.add_argument(
        "--info",
        "-i",
        nargs="?",
        const="all",
        choices=("all", "config", "defaults", "defaults-tree", "plugins", "searchpath"),
        help="print how the config is composed and stop",
    )
    hydra.add_argument("--config-dir", "-cd", metavar="DIR", help="folder with further configs")
    return parser


def _add_overrides(parser: terminal.Parser, text: str) -> None:
    from sweeps.completion import add_completer

    add_completer(parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help=text))


def _show_config(arguments: argparse.Namespace, more: Sequence[str] = ()) -> int:
    """Let Hydra show the config that --cfg or --info asks for."""
    from sweeps.launch import sweep as run_sweep

    options = [f"--{name}={value}" for name in ("cfg", "package", "info") if (value := getattr(arguments, name))]
    options += ["--resolve"] * arguments.resolve
    options += [f"--config-dir={arguments.config_dir}"] if arguments.config_dir else []
    run_sweep([*options, *more, *arguments.overrides])
    return 0
