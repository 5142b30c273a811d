"""Measured latencies and their files.

    RUN/latency/NAME.json    latencies of networks under one condition

A condition is everything that affects a latency besides the network: engine, device, batch, threads, versions. Its
name identifies it, so latencies of different conditions are never in one file. Files are written atomically and
validated when read; errors are ValueErrors of one line.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, TypeAdapter

from designspace.atomic import MARK, replace_file
from designspace.study import STRICT, Count, Time
from designspace.validated import parse_json, read_regular

COLUMN = "latency_ms"
"""Column of the median latency in tables, and its constraint in spaces."""

Engine = Literal["torch", "onnxruntime"]
Device = Literal["cpu", "cuda"]
Clock = Literal["wall", "cpu"]
Positive = Annotated[float, Field(gt=0)]
AtLeastOne = Annotated[int, Field(ge=1, lt=2**31)]


@dataclass(frozen=True)
class Condition:
    """Everything that affects a latency besides the network.

    Args:
        engine: torch (eager mode) or onnxruntime.
        device: cpu or cuda.
        device_name: name of the processor or GPU.
        batch: images per forward pass.
        threads: CPU threads of the engine.
        clock: wall (elapsed time) or cpu (processor time of the only thread, without waiting for a core).
        packages: versions of the packages that determine the latency.
    """

    __pydantic_config__ = STRICT

    engine: Engine
    device: Device
    device_name: str
    batch: AtLeastOne
    threads: AtLeastOne
    clock: Clock
    packages: dict[str, str]

    @cached_property
    def name(self) -> str:
        """Identifies the condition; a file name."""
        digest = hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()
        return f"{self.engine}-{self.device}-b{self.batch}-t{self.threads}-{self.clock}-{digest[:8]}"

    @property
    def text(self) -> str:
        """The condition in words, such as "onnxruntime 1.32.0, batch 1, 1 thread, AMD EPYC"."""
        threads = f", {self.threads} thread{'s' if self.threads > 1 else ''}" if self.device == "cpu" else ""
        version = self.packages.get(self.engine, "of an unknown version")
        clock = ", CPU time" if self.clock == "cpu" else ""
        return f"{self.engine} {version}, batch {self.batch}{threads}, {self.device_name}{clock}"


@dataclass(frozen=True)
class Latency:
    """Latency of one network: milliseconds per forward pass of one batch.

    Args:
        median_ms: median over the rounds of the median of each round.
        low_ms, high_ms: 10 % and 90 % quantiles of all runs.
        relative_error: half the width of the 95 % confidence interval of the median, relative to it.
        rounds: number of rounds.
        runs: number of timed forward passes.
        waiting: fraction of the time of the block that the process waited for a core; None with several threads or on a
            GPU, where it is unknown.
        measured_at: end of the measurement, UTC, ISO 8601.
    """

    __pydantic_config__ = STRICT

    median_ms: Positive
    low_ms: Positive
    high_ms: Positive
    relative_error: Annotated[float, Field(ge=0)]
    rounds: Count
    runs: Count
    waiting: Annotated[float, Field(ge=0, le=1)] | None
    measured_at: Time


@dataclass(frozen=True)
class Measurements:
    """Content of a file: the latencies of networks under one condition, by spec_id."""

    __pydantic_config__ = STRICT

    generator: str
    condition: Condition
    networks: dict[str, Latency]


_MEASUREMENTS = TypeAdapter(Measurements)


def parse_measurements(text: str | bytes) -> Measurements:
    """Read the content of a file; ValueError if it is not valid."""
    return parse_json(_MEASUREMENTS, text)


def read_folder(folder: str | Path) -> dict[str, Measurements]:
    """Read all latencies of a folder by the name of their condition; empty if there is no folder.

    Raises:
        ValueError: naming a file that is damaged, or that another condition is named after.
    """
    found = {}
    for file in sorted(Path(folder).glob("[!.]*.json")):
        try:
            measurements = parse_measurements(read_regular(file))
            if measurements.condition.name != file.stem:
                raise ValueError(f"must be named {measurements.condition.name}.json after its condition")
        except OSError as error:
            raise ValueError(f"{file}: {error.strerror}") from None
        except ValueError as error:
            raise ValueError(f"{file}: not a valid file of latencies: {error}") from None
        found[file.stem] = measurements
    return found


def add_to_folder(folder: str | Path, condition: Condition, networks: Mapping[str, Latency]) -> Path:
    """Add latencies to the file of their condition, and return the file.

    Raises:
        ValueError: the existing file is damaged.
        OSError: the disk is full or not writable; the older file is unchanged.
    """
    before = read_folder(folder).get(condition.name)
    merged = {**(before.networks if before else {}), **networks}
    file = Path(folder) / f"{condition.name}.json"
    replace_file(file, json.dumps(asdict(Measurements(MARK, condition, merged)), indent=1, allow_nan=False) + "\n")
    return file
