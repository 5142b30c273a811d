"""How much of a difference between two models is chance in training: the noise floor, from repeated seeds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from analysis.seeds import distinct_trainings, model_columns


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


def noise_floor(frame: pd.DataFrame, *, best: float = 1.0, confidence: float = 0.95) -> NoiseFloor | None:
    """Separate architecture variance from seed variance.

    Args:
        frame: columns `error_percent` (finite) and those that name a model (`analysis.seeds`); one row a training.
        best: share of the models, by mean error, to look at: 0.1 for the noise among the best tenth. Chance is smaller
            or larger there than in the whole space, and that is where differences are decided.
        confidence: of the interval of `seed_sd`.

    Returns:
        None if fewer than two models have several seeds: nothing is known then.

    Source: the usual one-way analysis of variance with groups of unequal size, e.g. Searle, Casella & McCulloch,
    "Variance Components" (1992), Sec. 3.6; a chi-square interval for the seeds.
    """
    if not 0 < best <= 1:
        raise ValueError(f"best is {best}; it must be a share in (0, 1]")
    frame = distinct_trainings(frame)
    grouped = frame.groupby(model_columns(frame), sort=False, dropna=False)["error_percent"]
    groups = grouped.agg(["size", "mean", "var"])
    groups = groups[groups["size"] >= 2]
    keep = max(2, round(best * len(groups)))
    groups = groups.nsmallest(keep, "mean")
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


def selection_noise(
    trainings: pd.DataFrame, given: float | None = None, validation_size: int | None = None
) -> tuple[float, str]:
    """What is known of the noise of one training's error among the better half of the models.

    Args:
        trainings: finished ones, as for `noise_floor`.
        given: a standard deviation known from elsewhere, points; wins over everything.
        validation_size: images of the validation split, if known.

    Returns:
        A standard deviation, points, and where it is from: "given", "repeated seeds", "the size of the validation
        split" (the binomial error of counting mistakes, a lower bound: chance in training comes on top), or "unknown"
        with NaN.
    """
    if given is not None:
        if not given > 0:
            raise ValueError(f"noise_sd is {given}; it must be positive, in points of error")
        return given, "given"
    floor = noise_floor(trainings, best=0.5) if "seed" in trainings else None
    if floor is not None and floor.seed_sd > 0:
        return floor.seed_sd, "repeated seeds"
    if validation_size:
        share = float(trainings["error_percent"].quantile(0.25)) / 100
        return 100 * float(
            np.sqrt(max(share * (1 - share), 1e-6) / validation_size)
        ), "the size of the validation split"
    return float("nan"), "unknown"
