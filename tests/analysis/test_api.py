"""The Python interface: names, `load` and the methods of `Table`."""

import pkgutil
import subprocess
import sys

import matplotlib.pyplot as plt
import pandas as pd
import pytest

import analysis
from analysis import apply_failure_policy, average_seeds, compare_spaces, edf_by, load, select_best
from analysis.commands import common


def test_a_public_name_is_never_a_module():
    code = (
        "import pkgutil, sys; import analysis\n"
        "print({'numpy', 'pandas', 'scipy', 'matplotlib'} & set(sys.modules))\n"
        "names = [name for name in analysis.__all__ if name != 'plots']\n"
        "for _ in range(2):\n"
        "    print([name for name in names if type(getattr(analysis, name)).__name__ == 'module'])\n"
        "    for module in pkgutil.iter_modules(analysis.__path__): __import__(f'analysis.{module.name}')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["set()", "[]", "[]"]
    modules = {module.name for module in pkgutil.iter_modules(analysis.__path__)}
    assert modules & set(analysis.__all__) == {"plots"}


def test_names_of_earlier_versions_can_be_imported():
    names = "load_table keep_where group_by FailurePolicy edf simultaneous_band complexity_weights describe_spaces "
    names += "fit_quantized_linear fit_population best_range trend rank_trend space_families power_law noise_floor "
    names += "rank_agreement epoch_fidelity learning_curves pareto_front shrink permutation_importance models_needed"
    for name in names.split():
        assert callable(getattr(analysis, name))


@pytest.fixture
def table(study):
    return load(study)


def test_a_table_shows_its_counts(table):
    assert repr(table) == "Table(study: 48 rows in 2 spaces, 43 finished, 3 failed, 2 not trained yet)"
    assert len(table) == 48
    assert table.spaces == ("bottleneck", "inverted")
    assert table["macs"].equals(table.frame["macs"])
    with pytest.raises(KeyError, match="column = mac: unknown; did you mean macs"):
        table["mac"]
    html = table._repr_html_()
    assert html.count("<tr") == 6
    assert "spec_id" not in html


def test_a_data_frame_is_read_like_a_file(tmp_path):
    frame = pd.DataFrame({"arch": ["x", "y", "y"], "acc": [90.0, 80.0, None], "gmacs": [1, 2, 3], "kind": list("abb")})
    columns = {"error": "100 - acc", "space": "kind", "macs": "gmacs * 1e9", "name": "arch"}
    table = load(frame, columns=columns)
    assert table.frame["error_percent"].tolist()[:2] == [10, 20]
    assert table.frame["status"].tolist() == ["ok", "ok", "crashed"]
    assert table.spaces == ("a", "b")
    frame.to_csv(tmp_path / "frame.csv", index=False)
    from_file = load(tmp_path / "frame.csv", columns=columns)
    pd.testing.assert_frame_equal(table.frame.drop(columns="study"), from_file.frame.drop(columns="study"))
    with pytest.raises(ValueError, match=r"^frame, row 1: error = 190: must be from 0 to 100 percent"):
        load(frame.assign(acc=[-90.0, 1, 2]), columns=columns)


def test_several_data_frames_have_numbered_names():
    one, two = pd.DataFrame({"error_percent": [1.0]}), pd.DataFrame({"error_percent": [2.0]})
    assert load(one, two).frame["space"].tolist() == ["frame 1", "frame 2"]
    assert load(one).frame["space"].tolist() == ["frame"]
    again = load(load(one).frame)
    assert again.frame["error_percent"].tolist() == [1]


def test_repeated_columns_and_empty_frames_are_rejected():
    with pytest.raises(ValueError, match="column names = 'error': must be unique"):
        load(pd.DataFrame([[1, 2]], columns=["error", "error"]), columns={"error": "error"})
    with pytest.raises(ValueError, match=r"^frame: no rows"):
        load(pd.DataFrame({"error_percent": []}))


def test_methods_give_the_numbers_of_the_functions(table):
    models = average_seeds(apply_failure_policy(table.frame, "error=90").frame)
    pd.testing.assert_frame_equal(table.models("error=90"), models)
    pd.testing.assert_frame_equal(table.edf(failures="error=90").frame, edf_by(models))
    pairs = table.compare(match="params", failures="error=90")
    pd.testing.assert_frame_equal(pairs.frame, compare_spaces(models, match="params"))
    best = select_best(table.frame, 4, validation_size=5000)
    pd.testing.assert_frame_equal(table.best(4), best)
    assert len(table.fit_widths(failures="drop").frame) == 43
    assert set(table.trends("depth").frame["parameter"]) == {"depth"}
    assert table.describe()["n"].tolist() == [23, 23]


@pytest.mark.parametrize(
    ("method", "arguments"),
    [
        ("edf", {"match": "macs"}),
        ("compare", {}),
        ("fit_widths", {}),
        ("trends", {"parameter": "w_a"}),
        ("select", {"pareto": ["macs"]}),
    ],
)
def test_results_have_a_figure_sentences_and_html(table, method, arguments):
    result = getattr(table, method)(**arguments)
    figure, ax = plt.subplots()
    assert result.plot(ax=ax) is ax
    assert ax.has_data()
    plt.close(figure)
    assert str(result).endswith("\n".join(result.sentences))
    for _, frame in result.tables:
        assert all(str(column) in str(result) for column in frame.columns)
    assert "\n" not in repr(result)
    html = result._repr_html_()
    assert html.count("<table") == len([frame for _, frame in result.tables])


def test_one_name_may_be_a_string(table, tmp_path):
    assert table.select(pareto="macs").frame.equals(table.select(pareto=["macs"]).frame)
    assert len(table.export(tmp_path, top=1, formats="json", pareto="macs")) == 1
    assert table.compare(across="recipe").frame.equals(table.compare().frame)


def test_invalid_tables_and_columns_are_rejected(study):
    with pytest.raises(ValueError, match=r"^tables = 5: must be study folders, table files or data frames"):
        load(5)
    with pytest.raises(ValueError, match=r"^columns = 'error=acc': must be a mapping"):
        load(study, columns="error=acc")


def test_where_and_by_return_tables(table):
    assert len(table.where("space=inverted", "depth>=8")) < len(table.where("space=inverted")) == 24
    halves = table.by("depth:2")
    assert len(halves.spaces) == 2
    assert all(space.startswith("depth ") for space in halves.spaces)
    assert halves.by("depth:2") is halves


def test_report_and_export_write_files(table, tmp_path):
    report = table.by("bottleneck_ratio").report(tmp_path / "out")
    assert report.page == tmp_path / "out" / "report.html"
    assert report.page.exists()
    assert any("policy worst" in sentence for sentence in report.sentences)
    ((path, model),) = table.export(tmp_path / "specs", top=1)
    assert path.suffix == ".yaml"
    assert model["error_percent"] == table.best(1)["error_percent"][0]


@pytest.mark.parametrize(
    ("method", "arguments", "message"),
    [
        ("edf", {"match": "mac"}, "match = mac: unknown; did you mean macs"),
        ("compare", {"failures": "best"}, "failures = 'best': must be worst, drop or error=NUMBER"),
        ("compare", {"across": ["x"]}, "across = x: .*must be "),
        ("report", {"match": "flops"}, "match = flops: unknown; must be one of macs, params, acts, none"),
        ("trends", {"parameter": "dept"}, "parameter = dept: unknown; did you mean depth"),
        ("select", {"top": 0}, "top = 0: must be at least 1"),
        ("select", {"pareto": ["mac"]}, "pareto = mac: unknown; did you mean macs"),
        ("select", {"noise": -1.0}, "noise = -1: must be a positive number of points"),
        ("export", {"folder": "x", "top": 0}, "top = 0: must be at least 1"),
        ("export", {"folder": "x", "formats": ["yml"]}, "formats = yml: unknown; did you mean yaml"),
        ("export", {"folder": "x", "within": {"macs": 3}}, r"within = macs: 3: must be a range \(low, high\)"),
        ("export", {"folder": "x", "within": {"mac": (1, 2)}}, "within = mac: unknown; did you mean macs"),
    ],
)
def test_errors_name_the_argument(table, method, arguments, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        getattr(table, method)(**arguments)


def test_a_figure_of_all_trends_requires_a_parameter(table):
    with pytest.raises(ValueError, match=r"^parameter: required for a figure of trends"):
        table.trends().plot()


def test_computed_columns_are_those_that_commands_write(table):
    from analysis.readers import COMPUTED

    written = {*table.best().columns, *table.fit_widths(continuous=True).frame, *table.models()}
    written |= {*table.select(1, regimes=2).frame}
    assert written - set(table.frame.columns) <= COMPUTED


def test_the_help_states_the_defaults_of_the_methods():
    from inspect import signature

    parser = common.make_parser("x", "Test.")
    common.add_match(parser)
    common.add_failures(parser)
    defaults = {name: signature(analysis.Table.compare).parameters[name].default for name in ("match", "failures")}
    text = " ".join(parser.format_help().split())
    assert f"none: as drawn (default {defaults['match']})" in text
    assert f"{defaults['failures']} (the largest error, default)" in text
    assert signature(analysis.Table.edf).parameters["match"].default is None
