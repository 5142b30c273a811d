import numpy as np
import pandas as pd
import pytest

from analysis.pareto import pareto_front
from analysis.select import SELECT_COLUMNS, select_best
from analysis.shrinkage import shrink


def population(rng, n=300, sd=0.4, shape=2.0):
    truth = 6 + rng.gamma(shape, 1.0, n)
    frame = pd.DataFrame({"spec_id": [f"n{i}" for i in range(n)], "status": "ok", "space": "a", "truth": truth})
    return frame.assign(error_percent=truth + rng.normal(0, sd, n), macs=10 ** rng.uniform(6, 8, n))


def test_the_best_are_promised_what_they_keep():
    """The measured error of the five best is too good by 0.6 points; the estimate is right and its interval covers."""
    rng, raw, corrected, covered = np.random.default_rng(0), [], [], []
    for _ in range(60):
        best = select_best(population(rng), 5, noise_sd=0.4)
        raw += list(best["error_percent"] - best["truth"])
        corrected += list(best["estimate"] - best["truth"])
        covered += list((best["estimate_lower"] <= best["truth"]) & (best["truth"] <= best["estimate_upper"]))
    assert np.mean(raw) < -0.55
    assert abs(np.mean(corrected)) < 0.12
    assert 0.92 <= np.mean(covered) <= 0.995


def test_a_normal_population_is_shrunk_as_james_and_stein_say():
    rng = np.random.default_rng(1)
    truth = rng.normal(20, 1, 2000)
    measured = truth + rng.normal(0, 1, 2000)
    found = shrink(measured, 1.0)["estimate"]
    np.testing.assert_allclose(found, 20 + (measured - 20) / 2, atol=0.6)
    assert np.mean((found - truth) ** 2) == pytest.approx(0.5, abs=0.05)  # half of the measurement's own


def test_on_a_real_table_a_second_training_is_what_was_estimated(shared_data):
    macro = pd.read_csv(shared_data("nas-bench-macro.csv"), dtype={"arch": str})
    errors = np.stack([100 - macro[f"acc{seed}"] for seed in (1, 2, 3)], axis=1)
    rng, raw, corrected = np.random.default_rng(2), [], []
    for _ in range(30):
        some = errors[rng.choice(len(errors), 400, replace=False)]
        best = np.argsort(some[:, 0])[:5]
        again = some[best, 1:].mean(axis=1)
        raw += list(some[best, 0] - again)
        corrected += list(shrink(some[:, 0], 0.188)["estimate"].to_numpy()[best] - again)
    assert np.mean(raw) < -0.15
    assert abs(np.mean(corrected)) < 0.5 * abs(np.mean(raw))


@pytest.mark.parametrize("n", [1, 2, 5, 12])
def test_few_models_are_estimated_too(n):
    x = np.random.default_rng(n).normal(10, 2, n)
    found = shrink(x, 0.3)
    assert len(found) == n
    assert (found["lower"] <= found["estimate"]).all()
    assert (found["estimate"] <= found["upper"]).all()
    assert np.abs(found["estimate"] - x).max() < 0.5


def test_mistakes_in_shrinking_are_named():
    with pytest.raises(ValueError, match="noise_sd must be positive"):
        shrink([1.0, 2.0], 0)
    with pytest.raises(ValueError, match="finite"):
        shrink([np.nan], 1)


def test_columns_and_what_is_not_known():
    frame = population(np.random.default_rng(3), n=30)
    best = select_best(frame, 4)
    promised = {name for names in SELECT_COLUMNS for name in names.split(", ") if not name.startswith("regime")}
    assert promised <= set(best.columns)
    assert best["estimate"].isna().all()
    assert (best["noise_from"] == "unknown").all()
    assert not best["tied"].any()
    known = select_best(frame, 30, noise_sd=0.4)
    gap = known["error_percent"] - known["error_percent"][0]
    assert (known["tied"] == (gap <= 1.96 * np.sqrt(2) * 0.4)).all()


def test_a_model_that_failed_from_one_seed_is_no_candidate():
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
    assert each["error_percent"].min() == frame["error_percent"].min()
