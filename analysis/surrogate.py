"""Predicted errors of untrained networks, and the cross-validated error of the predictions."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from analysis.parameters import LARGEST, rank_trend, varies
from analysis.rows import COMPLEXITIES, distinct_models
from designspace.population import Population, Quantities, leaves
from designspace.spaces import DesignSpace
from designspace.surrogate import Columns, fit_surrogate

Array = NDArray[np.float64]

FOLDS = 5
REPEATS = 4
FEWEST = 20
"""Fewest networks for a surrogate."""


@dataclass(frozen=True)
class Validation:
    """Cross-validated errors of the surrogate's predictions.

    Attributes:
        n: number of networks.
        rmse: root mean squared difference between predicted and measured error, points.
        rmse_mean: the same, with the mean error of the training part as the prediction.
        rmse_macs: the same, for a line in log macs; NaN if macs are unknown or constant.
        explained, explained_lower, explained_upper: R², the reduction of the mean squared error relative to the mean,
            with its confidence interval. The surrogate beats the mean if the interval is above 0.
        over_macs, over_macs_lower, over_macs_upper: the same reduction relative to a line in log macs.
        spearman, spearman_lower, spearman_upper: rank correlation of predicted and measured error.
        kendall: Kendall's tau-b of the same.
        predicted: shape (N,), mean of the predictions for each network when it was held out.
    """

    n: int
    rmse: float
    rmse_mean: float
    rmse_macs: float
    explained: float
    explained_lower: float
    explained_upper: float
    over_macs: float
    over_macs_lower: float
    over_macs_upper: float
    spearman: float
    spearman_lower: float
    spearman_upper: float
    kendall: float
    predicted: Array


def cross_validate(
    columns: Columns,
    errors: ArrayLike,
    networks: Sequence[Any] | None = None,
    *,
    confidence: float = 0.95,
    repeats: int = REPEATS,
    seed: int = 0,
) -> Validation:
    """Cross-validate a surrogate: five folds, repeated with new partitions.

    Intervals of R² use the variance of Nadeau & Bengio (Machine Learning 52, 2003), which accounts for the overlap of
    the training parts, with Student's t (Bouckaert & Frank 2004). The interval of the rank correlation is by Bonett &
    Wright.

    Args:
        columns: features as in `fit_surrogate`.
        errors: shape (N,), finite, percent.
        networks: identity of each row's network. All rows of a network are in the same fold. By default, all differ.
        confidence: level of the intervals.
        repeats: number of partitions into folds.
        seed: seed of the folds and the surrogate.

    Raises:
        ValueError: fewer than 20 networks, or no feature that varies.
    """
    y = np.asarray(errors, dtype=float)
    arrays = {name: np.asarray(column) for name, column in columns.items()}
    groups = np.arange(len(y)) if networks is None else pd.factorize(pd.Series(list(networks)))[0]
    if (count := len(np.unique(groups))) < FEWEST:
        raise ValueError(f"networks = {count}: must be at least {FEWEST} for a surrogate")
    log_macs = np.log(arrays["macs"].astype(float)) if "macs" in arrays else np.zeros(len(y))
    predicted, losses = np.zeros(len(y)), []
    for test in _folds(groups, repeats, seed):
        train = ~test
        surrogate = fit_surrogate({name: array[train] for name, array in arrays.items()}, y[train], seed=seed)
        guess = surrogate.predict({name: array[test] for name, array in arrays.items()})
        # Relative to the mean of the training part, which is lower if the errors of the test part are higher.
        predicted[test] += y.mean() + guess - y[train].mean()
        guesses = (guess, np.full(test.sum(), y[train].mean()), _line(log_macs[train], y[train], log_macs[test]))
        losses.append([np.square(y[test] - each).sum() for each in guesses])
    predicted /= repeats
    surrogate_loss, mean_loss, macs_loss = np.array(losses).T * (FOLDS / len(y))  # mean squared error of each fold
    rmse, rmse_mean, rmse_macs = (float(np.sqrt(loss.mean())) for loss in (surrogate_loss, mean_loss, macs_loss))
    explained = _reduction(surrogate_loss, mean_loss, confidence)
    known = np.ptp(log_macs) > 0
    over_macs = _reduction(surrogate_loss, macs_loss, confidence) if known else (np.nan,) * 3
    ranks = rank_trend(predicted, y, confidence=confidence)
    kendall = float(stats.kendalltau(predicted, y).statistic)
    return Validation(
        len(y),
        rmse,
        rmse_mean,
        rmse_macs if known else np.nan,
        *explained,
        *over_macs,
        ranks.rho,
        ranks.lower,
        ranks.upper,
        kendall,
        predicted,
    )


def _folds(groups: NDArray[np.int64], repeats: int, seed: int) -> Iterator[NDArray[np.bool_]]:
    """Masks of the test rows of every fold of every repetition."""
    rng = np.random.default_rng(seed)
    count = int(groups.max()) + 1
    for _ in range(repeats):
        fold = rng.permutation(count) % FOLDS
        for number in range(FOLDS):
            yield fold[groups] == number


def _line(x: Array, y: Array, new: Array) -> Array:
    """Values at `new` of the least-squares line through (x, y)."""
    centered = x - x.mean()
    total = float(np.sum(centered**2))
    slope = float(np.sum(centered * y)) / total if total > 0 else 0.0
    line: Array = y.mean() + slope * (new - x.mean())
    return line


def _reduction(loss: Array, baseline: Array, confidence: float) -> tuple[float, float, float]:
    """Reduction of the mean squared error relative to a baseline, with its interval."""
    total = baseline.mean()
    if total == 0:
        return np.nan, np.nan, np.nan
    differences = (baseline - loss) / total
    n = len(differences)
    error = np.sqrt((1 / n + 1 / (FOLDS - 1)) * differences.var(ddof=1))
    half = stats.t.isf((1 - confidence) / 2, n - 1) * error
    return float(differences.mean()), float(differences.mean() - half), float(differences.mean() + half)


def feature_columns(models: pd.DataFrame, parameters: Sequence[str]) -> dict[str, np.ndarray]:
    """Features of models: complexity and parameters that vary and that every model has."""
    names = dict.fromkeys([*COMPLEXITIES, *parameters])
    return {name: column.to_numpy() for name in names if (column := _feature(models, name)) is not None}


def _feature(models: pd.DataFrame, name: str) -> pd.Series | None:
    if name not in models or models[name].isna().any():
        return None
    column = models[name].infer_objects()
    if pd.api.types.is_numeric_dtype(column):
        return column if varies(column) and np.isfinite(column.astype(float)).all() else None
    return column.astype(str) if len(set(column)) > 1 else None


def validate_spaces(
    models: pd.DataFrame, parameters: Sequence[str], *, confidence: float = 0.95
) -> dict[str, tuple[pd.DataFrame, Validation]]:
    """Cross-validate a surrogate in every space with at least 20 networks and a feature that varies.

    Args:
        models: one row per draw, with `space`, `error_percent`, complexity and parameters.
        parameters: names of the parameters.
        confidence: simultaneous over the spaces, by Bonferroni.

    Returns:
        For each space, its distinct networks (at most 1,500) and the cross-validation of the surrogate.
    """
    parts = {}
    for space, part in models.groupby("space", sort=False):
        networks = distinct_models(part)
        networks = networks if len(networks) <= LARGEST else networks.sample(LARGEST, random_state=0)
        if network_ids(networks).nunique() >= FEWEST and feature_columns(networks, parameters):
            parts[str(space)] = networks
    each = 1 - (1 - confidence) / max(1, len(parts))
    return {space: (networks, _validation(networks, parameters, each)) for space, networks in parts.items()}


def _validation(networks: pd.DataFrame, parameters: Sequence[str], confidence: float) -> Validation:
    columns, identities = feature_columns(networks, parameters), list(network_ids(networks))
    return cross_validate(columns, networks["error_percent"], identities, confidence=confidence)


def network_ids(models: pd.DataFrame) -> pd.Series:
    """Identity of each row's network; in a table without `spec_id`, every row is a network of its own."""
    return models["spec_id"] if "spec_id" in models else models.index.to_series()


def predict_space(
    models: pd.DataFrame,
    parameters: Sequence[str],
    space: DesignSpace,
    *,
    count: int,
    top: int,
    trained: Collection[str] = (),
    seed: int = 0,
    on_progress: Callable[[int], None] | None = None,
) -> pd.DataFrame:
    """The untrained networks with the smallest predicted error among the first `count` draws of a space.

    Args:
        models: trained models of the space, as in `validate_spaces`.
        parameters: names of the parameters.
        space: the space.
        count: number of draws. A network may be drawn several times, even in a space without duplicates, which may have
            fewer networks than this.
        top: number of networks to return; fewer if the draws contain fewer distinct untrained networks.
        trained: spec_ids of trained networks that are not among `models`, such as the proposals of a search.
        seed: seed of the draws. With the study's seed, `index` is the network's position in the study's population.
        on_progress: called repeatedly with the number of networks drawn so far.

    Returns:
        rank, index, spec_id, predicted_percent, depth, macs, params, acts, the parameters, and spec (mapping); best
        first.
    """
    surrogate = fit_surrogate(feature_columns(models, parameters), models["error_percent"])
    population = space.changed(duplicates="keep").sample(count, seed, on_progress)
    if space.duplicates == "drop":
        first = _first_draws(population, space.rates)
        population = replace(population[first], index=np.arange(len(first)))
    quantities = Quantities(population.networks, population.parameters, len(population), lambda: population.complexity)
    predicted = surrogate.predict(quantities)
    seen = {*models["spec_id"], *trained}
    rows: list[dict[str, Any]] = []
    names = ["depth", *COMPLEXITIES, *(name for name in parameters if name in quantities)]
    for position in np.argsort(predicted, kind="stable"):
        if len(rows) == top:
            break
        spec = population.spec(int(position))
        if spec.spec_id in seen:
            continue
        seen.add(spec.spec_id)
        row = {"rank": len(rows) + 1, "index": int(population.index[position]), "spec_id": spec.spec_id}
        row |= {"predicted_percent": float(predicted[position])}
        row |= {name: quantities[name][position].item() for name in dict.fromkeys(names)}
        rows.append(row | {"spec": spec.to_mapping()})
    return pd.DataFrame(rows, columns=None if rows else ["rank", "index", "spec_id", "predicted_percent", "spec"])


def _first_draws(population: Population, rates: Sequence[str]) -> NDArray[np.int64]:
    """Positions of the networks, with their rates, that no earlier draw repeats."""
    arrays = [*leaves(population.networks), *(population.parameters[name] for name in rates)]
    numbered = [np.unique(array, return_inverse=True)[1] for array in arrays]
    return np.sort(np.unique(np.stack(numbered, axis=1), axis=0, return_index=True)[1])
