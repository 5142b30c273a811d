import numpy as np
import pandas as pd
import pytest

from analysis.rows import FailurePolicy, apply_failure_policy

FRAME = pd.DataFrame(
    {
        "status": ["ok", "diverged", "ok", "timeout", "missing", "diverged"],
        "error_percent": [10.0, np.nan, 30.0, np.nan, np.nan, np.nan],
    }
)


@pytest.mark.parametrize(
    ("policy", "errors", "sentence"),
    [
        ("worst", [10, 30, 30, 30, 30], "count with an error of 30.00 % (policy worst)"),
        ("error=90", [10, 90, 30, 90, 90], "count with an error of 90.00 % (policy error=90)"),
        ("drop", [10, 30], "were excluded (policy drop)"),
    ],
)
def test_the_policy_sets_the_error_of_failed_models(policy, errors, sentence):
    resolved = apply_failure_policy(FRAME, policy)
    assert resolved.frame["error_percent"].tolist() == errors
    assert resolved.failures == {"diverged": 2, "timeout": 1}
    assert resolved.missing == 1
    assert resolved.sentence.startswith("Of 5 trainings, 3 failed (2 diverged, 1 timeout) and ")
    assert sentence in resolved.sentence
    assert resolved.sentence.endswith("; 1 not trained yet and not counted.")
    assert FRAME["error_percent"].isna().sum() == 4  # the input is unchanged


def test_the_sentence_without_failures():
    assert apply_failure_policy(FRAME.iloc[[0, 2]]).sentence == "Of 2 trainings, none failed (policy worst)."


@pytest.mark.parametrize("text", ["best", "error", "error=x", "error=120", "worst=3", ""])
def test_unknown_policies_are_rejected(text):
    with pytest.raises(ValueError, match=r"^failures = .*: must "):
        FailurePolicy.parse(text)


def test_policies_round_trip_through_text():
    for text in ("worst", "drop", "error=87.5"):
        assert str(FailurePolicy.parse(text)) == text


def test_invalid_tables_are_rejected():
    with pytest.raises(ValueError, match="column = status: unknown"):
        apply_failure_policy(pd.DataFrame({"error_percent": [1.0]}))
    with pytest.raises(ValueError, match="error_percent = nan: must be a number for a model with status ok"):
        apply_failure_policy(pd.DataFrame({"status": ["ok"], "error_percent": [np.nan]}))
    with pytest.raises(ValueError, match="no model finished: 3 failed, 1 not trained yet"):
        apply_failure_policy(FRAME[FRAME["status"] != "ok"])
