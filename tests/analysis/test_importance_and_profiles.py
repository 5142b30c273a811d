import numpy as np
import pandas as pd
import pytest

from analysis.parameters import permutation_importance
from analysis.widths import fit_population, linear_structure, width_profiles


@pytest.fixture(scope="module")
def found():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {"depth": rng.integers(4, 24, 150), "w_a": rng.uniform(4, 64, 150), "b": rng.choice([1, 2], 150)}
    )
    frame["constant"], frame["name"] = 1, "x"
    frame["error_percent"] = 15 + 0.5 * np.abs(frame["depth"] - 14) + 0.02 * frame["w_a"] + rng.normal(0, 0.3, 150)
    return permutation_importance(frame, ["depth", "w_a", "b", "constant", "name", "absent"])


def test_the_parameter_that_matters_is_the_most_important(found):
    assert found.table["parameter"].tolist() == ["depth", "w_a", "b"]
    importance = found.table.set_index("parameter")
    assert importance.loc["depth", "lower"] > importance.loc["w_a", "upper"]
    assert importance.loc["b", "lower"] <= 0.02
    assert abs(importance.loc["b", "importance"]) < 0.02
    assert found.explained > 0.7
    assert found.n == 150


def test_dependence_follows_the_law_the_errors_were_made_by(found):
    depth = found.dependence[found.dependence["parameter"] == "depth"]
    assert depth.loc[depth["error"].idxmin(), "value"] == pytest.approx(14, abs=3)
    assert depth["error"].iloc[0] > depth["error"].min() + 1.5
    assert found.dependence.groupby("parameter").size().to_dict()["b"] == 2


def test_noise_explains_nothing():
    rng = np.random.default_rng(1)
    frame = pd.DataFrame({"a": rng.random(60), "error_percent": rng.random(60)})
    assert permutation_importance(frame, ["a"]).explained < 0.1
    assert permutation_importance(frame.head(19), ["a"]) is None
    assert permutation_importance(frame, []) is None


def test_networks_drawn_again_are_not_predicted_from_themselves():
    rng = np.random.default_rng(1)
    frame = pd.DataFrame({"space": "x", "spec_id": [*map(str, range(60))], "a": rng.random(60)})
    frame["error_percent"] = rng.random(60)
    drawn = pd.concat([frame] * 4, ignore_index=True)
    found = permutation_importance(drawn, ["a"])
    assert found.explained < 0.1
    assert found.n == 60


def line_of(rng, slope, n=25):
    rows = []
    for index in range(n):
        depth = int(rng.integers(6, 20))
        widths = tuple(int(w) for w in np.round(slope * (np.arange(depth) + 1) + rng.normal(0, 4, depth)))
        rows.append(
            {"space": "e", "index": index, "status": "ok", "error_percent": float(index), "block_widths": widths}
        )
    return pd.DataFrame(rows)


def test_the_line_through_the_best_is_found():
    frame = line_of(np.random.default_rng(2), 48)
    found = linear_structure(frame, 20)
    assert found.models == 20
    again = frame.assign(spec_id=frame["index"].astype(str))
    assert linear_structure(pd.concat([again] * 3), 20).slope_lower == found.slope_lower
    assert width_profiles(pd.concat([again] * 3))["model"].nunique() == 6
    assert found.slope_lower < 48 < found.slope_upper
    assert found.intercept_lower < 48 < found.intercept_upper  # w_j = 48 (j + 1)
    assert found.r_squared > 0.99
    x = np.concatenate([np.arange(len(w)) for w in frame["block_widths"].head(20)])
    slope, intercept = np.polyfit(x, np.concatenate(frame["block_widths"].head(20).to_list()), 1)
    assert (found.slope, found.intercept) == pytest.approx((slope, intercept))
    assert len(found.widths) == frame["block_widths"].head(20).map(len).sum()


def test_networks_without_widths_are_left_out():
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
