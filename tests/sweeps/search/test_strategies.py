"""Strategies: domains have the values of the distributions, and searches beat random draws on an easy function."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from optuna import load_study
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from designspace.distributions import Choice, Distribution, LogUniform, PowerOfTwo, Uniform
from sweeps.search.domains import domain, value
from sweeps.search.strategies import Strategy, open_strategy

FINITE = [
    Uniform(low=3, high=20),
    Uniform(low=8, high=64, step=8),
    Uniform(low=0.5, high=2, step=0.25),
    LogUniform(low=4, high=40),
    LogUniform(low=8, high=256, step=8),
    LogUniform(low=8, high=256, step=8, rounding="up"),
    LogUniform(low=8, high=256, step=8, within=(64, 128)),
    LogUniform(low=1.1, high=3, step=0.1),
    PowerOfTwo(low=1, high=64),
    PowerOfTwo(low=0.25, high=4),
    Choice(options=(0.5, 1, 4)),
    Choice(options=("relu", "silu", "relu")),
    Choice(options=(True, False)),
    Choice(options=(7,)),
    LogUniform(low=16, high=16, step=8),
]
CONTINUOUS = [Uniform(low=0, high=1e-3, step=None), LogUniform(low=1e-4, high=1, step=None)]

PARAMETERS: dict[str, Distribution] = {
    "width": LogUniform(low=8, high=1024, step=8),
    "group_width": PowerOfTwo(low=1, high=64),
    "depth": Uniform(low=2, high=40),
    "ratio": Choice(options=(1, 2, 4)),
}


def error(parameters: dict) -> float:
    """A smooth function with its minimum, 10, at width 200, group width 8 and depth 20."""
    off = np.log2([parameters["width"] / 200, parameters["group_width"] / 8, parameters["depth"] / 20])
    return 10 + float(np.sum(off**2)) + parameters["ratio"]


def best_of(name: str, seed: int, trials: int = 70) -> float:
    strategy = open_strategy(name, PARAMETERS, seed=seed)
    rng = np.random.default_rng(seed)
    errors = []
    for _ in range(15):
        draw = {key: one.sample(rng, ()).item() for key, one in PARAMETERS.items()}
        errors.append(error(draw))
        strategy.tell(strategy.add(draw), errors[-1:])
    while len(errors) < trials:
        proposal = strategy.ask()
        errors.append(error(proposal.parameters))
        strategy.tell(proposal.number, errors[-1:])
    return min(errors)


def ask_many(strategy: Strategy, count: int) -> list:
    return [strategy.ask().parameters["x"] for _ in range(count)]


@pytest.mark.parametrize("distribution", FINITE, ids=repr)
def test_an_ask_without_results_is_a_value_of_the_distribution(distribution):
    values = distribution.values.tolist()
    drawn = ask_many(open_strategy("tpe", {"x": distribution}), 200)
    assert set(drawn) <= set(values)
    assert {type(one) for one in drawn} <= {type(one) for one in values}
    if len(set(values)) <= 10:
        assert set(drawn) == set(values)


@pytest.mark.parametrize("distribution", CONTINUOUS, ids=repr)
def test_continuous_values_have_six_digits_within_the_limits(distribution):
    for one in ask_many(open_strategy("nsga2", {"x": distribution}), 50):
        assert distribution.low <= one <= distribution.high
        assert one == float(f"{one:.6g}")


@pytest.mark.parametrize(
    "distribution", [FINITE[1], FINITE[4], FINITE[5], FINITE[6], FINITE[8], FINITE[9], FINITE[10]], ids=repr
)
def test_an_ask_without_results_has_the_probabilities_of_the_distribution(distribution):
    values, expected = distribution.values, distribution.probabilities
    n = 1500
    drawn = np.array(ask_many(open_strategy("nsga2", {"x": distribution}, seed=1), n))
    share = np.array([np.mean(drawn == one) for one in values])
    assert np.all(np.abs(share - expected) < 4.5 * np.sqrt(expected * (1 - expected) / n))


@pytest.mark.parametrize("distribution", FINITE, ids=repr)
def test_every_value_of_a_distribution_is_in_its_domain(distribution):
    for one in distribution.values.tolist():
        own = domain(distribution)
        assert own.to_external_repr(own.to_internal_repr(one)) == one
        assert value(distribution, one) == one


@pytest.mark.parametrize("name", ["cmaes", "nsga2", "tpe"])  # the surrogate may stay at the first good region
def test_a_search_finds_lower_errors_than_random_draws(name):
    searched, random = ([best_of(strategy, seed) for seed in range(6)] for strategy in (name, "random"))
    assert np.mean(searched) < np.mean(random)
    assert np.median(searched) < np.median(random)


@pytest.mark.parametrize("name", ["tpe", "nsga2", "cmaes"])
def test_a_journal_continues_the_search(name, tmp_path):
    journal = tmp_path / "search" / "a.journal"
    journal.parent.mkdir()
    for index in range(25):
        strategy = open_strategy(name, PARAMETERS, seed=index, journal=journal)
        assert sorted(strategy.numbers) == list(range(index))
        proposal = strategy.ask()
        if index % 3 == 0:
            strategy.tell(strategy.ask().number, None, violation=0.5)
        strategy.assign(proposal.number, index)
        if index % 5:
            strategy.tell(proposal.number, [error(proposal.parameters)])
        strategy.save()
    strategy = open_strategy(name, PARAMETERS, journal=journal)
    assert [index for index in range(25) if not strategy.is_told(strategy.numbers[index])] == [0, 5, 10, 15, 20]


def test_optuna_opens_the_journal_with_the_values_of_the_space(tmp_path):
    journal = tmp_path / "regnetx.journal"
    strategy = open_strategy("tpe", PARAMETERS, journal=journal)
    number = strategy.add({"width": 40, "group_width": 8, "depth": 12, "ratio": 2}, index=0)
    strategy.tell(number, [35.5])
    proposal = strategy.ask()
    strategy.assign(proposal.number, 1)
    strategy.save()
    study = load_study(study_name="regnetx", storage=JournalStorage(JournalFileBackend(str(journal))))
    first, second = study.trials
    assert (first.params, first.value) == ({"width": 40, "group_width": 8, "depth": 12, "ratio": 2}, 35.5)
    assert (second.params, second.state) == (proposal.parameters, TrialState.RUNNING)


def test_a_partly_written_entry_is_dropped_and_a_damaged_one_is_an_error(tmp_path):
    journal = tmp_path / "a.journal"
    strategy = open_strategy("tpe", PARAMETERS, journal=journal)
    strategy.add({"width": 40, "group_width": 8, "depth": 12, "ratio": 2}, index=0)
    strategy.save()
    content = journal.read_bytes()
    journal.write_bytes(content + b'{"op_code": 4, "study')
    again = open_strategy("tpe", PARAMETERS, journal=journal)
    assert again.numbers == {0: 0}
    again.add({"width": 48, "group_width": 8, "depth": 12, "ratio": 2}, index=1)
    again.save()
    assert all(json.loads(line) for line in journal.read_text().splitlines())
    journal.write_bytes(b"not JSON\n" + content)
    with pytest.raises(ValueError, match=r"a\.journal, line 1: not a journal entry"):
        open_strategy("tpe", PARAMETERS, journal=journal)


def hypervolume(name: str, seed: int, trials: int) -> float:
    """Area that the errors and log widths of a search dominate, after 20 random draws."""
    strategy = open_strategy(name, PARAMETERS, objectives=2, seed=seed)
    rng = np.random.default_rng(seed)
    points = []
    for _ in range(20):
        draw = {key: one.sample(rng, ()).item() for key, one in PARAMETERS.items()}
        points.append((error(draw), float(np.log2(draw["width"]))))
        strategy.tell(strategy.add(draw), points[-1])
    while len(points) < trials:
        proposal = strategy.ask()
        points.append((error(proposal.parameters), float(np.log2(proposal.parameters["width"]))))
        strategy.tell(proposal.number, points[-1])
    area, lowest = 0.0, 10.0
    for first, second in sorted(points):
        area += max(0.0, 60 - first) * max(0.0, lowest - second)
        lowest = min(lowest, second)
    return area


@pytest.mark.parametrize(("name", "trials"), [("tpe", 60), ("nsga2", 120)])
def test_a_search_with_two_objectives_dominates_more_than_random_draws(name, trials):
    assert np.mean([hypervolume(name, seed, trials) for seed in range(4)]) > np.mean(
        [hypervolume("random", seed, trials) for seed in range(4)]
    )


def test_an_unknown_strategy_is_named(tmp_path: Path):
    with pytest.raises(ValueError, match=r"search = tpee: unknown; did you mean tpe\?"):
        open_strategy("tpee", PARAMETERS)
