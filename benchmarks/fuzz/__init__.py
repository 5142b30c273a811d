"""Fuzzing of everything that reads files: mutated valid inputs give a result or a documented error.

The tests run a few hundred examples of each kind; `python -m benchmarks.fuzz --minutes 10` runs for as long as asked.
"""

from benchmarks.fuzz.kinds import KINDS, Kind, check

__all__ = ["KINDS", "Kind", "check"]
