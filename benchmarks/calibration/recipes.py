"""Coverage of the intervals of `compare_recipes`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from analysis.recipes import compare_recipes

SPREAD = 1.5
"""Standard deviation of the expected errors of the reference within a space, points."""

IMAGES = 5000
"""Validation images; errors are multiples of 100 / IMAGES percent."""

RECIPES = {"reference": (0.0, 0.3), "base": (0.7, 0.5), "cheap": (1.2, 0.8)}
"""Standard deviations of what a recipe changes for each network, and of the noise of one training, points."""

LARGE = 400_000
"""Networks of the population whose statistics count as true."""


def run(
    repetitions: int, seed: int = 0, *, sizes: Sequence[int] = (16, 40, 100), skewed: Sequence[bool] = (False, True)
) -> pd.DataFrame:
    """Simulate populations of two spaces, each network trained with three recipes and two seeds.

    Returns:
        One row per number of networks and distribution: true values, and coverage in percent, of the intervals of rho
        and of its gain for the recipe "cheap", and of its separation and the gain of that.
    """
    rows = []
    for skew in skewed:
        truth = _truth(skew)
        for networks in sizes:
            rng = np.random.default_rng([seed, networks, skew])
            results = [_one(rng, networks, skew) for _ in range(repetitions)]
            expected = truth | {
                name: float(np.mean([result[name][0] for result in results]))
                for name in ("separation", "separation_gain")  # grow with the number of networks
            }
            row: dict[str, float | str] = {"networks": networks, "errors": "skewed" if skew else "normal"}
            for name, value in expected.items():
                inside = [result[name][1] <= value <= result[name][2] for result in results]
                row |= {name: value, f"{name}_covered": 100 * float(np.mean(inside))}
            rows.append(row)
    return pd.DataFrame(rows)


def population(rng: np.random.Generator, networks: int, skew: bool) -> dict[str, np.ndarray]:
    """Errors by recipe, (2, networks), and `second`, the networks of the second space, whose errors are lower."""
    second = np.arange(networks) % 2 == 1
    spread = rng.gamma(1.0, SPREAD, networks) if skew else rng.normal(0, SPREAD, networks)
    expected = 15 + spread - 1.0 * second
    drawn = {"second": second}
    for recipe, (change, noise) in RECIPES.items():
        errors = expected + rng.normal(0, change, networks) + rng.normal(0, noise, (2, networks))
        drawn[recipe] = np.round(errors * IMAGES / 100) * 100 / IMAGES
    return drawn


def _one(rng: np.random.Generator, networks: int, skew: bool) -> dict[str, tuple[float, float, float]]:
    """Value and interval of each statistic of the recipe "cheap"."""
    drawn = population(rng, networks, skew)
    macs = np.exp(rng.uniform(0, 1, networks)) * 1e6
    frame = pd.concat(_rows(drawn, macs), ignore_index=True)
    rows = compare_recipes(frame, "reference", "base").to_dict("records")
    row = next(row for row in rows if row["recipe"] == "cheap" and row["seeds"] == 1)
    names = ("spearman", "gain", "separation", "separation_gain")
    return {name: (row[name], row[f"{name}_lower"], row[f"{name}_upper"]) for name in names}


def _rows(drawn: dict[str, np.ndarray], macs: np.ndarray) -> Iterator[pd.DataFrame]:
    for recipe in RECIPES:
        for seed, errors in enumerate(drawn[recipe]):
            yield pd.DataFrame(
                {
                    "study": recipe,
                    "space": np.where(drawn["second"], "b", "a"),
                    "spec_id": np.arange(len(macs)),
                    "seed": seed + 2 * (recipe == "reference"),  # equal seeds are not compared
                    "error_percent": errors,
                    "macs": macs,
                    "params": np.nan,
                    "train_seconds": 1.0,
                }
            )


def _truth(skew: bool) -> dict[str, float]:
    drawn = population(np.random.default_rng(0), LARGE, skew)
    reference = pd.Series(drawn["reference"][0])
    rho = {name: reference.corr(pd.Series(drawn[name][0]), method="spearman") for name in ("base", "cheap")}
    return {"spearman": rho["cheap"], "gain": rho["cheap"] - rho["base"]}
