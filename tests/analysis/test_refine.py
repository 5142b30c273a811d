from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from analysis import load
from analysis.candidates import candidates, distinct_masks
from analysis.commands import refine
from analysis.refine import REFINE_COLUMNS, ladder, models_to_confirm, refine_space
from analysis.rows import Source
from analysis.sentences import confirmation_sentences, refinement_sentences
from designspace.spaces import load_space, space


def population(n=200, seed=0):
    """Models of anynetx_b, whose error increases with the depth of the last stage and is 3 lower for shared g >= 8."""
    drawn = space("anynetx_b").with_constraints(macs=(50e6, 200e6)).sample(n, seed)
    frame = drawn.to_frame()
    rng = np.random.default_rng(seed)
    errors = 30 - np.log(frame["macs"]) + 0.3 * frame["depth_4"] - 3 * (frame["bottleneck_ratio"] == 1)
    return frame.assign(space="a", error_percent=errors + rng.gamma(2, 0.5, n))


PARAMETERS = (*(f"{name}_{stage}" for name in ("depth", "width", "group_width") for stage in range(1, 5)),)
PARAMETERS = ("depth", "bottleneck_ratio", *PARAMETERS)


@pytest.fixture(scope="module")
def models():
    return population()


@pytest.fixture(scope="module")
def refinement(models):
    return refine_space(models, PARAMETERS, tries=["depth <= 20 and group_width >= 2"])


def test_candidates_describe_the_space(models):
    texts = candidates(models, PARAMETERS)
    for text in ("shared(group_width)", "nondecreasing(width)", "ratio(width) <= 2", "bottleneck_ratio == 1"):
        assert text in texts
    assert "bottleneck_ratio != 4" in texts
    assert any(text.startswith("width_4 >= ") for text in texts)
    assert len(texts) == len(set(texts)) < 400


def test_restrictions_that_keep_the_same_models_are_listed_once(models):
    texts, masks = distinct_masks(models, ["depth_4 >= 2", "depth_4 != 1", "depth_4 > 1", "depth_4 >= 1"])
    assert texts == ["depth_4 >= 2"]
    assert masks.shape == (len(models), 1)


def test_a_restriction_that_was_asked_for_is_always_listed(models, refinement):
    assert "depth <= 20 and group_width >= 2" in set(refinement.frame["restriction"])
    frame = refine_space(models, PARAMETERS, tries=["depth >= 1"], search=False).frame
    assert frame["restriction"].tolist() == ["depth >= 1"]
    assert frame["effect"].isna().all()


def test_the_frame_has_the_documented_columns_and_rows_are_ordered_by_verdict(refinement):
    names = [name for names in REFINE_COLUMNS for name in names.split(", ")]
    frame = refinement.frame
    assert list(frame.drop(columns="_bound")) == names
    order = frame["verdict"].map(["better", "simpler", "undecided", "worse"].index)
    assert order.is_monotonic_increasing
    assert (frame["inside"] + frame["outside"] == 200).all()
    assert (frame["inside"] == refinement.masks.sum(axis=0)).all()


def test_verdicts_follow_the_intervals(refinement):
    frame = refinement.frame[refinement.frame["effect"].notna()]
    better, worse = frame["verdict"] == "better", frame["verdict"] == "worse"
    assert ((frame["effect_upper"] < 0) == better).all()
    assert (frame.loc[worse, "effect_lower"] > 0).all()
    assert (frame.loc[frame["verdict"] == "simpler", "effect"].abs() < refinement.margin).all()
    assert (frame.loc[better | worse, "p"] <= 0.06).all()


def test_the_planted_restriction_is_best_and_its_cross_fitted_effect_is_near_the_truth(refinement):
    naive, fitted = refinement.naive, refinement.cross_fitted
    assert naive["restriction"] in ("bottleneck_ratio == 1", "bottleneck_ratio <= 1")
    assert naive["verdict"] == "better"
    assert fitted.lower < -3 * (1 - naive["share"]) < fitted.upper


def test_with_a_space_the_share_and_the_size_come_from_the_sampler(models):
    anynet = space("anynetx_b").with_constraints(macs=(50e6, 200e6))
    frame = refine_space(models, PARAMETERS, space=anynet, tries=["shared(group_width)"], search=False).frame
    row = frame.iloc[0]
    assert row["share_from"] == "sampler"
    assert row["share"] < 0.03
    assert row["degrees_of_freedom"] == 10
    assert row["log10_size"] == pytest.approx(anynet.log10_size + np.log10(row["share"]))
    assert row["draw_directly"]
    assert row["verdict"] == "undecided"
    assert row["models_needed"] > 10


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"margin": 0.0}, "margin = 0: must be a positive number of points"),
        ({"draws": 0}, "draws = 0: must be at least 1"),
        ({"tries": ["widht <= 3"]}, "widht"),
    ],
)
def test_invalid_options(models, options, message):
    with pytest.raises(ValueError, match=message):
        refine_space(models, PARAMETERS, **options)


def test_a_random_choice_of_models_is_stated(models, refinement, monkeypatch):
    monkeypatch.setattr("analysis.refine.MAX_MODELS", 120)
    chosen = refine_space(models, PARAMETERS)
    assert "Estimated from 120 of the 200 models, chosen at random." in refinement_sentences(chosen)
    assert not any("chosen at random" in sentence for sentence in refinement_sentences(refinement))


def test_too_few_models(models):
    with pytest.raises(ValueError, match="must have at least 20 models of known macs, not 12"):
        refine_space(models.head(12), PARAMETERS)


def test_a_ladder_accepts_restrictions_that_keep_enough_models(models):
    steps = ladder(models, PARAMETERS, 2, space=None)
    assert steps[0].kept.all()
    assert steps[1].verdict == "better"
    for before, after in pairwise(steps):
        assert after.text.endswith(after.restriction)
        assert 40 <= after.kept.sum() < before.kept.sum()
        assert not np.any(after.kept & ~before.kept)


def test_models_to_confirm_scale_with_the_inverse_square_of_the_effect():
    errors = np.random.default_rng(0).normal(size=500)
    one, half = (models_to_confirm(effect, errors, errors) for effect in (-0.5, -0.25))
    assert one == pytest.approx(2 * (2.8 / 0.5) ** 2 * errors.var(), rel=0.03)
    assert half == pytest.approx(4 * one, rel=0.02)


@pytest.fixture
def table(models):
    frame = models.drop(columns=["space"])[["error_percent", "macs", "params", "acts", *PARAMETERS]]
    return load(frame)


def test_a_table_from_another_tool_is_refined_by_its_columns(table):
    result = table.refine("depth <= 20")
    assert result.frame["share_from"].eq("models").all()
    assert "depth <= 20" in set(result.frame["restriction"])
    assert "Cross-fitted" in str(result)
    result.plot()
    table.refine(take=1).plot()
    table.refine(steps=1).plot()


def test_a_table_must_have_one_space(make_study, tmp_path):
    with pytest.raises(ValueError, match=r"space = bottleneck, inverted: must be one; select it"):
        load(make_study(tmp_path / "study")).refine()


def test_the_command_writes_the_next_space_and_plans_a_confirmation(make_study, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make_study(tmp_path / "run", n=60, spaces={"bottleneck": (1.0, (2e6, 20e6))})
    assert refine(["run", "--try", "depth <= 10", "--take", "1", "--write", "next.yaml", "--confirm"]) == 0
    printed = capsys.readouterr().out
    content = yaml.safe_load((tmp_path / "next.yaml").read_text())
    assert content["provenance"]["from"] == "run"
    assert load_space("next.yaml").sample(5).satisfies(content["restrict"]).all()
    planned = load_space("run-confirm/restricted.yaml").sample(5)
    assert planned.satisfies(content["restrict"]).all()
    assert "seed=1" in printed
    assert "designspace report run-confirm/run" in printed
    assert refine(["run", "--try", "depth <= 10", "--take", "1", "--confirm"]) == 0  # prints the command again
    with pytest.raises(ValueError, match=r"restricted\.yaml exists and has another restriction"):
        refine(["run", "--try", "depth <= 10", "--take", "2", "--confirm"])
    with pytest.raises(ValueError, match=r"write = next\.yaml: exists"):
        refine(["run", "--take", "1", "--write", "next.yaml"])


def test_writing_needs_a_choice():
    with pytest.raises(ValueError, match=r"write = next\.yaml: must be used with --take K or --steps N"):
        refine(["run", "--write", "next.yaml"])


@pytest.mark.parametrize(
    ("difference", "verdict"), [(1.0, "is confirmed"), (0.1, "is not confirmed"), (-1.0, "is refuted")]
)
def test_the_report_of_a_confirmation_says_whether_the_effect_held(difference, verdict):
    provenance = {"restriction": "depth <= 20", "expected": -0.8}
    manifest = {"config": {"spaces": {"full": {}, "restricted": {"provenance": provenance}}}}
    pairs = pd.DataFrame(
        {
            "a": ["full"],
            "b": ["restricted"],
            "problem": [""],
            "difference": [difference],
            "difference_lower": [difference - 0.5],
            "difference_upper": [difference + 0.5],
        }
    )
    (sentence,) = confirmation_sentences([Source("run", Path("run"), manifest)], pairs)
    assert f"depth <= 20 {verdict}" in sentence
