"""Progress of a study as text: status tables, sampling reports, and a live bar or plain lines during training.

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

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn
from rich.table import Column
from rich.text import Text

from designspace.population import duplicates_text
from designspace.study import Study, damaged_text
from sweeps.study.status import Status, StudyReader

REFRESH_SECONDS = 0.5
PLAIN_SECONDS = 10.0
"""Minimum time between lines without a terminal."""


def duration(seconds: float | None) -> str:
    """Format a duration: '42 s', '7 min', '3 h 05 min'."""
    if seconds is None:
        return "unknown"
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60:,} h {minutes % 60:02d} min"


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
    return [
        f"{label}: {report['asked']} models; {report['acceptance']:.2%} of {report['drawn']:,} draws accepted"
        + _duplicates(report)
        for label, report in study.manifest["sampling"].items()
    ]


def _duplicates(report: Mapping[str, Any]) -> str:
    if "distinct" not in report:  # frozen by an earlier version
        return ""
    return "; " + duplicates_text(report["asked"], report["distinct"], report["duplicates"])


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


def _show_lines(reader: StudyReader, console: Console, stop: threading.Event) -> None:
    status = reader.read()
    shown, shown_at = "", 0.0
    while True:
        last = stop.wait(REFRESH_SECONDS)
        status = reader.read()
        line = numbers(status, with_time=False)
        if line != shown and (last or time.monotonic() - shown_at >= PLAIN_SECONDS):
            console.print(f"training: {numbers(status)}", highlight=False, soft_wrap=True)
            shown, shown_at = line, time.monotonic()
        if last:
            return
