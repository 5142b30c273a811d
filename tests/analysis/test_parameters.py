import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from analysis.parameters import (
    TREND_COLUMNS,
    best_range,
    correlation_difference,
    permutation_importance,
    rank_trend,
    selection_probabilities,
    trend,
)


def empirical_bootstrap(values, errors, rng, repeats=20000):
    """Footnote 4 of RegNet: the best of a 25 % sample with replacement, repeatedly."""
    n = len(errors)
    draws = max(1, round(n / 4))
    rows = rng.integers(n, size=(repeats, draws))
    best = rows[np.arange(repeats), np.argmin(errors[rows], axis=1)]
    return values[best], best


@pytest.mark.parametrize("n", [16, 100, 500])
def test_closed_form_equals_the_empirical_bootstrap(n):
    rng = np.random.default_rng(n)
    errors, values = rng.random(n), rng.random(n)
    chosen, best = empirical_bootstrap(values, errors, rng)
    probability = selection_probabilities(errors, round(n / 4))
    observed = np.bincount(best, minlength=n) / len(best)
    assert np.abs(observed - probability).max() < 4 * np.sqrt(0.25 * 0.75 / len(best))
    exact = best_range(values, errors)
    ends = np.sort(values)
    for quantile, result in ((0.025, exact.lower), (0.5, exact.likely), (0.975, exact.upper)):
        place, simulated = np.searchsorted(ends, result), np.quantile(chosen, quantile)
        slack = 0.01  # of probability
        low, high = np.quantile(chosen, [max(0, quantile - slack), min(1, quantile + slack)])
        assert low <= ends[place] <= high, (quantile, result, simulated)


def test_published_selection_probabilities():
    ranked = np.arange(100.0)
    probability = selection_probabilities(ranked, 25)
    assert probability[0] == pytest.approx(0.221, abs=2e-3)
    assert probability[:12].sum() == pytest.approx(0.959, abs=1e-3)
    assert best_range(ranked, ranked).support == 12
    assert best_range(np.arange(5000.0), np.arange(5000.0)).support == 12  # does not grow with n


@given(st.lists(st.integers(0, 5), min_size=1, max_size=40), st.integers(1, 20))
def test_selection_probabilities_sum_to_one_and_ties_share(errors, draws):
    probability = selection_probabilities(errors, draws)
    assert probability.sum() == pytest.approx(1)
    for value in set(errors):
        part = probability[np.array(errors) == value]
        assert np.ptp(part) < 1e-15
    order = np.argsort(errors, kind="stable")
    assert (np.diff(probability[order]) <= 1e-15).all()


def test_best_range_has_the_number_of_supporting_models():
    errors = np.arange(100.0)
    result = best_range(np.where(errors < 40, 7.0, 1.0), errors)
    assert (result.lower, result.likely, result.upper) == (7, 7, 7)
    assert (result.n, result.draws, result.support) == (100, 25, 12)


def test_invalid_best_range_arguments():
    with pytest.raises(ValueError, match="must have the shape of errors"):
        best_range([1, 2], [1.0])
    with pytest.raises(ValueError, match=r"errors = \[1.0, nan\]: must be one-dimensional and finite"):
        best_range([1, 2], [1.0, np.nan])


def test_rank_correlation_equals_scipy_and_its_interval_covers():
    rng, covered, trials = np.random.default_rng(0), 0, 1000
    rho = 0.5
    truth = 6 / np.pi * np.arcsin(rho / 2)  # Spearman's rho of a bivariate normal
    for _ in range(trials):
        x = rng.normal(size=32)
        y = rho * x + np.sqrt(1 - rho**2) * rng.normal(size=32)
        result = rank_trend(x, y)
        covered += result.lower <= truth <= result.upper
    assert result.rho == pytest.approx(stats.spearmanr(x, y).statistic)
    assert result.p_value == pytest.approx(stats.spearmanr(x, y).pvalue)
    assert covered / trials == pytest.approx(0.95, abs=0.025)


def test_constant_values_have_no_trend():
    assert np.isnan(rank_trend([1, 1, 1, 1], [1, 2, 3, 4]).rho)
    assert np.isnan(rank_trend([1, 2], [1, 2]).rho)
    assert rank_trend([1, 2, 3, 4], [1, 2, 3, 4]).upper == pytest.approx(1)


@given(st.lists(st.tuples(st.integers(0, 20), st.floats(0, 100)), min_size=1, max_size=60), st.integers(1, 8))
def test_groups_partition_the_models(pairs, groups):
    values, errors = np.array(pairs).T
    result = trend(values, errors, groups=groups)
    assert result["n"].sum() == len(pairs)
    assert len(result) <= groups
    assert (result["high"].to_numpy()[:-1] < result["low"].to_numpy()[1:]).all()
    assert np.sum(result["n"] * result["mean"]) == pytest.approx(errors.sum())
    assert result["best"].min() == errors.min()


def test_few_distinct_values_are_separate_groups_with_t_intervals():
    result = trend([1, 1, 1, 2], [3.0, 4.0, 8.0, 1.0], groups=2)
    columns = [name for names in TREND_COLUMNS for name in names.split(", ")]
    assert sorted(result.columns) == sorted(columns)
    interval = stats.ttest_1samp([3.0, 4.0, 8.0], 0).confidence_interval()
    assert result.loc[0, ["value", "n", "mean", "lower", "upper"]].tolist() == pytest.approx([1, 3, 5, *interval])
    assert np.isnan(result["lower"][1])


@pytest.fixture(scope="module")
def result():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {"depth": rng.integers(4, 24, 150), "w_a": rng.uniform(4, 64, 150), "b": rng.choice([1, 2], 150)}
    )
    frame["constant"], frame["name"] = 1, "x"
    frame["error_percent"] = 15 + 0.5 * np.abs(frame["depth"] - 14) + 0.02 * frame["w_a"] + rng.normal(0, 0.3, 150)
    return permutation_importance(frame, ["depth", "w_a", "b", "constant", "name", "absent"])


def test_most_important_parameter(result):
    assert result.table["parameter"].tolist() == ["depth", "w_a", "b"]
    importance = result.table.set_index("parameter")
    assert importance.loc["depth", "lower"] > importance.loc["w_a", "upper"]
    assert importance.loc["b", "lower"] <= 0.02
    assert abs(importance.loc["b", "importance"]) < 0.02
    assert result.explained > 0.7
    assert result.n == 150


def test_partial_dependence_follows_the_true_effect(result):
    depth = result.dependence[result.dependence["parameter"] == "depth"]
    assert depth.loc[depth["error"].idxmin(), "value"] == pytest.approx(14, abs=3)
    assert depth["error"].iloc[0] > depth["error"].min() + 1.5
    assert result.dependence.groupby("parameter").size().to_dict()["b"] == 2


def test_forest_explains_no_noise():
    rng = np.random.default_rng(1)
    frame = pd.DataFrame({"a": rng.random(60), "error_percent": rng.random(60)})
    assert permutation_importance(frame, ["a"]).explained < 0.1
    assert permutation_importance(frame.head(19), ["a"]) is None
    assert permutation_importance(frame, []) is None


def test_duplicate_draws_do_not_leak_between_folds():
    rng = np.random.default_rng(1)
    frame = pd.DataFrame({"space": "x", "spec_id": [*map(str, range(60))], "a": rng.random(60)})
    frame["error_percent"] = rng.random(60)
    drawn = pd.concat([frame] * 4, ignore_index=True)
    result = permutation_importance(drawn, ["a"])
    assert result.explained < 0.1
    assert result.n == 60


@pytest.mark.parametrize("noise", ["normal", "heavy-tailed"])
def test_the_difference_of_correlations_is_antisymmetric_and_covered(noise):
    rng = np.random.default_rng(0)
    loads = np.array([0.98, 0.9, 0.98])[:, None]
    z_a, z_b = np.arctanh([0.98 * 0.98, 0.9 * 0.98])
    covered = []
    for _ in range(1000):
        values = rng.standard_t(4, (4, 48)) if noise == "heavy-tailed" else rng.normal(size=(4, 48))
        a, b, y = loads * values[0] + np.sqrt(1 - loads**2) * values[1:]
        difference, lower, upper = correlation_difference(a, b, y, confidence=0.95)
        assert correlation_difference(b, a, y, confidence=0.95) == pytest.approx((-difference, -upper, -lower))
        covered.append(lower < z_a - z_b < upper)
    assert 0.92 < np.mean(covered) < 0.98


def test_a_perfect_correlation_exceeds_an_imperfect_one():
    rng = np.random.default_rng(0)
    y, noise = rng.normal(size=(2, 20))
    difference, lower, upper = correlation_difference(3 * y, y + noise, y)
    assert 0 < lower < difference < upper < np.inf
    assert correlation_difference(3 * y, -0.1 * y, -y)[0] == -correlation_difference(3 * y, -0.1 * y, y)[0] < 0
