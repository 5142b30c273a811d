"""Cost of training in index order, which keeps interim results fair: makespan relative to longest first.

    python -m benchmarks.queue_order

Simulates processes that share one queue, for two spaces with 16 to 100 models each. Training times are the relative
costs of real populations, and differ from the predictions by a log-normal factor (standard deviation 0.2).
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence

import numpy as np

import designspace as ds
from designspace.study import StudyModel
from sweeps.worker.worker import training_order

SPACES = ("regnetx", "anynetx_a")
REPEATS = 20

Order = Callable[[Sequence[StudyModel], int, Callable[[StudyModel], float]], list[StudyModel]]


def longest_first(
    free: Sequence[StudyModel], processes: int, seconds: Callable[[StudyModel], float]
) -> list[StudyModel]:
    """The order with the shortest end, in which interim results are not a fair sample."""
    return sorted(free, key=lambda model: -seconds(model))


def population(count: int, seed: int) -> list[StudyModel]:
    """Models of all spaces in index order."""
    models = []
    for name in SPACES:
        space = ds.space(name).with_constraints(macs=(200e6, 800e6))
        for row in space.sample(count, seed=seed).rows():
            models.append(StudyModel(**(row | {"key": f"{name}-{row['index']}", "space": name, "seed": 0})))
    return sorted(models, key=lambda model: model.index)


def makespan(models: Sequence[StudyModel], seconds: np.ndarray, processes: int, order: Order) -> float:
    """Time until the last training ends, in the unit of `seconds`."""
    times = dict(zip((model.key for model in models), seconds, strict=True))
    left, ends = list(models), [0.0] * processes
    while left:
        model = order(left, processes, lambda model: model.cost)[0]
        left.remove(model)
        heapq.heapreplace(ends, ends[0] + times[model.key])
    return max(ends)


def main() -> None:
    """Run the benchmark."""
    rng = np.random.default_rng(0)
    print("models per space, processes: mean makespan relative to longest first")
    for count in (16, 50, 100):
        studies = [population(count, seed) for seed in range(REPEATS)]
        times = [np.array([m.cost for m in models]) * rng.lognormal(0, 0.2, len(models)) for models in studies]
        for processes in (2, 4, 8, 16):
            ours, shortest = (
                np.mean([makespan(m, t, processes, order) for m, t in zip(studies, times, strict=True)])
                for order in (training_order, longest_first)
            )
            print(f"{count:>5} {processes:>5}   {ours / shortest - 1:+.1%}")


if __name__ == "__main__":
    main()
