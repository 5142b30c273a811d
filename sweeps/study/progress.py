"""Live progress of a study during training: a bar on a terminal, plain lines elsewhere.

It reads only the study folder, so it shows the work of all workers, wherever they run.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn
from rich.table import Column
from rich.text import Text

from designspace.study import Study
from sweeps.study.status import Status, StudyReader
from sweeps.study.summary import duration

REFRESH_SECONDS = 0.5
PLAIN_SECONDS = 10.0
"""Without a terminal, lines are written at most this often."""


class _Numbers(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(str(task.fields.get("numbers", "")))


def numbers(status: Status, *, with_time: bool = True) -> str:
    """Format the text beside the bar: done, failed, total, time left, best error."""
    total = status.total
    best = total.best_error_percent
    left = f", {duration(status.seconds_left)} left" if with_time and status.seconds_left else ""
    return (
        f"{total.done} done, {total.failures} failed of {total.trainings}{left}, "
        f"best error {'-' if best is None else f'{best:.2f} %'}"
    )


@contextlib.contextmanager
def watching(study: Study, console: Console | None = None) -> Iterator[None]:
    """Show the progress of a study while the block runs.

    Args:
        study: the study.
        console: where to show it (standard error by default).
    """
    console = console or Console(stderr=True)
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
