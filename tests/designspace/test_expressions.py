"""The language of restrictions, on columns."""

import numpy as np
import pytest

from designspace.expressions import parse_restriction

COLUMNS = {
    "depth": [3, 4, 5],
    "depth_1": [1, 2, 2],
    "depth_2": [2, 2, 3],
    "width_1": [8, 16, 64],
    "width_2": [8, 32, 32],
    "bottleneck_ratio": [1, 2, 1],
    "residual": [True, False, True],
    "padding": ["same", "valid", None],
    "w_m": [2.5, np.nan, 1.5],
    "val/acc": [90.0, 91.0, 92.0],
}


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("width <= 32", [1, 1, 0]),  # in every stage
        ("not width <= 32", [0, 0, 1]),
        ("width != 32", [1, 0, 0]),
        ("width_2 == 32", [0, 1, 1]),
        ("8 <= width < 64", [1, 1, 0]),
        ("width in (8, 16, 32)", [1, 1, 0]),
        ("width not in [64]", [1, 1, 0]),
        ("shared(width)", [1, 0, 0]),
        ("nondecreasing(width)", [1, 1, 0]),
        ("ratio(width) <= 1.5", [1, 0, 1]),
        ("max(width) - min(width) >= 16", [0, 1, 1]),
        ("width == width_1", [1, 0, 0]),
        ("depth < 5", [1, 1, 0]),  # of the network
        ("max(depth) <= 2", [1, 1, 0]),  # of a stage
        ("nondecreasing(depth) and shared(depth)", [0, 1, 0]),
        ("bottleneck_ratio == 1", [1, 0, 1]),
        ("shared(bottleneck_ratio) and bottleneck_ratio_2 == 1", [1, 0, 1]),
        ("residual == true or padding == 'valid'", [1, 1, 0]),  # the third has no padding
        ("residual == False", [0, 1, 0]),
        ("padding != 'same'", [0, 1, 0]),
        ("w_m < 2", [0, 0, 1]),
        ("not w_m < 2", [1, 0, 0]),  # the second has no w_m
        ("100 - `val/acc` <= 9 and 2e1 * -w_m < 0", [0, 0, 1]),
    ],
)
def test_restrictions(text: str, kept: list[int]) -> None:
    assert parse_restriction(text).holds(COLUMNS).astype(int).tolist() == kept


def test_a_table_of_spaces_with_and_without_a_shared_value() -> None:
    nan = np.nan
    columns = {"g": [nan, nan, 8, 4], "g_1": [8, 4, nan, nan], "g_2": [8, 8, nan, nan], "g_3": [4, nan, nan, nan]}
    for text, kept in {"g >= 8": [0, 0, 1, 0], "shared(g)": [0, 0, 1, 1], "nondecreasing(g)": [0, 1, 1, 1]}.items():
        assert parse_restriction(text).holds(columns).astype(int).tolist() == kept


def test_conjuncts_keep_the_text() -> None:
    parts = parse_restriction("(width <= 32 and `net.d x`>3) and (b==1 or pad == 'é')  and shared( width )").conjuncts()
    assert [part.text for part in parts] == ["width <= 32", "`net.d x`>3", "b==1 or pad == 'é'", "shared( width )"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("widht <= 3", "widht <= 3: name = widht: unknown; did you mean width"),
        ("shared(depht)", "name = depht: unknown; did you mean depth"),
        ("shared(qq)", "name = qq: unknown; names: depth, width, depth_1"),
        ("shared(w)", "name = w: unknown; did you mean width"),
        ("depth = 3", "must compare with ==, not ="),
        ("residual", "must compare every name with a value, such as residual == true"),
        ("sharde(width)", "function = sharde: unknown; did you mean shared"),
        ("shared(width, depth)", r"must have one parameter in shared\(…\)"),
        ("shared(width) == 1", r"must use shared\(…\) without a comparison"),
        ("ratio(width)", r"must compare ratio\(…\) with a number"),
        ("padding < 'a'", "must use text only in shared and with ==, != and in"),
        ("nondecreasing(padding)", "must use text only in shared"),
        ("padding == 1", "must compare numbers with numbers"),
        ("bottleneck_ratio in 3", "must have a list of values after in"),
        ("1 < 2", "must name a parameter or column"),
        ("width ** 2 <= 3", "must consist of comparisons"),
        ("__import__('os').system('true')", "must consist of comparisons"),
        ("(lambda: 1)() < depth", "must consist of comparisons"),
        ("depth.__class__ == 1", "name = depth.__class__: unknown"),
        ("[x for x in depth] == 1", "must consist of comparisons"),
        ("", "must consist of comparisons"),
        ("not " * 100 + "depth < 1", "must have at most 300 characters"),
        (3, "3: must be text, such as"),
    ],
)
def test_other_text_is_rejected(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        parse_restriction(text).holds(COLUMNS)
    assert "\n" not in str(caught.value)
