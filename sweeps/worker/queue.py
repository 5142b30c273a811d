"""The models that a worker has left, and which of them it takes next."""

from __future__ import annotations

import time
from collections.abc import Callable

from designspace.study import Study, StudyModel
from sweeps.study.claims import Claims

LOOK_SECONDS = 2.0
"""Largest age of a worker's list of the records; before a model is trained its own record is checked again."""


class Queue:
    """Models without a record, the longest training first; then those to be tried again.

    Args:
        study: the study.
        claims: the worker's view of the claims folder; a model that is taken is claimed.
    """

    def __init__(self, study: Study, claims: Claims) -> None:
        self._study = study
        self._claims = claims
        self._todo = study.models_to_train()
        self._retry: list[StudyModel] = []
        self._crowded: list[StudyModel] = []
        self._next_look = 0.0

    def __len__(self) -> int:
        return len(self._todo) + len(self._retry) + len(self._crowded)

    def order_by(self, seconds: Callable[[StudyModel], float]) -> None:
        """Put the models with the longest training first."""
        self._todo.sort(key=lambda model: (-seconds(model), model.key))

    def try_again(self, model: StudyModel) -> None:
        """Return a model whose training failed; it stays claimed and comes next."""
        self._retry.append(model)

    def try_alone(self, model: StudyModel) -> None:
        """Return a model that did not fit into memory beside others; it stays claimed, for `take_alone`."""
        self._crowded.append(model)

    def clear(self) -> None:
        """Leave everything to other workers."""
        for models in (self._todo, self._retry, self._crowded):
            models.clear()

    def take_alone(self) -> StudyModel | None:
        """A model that must be trained with nothing beside it."""
        return self._crowded.pop() if self._crowded else None

    def take(self) -> StudyModel | None:
        """The next model, claimed; None if there is none or others hold all that are left."""
        if self._retry:
            return self._retry.pop()
        if not self._todo:
            return None
        if time.monotonic() >= self._next_look:  # on a shared file system a look at thousands of files takes its time
            recorded = self._study.recorded_keys()
            self._todo = [model for model in self._todo if model.key not in recorded]
            self._next_look = time.monotonic() + LOOK_SECONDS
        foreign = self._claims.foreign()
        # Free models first; then those another worker holds, in case it is gone.
        for model in sorted(self._todo, key=lambda model: model.key in foreign):
            if self._claims.take(model.key):
                self._todo.remove(model)
                if not self._study.paths.record(model.key).exists():
                    return model
                self._claims.release(model.key)  # finished since our last look
        return None
