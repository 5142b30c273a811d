"""A small version of `python -m benchmarks.calibration`: error rates at a nominal 5 %, and models saved."""

import numpy as np
import pytest

from benchmarks.calibration.comparison import MACRO, TESTS, Setting, power_on_macro, run_setting

REPETITIONS = 160
MOST = 100 * (0.05 + 4 * np.sqrt(0.05 * 0.95 / REPETITIONS))
LEAST_COVERED = 100 * (0.95 - 4 * np.sqrt(0.05 * 0.95 / (REPETITIONS // 8)))


@pytest.mark.parametrize(
    "setting",
    [
        Setting(16, 1.1, "same", "normal", "straight"),
        Setting(16, 32.0, "poor", "skewed", "curved"),
        Setting(30, 32.0, "lower", "skewed", "straight"),  # bins of linear macs saw a difference in 21 % of these pairs
        Setting(100, 32.0, "shifted", "normal", "curved"),
    ],
    ids=str,
)
def test_false_positive_rates_and_coverage(setting):
    row = run_setting(setting, REPETITIONS)
    assert max(row[f"false {name}"] for name in TESTS) <= MOST, row
    assert min(row[f"covered {name}"] for name in ("area", "a_better")) >= LEAST_COVERED, row


@pytest.mark.skipif(not MACRO.exists(), reason=f"{MACRO.name} is not in ../shared/data")
def test_adjustment_needs_fewer_models_than_bins_on_nas_bench_macro():
    table = power_on_macro(60)
    assert (table["times fewer models"] > 1.3).all(), table
    assert (table["covered"] >= 100 * (0.95 - 4 * np.sqrt(0.05 * 0.95 / 60))).all(), table
