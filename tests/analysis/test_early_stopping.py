"""Statistics of studies that stopped models early: errors after a common epoch, and selection of complete models."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from analysis import load
from analysis.early_stopping import CommonEpoch, at_common_epoch, epochs_saved, saved_sentence
from analysis.findings import find
from analysis.headline import badges
from analysis.rows import apply_failure_policy
from analysis.sentences import section_sentences

STOPPED = dict.fromkeys(range(12, 48, 2), "stopped")  # 18 models of one space

FRAME = pd.DataFrame(
    {
        "status": ["ok", "stopped", "stopped", "diverged", "ok"],
        "error_percent": [8.0, 30.0, 20.0, np.nan, 9.0],
        "epoch_validation_error_percent": [(24.0, 16.0, 10.0, 8.0), (30.0,), (26.0, 20.0), (), (28.0, 20.0, 11.0, 9.0)],
        "epoch_train_loss": [(4.0, 3.0, 2.0, 1.0), (5.0,), (4.0, 3.0), (), (4.0, 3.0, 2.0, 1.0)],
        "epochs_done": [4, 1, 2, 0, 4],
        "updates": [400, 100, 200, 30, 400],
    }
)


@pytest.fixture
def study(tmp_path: Path, make_study: Callable[..., Path]) -> Path:
    return make_study(tmp_path / "early", failures=STOPPED)


def test_errors_are_those_of_the_last_epoch_that_all_trainings_reached():
    frame, (common,) = at_common_epoch(FRAME)
    assert frame["error_percent"].tolist()[:3] == [24.0, 30.0, 26.0]
    assert frame["error_percent"].tolist()[4] == 28.0
    assert frame["status"].tolist() == ["ok", "ok", "ok", "diverged", "ok"]
    assert frame["epoch_validation_error_percent"].map(len).tolist() == [1, 1, 1, 0, 1]
    assert frame["epoch_train_loss"].map(len).tolist() == [1, 1, 1, 0, 1]
    assert frame["epochs_done"].tolist() == [1, 1, 1, 0, 1]
    assert frame["updates"].tolist() == [100, 100, 100, 30, 100]
    assert common == CommonEpoch(("",), epoch=1, epochs=4, stopped=2, trainings=4)
    assert FRAME["error_percent"].tolist()[0] == 8.0  # the input is unchanged


def test_a_failed_model_counts_with_the_worst_error_of_the_common_epoch():
    resolved = apply_failure_policy(FRAME)
    assert (resolved.failures, resolved.filled_with) == ({"diverged": 1}, 30.0)
    assert resolved.sentence == (
        "Of 5 trainings, 1 failed (1 diverged) and counts with an error of 30.00 % (policy worst). 2 of 4 trainings "
        "were stopped early, so all errors are from epoch 1 of 4, the last epoch that every training reached."
    )


def test_tables_without_stopped_models_do_not_change():
    frame = FRAME[FRAME["status"] != "stopped"]
    same, epochs = at_common_epoch(frame)
    assert same is frame
    assert epochs == ()


def test_only_trainings_with_the_recipe_of_a_stopped_one_change():
    other = FRAME[FRAME["status"] == "ok"].assign(study="long", recipe_id="b", data_id="d")
    frame, (common,) = at_common_epoch(
        pd.concat([FRAME.assign(study="early", recipe_id="a", data_id="d"), other], ignore_index=True)
    )
    assert common.studies == ("early",)
    assert frame["error_percent"].tolist()[5:] == [8.0, 9.0]


@pytest.mark.parametrize("curve", [(), (None, 8.0), None])
def test_a_training_without_an_error_after_the_common_epoch_is_refused(curve):
    frame = FRAME.copy()
    frame["epoch_validation_error_percent"] = [curve, *FRAME["epoch_validation_error_percent"][1:]]
    with pytest.raises(
        ValueError, match=r"^epoch_validation_error_percent: required because trainings were stopped early"
    ):
        apply_failure_policy(frame)


def test_a_table_without_curves_is_refused():
    table = load(
        pd.DataFrame({"spec_id": ["a", "b", "c"], "error_percent": [10, 11, 30], "status": ["ok", "ok", "stopped"]})
    )
    with pytest.raises(ValueError, match=r"missing for 3 of 3 trainings$"):
        table.edf()
    assert table.select(3).frame["error_percent"].tolist() == [10, 11]


def test_every_statistic_equals_that_of_the_complete_study_at_the_same_epoch(study, tmp_path, make_study):
    complete = load(make_study(tmp_path / "complete")).frame
    cut = complete.assign(error_percent=complete["epoch_validation_error_percent"].map(lambda curve: curve[0]))
    early = load(study)
    errors = early.models().set_index(["space", "index"])["error_percent"].sort_index()
    pd.testing.assert_series_equal(errors, cut.set_index(["space", "index"])["error_percent"].sort_index())
    sentence = "18 of 48 trainings were stopped early, so all errors are from epoch 1 of 2"
    for result in (early.edf(), early.compare(), early.trends(), early.fit_widths()):
        assert sum(sentence in note for note in result.sentences) == 1
    assert "not" not in repr(early).split("stopped early")[0]
    assert "30 finished, 18 stopped early, 0 failed" in repr(early)


def test_only_complete_models_are_selected(study):
    early = load(study)
    selected = early.select(50)
    assert len(selected.frame) == 30
    assert set(selected.frame["status"]) == {"ok"}
    assert (selected.frame["stopped"] == 18).all()
    assert (selected.frame["left_out"] == 0).all()
    assert "Selected from 30 models (18 more had a training stopped early) by error" in selected.sentences[0]
    with pytest.raises(ValueError, match=r"^no model can be selected: every model has a failed or stopped training$"):
        early.where("status=stopped").select()


def test_a_filter_on_the_outcome_is_noted(study):
    complete = load(study).where("status=ok")
    assert complete.notes == (
        "where status=ok: 18 of 18 models stopped early are excluded, so the others are not a random sample of their "
        "spaces.",
    )


def test_saved_epochs_by_hand(study):
    frame = pd.DataFrame(
        {
            "study": ["s"] * 5 + ["table"],
            "space": ["a", "a", "a", "b", "b", "a"],
            "status": ["ok", "stopped", "stopped", "ok", "diverged", "stopped"],
            "epochs_done": [8, 1, 4, 8, 2, 1],
        }
    )
    saved = epochs_saved(frame, {"s": 8})
    assert saved.to_dict("records") == [
        {"space": "a", "trainings": 3, "stopped": 2, "epochs": 24, "saved": 11},
        {"space": "b", "trainings": 1, "stopped": 0, "epochs": 8, "saved": 0},
    ]
    assert saved_sentence(saved) == "Early stopping saved 11 of 32 epochs (34%)."
    assert saved_sentence(saved[saved["space"] == "b"]) == ""
    assert load(study).epochs_saved()["saved"].sum() == 18


def test_the_report_states_the_epoch_and_the_saved_epochs(study):
    findings = find(load(study))
    assert findings.error == "validation error of the last epoch that all models reached"
    badge = next(badge for badge in badges(findings) if badge.name == "Stopped early")
    assert "18 of 48 trainings were stopped early" in badge.sentence
    sections = section_sentences(findings)
    assert "Early stopping saved 18 of 96 epochs (19%)." in sections["training"]
    assert "18 models were not eligible because a training was stopped early." in sections["best"]
    assert findings.failures.empty
    assert findings.selection.best["error_percent"].max() < findings.models["error_percent"].min() + 6
