"""Latency measurement: interleaved rounds, repeated until the medians are precise.

Other programs and the clock frequency change the speed of a machine within seconds. Networks are therefore measured in
blocks of BLOCK. A round times every network of a block a few times, in random order, and all networks of a block have
the same rounds, so a change hits them all alike. The networks are assigned to blocks at random, so that a slow change
is not confounded with their design.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from designspace.latency.engines import Timer, fixed_threads, make_timer
from designspace.latency.records import Condition, Latency
from designspace.spec import ModelSpec
from designspace.study import now

BLOCK = 16
"""Networks in memory at once."""
FEWEST_ROUNDS = 6
"""Rounds of every network: with fewer, no distribution-free interval has a confidence of 95 %."""
MOST_ROUNDS = 30
PRECISION = 0.02
"""Relative error of the median at which the measurement of a block stops."""
ROUND_SECONDS = 0.05
"""Approximate time of one network in a round."""
RUNS = (3, 50)
"""Fewest and most timed runs of a network in a round."""
WARM_UP = 3
"""Untimed runs of a network before the first round; later rounds begin with one."""
CONFIDENCE = 0.95
MOST_CORRELATED = 0.8
"""Largest autocorrelation of rounds for which an interval is widened."""


def measure(
    specs: Mapping[str, ModelSpec],
    condition: Condition,
    *,
    precision: float = PRECISION,
    most_rounds: int = MOST_ROUNDS,
    seed: int = 0,
    make_timer: Callable[[ModelSpec, Condition], Timer] = make_timer,
) -> Iterator[dict[str, Latency]]:
    """Measure the latency of networks, in blocks.

    Args:
        specs: the networks by spec_id.
        condition: from `engines.condition`.
        precision: relative error of the medians at which a block is finished.
        most_rounds: rounds after which a block is finished in any case, at least FEWEST_ROUNDS.
        seed: seed of the assignment to blocks and of the order within rounds.
        make_timer: makes the timer of a network.

    Yields:
        The latencies of each finished block by spec_id.

    Raises:
        ValueError: a precision or number of rounds out of range.
    """
    if not 0 < precision < math.inf:
        raise ValueError(f"precision = {precision:g}: must be a positive number, such as 0.02")
    if most_rounds < FEWEST_ROUNDS:
        raise ValueError(f"rounds = {most_rounds}: must be at least {FEWEST_ROUNDS}")
    rng = np.random.default_rng(seed)
    order = [list(specs)[position] for position in rng.permutation(len(specs))]
    with fixed_threads(condition.threads):
        for start in range(0, len(order), BLOCK):
            block = {key: specs[key] for key in order[start : start + BLOCK]}
            yield _measure_block(block, condition, precision, most_rounds, rng, make_timer)


def _measure_block(
    specs: Mapping[str, ModelSpec],
    condition: Condition,
    precision: float,
    most_rounds: int,
    rng: np.random.Generator,
    make_timer: Callable[[ModelSpec, Condition], Timer],
) -> dict[str, Latency]:
    timers = {key: make_timer(spec, condition) for key, spec in specs.items()}
    fewest, most = RUNS
    runs = {}
    for key, timer in timers.items():
        fastest = min(timer() for _ in range(WARM_UP))
        runs[key] = int(np.clip(ROUND_SECONDS / max(fastest, 1e-9), fewest, most))
    rounds: dict[str, list[list[float]]] = {key: [] for key in timers}
    keys = list(timers)
    elapsed, used = time.perf_counter(), time.process_time()
    for number in range(1, most_rounds + 1):
        for position in rng.permutation(len(keys)):
            key = keys[position]
            timers[key]()  # the caches hold the network before
            rounds[key].append([timers[key]() for _ in range(runs[key])])
        if number >= FEWEST_ROUNDS and all(_relative_error(times) <= precision for times in rounds.values()):
            break
    elapsed, used = time.perf_counter() - elapsed, time.process_time() - used
    waiting = max(0.0, 1 - used / elapsed) if condition.device == "cpu" and condition.threads == 1 else None
    return {key: summarize(times, waiting) for key, times in rounds.items()}


def summarize(rounds: Sequence[Sequence[float]], waiting: float | None = None) -> Latency:
    """Latency from the seconds of every run of every round; see `Latency`."""
    every = 1000 * np.concatenate([np.asarray(times, dtype=float) for times in rounds])
    low, high = np.quantile(every, (0.1, 0.9))
    return Latency(
        median_ms=float(1000 * np.median(_medians(rounds))),
        low_ms=float(low),
        high_ms=float(high),
        relative_error=_relative_error(rounds),
        rounds=len(rounds),
        runs=len(every),
        waiting=waiting,
        measured_at=now(),
    )


def median_interval(values: ArrayLike, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Distribution-free confidence interval of a median: two order statistics.

    Args:
        values: shape (N,), independent.
        confidence: smallest confidence. With too few values the interval is their range.

    Source: Thompson, Ann. Math. Statist. 7 (1936) 122-128.
    """
    x = np.sort(np.asarray(values, dtype=float))
    rank = _rank(len(x), confidence)
    return float(x[rank]), float(x[-1 - rank])


def rounds_interval(medians: ArrayLike) -> tuple[float, float]:
    """95 % confidence interval of the median of consecutive rounds, which may be correlated.

    Correlation inflates the standard error of a median by about sqrt((1 + r) / (1 - r)), where r is the lag-1
    autocorrelation of the signs of the deviations from it. The confidence of `median_interval` is raised accordingly.

    Args:
        medians: shape (rounds,), in the order of measurement.
    """
    from scipy.stats import norm

    x = np.asarray(medians, dtype=float)
    sign = np.sign(x - np.median(x))
    r = float(np.clip(np.mean(sign[1:] * sign[:-1]) + 1 / len(x), 0, MOST_CORRELATED))  # the estimate is biased by -1/n
    z = norm.isf((1 - CONFIDENCE) / 2) * np.sqrt((1 + r) / (1 - r))
    return median_interval(x, float(1 - 2 * norm.sf(z)))


@cache
def _rank(n: int, confidence: float) -> int:
    """Values below the interval: the largest j with P(Binomial(n, 1/2) <= j) <= (1 - confidence) / 2, or 0."""
    from scipy.stats import binom

    below = binom.cdf(np.arange(n), n, 0.5)
    return max(0, int(np.sum(below <= (1 - confidence) / 2)) - 1)


def _medians(rounds: Sequence[Sequence[float]]) -> NDArray[np.float64]:
    return np.array([np.median(times) for times in rounds])


def _relative_error(rounds: Sequence[Sequence[float]]) -> float:
    medians = _medians(rounds)
    low, high = rounds_interval(medians)
    return float((high - low) / 2 / np.median(medians))
