"""Coverage of the stated error of a latency predictor, and of the intervals of medians and correlations."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

import designspace as ds
from analysis.latency import FEATURES, fit_latency
from analysis.parameters import correlation_difference
from designspace.latency.measure import FEWEST_ROUNDS, MOST_ROUNDS, PRECISION, rounds_interval

POPULATION = 4000
NOISE = 0.05
"""Standard deviation of the logarithm of a latency given its network."""
LOADINGS = (0.98, 0.9, 0.98)
"""Correlations of two predictors and of the latency with their common factor."""


def run(repetitions: int, seed: int = 0) -> pd.DataFrame:
    """Simulate predictors, medians and correlations.

    Returns:
        One row per setting: interval, setting, n, and coverage in percent; its nominal value is 95.
    """
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        [*_predictors(repetitions, rng), *_correlations(repetitions, rng), *_medians(repetitions, rng)],
        columns=["interval", "setting", "n", "coverage"],
    )


def networks(space: str, rng: np.random.Generator, effect: str) -> pd.DataFrame:
    """Networks with a latency that is the sum of terms that the predictor fits, times noise and an unknown effect."""
    frame = ds.space(space).with_constraints(macs=(1e8, 8e8)).sample(POPULATION).to_frame()
    frame = frame.drop_duplicates("spec_id", ignore_index=True)
    factor = rng.lognormal(0, NOISE, len(frame))
    if effect == "group width":
        widths = frame.filter(regex="^group_width").min(axis=1)
        factor *= 1 + 0.4 * (widths < 8)
    elif effect == "outliers":
        factor *= 1 + 0.5 * (rng.random(len(frame)) < 0.1)
    terms = 1e-8 * frame["macs"] + 2e-7 * frame["acts"] + 1e-6 * frame["params"] + 0.05 * frame["depth"]
    return frame.assign(latency_ms=factor * terms)


def _predictors(
    repetitions: int,
    rng: np.random.Generator,
    spaces: Sequence[str] = ("regnetx", "anynetx_a"),
    effects: Sequence[str] = ("none", "group width", "outliers"),
    sizes: Sequence[int] = (20, 40, 100),
) -> list[tuple[str, str, int, float]]:
    rows = []
    for space in spaces:
        for effect in effects:
            frame = networks(space, rng, effect)
            for n in sizes:
                covered = []
                for _ in range(repetitions):
                    drawn = frame.sample(2 * n, random_state=rng)
                    sample, new = drawn.head(n), drawn.tail(n)
                    predictor = fit_latency(sample, "simulated")
                    counts = {name: new[name] for name in FEATURES}
                    ratio = new["latency_ms"] / predictor.milliseconds(**counts)
                    covered.append(np.mean(np.abs(np.log(ratio)) <= np.log1p(predictor.error)))
                rows.append(("error of a predictor", f"{space}, effect: {effect}", n, 100 * float(np.mean(covered))))
    return rows


def _correlations(
    repetitions: int, rng: np.random.Generator, sizes: Sequence[int] = (8, 12, 24, 48, 100)
) -> list[tuple[str, str, int, float]]:
    """Of columns with a common factor, which is normal or bounded, or has heavy tails, like the noise."""
    loadings = np.array(LOADINGS)[:, None]
    true = float(np.arctanh(LOADINGS[0] * LOADINGS[2]) - np.arctanh(LOADINGS[1] * LOADINGS[2]))
    settings: dict[str, Callable[[int], NDArray[np.float64]]] = {
        "normal": lambda n: rng.normal(size=(4, n)),
        "uniform": lambda n: rng.uniform(-1, 1, (4, n)),
        "heavy tails (t, 4 degrees of freedom)": lambda n: rng.standard_t(4, (4, n)),
    }
    rows = []
    for setting, draw in settings.items():
        for n in sizes:
            covered = 0
            for _ in range(repetitions):
                common, *noise = draw(n)
                columns = loadings * common + np.sqrt(1 - loadings**2) * np.array(noise)
                _, low, high = correlation_difference(*columns)
                covered += low <= true <= high
            rows.append(("difference of correlations", setting, n, 100 * covered / repetitions))
    return rows


def _medians(repetitions: int, rng: np.random.Generator) -> list[tuple[str, str, int, float]]:
    """Of rounds with skewed times, independent or with drift, measured until the median is precise."""
    rows = []
    for spread in (0.02, 0.05, 0.3):
        for drift in (0.0, 0.5):
            covered, used = 0, []
            for _ in range(repetitions):
                z = rng.normal(size=MOST_ROUNDS)
                for number in range(1, MOST_ROUNDS):
                    z[number] = drift * z[number - 1] + np.sqrt(1 - drift**2) * z[number]
                times = np.exp(spread * np.where(z > 0, 2 * z, z))
                for rounds in range(FEWEST_ROUNDS, MOST_ROUNDS + 1):
                    low, high = rounds_interval(times[:rounds])
                    if (high - low) / 2 <= PRECISION * np.median(times[:rounds]):
                        break
                covered += low <= 1 <= high
                used.append(rounds)
            setting = f"spread {spread:.0%}, correlation of rounds {drift}"
            rows.append(("median latency", setting, int(np.median(used)), 100 * covered / repetitions))
    return rows
