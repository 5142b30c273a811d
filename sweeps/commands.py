"""The subcommands `sweep`, `status`, `train` and `calibrate`."""

from __future__ import annotations

import contextlib
import json
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from designspace import terminal
from designspace.atomic import check_output
from designspace.packages import own_module

_INTERRUPTED = "interrupted; repeat the command to resume (jobs on a cluster continue)"


def sweep(argv: list[str]) -> int:
    """Train the populations of a study; repeat the command to resume."""
    from sweeps.launch import sweep as run_sweep
    from sweeps.study.progress import status_lines
    from sweeps.worker.worker import WorkerError

    try:
        outcome = run_sweep(argv)
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
    if outcome is None:
        return 0
    study, status, config = outcome
    print("\n".join(status_lines(study.paths.root, status)))
    if status.total.missing or status.total.running:
        print("designspace sweep: some models have no record; repeat the command to train them", file=sys.stderr)
        return 1
    if status.failed_share > config.allowed_failures:
        reasons = ",".join(sorted(status.total.failed))
        print(
            f"designspace sweep: {status.failed_share:.0%} of the models failed, more than "
            f"allowed_failures = {config.allowed_failures:g}; add 'retry=[{reasons}]' to train them again",
            file=sys.stderr,
        )
        return 1
    return 0


def status(argv: list[str]) -> int:
    """Show study progress: done, running, failed, missing."""
    from designspace.progress import StudyReader
    from designspace.study import Study
    from sweeps.study.progress import running_lines, status_lines, watch

    parser = terminal.parser("status", status.__doc__, "runs/smoke", "runs/smoke --watch")
    parser.add_argument("study", type=Path, help="the study folder")
    output = parser.add_mutually_exclusive_group()
    output.add_argument("--json", action="store_true", help="print JSON")
    output.add_argument("--watch", action="store_true", help="update until every model has a record")
    arguments = parser.parse_args(argv)
    if arguments.watch:
        with contextlib.suppress(KeyboardInterrupt):
            watch(arguments.study)
        return 0
    study = Study.open(arguments.study)
    current = StudyReader(study).read()
    if arguments.json:
        groups = {
            group.label: {
                "models": group.models,
                "trainings": group.trainings,
                "done": group.done,
                "running": group.running,
                "failed": dict(group.failed),
                "missing": group.missing,
                "best_error_percent": group.best_error_percent,
            }
            for group in (*current.groups, current.total)
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
            for model, claim in current.running
        ]
        left, device_left = current.training_seconds_left, current.device_seconds_left
        print(
            json.dumps(
                {
                    "groups": groups,
                    "models_per_hour": current.models_per_hour,
                    "seconds_left": current.seconds_left,
                    "training_hours": current.training_seconds / 3600,
                    "training_hours_left": None if left is None else left / 3600,
                    "device_hours": current.device_seconds / 3600,
                    "device_hours_left": None if device_left is None else device_left / 3600,
                    "running": running,
                    "damaged": current.damaged,
                }
            )
        )
    else:
        print("\n".join([*status_lines(study.paths.root, current), *running_lines(current)]))
    return 0


def train(argv: list[str]) -> int:
    """Train one network to convergence and write its weights; repeat the command to resume."""
    from sweeps.train_one import run_command

    parser = terminal.parser(
        "train",
        train.__doc__,
        "specs/1-0a1b2c3d.yaml recipe=full data=fashion_mnist out=runs/best to=yaml,timm,onnx",
        more="Other KEY=VALUE arguments set recipe, data, and device as in designspace sweep.\n"
        "On several GPUs: torchrun --nproc-per-node=4 -m designspace train …, or as tasks of srun.",
    )
    parser.add_argument("spec", type=Path, metavar="SPEC", help="a spec file, or an exported folder")
    parser.add_argument(
        "settings",
        nargs="+",
        metavar="KEY=VALUE",
        help="out=DIR, seed=0, to=FORMAT,…, weights=FILE|DIR; recipe=… data=…",
    )
    terminal.add_force(parser)
    arguments = parser.parse_args(argv)
    return run_command(arguments.spec, arguments.settings, force=arguments.force)


def calibrate(argv: list[str]) -> int:
    """Find a good learning rate and weight decay for a space, or a cheap recipe that ranks networks well."""
    from designspace.files import read_yaml
    from designspace.validated import check_integer
    from sweeps.calibrate import RANKING, RECOMMENDED, RESULTS, conclusion, table, try_recipes
    from sweeps.calibrate import calibrate as run_calibration
    from sweeps.worker.worker import WorkerError

    parser = terminal.parser(
        "calibrate",
        "Train a few models of each space of an experiment with every pair of learning rate and weight decay.\n"
        f"Write the best recipe (OUT/{RECOMMENDED}) and the results (OUT/{RESULTS}).\n"
        "With --for ranking: train them with a long recipe and with cheaper ones, and compare the rankings\n"
        f"(OUT/{RANKING}, see designspace recipes).",
        "experiment=bottleneck_demo lr=[0.05,0.1,0.2,0.4] models=4 out=runs/calibration",
        "--for ranking experiment=bottleneck_demo models=20 out=runs/ranking",
        "--for ranking experiment=demo 'try=[epochs=1,epochs=2 resolution=14]' reference=epochs=12",
        more="All other arguments are overrides as in designspace sweep.",
    )
    parser.add_argument("--for", dest="purpose", default="rate", choices=("rate", "ranking"), help="default: rate")
    parser.add_argument(
        "overrides",
        nargs="+",
        metavar="KEY=VALUE",
        help="models=N out=DIR, lr=[…] wd=[…] for rates, try=[…] reference=RECIPE for ranking, and overrides",
    )
    terminal.add_force(parser)
    arguments = parser.parse_args(argv)
    overrides, force = arguments.overrides, arguments.force
    ranking = arguments.purpose == "ranking"
    own: dict[str, object] = {"models": 20 if ranking else 4, "out": "runs/ranking" if ranking else "runs/calibration"}
    own |= {"try": [], "reference": ""} if ranking else {"lr": [], "wd": []}
    for override in overrides:
        key, _, value = override.partition("=")
        if key in own:
            try:
                own[key] = read_yaml(value)
            except ValueError as error:
                raise ValueError(f"{override}: {error}") from None
    rest = [override for override in overrides if override.partition("=")[0] not in own]
    models = check_integer("models", own["models"], 1)
    out = Path(str(own["out"]))
    if ranking:
        check_output(out / RANKING, force=force)
    try:
        if ranking:
            tried = own["try"] if isinstance(own["try"], list) else [own["try"]]
            studies, *names = try_recipes(rest, list(map(str, tried)), str(own["reference"]), models, out)
        else:
            rows, _ = run_calibration(
                rest, _numbers("lr", own["lr"]), _numbers("wd", own["wd"]), models, out, force=force
            )
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


def _numbers(key: str, value: object) -> list[float]:
    values = value if isinstance(value, list) else [value]
    try:
        return [float(str(number)) for number in values]
    except ValueError:
        raise ValueError(f"{key} = {value}: must be numbers, like {key}=[0.05,0.1]") from None
