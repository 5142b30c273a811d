import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from analysis.parameters import TREND_COLUMNS, permutation_importance, rank_trend, trend


def test_rank_correlation_equals_scipy_and_its_interval_covers():
    rng, covered, trials = np.random.default_rng(0), 0, 1000
    rho = 0.5
    truth = 6 / np.pi * np.arcsin(rho / 2)  # Spearman's rho of a bivariate normal
    for _ in range(trials):
        x = rng.normal(size=32)
        y = rho * x + np.sqrt(1 - rho**2) * rng.normal(size=32)
        found = rank_trend(x, y)
        covered += found.lower <= truth <= found.upper
    assert found.rho == pytest.approx(stats.spearmanr(x, y).statistic)
    assert found.p_value == pytest.approx(stats.spearmanr(x, y).pvalue)
    assert covered / trials == pytest.approx(0.95, abs=0.025)


def test_constant_values_have_no_trend():
    assert np.isnan(rank_trend([1, 1, 1, 1], [1, 2, 3, 4]).rho)
    assert np.isnan(rank_trend([1, 2], [1, 2]).rho)
    assert rank_trend([1, 2, 3, 4], [1, 2, 3, 4]).upper == pytest.approx(1)


@given(st.lists(st.tuples(st.integers(0, 20), st.floats(0, 100)), min_size=1, max_size=60), st.integers(1, 8))
def test_groups_partition_the_models(pairs, groups):
    values, errors = np.array(pairs).T
    found = trend(values, errors, groups=groups)
    assert found["n"].sum() == len(pairs)
    assert len(found) <= groups
    assert (found["high"].to_numpy()[:-1] < found["low"].to_numpy()[1:]).all()
    assert np.sum(found["n"] * found["mean"]) == pytest.approx(errors.sum())
    assert found["best"].min() == errors.min()


def test_few_distinct_values_are_separate_groups_with_t_intervals():
    found = trend([1, 1, 1, 2], [3.0, 4.0, 8.0, 1.0], groups=2)
    columns = [name for names in TREND_COLUMNS for name in names.split(", ")]
    assert sorted(found.columns) == sorted(columns)
    interval = stats.ttest_1samp([3.0, 4.0, 8.0], 0).confidence_interval()
    assert found.loc[0, ["value", "n", "mean", "lower", "upper"]].tolist() == pytest.approx([1, 3, 5, *interval])
    assert np.isnan(found["lower"][1])


@pytest.fixture(scope="module")
def found():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {"depth": rng.integers(4, 24, 150), "w_a": rng.uniform(4, 64, 150), "b": rng.choice([1, 2], 150)}
    )
    frame["constant"], frame["name"] = 1, "x"
    frame["error_percent"] = 15 + 0.5 * np.abs(frame["depth"] - 14) + 0.02 * frame["w_a"] + rng.normal(0, 0.3, 150)
    return permutation_importance(frame, ["depth", "w_a", "b", "constant", "name", "absent"])


def test_most_important_parameter(found):
    assert found.table["parameter"].tolist() == ["depth", "w_a", "b"]
    importance = found.table.set_index("parameter")
    assert importance.loc["depth", "lower"] > importance.loc["w_a", "upper"]
    assert importance.loc["b", "lower"] <= 0.02
    assert abs(importance.loc["b", "importance"]) < 0.02
    assert found.explained > 0.7
    assert found.n == 150


def test_partial_dependence_follows_the_true_effect(found):
    depth = found.dependence[found.dependence["parameter"] == "depth"]
    assert depth.loc[depth["error"].idxmin(), "value"] == pytest.approx(14, abs=3)
    assert depth["error"].iloc[0] > depth["error"].min() + 1.5
    assert found.dependence.groupby("parameter").size().to_dict()["b"] == 2


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
    found = permutation_importance(drawn, ["a"])
    assert found.explained < 0.1
    assert found.n == 60
