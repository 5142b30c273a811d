"""Column expressions and column maps."""

import numpy as np
import pandas as pd
import pytest

from analysis import load
from analysis.expressions import parse_map


def evaluate(expression, frame):
    """The values of a parameter that is mapped to an expression."""
    return load(frame.assign(error_percent=10.0), columns={"x": expression})["x"]


FRAME = pd.DataFrame({"a": [1.0, 2.0], "b": [3, 4], "name": ["x", "y"], "top-1 error": [5.0, 6.0], "net.d": [7, 8]})


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("a*1e9", [1e9, 2e9]),
        ("100-a", [99, 98]),
        ("-(a + b) / 2", [-2, -3]),
        ("top-1 error", [5, 6]),
        ("net.d+0", [7, 8]),
        ("3", [3, 3]),
        ("name", ["x", "y"]),
    ],
)
def test_expressions(expression, value):
    assert evaluate(expression, FRAME).tolist() == value


@pytest.mark.parametrize(
    ("expression", "sentence"),
    [
        ("__import__('os').system('true')", "must consist of numbers, columns"),
        ("a.__class__", "a.__class__: column = a.__class__: unknown"),
        ("a**1000000000", "must consist of numbers, columns"),
        ("[a][0]", "must consist of numbers, columns"),
        ("a if b else 1", "must consist of numbers, columns"),
        ("'text'", "must consist of numbers, columns"),
        ("c", "x = c: column = c: unknown; columns: a, b, name, `top-1 error`"),
        ("name*2", "row 1: name = 'x': must be a number"),
        ("a+", "must consist of numbers"),
        ("-" * 50000 + "a", "must have at most 300 characters, not 50,001"),
    ],
)
def test_other_expressions_are_rejected(expression, sentence):
    with pytest.raises(ValueError, match=sentence):
        evaluate(expression, FRAME)


NAMES = ["val/acc", "macs(M)", "top-1", "acc.top1", 'a"b', "a'b", "a\\b", "a b", "a,b", "a=b", "a`b", "µacc", "lambda"]


NAMES += ["if", "None", "2nd", "100%", "x*y", "精度", "val/acc (%)", "100-acc"]


@pytest.mark.parametrize("name", NAMES)
def test_backticks_admit_any_column_name(tmp_path, name):
    pd.DataFrame({"space": ["a", "b"], name: [93.0, 92.0]}).to_csv(tmp_path / "t.csv", index=False)
    term = "`" + name.replace("`", "``") + "`"
    columns = parse_map(f"error=(100 - {term}) * 2/2,{term}")
    assert list(columns) == ["error", name]
    table = load(tmp_path / "t.csv", columns=columns)
    assert table.frame["error_percent"].tolist() == [7, 8]
    assert table.frame[name].tolist() == [93, 92]
    assert table.parameters == (name,)


@pytest.mark.parametrize("name", ["val/acc", "macs(M)", "top-1", "a b", "2nd", "100%", "a=b", "x*y", 'a"b', "a`b"])
def test_a_missing_pair_of_backticks_is_shown_in_the_error(name):
    frame = pd.DataFrame({"val": [1.0], "acc": [2.0], "top": [1.0], "x": [1.0], "y": [1.0], name: [3.0]})
    with pytest.raises(ValueError, match="must have backticks around") as caught:
        evaluate(f"100-{name}", frame)
    shown = "`" + name.replace("`", "``") + "`"
    assert str(caught.value).endswith(f", as in 100-{shown}")
    assert evaluate(f"100-{shown}", frame).tolist() == [97]


def test_spaces_separate_an_operation_from_a_column_name():
    frame = pd.DataFrame({"val": [6.0], "acc": [2.0], "val/acc": [90.0]})
    assert evaluate("1 + val / acc", frame).tolist() == [4]
    assert evaluate("val/acc", frame).tolist() == [90]


def test_division_by_zero_gives_infinity_or_nan():
    frame = pd.DataFrame({"a": [1.0, 0.0, -1.0]})
    np.testing.assert_array_equal(evaluate("a/0", frame), [np.inf, np.nan, -np.inf])
    np.testing.assert_array_equal(evaluate("1/a", frame), [1, np.inf, -1])
    assert evaluate("1/0", frame).tolist() == [np.inf] * 3


def test_column_maps():
    assert parse_map("error=top1_err, macs=gmacs*1e9,n_id") == {
        "error": "top1_err",
        "macs": "gmacs*1e9",
        "n_id": "n_id",
    }
    with pytest.raises(ValueError, match="map = 'macs=': must be NAME=EXPRESSION"):
        parse_map("macs=")
    with pytest.raises(ValueError, match="map = 'a=b,a=c': must name a only once"):
        parse_map("a=b,a=c")
