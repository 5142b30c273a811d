"""Search strategies: ask for parameters, tell the values of the objectives, all of which are minimized.

A strategy does not depend on networks or studies, so it can also search a table:

    strategy = open_strategy("tpe", {"depth": PowerOfTwo(low=1, high=64)}, seed=0)
    for _ in range(50):
        proposal = strategy.ask()
        strategy.tell(proposal.number, [error(proposal.parameters)])
"""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import BaseSampler, CmaEsSampler, NSGAIISampler, TPESampler
from optuna.storages import BaseStorage, InMemoryStorage, JournalStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial

from designspace.distributions import Distribution
from designspace.validated import unknown
from sweeps.search.domains import domain, value
from sweeps.search.journal import Journal

if TYPE_CHECKING:
    from sweeps.search.surrogate import Pool

POPULATION = (10, 50)
"""Smallest and largest population of NSGA-II; between them, it is the number of added trials."""

FEWEST_SOURCES = 10
"""Fewest added trials for CMA-ES to start from the best tenth of them instead of the center."""

INDEX = "index"
"""User attribute of a trial: the index of its model in the space."""

_ADDED = "added"


@dataclass(frozen=True)
class Proposal:
    """Parameters to evaluate, and the number to report their values with."""

    number: int
    parameters: dict[str, Any]


class Strategy(ABC):
    """Proposes parameters from the values of earlier ones."""

    counts_repeated = True
    """Whether to report the known values of a network that is proposed again."""

    @abstractmethod
    def ask(self) -> Proposal:
        """Propose parameters."""

    @abstractmethod
    def tell(self, number: int, values: Sequence[float] | None, violation: float = 0.0) -> None:
        """Report a result.

        Args:
            number: of the proposal.
            values: values of the objectives; None if the evaluation failed or was not allowed.
            violation: size of the constraint violation, 0 if there is none.
        """

    @abstractmethod
    def add(self, parameters: Mapping[str, Any], index: int | None = None) -> int:
        """Add parameters that the strategy did not propose, such as random draws, and return their number.

        Args:
            parameters: a value for each domain.
            index: see `assign`.
        """

    @abstractmethod
    def assign(self, number: int, index: int) -> None:
        """Store the index of the model that a proposal became."""

    @property
    @abstractmethod
    def numbers(self) -> dict[int, int]:
        """Number of the trial of each index."""

    @abstractmethod
    def is_told(self, number: int) -> bool:
        """Whether the result was reported."""

    def save(self) -> None:  # noqa: B027
        """Write the journal, if the strategy has one."""


class Random(Strategy):
    """Independent draws from the distributions."""

    def __init__(self, domains: Mapping[str, Distribution], objectives: int, seed: int, journal: Path | None) -> None:
        self._domains = domains
        self._rng = np.random.default_rng(seed)
        self._told: list[bool] = []
        self._numbers: dict[int, int] = {}

    def ask(self) -> Proposal:
        """Draw parameters."""
        self._told.append(False)
        draws = {name: one.sample(self._rng, ()) for name, one in self._domains.items()}
        return Proposal(len(self._told) - 1, {name: np.asarray(draw).item() for name, draw in draws.items()})

    def tell(self, number: int, values: Sequence[float] | None, violation: float = 0.0) -> None:
        """Note that there is a result."""
        self._told[number] = True

    def add(self, parameters: Mapping[str, Any], index: int | None = None) -> int:
        """Count a trial."""
        self._told.append(False)
        if index is not None:
            self.assign(len(self._told) - 1, index)
        return len(self._told) - 1

    def assign(self, number: int, index: int) -> None:
        """Note the index of a trial."""
        self._numbers[index] = number

    @property
    def numbers(self) -> dict[int, int]:
        """Number of the trial of each index."""
        return dict(self._numbers)

    def is_told(self, number: int) -> bool:
        """Whether the result was reported."""
        return self._told[number]


class OptunaStrategy(Strategy):
    """A sampler of Optuna.

    Args:
        domains: the distribution of each parameter.
        objectives: number of objectives.
        seed: of the sampler.
        journal: file of the trials, which optuna-dashboard can open; None keeps them in memory. Only one process may
            use it at a time.
    Raises:
        ValueError: the journal is damaged.
    """

    uses_constraints = True
    stores_rejected = True  # in the journal

    def __init__(self, domains: Mapping[str, Distribution], objectives: int, seed: int, journal: Path | None) -> None:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._distributions = dict(domains)
        self._domains = {name: domain(one) for name, one in domains.items()}
        self._seed = seed
        self._journal = None if journal is None else Journal(journal)
        storage: BaseStorage = InMemoryStorage() if self._journal is None else JournalStorage(self._journal)
        name = "search" if journal is None else journal.stem
        directions = [StudyDirection.MINIMIZE] * objectives
        self._stored = self._study = optuna.create_study(
            storage=storage, study_name=name, directions=directions, load_if_exists=True
        )
        if self._journal is not None and not self.stores_rejected:
            self._study = optuna.create_study(directions=directions)
            self._study.add_trials(self._stored.get_trials(deepcopy=False))
        self._stored_numbers = {trial.number: trial.number for trial in self._trials()}  # by the numbers of _study
        self._has_sampler = False
        self._asked: dict[int, optuna.Trial] = {}
        self._worst: list[float] | None = None  # of the feasible trials
        self._numbers: dict[int, int] = {}
        for trial in self._trials():
            if trial.values and not any(violation > 0 for violation in trial.constraints.values()):
                self._note_worst(trial.values)
            if INDEX in trial.user_attrs:
                self._numbers[trial.user_attrs[INDEX]] = trial.number

    def _trials(self) -> list[FrozenTrial]:
        return self._study.get_trials(deepcopy=False)

    def _note_worst(self, values: Sequence[float]) -> None:
        self._worst = [max(pair) for pair in zip(self._worst or values, values, strict=True)]

    def sampler(self, added: Sequence[FrozenTrial]) -> BaseSampler:
        """The sampler; `added` are the trials that it did not propose."""
        raise NotImplementedError

    def attributes_of_added(self) -> dict[str, Any]:
        """System attributes of trials that the sampler did not propose."""
        return {}

    def ask(self) -> Proposal:
        """Propose parameters."""
        if not self._has_sampler:
            added = [trial for trial in self._trials() if _ADDED in trial.user_attrs]
            self._study.sampler = _Rounded(self.sampler(added), self._distributions)
            self._has_sampler = True
        trial = self._study.ask(self._domains)
        self._asked[trial.number] = trial
        return Proposal(trial.number, {name: self._value(name, raw) for name, raw in trial.params.items()})

    def _value(self, name: str, raw: Any) -> Any:
        return value(self._distributions[name], raw)

    def tell(self, number: int, values: Sequence[float] | None, violation: float = 0.0) -> None:
        """Report a result; a sampler without constraints gets the worst values so far plus the violation."""
        if violation > 0 and self._worst is not None:
            values = self._worst
            if self.uses_constraints:
                self._asked[number].set_constraint("space", violation)
            else:
                values = [worst + violation for worst in values]
        elif values is not None:
            values = [float(one) for one in values]
            self._note_worst(values)
        state = TrialState.FAIL if values is None else None
        self._study.tell(number, values, state)
        if self._study is not self._stored and number in self._stored_numbers:
            self._stored.tell(self._stored_numbers[number], values, state)

    def add(self, parameters: Mapping[str, Any], index: int | None = None) -> int:
        """Add parameters that the sampler did not propose."""
        attributes = {_ADDED: True} | ({} if index is None else {INDEX: index})
        trial = create_trial(
            state=TrialState.RUNNING,
            params={name: parameters[name] for name in self._domains},
            distributions=self._domains,
            user_attrs=attributes,
            system_attrs=self.attributes_of_added(),
        )
        self._study.add_trial(trial)
        number = self._trials()[-1].number
        self._store(number)
        if index is not None:
            self._numbers[index] = number
        return number

    def _store(self, number: int) -> None:
        """Add a trial to the journal if the study does not write it."""
        if self._study is not self._stored:
            self._stored.add_trial(self._trials()[number])
            self._stored_numbers[number] = self._stored.get_trials(deepcopy=False)[-1].number

    def assign(self, number: int, index: int) -> None:
        """Note which model of the space a proposal became."""
        self._asked[number].set_user_attr(INDEX, index)
        self._numbers[index] = number
        self._store(number)

    @property
    def numbers(self) -> dict[int, int]:
        """Number of the trial of each index."""
        return dict(self._numbers)

    def is_told(self, number: int) -> bool:
        """Whether the result was reported."""
        return self._trials()[number].state.is_finished()

    def save(self) -> None:
        """Write the journal."""
        if self._journal is not None:
            self._journal.save()


class TPE(OptunaStrategy):
    """Tree-structured Parzen estimator (Bergstra et al. 2011), multivariate for one objective (Falkner et al. 2018).

    Trials without a result count as bad, so parallel workers explore different regions. The time of an ask is
    proportional to the number of trials, so rejected trials are not stored.
    """

    stores_rejected = False

    def sampler(self, added: Sequence[FrozenTrial]) -> BaseSampler:
        """The sampler."""
        return TPESampler(seed=self._seed, constant_liar=True)


class NSGA2(OptunaStrategy):
    """NSGA-II (Deb et al. 2002); the added trials are its first generation.

    A child is often a copy of a parent. Copies would fill the generations.
    """

    counts_repeated = False

    def sampler(self, added: Sequence[FrozenTrial]) -> BaseSampler:
        """The sampler."""
        return NSGAIISampler(seed=self._seed, population_size=int(np.clip(len(added), *POPULATION)))

    def attributes_of_added(self) -> dict[str, Any]:
        """The first generation."""
        return {NSGAIISampler._get_generation_key(): 0}


class CMAES(OptunaStrategy):
    """CMA-ES (Hansen & Ostermeier 2001) over the numeric parameters; values of a choice are drawn at random.

    It starts from the best tenth of the added trials (Nomura et al. 2021) or, if there are few, from the center.
    """

    uses_constraints = False

    def sampler(self, added: Sequence[FrozenTrial]) -> BaseSampler:
        """The sampler."""
        names = [name for name, one in self._domains.items() if not isinstance(one, CategoricalDistribution)]
        sources = [
            create_trial(
                params={name: trial.params[name] for name in names},
                distributions={name: trial.distributions[name] for name in names},
                value=trial.value,
            )
            for trial in added
            if trial.state is TrialState.COMPLETE
        ]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            return CmaEsSampler(
                seed=self._seed,
                warn_independent_sampling=False,
                source_trials=sources if len(sources) >= FEWEST_SOURCES else None,
            )


class _Rounded(BaseSampler):
    """A sampler whose numbers are rounded to the values of the distributions."""

    def __init__(self, sampler: BaseSampler, distributions: Mapping[str, Distribution]) -> None:
        self._sampler = sampler
        self._distributions = distributions

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return self._sampler.infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        numbers = self._sampler.sample_relative(study, trial, search_space)
        return {name: value(self._distributions[name], number) for name, number in numbers.items()}

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        number = self._sampler.sample_independent(study, trial, param_name, param_distribution)
        return value(self._distributions[param_name], number)

    def before_trial(self, study: optuna.Study, trial: FrozenTrial) -> None:
        self._sampler.before_trial(study, trial)

    def after_trial(
        self, study: optuna.Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None
    ) -> None:
        self._sampler.after_trial(study, trial, state, values)


def _surrogate(
    domains: Mapping[str, Distribution], objectives: int, seed: int, journal: Path | None, pool: Pool | None = None
) -> Strategy:
    from sweeps.search.surrogate import SurrogateStrategy  # loads scikit-learn

    return SurrogateStrategy(domains, objectives, seed, journal, pool)


STRATEGIES: dict[str, Callable[..., Strategy]] = {
    "tpe": TPE,
    "nsga2": NSGA2,
    "cmaes": CMAES,
    "random": Random,
    "surrogate": _surrogate,
}


def open_strategy(
    name: str,
    domains: Mapping[str, Distribution],
    objectives: int = 1,
    seed: int = 0,
    journal: Path | None = None,
    pool: Pool | None = None,
) -> Strategy:
    """Open a strategy.

    Args:
        name: one of STRATEGIES.
        domains: the distribution of each parameter; `per_stage` is ignored.
        objectives: number of objectives, 1 for cmaes.
        seed: of the random numbers.
        journal: file for the trials of an Optuna sampler, which continues an existing file.
        pool: candidate settings and their features for `surrogate`; by default, random draws without features.
    Raises:
        ValueError: unknown strategy, or damaged journal.
    """
    if name not in STRATEGIES:
        raise ValueError(unknown("search", name, STRATEGIES))
    options = {"pool": pool} if name == "surrogate" else {}
    return STRATEGIES[name](domains, objectives, seed, journal, **options)
