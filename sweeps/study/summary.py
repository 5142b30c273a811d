"""The status of a study as text."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from designspace.population import duplicates_text
from designspace.study import Study, damaged_text
from sweeps.study.status import Status


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
        lines.append(f"{total.models} models ({total.trainings} distinct): equal networks are trained once")
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
        lines.append(f"{damaged_text(status.damaged)}; the next sweep sets them aside and trains their models again")
    if (rate := status.models_per_hour) is not None:
        lines.append(
            f"speed: {rate:,.0f} models an hour"
            + (f", about {duration(status.seconds_left)} left" if status.seconds_left else "")
        )
    if status.training_seconds:
        left = f"; about {duration(status.device_seconds_left)} to go" if status.device_seconds_left else ""
        parallel = status.device_seconds < status.training_seconds
        trained = f" ({duration(status.training_seconds)} of training, several at once)" if parallel else ""
        lines.append(f"spent: {duration(status.device_seconds)} of device time{trained}{left}")
    if status.prediction_error is not None:
        lines.append(f"predicted times: typically {status.prediction_error:.0%} off")
    return lines


def running_lines(status: Status) -> list[str]:
    """Return one line for each training in progress: model, host, start, epochs done."""
    return [
        f"running: {model.space} model {model.index} on {claim.host} (worker {claim.worker}), "
        f"since {claim.since}, epochs done: {claim.epoch}"
        for model, claim in status.running
    ]


def sampling_lines(study: Study) -> list[str]:
    """Return one line for each space: its models, the share of candidates kept, duplicates."""
    return [
        f"{label}: {report['asked']} models; {report['acceptance']:.2%} of {report['drawn']:,} candidates accepted"
        + _duplicates(report)
        for label, report in study.manifest["sampling"].items()
    ]


def _duplicates(report: Mapping[str, Any]) -> str:
    if "distinct" not in report:  # frozen by an earlier version
        return ""
    return "; " + duplicates_text(report["asked"], report["distinct"], report["duplicates"])


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f} %"
