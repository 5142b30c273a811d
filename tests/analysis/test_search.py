import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from analysis import load, search_efficiency, search_runs
from analysis.search import LEVEL, compare_with_random, random_draws, search_sentences

ONE = {"bottleneck": (1.0, (2e6, 20e6))}


@pytest.fixture
def searched(tmp_path, make_study):
    """24 random draws and 36 proposals per space, 3 points better."""
    return load(make_study(tmp_path / "searched", search="tpe", budget=60, gain=3.0))


def without_proposals(table):
    return replace(table, frame=table.frame[table.frame["proposed_by"] == ""].reset_index(drop=True))


STATISTICS = {
    "describe": lambda table: table.describe(),
    "models": lambda table: table.models(),
    "edf": lambda table: table.edf(match="macs").frame,
    "compare": lambda table: table.compare().frame,
    "fit": lambda table: table.fit_widths().frame,
    "trends": lambda table: table.trends().frame,
    "refine": lambda table: table.where("space=bottleneck").refine().frame,
}


@pytest.mark.parametrize("name", STATISTICS)
def test_proposals_change_no_statistic_of_a_space(searched, name):
    statistic = STATISTICS[name]
    pd.testing.assert_frame_equal(statistic(searched), statistic(without_proposals(searched)))


def test_statistics_report_the_proposals_that_they_exclude(searched):
    expected = (
        "72 more models were proposed by a search and are not a sample of the space, so this statistic excludes them: "
        "36 of bottleneck (tpe), 36 of inverted (tpe)."
    )
    assert any(expected in sentence for sentence in searched.edf().sentences)
    assert not any("proposed" in sentence for sentence in without_proposals(searched).edf().sentences)


def test_selection_and_the_table_include_proposals(searched):
    best = searched.select(1).frame.iloc[0]
    assert best["error_percent"] == searched["error_percent"].min()
    assert best["proposed_by"] == "tpe"
    assert len(searched) == 120


def test_a_table_file_may_name_proposals(tmp_path):
    path = tmp_path / "nets.csv"
    rows = [f"net{i},{30 + i % 7},{'tpe' if i >= 10 else ''}" for i in range(25)]
    path.write_text("\n".join(["name,error,proposed_by", *rows]))
    table = load(path, columns={"error": "error"})
    assert len(table.models()) == 10
    (runs,) = (len(run) for _, run in search_runs(table.frame).groupby("study"))
    assert runs == 25


def test_a_space_without_random_draws_has_no_reference(tmp_path):
    path = tmp_path / "nets.csv"
    rows = [f"{30 + i % 7},{1000 + i},{'a' if i < 20 else 'b'},{'tpe' if i >= 10 else ''}" for i in range(30)]
    path.write_text("\n".join(["error_percent,macs,space,proposed_by", *rows]))
    table = load(path)
    result = table.search()
    assert result.frame["space"].unique().tolist() == ["a"]
    assert any("random draws of its space: b." in sentence for sentence in result.sentences)
    table.report(tmp_path / "report")
    with pytest.raises(ValueError, match=r"^space = b: must have random draws, the reference of a search$"):
        table.where("space=b").search()


def test_a_run_is_the_random_draws_of_its_study_and_its_proposals(tmp_path, make_study):
    # Both studies have the same 10 first draws, which the table has once.
    make_study(tmp_path / "a", n=10, spaces=ONE, search="tpe", budget=20)
    make_study(tmp_path / "b", n=10, spaces=ONE, search="cmaes", budget=16)
    table = load(tmp_path / "a", tmp_path / "b")
    runs = search_runs(table.frame)
    assert runs.groupby("strategy").size().to_dict() == {"cmaes": 16, "tpe": 20}
    assert [(run["proposed_by"] == "").sum() for _, run in runs.groupby("study")] == [10, 10]
    for _, run in runs.groupby("study"):
        assert run["best"].tolist() == np.minimum.accumulate(run["error_percent"]).tolist()


def test_failed_proposals_count_as_trained_and_never_as_best(tmp_path, make_study):
    study = make_study(tmp_path / "s", n=5, spaces=ONE, search="tpe", budget=10, failures={0: "diverged", 7: "crashed"})
    runs = search_runs(load(study).frame)
    assert runs["error_percent"].isna().sum() == 0
    assert runs.loc[[0, 7], "error_percent"].tolist() == [math.inf, math.inf]
    assert np.isfinite(runs["best"].iloc[-1])


def test_seeds_of_a_proposal_are_averaged(tmp_path, make_study):
    study = make_study(tmp_path / "s", n=5, spaces=ONE, search="tpe", budget=9, training_seeds=(0, 1, 2))
    table = load(study)
    runs = search_runs(table.frame)
    assert len(runs) == 9
    assert runs["error_percent"].to_numpy() == pytest.approx(
        table.frame.groupby("index")["error_percent"].mean().to_numpy()
    )


def test_random_proposals_are_random_draws(tmp_path, make_study):
    study = make_study(tmp_path / "s", n=10, spaces=ONE, search="random", budget=40)
    efficiency = search_efficiency(load(study).frame)
    assert efficiency.reference["n"].unique().tolist() == [40]
    assert efficiency.summary.empty
    assert efficiency.curves["strategy"].unique().tolist() == ["random"]
    assert load(study).search().sentences[0].startswith("All proposals are random draws")


def test_all_errors_are_those_of_the_same_epoch_if_trainings_were_stopped(tmp_path, make_study):
    # Two epochs; the second lowers every error by 6 points. Only a proposal was stopped.
    path = make_study(tmp_path / "s", n=10, spaces=ONE, search="tpe", budget=20, failures={15: "stopped"})
    complete = make_study(tmp_path / "complete", n=10, spaces=ONE, search="tpe", budget=20)
    table = load(path)
    pd.testing.assert_series_equal(search_runs(table.frame)["best"], search_runs(load(complete).frame)["best"] + 6)
    efficiency = search_efficiency(table.frame)
    assert efficiency.reference["lower"].iloc[0] >= table.models()["error_percent"].min()
    assert any("from epoch 1 of 2" in sentence for sentence in table.search().sentences)


def test_studies_with_one_seed_have_the_same_random_draws(tmp_path, make_study):
    make_study(tmp_path / "a", n=10, spaces=ONE, search="random", budget=30)
    make_study(tmp_path / "b", n=10, spaces=ONE, search="random", budget=20)
    make_study(tmp_path / "c", n=10, seed=1, spaces=ONE, search="tpe", budget=20)
    assert len(random_draws(load(tmp_path / "a", tmp_path / "b", tmp_path / "c").frame)) == 40


def test_a_network_that_one_study_draws_and_another_proposes_stays_a_random_draw(tmp_path, make_study):
    make_study(tmp_path / "searched", n=10, spaces=ONE, search="random", budget=30)  # its proposals are draws 10 to 29
    make_study(tmp_path / "drawn", n=30, spaces=ONE)
    for order in (("searched", "drawn"), ("drawn", "searched")):
        table = load(*(tmp_path / name for name in order))
        models = table.models()
        assert sorted(models["index"]) == list(range(30))
        assert len(random_draws(table.frame)) == 30


def test_the_chance_of_random_search_is_that_of_the_best_of_m_draws():
    # Errors 1 to 100 %: a tenth of the space has an error of at most 10 %.
    draws = pd.DataFrame({"error_percent": np.arange(1.0, 101), "proposed_by": ""})
    proposals = pd.DataFrame({"error_percent": [10.0, 50.0], "proposed_by": "tpe"})
    frame = as_rows(pd.concat([draws.assign(study="draws"), proposals.assign(study="search")], ignore_index=True))
    row = search_efficiency(frame).summary.iloc[0]
    assert (row["models"], row["best"]) == (2, 10.0)
    assert row["chance"] == pytest.approx(1 - 0.9**2)
    assert row["needed"] == 7  # 0.9^7 is the first power below one half
    assert row["needed_lower"] < 7
    assert row["chance_upper"] > row["chance"]


def as_rows(frame):
    columns = {"space": "s", "status": "ok", "seed": 0, "draw_id": None, "index": np.arange(len(frame))}
    return frame.assign(spec_id=[f"net{i}" for i in range(len(frame))], **columns)


def simulated(rng, runs, draws, proposals, shift=0.0):
    parts = []
    for run in range(runs):
        errors = rng.normal(30, 2, draws + proposals).round(1)  # ties, as with a small validation split
        errors[draws:] -= shift
        names = ["" if i < draws else "tpe" for i in range(draws + proposals)]
        parts.append(pd.DataFrame({"error_percent": errors, "proposed_by": names, "study": f"run {run}"}))
    return as_rows(pd.concat(parts, ignore_index=True))


@pytest.mark.parametrize(("runs", "draws", "proposals"), [(1, 10, 40), (1, 200, 20), (4, 80, 40)])
def test_random_proposals_are_seldom_called_better(runs, draws, proposals):
    rng, rows = np.random.default_rng(0), []
    for _ in range(300):
        errors = rng.normal(30, 2, (runs, proposals)).round(1)  # ties, as with a small validation split
        random = rng.normal(30, 2, draws).round(1)
        rows.append(compare_with_random(errors.min(axis=1), errors, random, proposals))
    better = np.mean([row["p_value"] <= LEVEL for row in rows])
    beats = np.mean([row["chance_upper"] <= LEVEL for row in rows])
    assert better <= 0.05 + 2.5 * math.sqrt(0.05 * 0.95 / 300)
    assert beats <= 0.05


def test_a_search_that_is_better_is_called_better():
    rng = np.random.default_rng(0)
    draws, searches = simulated(rng, 1, 1500, 0).assign(study="draws"), simulated(rng, 3, 5, 15, shift=8.0)
    summary = search_efficiency(pd.concat([draws, searches], ignore_index=True)).summary
    assert summary["p_value"].item() < 0.001
    assert summary["better"].item() > 0.95
    assert "Search beats random search at this budget" in search_sentences(summary)[0]


def test_few_random_draws_cannot_show_that_search_beats_random_search(searched):
    sentences = searched.search().sentences
    assert all("Search beats random search" not in sentence for sentence in sentences)
    assert any("None of the 24 random draws reaches this error" in sentence for sentence in sentences)


def test_the_figure_needs_one_space(searched):
    with pytest.raises(ValueError, match="space = bottleneck, inverted: must be one for a figure"):
        searched.search().plot()
    assert searched.where("space=bottleneck").search().plot().get_xlabel() == "models trained"


def test_a_table_without_proposals_is_refused(study):
    with pytest.raises(ValueError, match="no model was proposed by a search"):
        load(study).search()


def test_the_report_has_the_search(searched, tmp_path):
    report = searched.where("space=bottleneck").report(tmp_path / "report")
    page = report.page.read_text()
    assert "tpe in bottleneck: smallest error" in page
    assert "36 more proposed by a search" in page
    assert (tmp_path / "report" / "figures" / "search.svg").exists()
    findings = report.findings
    assert len(findings.models) == 24
    assert len(findings.trained) == 60
    assert findings.trained.loc[findings.trained["error_percent"].idxmin(), "pareto"]
