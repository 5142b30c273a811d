"""Conditions on rows, and columns as spaces."""

import pytest

from analysis import load
from analysis.expressions import parse_map
from analysis.grouping import group_by, keep_where


@pytest.fixture
def table(tmp_path):
    """Eight models; depths as floats, one unknown; a failed one in each family."""
    (tmp_path / "nets.csv").write_text(
        "err,depth,family,a=b,wide,status\n"
        "10,12.0,x,1,True,ok\n11,13.5,x,2,False,ok\n12,7,x,1,True,ok\n,20,x,1,True,diverged\n"
        '14,12,"y,z",2,False,ok\n15,,"y,z",1,True,ok\n16,100,"y,z",1,False,ok\n,9,"y,z",1,True,crashed\n'
    )
    return load(tmp_path / "nets.csv", columns=parse_map("error=err"))


@pytest.mark.parametrize(
    ("condition", "kept"),
    [
        ("depth=12", [10, 14]),
        ("depth=12.0,7", [10, 12, 14]),
        ("depth==12", [10, 14]),
        ("depth!=12", [11, 12, None, 16, None]),
        ("depth<9", [12]),
        ("depth<=9", [12, None]),
        ("depth>20", [16]),
        ("depth >= 1e1", [10, 11, None, 14, 16]),
        ("wide=true", [10, 12, None, 15, None]),
        ("family=`y,z`", [14, 15, 16, None]),
        ("family!=x", [14, 15, 16, None]),
        ("`a=b`=2", [11, 14]),
    ],
)
def test_conditions(table, condition, kept):
    errors = keep_where(table, [condition]).frame["error_percent"]
    assert [None if error != error else error for error in errors] == kept


def test_rows_without_a_value_satisfy_no_condition_and_are_counted(table):
    assert keep_where(table, ["depth!=12"]).notes == ("1 of 8 rows has no depth and is excluded.",)
    assert keep_where(table, ["family=x"]).notes == ()


@pytest.mark.parametrize("condition", ["status=ok", "error_percent<100", "err<100"])
def test_a_note_counts_failures_hidden_by_a_condition(table, condition):
    kept = keep_where(table, [condition])
    assert len(kept.frame) == 6
    assert f"where {condition}: 2 of 2 failed models are excluded, which favors" in kept.notes[-1]


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        ("depth", "must be COLUMN=VALUE"),
        ("deep=3", "where = deep=3: column = deep: unknown; did you mean depth"),
        ("family<3", "must use = or !=, because family is not numeric"),
        ("wide>0", "because wide is not numeric"),
        ("depth=deep", "must have numbers after =, because depth is numeric"),
        ("depth<", "must have one number after <"),
        ("depth<3,4", "must have one number after <"),
        ("depth=5", "no model is left; depth is one of"),
    ],
)
def test_invalid_conditions_are_rejected(table, condition, message):
    with pytest.raises(ValueError, match=message):
        keep_where(table, [condition])


def test_groups_of_a_numeric_column_keep_equal_values_together(tmp_path):
    depths = [1, 1, 1, 1, 2, 3, 4, 5, 6, 7, 8, 9]
    (tmp_path / "nets.csv").write_text(
        "error_percent,depth,a:b\n" + "".join(f"{10 + i},{d},{d}\n" for i, d in enumerate(depths))
    )
    table = load(tmp_path / "nets.csv")
    grouped = group_by(table, "depth:4")
    assert grouped.frame.groupby("space", sort=False)["depth"].apply(list).to_dict() == {
        "depth = 1": [1, 1, 1, 1],
        "depth 2 to 3": [2, 3],
        "depth 4 to 6": [4, 5, 6],
        "depth 7 to 9": [7, 8, 9],
    }
    assert "depth" in grouped.parameters  # it still varies within a group
    assert group_by(table, "a:b").frame["space"].nunique() == 9
    assert group_by(table, "`a:b`:2").frame["space"].nunique() == 2


def test_groups_of_close_numbers_have_distinct_labels(tmp_path):
    macs = [1000000 + place for place in range(8)]
    (tmp_path / "nets.csv").write_text("error_percent,macs\n" + "".join(f"10,{m}\n" for m in macs))
    labels = group_by(load(tmp_path / "nets.csv"), "macs:4").frame["space"].unique().tolist()
    assert labels == [f"macs {m} to {m + 1}" for m in macs[::2]]


@pytest.mark.parametrize(
    ("by", "message"),
    [
        ("family:2", "by = family:2: must be a numeric column to form groups"),
        ("wide:2", "must be a numeric column"),
        ("depth:1", "must have 2 to 12 groups after the colon"),
        ("depth:13", "must have 2 to 12 groups after the colon"),
        ("depth:x", "must have 2 to 12 groups"),
        ("deepth", "by = deepth: unknown; did you mean depth"),
        ("deepth:3", "by = deepth: unknown; did you mean depth"),
    ],
)
def test_invalid_groups_are_rejected(table, by, message):
    with pytest.raises(ValueError, match=message):
        group_by(table, by)
