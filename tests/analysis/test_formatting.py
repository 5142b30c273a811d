"""Numbers as a reader meets them: one column, one format."""

import numpy as np
import pandas as pd
import pytest

from analysis.display import by_parameter, columns
from analysis.formatting import as_integer, format_column, p_text, si_format


@pytest.mark.parametrize(
    ("values", "texts"),
    [
        ([14.85, 15.0, 7.1], ["14.85", "15.00", "7.10"]),  # 15 is whole by chance
        ([15.0], ["15.00"]),
        ([0.031, 0.2, np.nan], ["0.031", "0.200", "–"]),
        ([4089185256.0, 1e4], ["4,089,185,256", "10,000"]),
        ([3, 1200, None], ["3", "1,200", "–"]),
        ([-0.5, np.inf, 2.25], ["−0.50", "no bound", "2.25"]),
        (["a", True, 0.0], ["a", "True", "0.00"]),
        ([], []),
    ],
)
def test_a_column_has_one_format(values, texts):
    assert format_column(values) == texts


def test_counts_in_a_column_of_floats_are_integers():
    assert format_column(as_integer(pd.Series([8.0, 24.0, np.nan])).astype(object)) == ["8", "24", "–"]
    for column in ([8.0, 24.5], ["8", "x"], [np.inf, 1.0]):
        assert as_integer(pd.Series(column)).tolist() == column


def test_each_parameter_of_a_mixed_column_has_its_own_format():
    frame = pd.DataFrame(
        {"parameter": ["depth", "w_m", "depth", "w_m"], "a": [12.0, 2.0, 7.0, 2.75], "b": [20.0, 3.0, 9.0, 2.5]}
    )
    shown = by_parameter(frame, {"a": "from", "b": "to"})
    assert shown["from"].tolist() == ["12", "2.00", "7", "2.75"]
    assert shown["to"].tolist() == ["20", "3.00", "9", "2.50"]


def test_numbers_are_right_aligned_and_sortable():
    mean, pair, count = columns(pd.DataFrame({"mean": [15.0, np.nan], "pair": ["a − b", "1"], "n": ["1,200", "–"]}))
    assert (mean.texts, mean.values, mean.right) == (["15.00", "–"], [15.0, None], True)
    assert not pair.right
    assert count.right
    assert columns(pd.DataFrame({"a": []})) == []


@pytest.mark.parametrize(("p", "text"), [(0.0, "p < 0.001"), (0.0123, "p = 0.012"), (0.5, "p = 0.50")])
def test_p_values_are_never_zero(p, text):
    assert p_text(p) == text


def test_suffixes():
    assert [si_format(v) for v in (12, 4.2e6, 15000, 3.2e9, 0.25)] == ["12", "4.2M", "15k", "3.2G", "0.25"]
