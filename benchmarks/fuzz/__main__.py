"""Fuzz the file readers and count exceptions.

    python -m benchmarks.fuzz --minutes 10
    python -m benchmarks.fuzz --minutes 1 --kind CSV --seed 7

Prints for each kind the number of inputs, the number of valid ones and the longest time, and each undocumented
exception with its type, location and first input. Returns 1 if there was one.
"""

from __future__ import annotations

import argparse
import faulthandler
import sys
import time
import traceback
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from hypothesis import HealthCheck, Phase, given, seed, settings

from benchmarks.fuzz.kinds import KINDS, Kind, check
from designspace.validated import cut, shorten

ROUND = 200  # examples of a kind before the next kind
SLOW_SECONDS = 2  # above which the slowest input is shown
HANG_SECONDS = 120  # after which the run ends with a traceback


@dataclass
class Tally:
    """Results for the inputs of one kind."""

    inputs: int = 0
    valid: int = 0
    longest: float = 0.0
    slowest: str = ""
    faults: Counter[str] = field(default_factory=Counter)
    first: dict[str, str] = field(default_factory=dict)

    def add(self, kind: Kind, value: Any) -> None:
        """Read one input and count the result."""
        self.inputs += 1
        start = time.monotonic()
        faulthandler.dump_traceback_later(HANG_SECONDS, exit=True)
        try:
            valid, _ = check(kind, value)
            self.valid += valid
        except Exception as error:
            cause = error.__context__ if isinstance(error, AssertionError) and error.__context__ else error
            frames = traceback.extract_tb(cause.__traceback__)
            place = next(frame for frame in reversed(frames) if "site-packages" not in frame.filename)
            fault = f"{type(error).__name__} ({type(cause).__name__}) at {place.filename}:{place.lineno}"
            self.first.setdefault(fault, f"{shorten(str(cause))}\n    input {cut(repr(value), 800)}")
            self.faults[fault] += 1
        finally:
            faulthandler.cancel_dump_traceback_later()
        if (seconds := time.monotonic() - start) > self.longest:
            self.longest, self.slowest = seconds, cut(repr(value), 800)


def run_round(kind: Kind, tally: Tally, number: int) -> None:
    """Read a round of inputs."""

    @seed(number)
    @settings(
        max_examples=ROUND,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(value=kind.inputs)
    def examples(value: Any) -> None:
        tally.add(kind, value)

    examples()


def main(argv: list[str] | None = None) -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fuzz", description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--kind", action="append", choices=sorted(KINDS), help="only this kind (repeatable)")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args(argv)
    kinds = [KINDS[name] for name in arguments.kind or KINDS]
    tallies = {kind.name: Tally() for kind in kinds}
    start, number = time.monotonic(), arguments.seed
    while time.monotonic() - start < 60 * arguments.minutes:
        for kind in kinds:
            run_round(kind, tallies[kind.name], number)
        number += 1
    print(f"{'kind of input':<20} {'inputs':>9} {'valid':>9} {'other exceptions':>17} {'longest, s':>11}")
    for name, tally in tallies.items():
        faults = tally.faults.total()
        print(f"{name:<20} {tally.inputs:>9,} {tally.valid:>9,} {faults:>17,} {tally.longest:>11.2f}")
    total, minutes = sum(tally.inputs for tally in tallies.values()), (time.monotonic() - start) / 60
    print(f"{'all':<20} {total:>9,} in {minutes:.1f} minutes, seeds {arguments.seed} to {number - 1}")
    for name, tally in tallies.items():
        if tally.longest > SLOW_SECONDS:
            print(f"\n{name}: {tally.longest:.2f} s for {tally.slowest}")
        for fault, count in tally.faults.most_common():
            print(f"\n{name}: {count:,} times {fault}\n    first: {tally.first[fault]}")
    return int(any(tally.faults for tally in tallies.values()))


if __name__ == "__main__":
    sys.exit(main())
