from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from analysis.training import (
    cheapest_epoch,
    epoch_fidelity,
    learning_curves,
    noise_by_depth,
    noise_floor,
    order_agreement,
    rank_agreement,
    recipe_fidelity,
    seed_agreement,
)
from benchmarks.calibration import agreement


def repeated(rng, models=200, seeds=3, sd=0.4, spread=2.0):
    truth = rng.normal(20, spread, models)
    errors = truth[:, None] + rng.normal(0, sd, (models, seeds))
    index, seed = np.divmod(np.arange(models * seeds), seeds)
    return pd.DataFrame({"space": "a", "spec_id": index, "seed": seed, "error_percent": errors.ravel()})


def test_noise_floor_recovers_both_variances():
    result = noise_floor(repeated(np.random.default_rng(0)))
    assert result.seed_sd_lower < 0.4 < result.seed_sd_upper
    assert result.architecture_sd == pytest.approx(2.0, rel=0.15)
    assert result.reliability == pytest.approx(4 / 4.16, abs=0.02)
    assert result.smallest_difference == pytest.approx(1.96 * np.sqrt(2) * result.seed_sd, rel=1e-3)
    assert result.difference(4) == pytest.approx(result.smallest_difference / 2)
    assert (result.models, result.trainings) == (200, 600)


def test_noise_floor_equals_the_analysis_of_variance():
    frame = repeated(np.random.default_rng(1), models=12)
    groups = [part["error_percent"].to_numpy() for _, part in frame.groupby("spec_id")]
    result = noise_floor(frame)
    f = stats.f_oneway(*groups).statistic  # = between / within
    assert 1 + 3 * (result.architecture_sd / result.seed_sd) ** 2 == pytest.approx(f)


def test_smallest_difference_has_5_percent_false_positives():
    frame = repeated(np.random.default_rng(2), models=3000, seeds=2, spread=1.0)
    floor = noise_floor(frame)
    wide = frame.pivot_table(index="spec_id", columns="seed", values="error_percent")
    assert np.mean(np.abs(wide[0] - wide[1]) > floor.smallest_difference) == pytest.approx(0.05, abs=0.012)


def test_noise_floor_needs_repeated_seeds():
    frame = repeated(np.random.default_rng(3), seeds=1)
    assert noise_floor(frame) is None


def test_rank_agreement():
    rng = np.random.default_rng(4)
    reference = rng.normal(size=100)
    cheap = reference + rng.normal(0, 0.5, 100)
    result = rank_agreement(cheap, reference)
    assert result.spearman == pytest.approx(stats.spearmanr(cheap, reference).statistic)
    assert result.kendall == pytest.approx(stats.kendalltau(cheap, reference).statistic)
    best, mine = set(np.argsort(reference)[:10]), set(np.argsort(cheap)[:10])
    assert result.top_overlap == len(best & mine) / 10
    assert result.n_top == 10
    top = list(best)
    assert result.top_spearman == pytest.approx(stats.spearmanr(cheap[top], reference[top]).statistic)
    same = rank_agreement(reference, reference)
    assert (same.spearman, same.kendall, same.top_overlap) == pytest.approx((1, 1, 1))
    assert np.isnan(rank_agreement([1.0, 2], [1.0, 2]).spearman)
    with pytest.raises(ValueError, match="top = 0: must be in"):
        rank_agreement([1.0], [1.0], top=0)


def test_order_agreement_of_spaces():
    spaces = np.repeat(["a", "b", "c"], 10)
    reference = np.concatenate([np.arange(10), np.arange(10) + 3, np.arange(10) + 6.0])
    swapped = np.concatenate([np.arange(10) + 3, np.arange(10), np.arange(10) + 6.0])
    assert order_agreement(reference, reference, spaces) == 1
    assert order_agreement(swapped, reference, spaces) == pytest.approx(2 / 3)
    assert np.isnan(order_agreement(reference[:10], reference[:10], spaces[:10]))


def curves(rng, n=80, epochs=6):
    quality = rng.normal(0, 2, n)
    noise = rng.normal(0, 1, (n, epochs)) * np.array([6, 3, 1.0, 0.3, 0.1, 0])[:epochs]
    errors = 20 + quality[:, None] + np.linspace(20, 0, epochs) + noise
    frame = pd.DataFrame({"space": np.where(np.arange(n) % 2, "a", "b"), "error_percent": errors[:, -1]})
    frame["epoch_validation_error_percent"] = [tuple(row) for row in errors]
    return frame, errors


def test_agreement_increases_over_epochs():
    frame, errors = curves(np.random.default_rng(5))
    frame.loc[0, "error_percent"] = np.nan
    frame.at[0, "epoch_validation_error_percent"] = (90.0,)  # noqa: PD008 - a tuple in a cell
    result = epoch_fidelity(frame)
    assert result["epoch"].tolist() == [1, 2, 3, 4, 5, 6]
    assert result["n"].tolist() == [79] * 6
    assert result["spearman"].iloc[-1] == pytest.approx(1)
    assert result["spearman"][1] == pytest.approx(stats.spearmanr(errors[1:, 1], errors[1:, -1]).statistic)
    assert all(a < b + 0.02 for a, b in pairwise(result["spearman"]))
    epoch = cheapest_epoch(result, 0.9)
    assert epoch is not None
    assert (result.loc[result["epoch"] >= epoch, "spearman_lower"] >= 0.9).all()
    assert result.loc[result["epoch"] == epoch - 1, "spearman_lower"].item() < 0.9
    assert cheapest_epoch(result, 0.9999) is None
    assert epoch_fidelity(frame.assign(epoch_validation_error_percent=None)).empty
    with pytest.raises(ValueError, match="threshold = 2: must be between"):
        cheapest_epoch(result, 2)


def test_learning_curves_are_quantiles():
    frame, errors = curves(np.random.default_rng(6))
    result = learning_curves(frame)
    mine = result[result["space"] == "a"]
    rows = errors[1::2]
    np.testing.assert_allclose(mine["median"], np.median(rows, axis=0))
    np.testing.assert_allclose(mine["best"], rows[np.argmin(rows[:, -1])])
    assert mine["n"].unique().tolist() == [40]
    assert learning_curves(frame.drop(columns="epoch_validation_error_percent")).empty


def test_recipes_are_compared_on_common_networks():
    rng = np.random.default_rng(7)
    error = rng.normal(20, 2, 30)
    long = pd.DataFrame({"study": "long", "space": "a", "spec_id": range(30), "error_percent": error})
    short = long.assign(study="short", error_percent=error + 10 + rng.normal(0, 0.5, 30)).iloc[:20]
    for ids in ({}, {"recipe_id": None, "data_id": None, "seed": 0}):
        result = recipe_fidelity(pd.concat([short, long]).assign(**ids)).iloc[0]
        assert (result["cheap"], result["reference"], result["n"]) == ("short", "long", 20)
        assert result["spearman"] == pytest.approx(stats.spearmanr(short["error_percent"], error[:20]).statistic)
    assert recipe_fidelity(long).empty


def studies(**columns):
    """Two studies of 30 networks; each column has a value for each study."""
    rng = np.random.default_rng(10)
    error = rng.normal(20, 2, 30)
    parts = [
        pd.DataFrame({"study": name, "space": "a", "spec_id": range(30), "error_percent": error + rng.normal(0, 1, 30)})
        for name in ("one", "two")
    ]
    return pd.concat([part.assign(**{k: v[i] for k, v in columns.items()}) for i, part in enumerate(parts)])


@pytest.mark.parametrize(
    ("columns", "compared"),
    [
        ({"seed": (1, 2), "recipe_id": (None, None)}, False),  # NDS: a file for each seed
        ({"seed": (1, 1), "recipe_id": (None, None)}, True),  # another result for the same network and seed
        ({"seed": (1, 2), "recipe_id": ("r", "r"), "data_id": ("d", "d")}, False),
        ({"seed": (1, 2), "recipe_id": ("r", "s"), "data_id": ("d", "d")}, True),
        ({"seed": (1, 2), "recipe_id": ("r", "r"), "data_id": ("d", "e")}, True),
        ({"seed": (1, 2), "recipe_id": ("r", None), "data_id": ("d", None)}, False),
        ({"seed": (1, 1), "recipe_id": ("r", None), "data_id": ("d", None)}, True),
    ],
)
def test_seeds_in_separate_files_are_not_recipes(columns, compared):
    result = recipe_fidelity(studies(**columns))
    assert len(result) == compared


def test_recipes_within_one_study_differ_by_id():
    frame = studies(seed=(1, 1), recipe_id=("r", "s")).assign(study="both")
    assert recipe_fidelity(frame)[["cheap", "reference"]].iloc[0].tolist() == ["both (r)", "both (s)"]


def test_selection_of_the_top_10_percent_does_not_bias_the_rank_correlation():
    """Seeds that are pure chance agree in nothing; with selection by the mean of both their correlation is −0.7."""
    table = agreement.run(20, reliabilities=(0.0, 0.8)).set_index("reliability")
    assert table.loc[0, ["third_seed", "reference"]].to_numpy() == pytest.approx(0, abs=0.08)
    assert table.loc[0, "mean_of_both"] < -0.5
    chance = table.loc[0.8]
    assert chance["third_seed"] == pytest.approx(chance["third_seed_theory"], abs=0.1)
    assert chance["reference"] == pytest.approx(chance["reference_theory"], abs=0.1)
    assert chance["expected_error"] < chance["reference"] < chance["third_seed"]


def test_cheap_training_with_less_noise_agrees_better_than_a_second_seed():
    rng = np.random.default_rng(11)
    expected = rng.normal(20, 1, 2000)
    one, other = expected + rng.normal(0, 0.5, (2, 2000))
    cheap = expected + rng.normal(0, 0.1, 2000)
    assert rank_agreement(cheap, one).spearman > rank_agreement(other, one).spearman


def test_seed_agreement_ignores_seed_values_and_uses_common_seed_counts():
    frame = repeated(np.random.default_rng(12), models=100)
    result = seed_agreement(frame)
    assert (result.n, result.n_top, result.top_by) == (100, 10, "a third seed")
    assert seed_agreement(frame.assign(seed=frame["seed"] + 10 * frame["spec_id"])) == result
    few_thirds = frame[(frame["seed"] < 2) | (frame["spec_id"] < 30)]
    assert seed_agreement(few_thirds) == seed_agreement(frame[frame["seed"] < 2])
    assert seed_agreement(few_thirds).top_by == "the reference"
    assert seed_agreement(frame[(frame["seed"] < 1) | (frame["spec_id"] < 3)]) is None
    assert np.isnan(seed_agreement(frame[frame["spec_id"] < 20]).top_spearman)


def test_seed_agreement_on_nas_bench_macro(shared_data):
    macro = pd.read_csv(shared_data("nas-bench-macro.csv"), dtype={"arch": str})
    frame = pd.concat(
        [
            pd.DataFrame({"spec_id": macro.index, "seed": seed, "error_percent": 100 - macro[f"acc{seed}"]})
            for seed in (1, 2, 3)
        ]
    )
    result = seed_agreement(frame)
    assert result.spearman == pytest.approx(0.98, abs=0.005)
    assert result.top_spearman == pytest.approx(0.50, abs=0.01)
    assert (result.n, result.n_top, result.top_by) == (6561, 656, "a third seed")
    assert seed_agreement(frame[frame["seed"] < 3]).top_spearman == pytest.approx(0.44, abs=0.01)
    assert noise_floor(frame).reliability > 0.99
    assert noise_floor(frame).seed_sd == pytest.approx(0.213, abs=0.001)


def with_depths(rng, deep_sd, models=30):
    depth = np.arange(models) % 15 + 4
    sd = np.where(depth >= 14, deep_sd, 0.4)
    errors = rng.normal(20, 2, models)[:, None] + sd[:, None] * rng.standard_t(4, (models, 2))
    index, seed = np.divmod(np.arange(2 * models), 2)
    columns = {"space": "a", "spec_id": index, "seed": seed, "error_percent": errors.ravel(), "depth": depth[index]}
    return pd.DataFrame(columns)


def test_deep_models_with_more_noise_are_reported():
    result = noise_by_depth(with_depths(np.random.default_rng(0), 3.0))
    assert result.is_larger
    assert result.depth == 14
    assert result.deep_sd > 3 * result.other_sd
    assert (result.deep, result.others) == (10, 20)


def test_equal_noise_is_rarely_reported():
    results = [noise_by_depth(with_depths(np.random.default_rng(seed), 0.4)) for seed in range(100)]
    assert sum(result.is_larger for result in results) <= 4
    assert sum(result.p_value < 0.2 for result in results) == pytest.approx(20, abs=10)


def test_noise_by_depth_needs_repeated_seeds():
    frame = with_depths(np.random.default_rng(0), 0.4)
    assert noise_by_depth(frame[frame["seed"] == 0]) is None
    assert noise_by_depth(frame.drop(columns="depth")) is None
