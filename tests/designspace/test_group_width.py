from math import lcm

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from designspace.widths import fit_group_width


def reference(width: int, multiplier: float, group: int) -> tuple[int, int]:
    """pycls's rule, one network at a time, in its own terms (multiplier = 1 / b)."""
    inner = int(max(1, width * multiplier))
    group = min(group, inner)
    step = lcm(group, int(multiplier)) if multiplier > 1 else group
    inner = max(step, int(np.round(inner / step) * step))
    return int(inner / multiplier), group


@given(st.integers(1, 128), st.sampled_from([0.125, 0.25, 0.5, 1, 2, 4, 8]), st.integers(1, 64))
def test_as_pycls(eighths: int, ratio: float, group: int) -> None:
    width, fitted = fit_group_width(np.array([8 * eighths]), np.array([ratio]), np.array([group]))
    assert (width[0], fitted[0]) == reference(8 * eighths, 1 / ratio, group)
    inner = width[0] / ratio
    assert inner == int(inner)
    assert inner % fitted[0] == 0


def test_published_regnets(regnets: pd.DataFrame) -> None:
    for row in regnets.itertuples():
        raw = np.array([int(word) for word in row.widths_raw.split()])
        width, _ = fit_group_width(raw, np.ones(len(raw)), np.full(len(raw), row.g))
        assert width.tolist() == [int(word) for word in row.widths.split()]


def test_other_ratios_are_refused() -> None:
    with pytest.raises(ValueError, match=r"bottleneck_ratio = 1\.5: must be an integer or the inverse of one"):
        fit_group_width(np.array([8]), np.array([1.5]), np.array([1]))
