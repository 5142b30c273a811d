import dataclasses
import re
from dataclasses import replace
from html.parser import HTMLParser
from itertools import islice

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text

from analysis import plots, sentences
from analysis.expression import parse_map
from analysis.figures import _spaces, pictures, scatter_name
from analysis.findings import find
from analysis.regimes import best_by_regime
from analysis.report import render, write_report
from analysis.sentences import headline, summary
from analysis.table import load_table


class Page(HTMLParser):
    """Tags with their attributes, and the text."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.text = [], ""
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_data(self, data):
        self.text += data

    def all(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]


def whole(findings):
    """The page, with its pictures laid out but not saved, which takes most of the time."""
    return render(findings, [Laid(p) for p in pictures(findings)])


class Laid:
    """A picture whose image is left out."""

    def __init__(self, picture):
        self.name, self.title, self.caption = picture.name, picture.title, picture.caption
        self.part, self.inches = picture.part, picture.inches

    def data_uri(self):
        return "data:,"


@pytest.fixture(scope="module")
def findings(tmp_path_factory, make_study):
    lost = {3: "diverged", 8: "out_of_memory", 10: "diverged"}
    return find(load_table(make_study(tmp_path_factory.mktemp("report") / "study", failures=lost, untrained=2)))


@pytest.fixture(scope="module")
def written(findings, tmp_path_factory):
    """The page, written once."""
    return write_report(findings, tmp_path_factory.mktemp("page"), "designspace report x")


def test_the_page_fetches_nothing_and_runs_nothing_of_others(written):
    text = written.read_text()
    page = Page(text)
    assert [set(script) for script in page.all("script")] == [{"type", "id"}, set()]  # the models, and our own
    assert not page.all("link")
    assert "default-src 'none'" in text
    bare = re.sub(r"data:[^\"]*", "", text).replace("http://www.w3.org/2000/svg", "")
    assert "http://" not in bare
    assert "https://" not in bare
    assert all(image["src"].startswith("data:image/svg+xml;base64,") for image in page.all("img"))
    assert all(image["alt"] for image in page.all("img"))
    assert "<script>alert(1)</script>" in page.text  # a message is shown, not run


def test_the_page_shows_every_part(written):
    page = Page(written.read_text())
    ids = {figure.get("id") for figure in page.all("figure")}
    assert {"edf", "edf_matched", "differences", "error_vs_depth", "error_vs_group_width", "error_vs_fit_error"} <= ids
    assert "error_vs_bottleneck_ratio" not in ids  # fixed in each of these spaces
    for part in (
        "2 diverged, 1 out_of_memory",
        "missing",
        "acceptance",
        "duplicates",
        "designspace report x",
        "0.1",
        "learning_rate",
    ):
        assert part in page.text
    for name in ids:
        assert (written.parent / "figures" / f"{name}.png").read_bytes().startswith(b"\x89PNG")


def test_the_same_findings_give_the_same_pictures(findings):
    first, second = (list(islice(_spaces(findings), 2)) for _ in range(2))
    for one, other in zip(first, second, strict=True):
        assert one.png() == other.png()
        assert one.data_uri() == other.data_uri()


def test_the_summary_tells_the_numbers_of_the_frames(findings):
    told = " ".join(summary(findings))
    row = findings.comparison.iloc[0]
    assert row["matched_by"] == "macs"
    better = "bottleneck" if row["difference"] < 0 else "inverted"
    assert f"{better} beats" in told or "no difference in mean error" in told
    assert f"{abs(row['difference']):.2f} points" in told or "no difference" in told
    assert f"{abs(row['difference_lower']):.2f}" in told
    assert f"{findings.best['error_percent'][0]:.2f} % validation error" in told
    assert findings.resolved.sentence in told
    assert "stand behind this" in told
    assert "few: 100 and more" in told


def test_without_a_difference_none_is_claimed(tmp_path, make_study):
    told = summary(find(load_table(make_study(tmp_path / "same", n=20, advantage=0.0, seed=3))))
    assert told[0].startswith(
        "At equal multiply-adds, no difference in mean error between bottleneck and inverted is detected"
    )


def test_trainings_too_short_to_tell_models_apart_are_a_caution(tmp_path, make_study):
    table = load_table(make_study(tmp_path / "short", n=4))
    assert any("had 156 updates (median): below about 500" in sentence for sentence in summary(find(table)))
    long = dataclasses.replace(table, frame=table.frame.assign(updates=5000))
    assert not any("updates (median)" in sentence for sentence in summary(find(long)))


def test_one_space_alone_is_a_report_without_comparison(study):
    table = load_table(study)
    alone = table.frame[table.frame["space"] == "inverted"].reset_index(drop=True)
    findings = find(type(table)(alone, table.studies, table.parameters))
    assert findings.comparison.empty
    page = Page(whole(findings))
    assert "edf_matched" not in {figure.get("id") for figure in page.all("figure")}


def test_a_study_of_two_models_per_space_is_compared_as_drawn(tmp_path, make_study):
    findings = find(load_table(make_study(tmp_path / "tiny", n=2)))
    assert findings.matching is None
    assert "cannot be matched by macs" in findings.match_problem
    assert findings.comparison["matched_by"].tolist() == ["none"]
    assert "compared as drawn" in " ".join(summary(findings))
    whole(findings)


def test_one_model_per_space_is_not_an_error(tmp_path, make_study):
    findings = find(load_table(make_study(tmp_path / "single", n=1)))
    assert "too few models for an interval" in summary(findings)[0]
    whole(findings)


def test_all_models_of_a_space_failing_is_not_an_error(tmp_path, make_study):
    failures = dict.fromkeys(range(0, 12, 2), "diverged")
    findings = find(load_table(make_study(tmp_path / "lost", n=6, failures=failures)))
    assert sorted(findings.spaces["failed"]) == [0, 6]
    render(findings, [])


def test_a_foreign_table_of_one_column_is_a_report(tmp_path):
    pd.DataFrame({"error_percent": [3.0, 2.0, 5.0, None]}).to_csv(tmp_path / "t.csv", index=False)
    findings = find(load_table(tmp_path / "t.csv"))
    page = Page(whole(findings))
    assert {figure.get("id") for figure in page.all("figure")} == {"edf", "random_search"}
    assert "the table has no error for it" in page.text
    text = page.text[: page.text.index("const SVG")]
    assert "alidation" not in text  # of which split the errors are is not known
    assert "test split" not in text


def test_spaces_by_a_column_and_seeds_of_a_foreign_table(tmp_path):
    rng = np.random.default_rng(0)
    table = pd.DataFrame(
        {"kind": rng.choice(["a", "b"], 60), "k": rng.integers(1, 5, 60), "macs": rng.uniform(1, 9, 60)}
    )
    table["one"] = 10 + table["k"] + rng.normal(0, 0.3, 60)
    table["two"] = table["one"] + rng.normal(0, 0.3, 60)
    table.to_csv(tmp_path / "t.csv", index=False)
    findings = find(load_table(tmp_path / "t.csv", columns=parse_map("error_1=one,error_2=two,macs,k")), by="kind")
    assert sorted(findings.spaces["space"]) == ["a", "b"]
    assert findings.noise.seed_sd == pytest.approx(0.3 / np.sqrt(2), rel=0.3)
    assert findings.best["estimate"].notna().all()
    text = whole(findings)
    assert "Two seeds rank the models" in text
    assert "expected error on retraining is" in text


def test_mistakes_are_named(study):
    with pytest.raises(ValueError, match="match is 'flops'; allowed: macs, params, acts, none"):
        find(load_table(study), match="flops")


def test_pictures_take_axes_and_return_them(findings):
    frame = findings.models
    structure = findings.structures["inverted"]
    draws = [
        lambda ax: plots.plot_edf(findings.curves, ax=ax),
        lambda ax: plots.plot_parameter(frame, "depth", ax=ax),
        lambda ax: plots.plot_differences(findings.comparison, ax=ax),
        lambda ax: plots.plot_width_profiles(findings.profiles, ax=ax),
        lambda ax: plots.plot_linear_structure(structure.widths, structure.slope, structure.intercept, ax=ax),
        lambda ax: plots.plot_random_search(findings.search, ax=ax),
        lambda ax: plots.plot_regimes(best_by_regime(frame, ["depth"], regimes=3), "depth", ax=ax),
        lambda ax: plots.plot_importance(findings.importance.table, ax=ax),
        lambda ax: plots.plot_dependence(findings.importance.dependence, "depth", ax=ax),
        lambda ax: plots.plot_pareto(frame, ax=ax),
        lambda ax: plots.plot_learning_curves(findings.learning, ax=ax),
        lambda ax: plots.plot_rank_agreement(findings.fidelity, ax=ax),
    ]
    assert len(draws) == len(plots.__all__)
    for draw in draws:
        ax = Figure().subplots()
        assert draw(ax) is ax
        assert isinstance(ax, Axes)


def test_a_dollar_in_a_name_starts_no_formula(study):
    """Every figure is drawn with names that are no valid formula, and shows them as they are."""
    table = load_table(study)
    names = {"bottleneck": "cost $x^$ y", "inverted": "$\\b$"}
    frame = table.frame.assign(space=table.frame["space"].map(names)).rename(columns={"w_a": "$w^$", "w_0": "a/$_$"})
    findings = find(replace(table, frame=frame, parameters=("depth", "$w^$", "a/$_$")))
    drawn = pictures(findings)
    assert {"edf", "differences", "error_vs_depth", "error_vs-2", "error_vs-3", "pareto"} <= {p.name for p in drawn}
    figures = [picture.figure for picture in drawn]
    trees, regimes = findings.importance, best_by_regime(findings.models, ["$w^$"], regimes=3)
    for draw in (
        lambda ax: plots.plot_importance(trees.table, ax=ax),
        lambda ax: plots.plot_dependence(trees.dependence, "$w^$", ax=ax),
        lambda ax: plots.plot_regimes(regimes, "$w^$", ax=ax),
        lambda ax: plots.plot_pareto(findings.models, "$w^$", ax=ax),
    ):
        figures.append(Figure())
        draw(figures[-1].subplots())
        figures[-1].draw_without_rendering()
    shown = {text.get_text() for figure in figures for text in figure.findobj(Text)}
    assert {"$w^$", "a/$_$"} <= shown
    assert any(names["bottleneck"] in text for text in shown)


HOSTILE_NAMES = [
    "x/../../../f",
    "..",
    "",
    "Depth",
    "DEPTH",
    "depth ",
    "/etc/f",
    "C:\\f",
    "é" * 200,
    "w" * 300,
    "a\0b",
    "-2",
]


def test_names_of_figures_are_ours_whatever_the_parameters_are_called(study, tmp_path):
    """No name leaves the folder, is too long, or meets another one on a file system that ignores case."""
    names = [scatter_name(name, ("depth", *HOSTILE_NAMES)) for name in ("depth", *HOSTILE_NAMES)]
    assert all(re.fullmatch(r"error_vs[_-][a-z0-9_]{1,40}", name) for name in names)
    assert len(set(names)) == len(names)
    table = load_table(study)
    drawn = HOSTILE_NAMES[:3]
    frame = table.frame.assign(**{name: table.frame["w_a"] + number for number, name in enumerate(drawn)})
    findings = find(replace(table, frame=frame, parameters=("depth", *drawn)))
    before = set(tmp_path.rglob("*"))
    page = write_report(findings, tmp_path / "a" / "b" / "out")
    figures = page.parent / "figures"
    written = {path for path in set(tmp_path.rglob("*")) - before if path.is_file()}
    assert written == {page, *figures.glob("*.png")}
    assert {"error_vs_depth.png", "error_vs-2.png"} <= {path.name for path in written}


def test_the_drawn_curve_is_the_frame(findings):
    ax = plots.plot_edf(findings.curves, ax=Figure().subplots())
    line = ax.get_lines()[0]
    curve = findings.curves[findings.curves["space"] == findings.curves["space"][0]]
    np.testing.assert_array_equal(line.get_ydata()[1:], curve["fraction"])
    np.testing.assert_array_equal(line.get_xdata()[1:-1], curve["error"][:-1])
    assert line.get_drawstyle() == "steps-pre"


def test_a_curve_that_goes_on_beyond_the_axis_does_not_end_there(findings):
    limit = findings.curves["error"].quantile(0.5)
    ax = plots.plot_edf(findings.curves, limit=limit, ax=Figure().subplots())
    for line in ax.get_lines():
        x, y = line.get_xdata(), line.get_ydata()
        assert x[y == 1].max() > ax.get_xlim()[1] > limit


def test_models_beyond_the_axis_stand_at_its_edge(findings):
    ax = plots.plot_parameter(findings.models, "depth", limit=15.0, ax=Figure().subplots())
    drawn = np.concatenate([points.get_offsets()[:, 1] for points in ax.collections])
    assert drawn.max() == 15.0
    assert (drawn == 15.0).sum() == (findings.models["error_percent"] >= 15.0).sum() > 3


def test_a_forest_that_explains_nothing_is_not_shown(findings):
    little = replace(findings, importance=replace(findings.importance, explained=0.1))
    assert not {"importance", "dependence"} & {picture.name for picture in pictures(little)}
    assert "explains 10% of the variance" in sentences.parameters(little)[0]
    assert "too little to say" in sentences.parameters(little)[0]


def test_a_picture_leaves_the_global_style_alone(findings):
    import matplotlib as mpl

    before = dict(mpl.rcParams)
    next(_spaces(findings)).data_uri()
    assert dict(mpl.rcParams) == before


def test_without_axes_a_figure_is_made(findings):
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    ax = plots.plot_edf(findings.curves)
    assert ax.figure.number in plt.get_fignums()
    plt.close(ax.figure)


def test_the_best_finished_from_every_seed_under_any_policy(tmp_path, make_study):
    """The best model from the first seed diverges from the second; that some have one seed only is said."""
    table = load_table(make_study(tmp_path / "study", n=12))
    best = int(table.frame["error_percent"].idxmin())
    again = table.frame.iloc[[best, best + 2]].assign(seed=1)
    again.loc[best, ["status", "error_percent"]] = "diverged", np.nan
    both = replace(table, frame=pd.concat([table.frame, again], ignore_index=True))
    for policy in ("worst", "drop", "error=90"):
        found = find(both, policy=policy)
        assert table.frame["spec_id"][best] not in set(found.best["spec_id"]) | set(found.front["spec_id"])
        assert sentences.best(found)[-1] == "1 model is no candidate because a training of it failed."
    lost = found.models[found.models["failed"]].iloc[0]
    assert (lost["spec_id"], lost["status"], lost["seeds"]) == (table.frame["spec_id"][best], "diverged", 2)
    assert "mean over 1 to 2 trainings; 2 of 24 models were trained more than once" in " ".join(summary(found))


def test_trainings_of_one_network_from_several_seeds_are_one_model(tmp_path, make_study):
    table = load_table(make_study(tmp_path / "study", n=12))
    again = table.frame.assign(seed=1, error_percent=table.frame["error_percent"] + 1)
    both = pd.concat([table.frame, again], ignore_index=True)
    once = find(table)
    twice = find(type(table)(both, table.studies, table.parameters))
    assert twice.spaces["n"].tolist() == once.spaces["n"].tolist() == [12, 12]
    np.testing.assert_allclose(twice.spaces["mean"], once.spaces["mean"] + 0.5)
    np.testing.assert_allclose(twice.comparison["detectable"], once.comparison["detectable"])
    assert "mean over 2 trainings" in " ".join(summary(twice))


def test_the_best_model_has_an_expected_error_and_a_range_of_one_more_training(tmp_path, make_study):
    findings = find(load_table(make_study(tmp_path / "study", n=30)))
    sentence = headline(findings)[-1]
    row = findings.best.iloc[0]
    assert "the smallest of 60 and therefore optimistic" in sentence
    assert f"expected error on retraining is {row['estimate']:.2f} %" in sentence
    assert f"one more training gives {row['retrained_lower']:.2f} to {row['retrained_upper']:.2f} %" in sentence


def test_a_single_model_is_not_the_best_of_anything(tmp_path, make_study):
    table = load_table(make_study(tmp_path / "study", n=1, spaces={"bottleneck": (1.0, (2e6, 20e6))}))
    sentence = headline(find(table))[-1]
    assert sentence.startswith("The only model is number 0 of bottleneck")
    assert "optimistic" not in sentence
    assert "expected error on retraining" in sentence


def test_agreement_of_seeds_says_what_selected_the_best_tenth(tmp_path, make_study):
    table = load_table(make_study(tmp_path / "study", n=30))
    seeds = [
        table.frame.assign(seed=seed, error_percent=table.frame["error_percent"] + shift)
        for seed, shift in enumerate(np.random.default_rng(0).normal(0, 0.5, (3, len(table.frame))))
    ]
    three, two = (find(replace(table, frame=pd.concat(seeds[:n], ignore_index=True))) for n in (3, 2))
    assert "within the best tenth (selected by a third seed)" in " ".join(sentences.training(three))
    assert "within the best tenth (selected by one of the two, which lowers it)" in " ".join(sentences.training(two))
    few = find(replace(table, frame=pd.concat([part.iloc[:12] for part in seeds], ignore_index=True)))
    assert "nan" not in " ".join(sentences.training(few))


def test_a_failure_with_one_seed_is_no_noise(tmp_path, make_study):
    """Its error is what the failure policy says, far from that of the other seed."""
    spaces = {"bottleneck": (1.0, (4e6, 7e6))}
    clean = find(load_table(make_study(tmp_path / "clean", n=10, spaces=spaces, training_seeds=(0, 1))))
    failed = find(
        load_table(
            make_study(tmp_path / "failed", n=10, spaces=spaces, training_seeds=(0, 1), failures={1: "crashed"})
        ),
        policy="error=99",
    )
    assert clean.noise is not None
    assert failed.noise is not None
    assert (clean.noise.models, failed.noise.models) == (10, 9)
    assert failed.noise.seed_sd < 2 * clean.noise.seed_sd
