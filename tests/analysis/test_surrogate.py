"""Cross-validated surrogates: no claim without a signal, folds by network, and the best predicted of a space."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from analysis import load
from analysis.commands import predict
from analysis.refine import source_space
from analysis.surrogate import FEWEST, cross_validate
from designspace import load_spec
from designspace.spaces import space_from_config

TEMPLATE = {"resolution": 28, "in_channels": 1, "head": {"classes": 10}, "stem": {"width": 16, "stride": 1}}


def features(n: int, seed: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {"macs": rng.uniform(1e6, 4e6, n), "width": rng.integers(8, 64, n)}


def test_a_surrogate_without_a_signal_does_not_beat_the_mean() -> None:
    for seed in range(3):
        validation = cross_validate(features(30, seed), np.random.default_rng(100 + seed).normal(20, 1, 30), seed=seed)
        assert validation.explained_lower <= 0
        assert validation.over_macs_lower <= 0
        assert validation.spearman_lower <= 0


def test_a_surrogate_with_a_signal_beats_the_mean_and_a_line_in_macs() -> None:
    columns = features(80, 0)
    validation = cross_validate(columns, 20 + np.abs(columns["width"] - 36) / 6)
    assert validation.explained_lower > 0
    assert validation.over_macs_lower > 0
    assert validation.rmse < validation.rmse_mean
    assert validation.spearman > 0.8


def test_a_line_in_macs_is_not_beaten_where_it_is_the_truth() -> None:
    columns = features(80, 1)
    validation = cross_validate(columns, 30 - np.log(columns["macs"]))
    assert validation.over_macs < 0
    assert validation.rmse_macs == pytest.approx(0, abs=1e-6)


def test_rows_of_one_network_are_in_one_fold() -> None:
    """Errors that are random per network are predictable only from other rows of the same network."""
    rng = np.random.default_rng(2)
    columns = {name: np.repeat(values, 4) for name, values in features(25, 2).items()}
    errors = np.repeat(rng.normal(20, 1, 25), 4)
    assert cross_validate(columns, errors, list(np.repeat(np.arange(25), 4))).explained < 0.2
    assert cross_validate(columns, errors).explained > 0.8


def test_few_networks_are_rejected() -> None:
    columns = features(FEWEST, 0)
    with pytest.raises(ValueError, match=r"^networks = 10: must be at least 20 for a surrogate$"):
        cross_validate(columns, columns["width"], [*range(10)] * 2)


@pytest.fixture
def make_table(make_study, tmp_path):
    """Write a study of one space whose manifest has the complete space, and load it."""

    def make(duplicates="keep", **settings):
        folder = make_study(tmp_path / "study", n=24, spaces={"bottleneck": (1.0, (2e6, 20e6))}, **settings)
        manifest = json.loads((folder / "manifest.json").read_text())
        mappings = manifest["config"]["spaces"]
        more = {"template": TEMPLATE, "duplicates": duplicates}
        complete = {label: space_from_config(one | more) for label, one in mappings.items()}
        manifest["spaces"] = {label: space.to_mapping() for label, space in complete.items()}
        (folder / "manifest.json").write_text(json.dumps(manifest))
        return load(folder)

    return make


@pytest.fixture
def table(make_table):
    return make_table()


def test_untrained_networks_are_ranked_by_predicted_error(table) -> None:
    result = table.predict(top=4, count=300)
    frame = result.frame
    assert frame["rank"].tolist() == [1, 2, 3, 4]
    assert frame["predicted_percent"].is_monotonic_increasing
    assert not set(frame["spec_id"]) & set(table["spec_id"])
    assert frame["index"].between(24, 299).all()  # the first 24 are trained
    assert frame["macs"].between(2e6, 20e6).all()
    assert result.plot().get_xlabel() == "predicted error (%), cross-validated"

    population = source_space(table).sample(300, seed=0)
    assert [population[int(index)].spec_id for index in frame["index"]] == frame["spec_id"].tolist()


def test_proposals_of_a_search_are_not_untrained(make_table) -> None:
    table = make_table(search="tpe", budget=40)
    frame = table.predict(top=30, count=60).frame
    assert len(frame)
    assert not set(frame["spec_id"]) & set(table["spec_id"])


def test_the_index_in_a_space_without_duplicates_counts_distinct_networks(make_table) -> None:
    table = make_table(duplicates="drop")
    frame = table.predict(top=300, count=300).frame
    population = source_space(table).sample(int(frame["index"].max()) + 1, seed=0)
    assert [population[int(index)].spec_id for index in frame["index"]] == frame["spec_id"].tolist()


def test_the_space_of_an_earlier_version_is_unknown(make_study, tmp_path) -> None:
    result = load(make_study(tmp_path / "study")).predict()
    assert "spec" not in result.frame
    assert sum("is unknown" in sentence for sentence in result.sentences) == 2


def test_a_table_without_a_space_is_only_validated(tmp_path) -> None:
    columns = features(40, 3)
    frame = pd.DataFrame({**columns, "error": 20 + np.abs(columns["width"] - 36) / 6})
    result = load(frame, columns={"error": "error", "wide": "width"}).predict()
    assert result.frame["explained"].iloc[0] > 0
    assert any("space of frame is unknown" in sentence for sentence in result.sentences)


def test_predicted_networks_are_written_as_specs(table, tmp_path, capsys) -> None:
    run, out = str(table.sources[0].path), tmp_path / "predicted.csv"
    assert predict([run, "--count", "100", "--top", "2", "--specs", str(tmp_path / "specs"), "--out", str(out)]) == 0
    frame = pd.read_csv(out)
    files = sorted((tmp_path / "specs").iterdir())
    assert [load_spec(file).spec_id for file in files] == frame["spec_id"].tolist()
    assert "R² " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"top": 0}, "top = 0: must be at least 1"),
        ({"count": 0}, "count = 0: must be at least 1"),
    ],
)
def test_invalid_arguments(table, arguments, message) -> None:
    with pytest.raises(ValueError, match=rf"^{message}"):
        table.predict(**arguments)


def test_a_study_that_is_too_small(make_study, tmp_path) -> None:
    with pytest.raises(ValueError, match=r"^networks = 10: must be at least 20 trained networks in one space"):
        load(make_study(tmp_path / "small", n=10)).predict()
