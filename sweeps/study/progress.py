"""Progress of a study in the terminal: status, sampling reports, a bar during training, and the view of status --watch.

Everything is read from the study folder, so it covers all workers, on any machine.
"""

from __future__ import annotations

import contextlib
import heapq
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console, RenderableType
from rich.console import Group as Stack
from rich.live import Live
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn
from rich.progress_bar import ProgressBar
from rich.table import Column
from rich.text import Text

from designspace import terminal
from designspace.population import duplicates_text
from designspace.progress import BEST, Group, Status, StudyReader, duration, elapsed_seconds
from designspace.spaces import RATES
from designspace.study import Study, StudyModel, damaged_text
from designspace.validated import cut

REFRESH_SECONDS = 0.5
WATCH_SECONDS = 1.0
SHOWN = 10
"""Maximum number of rows of a table in the live view."""

PLAIN_SECONDS = 10.0
"""Minimum time between lines without a terminal."""


def studies_lines(statuses: Mapping[Path, Status]) -> list[str]:
    """Return the status of studies by folder as lines to print: a row per study, or per space of a single one."""
    if len(statuses) == 1:
        return status_lines(*next(iter(statuses.items())))
    totals = [status.total for status in statuses.values()]
    done = sum(total.recorded for total in totals)
    columns = {"study": [str(root) for root in statuses]} | _counts(totals)
    columns["time left"] = ["-" if one.complete else duration(one.seconds_left) for one in statuses.values()]
    lines = [f"{len(statuses)} studies: {done} of {sum(total.trainings for total in totals)} trainings have a record"]
    lines += _aligned(columns)
    for root, status in statuses.items():
        lines += [f"{root}: {line}" for line in _problems(status)]
    return lines


def status_lines(root: Path, status: Status) -> list[str]:
    """Return the status as lines to print."""
    groups, total = (*status.groups, status.total), status.total
    shared = total.models > total.trainings
    unit = "trainings" if shared else "models"
    lines = [f"{root}: {total.recorded} of {total.trainings} {unit} have a record"]
    if shared:
        lines.append(f"{total.models} models, {total.trainings} distinct: a network drawn twice is trained once")
    columns = {"space": [g.label for g in groups], "models": [str(g.models) for g in groups]} | _counts(groups)
    if shared:
        columns = {("distinct" if name == "trainings" else name): column for name, column in columns.items()}
    else:
        del columns["trainings"]
    lines += _aligned(columns)
    lines += [search_line(group) for group in status.groups if group.proposals]
    if total.stopped:
        lines.append(f"stopped early: {total.stopped}, which saved {status.epochs_saved:,} of {status.epochs:,} epochs")
    lines += _problems(status)
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


def search_line(group: Group) -> str:
    """Describe the proposals in a space: how many, and how many parameters were proposed and rejected for them."""
    proposals = group.proposals
    strategies = Counter(proposal.proposed_by for proposal in proposals)
    line = f"{group.label}: {len(proposals)} models proposed by " + ", ".join(
        f"{name} ({count})" if len(strategies) > 1 else name for name, count in strategies.most_common()
    )
    if not (asked := sum(proposal.asked for proposal in proposals)):
        return line
    rejected = Counter[str]()
    for proposal in proposals:
        rejected.update(proposal.rejected)
    if repeated := sum(proposal.repeated for proposal in proposals):
        rejected["known network"] = repeated
    reasons = ", ".join(f"{name} {count / asked:.0%}" for name, count in rejected.most_common())
    return f"{line}; {asked:,} settings proposed, rejected: {reasons or 'none'}"


def _counts(groups: Sequence[Group]) -> dict[str, list[str]]:
    """Columns of a table with a row per group; trainings stopped early have one where there are any."""
    columns = {
        "trainings": [str(group.trainings) for group in groups],
        "done": [str(group.done) for group in groups],
        "stopped": [str(group.stopped) for group in groups],
        "running": [str(group.running) for group in groups],
        "failed": [str(group.failures) for group in groups],
        "missing": [str(group.missing) for group in groups],
        "best error": [_percent(group.best_error_percent) for group in groups],
    }
    if not any(group.stopped for group in groups):
        del columns["stopped"]
    return columns


def _aligned(columns: Mapping[str, Sequence[str]]) -> list[str]:
    """The rows of a table, the first column aligned to the left."""
    rows = [tuple(columns), *zip(*columns.values(), strict=True)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  " + "  ".join(c.ljust(w) if i == 0 else c.rjust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True)))
        for row in rows
    ]


def _problems(status: Status) -> list[str]:
    lines = []
    if failed := status.total.failed:
        lines.append("failed: " + ", ".join(f"{count} {reason}" for reason, count in failed.most_common()))
    if status.damaged:
        lines.append(f"{damaged_text(status.damaged)}; the next sweep moves them to set_aside/ and trains again")
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


def numbers(statuses: Sequence[Status], *, with_time: bool = True) -> str:
    """Format one line of progress of one or more studies: done, stopped, failed, total, time left, best error."""
    totals = [status.total for status in statuses]
    stopped = f"{count} stopped, " if (count := sum(total.stopped for total in totals)) else ""
    best = min((total.best_error_percent for total in totals if total.best_error_percent is not None), default=None)
    seconds = [status.seconds_left for status in statuses if not status.complete]
    left = max(filter(None, seconds), default=None) if None not in seconds else None
    return (
        f"{sum(total.done for total in totals)} done, {stopped}{sum(total.failures for total in totals)} failed of "
        f"{sum(total.trainings for total in totals)}{f', {duration(left)} left' if with_time and left else ''}, "
        f"best error {_percent(best)}"
    )


def watch(roots: Sequence[Path], console: Console | None = None) -> None:
    """Show the progress of studies until every model has a record.

    Args:
        roots: the study folders.
        console: standard output by default; without a terminal, a line is printed when the numbers change.
    """
    console = console or Console()
    readers = [StudyReader(Study.open(root)) for root in roots]
    if not console.is_terminal:
        _show_lines(readers, console, threading.Event(), until_complete=True)
        return
    statuses = [reader.read() for reader in readers]
    with Live(console=console, auto_refresh=False, vertical_overflow="ellipsis") as live:
        while True:
            live.update(live_view(dict(zip(roots, statuses, strict=True))), refresh=True)
            if all(status.complete or reader.study_is_gone() for reader, status in zip(readers, statuses, strict=True)):
                break
            time.sleep(WATCH_SECONDS)
            statuses = [reader.read() for reader in readers]
    if gone := [root for root, status in zip(roots, statuses, strict=True) if not status.complete]:
        raise ValueError(f"study = {gone[0]}: must exist; the folder was moved or deleted")


def live_view(statuses: Mapping[Path, Status]) -> RenderableType:
    """The progress of studies by folder, the models in training, the failures and the best models, for the terminal.

    A single study has a bar for each space, several have a bar each.
    """
    several = len(statuses) > 1
    stopped = any(status.total.stopped for status in statuses.values())
    bars = terminal.table(
        "study" if several else "space", "", "done", *["stopped"] * stopped, "failed", "of", "best error"
    )
    for root, status in statuses.items():
        for group in (status.total,) if several else (*status.groups, status.total):
            if group is status.total and not several:
                bars.add_section()
            bar = ProgressBar(total=group.trainings, completed=group.recorded, width=30)
            counts = [group.done, *[group.stopped] * stopped, group.failures, group.trainings]
            numbers = (*map(str, counts), _percent(group.best_error_percent))
            bars.add_row(Text(str(root) if several else group.label), bar, *numbers)
    parts: list[RenderableType] = [Text(f"{root}: {_left(status)}", style="bold") for root, status in statuses.items()]
    parts.append(bars)
    claims = [row for status in statuses.values() for row in status.running]
    if claims:
        running = terminal.table("in training", "epochs done", "error", "time", "host")
        for model, claim in claims[:SHOWN]:
            error = _percent(claim.errors[-1] if claim.errors else None)
            running.add_row(_name(model), str(claim.epoch), error, duration(elapsed_seconds(claim)), Text(claim.host))
        parts += [running, *_more(len(claims))]
    if failed := [row for status in statuses.values() for row in status.failed]:
        failures = terminal.table("failed", "status", "message")
        for model, reason, message in failed[-SHOWN:]:
            failures.add_row(_name(model), reason, Text(cut(message, 80)))
        parts += [failures, *_more(len(failed))]
    if best := heapq.nsmallest(
        BEST, (row for status in statuses.values() for row in status.best), key=lambda row: row[1]
    ):
        parts.append(Text("best: " + ", ".join(f"{_name(model)} {error:.2f} %" for model, error in best)))
    return Stack(*parts)


def _left(status: Status) -> str:
    if status.complete:
        return "complete"
    return f"time left: {duration(status.seconds_left)}" + ("" if status.running else "; no worker is running")


def _name(model: StudyModel) -> Text:
    return Text(f"{model.space} #{model.index}" + (f" seed {model.seed}" if model.seed else ""))


def _more(count: int) -> list[Text]:
    return [Text(f"  and {count - SHOWN:,} more")] if count > SHOWN else []


@contextlib.contextmanager
def show_progress(studies: Sequence[Study], console: Console | None = None) -> Iterator[None]:
    """Show the progress of studies while the block runs.

    Args:
        studies: the studies.
        console: standard error by default.
    """
    # A notebook sets FORCE_COLOR, but it cannot show a moving bar.
    console = console or Console(stderr=True, force_terminal=sys.stderr.isatty())
    stop = threading.Event()
    show = _show_bar if console.is_terminal else _show_lines
    thread = threading.Thread(target=show, args=([StudyReader(study) for study in studies], console, stop), daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _show_bar(readers: Sequence[StudyReader], console: Console, stop: threading.Event) -> None:
    statuses = [reader.read() for reader in readers]
    with Progress(
        TextColumn("training"),
        BarColumn(12),
        _Numbers(table_column=Column(no_wrap=True)),
        console=console,
        refresh_per_second=4,
    ) as progress:
        task = progress.add_task("", total=sum(status.total.trainings for status in statuses))
        while True:
            last = stop.wait(REFRESH_SECONDS)
            statuses = [reader.read() for reader in readers]
            done = sum(status.total.recorded for status in statuses)
            progress.update(task, completed=done, numbers=numbers(statuses))
            if last:
                return


def _show_lines(
    readers: Sequence[StudyReader], console: Console, stop: threading.Event, *, until_complete: bool = False
) -> None:
    shown, shown_at = "", 0.0
    while True:
        last = stop.wait(REFRESH_SECONDS)
        statuses = [reader.read() for reader in readers]
        ended = (status.complete or reader.study_is_gone() for reader, status in zip(readers, statuses, strict=True))
        last = last or (until_complete and all(ended))
        line = numbers(statuses, with_time=False)
        if line != shown and (last or time.monotonic() - shown_at >= PLAIN_SECONDS):
            console.print(f"training: {numbers(statuses)}", highlight=False, soft_wrap=True)
            shown, shown_at = line, time.monotonic()
        if last:
            return
