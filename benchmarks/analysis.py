"""Time the analysis of 100,000 models: python -m benchmarks.analysis

The synthetic table has two spaces of distinct networks whose errors depend on depth and macs. Each time is the minimum
over repetitions on one core. On a busy machine, compare the processor time with the limit.
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

LIMITS = {"edf with band": 0.1, "compare_spaces, two spaces": 3.0, "whole report": 20.0, "designspace --help": 0.5}
"""Limits in seconds."""


def synthetic_table(rows: int) -> pd.DataFrame:
    """A table of two spaces with four parameters, complexities and errors."""
    rng = np.random.default_rng(0)
    depth, width = rng.integers(4, 40, rows), 8 * rng.integers(1, 128, rows)
    macs = 1e4 * depth * width * rng.uniform(0.8, 1.2, rows)
    error = 20 + 0.1 * np.abs(depth - 20) - 1.5 * np.log10(macs / 1e6) + rng.gamma(2.0, 1.0, rows)
    space = rng.choice(["a", "b"], rows)
    return pd.DataFrame(
        {
            "space": space,
            "error_percent": error + 0.1 * (space == "b"),
            "macs": macs.round(),
            "params": (macs * rng.uniform(0.01, 0.02, rows)).round(),
            "acts": (np.sqrt(macs) * 300).round(),
            "depth": depth,
            "width": width,
            "group_width": 2 ** rng.integers(0, 6, rows),
            "bottleneck_ratio": rng.choice([1, 2, 4], rows),
        }
    )


def best_of(repetitions: int, work: Callable[[], object]) -> tuple[float, float]:
    """Minimum wall time of a function, and minimum processor time including child processes, in seconds."""
    times = []
    for _ in range(repetitions):
        start, busy = time.perf_counter(), _processor_time()
        work()
        times.append((time.perf_counter() - start, _processor_time() - busy))
    return min(wall for wall, _ in times), min(busy for _, busy in times)


def _processor_time() -> float:
    used = os.times()
    return used.user + used.system + used.children_user + used.children_system


def main() -> int:
    """Print times and limits. Returns 1 if a time exceeds its limit."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000)
    rows = parser.parse_args().rows

    from analysis import load
    from analysis.compare import compare_spaces
    from analysis.error_distributions import edf
    from analysis.findings import find
    from analysis.report import write_report

    frame = synthetic_table(rows)
    help_command = [sys.executable, "-m", "designspace.cli", "--help"]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "table.csv"
        frame.to_csv(path, index=False)
        columns = {name: name for name in ("depth", "width", "group_width", "bottleneck_ratio")}

        def report() -> object:
            return write_report(find(load(path, columns=columns)), Path(folder) / "page")

        times = {
            "edf with band": best_of(5, lambda: edf(frame["error_percent"])),
            "compare_spaces, two spaces": best_of(3, lambda: compare_spaces(frame)),
            "whole report": best_of(1, report),
            "designspace --help": best_of(3, lambda: subprocess.run(help_command, check=True, capture_output=True)),
        }
    print(f"{rows:,} rows, Python {platform.python_version()}, {platform.processor() or platform.machine()}")
    over = False
    for name, (wall, busy) in times.items():
        # On a busy machine the processor time decides.
        verdict = "ok" if wall <= LIMITS[name] else "ok by processor time" if busy <= LIMITS[name] else "OVER"
        over |= verdict == "OVER"
        print(f"{name:<28} {wall:8.3f} s, processor {busy:7.3f} s   limit {LIMITS[name]:5.1f} s   {verdict}")
    return int(over)


if __name__ == "__main__":
    sys.exit(main())
