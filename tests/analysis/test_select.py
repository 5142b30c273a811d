import numpy as np
import pandas as pd
import pytest
from scipy import stats

from analysis.select import SELECT_COLUMNS, pareto_front, select_best, tie_distance
from analysis.shrinkage import shrink
from benchmarks.calibration import selection


def population(rng, n=300, sd=0.4, shape=2.0):
    truth = 6 + rng.gamma(shape, 1.0, n)
    frame = pd.DataFrame({"spec_id": [f"n{i}" for i in range(n)], "status": "ok", "space": "a", "truth": truth})
    return frame.assign(error_percent=truth + rng.normal(0, sd, n), macs=10 ** rng.uniform(6, 8, n))


def test_both_intervals_of_the_selected_best_cover():
    """A small `benchmarks.calibration`: skewed errors, noise given (1 seed) and estimated (3 seeds)."""
    table = selection.run(25, models=(20, 60), noise=(1.0,), trainings=(1, 3), shapes=("gamma",))
    best = table[table["of"] == "best"]
    trials = 25 * len(best)
    for interval in ("expected", "retrained"):
        covered = best[interval].mean() / 100 * trials
        assert stats.binom(trials, 0.93).ppf(0.001) <= covered <= stats.binom(trials, 0.97).ppf(0.999)


def test_the_measured_error_of_the_best_is_optimistic_and_the_estimate_is_not():
    rng, measured, estimated = np.random.default_rng(0), [], []
    for _ in range(15):
        best = select_best(population(rng), 5, noise_sd=0.4)
        measured += list(best["error_percent"] - best["truth"])
        estimated += list(best["estimate"] - best["truth"])
    assert np.mean(measured) < -0.5
    assert abs(np.mean(estimated)) < 0.1


def test_a_large_normal_population_is_shrunk_as_normal_theory_says():
    """Equal variances of errors and noise: half way to the mean, posterior variance 1/2, predictive variance 3/2."""
    rng = np.random.default_rng(1)
    truth = rng.normal(20, 1, 5000)
    measured = truth + rng.normal(0, 1, 5000)
    found = shrink(measured, 1.0)
    middle = np.abs(measured - 20) < 2
    mean = 20 + (measured - 20)[middle] / 2
    np.testing.assert_allclose(found["estimate"][middle], mean, atol=0.15)
    np.testing.assert_allclose(found["lower"][middle], mean - 1.96 * np.sqrt(0.5), atol=0.25)
    np.testing.assert_allclose(found["retrained_upper"][middle], mean + 1.96 * np.sqrt(1.5), atol=0.25)
    assert np.mean((found["estimate"] - truth) ** 2) == pytest.approx(0.5, abs=0.05)


def test_on_a_real_table_a_second_training_is_what_was_estimated(shared_data):
    macro = pd.read_csv(shared_data("nas-bench-macro.csv"), dtype={"arch": str})
    errors = np.stack([100 - macro[f"acc{seed}"] for seed in (1, 2, 3)], axis=1)
    rng, measured, estimated, covered = np.random.default_rng(2), [], [], []
    for _ in range(15):
        some = errors[rng.choice(len(errors), 400, replace=False)]
        best = np.argsort(some[:, 0])[:5]
        found = shrink(some[:, 0], 0.188, rows=best)
        retrained = some[best, 1]
        measured += list(some[best, 0] - retrained)
        estimated += list(found["estimate"] - retrained)
        covered += list((found["retrained_lower"] <= retrained) & (retrained <= found["retrained_upper"]))
    assert np.mean(measured) < -0.15
    assert abs(np.mean(estimated)) < 0.25 * abs(np.mean(measured))
    assert np.mean(covered) > 0.88


@pytest.mark.parametrize("n", [1, 3])
def test_so_few_models_are_each_estimated_from_their_own_error(n):
    x = np.random.default_rng(n).normal(10, 2, n)
    found = shrink(x, 0.3, seeds=4, degrees=5)
    np.testing.assert_array_equal(found["estimate"], x)
    t = stats.t(5).ppf(0.975)
    np.testing.assert_allclose(found["upper"] - x, t * 0.3 / 2)
    np.testing.assert_allclose(x - found["retrained_lower"], t * np.hypot(0.3, 0.3 / 2))


@pytest.mark.parametrize("n", [4, 5, 12])
def test_few_models_are_estimated_too(n):
    x = np.random.default_rng(n).normal(10, 2, n)
    found = shrink(x, 0.3)
    assert len(found) == n
    assert (found["lower"] < found["estimate"]).all()
    assert (found["estimate"] < found["upper"]).all()
    assert (found["retrained_upper"] - found["retrained_lower"] > found["upper"] - found["lower"]).all()
    assert np.abs(found["estimate"] - x).max() < 0.5


def test_equal_errors_have_intervals_of_some_width():
    found = shrink(np.full(30, 8.0), 0.5).iloc[0]
    assert found["upper"] - found["lower"] > 0.1
    assert found["retrained_upper"] - found["retrained_lower"] == pytest.approx(2 * 1.96 * 0.5, rel=0.15)


def test_networks_that_did_not_converge_leave_the_best_alone():
    rng = np.random.default_rng(3)
    x = rng.normal(8, 1, 200)
    with_lost = np.concatenate([x, rng.uniform(85, 90, 10)])
    best = np.argsort(x)[:5]
    alone, together = shrink(x, 0.4, rows=best), shrink(with_lost, 0.4, rows=best)
    np.testing.assert_allclose(together, alone, atol=0.4)  # less than the noise of a training


def test_less_known_noise_and_fewer_seeds_widen_the_intervals():
    x = np.random.default_rng(4).normal(10, 1, 40)

    def widths(**settings):
        found = shrink(x, 0.5, rows=[0], **settings).iloc[0]
        return found["upper"] - found["lower"], found["retrained_upper"] - found["retrained_lower"]

    known = widths()
    assert widths(degrees=3)[1] > 1.1 * known[1]
    assert widths(seeds=4)[0] < 0.7 * known[0]


def test_many_rows_are_interpolated_to_the_same_values():
    rng = np.random.default_rng(5)
    x = 6 + rng.gamma(2, 1, 1000) + rng.normal(0, 0.4, 1000)
    rows = np.argsort(x)[:50]
    few, all_rows = shrink(x, 0.4, rows=rows), shrink(x, 0.4).iloc[rows]
    np.testing.assert_allclose(all_rows.to_numpy(), few.to_numpy(), atol=0.01)


def test_mistakes_in_shrinking_are_named():
    with pytest.raises(ValueError, match="noise_sd = 0: must be positive"):
        shrink([1.0, 2.0], 0)
    with pytest.raises(ValueError, match="finite"):
        shrink([np.nan], 1)
    with pytest.raises(ValueError, match="seeds = 0: must be at least 1"):
        shrink([1.0], 1, seeds=0)
    with pytest.raises(ValueError, match="degrees = 0: must be positive"):
        shrink([1.0], 1, degrees=0)


@pytest.mark.parametrize("n", [2, 20, 400])
def test_of_equal_models_one_in_twenty_is_not_tied_with_the_first(n):
    distance = np.sort(np.random.default_rng(n).normal(size=(4000, n)))
    distance -= distance[:, :1]
    assert np.mean(distance[:, 1:] > tie_distance(n)) == pytest.approx(0.05, abs=0.012)


def test_two_models_are_tied_by_the_usual_two_sided_test():
    assert tie_distance(2) == pytest.approx(stats.norm.ppf(0.975) * np.sqrt(2), rel=1e-3)
    assert tie_distance(2, 8) == pytest.approx(stats.t(8).ppf(0.975) * np.sqrt(2), rel=0.01)


def test_columns_and_what_is_unknown():
    frame = population(np.random.default_rng(3), n=30)
    best = select_best(frame, 4)
    columns = {name for names in SELECT_COLUMNS for name in names.split(", ") if not name.startswith("regime")}
    assert columns <= set(best.columns)
    assert best["estimate"].isna().all()
    assert (best["noise_from"] == "unknown").all()
    assert not best["tied"].any()
    known = select_best(frame, 30, noise_sd=0.4)
    gap = known["error_percent"] - known["error_percent"][0]
    assert (known["tied"] == (gap <= tie_distance(30) * 0.4)).all()


def test_each_space_with_enough_models_is_judged_by_itself():
    rng = np.random.default_rng(6)
    one, other = population(rng, 40), population(rng, 40)
    other = other.assign(space="b", spec_id="m" + other["spec_id"], error_percent=other["error_percent"] + 30)
    both = select_best(pd.concat([one, other]), None, noise_sd=0.4).set_index("spec_id")
    alone = select_best(one, None, noise_sd=0.4).set_index("spec_id")
    np.testing.assert_allclose(both.loc[alone.index, "estimate"], alone["estimate"])


def test_a_model_that_failed_with_one_seed_is_no_candidate():
    frame = pd.DataFrame(
        {
            "spec_id": ["good"] * 3 + ["flaky"] * 3 + ["under way"] * 3,
            "seed": [0, 1, 2] * 3,
            "status": ["ok"] * 3 + ["ok", "diverged", "diverged"] + ["ok", "ok", "missing"],
            "error_percent": [10.0, 10.0, 10.0, 9.5, np.nan, np.nan, 10.4, 10.6, np.nan],
        }
    )
    best = select_best(frame, None)
    assert best["spec_id"].tolist() == ["good", "under way"]
    assert best["error_percent"].tolist() == [10, 10.5]
    assert best["seeds"].tolist() == [3, 2]
    assert (best["candidates"] == 2).all()
    assert (best["left_out"] == 1).all()
    with pytest.raises(ValueError, match="no model finished in all its trainings"):
        select_best(frame[frame["spec_id"] == "flaky"])


def test_the_front_by_hand_and_by_definition():
    frame = pd.DataFrame({"error_percent": [3, 1, 2, 2, 1, np.nan], "macs": [1, 3, 2, 3, 3, 0]})
    assert pareto_front(frame).tolist() == [True, True, True, False, True, False]
    rng = np.random.default_rng(4)
    values = rng.integers(0, 8, (200, 3)).astype(float)
    found = pareto_front(pd.DataFrame(values, columns=["a", "b", "c"]), ["a", "b", "c"])
    beaten = [any((other <= row).all() and (other < row).any() for other in values) for row in values]
    assert found.tolist() == [not b for b in beaten]
    with pytest.raises(ValueError, match="objectives are flops; the table has error_percent, macs"):
        pareto_front(frame, ["flops"])
    with pytest.raises(ValueError, match="objectives are macs, block; block is text, and a front needs numbers"):
        pareto_front(frame.assign(block="basic"), ["macs", "block"])


def test_selection_on_the_front_and_in_regimes():
    frame = population(np.random.default_rng(5))
    front = select_best(frame, None, objectives=["macs"])
    assert front["pareto"].all()
    assert (np.diff(front["macs"]) < 0).all()  # a larger error has to buy something
    each = select_best(frame, 2, regimes=3)
    assert each["rank"].tolist() == [1, 2] * 3
    assert each["regime"].tolist() == [0, 0, 1, 1, 2, 2]
    assert (each["regime_low"] <= each["macs"]).all()
    assert (each["macs"] <= each["regime_high"]).all()
    assert (each["candidates"] == 100).all()
    assert each["error_percent"].min() == frame["error_percent"].min()
