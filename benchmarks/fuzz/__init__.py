"""Fuzz tests of all file readers: a mutated input must give a result or a documented error.

The tests run a few hundred examples of each kind. `python -m benchmarks.fuzz --minutes 10` runs longer.
"""

from benchmarks.fuzz.kinds import KINDS, Kind, check

__all__ = ["KINDS", "Kind", "check"]
