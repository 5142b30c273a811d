import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.error_distributions import EDF_COLUMNS, edf, edf_by

errors_of_models = st.lists(st.integers(0, 40).map(lambda x: x / 2), min_size=1, max_size=30)


def value_at(curve: pd.DataFrame, e: float, column: str = "fraction") -> float:
    """F(e) read off the frame: the first row whose right end is not below e."""
    return float(curve[column][np.searchsorted(curve["error"].to_numpy(), e, side="left")])


@given(errors_of_models, st.floats(-1, 21))
def test_it_is_the_fraction_of_models_strictly_below(errors, e):
    assert value_at(edf(errors), e) == pytest.approx(np.mean(np.array(errors) < e))
    assert value_at(edf(errors), errors[0]) == pytest.approx(np.mean(np.array(errors) < errors[0]))


@given(errors_of_models, st.data())
def test_weights_count_as_repetitions(errors, data):
    repeats = data.draw(st.lists(st.integers(1, 4), min_size=len(errors), max_size=len(errors)))
    weighted, repeated = edf(errors, repeats), edf(np.repeat(errors, repeats))
    np.testing.assert_allclose(weighted["fraction"], repeated["fraction"])


@given(errors_of_models)
def test_the_band_holds_the_curve_and_is_monotone(errors):
    curve = edf(errors)
    assert list(curve) == list(EDF_COLUMNS)
    assert (curve["lower"] <= curve["fraction"] + 1e-12).all()
    assert (curve["fraction"] <= curve["upper"] + 1e-12).all()
    for column in ("fraction", "lower", "upper"):
        assert curve[column].is_monotonic_increasing
    assert curve["fraction"].iloc[0] == 0
    assert curve["fraction"].iloc[-1] == 1
    assert curve["error"].iloc[-1] == np.inf


def test_how_the_band_was_made_is_said():
    assert edf([1, 2, 3])["band"][0] == "exact 95%"
    assert edf(np.arange(3000))["band"][0] == "ks 95%"
    assert edf([1, 2, 3], [1, 1, 2])["band"][0] == "dkw 95% at effective n 2.7 (approximate)"
    assert edf([1, 2, 3], [2, 2, 2])["band"][0] == "exact 95%"
    assert edf([1, 2, 3], [1, 1, 0])["n"][0] == 2


def test_weighted_band_covers_at_least_as_often_as_promised():
    rng = np.random.default_rng(0)
    n, trials, covered = 40, 600, 0
    for _ in range(trials):
        errors, weights = rng.random(n), rng.choice([1.0, 2.0, 4.0], n)
        curve = edf(errors, weights)
        ends = curve["error"].to_numpy()[:-1]
        covered += bool(np.all(ends <= curve["upper"][:-1]) and np.all(ends >= curve["lower"][1:]))
    assert covered / trials >= 0.93


def test_one_curve_per_space():
    frame = pd.DataFrame({"space": ["a", "b", "a"], "error_percent": [3.0, 2.0, 1.0]})
    curves = edf_by(frame)
    assert curves.groupby("space")["n"].first().to_dict() == {"a": 2, "b": 1}
    assert curves.loc[curves["space"] == "a", "error"].tolist() == [1.0, 3.0, np.inf]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (([],), "at least one model"),
        (([1.0, np.nan],), "1 errors are not finite"),
        (([1.0, 2.0], [1.0]), "weights has shape"),
        (([1.0], [-1.0]), "nonnegative"),
    ],
)
def test_mistakes_are_named(arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        edf(*arguments)


def test_a_hundred_thousand_models_take_no_time():
    from time import perf_counter

    errors = np.random.default_rng(0).random(100_000)
    edf(errors[:10])
    start = perf_counter()
    edf(errors)
    assert perf_counter() - start < 1.0  # 0.05 s where nothing else runs
