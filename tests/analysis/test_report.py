import base64
import dataclasses
import io
import re
from dataclasses import replace
from html.parser import HTMLParser
from itertools import islice, pairwise

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.text import Text

from analysis import plots
from analysis.expressions import parse_map
from analysis.figures import report_figures, scatter_name
from analysis.findings import find
from analysis.headline import badges, headline
from analysis.loading import load_table
from analysis.regimes import best_by_regime
from analysis.report import first_screen, render, sweep_command, write_report
from analysis.sentences import conclusions, section_sentences, statistics


class Page(HTMLParser):
    """Tags with their attributes, and the text outside scripts and styles."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.text = [], ""
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_data(self, data):
        self.text += data if not self.tags or self.tags[-1][0] not in ("script", "style") else ""

    def all(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]


def page_of(findings):
    """The page without the SVG images, whose rendering takes most of the time."""
    return render(findings, map(LaidOut, report_figures(findings)))


class LaidOut:
    """A report figure without its image."""

    def __init__(self, figure):
        self.name, self.title, self.caption = figure.name, figure.title, figure.caption
        self.section, self.inches = figure.section, figure.inches

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


def test_page_is_self_contained_and_escapes_content(written):
    text = written.read_text()
    page = Page(text)
    assert not page.all("link")
    assert "default-src 'none'" in text
    bare = re.sub(r"data:[^\"]*", "", text).replace("http://www.w3.org/2000/svg", "")
    assert "http://" not in bare
    assert "https://" not in bare
    assert all(image["src"].startswith("data:image/svg+xml;base64,") for image in page.all("img"))
    assert all(image["alt"] for image in page.all("img"))
    assert "<script>alert(1)</script>" in page.text  # a message is shown as text


def test_page_has_all_sections(written):
    page = Page(written.read_text())
    ids = {figure.get("id") for figure in page.all("figure")}
    assert {"edf", "edf_matched", "differences", "error_vs_depth", "error_vs_group_width", "error_vs_fit_error"} <= ids
    assert "error_vs_bottleneck_ratio" not in ids  # constant in both spaces
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


def test_links_of_the_page_have_targets(written):
    page = Page(written.read_text())
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    targets = {link["href"][1:] for link in page.all("a") if link["href"].startswith("#")}
    assert {"top", "spaces", "explore", "best", "reproduce", "method-edf", "method-differences"} <= targets <= set(ids)
    assert len(ids) == len(set(ids))
    files = {link["href"] for link in page.all("a") if link.get("class") == "svg"}
    assert files == {f"figures/{path.name}" for path in (written.parent / "figures").glob("*.svg")}


def test_tables_of_the_page_download_as_csv(written, findings):
    links = {link["download"]: link["href"] for link in Page(written.read_text()).all("a") if "download" in link}
    content = base64.b64decode(links["comparison.csv"].removeprefix("data:text/csv;base64,"))
    pairs = pd.read_csv(io.BytesIO(content), keep_default_na=False)
    np.testing.assert_allclose(pairs["difference"], findings.spaces.comparison["difference"])
    assert {"spaces.csv", "comparison.csv", "ranges.csv", "best.csv", "failures.csv", "sampling.csv"} <= set(links)


def test_first_screen_is_rendered_without_files(findings):
    page = Page(first_screen(findings))
    assert [image["alt"] for image in page.all("img")] == ["Error EDFs at equal multiply-adds"]
    for text in (headline(findings).answer, "Models trained", "Few models", findings.resolved.sentence):
        assert text in page.text


def test_sweep_command_has_the_stored_overrides_without_the_worker(study):
    assert sweep_command(study) == ""
    stored = study / "hydra" / "worker-1" / ".hydra" / "overrides.yaml"
    stored.parent.mkdir(parents=True)
    stored.write_text("- spaces=[regnetx,regnety]\n- n=24\n- worker=1\n")
    assert sweep_command(study) == "designspace sweep 'spaces=[regnetx,regnety]' n=24"
    assert "designspace sweep 'spaces=[regnetx,regnety]' n=24" in Page(render(find(load_table(study)), [])).text


def test_spaces_keep_their_colors_in_subsets_and_unfinished_studies(tmp_path, make_study):
    spaces = dict.fromkeys(("b", "a", "c"), (1.0, (2000000.0, 20000000.0)))
    table = load_table(make_study(tmp_path / "study", n=6, spaces=spaces))

    def colors(table):
        ax = plots.plot_edf(find(table).spaces.curves, order=table.space_order, ax=Figure().subplots())
        return {line.get_label(): line.get_color() for line in ax.get_lines()}

    every = colors(table)
    assert list(every) == ["b", "a", "c"]
    assert len(set(every.values())) == 3
    for some in (table.where("space=c,a"), replace(table, frame=table.frame[::-1].reset_index(drop=True))):
        assert colors(some).items() <= every.items()


def test_colors_of_table_spaces_survive_a_filter():
    table = load_table(pd.DataFrame({"space": ["x", "y", "z"] * 4, "error_percent": np.arange(12.0) + 1}))
    assert table.where("space=z,y").space_order == ("x", "y", "z")


def test_twelve_spaces_have_twelve_colors_and_all_axes_have_their_height():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"space": [f"a long name of space {k}" for k in range(12)] * 20, "k": rng.integers(0, 3, 240)})
    frame["error_percent"], frame["macs"] = rng.normal(10, 1, 240), rng.uniform(1e6, 4e6, 240)
    drawn = {figure.name: figure for figure in report_figures(find(load_table(frame)))}
    for name in ("edf", "edf_matched", "random_search", "pareto", "error_vs_macs"):
        (ax,) = drawn[name].figure.axes
        assert ax.get_window_extent().height / drawn[name].figure.dpi >= 2.8
        assert len({line.get_color() for line in ax.get_lines()} - {"#444444"}) in (0, 12)
    sizes = {
        text.get_fontsize() for figure in drawn.values() for text in figure.figure.findobj(Text) if text.get_text()
    }
    assert min(sizes) >= 9


def test_best_ranges_are_outside_the_axes(findings):
    shown = findings.parameters
    ranges = shown.ranges[shown.ranges["parameter"] == "depth"]
    figure = Figure()
    ax = plots.plot_parameter(findings.models, "depth", ranges=ranges, ax=figure.subplots())
    figure.draw_without_rendering()
    bars = [line.get_window_extent() for line in ax.get_lines()]
    assert len(bars) == 2 * len(ranges)
    assert min(bar.y0 for bar in bars) >= ax.get_window_extent().y1


@pytest.mark.parametrize(("sizes", "intervals"), [([5, 2, 2, 2], 0), ([5, 5, 5, 2], 3), ([5], 0)])
def test_group_means_have_intervals_only_if_most_groups_have_five_models(findings, sizes, intervals):
    line = pd.DataFrame({"space": "inverted", "value": np.arange(len(sizes)) + 6.0, "mean": 14.0, "n": sizes})
    line = line.assign(lower=13.0, upper=15.0)
    ax = plots.plot_parameter(findings.models, "depth", trend=line, ax=Figure().subplots())
    assert sum(len(lines.get_segments()) for lines in ax.findobj(LineCollection)) == intervals


def test_tick_labels_of_regimes_do_not_overlap():
    complexity = 4e8 * np.array([1, 1.04, 1.1, 1.9, 2, 4, 4.1, 8])
    frame = pd.DataFrame({"space": "a", "parameter": "depth", "complexity": complexity, "regime": range(8)})
    frame = frame.assign(lower=4.0, likely=8.0, upper=12.0)
    figure = Figure(figsize=(3.6, 3), layout="constrained")
    ax = plots.plot_regimes(frame, "depth", ax=figure.subplots())
    figure.draw_without_rendering()
    boxes = [label.get_window_extent() for label in ax.get_xticklabels() if label.get_text()]
    assert len(boxes) >= 3
    assert all(left.x1 < right.x0 for left, right in pairwise(boxes))


def test_random_search_draws_the_median_inside_its_band(findings):
    ax = plots.plot_random_search(findings.spaces.search, ax=Figure().subplots())
    for line, (_, part) in zip(ax.get_lines(), findings.spaces.search.groupby("space", sort=False), strict=True):
        np.testing.assert_array_equal(line.get_ydata(), part["median"])
        assert ((part["lower"] <= part["median"]) & (part["median"] <= part["upper"])).all()


def test_line_through_the_widths_is_straight(findings):
    line = findings.widths.structures["inverted"]
    ax = plots.plot_linear_structure(line.widths, line.slope, line.intercept, ax=Figure().subplots())
    drawn = ax.transData.transform(ax.get_lines()[-1].get_xydata())
    assert np.allclose(np.diff(drawn, 2, axis=0), 0, atol=1e-6)


def test_figures_are_reproducible(findings):
    first, second = (list(islice(report_figures(findings), 2)) for _ in range(2))
    for one, other in zip(first, second, strict=True):
        assert one.png == other.png
        assert one.data_uri() == other.data_uri()


def test_summary_has_the_numbers_of_the_frames(findings):
    sentences = statistics(findings)
    row = findings.spaces.comparison.iloc[0]
    assert row["matched_by"] == "macs"
    better, worse = (row["a"], row["b"]) if row["difference"] < 0 else (row["b"], row["a"])
    ends = sorted(abs(row[["difference_lower", "difference_upper"]]))
    assert sentences[0] == (
        f"At equal multiply-adds, {better} beats {worse} by {abs(row['difference']):.2f} points of mean error "
        f"(95 % confidence interval {ends[0]:.2f} to {ends[1]:.2f}, {row['n_a']} and {row['n_b']} models)."
    )
    assert findings.resolved.sentence in sentences
    text = " ".join(sentences)
    assert f"with a validation error of {findings.selection.best['error_percent'][0]:.2f} %" in text
    assert "supporting models" in text


def test_no_difference_is_claimed_without_evidence(tmp_path, make_study):
    sentences = statistics(find(load_table(make_study(tmp_path / "same", n=20, advantage=0.0, seed=3))))
    assert sentences[0].startswith(
        "At equal multiply-adds, the mean errors of bottleneck and inverted do not differ significantly"
    )


def test_few_updates_give_a_badge(tmp_path, make_study):
    table = load_table(make_study(tmp_path / "short", n=4))
    long = dataclasses.replace(table, frame=table.frame.assign(updates=5000))
    named, others = dict(badges(find(table))), dict(badges(find(long)))
    assert named["Short training"].startswith("The median training has 156 updates.")
    assert "Short training" not in others


def test_one_space_has_no_comparison(study):
    table = load_table(study)
    alone = table.frame[table.frame["space"] == "inverted"].reset_index(drop=True)
    findings = find(type(table)(alone, table.sources, table.parameters))
    assert findings.spaces.comparison.empty
    page = Page(page_of(findings))
    assert "edf_matched" not in {figure.get("id") for figure in page.all("figure")}


def test_two_models_per_space_are_compared_without_matching(tmp_path, make_study):
    findings = find(load_table(make_study(tmp_path / "tiny", n=2)))
    assert findings.spaces.matching is None
    assert "cannot be matched by macs" in findings.spaces.match_problem
    assert findings.spaces.comparison["matched_by"].tolist() == ["none"]
    assert "The comparison is unmatched" in " ".join(statistics(findings))
    page_of(findings)


def test_one_model_per_space(tmp_path, make_study):
    findings = find(load_table(make_study(tmp_path / "single", n=1)))
    assert "too few models for a confidence interval" in statistics(findings)[0]
    page_of(findings)


def test_space_with_failed_models_only(tmp_path, make_study):
    failures = dict.fromkeys(range(0, 12, 2), "diverged")
    findings = find(load_table(make_study(tmp_path / "lost", n=6, failures=failures)))
    assert sorted(findings.spaces.summary["failed"]) == [0, 6]
    render(findings, [])


def test_collapsed_trainings_are_counted_beside_the_failures(tmp_path, make_study):
    table = load_table(make_study(tmp_path / "study", n=6, failures={0: "diverged"}))
    first = table.frame["space"] == table.frame["space"][0]
    frame = table.frame.assign(collapsed=first)
    failures = find(replace(table, frame=frame)).failures
    counts = dict(zip(failures["status"], failures["models"], strict=True))
    assert counts == {"diverged": 1, "collapsed": 5}
    assert find(table).failures["status"].tolist() == ["diverged"]


def test_table_with_one_column(tmp_path):
    pd.DataFrame({"error_percent": [3.0, 2.0, 5.0, None]}).to_csv(tmp_path / "t.csv", index=False)
    findings = find(load_table(tmp_path / "t.csv"))
    page = Page(page_of(findings))
    assert {figure.get("id") for figure in page.all("figure")} == {"edf", "random_search"}
    assert "no error in the table" in page.text
    assert "alidation" not in page.text  # the split of the errors is unknown
    assert "test split" not in page.text


def test_table_with_spaces_from_a_column_and_seeds(tmp_path):
    rng = np.random.default_rng(0)
    table = pd.DataFrame(
        {"kind": rng.choice(["a", "b"], 60), "k": rng.integers(1, 5, 60), "macs": rng.uniform(1, 9, 60)}
    )
    table["one"] = 10 + table["k"] + rng.normal(0, 0.3, 60)
    table["two"] = table["one"] + rng.normal(0, 0.3, 60)
    table.to_csv(tmp_path / "t.csv", index=False)
    findings = find(load_table(tmp_path / "t.csv", columns=parse_map("error_1=one,error_2=two,macs,k")), by="kind")
    assert sorted(findings.spaces.summary["space"]) == ["a", "b"]
    assert findings.training.noise.seed_sd == pytest.approx(0.3 / np.sqrt(2), rel=0.3)
    assert findings.selection.best["estimate"].notna().all()
    text = page_of(findings)
    assert "Two seeds rank the models" in text
    assert "expected error on retraining is" in text


def test_unknown_match(study):
    with pytest.raises(ValueError, match="match = flops: unknown; must be one of macs, params, acts, none"):
        find(load_table(study), match="flops")


def test_plots_return_the_given_axes(findings):
    frame = findings.models
    structure = findings.widths.structures["inverted"]
    draws = [
        lambda ax: plots.plot_edf(findings.spaces.curves, ax=ax),
        lambda ax: plots.plot_parameter(frame, "depth", ax=ax),
        lambda ax: plots.plot_differences(findings.spaces.comparison, ax=ax),
        lambda ax: plots.plot_width_profiles(findings.widths.profiles, ax=ax),
        lambda ax: plots.plot_linear_structure(structure.widths, structure.slope, structure.intercept, ax=ax),
        lambda ax: plots.plot_random_search(findings.spaces.search, ax=ax),
        lambda ax: plots.plot_regimes(best_by_regime(frame, ["depth"], regimes=3), "depth", ax=ax),
        lambda ax: plots.plot_importance(findings.parameters.importance.table, ax=ax),
        lambda ax: plots.plot_dependence(findings.parameters.importance.dependence, "depth", ax=ax),
        lambda ax: plots.plot_pareto(frame, ax=ax),
        lambda ax: plots.plot_learning_curves(findings.training.curves, ax=ax),
        lambda ax: plots.plot_rank_agreement(findings.training.epochs, ax=ax),
    ]
    of_other_tests = {
        "plot_embedding",
        "plot_kept",
        "plot_manifold",
        "plot_predictions",
        "plot_recipes",
        "plot_restrictions",
        "plot_scores",
        "plot_search",
    }
    assert len(draws) == len(set(plots.__all__) - of_other_tests)
    for draw in draws:
        ax = Figure().subplots()
        assert draw(ax) is ax
        assert isinstance(ax, Axes)


def test_dollar_signs_in_names_are_literal(study):
    """The names are invalid math text."""
    table = load_table(study)
    names = {"bottleneck": "cost $x^$ y", "inverted": "$\\b$"}
    frame = table.frame.assign(space=table.frame["space"].map(names)).rename(columns={"w_a": "$w^$", "w_0": "a/$_$"})
    findings = find(replace(table, frame=frame, parameters=("depth", "$w^$", "a/$_$")))
    drawn = list(report_figures(findings))
    assert {"edf", "differences", "error_vs_depth", "error_vs-2", "error_vs-3", "pareto"} <= {p.name for p in drawn}
    figures = [figure.figure for figure in drawn]
    trees, regimes = findings.parameters.importance, best_by_regime(findings.models, ["$w^$"], regimes=3)
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


def test_figure_names_are_safe_for_any_parameter_name(study, tmp_path):
    """File names stay in the folder, are short, and differ on case-insensitive file systems."""
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
    assert written == {page, *figures.glob("*.png"), *figures.glob("*.svg")}
    assert {"error_vs_depth.png", "error_vs-2.png"} <= {path.name for path in written}


def test_drawn_edf_equals_the_frame(findings):
    ax = plots.plot_edf(findings.spaces.curves, ax=Figure().subplots())
    line = ax.get_lines()[0]
    curve = findings.spaces.curves[findings.spaces.curves["space"] == findings.spaces.curves["space"][0]]
    np.testing.assert_array_equal(line.get_ydata()[1:], curve["fraction"])
    np.testing.assert_array_equal(line.get_xdata()[1:-1], curve["error"][:-1])
    assert line.get_drawstyle() == "steps-pre"


def test_edf_continues_beyond_the_axis_limit(findings):
    limit = findings.spaces.curves["error"].quantile(0.5)
    ax = plots.plot_edf(findings.spaces.curves, limit=limit, ax=Figure().subplots())
    for line in ax.get_lines():
        x, y = line.get_xdata(), line.get_ydata()
        assert x[y == 1].max() > ax.get_xlim()[1] > limit


def test_errors_above_the_limit_are_drawn_at_the_edge(findings):
    ax = plots.plot_parameter(findings.models, "depth", limit=15.0, ax=Figure().subplots())
    drawn = np.concatenate([points.get_offsets()[:, 1] for points in ax.collections])
    assert drawn.max() == 15.0
    assert (drawn == 15.0).sum() == (findings.models["error_percent"] >= 15.0).sum() > 3


def test_uninformative_forest_is_not_shown(findings):
    forest = replace(findings.parameters.importance, explained=0.1)
    little = replace(findings, parameters=replace(findings.parameters, importance=forest))
    assert not {"importance", "dependence"} & {figure.name for figure in report_figures(little)}
    (sentence,) = section_sentences(little)["parameters"]
    assert "explains 10% of the variance" in sentence
    assert "too little to rank the parameters" in sentence


def test_figures_do_not_change_global_settings(findings):
    import matplotlib as mpl

    before = dict(mpl.rcParams)
    next(report_figures(findings)).data_uri()
    assert dict(mpl.rcParams) == before


def test_plots_create_a_figure_without_axes(findings):
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    ax = plots.plot_edf(findings.spaces.curves)
    assert ax.figure.number in plt.get_fignums()
    plt.close(ax.figure)


def test_models_that_failed_with_one_seed_are_not_selected_under_any_policy(tmp_path, make_study):
    """The best model of the first seed diverges with the second, and most models have one seed."""
    table = load_table(make_study(tmp_path / "study", n=12))
    best = int(table.frame["error_percent"].idxmin())
    again = table.frame.iloc[[best, best + 2]].assign(seed=1)
    again.loc[best, ["status", "error_percent"]] = "diverged", np.nan
    both = replace(table, frame=pd.concat([table.frame, again], ignore_index=True))
    for policy in ("worst", "drop", "error=90"):
        result = find(both, policy=policy)
        assert table.frame["spec_id"][best] not in set(result.selection.best["spec_id"]) | set(
            result.selection.front["spec_id"]
        )
        assert section_sentences(result)["best"][-1] == "1 model was not eligible because a training failed."
    lost = result.models[result.models["failed"]].iloc[0]
    assert (lost["spec_id"], lost["status"], lost["seeds"]) == (table.frame["spec_id"][best], "diverged", 2)
    assert "mean over its 1 to 2 trainings. 2 of 24 models were trained more than once" in " ".join(statistics(result))


def test_trainings_with_several_seeds_are_one_model(tmp_path, make_study):
    table = load_table(make_study(tmp_path / "study", n=12))
    again = table.frame.assign(seed=1, error_percent=table.frame["error_percent"] + 1)
    both = pd.concat([table.frame, again], ignore_index=True)
    once = find(table)
    twice = find(type(table)(both, table.sources, table.parameters))
    assert twice.spaces.summary["n"].tolist() == once.spaces.summary["n"].tolist() == [12, 12]
    np.testing.assert_allclose(twice.spaces.summary["mean"], once.spaces.summary["mean"] + 0.5)
    np.testing.assert_allclose(twice.spaces.comparison["detectable"], once.spaces.comparison["detectable"])
    assert "mean over 2 training seeds" in " ".join(statistics(twice))


def test_best_model_has_an_expected_error_and_a_prediction_interval(tmp_path, make_study):
    findings = find(load_table(make_study(tmp_path / "study", n=30)))
    sentence = conclusions(findings)[-1]
    row = findings.selection.best.iloc[0]
    assert sentence.startswith("The best of 60 models is number ")
    assert "(optimistic because of the selection)" in sentence
    assert f"expected error on retraining is {row['estimate']:.2f} %" in sentence
    assert f"retraining is {row['retrained_lower']:.2f} to {row['retrained_upper']:.2f} %" in sentence


def test_single_model_is_not_called_optimistic(tmp_path, make_study):
    table = load_table(make_study(tmp_path / "study", n=1, spaces={"bottleneck": (1.0, (2e6, 20e6))}))
    sentence = conclusions(find(table))[-1]
    assert sentence.startswith("The only model is number 0 of bottleneck")
    assert "optimistic" not in sentence
    assert "expected error on retraining" in sentence


def test_seed_agreement_states_the_selection(tmp_path, make_study):
    table = load_table(make_study(tmp_path / "study", n=30))
    seeds = [
        table.frame.assign(seed=seed, error_percent=table.frame["error_percent"] + shift)
        for seed, shift in enumerate(np.random.default_rng(0).normal(0, 0.5, (3, len(table.frame))))
    ]
    three, two = (find(replace(table, frame=pd.concat(seeds[:n], ignore_index=True))) for n in (3, 2))
    assert "within the top 10 % (selected by a third seed)" in " ".join(section_sentences(three)["training"])
    assert "selected by one of the two seeds, which lowers the correlation" in " ".join(
        section_sentences(two)["training"]
    )
    few = find(replace(table, frame=pd.concat([part.iloc[:12] for part in seeds], ignore_index=True)))
    assert "nan" not in " ".join(section_sentences(few)["training"])


def test_failed_seed_does_not_count_as_noise(tmp_path, make_study):
    """The error of a failed training comes from the failure policy."""
    spaces = {"bottleneck": (1.0, (4e6, 7e6))}
    clean = find(load_table(make_study(tmp_path / "clean", n=10, spaces=spaces, training_seeds=(0, 1))))
    failed = find(
        load_table(
            make_study(tmp_path / "failed", n=10, spaces=spaces, training_seeds=(0, 1), failures={1: "crashed"})
        ),
        policy="error=99",
    )
    assert clean.training.noise is not None
    assert failed.training.noise is not None
    assert (clean.training.noise.models, failed.training.noise.models) == (10, 9)
    assert failed.training.noise.seed_sd < 2 * clean.training.noise.seed_sd
