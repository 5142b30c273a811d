import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from analysis.parameters import TREND_COLUMNS, rank_trend, trend


def test_rank_correlation_is_scipys_and_its_interval_covers():
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


def test_what_does_not_vary_has_no_trend():
    assert np.isnan(rank_trend([1, 1, 1, 1], [1, 2, 3, 4]).rho)
    assert np.isnan(rank_trend([1, 2], [1, 2]).rho)
    assert rank_trend([1, 2, 3, 4], [1, 2, 3, 4]).upper == pytest.approx(1)


@given(st.lists(st.tuples(st.integers(0, 20), st.floats(0, 100)), min_size=1, max_size=60), st.integers(1, 8))
def test_groups_hold_every_model_once_and_do_not_overlap(pairs, groups):
    values, errors = np.array(pairs).T
    found = trend(values, errors, groups=groups)
    assert found["n"].sum() == len(pairs)
    assert len(found) <= groups
    assert (found["high"].to_numpy()[:-1] < found["low"].to_numpy()[1:]).all()
    assert np.sum(found["n"] * found["mean"]) == pytest.approx(errors.sum())
    assert found["best"].min() == errors.min()


def test_few_values_are_groups_of_their_own_with_scipys_interval():
    found = trend([1, 1, 1, 2], [3.0, 4.0, 8.0, 1.0], groups=2)
    columns = [name for names in TREND_COLUMNS for name in names.split(", ")]
    assert sorted(found.columns) == sorted(columns)
    interval = stats.ttest_1samp([3.0, 4.0, 8.0], 0).confidence_interval()
    assert found.loc[0, ["value", "n", "mean", "lower", "upper"]].tolist() == pytest.approx([1, 3, 5, *interval])
    assert np.isnan(found["lower"][1])
