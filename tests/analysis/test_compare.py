from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from analysis.compare import COMPARISON_COLUMNS, check_same_training, compare_spaces
from analysis.matching import complexity_weights
from analysis.rows import Source


def two_spaces(rng, n=60, effect=0.0, confounded=True):
    """Errors fall with macs; space b has larger models, so that it looks better than it is."""
    macs_a, macs_b = rng.uniform(1, 3, n), rng.uniform(1, 3, n)
    if confounded:
        macs_b = 3 - 2 * rng.beta(1, 2, n)
    macs = np.concatenate([macs_a, macs_b])
    error = 20 - 4 * macs + rng.normal(0, 1, 2 * n) + np.repeat([0, effect], n)
    return pd.DataFrame({"space": np.repeat(["a", "b"], n), "macs": macs, "error_percent": error})


def test_models_of_unknown_complexity_are_excluded_and_counted():
    frame = two_spaces(np.random.default_rng(0), n=40)
    holes = frame.assign(macs=frame["macs"].where(frame.index % 10 > 0))
    row, without = compare_spaces(holes).iloc[0], compare_spaces(holes.dropna()).iloc[0]
    assert (row["unknown_a"], row["unknown_b"], row["n_a"]) == (4, 4, 36)
    assert row["difference"] == without["difference"]
    assert complexity_weights(holes).unknown == {"a": 4, "b": 4}


def test_matching_removes_a_difference_due_to_complexity():
    rng = np.random.default_rng(2)
    plain, matched = [], []
    for _ in range(60):
        frame = two_spaces(rng)
        plain.append(compare_spaces(frame, match=None)["difference_p"][0])
        matched.append(compare_spaces(frame)["difference_p"][0])
    assert np.mean(np.array(plain) < 0.05) > 0.8  # space b is larger, and seems better
    assert np.mean(np.array(matched) < 0.05) < 0.12


def test_small_difference_along_a_steep_trend_is_detected():
    """Twelve networks of each family over a factor of 160, one family better by 0.9 points at every size."""
    macs = np.geomspace(0.2e9, 32e9, 12)
    curve = 18 + 13 * (macs / macs[0]) ** -0.45
    wiggle = 0.15 * np.resize([1, -1, 0.5, -0.5, -1, 1], 12)
    frame = pd.DataFrame(
        {
            "space": np.repeat(["x", "y"], 12),
            "macs": np.tile(macs, 2),
            "error_percent": np.concatenate([curve + 0.9 + wiggle, curve - wiggle]),
        }
    )
    row = compare_spaces(frame).iloc[0]
    assert row["difference"] == pytest.approx(0.9, abs=0.1)
    assert row["difference_lower"] > 0.3


def test_estimand_is_the_mean_over_log_complexity():
    """Where the difference grows with log macs, its average is that at the geometric middle of the common range."""
    x = np.linspace(0, 4, 200)
    frame = pd.DataFrame(
        {
            "space": np.repeat(["a", "b"], 200),
            "macs": np.exp(np.concatenate([x, x**2 / 4])),  # different densities over the same range
            "error_percent": np.concatenate([20 - x + 0.5 * x, 20 - x**2 / 4]),
        }
    )
    row = compare_spaces(frame).iloc[0]
    ends = [np.quantile(values, [0.05, 0.95]) for values in (x, x**2 / 4)]
    middle = (max(e[0] for e in ends) + min(e[1] for e in ends)) / 2
    assert row["difference"] == pytest.approx(0.5 * middle, abs=1e-6)


@pytest.mark.parametrize("match", ["macs", None])
def test_coverage_of_the_difference(match):
    rng, covered, trials = np.random.default_rng(3), 0, 200
    for _ in range(trials):
        result = compare_spaces(two_spaces(rng, n=24, effect=1.0, confounded=False), match=match).iloc[0]
        covered += result["difference_lower"] <= -1.0 <= result["difference_upper"]
    assert 0.95 - 3 * np.sqrt(0.05 * 0.95 / trials) <= covered / trials


@pytest.mark.parametrize(("n_a", "n_b"), [(200, 200), (300, 100)])
def test_models_needed_counts_models_outside_the_common_range(n_a, n_b):
    """Half of the models are outside the common range, but must be trained too.

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
        result = compare_spaces(frame.assign(error_percent=moved)).iloc[0]
        assert result["detectable"] == pytest.approx(before["detectable"])
        return result["models_needed"]

    seen = needed(before["detectable"])
    assert needed(before["detectable"] / 2) == pytest.approx(4 * seen, abs=4)
    if n_a == n_b:
        assert seen == pytest.approx(200, abs=1)
    else:  # as many from each space need fewer in all than these 400, most of them from one
        assert 100 < seen < 200
    assert before["effective_n_a"] < n_a / 2


def test_unmatched_comparison_equals_scipy():
    frame = two_spaces(np.random.default_rng(5), n=50)
    result = compare_spaces(frame, match=None)
    promised = [name for names in COMPARISON_COLUMNS for name in names.split(", ")]
    assert sorted(result.columns) == sorted(promised)
    row = result.iloc[0]
    a, b = (frame.loc[frame["space"] == name, "error_percent"] for name in "ab")
    assert row["difference"] == pytest.approx(a.mean() - b.mean())
    assert row["ks"] == pytest.approx(stats.ks_2samp(a, b).statistic)
    assert row["ks_p"] == pytest.approx(stats.ks_2samp(a, b).pvalue)
    assert row["difference_p"] == pytest.approx(stats.ttest_ind(a, b, equal_var=False).pvalue)
    assert (row["min_a"], row["n_a"], row["effective_n_a"]) == pytest.approx((a.min(), 50, 50))
    pd.testing.assert_frame_equal(result, compare_spaces(frame, match=None))  # no hidden chance


def test_power_at_the_detectable_difference_is_80_percent():
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


def test_all_pairs_are_compared_with_adjusted_p_values():
    rng = np.random.default_rng(7)
    frame = pd.concat([two_spaces(rng), two_spaces(rng).assign(space="c")])
    result = compare_spaces(frame)
    assert list(zip(result["a"], result["b"], strict=True)) == [("a", "b"), ("a", "c"), ("b", "c")]
    assert (result["ks_p_holm"] >= result["ks_p"]).all()


def test_comparison_needs_two_spaces():
    with pytest.raises(ValueError, match="at least two"):
        compare_spaces(pd.DataFrame({"space": ["a", "a"], "error_percent": [1.0, 2.0], "macs": [1, 2]}))


def test_familywise_error_rate_of_identical_spaces():
    rng, seen, trials = np.random.default_rng(13), 0, 100
    for _ in range(trials):
        position = rng.uniform(0, 1, 6 * 20)
        frame = pd.DataFrame(
            {
                "space": np.repeat(list("abcdef"), 20),
                "macs": np.exp(position),
                "error_percent": 20 - position + rng.exponential(size=120),
            }
        )
        pairs = compare_spaces(frame, match=None)
        seen += bool(((pairs["difference_lower"] > 0) | (pairs["difference_upper"] < 0)).any())
    assert seen / trials < 0.05 + 3 * np.sqrt(0.05 * 0.95 / trials)


@pytest.mark.parametrize("match", ["macs", None])
def test_p_values_agree_with_intervals(match):
    rng = np.random.default_rng(14)
    x = rng.uniform(0, 1, 200)
    errors = 20 - x + rng.normal(size=200) + np.repeat([0, 0.2, 0.5, 0.8, 1.1], 40)
    frame = pd.DataFrame({"space": np.repeat(list("abcde"), 40), "macs": np.exp(x), "error_percent": errors})
    pairs = compare_spaces(frame, match=match)
    excluded = (pairs["difference_lower"] > 0) | (pairs["difference_upper"] < 0)
    assert 0 < excluded.sum() < len(pairs)
    assert ((pairs["difference_p"] < 0.05) == excluded).all()


def test_pair_without_overlap_does_not_affect_other_pairs():
    rng = np.random.default_rng(15)
    frame = pd.DataFrame(
        {
            "space": np.repeat(list("abc"), 20),
            "macs": np.concatenate([rng.uniform(1, 2, 20), rng.uniform(1.5, 4, 20), rng.uniform(3, 5, 20)]),
            "error_percent": rng.normal(10, 1, 60),
        }
    )
    pairs = compare_spaces(frame).set_index(["a", "b"])
    assert pairs.loc[("a", "c"), "problem"].startswith("a and c cannot be matched by macs: no common range")
    assert np.isnan(pairs.loc[("a", "c"), "difference"])
    assert np.isfinite(pairs["difference"]).sum() == 2
    with pytest.raises(ValueError, match="a and c cannot be matched"):
        compare_spaces(frame[frame["space"] != "b"])


def test_area_is_the_area_between_the_edfs():
    frame = two_spaces(np.random.default_rng(9), n=80)
    result = compare_spaces(frame, match=None, area_limit=14.0).iloc[0]
    grid = np.linspace(0, 14, 200_001)
    areas = []
    for name in "ab":
        e = np.sort(frame.loc[frame["space"] == name, "error_percent"])
        areas.append(np.mean(np.searchsorted(e, grid, side="left") / len(e)))
    assert result["area"] == pytest.approx(areas[0] - areas[1], abs=1e-4)
    assert result["area_lower"] < result["area"] < result["area_upper"]
    worst = frame["error_percent"].max()
    whole = compare_spaces(frame, match=None, area_limit=worst).iloc[0]
    assert whole["area"] == pytest.approx(-whole["difference"] / worst)
    with pytest.raises(ValueError, match="area_limit = 0: must be"):
        compare_spaces(frame, match=None, area_limit=0)


@pytest.mark.parametrize("match", ["macs", None])
def test_order_of_the_edfs(match):
    rng = np.random.default_rng(10)
    n = 200
    macs = rng.uniform(1, 3, 2 * n)

    def compared(a, b):
        frame = pd.DataFrame({"space": np.repeat(["a", "b"], n), "macs": macs, "error_percent": np.concatenate([a, b])})
        return compare_spaces(frame, match=match).iloc[0]

    shifted = compared(rng.normal(10, 1, n), rng.normal(11, 1, n))
    assert shifted["order"] == "a dominates"
    assert shifted["lead_p"] < 0.001 < shifted["lag_p"]
    assert compared(rng.normal(11, 1, n), rng.normal(10, 1, n))["order"] == "b dominates"
    assert compared(rng.normal(10, 3, n), rng.normal(10, 0.5, n))["order"] == "the curves cross"
    assert compared(rng.normal(10, 1, n), rng.normal(10, 1, n))["order"] == "not decided"


def test_one_sided_distances_equal_scipy():
    rng = np.random.default_rng(11)
    frame = two_spaces(rng, n=60, effect=0.3, confounded=False)
    result = compare_spaces(frame, match=None).iloc[0]
    a, b = (frame.loc[frame["space"] == name, "error_percent"] for name in "ab")
    assert result["lead"] == pytest.approx(stats.ks_2samp(a, b, alternative="greater").statistic)
    assert result["lag_p"] == pytest.approx(stats.ks_2samp(a, b, alternative="less").pvalue)


def table(**columns):
    return pd.DataFrame({"space": list("aabb"), "error_percent": [1.0, 2, 3, 4], "macs": 1e6, **columns})


def study(name, recipe_id, **recipe):
    return Source(name, Path(name), {"recipe_id": recipe_id, "data_id": "d", "config": {"recipe": recipe}})


def test_models_with_the_same_training_are_accepted():
    assert check_same_training(table()) == []
    assert check_same_training(table(recipe_id="r", data_id=None)) == []


def test_different_recipes_are_rejected_with_the_differing_settings():
    studies = [study("a", "r1", epochs=1, optimizer={"lr": 0.1}), study("b", "r2", epochs=2, optimizer={"lr": 0.1})]
    frame = table(recipe_id=["r1", "r1", "r2", "r2"])
    with pytest.raises(
        ValueError, match=r"^across = none: must include recipe to compare .* different recipes \(epochs: 1, 2\)$"
    ):
        check_same_training(frame, studies=studies)
    warnings = check_same_training(frame, ["recipe"], studies)
    assert warnings[0].startswith("Warning: the models were trained with different recipes (epochs: 1, 2)")


def test_message_has_ids_without_a_configuration():
    with pytest.raises(ValueError, match=r"different data \(data_id x and y\)"):
        check_same_training(table(data_id=["x", "x", "y", "y"]))


def test_recipe_and_data_must_both_be_accepted():
    frame = table(recipe_id=["r1", "r1", "r2", "r2"], data_id=["x", "x", "y", "y"])
    with pytest.raises(ValueError, match="must include recipe,data"):
        compare_spaces(frame, match=None)
    with pytest.raises(ValueError, match="different data"):
        compare_spaces(frame, match=None, across=["recipe"])
    assert len(compare_spaces(frame, match=None, across=["recipe", "data"])) == 1


def test_unknown_value_of_across():
    with pytest.raises(ValueError, match="across = seed: unknown; must be one of recipe, data"):
        check_same_training(table(), ["seed"])
