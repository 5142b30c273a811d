"""Which parameter explains the error: permutation importance of a random forest, and partial dependence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from analysis.rows import distinct_models

TREES = 100
LARGEST = 1500
"""Rows the forest learns from at most; more add time and no insight."""
SMALLEST = 20
MEANS_LITTLE = 0.2
"""A forest that explains less of the variance of unseen models says little about its parameters."""


@dataclass(frozen=True)
class Importance:
    """What a forest has learnt about the error.

    Attributes:
        table: one row a parameter, most important first: parameter, importance (points of mean absolute error that
            shuffling it adds to the prediction), lower, upper (its spread over folds and shuffles).
        dependence: partial dependence: parameter, value, error (mean predicted error with the parameter set to the
            value, percent).
        explained: R^2 of predictions for models the forest has not seen; with little of it the rest means little.
        n: models it learnt from.
    """

    table: pd.DataFrame
    dependence: pd.DataFrame
    explained: float
    n: int


def permutation_importance(
    frame: pd.DataFrame, parameters: Sequence[str], *, repeats: int = 4, points: int = 12, seed: int = 0
) -> Importance | None:
    """Permutation importance, always measured on held-out models, and partial dependence of the error.

    Parameters that go together share their importance, so that each of two twins seems unimportant.

    Args:
        frame: columns `parameters` (numbers) and `error_percent` (finite); rows without a value are left out. With more
            than 1,500 rows a random 1,500.
        parameters: columns to explain by; constant ones are left out.
        repeats: shuffles of each parameter in each of five folds.
        points: values at which the partial dependence is computed.
        seed: of the forest, the folds and the shuffles.

    Returns:
        None with fewer than 20 models or no parameter that varies.

    Source: Breiman, "Random Forests" (2001), Sec. 10, on held-out folds; Friedman (2001) for partial dependence; both
    by scikit-learn.
    """
    names = [p for p in parameters if p in frame and pd.api.types.is_numeric_dtype(frame[p])]
    # A network drawn twice must not be in both parts of a fold.
    known = distinct_models(frame)[[*names, "error_percent"]].astype(float).dropna()
    names = [name for name in names if np.ptp(known[name].to_numpy()) > 0]
    if len(known) < SMALLEST or not names:
        return None
    from sklearn.ensemble import RandomForestRegressor
    from sklearn.model_selection import KFold

    rng = np.random.default_rng(seed)
    if len(known) > LARGEST:
        known = known.iloc[np.sort(rng.choice(len(known), LARGEST, replace=False))]
    x, y = known[names].to_numpy(), known["error_percent"].to_numpy()

    def forest() -> RandomForestRegressor:
        return RandomForestRegressor(
            n_estimators=TREES, min_samples_leaf=2, max_features=0.6, n_jobs=1, random_state=seed
        )

    predicted = np.empty(len(y))
    added: list[list[float]] = [[] for _ in names]
    for learn, test in KFold(5, shuffle=True, random_state=seed).split(x):
        model = forest().fit(x[learn], y[learn])
        predicted[test] = model.predict(x[test])
        missed = np.abs(predicted[test] - y[test]).mean()
        for column in range(len(names)):
            shuffled = np.tile(x[test], (repeats, 1))
            shuffled[:, column] = np.concatenate([rng.permutation(x[test, column]) for _ in range(repeats)])
            losses = np.abs(model.predict(shuffled) - np.tile(y[test], repeats)).reshape(repeats, -1).mean(axis=1)
            added[column] += list(losses - missed)
    table = pd.DataFrame(
        {
            "parameter": names,
            "importance": [float(np.mean(values)) for values in added],
            "lower": [float(np.quantile(values, 0.025)) for values in added],
            "upper": [float(np.quantile(values, 0.975)) for values in added],
        }
    ).sort_values("importance", ascending=False, kind="stable", ignore_index=True)
    explained = float(1 - np.sum((y - predicted) ** 2) / np.sum((y - y.mean()) ** 2)) if np.ptp(y) > 0 else 0.0
    dependence = _dependence(forest().fit(x, y), x, names, points)
    return Importance(table, dependence, explained, len(known))


def _dependence(model: object, x: np.ndarray, names: Sequence[str], points: int) -> pd.DataFrame:
    # Two hundred models say the same as all; the average is over them with one parameter set.
    some = x[:: max(1, len(x) // 200)]
    rows = []
    for column, name in enumerate(names):
        distinct = np.unique(x[:, column])
        # The outermost twentieths hold few models; a forest is constant beyond what it has seen.
        places = np.quantile(x[:, column], np.linspace(0.05, 0.95, points))
        values = distinct if len(distinct) <= points else np.unique(places)
        grid = np.tile(some, (len(values), 1))
        grid[:, column] = np.repeat(values, len(some))
        error = model.predict(grid).reshape(len(values), -1).mean(axis=1)  # type: ignore[attr-defined]
        rows.append(pd.DataFrame({"parameter": name, "value": values, "error": error}))
    return pd.concat(rows, ignore_index=True)
