import numpy as np
import pytest
from scipy import stats

from analysis.intervals import (
    bootstrap_means,
    probability_of_superiority,
    stratified_mean,
    superiority_interval,
    welch,
)


def one(n):
    return np.zeros(n, dtype=np.int64)


def test_without_strata_it_is_scipys_welch_test():
    rng = np.random.default_rng(0)
    a, b = rng.normal(0, 1, 12), rng.normal(1, 3, 30)
    scipy = stats.ttest_ind(a, b, equal_var=False)
    error, p = welch(stratified_mean(a, one(12)), stratified_mean(b, one(30)))
    assert p == pytest.approx(scipy.pvalue)
    assert error == pytest.approx((a.mean() - b.mean()) / scipy.statistic)


def test_the_bootstrap_variance_of_small_strata_is_unbiased():
    rng = np.random.default_rng(1)
    values, strata = rng.normal(size=9), np.repeat([0, 1, 2], 3)
    draws = bootstrap_means(values, strata, 40_000, rng)
    expected = stratified_mean(values, strata)
    assert draws.mean() == pytest.approx(expected.mean, abs=0.01)
    assert draws.var() == pytest.approx(expected.variance, rel=0.03)


def test_large_strata_are_resampled_by_their_normal_limit():
    rng = np.random.default_rng(1)
    values = rng.exponential(size=3000)
    draws = bootstrap_means(values, one(3000), 20_000, rng)
    assert draws.std() == pytest.approx(values.std() / np.sqrt(3000), rel=0.03)


def test_a_stratum_of_one_gives_no_interval():
    assert np.isnan(bootstrap_means(np.array([1.0]), one(1), 10, np.random.default_rng(0))).all()
    assert np.isnan(welch(stratified_mean(np.array([1.0]), one(1)), stratified_mean(np.array([1.0, 2]), one(2)))[0])


def test_probability_of_superiority_is_the_mann_whitney_statistic():
    rng = np.random.default_rng(2)
    a, b = rng.integers(0, 10, 15).astype(float), rng.integers(2, 12, 20).astype(float)
    # scipy's U counts the pairs with a > b, ties half.
    expected = 1 - stats.mannwhitneyu(a, b).statistic / (15 * 20)
    assert probability_of_superiority(a, np.full(15, 1 / 15), b, np.full(20, 1 / 20)) == pytest.approx(expected)


def test_weighted_probability_of_superiority_counts_pairs_by_weight():
    rng = np.random.default_rng(3)
    a, b = rng.random(6), rng.random(7)
    w, v = rng.dirichlet(np.ones(6)), rng.dirichlet(np.ones(7))
    assert probability_of_superiority(a, w, b, v) == pytest.approx(np.sum(np.outer(w, v) * (a[:, None] < b[None])))


def test_superiority_interval_stays_open_at_the_ends_and_is_symmetric():
    low, high = superiority_interval(1.0, 16, 16)
    assert high == 1
    assert 0.7 < low < 0.95
    assert superiority_interval(0.0, 16, 16) == pytest.approx((1 - high, 1 - low))
    low, high = superiority_interval(0.3, 20, 10)
    assert superiority_interval(0.7, 20, 10) == pytest.approx((1 - high, 1 - low))


@pytest.mark.parametrize("shift", [0.0, 1.0, 2.0])
def test_superiority_interval_covers(shift):
    rng = np.random.default_rng(4)
    truth, n, covered, trials = float(stats.norm.cdf(shift / np.sqrt(2))), 20, 0, 1500
    for _ in range(trials):
        a, b = rng.normal(size=n), rng.normal(size=n) + shift
        low, high = superiority_interval(np.mean(a[:, None] < b[None]), n, n)
        covered += low <= truth <= high
    assert 0.93 <= covered / trials <= 0.985
