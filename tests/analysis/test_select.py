import numpy as np
import pandas as pd
import pytest
from scipy import stats

from analysis.select import SELECT_COLUMNS, TrainingNoise, pareto_front, select_best, selection_noise, tie_distance
from benchmarks.calibration import selection


def population(rng, n=300, sd=0.4, shape=2.0):
    truth = 6 + rng.gamma(shape, 1.0, n)
    frame = pd.DataFrame({"spec_id": [f"n{i}" for i in range(n)], "status": "ok", "space": "a", "truth": truth})
    return frame.assign(error_percent=truth + rng.normal(0, sd, n), macs=10 ** rng.uniform(6, 8, n))


def test_coverage_of_the_intervals_of_the_best_model():
    """A small `benchmarks.calibration`: skewed errors, noise given (1 seed) and estimated (3 seeds)."""
    table = selection.run(25, models=(20, 60), noise=(1.0,), trainings=(1, 3), shapes=("gamma",))
    best = table[table["of"] == "best"]
    trials = 25 * len(best)
    for interval in ("expected", "retrained"):
        covered = best[interval].mean() / 100 * trials
        assert stats.binom(trials, 0.93).ppf(0.001) <= covered <= stats.binom(trials, 0.97).ppf(0.999)


def test_measured_error_of_the_best_is_optimistic_and_the_estimate_is_not():
    rng, measured, estimated = np.random.default_rng(0), [], []
    for _ in range(15):
        best = select_best(population(rng), 5, noise_sd=0.4)
        measured += list(best["error_percent"] - best["truth"])
        estimated += list(best["estimate"] - best["truth"])
    assert np.mean(measured) < -0.5
    assert abs(np.mean(estimated)) < 0.1


@pytest.mark.parametrize("n", [2, 20, 400])
def test_tie_distance_has_5_percent_false_positives(n):
    distance = np.sort(np.random.default_rng(n).normal(size=(4000, n)))
    distance -= distance[:, :1]
    assert np.mean(distance[:, 1:] > tie_distance(n)) == pytest.approx(0.05, abs=0.012)


def test_tie_distance_of_two_models_is_the_two_sided_test():
    assert tie_distance(2) == pytest.approx(stats.norm.ppf(0.975) * np.sqrt(2), rel=1e-3)
    assert tie_distance(2, 8) == pytest.approx(stats.t(8).ppf(0.975) * np.sqrt(2), rel=0.01)


def test_columns_with_and_without_known_noise():
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


def test_large_spaces_have_separate_priors():
    rng = np.random.default_rng(6)
    one, other = population(rng, 40), population(rng, 40)
    other = other.assign(space="b", spec_id="m" + other["spec_id"], error_percent=other["error_percent"] + 30)
    both = select_best(pd.concat([one, other]), None, noise_sd=0.4).set_index("spec_id")
    alone = select_best(one, None, noise_sd=0.4).set_index("spec_id")
    np.testing.assert_allclose(both.loc[alone.index, "estimate"], alone["estimate"])


def test_model_that_failed_with_one_seed_is_not_a_candidate():
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
    with pytest.raises(ValueError, match="no model can be selected"):
        select_best(frame[frame["spec_id"] == "flaky"])


def test_pareto_front_by_definition():
    frame = pd.DataFrame({"error_percent": [3, 1, 2, 2, 1, np.nan], "macs": [1, 3, 2, 3, 3, 0]})
    assert pareto_front(frame).tolist() == [True, True, True, False, True, False]
    rng = np.random.default_rng(4)
    values = rng.integers(0, 8, (200, 3)).astype(float)
    result = pareto_front(pd.DataFrame(values, columns=["a", "b", "c"]), ["a", "b", "c"])
    beaten = [any((other <= row).all() and (other < row).any() for other in values) for row in values]
    assert result.tolist() == [not b for b in beaten]
    with pytest.raises(ValueError, match="objectives = flops: unknown"):
        pareto_front(frame, ["flops"])
    with pytest.raises(ValueError, match="objectives = block: must be a column of numbers"):
        pareto_front(frame.assign(block="basic"), ["macs", "block"])


def test_selection_on_the_pareto_front_and_by_regime():
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


def repeated(rng, models=200, seeds=3, sd=0.4, spread=2.0):
    truth = rng.normal(20, spread, models)
    errors = truth[:, None] + rng.normal(0, sd, (models, seeds))
    index, seed = np.divmod(np.arange(models * seeds), seeds)
    return pd.DataFrame({"space": "a", "spec_id": index, "seed": seed, "error_percent": errors.ravel()})


def test_without_repeated_seeds_the_validation_split_bounds_the_noise():
    frame = repeated(np.random.default_rng(3), seeds=1)
    assert selection_noise(frame).source == "unknown"
    assert np.isnan(selection_noise(frame).sd)
    noise = selection_noise(frame, validation_size=10_000)
    share = frame["error_percent"].quantile(0.25) / 100
    assert noise.sd == pytest.approx(100 * stats.binom(10_000, share).std() / 10_000)
    assert noise.source == "the size of the validation split"
    assert selection_noise(frame, 0.3) == TrainingNoise(0.3, "given")
    with pytest.raises(ValueError, match="noise_sd = 0: must be positive"):
        selection_noise(frame, 0)


def test_noise_of_the_better_half_of_nas_bench_macro(shared_data):
    macro = pd.read_csv(shared_data("nas-bench-macro.csv"), dtype={"arch": str})
    seeds = [macro.assign(spec_id=macro.index, seed=i, error_percent=100 - macro[f"acc{i}"]) for i in (1, 2, 3)]
    assert selection_noise(pd.concat(seeds)).sd == pytest.approx(0.188, abs=0.001)


def test_selection_noise_uses_the_better_half():
    rng = np.random.default_rng(8)
    frame = repeated(rng, models=400, seeds=2)
    worse = frame["spec_id"] >= 200
    frame["error_percent"] += worse * (20 + rng.normal(0, 5, len(frame)))
    result = selection_noise(frame)
    assert result.source == "repeated seeds"
    assert result.sd == pytest.approx(0.4, rel=0.15)
    assert result.degrees == 200


def test_selection_noise_uses_all_of_few_repeated_models():
    frame = repeated(np.random.default_rng(9), models=60)
    best = frame.groupby("spec_id")["error_percent"].mean().nsmallest(3).index
    result = selection_noise(frame[(frame["seed"] == 0) | frame["spec_id"].isin(best)])
    assert result.degrees == 6
