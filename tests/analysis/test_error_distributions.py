import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from analysis.error_distributions import (
    EDF_COLUMNS,
    describe_spaces,
    dkw_half_width,
    edf,
    edf_by,
    non_crossing_probability,
    simultaneous_band,
)

errors_of_models = st.lists(st.integers(0, 40).map(lambda x: x / 2), min_size=1, max_size=30)


def value_at(curve: pd.DataFrame, e: float, column: str = "fraction") -> float:
    """F(e) from the first row whose right end is at least e."""
    return float(curve[column][np.searchsorted(curve["error"].to_numpy(), e, side="left")])


@given(errors_of_models, st.floats(-1, 21))
def test_edf_is_the_fraction_strictly_below(errors, e):
    assert value_at(edf(errors), e) == pytest.approx(np.mean(np.array(errors) < e))
    assert value_at(edf(errors), errors[0]) == pytest.approx(np.mean(np.array(errors) < errors[0]))


@given(errors_of_models, st.data())
def test_integer_weights_equal_repetitions(errors, data):
    repeats = data.draw(st.lists(st.integers(1, 4), min_size=len(errors), max_size=len(errors)))
    weighted, repeated = edf(errors, repeats), edf(np.repeat(errors, repeats))
    np.testing.assert_allclose(weighted["fraction"], repeated["fraction"])


@given(errors_of_models)
def test_band_contains_the_edf_and_is_monotone(errors):
    curve = edf(errors)
    assert list(curve) == list(EDF_COLUMNS)
    assert (curve["lower"] <= curve["fraction"] + 1e-12).all()
    assert (curve["fraction"] <= curve["upper"] + 1e-12).all()
    for column in ("fraction", "lower", "upper"):
        assert curve[column].is_monotonic_increasing
    assert curve["fraction"].iloc[0] == 0
    assert curve["fraction"].iloc[-1] == 1
    assert curve["error"].iloc[-1] == np.inf


def test_band_column_names_the_method():
    assert edf([1, 2, 3])["band"][0] == "exact 95%"
    assert edf(np.arange(3000))["band"][0] == "ks 95%"
    assert edf([1, 2, 3], [1, 1, 2])["band"][0] == "dkw 95% at effective n 2.7 (approximate)"
    assert edf([1, 2, 3], [2, 2, 2])["band"][0] == "exact 95%"
    assert edf([1, 2, 3], [1, 1, 0])["n"][0] == 2


def test_weighted_band_has_its_nominal_coverage():
    rng = np.random.default_rng(0)
    n, trials, covered = 40, 600, 0
    for _ in range(trials):
        errors, weights = rng.random(n), rng.choice([1.0, 2.0, 4.0], n)
        curve = edf(errors, weights)
        ends = curve["error"].to_numpy()[:-1]
        covered += bool(np.all(ends <= curve["upper"][:-1]) and np.all(ends >= curve["lower"][1:]))
    assert covered / trials >= 0.93


def test_edf_by_has_one_curve_per_space():
    frame = pd.DataFrame({"space": ["a", "b", "a"], "error_percent": [3.0, 2.0, 1.0]})
    curves = edf_by(frame)
    assert curves.groupby("space")["n"].first().to_dict() == {"a": 2, "b": 1}
    assert curves.loc[curves["space"] == "a", "error"].tolist() == [1.0, 3.0, np.inf]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (([],), "must be one-dimensional with at least one value"),
        (([1.0, np.nan],), "errors = nan: must be finite"),
        (([1.0, 2.0], [1.0]), "weights = array of shape .*: must have the shape of errors"),
        (([1.0], [-1.0]), r"weights = \[-1.0\]: must be nonnegative"),
    ],
)
def test_invalid_errors_and_weights(arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        edf(*arguments)


@pytest.mark.parametrize("n", [2, 7, 40, 300])
def test_non_crossing_probability_of_a_constant_band_is_the_kolmogorov_smirnov_distribution(n):
    for half_width in (0.5 / np.sqrt(n), 1.0 / np.sqrt(n), 1.4 / np.sqrt(n)):
        rank = np.arange(1, n + 1)
        lower, upper = np.clip(rank / n - half_width, 0, 1), np.clip((rank - 1) / n + half_width, 0, 1)
        assert non_crossing_probability(lower, upper) == pytest.approx(stats.kstwo(n).cdf(half_width), rel=2e-5)


def test_non_crossing_probability_of_impossible_bounds_is_zero():
    assert non_crossing_probability(np.array([0.5, 0.5]), np.array([0.5, 0.5])) == 0


@pytest.mark.parametrize(("n", "published"), [(100, 0.136), (200, 0.096), (500, 0.061), (1000, 0.043)])
def test_dkw_half_width_at_95_percent(n, published):
    assert dkw_half_width(n) == pytest.approx(published, abs=5e-4)


@pytest.mark.parametrize("n", [1, 5, 32])
def test_exact_band_agrees_with_opda(n):
    opda = pytest.importorskip("opda.nonparametric")
    errors = np.linspace(0, 1, n)
    low, _, high = opda.EmpiricalDistribution.confidence_bands(
        errors, 0.95, method="ld_equal_tailed", generator=np.random.default_rng(0), n_jobs=1
    )
    lower, upper = simultaneous_band(n)
    between = np.concatenate([[-1], errors])  # a point at which 0, 1, ... n draws lie at or below
    # opda simulates 100,000 samples, which limits its accuracy.
    np.testing.assert_allclose(lower, low.cdf(between), atol=2e-3)
    np.testing.assert_allclose(upper, high.cdf(between), atol=2e-3)


@pytest.mark.parametrize("band", ["exact", "ks", "dkw"])
@pytest.mark.parametrize(("n", "confidence"), [(16, 0.95), (60, 0.8)])
def test_simultaneous_coverage_of_the_bands(band, n, confidence):
    rng = np.random.default_rng(1)
    trials = 4000
    uniform = np.sort(rng.random((trials, n)), axis=1)
    lower, upper = simultaneous_band(n, confidence, band)
    # F(x) = x is below the band before the k-th draw where k - 1 draws are below it, above it right after.
    inside = np.all((uniform >= lower[1:]) & (uniform <= upper[:-1]), axis=1).mean()
    three_sigma = 3 * np.sqrt(confidence * (1 - confidence) / trials)
    assert inside >= confidence - three_sigma
    if band != "dkw":  # exact, not conservative
        assert inside <= confidence + three_sigma


def test_exact_band_is_tighter_for_the_best_models():
    exact, constant = simultaneous_band(100)[1], simultaneous_band(100, band="ks")[1]
    assert exact[0] < constant[0] / 1.5
    assert exact[50] < constant[50] * 1.25


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [((0,), "n = 0: must be"), ((5, 1.0), "confidence = 1.0: must be"), ((5, 0.9, "x"), "band = x: unknown")],
)
def test_invalid_band_arguments(arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        simultaneous_band(*arguments)


def test_describe_spaces():
    frame = pd.DataFrame({"space": ["a"] * 4, "error_percent": [1.0, 2, 3, 6], "failed": [False, False, False, True]})
    row = describe_spaces(frame).iloc[0]
    assert (row["n"], row["failed"], row["min"], row["median"], row["mean"], row["max"]) == (4, 1, 1, 2.5, 3, 6)
    interval = stats.ttest_1samp([1.0, 2, 3, 6], 0).confidence_interval()
    assert (row["mean_lower"], row["mean_upper"]) == pytest.approx((interval.low, interval.high))
