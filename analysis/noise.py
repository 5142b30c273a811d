"""Differences between models that chance in training explains: the noise floor, from repeated seeds."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import optimize, special, stats

from analysis.rows import distinct_trainings, model_columns


@dataclass(frozen=True)
class NoiseFloor:
    """Variance between architectures and between seeds (a one-way random-effects analysis of variance).

    Attributes:
        seed_sd, seed_sd_lower, seed_sd_upper: standard deviation of one model's error over seeds, points, with
            interval.
        architecture_sd: standard deviation of the models' true errors, points; 0 if the seeds explain all.
        reliability: share of the variance of a single training that is the architecture's (intraclass correlation).
        smallest_difference: difference of two models, each trained once, that chance exceeds with 5 % probability only.
        models: models with at least two seeds; trainings: their trainings.
    """

    seed_sd: float
    seed_sd_lower: float
    seed_sd_upper: float
    architecture_sd: float
    reliability: float
    smallest_difference: float
    models: int
    trainings: int

    def difference(self, seeds: int = 1) -> float:
        """Difference of two models, each the mean of `seeds` trainings, that chance exceeds in one of 20 cases."""
        return self.smallest_difference / float(np.sqrt(seeds))


def noise_floor(frame: pd.DataFrame, *, confidence: float = 0.95) -> NoiseFloor | None:
    """Separate the variance between architectures from that between seeds.

    The models must not be selected by the errors given: among the best by their mean, the architectures seem more alike
    than they are.

    Args:
        frame: columns `error_percent` (finite) and those that name a model (`analysis.seeds`); one row a training.
        confidence: of the interval of `seed_sd`.

    Returns:
        None if fewer than two models have several seeds.

    Source: the usual one-way analysis of variance with groups of unequal size, e.g. Searle, Casella & McCulloch,
    "Variance Components" (1992), Sec. 3.6; a chi-square interval for the seeds.
    """
    frame = distinct_trainings(frame)
    grouped = frame.groupby(model_columns(frame), sort=False, dropna=False)["error_percent"]
    groups = grouped.agg(["size", "mean", "var"])
    groups = groups[groups["size"] >= 2]
    if len(groups) < 2:
        return None
    size, mean = groups["size"].to_numpy(dtype=float), groups["mean"].to_numpy(dtype=float)
    total, k = size.sum(), len(size)
    within = float(np.sum((size - 1) * groups["var"].to_numpy(dtype=float)) / (total - k))
    grand = float(np.sum(size * mean) / total)
    between = float(np.sum(size * (mean - grand) ** 2) / (k - 1))
    typical = (total - np.sum(size**2) / total) / (k - 1)
    architecture = max(0.0, (between - within) / typical)
    degrees = total - k
    ends = np.sqrt(within * degrees / stats.chi2(degrees).ppf([0.5 + confidence / 2, 0.5 - confidence / 2]))
    sd = float(np.sqrt(within))
    share = architecture / (architecture + within) if architecture + within > 0 else np.nan
    smallest = float(stats.norm.ppf(0.975) * np.sqrt(2) * sd)
    return NoiseFloor(sd, float(ends[0]), float(ends[1]), float(np.sqrt(architecture)), share, smallest, k, int(total))


@dataclass(frozen=True)
class TrainingNoise:
    """Standard deviation of one training's error by chance.

    Attributes:
        sd: points; NaN if unknown.
        source: "given", "repeated seeds", "the size of the validation split" or "unknown".
        degrees: degrees of freedom of `sd`; infinite if it was not estimated from repeated seeds.
    """

    sd: float
    source: str
    degrees: float = math.inf


def selection_noise(
    trainings: pd.DataFrame, given: float | None = None, validation_size: int | None = None
) -> TrainingNoise:
    """Noise of one training among the better half of the models, where a choice is made.

    Args:
        trainings: finished ones, as for `noise_floor`.
        given: a standard deviation from elsewhere, points; takes precedence.
        validation_size: images of the validation split, used without repeated seeds: the binomial error of counting
            mistakes, a lower bound, since chance in training adds to it.

    Raises:
        ValueError: `given` is not positive.
    """
    if given is not None:
        if not 0 < given < math.inf:
            raise ValueError(f"noise_sd = {given}: must be positive, in points of error")
        return TrainingNoise(given, "given")
    if "seed" in trainings:
        means = trainings.groupby(model_columns(trainings), sort=False, dropna=False)["error_percent"].transform("mean")
        floor = noise_floor(trainings[means <= means.median()]) or noise_floor(trainings)
        if floor is not None and floor.seed_sd > 0:
            return TrainingNoise(floor.seed_sd, "repeated seeds", floor.trainings - floor.models)
    if validation_size:
        share = float(trainings["error_percent"].quantile(0.25)) / 100
        sd = 100 * math.sqrt(max(share * (1 - share), 1e-6) / validation_size)
        return TrainingNoise(sd, "the size of the validation split")
    return TrainingNoise(math.nan, "unknown")


def tie_distance(models: int, degrees: float = math.inf) -> float:
    """Distance from the smallest of several equal models' errors that chance exceeds with 5 % probability.

    For two models it is that of the usual two-sided test, 1.96 √2. The first of many is the luckiest of all, and chance
    puts equal models much further from it.

    Args:
        models: number of models, at least 2.
        degrees: degrees of freedom of the noise that the distance is a multiple of.

    Returns:
        In standard deviations of one model's error: the 95 % quantile of the distance of a model other than the first.

    Source: Gupta, "On some multiple decision (selection and ranking) rules", Technometrics 7 (1965) 225-245; with the
    chance to be the first left out of the 5 %.
    """
    z = np.linspace(-8, 8, 401)
    density = stats.norm.pdf(z) / stats.norm.pdf(z).sum()
    shares = (np.arange(40) + 0.5) / 40
    estimated = np.sqrt(stats.chi2(degrees).ppf(shares) / degrees) if math.isfinite(degrees) else np.ones(1)

    def excess(distance: float) -> float:
        none_smaller = np.exp((models - 1) * special.log_ndtr(distance * estimated[:, None] - z))
        return float(np.mean(none_smaller @ density) - (1 - 0.05 * (models - 1) / models))

    return float(optimize.brentq(excess, 0.0, 1e4))
