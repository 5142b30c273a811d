import numpy as np
import pandas as pd
import pytest

from analysis.widths import FIT_COLUMNS, fit_population, fit_quantized_linear, linear_structure, width_profiles
from designspace import zoo
from designspace.widths import QuantizedLinear


def stages(widths: str, depths: str) -> list[int]:
    return [int(w) for w, d in zip(widths.split(), depths.split(), strict=True) for _ in range(int(d))]


def test_published_regnets_fit_the_rule(shared_data):
    table = pd.read_csv(shared_data("regnet_params.csv"))
    assert len(table) == 24
    for row in table.itertuples():
        assert fit_quantized_linear(stages(row.widths_raw, row.depths)).error <= 0.005, row.name
        # Group-width compatibility increases e_fit to at most 0.065.
        assert fit_quantized_linear(stages(row.widths, row.depths)).error <= 0.07, row.name


def test_networks_of_the_rule_fit_the_rule():
    rng = np.random.default_rng(0)
    for _ in range(150):
        rule = QuantizedLinear(
            int(rng.integers(2, 64)),
            float(8 * rng.integers(1, 33)),
            float(rng.uniform(0, 256)),
            float(rng.uniform(1.5, 3)),
        )
        assert fit_quantized_linear(rule.block_widths()).error <= 0.005, rule


def test_reported_parameters_reproduce_the_prediction():
    widths = zoo.spec("RegNetX-200MF").block_widths
    for quantum in (1, 8):
        fit = fit_quantized_linear(widths, quantum=quantum)
        again = QuantizedLinear(len(widths), fit.w_0, fit.w_a, fit.w_m, quantum).block_widths()
        assert tuple(again) == fit.predicted
        assert fit.error == pytest.approx(np.abs(np.log(again / np.array(widths))).mean())


def test_brute_force_finds_no_better_fit_for_resnet_50():
    """The brute force is a grid of 60 x 60 x 60 rules, as described in the paper."""
    widths = np.array(zoo.spec("ResNet-50").block_widths)
    result = fit_quantized_linear(widths).error
    j = np.arange(len(widths))
    best = np.inf
    for w_m in np.linspace(1.5, 3, 60):
        w_0, w_a = np.meshgrid(np.linspace(64, 512, 60), np.linspace(8, 256, 60), indexing="ij")
        level = np.round(np.log(1 + w_a[..., None] / w_0[..., None] * j) / np.log(w_m))
        predicted = np.round(w_0[..., None] * w_m**level / 8) * 8
        best = min(best, np.abs(np.log(predicted / widths)).mean(axis=-1).min())
    assert result <= best + 1e-9
    assert result == pytest.approx(0.056, abs=0.002)


@pytest.mark.parametrize("depths", ["1 1 1 1", "3 3 3 3", "2 4 4 2"])
def test_decreasing_widths_fit_badly(depths):
    assert fit_quantized_linear(stages("512 256 128 64", depths)).error >= 0.5
    assert fit_quantized_linear(stages("64 128 256 512", depths)).error <= 0.3


def test_one_block_and_constant_widths_fit_exactly():
    assert fit_quantized_linear([48]).error == 0
    assert fit_quantized_linear([48] * 20).error == 0


def test_fit_population_has_one_row_per_network():
    frame = fit_population([(64, 128, 256), (512, 64, 8), (64, 128, 256)])
    assert list(frame) == list(FIT_COLUMNS)
    assert frame.iloc[0].equals(frame.iloc[2])
    assert frame["fit_error"].iloc[1] > 0.5 > frame["fit_error"].iloc[0]
    assert fit_population([]).empty


@pytest.mark.parametrize(
    ("widths", "quantum", "sentence"),
    [
        ([], 8, "must have one positive width per block"),
        ([8, 0], 8, "must have one positive width per block"),
        ([8], 0, "quantum = 0: must be"),
    ],
)
def test_invalid_widths_and_quantum(widths, quantum, sentence):
    with pytest.raises(ValueError, match=sentence):
        fit_quantized_linear(widths, quantum=quantum)


def line_of(rng, slope, n=25):
    rows = []
    for index in range(n):
        depth = int(rng.integers(6, 20))
        widths = tuple(int(w) for w in np.round(slope * (np.arange(depth) + 1) + rng.normal(0, 4, depth)))
        rows.append(
            {"space": "e", "index": index, "status": "ok", "error_percent": float(index), "block_widths": widths}
        )
    return pd.DataFrame(rows)


def test_line_through_the_best_networks():
    frame = line_of(np.random.default_rng(2), 48)
    result = linear_structure(frame, 20)
    assert result.models == 20
    again = frame.assign(spec_id=frame["index"].astype(str))
    assert linear_structure(pd.concat([again] * 3), 20).slope_lower == result.slope_lower
    assert width_profiles(pd.concat([again] * 3))["model"].nunique() == 6
    assert result.slope_lower < 48 < result.slope_upper
    assert result.intercept_lower < 48 < result.intercept_upper  # w_j = 48 (j + 1)
    assert result.r_squared > 0.99
    x = np.concatenate([np.arange(len(w)) for w in frame["block_widths"].head(20)])
    slope, intercept = np.polyfit(x, np.concatenate(frame["block_widths"].head(20).to_list()), 1)
    assert (result.slope, result.intercept) == pytest.approx((slope, intercept))
    assert len(result.widths) == frame["block_widths"].head(20).map(len).sum()


def test_networks_without_widths_are_excluded():
    frame = line_of(np.random.default_rng(3), 48, n=4)
    frame["block_widths"] = frame["block_widths"].astype(object)
    frame.loc[0, "block_widths"] = None
    assert linear_structure(frame.head(1)) is None
    assert linear_structure(frame).models == 3
    assert width_profiles(frame.head(1)).empty
    fits = fit_population(frame["block_widths"])
    assert fits["fit_error"].isna().tolist() == [True, False, False, False]
    some = fit_population(frame["block_widths"], most=2)
    assert some["fit_error"].notna().sum() == 2
