"""Early stopping in a study: a training process compares its model with the records and claims of the others."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping, Sequence

from designspace.claims import claimed_keys, read_claim
from designspace.study import Study, StudyModel
from sweeps.stopping import Rule

READING_SHARE = 0.05
"""Largest fraction of the time spent on listing and reading records and claims."""


class EarlyStopping:
    """Decides whether to stop a training, from the validation errors of the other models of its space.

    Models of other spaces do not count: a rule over all spaces would stop most models of a worse space and leave no
    fair sample of it.

    Args:
        study: the study.
        rule: its rule.
        epochs: epochs of a complete training.
    """

    def __init__(self, study: Study, rule: Rule, epochs: int) -> None:
        self._study = study
        self._rule = rule
        self._epochs = epochs
        self._keys: dict[str, set[str]] = {}  # by space
        self._recorded: dict[str, tuple[float, ...]] = {}
        self._running: dict[str, tuple[float, ...]] = {}
        self._next_reading = 0.0

    def should_stop(self, model: StudyModel, errors: Sequence[float | None]) -> bool:
        """Whether to stop a training after the last of these validation errors, one per epoch, in percent.

        A training that was stopped before and is repeated (`retry=[stopped]`) runs to the end.
        """
        own = _numbers(errors)
        if len(own) != len(errors) or not self._rule.decides_after(len(own), self._epochs):
            return False
        if self._study.was_set_aside(model.key, "stopped"):
            return False
        self._read()
        curves: Mapping[str, tuple[float, ...]] = self._running | self._recorded
        others = self._keys.get(model.space, set()) - {model.key}
        return self._rule.stops(own, [curves[key] for key in others if key in curves])

    def _read(self) -> None:
        """Read new records and all claims, within READING_SHARE of the time."""
        began = time.monotonic()
        if began < self._next_reading:
            return
        self._study = self._study.with_new_proposals()
        self._keys = {}
        for model in self._study.models:
            self._keys.setdefault(model.space, set()).add(model.key)
        recorded = self._study.recorded_keys()
        records, _ = self._study.read_records(recorded - self._recorded.keys())  # a damaged one is read again
        self._recorded = {key: curve for key, curve in self._recorded.items() if key in recorded}
        self._recorded |= {key: _numbers(one.epoch_validation_error_percent) for key, one in records.items()}
        self._running = {}
        for key in claimed_keys(self._study.paths.claims) - recorded:
            with contextlib.suppress(OSError, ValueError):  # just released, or damaged
                if (claim := read_claim(self._study.paths.claims / key)) is not None:
                    self._running[key] = claim.errors
        ended = time.monotonic()
        self._next_reading = ended + (ended - began) / READING_SHARE


def _numbers(errors: Sequence[float | None]) -> tuple[float, ...]:
    """The errors before the first missing one."""
    numbers: list[float] = []
    for error in errors:
        if error is None:
            break
        numbers.append(error)
    return tuple(numbers)
