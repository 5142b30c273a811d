"""The strategy surrogate: better than random search, no repeated proposal, known objectives, members of the space."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from designspace import spaces
from designspace.distributions import Choice, Uniform
from designspace.population import Population
from sweeps.search.proposals import flat_domains, nested_parameters
from sweeps.search.strategies import Strategy, open_strategy
from sweeps.search.surrogate import FEWEST_RESULTS, SpacePool

DOMAINS = {f"x_{number}": Uniform(low=0, high=20) for number in range(4)} | {"kind": Choice(options=("a", "b"))}


def error(parameters: Mapping[str, Any]) -> float:
    distances = [abs(parameters[f"x_{number}"] - target) for number, target in enumerate((4, 8, 12, 16))]
    return sum(distances) + 10 * (parameters["kind"] == "a")


def evaluate(strategy: Strategy, count: int) -> list[dict[str, Any]]:
    """Evaluate proposals; return their parameters."""
    proposals = []
    for _ in range(count):
        proposal = strategy.ask()
        strategy.tell(proposal.number, [error(proposal.parameters)])
        proposals.append(proposal.parameters)
    return proposals


def test_the_surrogate_beats_random_search() -> None:
    best = {
        name: [min(map(error, evaluate(open_strategy(name, DOMAINS, seed=seed), 50))) for seed in range(3)]
        for name in ("surrogate", "random")
    }
    assert np.mean(best["surrogate"]) < min(best["random"])


def test_no_proposal_repeats_another() -> None:
    strategy = open_strategy("surrogate", DOMAINS, seed=1)
    strategy.add({"x_0": 4, "x_1": 8, "x_2": 12, "x_3": 16, "kind": "b"})
    waiting = [strategy.ask().parameters for _ in range(20)]  # as parallel workers do
    proposals = [*waiting, *evaluate(strategy, 30)]
    assert len({tuple(parameters.values()) for parameters in proposals}) == 50


def test_a_journal_continues_the_search(tmp_path: Path) -> None:
    strategy = open_strategy("surrogate", DOMAINS, seed=0, journal=tmp_path / "s.journal")
    tried = evaluate(strategy, FEWEST_RESULTS)
    strategy.save()
    proposed = open_strategy("surrogate", DOMAINS, seed=1, journal=tmp_path / "s.journal").ask()
    assert proposed.number == FEWEST_RESULTS
    assert error(proposed.parameters) < np.median([error(parameters) for parameters in tried])


class Known:
    """Settings x from 0 to 99 with the feature cost = 100 - x."""

    def draw(self, seed: int) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        x = np.random.default_rng(seed).permutation(100)
        return {"x": x}, {"cost": 100 - x}

    def features(self, settings: Sequence[Mapping[str, Any]]) -> dict[str, np.ndarray]:
        return {"cost": np.array([100 - setting["x"] for setting in settings])}

    def identity(self, setting: Mapping[str, Any]) -> int:
        return int(setting["x"])


def test_several_objectives_are_minimized_with_different_weights() -> None:
    strategy = open_strategy("surrogate", {"x": Uniform(low=0, high=99)}, 2, pool=Known())
    for x in range(0, 100, 5):
        strategy.tell(strategy.add({"x": x}), [float(x), 100.0 - x])
    proposals = [strategy.ask().parameters["x"] for _ in range(40)]
    assert min(proposals) < 10
    assert max(proposals) > 90
    assert any(30 < x < 70 for x in proposals)


def test_proposals_in_a_space_are_members_of_it(tmp_path: Path) -> None:
    space = spaces.space("anynetx_a").with_template(stem={"width": 16, "stride": 1}, resolution=28, in_channels=1)
    space = space.with_constraints(macs=(2e6, 20e6))
    domains = flat_domains(space)
    pool = SpacePool(space, lambda flat: nested_parameters(space, flat))
    macs: list[int] = []
    for seed in range(FEWEST_RESULTS + 3):  # opened for every proposal, as by a worker
        strategy = open_strategy("surrogate", domains, seed=seed, journal=tmp_path / "a.journal", pool=pool)
        proposal = strategy.ask()
        network = space.network(nested_parameters(space, proposal.parameters))
        assert isinstance(network, Population)
        macs.append(int(network.complexity.macs[0]))
        strategy.tell(proposal.number, [20 - macs[-1] / 1e6])
        strategy.save()
    assert min(macs[-3:]) > np.median(macs[:FEWEST_RESULTS])


def test_settings_of_one_network_are_proposed_once() -> None:
    """In regnetx, many w_a and w_m give the same stages."""
    space = spaces.space("regnetx").with_template(stem={"width": 16, "stride": 1}, resolution=28, in_channels=1)
    space = space.with_constraints(macs=(2e6, 2.4e6), depth=(4, 6))
    pool = SpacePool(space, lambda flat: nested_parameters(space, flat))
    strategy = open_strategy("surrogate", flat_domains(space), seed=0, pool=pool)
    asked = [strategy.ask().parameters for _ in range(30)]
    networks = [space.network(nested_parameters(space, parameters)) for parameters in asked]
    assert len({network[0].spec_id for network in networks if isinstance(network, Population)}) == 30


def test_the_pool_of_a_space_describes_settings_like_draws() -> None:
    space = spaces.space("regnetx").with_template(stem={"width": 16, "stride": 1}, resolution=28, in_channels=1)
    pool = SpacePool(space.with_constraints(macs=(3e6, 30e6)), lambda flat: nested_parameters(space, flat))
    parameters, features = pool.draw(0)
    settings = [{name: values[row].item() for name, values in parameters.items()} for row in range(3)]
    described = pool.features(settings)
    assert set(described) == set(features) == {"macs", "params", "acts"}  # depth is a parameter
    for name, values in described.items():
        np.testing.assert_array_equal(values, features[name][:3])


@pytest.mark.parametrize("pool", [None, Known()])
def test_equal_results_are_no_obstacle(pool: Any) -> None:
    strategy = open_strategy("surrogate", {"x": Uniform(low=0, high=99)}, seed=0, pool=pool)
    for _ in range(FEWEST_RESULTS + 2):
        strategy.tell(strategy.ask().number, [50.0])
