"""Spaces that are regimes of one design space."""

from pathlib import Path

import pytest

from analysis import load_table
from analysis.figures import report_figures
from analysis.findings import find
from analysis.grouping import in_families, space_families
from analysis.regimes import assign_regimes
from analysis.rows import Source
from analysis.sentences import section_sentences, statistics

REGIMES = {"small": (2e6, 3e6), "medium": (4e6, 6e6), "large": (8e6, 12e6)}


@pytest.fixture(scope="module")
def sizes(tmp_path_factory, make_study):
    """Two design spaces in three regimes each."""
    spaces = {
        f"{name}_{size}": (ratio, limits)
        for name, ratio in (("bottleneck", 1.0), ("inverted", 0.5))
        for size, limits in REGIMES.items()
    }
    return load_table(make_study(tmp_path_factory.mktemp("sizes") / "study", n=8, spaces=spaces))


def test_spaces_with_different_limits_are_one_design_space(sizes):
    designs = space_families(sizes.frame, sizes.sources)
    assert designs == {f"{name}_{size}": name for name in ("bottleneck", "inverted") for size in REGIMES}
    models = in_families(sizes.frame, designs)
    regime = assign_regimes(models)
    for number, size in enumerate(REGIMES):  # by complexity, each population a regime
        assert (regime[sizes.frame["space"].str.endswith(size)] == number).all()


def test_different_settings_recipes_and_tables_are_different_design_spaces(study, make_study, tmp_path):
    table = load_table(study, make_study(tmp_path / "again", recipe_id="f" * 16))
    labels = set(table.frame["space"])
    assert labels == {f"{run}/{name}" for run in ("study", "again") for name in ("bottleneck", "inverted")}
    assert space_families(table.frame, table.sources) == {label: label for label in labels}
    (tmp_path / "t.csv").write_text("error_percent,space\n3,a\n4,b\n")
    table = load_table(tmp_path / "t.csv")
    assert space_families(table.frame, table.sources) == {"a": "a", "b": "b"}


def test_design_space_without_common_prefix_has_all_labels(sizes):
    frame = sizes.frame.assign(space=sizes.frame["space"].str.replace("bottleneck_", ""))
    study = Source("study", Path(), {"config": {"spaces": {size: {"base": "regnetx"} for size in REGIMES}}})
    frame = frame[frame["space"].isin(REGIMES)]
    assert set(space_families(frame, [study]).values()) == {"large, medium, small"}


def test_report_of_several_regimes(sizes):
    findings = find(sizes)
    assert findings.regimes.best.groupby("space")["regime"].nunique().to_dict() == {"bottleneck": 3, "inverted": 3}
    assert {"error_percent", "depth", "acts"} <= set(findings.regimes.best["parameter"])
    acts = findings.regimes.trends.set_index(["space", "parameter"]).loc[("bottleneck", "acts")]
    assert acts["n"] == 3
    assert 0 < acts["exponent"] < 1.5
    assert "regimes" in {figure.name for figure in report_figures(findings)}
    assert section_sentences(findings)["regimes"][0].startswith("bottleneck: 3 regimes of at least 8 models, from ")
    # Regimes of one design space are not compared with each other.
    possible = findings.spaces.comparison[findings.spaces.comparison["problem"] == ""]
    pairs = possible[["a", "b", "matched_by"]].to_numpy().tolist()
    matched = {(a, b) for a, b, how in pairs if how == "macs"}
    assert matched == {(f"bottleneck_{size}", f"inverted_{size}") for size in REGIMES}
    assert all(a.split("_")[0] != b.split("_")[0] for a, b, _ in pairs)
    assert "bottleneck_large, bottleneck_medium, bottleneck_small are one design space" in " ".join(
        statistics(findings)
    )


def test_report_of_one_regime_has_no_regime_section(tmp_path, make_study):
    spaces = {"bottleneck": (1.0, (4e6, 7e6))}
    findings = find(load_table(make_study(tmp_path / "study", n=30, spaces=spaces)))
    assert findings.regimes.best.empty
    assert section_sentences(findings)["regimes"] == []
    assert "regimes" not in {figure.name for figure in report_figures(findings)}


def test_wide_range_is_divided_into_regimes(tmp_path, make_study):
    findings = find(load_table(make_study(tmp_path / "study", n=36, spaces={"bottleneck": (1.0, (2e6, 20e6))})))
    assert findings.regimes.best["regime"].nunique() == 3  # 2 to 20 million: three factors of two, 12 models each
    assert findings.regimes.best["n"].unique().tolist() == [12]
