"""Relation of the error to each parameter: best ranges, trends, rank correlations and permutation importance."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from analysis.rows import distinct_models
from designspace.validated import shorten

Array = NDArray[np.float64]


def varies(column: pd.Series) -> bool:
    """Whether a column has different finite numbers."""
    if not pd.api.types.is_numeric_dtype(column):
        return False
    finite = column[np.isfinite(column.astype(float))]
    return bool(finite.min() < finite.max())


def per_space(
    frame: pd.DataFrame, names: Sequence[str], statistic: Callable[[Array, Array], pd.DataFrame]
) -> pd.DataFrame:
    """Apply a statistic of (values, errors) to every parameter of every space.

    Args:
        frame: columns `space`, `error_percent` and `names`.
        names: parameters. Text columns and parameters constant or unknown within a space are skipped there.
        statistic: maps values and errors, both of shape (N,), to a frame.

    Returns:
        The stacked frames with the columns `space` and `parameter` first.
    """
    parts = []
    for space, part in frame.groupby("space", sort=False):
        for name in names:
            if varies(part[name]):
                finite = part[np.isfinite(part[name].astype(float))]
                result = statistic(finite[name].to_numpy(dtype=float), finite["error_percent"].to_numpy(dtype=float))
                parts.append(result.assign(space=space, parameter=name))
    if not parts:
        return pd.DataFrame(columns=["space", "parameter"])
    stacked = pd.concat(parts, ignore_index=True)
    return stacked[["space", "parameter", *(c for c in stacked if c not in ("space", "parameter"))]]


FRACTION = 0.25


@dataclass(frozen=True)
class BestRange:
    """Range of a parameter's most likely best values.

    This is a weighted range over about the top dozen models, independent of the population size. It does NOT narrow
    with 1 / sqrt(n) like a confidence interval, so show `support` with it.

    Attributes:
        lower, likely, upper: percentiles (2.5, 50, 97.5 at confidence 0.95) of the parameter of the selected model.
        n: models in the population.
        draws: models per bootstrap sample, round(n / 4), at least 1.
        support: number of distinct models with `confidence` of the selections.
    """

    lower: float
    likely: float
    upper: float
    n: int
    draws: int
    support: int


def selection_probabilities(errors: ArrayLike, draws: int) -> NDArray[np.float64]:
    """Probability that each model is the best of `draws` models drawn with replacement.

    For rank i of n (1 is the best): ((n - i + 1) / n)^m - ((n - i) / n)^m. Tied models share their probability equally.

    Args:
        errors: shape (N,), percent.
        draws: m, at least 1.

    Returns:
        Shape (N,), summing to 1.
    """
    e = np.asarray(errors, dtype=float)
    if e.ndim != 1 or not len(e) or not np.all(np.isfinite(e)):
        raise ValueError(f"errors = {shorten(e.tolist())}: must be one-dimensional and finite with at least one value")
    if draws < 1:
        raise ValueError(f"draws = {draws}: must be at least 1")
    _, group, size = np.unique(e, return_inverse=True, return_counts=True)
    above = 1 - np.concatenate([[0], np.cumsum(size)]) / len(e)
    share = -np.diff(np.clip(above, 0, 1) ** draws) / size
    return share[group]


def best_range(values: ArrayLike, errors: ArrayLike, *, confidence: float = 0.95) -> BestRange:
    """Range of a parameter over the models selected as best from a random quarter of the population.

    Args:
        values: shape (N,), parameter or complexity of each model.
        errors: shape (N,), percent.
        confidence: probability within the range, in (0, 1).

    Raises:
        ValueError: different shapes, no model, or nonfinite errors.

    Source: Radosavovic et al. 2020 (arXiv 2003.13678), footnote 4: sample 25 % of the pairs with replacement, select
    the pair with the smallest error, repeat 10^4 times, report the 95 % interval and the median. Here the exact
    distribution of the selected rank replaces the repetitions.
    """
    x, e = np.asarray(values, dtype=float), np.asarray(errors, dtype=float)
    if x.shape != e.shape:
        raise ValueError(f"values = array of shape {x.shape}: must have the shape of errors, {e.shape}")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence = {confidence}: must be between 0 and 1, for example 0.95")
    # Footnote 4 does not specify how to round halves. Python rounds them to even.
    draws = max(1, round(FRACTION * len(e)))
    probability = selection_probabilities(e, draws)
    order = np.argsort(x, kind="stable")
    cumulative = np.cumsum(probability[order])
    targets = np.array([0.5 - confidence / 2, 0.5, 0.5 + confidence / 2])
    # The tolerance absorbs rounding errors of the cumulative sum.
    rows = np.minimum(np.searchsorted(cumulative, targets - 1e-12), len(x) - 1)
    lower, likely, upper = x[order][rows]
    best_first = np.argsort(e, kind="stable")
    support = int(np.searchsorted(np.cumsum(probability[best_first]), confidence - 1e-12)) + 1
    return BestRange(float(lower), float(likely), float(upper), len(e), draws, support)


def ranges_per_space(frame: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
    """`best_range` of every parameter in every space, one row each."""
    return per_space(frame, names, lambda x, e: pd.DataFrame([asdict(best_range(x, e))]))


TREND_COLUMNS = {
    "value": "value of the parameter, or median value of the group",
    "low, high": "smallest and largest value of the group",
    "n": "number of models in the group",
    "best": "smallest error of the group, percent",
    "mean, lower, upper": "mean error with its 95 % t-interval, percent; bounds NaN for a single model",
}


@dataclass(frozen=True)
class RankTrend:
    """Spearman's rank correlation of error and parameter. Positive: larger values have larger errors."""

    rho: float
    lower: float
    upper: float
    p_value: float
    n: int


def rank_trend(values: ArrayLike, errors: ArrayLike, *, confidence: float = 0.95) -> RankTrend:
    """Spearman's rho between a parameter and the error, with a confidence interval.

    Args:
        values, errors: shape (N,). With N < 4 or a constant parameter or error, all fields but n are NaN.
        confidence: confidence of the interval.

    Source: interval by Fisher's z with the variance of Bonett & Wright, Psychometrika 65 (2000) 23-28; p-value by
    scipy.
    """
    x, e = _pairs(values, errors)
    n = len(x)
    if n < 4 or np.ptp(x) == 0 or np.ptp(e) == 0:
        return RankTrend(np.nan, np.nan, np.nan, np.nan, n)
    test = stats.spearmanr(x, e)
    rho = float(test.statistic)
    z = _fisher(rho)
    half = stats.norm.ppf(0.5 + confidence / 2) * np.sqrt((1 + rho**2 / 2) / (n - 3))
    return RankTrend(rho, float(np.tanh(z - half)), float(np.tanh(z + half)), float(test.pvalue), n)


def correlation_difference(
    a: ArrayLike, b: ArrayLike, y: ArrayLike, *, confidence: float = 0.95
) -> tuple[float, float, float]:
    """Fisher's z of corr(a, y) minus that of corr(b, y), with its confidence interval.

    Args:
        a, b, y: shape (N,), N of at least 4, none constant.
        confidence: confidence of the interval.

    The standard error is the jackknife's, with Student's t and N - 3 degrees of freedom. In simulations with N from 8
    to 100, it covers 93 to 97 % at 95 % with normal, bounded and heavy-tailed (t with 4 degrees of freedom) columns;
    Zou's interval (2007) for normal columns covers 77 to 94 % of the heavy-tailed ones.
    """
    columns = np.array([a, b, y], dtype=float)
    n = columns.shape[1]
    z_a, z_b = _fisher(_correlations(columns[..., None]))[:, 0]
    omitted = np.stack([np.delete(columns, i, axis=1) for i in range(n)], axis=-1)
    left_out = _fisher(_correlations(omitted))
    differences = left_out[0] - left_out[1]
    error = np.sqrt((n - 1) * differences.var())
    half = float(stats.t.isf((1 - confidence) / 2, n - 3) * error)
    estimate = float(z_a - z_b)
    return estimate, estimate - half, estimate + half


def _fisher(r: ArrayLike) -> NDArray[np.float64]:
    """Fisher's z, finite for perfect correlations."""
    z: NDArray[np.float64] = np.arctanh(np.clip(r, -1 + 1e-12, 1 - 1e-12))
    return z


def _correlations(columns: NDArray[np.float64]) -> NDArray[np.float64]:
    """Correlations of columns 0 and 1 with column 2, shape (3, N, samples) to (2, samples)."""
    centered = columns - columns.mean(axis=1, keepdims=True)
    norms = np.sqrt((centered**2).sum(axis=1))
    r: NDArray[np.float64] = (centered[:2] * centered[2]).sum(axis=1) / (norms[:2] * norms[2])
    return r


def trend(values: ArrayLike, errors: ArrayLike, *, groups: int | None = None, confidence: float = 0.95) -> pd.DataFrame:
    """Mean and smallest error of groups of similar parameter values.

    Args:
        values, errors: shape (N,). Pairs with a nonfinite value are excluded.
        groups: number of groups of about equal size; by default 1 to 6 with at least five models each. A parameter with
            at most that many distinct values has one group per value.
        confidence: confidence of the interval of the mean.

    Returns:
        A frame with the columns of TREND_COLUMNS, sorted by value.
    """
    x, e = _pairs(values, errors)
    groups = int(np.clip(len(x) // 5, 1, 6)) if groups is None else groups
    if groups < 1:
        raise ValueError(f"groups = {groups}: must be at least 1")
    index = quantile_groups(x, groups)
    rows = []
    for group in np.unique(index):
        group_errors, group_values = e[index == group], x[index == group]
        n = len(group_errors)
        half = stats.t.ppf(0.5 + confidence / 2, n - 1) * group_errors.std(ddof=1) / np.sqrt(n) if n > 1 else np.nan
        rows.append(
            {
                "value": float(np.median(group_values)),
                "low": float(group_values.min()),
                "high": float(group_values.max()),
                "n": n,
                "best": float(group_errors.min()),
                "mean": float(group_errors.mean()),
                "lower": float(group_errors.mean() - half),
                "upper": float(group_errors.mean() + half),
            }
        )
    return pd.DataFrame(rows)


def quantile_groups(values: ArrayLike, groups: int) -> NDArray[np.int64]:
    """Assign values to groups of about equal size, numbered from 0. Equal values share a group.

    Args:
        values: shape (N,), finite. With at most `groups` distinct values, each value is a group.
        groups: at least 1.
    """
    x = np.asarray(values, dtype=float)
    distinct, index = np.unique(x, return_inverse=True)
    if len(distinct) > groups:
        # Average ranks keep equal values together.
        ranks = stats.rankdata(x, method="average")
        index = np.minimum((ranks - 0.5) / len(x) * groups, groups - 1).astype(int)
    return index.astype(np.int64)


def correlations_per_space(frame: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
    """`rank_trend` of every parameter in every space, one row each."""
    return per_space(frame, names, lambda x, e: pd.DataFrame([asdict(rank_trend(x, e))]))


def trends_per_space(frame: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
    """`trend` of every parameter in every space, stacked."""
    return per_space(frame, names, trend)


def _pairs(values: ArrayLike, errors: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    x, e = np.asarray(values, dtype=float), np.asarray(errors, dtype=float)
    if x.shape != e.shape or x.ndim != 1:
        raise ValueError(
            f"values = array of shape {x.shape}: must be one-dimensional with the shape of errors, {e.shape}"
        )
    finite = np.isfinite(x)
    return x[finite], e[finite]


TREES = 100
LARGEST = 1500
"""Maximum number of training rows. More rows take longer and hardly change the result."""
SMALLEST = 20
MIN_EXPLAINED = 0.2
"""Minimum R^2 on held-out models for meaningful importances."""


@dataclass(frozen=True)
class Importance:
    """Random-forest analysis of the error.

    Attributes:
        table: one row per parameter, most important first: parameter, importance (increase of the mean absolute error
            when the parameter is permuted, points), lower, upper (its range over folds and permutations).
        dependence: partial dependence: parameter, value, error (mean prediction with the parameter set to the value in
            all models, percent).
        explained: R^2 on held-out models. The rest is not meaningful if it is small.
        n: number of models.
    """

    table: pd.DataFrame
    dependence: pd.DataFrame
    explained: float
    n: int


def permutation_importance(
    frame: pd.DataFrame, parameters: Sequence[str], *, repeats: int = 4, points: int = 12, seed: int = 0
) -> Importance | None:
    """Permutation importance of each parameter on held-out models, and partial dependence of the error.

    Correlated parameters share their importance, so both can seem unimportant.

    Args:
        frame: columns `parameters` (numeric) and `error_percent` (finite). Rows with missing values are excluded. A
            random sample of 1,500 rows is used from larger tables.
        parameters: candidate columns. Constant columns are excluded.
        repeats: permutations of each parameter in each of five folds.
        points: number of values for the partial dependence.
        seed: seed of the sample, forest, folds and permutations.

    Returns:
        None with fewer than 20 models or no varying parameter.

    Source: Breiman, "Random Forests" (2001), Sec. 10; Friedman (2001) for partial dependence. Implementation by
    scikit-learn.
    """
    names = [p for p in parameters if p in frame and pd.api.types.is_numeric_dtype(frame[p])]
    # A network drawn twice must not be in both the training and the test part of a fold.
    data = distinct_models(frame)[[*names, "error_percent"]].astype(float).dropna()
    names = [name for name in names if np.ptp(data[name].to_numpy()) > 0]
    if len(data) < SMALLEST or not names:
        return None
    from sklearn import inspection
    from sklearn.ensemble import RandomForestRegressor
    from sklearn.model_selection import KFold

    if len(data) > LARGEST:
        rows = np.random.default_rng(seed).choice(len(data), LARGEST, replace=False)
        data = data.iloc[np.sort(rows)]
    x, y = data[names].to_numpy(), data["error_percent"].to_numpy()

    def forest() -> RandomForestRegressor:
        return RandomForestRegressor(
            n_estimators=TREES, min_samples_leaf=2, max_features=0.6, n_jobs=1, random_state=seed
        )

    predicted = np.empty(len(y))
    increases, random_state = [], np.random.RandomState(seed)
    for learn, test in KFold(5, shuffle=True, random_state=seed).split(x):
        model = forest().fit(x[learn], y[learn])
        predicted[test] = model.predict(x[test])
        scores = inspection.permutation_importance(
            model, x[test], y[test], scoring="neg_mean_absolute_error", n_repeats=repeats, random_state=random_state
        )
        increases.append(scores.importances)
    by_parameter = np.concatenate(increases, axis=1)
    lower, upper = np.quantile(by_parameter, [0.025, 0.975], axis=1)
    table = pd.DataFrame(
        {"parameter": names, "importance": by_parameter.mean(axis=1), "lower": lower, "upper": upper}
    ).sort_values("importance", ascending=False, kind="stable", ignore_index=True)
    explained = float(1 - np.sum((y - predicted) ** 2) / np.sum((y - y.mean()) ** 2)) if np.ptp(y) > 0 else 0.0
    dependence = _dependence(forest().fit(x, y), x, names, points)
    return Importance(table, dependence, explained, len(data))


def _dependence(model: object, x: np.ndarray, names: Sequence[str], points: int) -> pd.DataFrame:
    # About two hundred models suffice for the average.
    some = x[:: max(1, len(x) // 200)]
    rows = []
    for column, name in enumerate(names):
        distinct = np.unique(x[:, column])
        # The outer 5 % on both sides have few models.
        grid = np.quantile(x[:, column], np.linspace(0.05, 0.95, points))
        values = distinct if len(distinct) <= points else np.unique(grid)
        inputs = np.tile(some, (len(values), 1))
        inputs[:, column] = np.repeat(values, len(some))
        error = model.predict(inputs).reshape(len(values), -1).mean(axis=1)  # type: ignore[attr-defined]
        rows.append(pd.DataFrame({"parameter": name, "value": values, "error": error}))
    return pd.concat(rows, ignore_index=True)
