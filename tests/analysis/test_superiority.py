import numpy as np
import pytest
from scipy import stats

from analysis.two_sample import placements, superiority_interval


def test_mean_placements_give_the_mann_whitney_statistic():
    rng = np.random.default_rng(2)
    a, b = rng.integers(0, 10, 15).astype(float), rng.integers(2, 12, 20).astype(float)
    first = np.arange(35) < 15
    share = placements(np.concatenate([a, b]), first)
    # scipy's U counts the pairs with a > b, ties half.
    expected = 1 - stats.mannwhitneyu(a, b).statistic / (15 * 20)
    assert 0.5 + share[~first].mean() - share[first].mean() == pytest.approx(expected)


def test_superiority_interval_stays_open_at_the_ends_and_is_symmetric():
    low, high = superiority_interval(1.0, 16, 16)
    assert high == 1
    assert 0.7 < low < 0.95
    assert superiority_interval(0.0, 16, 16) == pytest.approx((1 - high, 1 - low))
    low, high = superiority_interval(0.3, 20, 10)
    assert superiority_interval(0.7, 20, 10) == pytest.approx((1 - high, 1 - low))


def test_superiority_interval_excludes_one_half_where_the_mann_whitney_test_rejects():
    n, m = 20, 30
    error = np.sqrt((n + m + 1) / (12 * n * m))
    for z, excluded in ((1.95, False), (1.97, True)):
        low, _ = superiority_interval(0.5 + z * error, n, m)
        assert (low > 0.5) == excluded


@pytest.mark.parametrize("shift", [0.0, 1.0, 2.0])
def test_superiority_interval_covers(shift):
    rng = np.random.default_rng(4)
    truth, n, covered, trials = float(stats.norm.cdf(shift / np.sqrt(2))), 20, 0, 1500
    for _ in range(trials):
        a, b = rng.normal(size=n), rng.normal(size=n) + shift
        low, high = superiority_interval(np.mean(a[:, None] < b[None]), n, n)
        covered += low <= truth <= high
    assert 0.93 <= covered / trials <= 0.985
