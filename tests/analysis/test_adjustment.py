import numpy as np
import pytest
from scipy import stats

from analysis.adjustment import CommonCurve, Contrast, ErrorCurve, smallest_p_values, smoothness


def test_unmatched_contrast_is_welchs_t_test():
    rng = np.random.default_rng(0)
    a, b = rng.normal(0, 1, 12), rng.normal(1, 3, 30)
    scipy = stats.ttest_ind(a, b, equal_var=False)
    contrast = Contrast(ErrorCurve(a), ErrorCurve(b))
    interval = scipy.confidence_interval()
    assert contrast.p_value == pytest.approx(scipy.pvalue)
    assert contrast.degrees == pytest.approx(scipy.df)
    assert contrast.difference - contrast.half_width(0.05) == pytest.approx(interval.low)
    assert contrast.difference + contrast.half_width(0.05) == pytest.approx(interval.high)


def test_average_of_a_natural_spline_is_exact():
    """Errors that lie on a natural spline with the curve's knots are reproduced, and so is their integral."""
    x = np.sort(np.random.default_rng(1).uniform(0, 3, 60))
    curve = ErrorCurve(30 - 2 * x, x)
    _, average = curve.average(0.5, 2.5)
    assert average.mean == pytest.approx(30 - 2 * 1.5)
    assert average.variance == pytest.approx(0, abs=1e-20)
    _, point = curve.average(1.0, 1.0)
    assert point.mean == pytest.approx(28)


@pytest.mark.parametrize("n", [16, 40])
def test_variance_and_degrees_equal_the_matrix_formulas(n):
    """HC2 and Bell & McCaffrey's degrees of freedom, written with n x n matrices."""
    rng = np.random.default_rng(n)
    x, y = rng.uniform(0, 2, n), rng.normal(size=n)
    curve = ErrorCurve(y, x)
    _, average = curve.average(0.3, 1.9)
    basis = np.column_stack([curve_of_unit(x, n, j) for j in range(len(curve.coefficients))])
    hat = basis @ np.linalg.pinv(basis)
    remove = np.eye(n) - hat
    grid = np.linspace(0.3, 1.9, 20_001)
    unit = np.column_stack([curve_of_unit(x, n, j, grid) for j in range(basis.shape[1])])
    weights = np.linalg.pinv(basis).T @ unit.mean(axis=0)
    scale = np.diag(weights**2 / (1 - np.diag(hat)))
    form = remove @ scale @ remove
    assert average.variance == pytest.approx(y @ form @ y, rel=1e-3)
    assert average.degrees == pytest.approx(np.trace(form) ** 2 / np.trace(form @ form), rel=1e-3)
    assert average.effective_n == pytest.approx(1 / np.sum(weights**2), rel=1e-3)


def curve_of_unit(x, n, j, at=None):
    """One column of a natural spline basis, built from scipy's interpolation through unit vectors."""
    from scipy.interpolate import CubicSpline

    knots = np.quantile(np.unique(x), np.linspace(0, 1, smoothness(n) + 1), method="inverted_cdf")
    return CubicSpline(knots, np.eye(len(knots))[j], bc_type="natural")(x if at is None else at)


def test_distinct_complexities_limit_the_degrees_of_freedom():
    rng = np.random.default_rng(2)
    x = np.repeat([0.0, 1.0], 20)
    curve = ErrorCurve(rng.normal(size=40) + 3 * x, x)
    assert len(curve.coefficients) == 2
    same = ErrorCurve(np.arange(5.0), np.ones(5))
    assert same.average(1.0, 1.0)[1].mean == pytest.approx(2)


def test_model_with_full_leverage_has_the_average_variance():
    """The only model of a complexity has no residual; its variance is that of the other models, not zero."""
    rng = np.random.default_rng(3)
    ratios = []
    for _ in range(400):
        x = np.append(np.zeros(15), 1.0)
        _, end = ErrorCurve(rng.normal(size=16), x).average(1.0, 1.0)
        ratios.append(end.variance)
    assert np.mean(ratios) == pytest.approx(1, abs=0.1)
    assert end.degrees == pytest.approx(14)


def test_smallest_p_values_are_uniform_for_one_contrast_and_agree_with_tukey_for_all_pairs():
    rng = np.random.default_rng(4)
    curves = [ErrorCurve(rng.normal(size=400)) for _ in range(4)]
    one = smallest_p_values([Contrast(curves[0], curves[1])], rng)
    assert stats.kstest(one, "uniform").pvalue > 0.001
    pairs = [Contrast(curves[i], curves[j]) for i in range(4) for j in range(i + 1, 4)]
    level = np.quantile(smallest_p_values(pairs, rng), 0.05)
    # Studentized range of four means; the spaces' variances are nearly the same.
    tukey = 2 * stats.norm.sf(stats.studentized_range.ppf(0.95, 4, np.inf) / np.sqrt(2))
    assert level == pytest.approx(tukey, rel=0.2)
    assert level > 0.05 / 6


def test_removing_the_common_trend_keeps_the_difference():
    rng = np.random.default_rng(5)
    x, first = rng.uniform(0, 3, 80), np.arange(80) < 40
    errors = 20 - 3 * x + 1.5 * first
    moved = CommonCurve(x, first).remove(errors)
    np.testing.assert_allclose(moved, 20 - 3 * x.mean() + 1.5 * first)
    np.testing.assert_allclose(CommonCurve(x, first).remove(np.stack([errors, 2 * errors]))[1], 2 * moved)


def test_residuals_have_the_variance_of_the_errors():
    rng = np.random.default_rng(6)
    x, first = np.concatenate([np.zeros(14), [1.0, 2.0]]), np.arange(16) < 8
    curve = CommonCurve(x + rng.uniform(0, 0.1, 16), first)
    residuals = np.array([curve.residuals(rng.normal(size=16)) for _ in range(4000)])
    np.testing.assert_allclose(residuals.var(axis=0), 1, atol=0.12)
