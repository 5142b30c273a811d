import numpy as np
import pandas as pd
import pytest
from scipy import stats

from analysis.compare import COMPARISON_COLUMNS, compare_spaces, describe_spaces
from analysis.kolmogorov_smirnov import holm, kolmogorov_smirnov
from analysis.matching import complexity_weights, effective_sample_size


def two_spaces(rng, n=60, effect=0.0, confounded=True):
    """Errors fall with macs; space b has larger models, so that it looks better than it is."""
    macs_a, macs_b = rng.uniform(1, 3, n), rng.uniform(1, 3, n)
    if confounded:
        macs_b = 3 - 2 * rng.beta(1, 2, n)
    macs = np.concatenate([macs_a, macs_b])
    error = 20 - 4 * macs + rng.normal(0, 1, 2 * n) + np.repeat([0, effect], n)
    return pd.DataFrame({"space": np.repeat(["a", "b"], n), "macs": macs, "error_percent": error})


def test_matching_makes_every_space_uniform_over_the_common_range():
    frame = two_spaces(np.random.default_rng(0), n=200)
    match = complexity_weights(frame)
    low = frame.groupby("space")["macs"].min().max()
    high = frame.groupby("space")["macs"].max().min()
    assert (match.edges[0], match.edges[-1]) == (low, high)
    assert match.bins == 10
    for name in "ab":
        mine = (frame["space"] == name).to_numpy()
        assert match.weights[mine].sum() == pytest.approx(1)
        per_bin = np.bincount(
            match.strata[mine & (match.strata >= 0)], weights=match.weights[mine & (match.strata >= 0)]
        )
        np.testing.assert_allclose(per_bin, 0.1)
        assert match.effective_n[name] == pytest.approx(effective_sample_size(match.weights[mine]))
        assert match.models[name] + match.outside[name] == 200
    outside = (frame["macs"] < low) | (frame["macs"] > high)
    assert (match.weights[outside] == 0).all()


def test_matching_agrees_with_the_formula_of_nds():
    """w_i = 1 / (histogram[bin(i)] * bins), as in the notebook of the paper, on models strictly inside."""
    frame = two_spaces(np.random.default_rng(1), n=300)
    match = complexity_weights(frame, bins=5)
    mine = ((frame["space"] == "a") & (match.strata >= 0)).to_numpy()
    macs = frame["macs"].to_numpy()[mine]
    counts, edges = np.histogram(macs, bins=5, range=(match.edges[0], match.edges[-1]))
    place = np.clip(np.digitize(macs, edges) - 1, 0, 4)
    np.testing.assert_allclose(match.weights[mine], 1 / (counts[place] * 5))


def test_matching_refuses_spaces_without_overlap_and_warns_of_little():
    frame = pd.DataFrame({"space": ["a"] * 5 + ["b"] * 5, "macs": range(10), "error_percent": 1.0})
    with pytest.raises(ValueError, match="a and b cannot be matched by macs: no common range"):
        complexity_weights(frame)
    frame.loc[frame["space"] == "b", "macs"] = [3, 4, 4, 9, 9]
    with pytest.raises(ValueError, match="only 2 models of a in the common range"):
        complexity_weights(frame)
    skewed = pd.DataFrame({"space": ["a"] * 20 + ["b"] * 20, "macs": [*range(20), *([15, 16, 19] * 6), 16, 17]})
    assert any("overlap is poor" in warning for warning in complexity_weights(skewed).warnings)
    with pytest.raises(ValueError, match="bins is 10"):
        complexity_weights(skewed, bins=10)


def test_matching_removes_a_difference_that_is_only_complexity():
    rng = np.random.default_rng(2)
    plain, matched = [], []
    for _ in range(60):
        frame = two_spaces(rng)
        plain.append(compare_spaces(frame, match=None)["difference_p"][0])
        matched.append(compare_spaces(frame)["difference_p"][0])
    assert np.mean(np.array(plain) < 0.05) > 0.8  # space b is larger, and seems better
    assert np.mean(np.array(matched) < 0.05) < 0.15


@pytest.mark.parametrize("match", ["macs", None])
def test_the_interval_covers_the_true_difference(match):
    rng, covered, trials = np.random.default_rng(3), 0, 200
    for _ in range(trials):
        found = compare_spaces(two_spaces(rng, n=24, effect=1.0, confounded=False), match=match).iloc[0]
        covered += found["difference_lower"] <= -1.0 <= found["difference_upper"]
    # Percentile intervals of 24 models a space: a little under 95 %, never by much.
    assert 0.89 <= covered / trials <= 0.99


@pytest.mark.parametrize(("n_a", "n_b"), [(200, 200), (300, 100)])
def test_models_needed_are_models_to_train(n_a, n_b):
    """Half of the models lie outside the common range: they are trained all the same.

    If the difference is the one these models can see, as many are needed; half of it needs four times as many.
    """
    rng = np.random.default_rng(6)
    macs = np.concatenate([10 ** rng.uniform(6, 7, n_a), 3 * 10 ** rng.uniform(6, 7, n_b)])
    frame = pd.DataFrame(
        {"space": ["a"] * n_a + ["b"] * n_b, "macs": macs, "error_percent": rng.normal(10, 1, n_a + n_b)}
    )
    a = frame["space"] == "a"
    before = compare_spaces(frame).iloc[0]

    def needed(difference):
        moved = frame["error_percent"] + a * (difference - before["difference"])
        found = compare_spaces(frame.assign(error_percent=moved)).iloc[0]
        assert found["detectable"] == pytest.approx(before["detectable"])
        return found["models_needed"]

    seen = needed(before["detectable"])
    assert needed(before["detectable"] / 2) == pytest.approx(4 * seen, abs=4)
    if n_a == n_b:
        assert seen == pytest.approx(200, abs=1)
    else:  # as many from each space need fewer in all than these 400, most of them from one
        assert 100 < seen < 200
    assert before["effective_n_a"] < n_a / 2


def test_columns_and_plain_numbers():
    frame = two_spaces(np.random.default_rng(5), n=50)
    found = compare_spaces(frame, match=None)
    promised = [name for names in COMPARISON_COLUMNS for name in names.split(", ")]
    assert sorted(found.columns) == sorted(promised)
    row = found.iloc[0]
    a, b = (frame.loc[frame["space"] == name, "error_percent"] for name in "ab")
    assert row["difference"] == pytest.approx(a.mean() - b.mean())
    assert row["ks"] == pytest.approx(stats.ks_2samp(a, b).statistic)
    assert row["ks_p"] == pytest.approx(stats.ks_2samp(a, b).pvalue)
    assert row["difference_p"] == pytest.approx(stats.ttest_ind(a, b, equal_var=False).pvalue)
    assert (row["min_a"], row["n_a"], row["effective_n_a"]) == pytest.approx((a.min(), 50, 50))
    pd.testing.assert_frame_equal(found, compare_spaces(frame, match=None))  # no hidden chance


def test_detectable_difference_is_what_four_of_five_repetitions_see():
    rng = np.random.default_rng(6)
    n = 40
    promised = compare_spaces(two_spaces(rng, n=2000, confounded=False), match=None)["detectable"][0] * np.sqrt(
        2000 / n
    )
    seen = [
        compare_spaces(two_spaces(rng, n=n, effect=promised, confounded=False), match=None)["difference_p"][0] < 0.05
        for _ in range(300)
    ]
    assert np.mean(seen) == pytest.approx(0.8, abs=0.07)


def test_every_pair_is_compared_and_p_values_are_corrected():
    rng = np.random.default_rng(7)
    frame = pd.concat([two_spaces(rng), two_spaces(rng).assign(space="c")])
    found = compare_spaces(frame)
    assert list(zip(found["a"], found["b"], strict=True)) == [("a", "b"), ("a", "c"), ("b", "c")]
    assert (found["ks_p_holm"] >= found["ks_p"]).all()


def test_holm_by_hand():
    np.testing.assert_allclose(holm(np.array([0.01, 0.04, 0.03])), [0.03, 0.06, 0.06])


def test_one_space_cannot_be_compared():
    with pytest.raises(ValueError, match="at least two"):
        compare_spaces(pd.DataFrame({"space": ["a", "a"], "error_percent": [1.0, 2.0], "macs": [1, 2]}))


def test_stratified_kolmogorov_smirnov_keeps_its_level():
    rng, below = np.random.default_rng(8), 0
    trials = 120
    for _ in range(trials):
        strata = rng.integers(0, 3, 60)
        first = np.concatenate([np.ones(30, bool), np.zeros(30, bool)])
        errors = rng.integers(0, 30, 60) + 10.0 * strata  # ties, and a strong effect of the stratum
        below += kolmogorov_smirnov(errors, first, strata, rng).p_value < 0.1
    assert below / trials < 0.1 + 3 * np.sqrt(0.09 / trials)


def test_stratified_kolmogorov_smirnov_statistic_by_hand():
    errors = np.array([1.0, 2, 3, 4, 5, 6])
    first = np.array([True, True, False, True, False, False])
    strata = np.array([0, 1, 0, 0, 0, 1])
    # weights: bin 0 holds two of each space (1/4 each), bin 1 one of each (1/2 each)
    found = kolmogorov_smirnov(errors, first, strata, np.random.default_rng(0))
    assert found.statistic == pytest.approx(0.75)  # after error 2: 1/4 + 1/2 of the first, none of the second


def test_description_of_a_space():
    frame = pd.DataFrame({"space": ["a"] * 4, "error_percent": [1.0, 2, 3, 6], "failed": [False, False, False, True]})
    row = describe_spaces(frame).iloc[0]
    assert (row["n"], row["failed"], row["min"], row["median"], row["mean"], row["max"]) == (4, 1, 1, 2.5, 3, 6)
    interval = stats.ttest_1samp([1.0, 2, 3, 6], 0).confidence_interval()
    assert (row["mean_lower"], row["mean_upper"]) == pytest.approx((interval.low, interval.high))


def test_area_is_the_area_between_the_curves():
    frame = two_spaces(np.random.default_rng(9), n=80)
    found = compare_spaces(frame, match=None, area_limit=14.0).iloc[0]
    grid = np.linspace(0, 14, 200_001)
    areas = []
    for name in "ab":
        e = np.sort(frame.loc[frame["space"] == name, "error_percent"])
        areas.append(np.mean(np.searchsorted(e, grid, side="left") / len(e)))
    assert found["area"] == pytest.approx(areas[0] - areas[1], abs=1e-4)
    assert found["area_lower"] < found["area"] < found["area_upper"]
    worst = frame["error_percent"].max()
    whole = compare_spaces(frame, match=None, area_limit=worst).iloc[0]
    assert whole["area"] == pytest.approx(-whole["difference"] / worst)
    with pytest.raises(ValueError, match="area_limit is 0"):
        compare_spaces(frame, match=None, area_limit=0)


@pytest.mark.parametrize("match", ["macs", None])
def test_order_of_curves(match):
    rng = np.random.default_rng(10)
    n = 200
    macs = rng.uniform(1, 3, 2 * n)

    def told(a, b):
        frame = pd.DataFrame({"space": np.repeat(["a", "b"], n), "macs": macs, "error_percent": np.concatenate([a, b])})
        return compare_spaces(frame, match=match).iloc[0]

    shifted = told(rng.normal(10, 1, n), rng.normal(11, 1, n))
    assert shifted["order"] == "a dominates"
    assert shifted["lead_p"] < 0.001 < shifted["lag_p"]
    assert told(rng.normal(11, 1, n), rng.normal(10, 1, n))["order"] == "b dominates"
    assert told(rng.normal(10, 3, n), rng.normal(10, 0.5, n))["order"] == "the curves cross"
    assert told(rng.normal(10, 1, n), rng.normal(10, 1, n))["order"] == "not decided"


def test_one_sided_distances_are_scipys():
    rng = np.random.default_rng(11)
    frame = two_spaces(rng, n=60, effect=0.3, confounded=False)
    found = compare_spaces(frame, match=None).iloc[0]
    a, b = (frame.loc[frame["space"] == name, "error_percent"] for name in "ab")
    assert found["lead"] == pytest.approx(stats.ks_2samp(a, b, alternative="greater").statistic)
    assert found["lag_p"] == pytest.approx(stats.ks_2samp(a, b, alternative="less").pvalue)
