"""Progress of a study in the terminal: status, sampling reports, a bar during training, and the view of status --watch.

Everything is read from the study folder, so it covers all workers, on any machine.
"""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn
from rich.progress_bar import ProgressBar
from rich.table import Column
from rich.text import Text

from designspace import terminal
from designspace.population import duplicates_text
from designspace.progress import Status, StudyReader, duration, elapsed_seconds
from designspace.spaces import RATES
from designspace.study import Study, StudyModel, damaged_text
from designspace.validated import cut

REFRESH_SECONDS = 0.5
WATCH_SECONDS = 1.0
SHOWN = 10
"""Maximum number of rows of a table in the live view."""

PLAIN_SECONDS = 10.0
"""Minimum time between lines without a terminal."""


def status_lines(root: Path, status: Status) -> list[str]:
    """Return the status as lines to print."""
    groups, total = (*status.groups, status.total), status.total
    shared = total.models > total.trainings
    unit = "trainings" if shared else "models"
    lines = [f"{root}: {total.done + total.failures} of {total.trainings} {unit} have a record"]
    if shared:
        lines.append(f"{total.models} models, {total.trainings} distinct: a network drawn twice is trained once")
    columns = {
        "space": [g.label for g in groups],
        "models": [str(g.models) for g in groups],
        "distinct": [str(g.trainings) for g in groups],
        "done": [str(g.done) for g in groups],
        "running": [str(g.running) for g in groups],
        "failed": [str(g.failures) for g in groups],
        "missing": [str(g.missing) for g in groups],
        "best error": [_percent(g.best_error_percent) for g in groups],
    }
    if not shared:
        del columns["distinct"]
    rows = [tuple(columns), *zip(*columns.values(), strict=True)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines += [
        "  " + "  ".join(c.ljust(w) if i == 0 else c.rjust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True)))
        for row in rows
    ]
    if total.failed:
        lines.append("failed: " + ", ".join(f"{count} {reason}" for reason, count in total.failed.most_common()))
    if status.damaged:
        lines.append(f"{damaged_text(status.damaged)}; the next sweep moves them to set_aside/ and trains again")
    if (rate := status.models_per_hour) is not None:
        lines.append(
            f"speed: {rate:,.0f} models per hour"
            + (f", about {duration(status.seconds_left)} left" if status.seconds_left else "")
        )
    if status.training_seconds:
        left = f", about {duration(status.device_seconds_left)} left" if status.device_seconds_left else ""
        parallel = status.device_seconds < status.training_seconds
        trained = f" ({duration(status.training_seconds)} of training, several models at once)" if parallel else ""
        lines.append(f"spent: {duration(status.device_seconds)} of device time{trained}{left}")
    if status.prediction_error is not None:
        lines.append(f"predicted times: typical error {status.prediction_error:.0%}")
    return lines


def running_lines(status: Status) -> list[str]:
    """Return one line for each training in progress: model, host, start, epochs done."""
    return [
        f"running: {model.space} model {model.index} on {claim.host} (worker {claim.worker}), "
        f"since {claim.since}, epochs done: {claim.epoch}"
        for model, claim in status.running
    ]


def sampling_lines(study: Study) -> list[str]:
    """Return one line for each space: its models, the acceptance rate, duplicates."""
    spaces = study.manifest.get("spaces", {})
    return [
        f"{label}: {report['asked']} models; {report['acceptance']:.2%} of {report['drawn']:,} draws accepted"
        + (f"; {duplicates_line(report, spaces.get(label, {}))}" if "distinct" in report else "")  # an earlier version
        for label, report in study.manifest["sampling"].items()
    ]


def duplicates_line(report: Mapping[str, Any], space: Mapping[str, Any]) -> str:
    """Describe the duplicates in a space's sampling report; `space` is its complete mapping."""
    rates = any(name in space.get("parameters", {}) for name in RATES)
    return duplicates_text(report["asked"], report["distinct"], report["duplicates"], rates=rates)


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f} %"


class _Numbers(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(str(task.fields.get("numbers", "")))


def numbers(status: Status, *, with_time: bool = True) -> str:
    """Format one line of progress: done, failed, total, time left, best error."""
    total = status.total
    best = total.best_error_percent
    left = f", {duration(status.seconds_left)} left" if with_time and status.seconds_left else ""
    return (
        f"{total.done} done, {total.failures} failed of {total.trainings}{left}, "
        f"best error {'-' if best is None else f'{best:.2f} %'}"
    )


def watch(root: Path, console: Console | None = None) -> None:
    """Show the progress of a study until every model has a record.

    Args:
        root: the study folder.
        console: standard output by default; without a terminal, a line is printed when the numbers change.
    """
    console = console or Console()
    reader = StudyReader(Study.open(root))
    if not console.is_terminal:
        _show_lines(reader, console, threading.Event(), until_complete=True)
        return
    status = reader.read()
    with Live(live_view(root, status), console=console, auto_refresh=False, vertical_overflow="ellipsis") as live:
        while not status.complete and not reader.study_is_gone():
            time.sleep(WATCH_SECONDS)
            status = reader.read()
            live.update(live_view(root, status), refresh=True)
    if not status.complete:
        raise ValueError(f"study = {root}: must exist; the folder was moved or deleted")


def live_view(root: Path, status: Status) -> RenderableType:
    """The progress of every space, the models in training, the failures and the best models, for the terminal."""
    bars = terminal.table("space", "", "done", "failed", "of", "best error")
    for group in (*status.groups, status.total):
        if group is status.total:
            bars.add_section()
        bar = ProgressBar(total=group.trainings, completed=group.done + group.failures, width=30)
        numbers = (str(group.done), str(group.failures), str(group.trainings), _percent(group.best_error_percent))
        bars.add_row(Text(group.label), bar, *numbers)
    left = "complete" if status.complete else f"time left: {duration(status.seconds_left)}"
    if not status.complete and not status.running:
        left += "; no worker is running"
    parts: list[RenderableType] = [Text(f"{root}: {left}", style="bold"), bars]
    if status.running:
        running = terminal.table("in training", "epochs done", "error", "time", "host")
        for model, claim in status.running[:SHOWN]:
            error = _percent(claim.errors[-1] if claim.errors else None)
            running.add_row(_name(model), str(claim.epoch), error, duration(elapsed_seconds(claim)), Text(claim.host))
        parts += [running, *_more(len(status.running))]
    if status.failed:
        failures = terminal.table("failed", "status", "message")
        for model, reason, message in status.failed[-SHOWN:]:
            failures.add_row(_name(model), reason, Text(cut(message, 80)))
        parts += [failures, *_more(len(status.failed))]
    if status.best:
        parts.append(Text("best: " + ", ".join(f"{_name(model)} {error:.2f} %" for model, error in status.best)))
    return Group(*parts)


def _name(model: StudyModel) -> Text:
    return Text(f"{model.space} #{model.index}" + (f" seed {model.seed}" if model.seed else ""))


def _more(count: int) -> list[Text]:
    return [Text(f"  and {count - SHOWN:,} more")] if count > SHOWN else []


@contextlib.contextmanager
def show_progress(study: Study, console: Console | None = None) -> Iterator[None]:
    """Show the progress of a study while the block runs.

    Args:
        study: the study.
        console: standard error by default.
    """
    # A notebook sets FORCE_COLOR, but it cannot show a moving bar.
    console = console or Console(stderr=True, force_terminal=sys.stderr.isatty())
    stop = threading.Event()
    show = _show_bar if console.is_terminal else _show_lines
    thread = threading.Thread(target=show, args=(StudyReader(study), console, stop), daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _show_bar(reader: StudyReader, console: Console, stop: threading.Event) -> None:
    status = reader.read()
    with Progress(
        TextColumn("training"),
        BarColumn(12),
        _Numbers(table_column=Column(no_wrap=True)),
        console=console,
        refresh_per_second=4,
    ) as progress:
        task = progress.add_task("", total=status.total.trainings)
        while True:
            last = stop.wait(REFRESH_SECONDS)
            status = reader.read()
            done = status.total.done + status.total.failures
            progress.update(task, completed=done, numbers=numbers(status))
            if last:
                return


def _show_lines(reader: StudyReader, console: Console, stop: threading.Event, *, until_complete: bool = False) -> None:
    shown, shown_at = "", 0.0
    while True:
        last = stop.wait(REFRESH_SECONDS)
        status = reader.read()
        last = last or (until_complete and (status.complete or reader.study_is_gone()))
        line = numbers(status, with_time=False)
        if line != shown and (last or time.monotonic() - shown_at >= PLAIN_SECONDS):
            console.print(f"training: {numbers(status)}", highlight=False, soft_wrap=True)
            shown, shown_at = line, time.monotonic()
        if last:
            return
