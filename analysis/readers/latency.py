"""Joining measured latencies to the models of studies."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from designspace.latency.records import COLUMN, Condition, Latency, Measurements, read_folder
from designspace.validated import unknown

BUSY = 0.05
"""Fraction of the time that a process waits for a core from which the machine is called busy."""


def join_latency(
    frame: pd.DataFrame, folders: Sequence[Path], chosen: str | None = None
) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Add the column latency_ms from the files of one condition, and a note that names it.

    Args:
        frame: column spec_id.
        folders: folders of latencies of all studies.
        chosen: name of the condition or its beginning; by default the condition with the most networks of `frame`.

    Returns:
        The frame, unchanged if no folder has latencies. Networks without a latency have NaN.

    Raises:
        ValueError: a damaged file, or a condition that does not exist or is ambiguous.
    """
    files: dict[str, list[Measurements]] = {}
    for folder in folders:
        for name, measurements in read_folder(folder).items():
            files.setdefault(name, []).append(measurements)
    if not files:
        if chosen is not None:
            raise ValueError(f"latency = {chosen}: must be measured first, with designspace latency RUN")
        return frame, ()
    if COLUMN in frame:
        raise ValueError(f"{COLUMN}: must be either a column of the tables or measured for the studies, not both")
    columns = {name: _column(frame["spec_id"], parts) for name, parts in files.items()}
    networks = {name: int(frame.loc[column.notna(), "spec_id"].nunique()) for name, column in columns.items()}
    name = max(sorted(files), key=networks.__getitem__) if chosen is None else _matching(chosen, files)
    column, condition = columns[name], files[name][0].condition
    note = (
        f"{COLUMN}: {condition.text} ({name}), known for {networks[name]:,} of {frame['spec_id'].nunique():,} networks."
    )
    others = [f"{other} ({networks[other]:,})" for other in sorted(files) if other != name]
    note += f" Also measured: {', '.join(others)}. Choose another with --latency NAME." if others else ""
    busy = busy_sentence(condition, [latency for part in files[name] for latency in part.networks.values()])
    return frame.assign(**{COLUMN: column}), (note, *busy)


def busy_sentence(condition: Condition, latencies: Sequence[Latency]) -> list[str]:
    """A warning if other programs delayed the measurement; [] if not."""
    waiting = [latency.waiting for latency in latencies if latency.waiting is not None]
    share = float(np.median(waiting)) if waiting else 0.0
    if condition.clock == "cpu" or share <= BUSY:
        return []
    return [
        f"Warning: {COLUMN} was measured on a busy machine, where the process waited for a core {share:.0%} of the "
        "time. Measure on an idle machine, or processor time with --clock cpu."
    ]


def _column(spec_ids: pd.Series, parts: Sequence[Measurements]) -> pd.Series:
    """Latency of every row; of a network measured in several folders, the mean of its medians."""
    medians: dict[str, list[float]] = {}
    for part in parts:
        for spec_id, latency in part.networks.items():
            medians.setdefault(spec_id, []).append(latency.median_ms)
    return spec_ids.map({spec_id: float(np.mean(values)) for spec_id, values in medians.items()}).astype(float)


def _matching(chosen: str, files: dict[str, list[Measurements]]) -> str:
    matching = [name for name in sorted(files) if name.startswith(chosen)]
    if chosen in files or len(matching) == 1:
        return chosen if chosen in files else matching[0]
    if matching:
        raise ValueError(f"latency = {chosen}: must be the name of one condition, of {', '.join(matching)}")
    raise ValueError(unknown("latency", chosen, sorted(files)))
