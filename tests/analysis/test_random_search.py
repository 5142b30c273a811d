import numpy as np
import pandas as pd
import pytest

from analysis.random_search import expected_best, models_needed, random_search_by, random_search_curve


def test_expected_best_equals_monte_carlo():
    rng = np.random.default_rng(0)
    errors = rng.integers(5, 30, 40).astype(float)  # with ties
    weights = rng.random(40)
    for m in (1, 3, 10):
        drawn = rng.choice(errors, p=weights / weights.sum(), size=(100_000, m)).min(axis=1)
        assert expected_best(errors, m, weights) == pytest.approx(drawn.mean(), abs=5 * drawn.std() / np.sqrt(100_000))
    assert expected_best(errors, 1) == pytest.approx(errors.mean())
    assert expected_best(errors, [[1, 1e9]]).shape == (1, 2)
    assert expected_best(errors, 1e9) == pytest.approx(errors.min())


@pytest.mark.parametrize("n", [1, 7, 61])
def test_curve_and_band_agree_with_opda(n):
    opda = pytest.importorskip("opda.nonparametric")
    errors = np.random.default_rng(n).normal(20, 3, n)
    draws = np.array([1.0, 2, 5, 16])
    mine = random_search_curve(errors, draws=draws)
    dist = opda.EmpiricalDistribution(errors, a=0, b=100)
    np.testing.assert_allclose(mine["expected"], dist.average_tuning_curve(draws, minimize=True))
    np.testing.assert_allclose(mine["median"], dist.quantile_tuning_curve(draws, q=0.5, minimize=True))
    low, _, high = opda.EmpiricalDistribution.confidence_bands(
        errors, 0.95, a=0, b=100, method="ld_equal_tailed", generator=np.random.default_rng(0), n_jobs=1
    )
    # A smaller error is a larger distribution function: the upper function makes the lower end.
    ends = [np.asarray(d.quantile_tuning_curve(draws, q=0.5, minimize=True)) for d in (high, low)]
    off = np.mean([~np.isclose(mine[name], end) for name, end in zip(("lower", "upper"), ends, strict=True)])
    assert off <= 0.15  # opda simulates its level: a quantile may fall on the next model


def test_simultaneous_coverage_of_the_band():
    rng, covered = np.random.default_rng(1), 0
    for _ in range(200):
        result = random_search_curve(rng.random(60) * 100)
        truth = 100 * (1 - 0.5 ** (1 / result["draws"]))
        covered += bool(((result["lower"] <= truth) & (truth <= result["upper"])).all())
    assert covered >= 0.95 * 200 - 10


def test_models_needed():
    errors = np.arange(100.0) + 5
    result = models_needed(errors, 9, probability=0.9)
    assert (result.best, result.share) == pytest.approx((5, 0.1))
    assert result.models == 22  # the smallest m with 1 - 0.9^m >= 0.9
    assert 1 - 0.9**22 >= 0.9 > 1 - 0.9**21
    assert result.lower < 22 < result.upper
    assert models_needed(errors, 1000).models == 1
    assert models_needed(errors, 0).upper > 5 * models_needed(errors, 0).models
    with pytest.raises(ValueError, match="within = -1: must be"):
        models_needed(errors, -1)
    with pytest.raises(ValueError, match="probability = 1: must be"):
        models_needed(errors, 1, probability=1)


def test_random_search_by_has_one_curve_per_space():
    frame = pd.DataFrame({"space": ["a"] * 8 + ["b"] * 4, "error_percent": np.arange(12.0)})
    result = random_search_by(frame)
    assert result.groupby("space")["draws"].max().to_dict() == {"a": 8, "b": 4}
    assert result.groupby("space", sort=False)["expected"].first().tolist() == [3.5, 9.5]
