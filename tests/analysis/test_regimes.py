import numpy as np
import pandas as pd
import pytest
from scipy import stats

from analysis.regimes import best_by_regime, power_law, regime_index, regime_trends, scaling_exponents


def test_power_law_is_least_squares_on_logarithms():
    rng = np.random.default_rng(0)
    x = 10 ** rng.uniform(6, 9, 30)
    y = 3 * x**0.7 * np.exp(rng.normal(0, 0.2, 30))
    result = power_law(x, y)
    slope, cov = np.polyfit(np.log(x), np.log(y), 1, cov=True)
    half = stats.t.ppf(0.975, 28) * np.sqrt(cov[0, 0])
    assert (result.exponent, result.lower, result.upper) == pytest.approx((slope[0], slope[0] - half, slope[0] + half))
    assert result.factor == pytest.approx(np.exp(slope[1]))
    exact = power_law([1, 10, 100, np.nan, -1], [2, 20, 200, 5, 5])
    assert (exact.exponent, exact.factor, exact.n) == pytest.approx((1, 2, 3))
    assert np.isnan(power_law([1, 1, 1], [1, 2, 3]).exponent)


def test_timm_exponents(shared_data):
    timm = pd.read_csv(shared_data("timm_results.csv"))
    names = {"regnetx": "RegNetX", "regnety": "RegNetY", "tf_efficientnet_b": "EfficientNet"}
    parts = []
    for start, label in names.items():
        tag = "pycls_in1k" if "regnet" in start else "in1k"
        parts.append(timm[timm["arch"].str.startswith(start) & (timm["tag"] == tag)].assign(space=label))
    frame = pd.concat(parts).rename(columns={"gmacs": "macs", "macts": "acts", "params_M": "params"})
    result = scaling_exponents(frame).set_index(["space", "of"])
    assert result.loc[("RegNetX", "acts"), "exponent"] == pytest.approx(0.55, abs=0.01)
    assert result.loc[("RegNetY", "acts"), "exponent"] == pytest.approx(0.52, abs=0.015)
    efficient = result.loc[("EfficientNet", "acts")]
    assert efficient["exponent"] == pytest.approx(0.83, abs=0.02)
    assert result.loc[("RegNetX", "acts"), "upper"] < efficient["lower"]


def test_narrow_range_has_no_exponent():
    frame = pd.DataFrame({"space": "a", "macs": [4.0, 5, 6, 7], "params": [1.0, 2, 3, 4], "acts": [1.0, 2, 3, 4]})
    assert scaling_exponents(frame).empty


def test_regimes_have_equal_sizes():
    x = np.random.default_rng(0).permutation(np.geomspace(1, 64, 60))
    assert np.bincount(regime_index(x)).tolist() == [12] * 5  # six factors of two, but 12 models each
    assert np.bincount(regime_index(x, 3)).tolist() == [20] * 3
    assert np.bincount(regime_index(np.geomspace(1, 4, 60))).tolist() == [30] * 2
    assert regime_index(np.geomspace(3e6, 6e6, 600)).max() == 0  # one regime, however many models
    assert set(regime_index([1.0, np.nan, 2.0], 1)) == {0, -1}
    assert regime_index(x[:5]).max() == 0


def test_best_parameter_by_regime():
    rng = np.random.default_rng(1)
    macs = 10 ** rng.uniform(6, 9, 600)
    width = 10 ** rng.uniform(1, 3, 600)
    best = 0.05 * macs**0.4  # the width that is best grows with macs
    error = 20 + 5 * np.abs(np.log(width / best))
    frame = pd.DataFrame({"space": "a", "macs": macs, "width": width, "error_percent": error})
    result = best_by_regime(frame, ["width"])
    assert len(result) == 6
    assert result["n"].tolist() == [100] * 6
    assert (result["low"] <= result["complexity"]).all()
    assert (result["complexity"] <= result["high"]).all()
    inside = (result["lower"] <= 0.05 * result["high"] ** 0.4) & (0.05 * result["low"] ** 0.4 <= result["upper"])
    assert inside.all()
    law = regime_trends(result).iloc[0]
    assert law["exponent"] == pytest.approx(0.4, abs=0.1)
    assert law["lower"] <= 0.4 <= law["upper"]
