from pathlib import Path

import pandas as pd
import pytest

from analysis.compare import check_same_training, compare_spaces
from analysis.table import Study


def table(**columns):
    return pd.DataFrame({"space": list("aabb"), "error_percent": [1.0, 2, 3, 4], "macs": 1e6, **columns})


def study(name, recipe_id, **recipe):
    return Study(name, Path(name), {"recipe_id": recipe_id, "data_id": "d", "config": {"recipe": recipe}})


def test_models_trained_alike_need_no_permission():
    assert check_same_training(table()) == []
    assert check_same_training(table(recipe_id="r", data_id=None)) == []


def test_another_recipe_is_rejected_with_what_differs():
    studies = [study("a", "r1", epochs=1, optimizer={"lr": 0.1}), study("b", "r2", epochs=2, optimizer={"lr": 0.1})]
    frame = table(recipe_id=["r1", "r1", "r2", "r2"])
    with pytest.raises(ValueError, match=r"different recipes \(epochs: 1, 2\); to compare anyway: across = recipe$"):
        check_same_training(frame, studies=studies)
    warnings = check_same_training(frame, ["recipe"], studies)
    assert warnings[0].startswith("Warning: the models were trained with different recipes (epochs: 1, 2)")


def test_ids_are_named_where_no_config_says_more():
    with pytest.raises(ValueError, match=r"different data \(data_id x and y\)"):
        check_same_training(table(data_id=["x", "x", "y", "y"]))


def test_both_may_differ_and_both_are_needed():
    frame = table(recipe_id=["r1", "r1", "r2", "r2"], data_id=["x", "x", "y", "y"])
    with pytest.raises(ValueError, match="across = recipe,data"):
        compare_spaces(frame, match=None)
    with pytest.raises(ValueError, match="different data"):
        compare_spaces(frame, match=None, across=["recipe"])
    assert len(compare_spaces(frame, match=None, across=["recipe", "data"])) == 1


def test_across_is_checked():
    with pytest.raises(ValueError, match="across = seed: must be recipe or data"):
        check_same_training(table(), ["seed"])
