import numpy as np
import pytest
from scipy import stats

from analysis.adjustment import CommonCurve
from analysis.effects import BestEffects, MeanEffects, cross_fit
from benchmarks.calibration.comparison import MACRO
from benchmarks.calibration.refine import run


@pytest.fixture
def population():
    rng = np.random.default_rng(0)
    position = rng.uniform(0, 2, 200)
    kept = rng.random((200, 6)) < [0.1, 0.3, 0.5, 0.5, 0.7, 0.9]
    errors = 20 - 2 * position + rng.exponential(size=200) - 1.5 * kept[:, 2]
    return errors, position, kept


def test_without_complexity_the_effect_is_the_mean_inside_minus_the_mean_of_all(population):
    errors, _, kept = population
    effects = MeanEffects(errors, None, kept)
    expected = [errors[column].mean() - errors.mean() for column in kept.T]
    assert effects.effect == pytest.approx(expected)
    assert effects.adjusted == pytest.approx(errors)


def test_a_trend_over_complexity_does_not_change_the_effect(population):
    errors, position, kept = population
    effects, shifted = (MeanEffects(e, position, kept) for e in (errors, errors + 5 * position))
    assert shifted.effect == pytest.approx(effects.effect)
    assert shifted.standard_error == pytest.approx(effects.standard_error)


def test_the_effect_is_that_of_the_residuals_from_one_curve(population):
    errors, position, kept = population
    adjusted = CommonCurve(position, np.zeros(200, dtype=bool)).remove(errors)
    expected = [adjusted[column].mean() - adjusted.mean() for column in kept.T]
    assert MeanEffects(errors, position, kept).effect == pytest.approx(expected)


def test_effects_inside_and_outside_average_to_zero(population):
    errors, position, kept = population
    inside, outside = (MeanEffects(errors, position, mask) for mask in (kept, ~kept))
    share = kept.mean(axis=0)
    assert share * inside.effect + (1 - share) * outside.effect == pytest.approx(np.zeros(6), abs=1e-12)


def test_standard_errors_match_the_spread_of_estimates_with_a_random_number_inside():
    rng, estimates, errors = np.random.default_rng(1), [], []
    for _ in range(800):
        position, kept = rng.uniform(0, 2, 80), rng.random((80, 1)) < 0.4
        effects = MeanEffects(-2 * position - 3 * kept[:, 0] + rng.normal(size=80), position, kept)
        estimates.append(effects.effect[0])
        errors.append(effects.standard_error[0])
    assert np.mean(estimates) == pytest.approx(-3 * 0.6 * 77 / 80, abs=0.03)  # the curve has three coefficients
    assert np.sqrt(np.mean(np.square(errors))) == pytest.approx(np.std(estimates), rel=0.1)


def test_tails_of_one_restriction_are_those_of_its_permutation_test(population):
    errors, _, kept = population
    effects = MeanEffects(errors, None, kept[:, [3]])
    low, _ = effects.null_tails(np.random.default_rng(0))
    tail = stats.t.cdf(effects.statistic(), effects.degrees)[0]
    exact = stats.permutation_test(
        (errors[kept[:, 3]], errors[~kept[:, 3]]), lambda a, b: a.mean() - b.mean(), alternative="less", rng=0
    )
    assert np.mean(low <= tail) == pytest.approx(exact.pvalue, abs=0.05)


def test_one_model_more_or_less_inside_does_not_break_constant_errors():
    effects = MeanEffects(np.full(30, 12.0), np.linspace(0, 1, 30), np.arange(30)[:, None] < 12)
    assert effects.effect == pytest.approx([0], abs=1e-9)
    assert np.all(np.isfinite(effects.statistic()))


def test_the_expected_best_is_the_mean_over_subsets():
    rng = np.random.default_rng(0)
    errors, kept = rng.normal(size=60), np.ones((60, 1), dtype=bool)
    kept[30:] = False
    subsets = rng.permuted(np.tile(errors[:30], (40_000, 1)), axis=1)[:, :3].min(axis=1)
    all_subsets = rng.permuted(np.tile(errors, (40_000, 1)), axis=1)[:, :3].min(axis=1)
    best = BestEffects(errors, kept, 3)
    assert best.effect[0] == pytest.approx(subsets.mean() - all_subsets.mean(), abs=0.03)


def test_the_best_of_one_model_is_the_mean(population):
    errors, _, kept = population
    effects = MeanEffects(errors, None, kept)
    assert BestEffects(errors, kept, 1).effect == pytest.approx(effects.effect)


def test_the_expected_best_needs_enough_models_on_both_sides():
    kept = np.arange(100)[:, None] < [5, 50, 95]
    effect = BestEffects(np.random.default_rng(0).normal(size=100), kept, 10).effect
    assert np.isnan(effect).tolist() == [True, False, True]


def test_cross_fitting_removes_the_optimism_of_the_choice():
    rng, naive, fitted = np.random.default_rng(2), [], []
    for _ in range(40):
        errors, kept = rng.normal(size=120), rng.random((120, 50)) < 0.5
        naive.append(MeanEffects(errors, None, kept).effect.min())
        result = cross_fit(errors, None, kept, rng, splits=4)
        assert result is not None
        fitted.append(result.effect)
    assert np.mean(naive) < -0.15
    assert abs(np.mean(fitted)) < 0.05


def test_cross_fitting_needs_models_in_both_halves():
    kept = np.arange(40)[:, None] < 6
    assert cross_fit(np.arange(40.0), None, kept, np.random.default_rng(0)) is None


@pytest.mark.skipif(not MACRO.exists(), reason=f"{MACRO.name} is not in ../shared/data")
def test_rates_on_nas_bench_macro():
    row = run(6, sizes=(100,)).iloc[0]
    assert row["false better"] == row["false worse"] == 0
    assert min(row["best covered"], row["chosen covered"]) > 60
    assert row["naive"] < row["true"]
