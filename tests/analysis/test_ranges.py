import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.ranges import best_range, selection_probabilities


def empirical_bootstrap(values, errors, rng, repeats=20000):
    """RegNet's footnote 4 to the letter: 25 % with replacement, the best one, again and again."""
    n = len(errors)
    draws = max(1, round(n / 4))
    rows = rng.integers(n, size=(repeats, draws))
    best = rows[np.arange(repeats), np.argmin(errors[rows], axis=1)]
    return values[best], best


@pytest.mark.parametrize("n", [16, 100, 500])
def test_closed_form_is_the_law_of_the_empirical_bootstrap(n):
    rng = np.random.default_rng(n)
    errors, values = rng.random(n), rng.random(n)
    chosen, best = empirical_bootstrap(values, errors, rng)
    probability = selection_probabilities(errors, round(n / 4))
    observed = np.bincount(best, minlength=n) / len(best)
    assert np.abs(observed - probability).max() < 4 * np.sqrt(0.25 * 0.75 / len(best))
    exact = best_range(values, errors)
    ends = np.sort(values)
    for quantile, found in ((0.025, exact.lower), (0.5, exact.likely), (0.975, exact.upper)):
        place, simulated = np.searchsorted(ends, found), np.quantile(chosen, quantile)
        slack = 0.01  # of probability
        low, high = np.quantile(chosen, [max(0, quantile - slack), min(1, quantile + slack)])
        assert low <= ends[place] <= high, (quantile, found, simulated)


def test_published_figures_of_the_law():
    ranked = np.arange(100.0)
    probability = selection_probabilities(ranked, 25)
    assert probability[0] == pytest.approx(0.221, abs=2e-3)
    assert probability[:12].sum() == pytest.approx(0.959, abs=1e-3)
    assert best_range(ranked, ranked).support == 12
    assert best_range(np.arange(5000.0), np.arange(5000.0)).support == 12  # does not grow with n


@given(st.lists(st.integers(0, 5), min_size=1, max_size=40), st.integers(1, 20))
def test_probabilities_sum_to_one_and_ties_share(errors, draws):
    probability = selection_probabilities(errors, draws)
    assert probability.sum() == pytest.approx(1)
    for value in set(errors):
        part = probability[np.array(errors) == value]
        assert np.ptp(part) < 1e-15
    order = np.argsort(errors, kind="stable")
    assert (np.diff(probability[order]) <= 1e-15).all()


def test_how_many_models_stand_behind_it_is_said():
    errors = np.arange(100.0)
    found = best_range(np.where(errors < 40, 7.0, 1.0), errors)
    assert (found.lower, found.likely, found.upper) == (7, 7, 7)
    assert (found.n, found.draws, found.support) == (100, 25, 12)


def test_mistakes_are_named():
    with pytest.raises(ValueError, match="must be the same"):
        best_range([1, 2], [1.0])
    with pytest.raises(ValueError, match="finite"):
        best_range([1, 2], [1.0, np.nan])
