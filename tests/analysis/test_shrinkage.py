import numpy as np
import pandas as pd
import pytest
from scipy import stats

from analysis.shrinkage import EFFECTIVE_DRAWS, sample_posterior, shrink


def test_moments_of_a_skewed_correlated_posterior():
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


def test_draws_are_reproducible():
    first, second = (
        sample_posterior(lambda x: -0.5 * x[:, 0] ** 2, np.zeros(1), np.ones(1), np.random.default_rng(7))
        for _ in range(2)
    )
    np.testing.assert_array_equal(first[0], second[0])


def test_large_normal_population_agrees_with_normal_theory():
    """Equal variances of errors and noise: half way to the mean, posterior variance 1/2, predictive variance 3/2."""
    rng = np.random.default_rng(1)
    truth = rng.normal(20, 1, 5000)
    measured = truth + rng.normal(0, 1, 5000)
    result = shrink(measured, 1.0)
    middle = np.abs(measured - 20) < 2
    mean = 20 + (measured - 20)[middle] / 2
    np.testing.assert_allclose(result["estimate"][middle], mean, atol=0.15)
    np.testing.assert_allclose(result["lower"][middle], mean - 1.96 * np.sqrt(0.5), atol=0.25)
    np.testing.assert_allclose(result["retrained_upper"][middle], mean + 1.96 * np.sqrt(1.5), atol=0.25)
    assert np.mean((result["estimate"] - truth) ** 2) == pytest.approx(0.5, abs=0.05)


def test_estimates_predict_a_second_training_on_nas_bench_macro(shared_data):
    macro = pd.read_csv(shared_data("nas-bench-macro.csv"), dtype={"arch": str})
    errors = np.stack([100 - macro[f"acc{seed}"] for seed in (1, 2, 3)], axis=1)
    rng, measured, estimated, covered = np.random.default_rng(2), [], [], []
    for _ in range(15):
        some = errors[rng.choice(len(errors), 400, replace=False)]
        best = np.argsort(some[:, 0])[:5]
        result = shrink(some[:, 0], 0.188, rows=best)
        retrained = some[best, 1]
        measured += list(some[best, 0] - retrained)
        estimated += list(result["estimate"] - retrained)
        covered += list((result["retrained_lower"] <= retrained) & (retrained <= result["retrained_upper"]))
    assert np.mean(measured) < -0.15
    assert abs(np.mean(estimated)) < 0.25 * abs(np.mean(measured))
    assert np.mean(covered) > 0.88


@pytest.mark.parametrize("n", [1, 3])
def test_up_to_three_models_have_a_flat_prior(n):
    x = np.random.default_rng(n).normal(10, 2, n)
    result = shrink(x, 0.3, seeds=4, degrees=5)
    np.testing.assert_array_equal(result["estimate"], x)
    t = stats.t(5).ppf(0.975)
    np.testing.assert_allclose(result["upper"] - x, t * 0.3 / 2)
    np.testing.assert_allclose(x - result["retrained_lower"], t * np.hypot(0.3, 0.3 / 2))


@pytest.mark.parametrize("n", [4, 5, 12])
def test_estimates_of_few_models(n):
    x = np.random.default_rng(n).normal(10, 2, n)
    result = shrink(x, 0.3)
    assert len(result) == n
    assert (result["lower"] < result["estimate"]).all()
    assert (result["estimate"] < result["upper"]).all()
    assert (result["retrained_upper"] - result["retrained_lower"] > result["upper"] - result["lower"]).all()
    assert np.abs(result["estimate"] - x).max() < 0.5


def test_equal_errors_have_intervals_of_positive_width():
    result = shrink(np.full(30, 8.0), 0.5).iloc[0]
    assert result["upper"] - result["lower"] > 0.1
    assert result["retrained_upper"] - result["retrained_lower"] == pytest.approx(2 * 1.96 * 0.5, rel=0.15)


def test_diverged_networks_do_not_affect_the_best():
    rng = np.random.default_rng(3)
    x = rng.normal(8, 1, 200)
    with_lost = np.concatenate([x, rng.uniform(85, 90, 10)])
    best = np.argsort(x)[:5]
    alone, together = shrink(x, 0.4, rows=best), shrink(with_lost, 0.4, rows=best)
    np.testing.assert_allclose(together, alone, atol=0.4)  # less than the noise of a training


def test_uncertain_noise_and_fewer_seeds_widen_the_intervals():
    x = np.random.default_rng(4).normal(10, 1, 40)

    def widths(**settings):
        result = shrink(x, 0.5, rows=[0], **settings).iloc[0]
        return result["upper"] - result["lower"], result["retrained_upper"] - result["retrained_lower"]

    known = widths()
    assert widths(degrees=3)[1] > 1.1 * known[1]
    assert widths(seeds=4)[0] < 0.7 * known[0]


def test_interpolation_of_many_rows():
    rng = np.random.default_rng(5)
    x = 6 + rng.gamma(2, 1, 1000) + rng.normal(0, 0.4, 1000)
    rows = np.argsort(x)[:50]
    few, all_rows = shrink(x, 0.4, rows=rows), shrink(x, 0.4).iloc[rows]
    np.testing.assert_allclose(all_rows.to_numpy(), few.to_numpy(), atol=0.01)


def test_invalid_shrinkage_arguments():
    with pytest.raises(ValueError, match="noise_sd = 0: must be positive"):
        shrink([1.0, 2.0], 0)
    with pytest.raises(ValueError, match=r"errors = \[nan\]: must be one-dimensional and finite"):
        shrink([np.nan], 1)
    with pytest.raises(ValueError, match="seeds = 0: must be at least 1"):
        shrink([1.0], 1, seeds=0)
    with pytest.raises(ValueError, match="degrees = 0: must be positive"):
        shrink([1.0], 1, degrees=0)
