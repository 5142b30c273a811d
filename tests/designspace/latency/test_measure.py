"""Measurement of latencies: interleaved rounds, stopping, intervals. No test depends on the speed of the machine."""

from __future__ import annotations

from itertools import count
from typing import Any

import numpy as np
import pytest
import torch

from designspace import ModelSpec
from designspace.latency import engines
from designspace.latency.engines import fixed_threads, make_timer
from designspace.latency.measure import (
    BLOCK,
    FEWEST_ROUNDS,
    WARM_UP,
    measure,
    median_interval,
    rounds_interval,
    summarize,
)
from designspace.latency.records import Condition

CONDITION = Condition("torch", "cpu", "a processor", 1, 1, "wall", {"torch": "0"})
SPEC = ModelSpec.from_mapping(
    {
        "resolution": 8,
        "in_channels": 1,
        "stem": {"width": 8, "stride": 1},
        "stages": [{"block": "basic", "depth": 1, "width": 8}],
        "head": {"classes": 10},
    }
)


class Machine:
    """Timers that return given seconds and log which network runs."""

    def __init__(self, seconds: Any) -> None:
        self.seconds = seconds
        self.log: list[str] = []

    def make_timer(self, spec: Any, condition: Condition) -> Any:
        def timer() -> float:
            self.log.append(spec)
            return float(next(self.seconds))

        return timer


def constant(value: float) -> Any:
    return (value for _ in count())


def names(n: int) -> dict[str, Any]:
    return {f"network {i}": f"network {i}" for i in range(n)}


def test_every_network_is_measured_once_in_blocks() -> None:
    machine = Machine(constant(0.02))
    blocks = list(measure(names(BLOCK + 3), CONDITION, make_timer=machine.make_timer))
    assert [len(block) for block in blocks] == [BLOCK, 3]
    measured = blocks[0] | blocks[1]
    assert set(measured) == set(names(BLOCK + 3))
    assert {(one.median_ms, one.low_ms, one.high_ms, one.relative_error) for one in measured.values()} == {
        (20.0, 20.0, 20.0, 0.0)
    }


def test_rounds_are_interleaved() -> None:
    machine = Machine(constant(0.02))
    list(measure(names(5), CONDITION, make_timer=machine.make_timer))
    calls = machine.log[5 * WARM_UP :]
    runs = [name for name, before in zip(calls, [None, *calls], strict=False) if name != before]
    rounds = [runs[start : start + 5] for start in range(0, len(runs), 5)]
    assert all(len(set(one)) >= 4 for one in rounds)  # the same network may end a round and begin the next
    assert len({tuple(one) for one in rounds}) > 1
    assert calls.count("network 0") == calls.count("network 1")


def test_precise_medians_stop_early_and_noisy_ones_at_the_limit() -> None:
    rng = np.random.default_rng(0)
    noisy = (value for value in rng.lognormal(-4, 1, 10**6))
    for seconds, rounds in ((constant(0.02), FEWEST_ROUNDS), (noisy, 9)):
        machine = Machine(seconds)
        (block,) = measure(names(3), CONDITION, most_rounds=9, make_timer=machine.make_timer)
        assert {one.rounds for one in block.values()} == {rounds}


def test_threads_are_fixed_during_the_measurement_and_restored() -> None:
    before = torch.get_num_threads()
    with fixed_threads(before + 1):
        assert torch.get_num_threads() == before + 1
    assert torch.get_num_threads() == before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"precision": 0.0}, r"^precision = 0: must be a positive number"),
        ({"most_rounds": 5}, r"^rounds = 5: must be at least 6$"),
    ],
)
def test_limits_are_checked(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        next(measure(names(1), CONDITION, **options))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("onnxruntime", "cuda"), "device = cuda: must be cpu with onnxruntime"),
        (("torch", "cpu", 0), "batch = 0: must be at least 1"),
        (("torch", "cpu", 1, 0), "threads = 0: must be at least 1"),
        (("torch", "cpu", 1, 2, "cpu"), "clock = cpu: must be wall on a GPU and with several threads"),
    ],
)
def test_a_condition_that_cannot_be_measured_is_an_error(arguments: tuple[Any, ...], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}$"):
        engines.condition(*arguments)


def test_a_gpu_is_required_for_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ValueError, match=r"^device = cuda: must be cpu, PyTorch sees no GPU$"):
        engines.condition("torch", "cuda")


@pytest.mark.parametrize("clock", ["wall", "cpu"])
def test_torch_is_timed(clock: Any) -> None:
    timer = make_timer(SPEC, engines.condition("torch", batch=2, clock=clock))
    assert all(timer() > 0 for _ in range(3))


def test_onnxruntime_is_timed() -> None:
    for package in ("onnxruntime", "onnxscript"):
        pytest.importorskip(package)
    condition = engines.condition("onnxruntime", batch=3)
    assert set(condition.packages) == {"torch", "onnxruntime", "onnxscript"}
    timer = make_timer(SPEC, condition)
    assert all(timer() > 0 for _ in range(3))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_a_gpu_is_timed() -> None:
    timer = make_timer(SPEC, engines.condition("torch", "cuda", batch=2))
    assert all(timer() > 0 for _ in range(3))


def test_the_interval_has_the_ranks_of_the_binomial_distribution() -> None:
    """Tabulated, for example in Hollander & Wolfe: 6 values have confidence 0.969, 10 without the ends 0.979."""
    assert median_interval(range(6)) == (0, 5)
    assert median_interval(range(9)) == (1, 7)
    assert median_interval(range(10)) == (1, 8)
    assert median_interval(range(30)) == (9, 20)


@pytest.mark.parametrize("n", [6, 9, 12, 30])
def test_the_interval_covers_the_median_of_skewed_times(n: int) -> None:
    values = np.random.default_rng(n).lognormal(0, 1.5, (2000, n))
    covered = [low <= 1 <= high for low, high in map(median_interval, values)]
    assert np.mean(covered) > 0.94


def test_correlated_rounds_have_a_wider_interval() -> None:
    rounds = np.arange(30.0)
    alternating = np.ravel(np.column_stack([rounds[:15], rounds[:14:-1]]))
    assert rounds_interval(alternating) == median_interval(rounds)
    low, high = rounds_interval(rounds)  # a drift in one direction
    assert low < median_interval(rounds)[0]
    assert high > median_interval(rounds)[1]


def test_the_median_is_that_of_the_rounds() -> None:
    latency = summarize([[0.001] * 9, [0.002], [0.003]])
    assert (latency.median_ms, latency.rounds, latency.runs) == (2.0, 3, 11)
    assert (latency.low_ms, latency.high_ms) == (1.0, 2.0)
