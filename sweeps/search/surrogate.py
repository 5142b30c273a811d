"""The strategy "surrogate": propose the random setting with the smallest predicted error."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from optuna.trial import FrozenTrial, TrialState

from designspace.distributions import Distribution
from designspace.population import Population, Quantities
from designspace.spaces import DesignSpace
from designspace.surrogate import fit_surrogate
from sweeps.search.strategies import OptunaStrategy, Proposal

Columns = Mapping[str, np.ndarray]

CANDIDATES = 20_000
"""Settings to rank."""

MOST_DRAWS = 1 << 20
"""Most settings to draw. If few of them are allowed, there are fewer candidates."""

FEWEST_RESULTS = 10
"""Fewest results to rank settings; with fewer, proposals are random."""

REFIT = 10
"""New results before the surrogate is refitted. In a study, it is refitted for every proposal."""

MOST_COMPARED = 1000
"""Most candidates to compare with the trials, at milliseconds each. If all are repeats, the proposal is a repeat."""

AUGMENTED = 0.05
"""Weight of the sum of the objectives in the augmented Chebyshev function (Knowles 2006)."""


class Pool(Protocol):
    """Source of settings to choose from, and of features besides the parameters."""

    def draw(self, seed: int) -> tuple[Columns, Columns]:
        """Random allowed settings: their parameters and further features, arrays of shape (N,)."""

    def features(self, settings: Sequence[Mapping[str, Any]]) -> Columns:
        """The further features of given settings, arrays of shape (N,)."""

    def identity(self, setting: Mapping[str, Any]) -> Hashable:
        """Equal for settings with the same result, of which only one is proposed."""


class DomainPool:
    """Independent draws from the distributions of the parameters, all of them allowed."""

    def __init__(self, domains: Mapping[str, Distribution]) -> None:
        self._domains = domains

    def draw(self, seed: int) -> tuple[Columns, Columns]:
        """Random settings, without further features."""
        rng = np.random.default_rng(seed)
        return {name: one.sample(rng, (CANDIDATES,)) for name, one in self._domains.items()}, {}

    def features(self, settings: Sequence[Mapping[str, Any]]) -> Columns:
        """No further features."""
        return {}

    def identity(self, setting: Mapping[str, Any]) -> Hashable:
        """The values."""
        return tuple(setting[name] for name in self._domains)


class SpacePool:
    """Members of a design space, with their complexity as further features.

    Args:
        space: the space.
        nested: the parameters of a network from a setting, which has one value per stage as name_1, name_2, ….
    """

    def __init__(self, space: DesignSpace, nested: Callable[[Mapping[str, Any]], Mapping[str, Any]]) -> None:
        self._space = space.changed(duplicates="keep")
        self._nested = nested

    def draw(self, seed: int) -> tuple[Columns, Columns]:
        """Random members of the space."""
        acceptance = self._space.sample(1, seed).report.acceptance
        population = self._space.sample(int(np.clip(acceptance * MOST_DRAWS, 1, CANDIDATES)), seed)
        parameters: dict[str, np.ndarray] = {}
        for name, values in population.parameters.items():
            stages = {f"{name}_{stage}": one for stage, one in enumerate(values.T, 1)} if values.ndim == 2 else {}
            parameters |= stages or {name: values}
        return parameters, self._complexity(population)

    def features(self, settings: Sequence[Mapping[str, Any]]) -> Columns:
        """Complexity of the networks with given parameters."""
        rows = [self._complexity(self._network(setting)) for setting in settings]
        return {name: np.concatenate([row[name] for row in rows]) for name in rows[0]}

    def identity(self, setting: Mapping[str, Any]) -> Hashable:
        """The network, and its learning rate and weight decay if the space draws them."""
        return self._network(setting)[0].spec_id, *(setting[name] for name in self._space.rates)

    def _network(self, setting: Mapping[str, Any]) -> Population:
        network = self._space.network(self._nested(setting))
        assert isinstance(network, Population)
        return network

    def _complexity(self, population: Population) -> Columns:
        counts = population.complexity
        quantities = Quantities(population.networks, {}, len(population), lambda: counts)
        names = [name for name in ("macs", "params", "acts", "depth") if name not in population.parameters]
        return {name: quantities[name] for name in names}


class SurrogateStrategy(OptunaStrategy):
    """The strategy that proposes the best predicted of many random settings (`designspace.surrogate`).

    It does not explore: docs/surrogate.md compares it with variants that explore. With several objectives, each
    proposal minimizes the augmented Chebyshev function of the predicted objectives, scaled to [0, 1] by the results,
    with random weights, as in ParEGO (Knowles 2006). An objective that equals a feature, such as macs, is not
    predicted.

    Args:
        domains, objectives, seed, journal: as in `open_strategy`.
        pool: source of the settings; by default, independent draws from the domains.
    """

    def __init__(
        self,
        domains: Mapping[str, Distribution],
        objectives: int,
        seed: int,
        journal: Path | None,
        pool: Pool | None = None,
    ) -> None:
        super().__init__(domains, objectives, seed, journal)
        self._pool = pool or DomainPool(domains)
        self._candidates: list[dict[str, Any]] = []
        self._columns: Columns = {}
        self._predicted = np.empty((0, 0))  # objectives of the candidates, scaled
        self._fitted_to = 0
        self._tried: list[Hashable] = []  # by the number of the trial

    def ask(self) -> Proposal:
        """Propose the best predicted setting that was not tried."""
        if not self._columns:
            parameters, features = self._pool.draw(self._seed)
            self._columns = {**features, **parameters}
            names = list(self._domains)
            rows = zip(*(parameters[name].tolist() for name in names), strict=True)
            self._candidates = [dict(zip(names, row, strict=True)) for row in rows]
            self._predicted = np.zeros((1, len(self._candidates)))
        trials = self._trials()
        results = [trial for trial in trials if _is_result(trial)]
        if len(results) >= max(FEWEST_RESULTS, self._fitted_to + REFIT):
            self._predicted = self._predict(results)
            self._fitted_to = len(results)
        ranking = self._ranking(len(trials))
        self._tried += [self._pool.identity(self._setting(trial)) for trial in trials[len(self._tried) :]]
        tried = set(self._tried)
        best = ranking[:MOST_COMPARED]
        untried = (row for row in best if self._pool.identity(self._candidates[row]) not in tried)
        parameters = self._candidates[next(untried, ranking[0])]
        self._study.enqueue_trial(parameters)
        trial = self._study.ask(self._domains)
        self._asked[trial.number] = trial
        return Proposal(trial.number, dict(parameters))

    def _ranking(self, number: int) -> list[int]:
        """Candidates from best to worst for the proposal with this number."""
        rng = np.random.default_rng([self._seed, number])
        weighted = rng.dirichlet(np.ones(len(self._predicted)))[:, None] * self._predicted
        # Trees often predict the same error for several candidates, whose order is random.
        ties = rng.random(len(self._candidates))
        ranking: list[int] = np.lexsort([ties, weighted.max(0) + AUGMENTED * weighted.sum(0)]).tolist()
        return ranking

    def _predict(self, results: Sequence[FrozenTrial]) -> np.ndarray:
        """The objectives of the candidates, shape (objectives, N), scaled to [0, 1] by the results."""
        settings = [self._setting(trial) for trial in results]
        columns = {name: np.array([setting[name] for setting in settings]) for name in self._domains}
        columns = {**self._pool.features(settings), **columns}
        objectives = np.array([trial.values for trial in results]).T
        predicted = np.stack([self._predict_one(columns, values) for values in objectives])
        low, high = objectives.min(1, keepdims=True), objectives.max(1, keepdims=True)
        return (predicted - low) / np.where(high > low, high - low, 1.0)

    def _setting(self, trial: FrozenTrial) -> dict[str, Any]:
        return {name: self._value(name, trial.params[name]) for name in self._domains}

    def _predict_one(self, columns: Columns, values: np.ndarray) -> np.ndarray:
        """One objective of the candidates."""
        for name, column in columns.items():
            if column.dtype.kind in "iuf" and np.array_equal(column.astype(float), values):
                return self._columns[name].astype(float)
        if np.ptp(values) == 0 or not any(len(set(column.tolist())) > 1 for column in columns.values()):
            return np.full(len(self._candidates), values[0])
        return fit_surrogate(columns, values, seed=self._seed).predict(self._columns)


def _is_result(trial: FrozenTrial) -> bool:
    violated = any(violation > 0 for violation in trial.constraints.values())
    return trial.state is TrialState.COMPLETE and not violated
