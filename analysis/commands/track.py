"""The command track."""

from __future__ import annotations

from pathlib import Path

from analysis.commands import common
from designspace import terminal


@common.option_names()
def track(argv: list[str]) -> int:
    """Write the models of studies to an experiment tracker: TensorBoard, Weights & Biases, MLflow or Trackio."""
    parser = terminal.parser(
        "track",
        track.__doc__,
        "runs/demo --to tensorboard",
        "runs/a runs/b --to mlflow --out http://mlflow.lab:5000",
        "runs/demo --to wandb --follow",
        more="Each training is one run. Repeat the command at any time: it writes only new trainings.",
    )
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="study folder, finished or not")
    parser.add_argument("--to", required=True, metavar="TRACKER", help="tensorboard, wandb, mlflow or trackio")
    parser.add_argument(
        "--out",
        metavar="DIR",
        help="log directory of tensorboard (default tensorboard); parent of the folder wandb; folder or tracking "
        "URI of mlflow; by default where the library itself would write",
    )
    parser.add_argument("--follow", action="store_true", help="continue until every model has a record")
    arguments = parser.parse_args(argv)

    from analysis.trackers import Tracking

    tracking = Tracking(arguments.runs, arguments.to, arguments.out)
    with terminal.progress_line("tracked", tracking.total) as on_progress:
        (tracking.follow if arguments.follow else tracking.update)(on_progress)
    tracking.warn_of_damage()
    print(f"{tracking.done:,} of {tracking.total:,} trainings in {arguments.to}, {tracking.written:,} new")
    print(f"next: {tracking.tracker.view}")
    return 0
