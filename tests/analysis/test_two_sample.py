import numpy as np
import pytest
from scipy import stats

from analysis.adjustment import CommonCurve
from analysis.two_sample import holm, matched_kolmogorov_smirnov, placements, superiority_interval


def test_mean_placements_give_the_mann_whitney_statistic():
    rng = np.random.default_rng(2)
    a, b = rng.integers(0, 10, 15).astype(float), rng.integers(2, 12, 20).astype(float)
    first = np.arange(35) < 15
    share = placements(np.concatenate([a, b]), first)
    # scipy's U counts the pairs with a > b, ties half.
    expected = 1 - stats.mannwhitneyu(a, b).statistic / (15 * 20)
    assert 0.5 + share[~first].mean() - share[first].mean() == pytest.approx(expected)


def test_superiority_interval_is_proper_at_the_ends_and_symmetric():
    low, high = superiority_interval(1.0, 16, 16)
    assert high == 1
    assert 0.7 < low < 0.95
    assert superiority_interval(0.0, 16, 16) == pytest.approx((1 - high, 1 - low))
    low, high = superiority_interval(0.3, 20, 10)
    assert superiority_interval(0.7, 20, 10) == pytest.approx((1 - high, 1 - low))


def test_superiority_interval_agrees_with_the_mann_whitney_test():
    n, m = 20, 30
    error = np.sqrt((n + m + 1) / (12 * n * m))
    for z, excluded in ((1.95, False), (1.97, True)):
        low, _ = superiority_interval(0.5 + z * error, n, m)
        assert (low > 0.5) == excluded


@pytest.mark.parametrize("shift", [0.0, 1.0, 2.0])
def test_superiority_interval_coverage(shift):
    rng = np.random.default_rng(4)
    truth, n, covered, trials = float(stats.norm.cdf(shift / np.sqrt(2))), 20, 0, 1500
    for _ in range(trials):
        a, b = rng.normal(size=n), rng.normal(size=n) + shift
        low, high = superiority_interval(np.mean(a[:, None] < b[None]), n, n)
        covered += low <= truth <= high
    assert 0.93 <= covered / trials <= 0.985


def test_holm_by_hand():
    np.testing.assert_allclose(holm(np.array([0.01, 0.04, 0.03])), [0.03, 0.06, 0.06])


def test_matched_kolmogorov_smirnov_level():
    rng, below, trials = np.random.default_rng(8), 0, 150
    first = np.arange(60) < 30
    for _ in range(trials):
        x = np.concatenate([rng.beta(1, 2, 30), rng.beta(2, 1, 30)])
        strata = np.minimum((3 * x).astype(int), 2)
        errors = 20 - 10 * x + rng.exponential(size=60)
        curve = CommonCurve(x, first)
        below += matched_kolmogorov_smirnov(errors, first, strata, curve, rng).p_value < 0.1
    assert below / trials < 0.1 + 3 * np.sqrt(0.09 / trials)


def test_matched_kolmogorov_smirnov_statistic_by_hand():
    errors = np.array([1.0, 2, 3, 4, 5, 6])
    first = np.array([True, True, False, True, False, False])
    strata = np.array([0, 1, 0, 0, 0, 1])
    # Weights: bin 0 holds two of each space (1/4 each), bin 1 one of each (1/2 each); all complexities are the same.
    curve = CommonCurve(np.zeros(6), first)
    result = matched_kolmogorov_smirnov(errors, first, strata, curve, np.random.default_rng(0))
    assert result.statistic == pytest.approx(0.75)  # after error 2: 1/4 + 1/2 of the first, none of the second
    assert result.above == pytest.approx(0.75)
    assert result.below == 0


def test_tied_errors_do_not_separate_the_curves():
    errors = np.array([1.0, 1.0, 2.0, 2.0])
    first = np.array([True, False, True, False])
    curve = CommonCurve(np.zeros(4), first)
    result = matched_kolmogorov_smirnov(errors, first, np.zeros(4, dtype=int), curve, np.random.default_rng(0))
    assert (result.statistic, result.p_value) == (0, 1)
