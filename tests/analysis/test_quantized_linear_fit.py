from time import perf_counter

import numpy as np
import pandas as pd
import pytest

from analysis.widths import FIT_COLUMNS, fit_population, fit_quantized_linear
from designspace import zoo
from designspace.quantized_linear import QuantizedLinear


def stages(widths: str, depths: str) -> list[int]:
    return [int(w) for w, d in zip(widths.split(), depths.split(), strict=True) for _ in range(int(d))]


def test_all_published_regnets_come_back_from_their_raw_widths(shared_data):
    table = pd.read_csv(shared_data("regnet_params.csv"))
    assert len(table) == 24
    for row in table.itertuples():
        assert fit_quantized_linear(stages(row.widths_raw, row.depths)).error <= 0.005, row.name
        # After the widths were made to fit whole groups the rule still fits, a little worse (found: 0.065 at most).
        assert fit_quantized_linear(stages(row.widths, row.depths)).error <= 0.07, row.name


def test_random_networks_of_the_rule_are_found_again():
    rng = np.random.default_rng(0)
    for _ in range(150):
        rule = QuantizedLinear(
            int(rng.integers(2, 64)),
            float(8 * rng.integers(1, 33)),
            float(rng.uniform(0, 256)),
            float(rng.uniform(1.5, 3)),
        )
        assert fit_quantized_linear(rule.block_widths()).error <= 0.005, rule


def test_the_fit_reported_is_the_rule_itself():
    widths = zoo.spec("RegNetX-200MF").block_widths
    for quantum in (1, 8):
        fit = fit_quantized_linear(widths, quantum=quantum)
        again = QuantizedLinear(len(widths), fit.w_0, fit.w_a, fit.w_m, quantum).block_widths()
        assert tuple(again) == fit.predicted
        assert fit.error == pytest.approx(np.abs(np.log(again / np.array(widths))).mean())


def test_no_finer_search_finds_better_for_resnet_50():
    """An independent brute force over 60 x 60 x 60 rules, as the paper describes it, must not win."""
    widths = np.array(zoo.spec("ResNet-50").block_widths)
    found = fit_quantized_linear(widths).error
    j = np.arange(len(widths))
    best = np.inf
    for w_m in np.linspace(1.5, 3, 60):
        w_0, w_a = np.meshgrid(np.linspace(64, 512, 60), np.linspace(8, 256, 60), indexing="ij")
        level = np.round(np.log(1 + w_a[..., None] / w_0[..., None] * j) / np.log(w_m))
        predicted = np.round(w_0[..., None] * w_m**level / 8) * 8
        best = min(best, np.abs(np.log(predicted / widths)).mean(axis=-1).min())
    assert found <= best + 1e-9
    assert found == pytest.approx(0.056, abs=0.002)


@pytest.mark.parametrize("depths", ["1 1 1 1", "3 3 3 3", "2 4 4 2"])
def test_decreasing_widths_fit_badly(depths):
    assert fit_quantized_linear(stages("512 256 128 64", depths)).error >= 0.5
    assert fit_quantized_linear(stages("64 128 256 512", depths)).error <= 0.3


def test_one_block_and_constant_widths_fit_exactly():
    assert fit_quantized_linear([48]).error == 0
    assert fit_quantized_linear([48] * 20).error == 0


def test_a_population_has_a_row_per_network_and_equal_networks_equal_rows():
    frame = fit_population([(64, 128, 256), (512, 64, 8), (64, 128, 256)])
    assert list(frame) == list(FIT_COLUMNS)
    assert frame.iloc[0].equals(frame.iloc[2])
    assert frame["fit_error"].iloc[1] > 0.5 > frame["fit_error"].iloc[0]
    assert fit_population([]).empty


def test_five_hundred_networks_in_seconds():
    rng = np.random.default_rng(0)
    networks = [np.sort(8 * rng.integers(1, 128, rng.integers(4, 40))) for _ in range(100)]
    start = perf_counter()
    for network in networks:
        fit_quantized_linear(network)
    assert perf_counter() - start < 5 * 100 / 500 * 2  # twice the promise, for a busy machine


@pytest.mark.parametrize(
    ("widths", "quantum", "sentence"),
    [([], 8, "one positive width"), ([8, 0], 8, "one positive"), ([8], 0, "quantum is 0")],
)
def test_mistakes_are_named(widths, quantum, sentence):
    with pytest.raises(ValueError, match=sentence):
        fit_quantized_linear(widths, quantum=quantum)
