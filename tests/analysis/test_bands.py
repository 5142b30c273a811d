import numpy as np
import pytest
from scipy import stats

from analysis.error_distributions import dkw_half_width, non_crossing_probability, simultaneous_band


@pytest.mark.parametrize("n", [2, 7, 40, 300])
def test_non_crossing_probability_of_a_constant_band_is_the_kolmogorov_smirnov_law(n):
    for half_width in (0.5 / np.sqrt(n), 1.0 / np.sqrt(n), 1.4 / np.sqrt(n)):
        rank = np.arange(1, n + 1)
        lower, upper = np.clip(rank / n - half_width, 0, 1), np.clip((rank - 1) / n + half_width, 0, 1)
        assert non_crossing_probability(lower, upper) == pytest.approx(stats.kstwo(n).cdf(half_width), rel=2e-5)


def test_non_crossing_probability_is_zero_for_bounds_no_sample_can_meet():
    assert non_crossing_probability(np.array([0.5, 0.5]), np.array([0.5, 0.5])) == 0


@pytest.mark.parametrize(("n", "published"), [(100, 0.136), (200, 0.096), (500, 0.061), (1000, 0.043)])
def test_dkw_half_width_at_95_percent(n, published):
    assert dkw_half_width(n) == pytest.approx(published, abs=5e-4)


@pytest.mark.parametrize("n", [1, 5, 32])
def test_exact_band_is_the_band_opda_simulates(n):
    opda = pytest.importorskip("opda.nonparametric")
    errors = np.linspace(0, 1, n)
    low, _, high = opda.EmpiricalDistribution.confidence_bands(
        errors, 0.95, method="ld_equal_tailed", generator=np.random.default_rng(0), n_jobs=1
    )
    lower, upper = simultaneous_band(n)
    between = np.concatenate([[-1], errors])  # a point at which 0, 1, ... n draws lie at or below
    # opda simulates 100,000 samples; the third digit is what that can give.
    np.testing.assert_allclose(lower, low.cdf(between), atol=2e-3)
    np.testing.assert_allclose(upper, high.cdf(between), atol=2e-3)


@pytest.mark.parametrize("band", ["exact", "ks", "dkw"])
@pytest.mark.parametrize(("n", "confidence"), [(16, 0.95), (60, 0.8)])
def test_the_whole_true_curve_lies_in_the_band_as_often_as_promised(band, n, confidence):
    rng = np.random.default_rng(1)
    trials = 4000
    uniform = np.sort(rng.random((trials, n)), axis=1)
    lower, upper = simultaneous_band(n, confidence, band)
    # F(x) = x is below the band before the k-th draw where k - 1 draws are below it, above it right after.
    inside = np.all((uniform >= lower[1:]) & (uniform <= upper[:-1]), axis=1).mean()
    three_sigma = 3 * np.sqrt(confidence * (1 - confidence) / trials)
    assert inside >= confidence - three_sigma
    if band != "dkw":  # exact, not merely safe
        assert inside <= confidence + three_sigma


def test_exact_band_is_tighter_where_the_best_models_are():
    exact, constant = simultaneous_band(100)[1], simultaneous_band(100, band="ks")[1]
    assert exact[0] < constant[0] / 1.5
    assert exact[50] < constant[50] * 1.25


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [((0,), "n is 0"), ((5, 1.0), "confidence is 1.0"), ((5, 0.9, "x"), "allowed: exact, ks, dkw")],
)
def test_mistakes_are_named(arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        simultaneous_band(*arguments)
