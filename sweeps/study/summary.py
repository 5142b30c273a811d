"""The status of a study in words."""

from __future__ import annotations

from pathlib import Path

from sweeps.study.status import Status
from sweeps.study.study import Study


def duration(seconds: float | None) -> str:
    """Return a duration for people: '42 s', '7 min', '3 h 05 min'."""
    if seconds is None:
        return "unknown"
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60:,} h {minutes % 60:02d} min"


def status_lines(root: Path, status: Status) -> list[str]:
    """Return the status as lines to print."""
    total = status.total
    lines = [f"{root}: {total.done + total.failures} of {total.models} models have a record"]
    rows = [("space", "models", "done", "running", "failed", "missing", "best error")]
    rows += [
        (
            g.label,
            str(g.models),
            str(g.done),
            str(g.running),
            str(g.failures),
            str(g.missing),
            _percent(g.best_error_percent),
        )
        for g in (*status.groups, total)
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines += [
        "  " + "  ".join(c.ljust(w) if i == 0 else c.rjust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True)))
        for row in rows
    ]
    if total.failed:
        lines.append("failed: " + ", ".join(f"{count} {reason}" for reason, count in total.failed.most_common()))
    if status.unreadable:
        lines.append(
            f"damaged records: {status.unreadable} (the next sweep sets them aside and trains their models again)"
        )
    if (rate := status.models_per_hour) is not None:
        lines.append(
            f"speed: {rate:,.0f} models an hour"
            + (f", about {duration(status.seconds_left)} left" if status.seconds_left else "")
        )
    if status.training_seconds:
        left = f"; about {duration(status.device_seconds_left)} to go" if status.device_seconds_left else ""
        shared = status.device_seconds < status.training_seconds
        trained = f" ({duration(status.training_seconds)} of training, several at once)" if shared else ""
        lines.append(f"spent: {duration(status.device_seconds)} of device time{trained}{left}")
    if status.prediction_error is not None:
        lines.append(f"predicted times: typically {status.prediction_error:.0%} off")
    return lines


def running_lines(status: Status) -> list[str]:
    """Return one line for each model in training: which, where, since when, epochs done."""
    return [
        f"running: {model.space} model {model.index} on {claim.host} (worker {claim.worker}), "
        f"since {claim.since}, epochs done: {claim.epoch}"
        for model, claim in status.running
    ]


def sampling_lines(study: Study) -> list[str]:
    """Return one line for each space: how many of its draws were kept."""
    return [
        f"{label}: {report['asked']} models; {report['acceptance']:.2%} of {report['drawn']:,} draws kept"
        for label, report in study.manifest["sampling"].items()
    ]


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f} %"
