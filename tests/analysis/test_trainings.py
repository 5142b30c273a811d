import numpy as np
import pandas as pd
import pytest

from analysis.trainings import FailurePolicy, apply_failure_policy

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
        ("drop", [10, 30], "were left out (policy drop)"),
    ],
)
def test_a_failed_model_counts_as_the_policy_says(policy, errors, sentence):
    found = apply_failure_policy(FRAME, policy)
    assert found.frame["error_percent"].tolist() == errors
    assert found.failures == {"diverged": 2, "timeout": 1}
    assert found.missing == 1
    assert found.sentence.startswith("Of 5 trainings, 3 failed (2 diverged, 1 timeout) and ")
    assert sentence in found.sentence
    assert found.sentence.endswith("; 1 not trained yet and not counted.")
    assert FRAME["error_percent"].isna().sum() == 4  # the table itself is left alone


def test_without_failures_it_says_so():
    assert apply_failure_policy(FRAME.iloc[[0, 2]]).sentence == "Of 2 trainings, none failed (policy worst)."


@pytest.mark.parametrize("text", ["best", "error", "error=x", "error=120", "worst=3", ""])
def test_policies_that_do_not_exist_are_refused(text):
    with pytest.raises(ValueError, match="failure policy"):
        FailurePolicy.parse(text)


def test_policies_read_what_they_print():
    for text in ("worst", "drop", "error=87.5"):
        assert str(FailurePolicy.parse(text)) == text


def test_a_table_that_cannot_be_counted_is_refused():
    with pytest.raises(ValueError, match="no column 'status'"):
        apply_failure_policy(pd.DataFrame({"error_percent": [1.0]}))
    with pytest.raises(ValueError, match="1 models have status 'ok' but no error_percent"):
        apply_failure_policy(pd.DataFrame({"status": ["ok"], "error_percent": [np.nan]}))
    with pytest.raises(ValueError, match="no model finished: 3 failed, 1 have not"):
        apply_failure_policy(FRAME[FRAME["status"] != "ok"])
