"""Statistics on a table of 6,561 trained networks that nobody here made (NAS-Bench-Macro, Su et al. 2021)."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from analysis.compare import compare_spaces
from analysis.error_distributions import edf
from analysis.parameters import best_range, rank_trend


@pytest.fixture
def macro(shared_data):
    table = pd.read_csv(shared_data("nas-bench-macro.csv"), dtype={"arch": str})
    return table.assign(error_percent=100 - table["mean_acc"], restricted=table["arch"].str[0] != "0")


def test_published_summary_statistics(macro):
    assert len(macro) == 6561
    assert macro["error_percent"].mean() == pytest.approx(9.75, abs=0.01)
    assert macro["error_percent"].min() == pytest.approx(6.87, abs=0.01)
    assert rank_trend(macro["acc1"], macro["acc2"]).rho == pytest.approx(0.98, abs=0.005)


def test_distance_of_the_space_without_identity_in_layer_one(macro):
    stacked = pd.concat(
        [macro.assign(space="all"), macro[macro["restricted"]].assign(space="layer 1 not identity")]
    ).rename(columns={"flops": "macs"})
    result = compare_spaces(stacked, match=None).iloc[0]
    assert result["ks"] == pytest.approx(0.187, abs=0.001)
    matched = compare_spaces(stacked, match="macs").iloc[0]
    assert matched["ks"] < result["ks"]  # a part of it was complexity
    assert 0 < matched["difference"] < result["difference"]


@pytest.mark.parametrize(("n", "power"), [(25, 0.22), (50, 0.43), (100, 0.77), (200, 0.97)])
def test_power_of_the_kolmogorov_smirnov_test(macro, n, power):
    rng = np.random.default_rng(n)
    everything = macro["error_percent"].to_numpy()
    restricted = everything[macro["restricted"]]
    trials = 250
    draws = ((rng.choice(everything, n), rng.choice(restricted, n)) for _ in range(trials))
    seen = np.mean([stats.ks_2samp(a, b).pvalue < 0.05 for a, b in draws])
    assert seen == pytest.approx(power, abs=0.08)


def test_coverage_of_the_full_space_by_the_band_of_a_sample(macro):
    rng, covered, trials, n = np.random.default_rng(0), 0, 250, 100
    everything = np.sort(macro["error_percent"].to_numpy())
    for _ in range(trials):
        curve = edf(rng.choice(everything, n))
        ends = curve["error"].to_numpy()[:-1]
        at = np.searchsorted(everything, ends, side="left") / len(everything)
        after = np.searchsorted(everything, ends, side="right") / len(everything)
        covered += bool(np.all(at <= curve["upper"][:-1]) and np.all(after >= curve["lower"][1:]))
    assert covered / trials >= 0.92


def test_best_models_have_few_identities(macro):
    result = best_range(macro["n_id"], macro["error_percent"])
    assert result.upper <= 3 < macro["n_id"].median() + 1
    assert result.support <= 13
