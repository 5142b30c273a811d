"""Proposals of a study: report finished models to the strategy of a space, ask it for parameters, write the proposal.

The files in proposals/ and records/ are the source of truth. The journal of a strategy is derived from them: missing
trials are added before the next proposal. The journal may therefore be deleted, or lack a proposal whose worker was
killed.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import logging
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from designspace.distributions import Distribution
from designspace.spaces import DesignSpace, Rejection, space_from_config
from designspace.study import STOPPED, Proposal, Study, StudyModel
from sweeps.config import TrainingConfig
from sweeps.search.strategies import Strategy, open_strategy
from sweeps.search.surrogate import SpacePool
from sweeps.study.freeze import distinct_draws, models_of

log = logging.getLogger(__name__)

MOST_ASKS = 100
"""Most settings proposed for one model; if none is a new network of the space, a random draw replaces the proposal."""

ASK_SECONDS = 20.0
"""Most time for one proposal, during which the worker does not refresh its claims."""


def flat_domains(space: DesignSpace) -> dict[str, Distribution]:
    """The distribution of every value to choose, per stage as name_1, name_2, …."""
    return {
        key: one for name, one in space.parameters.items() for key in _columns(name, space.draws_of(one), one.per_stage)
    }


def flat_parameters(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters of a network, with the names of `flat_domains`."""
    flat: dict[str, Any] = {}
    for name, value in parameters.items():
        flat |= (
            {f"{name}_{stage}": one for stage, one in enumerate(value, 1)} if isinstance(value, list) else {name: value}
        )
    return flat


def nested_parameters(space: DesignSpace, flat: Mapping[str, Any]) -> dict[str, Any]:
    """The inverse of `flat_parameters`."""
    return {
        name: [flat[key] for key in _columns(name, space.draws_of(one), True)] if one.per_stage else flat[name]
        for name, one in space.parameters.items()
    }


def _columns(name: str, count: int, per_stage: bool) -> list[str]:
    return [f"{name}_{stage}" for stage in range(1, count + 1)] if per_stage else [name]


class Proposer:
    """Makes the proposals of a study, one at a time over all workers.

    Args:
        study: the study.
    """

    def __init__(self, study: Study) -> None:
        self._recipe = TrainingConfig.of_study(study.config).recipe
        self._errors: dict[str, float | None] = {}  # None for a failed training
        self._spaces: dict[str, DesignSpace] = {}
        self._draws: dict[tuple[str, int], list[dict[str, Any]]] = {}

    def propose(self, study: Study) -> Study:
        """Make a proposal for the space with the most missing models, and return the study with all proposals so far.

        Has no effect if the budget is used up or another worker is making a proposal.
        """
        study.paths.search_lock.parent.mkdir(exist_ok=True)
        with _try_lock(study.paths.search_lock) as locked:
            study = study.with_new_proposals()
            label = max(study.to_propose, key=lambda label: study.to_propose[label])
            if locked and study.to_propose[label]:
                _SpaceSearch(self, study, label).propose()
                study = study.with_new_proposals()
        return study

    def report(self, study: Study) -> None:
        """Report the models that finished since the last proposal, for readers of the journals."""
        if study.search == "random":
            return
        with _try_lock(study.paths.search_lock) as locked:
            for label in study.config["spaces"] if locked else ():
                _SpaceSearch(self, study, label).report()

    def space(self, study: Study, label: str) -> DesignSpace:
        """A space of the study."""
        if label not in self._spaces:
            self._spaces[label] = space_from_config(study.manifest["spaces"][label])
        return self._spaces[label]

    def draws(self, study: Study, label: str) -> list[dict[str, Any]]:
        """Distinct random draws of a space, enough for the budget, each with the fields of `Population.rows`."""
        budget, seed = study.config["budget"], study.config["seed"]
        if (label, budget) not in self._draws:
            self._draws[label, budget] = list(distinct_draws(self.space(study, label), budget, seed).rows())
        return self._draws[label, budget]

    def models(
        self, study: Study, label: str, row: Mapping[str, Any], index: int = 0, proposed_by: str = ""
    ) -> list[StudyModel]:
        """The models of a network, one per training seed."""
        seeds, data_id = study.config["training_seeds"], study.manifest["data_id"]
        return models_of({**row, "index": index}, label, self._recipe, data_id, seeds, proposed_by)

    def outcomes(self, study: Study, keys: set[str]) -> Mapping[str, float | None]:
        """Errors of finished trainings by key, in percent; None for a failed training.

        A training that was stopped early has the error of its last epoch.
        """
        new = (keys & study.recorded_keys()) - self._errors.keys()
        records, _ = study.read_records(new)
        for key, record in records.items():
            self._errors[key] = record.error_percent if record.status in ("ok", STOPPED) else None
        return self._errors


class _SpaceSearch:
    """One step of the search in a space."""

    def __init__(self, proposer: Proposer, study: Study, label: str) -> None:
        self._proposer = proposer
        self._study = study
        self._label = label
        self._space = proposer.space(study, label)
        self._objectives = study.config["objectives"]
        self._members: dict[int, list[StudyModel]] = {}
        for model in study.models:
            if model.space == label:
                self._members.setdefault(model.index, []).append(model)
        self._index = max(self._members) + 1
        self._indices: dict[str, int] = {}  # of each network, at its first draw
        for index, models in self._members.items():
            self._indices.setdefault(models[0].key, index)
        self._errors = proposer.outcomes(study, {model.key for models in self._members.values() for model in models})

    def propose(self) -> None:
        """Write a proposal."""
        name = self._study.search
        assert name is not None
        if name == "random":
            self._study.write_proposal(self._random_draw())
            return
        strategy = self._open(name)
        self._update(strategy)
        proposal, number = self._ask(strategy, name)
        # If the worker is killed here, `_update` adds the proposal to the journal later.
        if self._study.write_proposal(proposal):
            if number is None:
                strategy.add(flat_parameters(proposal.models[0].parameters), proposal.index)
            else:
                strategy.assign(number, proposal.index)
            strategy.save()

    def report(self) -> None:
        """Bring the journal up to date."""
        assert self._study.search is not None
        strategy = self._open(self._study.search)
        self._update(strategy)
        strategy.save()

    def _open(self, name: str) -> Strategy:
        journal = self._study.paths.journal(self._label)
        # Each proposal has its own seed, which depends only on the study seed, the space and the index.
        text = f"{self._study.config['seed']} {self._label} {self._index}"
        seed = int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") >> 1
        domains, objectives = flat_domains(self._space), len(self._objectives)
        pool = SpacePool(self._space, lambda flat: nested_parameters(self._space, flat))
        try:
            return open_strategy(name, domains, objectives, seed, journal, pool)
        except Exception as error:  # whatever Optuna raises for damaged entries
            aside = _free_name(self._study.paths.set_aside / journal.name)
            log.warning("%s: damaged (%s); moved to %s and rebuilt from the records", journal, error, aside)
            aside.parent.mkdir(exist_ok=True)
            journal.rename(aside)
            return open_strategy(name, domains, objectives, seed, journal, pool)

    def _update(self, strategy: Strategy) -> None:
        """Add the models that the strategy lacks, and report finished models."""
        numbers = strategy.numbers
        for index in sorted(self._indices.values()):
            models = self._members[index]
            if index not in numbers:
                numbers[index] = strategy.add(flat_parameters(models[0].parameters), index)
            if self._has_ended(index) and not strategy.is_told(numbers[index]):
                strategy.tell(numbers[index], self._values(index))

    def _has_ended(self, index: int) -> bool:
        return all(model.key in self._errors for model in self._members[index])

    def _values(self, index: int) -> list[float] | None:
        """Objectives of a model: the mean error over the training seeds, and complexities; None if one failed."""
        models = self._members[index]
        errors = [error for model in models if (error := self._errors[model.key]) is not None]
        if len(errors) < len(models):
            return None
        values = {"error": sum(errors) / len(errors)}
        return [values[name] if name in values else float(getattr(models[0], name)) for name in self._objectives]

    def _ask(self, strategy: Strategy, name: str) -> tuple[Proposal, int | None]:
        """A new network of the space and the number of its trial; after too many asks, a random draw and None."""
        rejected: Counter[str] = Counter()
        asked = repeated = 0
        until = time.monotonic() + ASK_SECONDS
        while asked < MOST_ASKS and time.monotonic() < until:
            asked += 1
            proposed = strategy.ask()
            network = self._space.network(nested_parameters(self._space, proposed.parameters))
            if isinstance(network, Rejection):
                rejected[network.reason] += 1
                strategy.tell(proposed.number, None, network.violation)
                continue
            models = self._proposer.models(self._study, self._label, next(network.rows()), self._index, name)
            if (index := self._indices.get(models[0].key)) is not None:
                repeated += 1
                has_values = strategy.counts_repeated and self._has_ended(index)
                strategy.tell(proposed.number, self._values(index) if has_values else None)
                continue
            return self._proposal(models, asked, rejected, repeated), proposed.number
        return self._random_draw(asked, rejected, repeated), None

    def _random_draw(self, asked: int = 0, rejected: Mapping[str, int] | None = None, repeated: int = 0) -> Proposal:
        """The first random draw of a network that the study lacks."""
        for row in self._proposer.draws(self._study, self._label):
            models = self._proposer.models(self._study, self._label, row, self._index, "random")
            if models[0].key not in self._indices:
                return self._proposal(models, asked, rejected or {}, repeated)
        raise AssertionError("a study has fewer networks than its budget until the budget is used up")

    def _proposal(self, models: list[StudyModel], asked: int, rejected: Mapping[str, int], repeated: int) -> Proposal:
        return Proposal(self._label, self._index, tuple(models), asked, dict(rejected), repeated)


def _free_name(path: Path) -> Path:
    return next(
        place for number in itertools.count() if not (place := path.with_name(f"{path.name}.{number}")).exists()
    )


@contextlib.contextmanager
def _try_lock(path: Path) -> Iterator[bool]:
    """Hold a lock unless another process does; yield False then.

    Yields True where locks are not supported, as on some network mounts: only one proposal per index can be written.
    """
    lock = FileLock(path)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        yield False
        return
    except OSError:
        pass
    try:
        yield True
    finally:
        lock.release()
