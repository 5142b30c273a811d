"""Selection of the best models and of the Pareto front."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import optimize, special, stats

from analysis.regimes import regime_index
from analysis.rows import MISSING, OK, average_seeds, distinct_trainings, model_columns
from analysis.shrinkage import shrink
from analysis.training import noise_floor
from designspace.study import STOPPED
from designspace.validated import unknown

MAX_POINTS = 3000
"""Maximum number of models drawn individually."""


def pareto_front(frame: pd.DataFrame, objectives: Sequence[str] = ("error_percent", "macs")) -> NDArray[np.bool_]:
    """Mask of the Pareto front: no other model is at least as good in every objective and better in one.

    Args:
        frame: columns `objectives`, all minimized. Rows with a nonfinite value are never on the front.
        objectives: one or more columns.

    Returns:
        Shape (len(frame),). Models equal in all objectives are on the front together.

    Raises:
        ValueError: no objective, an unknown column, or a column without numbers.
    """
    if not objectives:
        raise ValueError("objectives = none: must have at least one column")
    for name in objectives:
        if name not in frame:
            raise ValueError(unknown("objectives", name, map(str, frame)))
        if not pd.api.types.is_numeric_dtype(frame[name].infer_objects()):
            raise ValueError(f"objectives = {name}: must be a column of numbers")
    values = frame[list(objectives)].to_numpy(dtype=float)
    front = np.zeros(len(frame), dtype=bool)
    finite = np.flatnonzero(np.isfinite(values).all(axis=1))
    if not len(finite):
        for name in objectives:
            _check_known(frame, name)
    # In lexicographic order, only earlier models can dominate a model, so comparing with the front so far suffices.
    order = finite[np.lexsort(values[finite].T[::-1])]
    if values.shape[1] == 2:
        first, second = values[order].T
        before = np.minimum.accumulate(np.concatenate([[np.inf], second[:-1]]))
        lowest = second < before
        # A model equal to the one before it in both objectives is on the front if that one is.
        start = np.append(True, (np.diff(first) != 0) | (np.diff(second) != 0))[: len(order)]
        front[order] = lowest[np.maximum.accumulate(np.where(start, np.arange(len(order)), 0))]
        return front
    best = np.empty((0, values.shape[1]))
    for row in order:
        point = values[row]
        if not np.any(np.all(best <= point, axis=1) & np.any(best < point, axis=1)):
            front[row] = True
            best = np.vstack([best, point])
    return front


def thin_models(frame: pd.DataFrame, most: int = MAX_POINTS) -> tuple[pd.DataFrame, NDArray[np.float64]]:
    """Select at most `most` models to draw: the best (a tenth of `most`), the Pareto front, and a sample of the rest.

    Args:
        frame: columns `error_percent` and `pareto` (bool).
        most: maximum number of models; the Pareto front is never thinned.

    Returns:
        The selected rows, and the number of models that each one represents.
    """
    if len(frame) <= most:
        return frame, np.ones(len(frame))
    kept = (frame["error_percent"].rank(method="first") <= most // 10) | frame["pareto"]
    others = frame[~kept].sample(max(0, most - int(kept.sum())), random_state=0)
    shown = kept | frame.index.isin(others.index)
    weights = np.where(kept, 1.0, (len(frame) - kept.sum()) / max(1, len(others)))
    return frame[shown], weights[shown]


@dataclass(frozen=True)
class TrainingNoise:
    """Standard deviation of the error of one training.

    Attributes:
        sd: points; NaN if unknown.
        source: "given", "repeated seeds", "the size of the validation split" or "unknown".
        degrees: degrees of freedom of `sd`; infinite unless estimated from repeated seeds.
    """

    sd: float
    source: str
    degrees: float = math.inf


def selection_noise(
    trainings: pd.DataFrame, given: float | None = None, validation_size: int | None = None
) -> TrainingNoise:
    """Training noise of the better half of the models, from which models are selected.

    Args:
        trainings: finished trainings, as for `noise_floor`.
        given: known standard deviation, points; takes precedence.
        validation_size: images in the validation split. Without repeated seeds, the binomial standard error is used,
            which is a lower bound because it excludes the randomness of training.

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
    """Critical distance from the best of several equally good models (5 % level).

    For two models this is the two-sided test, 1.96 √2. With more models, the best of them has a smaller error by
    chance, and the distance is larger.

    Args:
        models: number of models, at least 2.
        degrees: degrees of freedom of the noise estimate.

    Returns:
        The 95 % quantile of the distance of a model other than the best to the best, in standard deviations of a
        model's error.

    Source: Gupta, "On some multiple decision (selection and ranking) rules", Technometrics 7 (1965) 225-245, with the
    probability of being the best excluded from the 5 %.
    """
    z = np.linspace(-8, 8, 401)
    density = stats.norm.pdf(z) / stats.norm.pdf(z).sum()
    shares = (np.arange(40) + 0.5) / 40
    estimated = np.sqrt(stats.chi2(degrees).ppf(shares) / degrees) if math.isfinite(degrees) else np.ones(1)

    def excess(distance: float) -> float:
        none_smaller = np.exp((models - 1) * special.log_ndtr(distance * estimated[:, None] - z))
        return float(np.mean(none_smaller @ density) - (1 - 0.05 * (models - 1) / models))

    return float(optimize.brentq(excess, 0.0, 1e4))


OWN_PRIOR = 20
"""Minimum number of models of a space (in a regime) for its own prior. Smaller spaces share one.

The proposals of a search share the prior of their space. The prior is the distribution of the true errors of the models
that were trained, however they were chosen. On NAS-Bench-Macro (three strategies, 60 and 200 models, 15 repetitions
each), the error of a second training is in the 95 % prediction interval in 99 % of the cases. The random draws alone
are a wrong prior: they are more diverse than the proposals, so the luckiest of many similar proposals would hardly be
corrected."""

ESTIMATES = ("estimate", "estimate_lower", "estimate_upper", "retrained_lower", "retrained_upper")

SELECT_COLUMNS = {
    "rank": "1 is the best; within a regime if there are regimes",
    "error_percent": "measured error, percent, averaged over seeds; optimistic because the model was selected by it",
    "seeds": "number of trainings of the model",
    "candidates": "number of architectures it was selected from, within its regime if there are regimes",
    "left_out": "number of architectures excluded because one of their trainings failed",
    "stopped": "number of other architectures excluded because one of their trainings was stopped early",
    "estimate, estimate_lower, estimate_upper": "expected error on retraining, percent (mean over training seeds), "
    "with its 95 % interval; NaN if the noise is unknown",
    "retrained_lower, retrained_upper": "95 % prediction interval for the error of one retraining, percent",
    "noise_sd": "standard deviation of the error of one training, points; NaN if unknown",
    "noise_from": "source of noise_sd: repeated seeds, the size of the validation split, given, or unknown",
    "tied": "whether its distance to the best is within the 5 % critical distance (`tie_distance`)",
    "pareto": "whether it is on the Pareto front of the objectives",
    "regime, regime_low, regime_high": "regime and its range; only with regimes",
}


def candidates(frame: pd.DataFrame) -> pd.DataFrame:
    """Models eligible for selection: all trainings so far complete, with the mean error over seeds.

    A model that failed with one seed may fail again, even if it is good with the others. The error of a training that
    was stopped early is not final.

    Args:
        frame: columns that identify a model (`analysis.seeds`), `status`, `error_percent`; one row per training.
    """
    trained = distinct_trainings(frame[frame["status"] != MISSING])
    models = average_seeds(trained.assign(failed=trained["status"] != OK))
    return models[~models["failed"]]


def select_best(
    frame: pd.DataFrame,
    k: int | None = 3,
    *,
    noise_sd: float | None = None,
    validation_size: int | None = None,
    objectives: Sequence[str] = (),
    regimes: int | None = None,
    complexity: str = "macs",
) -> pd.DataFrame:
    """Select the k `candidates` with the smallest errors, best first, each architecture once.

    The measured error of the best of many models is optimistic. `estimate` corrects for the selection
    (`analysis.shrinkage`) if the training noise is known.

    Args:
        frame: columns `spec_id`, `status`, `error_percent`; one row per training.
        k: number of models (per regime), at least 1; fewer in smaller tables; None for all.
        noise_sd: standard deviation of one training's error, points; by default from repeated seeds or
            `validation_size`.
        validation_size: images in the validation split.
        objectives: columns to minimize besides the error, for example ("macs",). Only models on the Pareto front are
            selected.
        regimes: number of regimes of `complexity`, of equal size, to select from separately.
        complexity: complexity column.

    Returns:
        Rows of `frame` (of the first seed) with the columns of SELECT_COLUMNS.

    Raises:
        ValueError: k or regimes below 1, no candidate, unknown objectives or complexity.
    """
    if k is not None and k < 1:
        raise ValueError(f"k = {k}: must be at least 1")
    models = candidates(frame).sort_values("error_percent", kind="stable").drop_duplicates("spec_id", ignore_index=True)
    if models.empty:
        outcome = "failed or stopped" if (frame["status"] == STOPPED).any() else "failed"
        raise ValueError(f"no model can be selected: every model has a {outcome} training")
    noise = selection_noise(frame[frame["status"] == OK], noise_sd, validation_size)
    lost = frame[(frame["status"] != MISSING) & ~frame["spec_id"].isin(models["spec_id"])]
    models["left_out"] = lost.loc[~lost["status"].isin([OK, STOPPED]), "spec_id"].nunique()
    models["stopped"] = lost["spec_id"].nunique() - models["left_out"]
    models["noise_sd"], models["noise_from"] = noise.sd, noise.source
    models["pareto"] = pareto_front(models, ("error_percent", *objectives)) if objectives else False
    regime = pd.Series(0, index=models.index)
    if regimes is not None:
        _check_known(models, complexity)
        regime[:] = regime_index(models[complexity].to_numpy(dtype=float), regimes)
        ends = models[complexity].groupby(regime)
        models = models.assign(regime=regime, regime_low=ends.transform("min"), regime_high=ends.transform("max"))
    models["candidates"] = regime.groupby(regime).transform("size")
    eligible = models[models["pareto"]] if objectives else models
    best = eligible.groupby(regime, sort=True).head(len(models) if k is None else k)
    best = best.iloc[np.argsort(regime[best.index], kind="stable")]
    best.insert(0, "rank", best.groupby(regime).cumcount() + 1)
    best = pd.concat([best, _estimates(models, regime, noise, best.index)], axis=1)
    return best.assign(tied=_tied(best, regime, noise.degrees)).reset_index(drop=True)


def _estimates(models: pd.DataFrame, regime: pd.Series, noise: TrainingNoise, rows: pd.Index) -> pd.DataFrame:
    """Estimates of the given rows from all models of their space and regime."""
    estimates = pd.DataFrame(np.nan, index=rows, columns=list(ESTIMATES))
    if np.isnan(noise.sd):
        return estimates
    space = models["space"].astype(str) if "space" in models else pd.Series("", index=models.index)
    group = space + "/" + regime.astype(str)
    group = group.where(group.groupby(group).transform("size") >= OWN_PRIOR, "")
    for label in group[rows].unique():
        population = models[group == label]
        chosen = rows[group[rows] == label]
        estimates.loc[chosen] = shrink(
            population["error_percent"],
            noise.sd,
            seeds=population["seeds"],
            degrees=noise.degrees,
            rows=population.index.get_indexer(chosen),
        ).to_numpy()
    return estimates


def _tied(best: pd.DataFrame, regime: pd.Series, degrees: float) -> pd.Series:
    """Whether noise explains the distance of each model to the best of its regime."""
    first = best.groupby(regime)[["error_percent", "seeds"]].transform("first")
    reach = best["candidates"].map({n: tie_distance(n, degrees) if n > 1 else 0.0 for n in best["candidates"].unique()})
    sd = best["noise_sd"] * np.sqrt((1 / best["seeds"] + 1 / first["seeds"]) / 2)
    return best["error_percent"] - first["error_percent"] <= reach * sd


def _check_known(frame: pd.DataFrame, column: str) -> None:
    """Require a number in every row of a column."""
    missing = int((~np.isfinite(frame[column].to_numpy(dtype=float))).sum())
    if missing:
        raise ValueError(f"{column}: required and missing for {missing:,} of {len(frame):,} models")


def selection_sentence(first: pd.Series, number: int) -> str:
    """How the models were selected, and what the errors of `select_best` mean."""
    if first["noise_from"] == "unknown":
        noise = "The noise of one training is unknown. Set noise, or train some models with several seeds."
    else:
        source = "given" if first["noise_from"] == "given" else f"from {first['noise_from']}"
        noise = (
            f"Expected error: mean over retrainings. Retrained error: one more training, with a standard deviation of "
            f"{first['noise_sd']:.3g} points ({source}). Tied: the distance to the first is within the noise."
        )
    counts = ((first["left_out"], "had a failed training"), (first["stopped"], "had a training stopped early"))
    reasons = ", ".join(f"{count} more {why}" for count, why in counts if count)
    excluded = f" ({reasons})" if reasons else ""
    optimistic = ", which is optimistic" if number > 1 else ""
    return f"Selected from {number:,} model{'s' if number > 1 else ''}{excluded} by error{optimistic}. {noise}"
