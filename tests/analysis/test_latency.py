"""Measured latency: joined to the models, as a cost in every analysis, and predicted."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import analysis.report
import designspace as ds
from analysis import load
from analysis.commands import latency, select
from analysis.figures import space_figures
from analysis.latency import FEATURES, fit_latency, latency_correlations, latency_sentences
from designspace.cli import main
from designspace.latency.predictor import load_predictor
from designspace.latency.records import Condition, Latency, add_to_folder, read_folder
from designspace.study import Study, StudyPaths

CONDITION = Condition("torch", "cpu", "AMD EPYC", 1, 1, "wall", {"torch": "2.13.0"})
OTHER = replace(CONDITION, engine="onnxruntime", packages={"onnxruntime": "1.32.0"})
TIME = "2026-11-26T07:00:00+00:00"


def milliseconds(macs: float, acts: float) -> float:
    return macs / 1e6 + acts / 1e5


def add_latencies(folder: Path, condition: Condition, factor: float = 1.0, first: int | None = None) -> None:
    """Latencies of the first networks of a study, from their complexity."""
    medians = {one.spec_id: factor * milliseconds(one.macs, one.acts) for one in Study.open(folder).models[:first]}
    networks = {key: Latency(one, one, one, 0.01, 6, 60, 0.0, TIME) for key, one in medians.items()}
    add_to_folder(StudyPaths(folder).latency, condition, networks)


def test_a_study_without_latencies_has_no_column(study):
    table = load(study)
    assert "latency_ms" not in table.frame
    with pytest.raises(ValueError, match="match = latency_ms: must be measured first, with designspace latency RUN"):
        table.compare(match="latency_ms")
    with pytest.raises(ValueError, match="latency = torch: must be measured first"):
        load(study, latency="torch")


def test_the_condition_with_the_most_networks_is_the_default_and_stated(study):
    add_latencies(study, OTHER, 2.0, first=10)
    add_latencies(study, CONDITION)
    table = load(study)
    frame = table.frame
    np.testing.assert_allclose(frame["latency_ms"], milliseconds(frame["macs"], frame["acts"]))
    notes = " ".join(table.notes)
    assert f"latency_ms: torch 2.13.0, batch 1, 1 thread, AMD EPYC ({CONDITION.name}), known for" in notes
    assert f"Also measured: {OTHER.name} (10)" in notes
    chosen = load(study, latency="onnxruntime").frame
    assert chosen.loc[chosen["latency_ms"].notna(), "spec_id"].nunique() == 10
    with pytest.raises(ValueError, match=f"latency = tensorrt: unknown; must be one of {OTHER.name}"):
        load(study, latency="tensorrt")


def test_studies_of_different_conditions_are_not_mixed(study, tmp_path, make_study):
    other = make_study(tmp_path / "other", seed=1, n=8)
    add_latencies(study, CONDITION)
    add_latencies(other, OTHER)
    table = load(study, other)
    known = table.frame.groupby("study")["latency_ms"].agg(lambda values: values.notna().mean())
    assert known.to_dict() == {study.name: 1.0, "other": 0.0}


def test_a_busy_machine_is_a_warning(study):
    spec_id = Study.open(study).models[0].spec_id
    add_to_folder(study / "latency", CONDITION, {spec_id: Latency(2.0, 1.0, 30.0, 0.4, 6, 60, 0.8, TIME)})
    assert "the process waited for a core 80% of the time" in " ".join(load(study).notes)


def test_latency_is_a_cost_in_every_analysis(study, tmp_path, monkeypatch):
    monkeypatch.setattr(analysis.report, "report_figures", space_figures)
    add_latencies(study, CONDITION)
    table = load(study)
    (pair,) = table.compare(match="latency_ms").frame.to_dict("records")
    assert (pair["matched_by"], pair["problem"]) == ("latency_ms", "")
    assert "Matched in" in " ".join(table.edf(match="latency_ms").sentences)
    front = table.select(pareto="latency_ms").frame
    assert (np.diff(front["latency_ms"]) < 0).all()
    assert "latency_ms" in set(table.trends().frame["parameter"])
    assert (table.where("latency_ms <= 10").frame["latency_ms"] <= 10).all()
    page = table.report(tmp_path / "page", match="latency_ms").page.read_text()
    assert "At equal latency (ms)" in page
    assert "Correlations of logarithms" in page
    out = tmp_path / "front.csv"
    assert select([str(study), "--pareto", "latency_ms", "--out", str(out)]) == 0
    assert load(out)["latency_ms"].tolist() == front["latency_ms"].tolist()


def test_a_column_of_a_table_is_the_latency():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {"space": ["a", "b"] * 20, "error_percent": rng.uniform(5, 9, 40), "ms": rng.uniform(1, 9, 40)}
    )
    table = load(frame, columns={"latency_ms": "ms"})
    assert table.compare(match="latency_ms").frame["matched_by"].tolist() == ["latency_ms"]
    with pytest.raises(ValueError, match=r"latency_ms = -5.57\d+: must be finite and above 0, or empty"):
        load(frame, columns={"latency_ms": "-ms"})


def networks(n: int, seed: int = 0) -> pd.DataFrame:
    """RegNetX networks with their complexity."""
    space = ds.space("regnetx").with_constraints(macs=(1e8, 8e8))
    return space.sample(n, seed).to_frame().drop_duplicates("spec_id", ignore_index=True)


def test_a_sum_of_terms_is_fitted_exactly():
    frame = networks(60)
    frame["latency_ms"] = 1e-8 * frame["macs"] + 2e-7 * frame["acts"] + 0.05 * frame["depth"] + 0.1
    predictor = fit_latency(frame, "a condition")
    assert predictor.error < 1e-6
    predicted = predictor.milliseconds(*(frame[name] for name in ("macs", "params", "acts", "depth")))
    np.testing.assert_allclose(predicted, frame["latency_ms"])
    with pytest.raises(ValueError, match="fit: 19 measured networks, but at least 20 are needed"):
        fit_latency(frame.head(19), "a condition")


def test_the_stated_error_covers_new_networks():
    """Also if the latency depends on quantities that the predictor does not know."""
    rng = np.random.default_rng(0)
    frame = networks(2000)
    narrow = 1 + 0.4 * (frame["group_width"] < 8)
    noise = rng.lognormal(0, 0.05, len(frame))
    frame["latency_ms"] = narrow * noise * (1e-8 * frame["macs"] + 2e-7 * frame["acts"] + 0.05 * frame["depth"])
    covered = []
    for _ in range(60):
        drawn = frame.sample(80, random_state=rng)
        sample, new = drawn.head(40), drawn.tail(40)
        predictor = fit_latency(sample, "a condition")
        ratio = new["latency_ms"] / predictor.milliseconds(**{name: new[name] for name in FEATURES})
        covered.append(np.mean(np.abs(np.log(ratio)) <= np.log1p(predictor.error)))
    assert 0.92 < np.mean(covered) < 0.99


def test_the_best_predictor_of_latency_is_found():
    rng = np.random.default_rng(0)
    frame = networks(100)
    frame["latency_ms"] = 1e-6 * frame["acts"] * rng.lognormal(0, 0.02, len(frame))
    correlations = latency_correlations(frame)
    assert correlations["predictor"].iloc[0] == "acts"
    assert (correlations["lower"].iloc[1:] > 0).all()
    (sentence,) = latency_sentences(correlations)
    assert sentence.startswith("acts predict the latency best. Correlations of logarithms over")
    assert latency_correlations(frame.head(5)).empty
    assert latency_sentences(latency_correlations(frame.head(5))) == []


def test_the_order_of_equally_good_predictors_is_not_claimed():
    rng = np.random.default_rng(1)
    false = 0
    for _ in range(200):
        logs = rng.multivariate_normal(np.zeros(4), 0.7 + 0.3 * np.eye(4), 20)
        frame = pd.DataFrame(np.exp(logs), columns=["macs", "params", "acts", "latency_ms"])
        rows = latency_correlations(frame.assign(spec_id=range(20)))
        false += bool((rows["lower"].iloc[1:] > 0).any())
    assert false / 200 < 0.09


def test_the_command_measures_stores_and_resumes(study, capsys):
    command = [str(study), "--first", "2", "--rounds", "6", "--clock", "cpu"]
    assert latency(command) == 0
    folder = StudyPaths(study).latency
    (before,) = read_folder(folder).values()
    assert len(before.networks) == 2
    assert latency(command) == 0
    assert read_folder(folder) == {before.condition.name: before}
    out = capsys.readouterr().out
    assert "2 networks: torch" in out
    assert f"written: {folder / before.condition.name}.json" in out
    assert load(study).frame["latency_ms"].notna().any()


def test_the_command_fits_a_predictor_for_a_space(tmp_path, capsys):
    population, file = tmp_path / "population.parquet", tmp_path / "latency.yaml"
    small = ["template.resolution=8", "template.stem={width: 8, stride: 1}", "parameters.w_0.high=24"]
    limits = ["macs=[1e5,1e6]", "parameters.depth.high=6"]
    assert main(["sample", "space=regnetx", "n=24", f"--out={population}", *small, *limits]) == 0
    assert latency([str(population), "--rounds", "6", "--clock", "cpu", "--fit", str(file)]) == 0
    assert len(next(iter(read_folder(tmp_path / "population-latency").values())).networks) >= 20
    predictor = load_predictor(file)
    assert "Latency predicted from" in capsys.readouterr().out
    limit = f"latency_ms=[0,{0.9 * predictor.slowest_ms}]"
    assert main(["sample", "space=regnetx", "n=5", *small, *limits, limit, f"latency_predictor={file}"]) == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["RegNetX-200M"], "RegNetX-200M: unknown; did you mean RegNetX-200MF"),
        (["RegNetX-200MF", "a.parquet"], "networks = a.parquet: must be the only argument"),
        (["RegNetX-200MF", "--fit", "a.csv"], "fit = a.csv: must end in .yaml, .yml, .json"),
        (["RegNetX-200MF", "--fit", "a.yaml"], "fit = a.yaml: must be used with at least 20 networks, not 1"),
        (["RegNetX-200MF", "--threads", "0"], "threads = 0: must be at least 1"),
        (["RegNetX-200MF", "--rounds", "3"], "rounds = 3: must be at least 6"),
        (["RegNetX-200MF", "--engine", "tensorrt"], "--engine = tensorrt: unknown"),
    ],
)
def test_errors_of_the_command(arguments, message):
    with pytest.raises(ValueError, match=message):
        latency(arguments)


def test_other_parquet_files_are_rejected(tmp_path):
    file = tmp_path / "table.parquet"
    pd.DataFrame({"error": [1.0]}).to_parquet(file)
    with pytest.raises(ValueError, match="must be a population written by designspace sample --out"):
        latency([str(file)])


def test_features_are_columns_of_populations():
    assert set(FEATURES) <= set(networks(1))
