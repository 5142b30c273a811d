import numpy as np
import pytest
from scipy import stats

from analysis.shrinkage import EFFECTIVE_DRAWS, sample_posterior


def test_a_skewed_and_correlated_posterior_has_its_moments():
    """x log-gamma, y normal around x: started four standard deviations away, in units three times too large."""

    def log_density(draws):
        x, y = draws.T
        return stats.loggamma(4).logpdf(x) + stats.norm(2 * x, 0.5).logpdf(y)

    draws, weights = sample_posterior(log_density, np.array([3.0, -1.0]), np.full(2, 1.5), np.random.default_rng(0))
    assert weights.sum() == pytest.approx(1)
    assert 1 / np.sum(weights**2) >= EFFECTIVE_DRAWS
    mean = weights @ draws
    expected = stats.loggamma(4).mean()
    np.testing.assert_allclose(mean, [expected, 2 * expected], atol=0.15)
    sd = np.sqrt(weights @ (draws - mean) ** 2)
    np.testing.assert_allclose(sd, [stats.loggamma(4).std(), np.hypot(2 * stats.loggamma(4).std(), 0.5)], rtol=0.15)


def test_the_same_generator_gives_the_same_draws():
    first, second = (
        sample_posterior(lambda x: -0.5 * x[:, 0] ** 2, np.zeros(1), np.ones(1), np.random.default_rng(7))
        for _ in range(2)
    )
    np.testing.assert_array_equal(first[0], second[0])
