"""Coverage of the intervals of selected models: expected error and error of one retraining."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.select import selection_noise
from analysis.shrinkage import shrink

Array = NDArray[np.float64]

TRUE_ERRORS: dict[str, Callable[[np.random.Generator, int], Array]] = {
    "normal": lambda rng, n: rng.normal(0, 1, n),
    "gamma": lambda rng, n: (rng.gamma(2, 1, n) - 2) / np.sqrt(2),
    "lognormal": lambda rng, n: (np.exp(rng.normal(0, 0.5, n)) - np.exp(0.125)) / np.sqrt(np.exp(0.5) - np.exp(0.25)),
    "bimodal": lambda rng, n: (rng.choice([-1, 1], n) + rng.normal(0, 0.4, n)) / np.sqrt(1.16),
}
"""Distributions of the expected errors, with mean 0 and standard deviation 1."""
TOP = 5


def run(
    repetitions: int,
    seed: int = 0,
    *,
    models: Sequence[int] = (20, 60, 100, 400),
    noise: Sequence[float] = (0.1, 0.3, 1.0, 3.0),
    trainings: Sequence[int] = (1, 3),
    shapes: Sequence[str] = tuple(TRUE_ERRORS),
) -> pd.DataFrame:
    """Simulate populations, select the best models and retrain them.

    With one training per model the noise is given. With several it is estimated.

    Args:
        repetitions: number of populations per setting.
        seed: random seed.
        models: population sizes.
        noise: standard deviations of one training, relative to the standard deviation of the expected errors.
        trainings: seeds per model.
        shapes: keys of TRUE_ERRORS.

    Returns:
        One row per setting and `of` ("best", "best 5", "any" for five random models): `shape`, `models`, `noise`,
        `seeds`, coverage of the 95 % intervals in percent (`expected`, `retrained`), and the mean of `estimate` minus
        truth (`bias`).
    """
    rows = []
    for shape, n, sd, seeds in product(shapes, models, noise, trainings):
        rng = np.random.default_rng([seed, n, round(100 * sd), seeds, list(TRUE_ERRORS).index(shape)])
        covered = np.mean([_covered(rng, shape, n, sd, seeds) for _ in range(repetitions)], axis=0)
        for of, part in (("best", covered[:1]), (f"best {TOP}", covered[:TOP]), ("any", covered[TOP:])):
            expected, retrained, bias = part.mean(axis=0)
            rows.append(
                {"shape": shape, "models": n, "noise": sd, "seeds": seeds, "of": of}
                | {"expected": 100 * expected, "retrained": 100 * retrained, "bias": bias}
            )
    return pd.DataFrame(rows)


def _covered(rng: np.random.Generator, shape: str, n: int, noise: float, seeds: int) -> Array:
    """Coverage of both intervals and bias for the best and for random models, shape (2 TOP, 3)."""
    truth = TRUE_ERRORS[shape](rng, n)
    errors = truth[:, None] + noise * rng.normal(size=(n, seeds))
    frame = pd.DataFrame(
        {
            "spec_id": np.repeat(np.arange(n), seeds),
            "seed": np.tile(np.arange(seeds), n),
            "error_percent": errors.ravel(),
        }
    )
    measured = selection_noise(frame, noise if seeds == 1 else None)
    mean = errors.mean(axis=1)
    rows = np.concatenate([np.argsort(mean)[:TOP], rng.choice(n, TOP, replace=False)])
    estimates = shrink(mean, measured.sd, seeds=seeds, degrees=measured.degrees, rows=rows)
    retrained = truth[rows] + noise * rng.normal(size=len(rows))
    return np.column_stack(
        [
            (estimates["lower"] <= truth[rows]) & (truth[rows] <= estimates["upper"]),
            (estimates["retrained_lower"] <= retrained) & (retrained <= estimates["retrained_upper"]),
            estimates["estimate"] - truth[rows],
        ]
    )
