"""Status words of other tools."""

import pytest

from analysis import load
from analysis.expressions import parse_map
from analysis.rows import apply_failure_policy
from designspace.study import STATUSES

TOOLS = {
    "Optuna": {"COMPLETE": "ok", "PRUNED": "pruned", "FAIL": "crashed", "RUNNING": "missing", "WAITING": "missing"},
    "Optuna's enum": {"TrialState.COMPLETE": "ok", "TrialState.PRUNED": "pruned"},
    "W&B": {"finished": "ok", "crashed": "crashed", "failed": "crashed", "killed": "killed", "preempted": "missing"},
    "Ray Tune": {"TERMINATED": "ok", "ERROR": "crashed", "PENDING": "missing", "RUNNING": "missing"},
    "MLflow": {"FINISHED": "ok", "FAILED": "crashed", "KILLED": "killed", "SCHEDULED": "missing"},
    "SLURM": {"COMPLETED": "ok", "OUT_OF_MEMORY": "out_of_memory", "TIMEOUT": "timeout", "CANCELLED": "killed"},
    "people": {"OK": "ok", "success": "ok", "Succeeded": "ok", "done": "ok", "Timed out": "timeout", "": "ok"},
    "ours": {status: status for status in (*STATUSES, "missing")},
}


@pytest.mark.parametrize("tool", TOOLS)
def test_status_words_of_other_tools(tmp_path, tool):
    words = TOOLS[tool]
    rows = "".join(f"{20 + place},{word}\n" for place, word in enumerate(words))
    (tmp_path / "trials.csv").write_text("error,state\n" + rows)
    table = load(tmp_path / "trials.csv", columns=parse_map("error,status=state"))
    assert table.frame["status"].tolist() == list(words.values())
    assert (table.frame["error_percent"].notna() == (table.frame["status"] == "ok")).all()
    assert any("status words read" in note for note in table.notes) == (tool != "ours")


def test_intermediate_errors_are_not_used_and_status_words_are_noted(tmp_path):
    (tmp_path / "trials.csv").write_text(
        "error,state\n10,COMPLETE\n60,PRUNED\n70,RUNNING\n,WAITING\n30,COMPLETE\n900,PRUNED\n"
    )
    table = load(tmp_path / "trials.csv", columns=parse_map("error,status=state"))
    assert table.notes == (
        "trials.csv: status words read: COMPLETE as ok; RUNNING, WAITING as not trained yet; "
        "PRUNED as pruned (a failure).",
        "trials.csv: 3 errors of models that are not ok are not final and not used.",
    )
    resolved = apply_failure_policy(table.frame)
    assert resolved.frame["error_percent"].tolist() == [10, 30, 30, 30]  # pruned models count as the worst
    assert (resolved.failures, resolved.missing) == ({"pruned": 2}, 2)


def test_an_unknown_status_word_is_rejected_with_the_list_of_words(tmp_path):
    (tmp_path / "trials.csv").write_text("error,state\n10,COMPLETE\n20,archived\n30,archived\n")
    with pytest.raises(ValueError, match=r"trials\.csv: status = 'archived' \(2\): unknown; .*finished.*pruned"):
        load(tmp_path / "trials.csv", columns=parse_map("error,status=state"))
