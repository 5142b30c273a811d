from math import lcm

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from designspace.widths import QuantizedLinear, fit_group_width, stage_arrays


def numbers(text: str) -> list[int]:
    return [int(word) for word in text.split()]


def test_published_regnets_come_from_their_parameters(regnets: pd.DataFrame) -> None:
    for row in regnets.itertuples():
        widths, depths = QuantizedLinear(row.d, row.w0, row.wa, row.wm).stages()
        assert widths.tolist() == numbers(row.widths_raw)
        assert depths.tolist() == numbers(row.depths)


rules = st.tuples(st.integers(1, 64), st.integers(1, 32).map(lambda w: 8 * w), st.floats(0, 256), st.floats(1.01, 4.0))


@given(rules)
def test_widths_never_decrease(rule: tuple[int, int, float, float]) -> None:
    widths = QuantizedLinear(*rule).block_widths()
    assert (np.diff(widths) >= 0).all()
    assert widths[0] == rule[1]
    assert (widths % 8 == 0).all()


@given(st.lists(rules, min_size=1, max_size=20), st.integers(1, 5))
def test_the_closed_form_equals_the_rule(batch: list[tuple[int, int, float, float]], stages: int) -> None:
    depth, w_0, w_a, w_m = (np.array(column) for column in zip(*batch, strict=True))
    kept, widths, depths = stage_arrays(depth, w_0, w_a, w_m, stages)
    rows = iter(zip(widths, depths, strict=True))
    for is_kept, rule in zip(kept, batch, strict=True):
        exact_widths, exact_depths = QuantizedLinear(*rule).stages()
        levels = int(QuantizedLinear(*rule).levels().max()) + 1
        assert is_kept == (len(exact_widths) == levels == stages)
        if is_kept:
            row_widths, row_depths = next(rows)
            assert row_widths.tolist() == exact_widths.tolist()
            assert row_depths.tolist() == exact_depths.tolist()


def test_blocks_on_a_stage_boundary_follow_the_rule() -> None:
    # w_0·w_m^(1/2) = 1.5 w_0 falls exactly on block 1 of w_a = w_0 / 2, where rounding is half to even.
    depth, w_0, w_a, w_m = (np.full(64, value) for value in (12, 16.0, 8.0, 2.25))
    depth = np.arange(1, 65)
    kept, widths, depths = stage_arrays(depth, w_0, w_a, w_m, 3)
    expected = [QuantizedLinear(int(d), 16.0, 8.0, 2.25).stages() for d in depth[kept]]
    assert kept.any()
    assert [w.tolist() for w in widths] == [w.tolist() for w, _ in expected]
    assert [d.tolist() for d in depths] == [d.tolist() for _, d in expected]


@pytest.mark.parametrize(("field", "value"), [("depth", 0), ("w_0", 0), ("w_a", -1), ("w_m", 1.0), ("quantum", 0)])
def test_parameters_outside_the_domain_are_rejected(field: str, value: float) -> None:
    rule = {"depth": 13, "w_0": 24, "w_a": 36.44, "w_m": 2.49} | {field: value}
    with pytest.raises(ValueError, match=f"{field} = {value}: must be"):
        QuantizedLinear(**rule)


def reference(width: int, multiplier: float, group: int) -> tuple[int, int]:
    """The rule of pycls for one network (multiplier = 1 / b)."""
    inner = int(max(1, width * multiplier))
    group = min(group, inner)
    step = lcm(group, int(multiplier)) if multiplier > 1 else group
    inner = max(step, int(np.round(inner / step) * step))
    return int(inner / multiplier), group


@given(st.integers(1, 128), st.sampled_from([0.125, 0.25, 0.5, 1, 2, 4, 8]), st.integers(1, 64))
def test_fit_group_width_matches_pycls(eighths: int, ratio: float, group: int) -> None:
    width, fitted = fit_group_width(np.array([8 * eighths]), np.array([ratio]), np.array([group]))
    assert (width[0], fitted[0]) == reference(8 * eighths, 1 / ratio, group)
    inner = width[0] / ratio
    assert inner == int(inner)
    assert inner % fitted[0] == 0


def test_published_regnets_have_compatible_widths(regnets: pd.DataFrame) -> None:
    for row in regnets.itertuples():
        raw = np.array([int(word) for word in row.widths_raw.split()])
        width, _ = fit_group_width(raw, np.ones(len(raw)), np.full(len(raw), row.g))
        assert width.tolist() == [int(word) for word in row.widths.split()]


def test_non_integer_ratios_are_rejected() -> None:
    with pytest.raises(ValueError, match=r"bottleneck_ratio = 1\.5: must be an integer or the inverse of one"):
        fit_group_width(np.array([8]), np.array([1.5]), np.array([1]))
