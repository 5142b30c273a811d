"""Studies of the papers' claims: the rule, the intervals, and pages that follow from the stored tables."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import analysis
import designspace as ds
from benchmarks.studies.claims import Claim, Correlations, Means, Pairs, counted, overall, paired_interval
from benchmarks.studies.definitions import DEFINITIONS
from benchmarks.studies.exact import V1_TABLES, mobilenet_v1_counts
from benchmarks.studies.markdown import markdown_table
from benchmarks.studies.pages import write_overview, write_page, write_plan
from benchmarks.studies.study import Definition, Results
from sweeps.compose import compose
from sweeps.study.freeze import study_space

ROOT = Path(__file__).parents[1]
PAGES = sorted((ROOT / "docs" / "studies").glob("*/table.parquet"))
IMAGENET = {"resolution": 224, "in_channels": 3, "classes": 1000}


@pytest.mark.parametrize(
    ("expected", "margin", "interval", "verdict"),
    [
        ("negative", 0, (-2, -1), "agrees"),
        ("negative", 0, (-2, 1), "not detectable"),
        ("negative", 0, (1, 2), "contradicts"),
        ("positive", 0, (1, 2), "agrees"),
        ("positive", 0, (-2, -1), "contradicts"),
        ("zero", 1, (-0.5, 0.5), "agrees"),
        ("zero", 1, (0.1, 0.9), "agrees"),
        ("zero", 1, (0.5, 1.5), "not detectable"),
        ("zero", 1, (1.1, 1.5), "contradicts"),
        ("negative", 0, (np.nan, np.nan), "not detectable"),
        ("negative", 0, (-1, -1), "not detectable"),
    ],
)
def test_the_verdict_depends_only_on_the_interval(expected, margin, interval, verdict):
    assert Claim("", "", "a", "b", expected, margin).verdict(*interval) == verdict


def test_one_contradicted_claim_contradicts_the_paper():
    assert overall(["agrees", "agrees"]) == "agrees"
    assert overall(["agrees", "not detectable"]) == "not detectable"
    assert overall(pd.Series(["agrees", "not detectable", "contradicts"])) == "contradicts"
    assert counted(["agrees", "contradicts", "agrees"]) == "2 agree, 1 contradicts"


def test_the_closed_form_of_mobilenet_v1_is_the_count_without_the_biases():
    for (multiplier, resolution), (macs, params) in V1_TABLES.items():
        closed = mobilenet_v1_counts(multiplier, resolution)
        cost = ds.complexity(ds.zoo.spec(f"MobileNetV1-{multiplier}-{resolution}"))
        assert closed == (cost.macs - 1000, cost.params)
        assert closed[0] / 1e6 == pytest.approx(macs, abs=1)
        assert closed[1] / 1e6 == pytest.approx(params, abs=0.05)


def study_frame(spaces, n=40, seed=0, **columns):
    """Networks with errors that rise with the number of the space and with noise shared by equal indices."""
    rng = np.random.default_rng(seed)
    shared = rng.normal(0, 2, n)
    parts = []
    for number, space in enumerate(spaces):
        part = {"space": space, "index": range(n), "spec_id": [f"{space}-{i}" for i in range(n)], "seed": 0}
        part |= {"macs": np.geomspace(1e6, 4e6, n), "status": "ok"}
        part |= {"error_percent": 20 + number + shared + rng.normal(0, 0.3, n)}
        parts.append(pd.DataFrame(part | {name: values(rng, n) for name, values in columns.items()}))
    return pd.concat(parts, ignore_index=True)


def test_pairs_detect_what_the_means_of_unpaired_networks_do_not():
    table = analysis.load(study_frame(["a", "b"]))
    claims = (Claim("a beats b", "", "a", "b"),)
    paired = Pairs(claims).estimate(table, 0.95).iloc[0]
    unpaired = Means(claims, match=None).estimate(table, 0.95).iloc[0]
    assert paired["upper"] < 0
    assert paired["estimate"] == pytest.approx(unpaired["estimate"])
    assert paired["detectable"] < unpaired["detectable"] / 3


@pytest.mark.parametrize(
    ("name", "draw", "mean", "lowest"),
    [
        ("normal", lambda rng, n: rng.normal(size=n), 0, 0.985),
        ("t with 3 degrees of freedom", lambda rng, n: rng.standard_t(3, n), 0, 0.985),
        ("lognormal", lambda rng, n: rng.lognormal(0, 0.8, n), np.exp(0.32), 0.94),
    ],
)
@pytest.mark.parametrize("n", [24, 48])
def test_the_coverage_of_paired_intervals_falls_with_skew(name, draw, mean, lowest, n):
    rng = np.random.default_rng(0)
    intervals = [paired_interval(draw(rng, n), 1 - 0.025 / 3) for _ in range(2000)]
    covered = np.mean([abs(estimate - mean) <= half for estimate, half in intervals])
    assert covered >= lowest
    if name == "lognormal":
        assert covered < 0.985  # the docstring says so


def test_a_column_that_was_not_recorded_decides_nothing():
    table = analysis.load(study_frame(["a"]))
    estimate = Correlations((Claim("", "", "rank", "error_percent"),), "a").estimate(table, 0.95).iloc[0]
    assert estimate["n"] == 0
    assert np.isnan(estimate["lower"])


@pytest.mark.parametrize("study", DEFINITIONS.values(), ids=list(DEFINITIONS))
def test_claims_are_about_the_spaces_of_the_experiments(study):
    spaces = {label for name in study.experiments for label in compose([f"experiment={name}"]).values["spaces"]}
    for family in study.families:
        named = {family.space} if hasattr(family, "space") else {s for c in family.claims for s in (c.a, c.b)}
        assert named <= spaces


@pytest.mark.parametrize("name", [name for study in DEFINITIONS.values() for name in study.experiments])
def test_every_study_can_be_drawn_at_the_scale_of_the_papers(name):
    values = compose([f"experiment={name}", "regime=imagenet"]).values
    assert values["data"]["name"] == "image_folder"
    assert values["data"]["subset"] is None
    for label in values["spaces"]:
        population = study_space(values, label, IMAGENET).sample(1)
        assert population[0].resolution >= 112
        assert population.complexity.macs[0] >= 1e7


def test_table_cells_may_contain_the_separator():
    assert markdown_table(["a", "b"], [["|x|", 1]]).splitlines()[-1] == r"| \|x\| | 1 |"


def write_study(study, frame, folder):
    folder.mkdir()
    frame.to_parquet(folder / "table.parquet", index=False)
    config = compose([f"experiment={study.experiments[0]}"]).values
    (folder / "protocol.json").write_text(json.dumps([{"config": config, "packages": {}, "revision": None}]))
    write_plan(study, Results.read(folder), 40, "It takes an hour.", folder)


COLUMNS = {
    "epoch_cpu_seconds": lambda rng, n: [[1.0, 1.0]] * n,
    "train_seconds": lambda rng, n: 2.0,
    "device_name": lambda rng, n: "processor",
    "dtype": lambda rng, n: "float32",
    "depth": lambda rng, n: rng.integers(4, 30, n),
    "part_gradient_norm_first": lambda rng, n: rng.lognormal(size=(n, 6)).tolist(),
    "part_gradient_norm_last": lambda rng, n: rng.lognormal(size=(n, 6)).tolist(),
    **{
        name: lambda rng, n: rng.uniform(0.1, 1, n)
        for name in (
            *("e_fit", "mean_block_rank_after", "train_error_percent", "width_factor", "resolution_factor"),
            *("acts", "params", "training_memory_bytes", "training_cpu_seconds", "latency_seconds"),
            *("alpha", "beta", "gamma"),
        )
    },
}
"""Columns of the tables of the studies."""


@pytest.mark.parametrize("name", DEFINITIONS)
def test_a_page_follows_from_the_stored_table(name, tmp_path):
    study = DEFINITIONS[name]
    spaces = [space for one in study.experiments for space in compose([f"experiment={one}"]).values["spaces"]]
    frame = study_frame(spaces, n=24, **COLUMNS)
    if name == "scaling":  # trainings of one network per space
        frame["seed"], frame["spec_id"] = frame["index"], frame["space"]
        frame["index"] = 0
    write_study(study, frame, tmp_path / name)
    findings = write_page(study, tmp_path / name)
    write_overview(tmp_path)
    page = (tmp_path / name / "README.md").read_text()
    assert f"**Verdict: {overall(findings['verdict'])}**" in page
    for row in findings.itertuples():
        assert row.claim in page
        assert np.isnan(row.estimate) or f"{row.estimate:+.2f} ({row.lower:+.2f} to {row.upper:+.2f})" in page
    files = {path.name: path.read_bytes() for path in (tmp_path / name).iterdir()}
    assert sum(map(len, files.values())) < 2e6
    write_page(study, tmp_path / name)
    assert {path.name: path.read_bytes() for path in (tmp_path / name).iterdir()} == files
    assert f"({name}/README.md)" in (tmp_path / "README.md").read_text()


def test_a_second_run_stands_next_to_the_first(tmp_path):
    study, folder = DEFINITIONS["representational"], tmp_path / "representational"
    spaces = list(compose(["experiment=study_representational"]).values["spaces"])
    frames = [study_frame(spaces, seed=seed, **COLUMNS) for seed in (0, 1)]
    write_study(study, frames[0], folder)
    assert "## Repeated" not in (write_page(study, folder), (folder / "README.md").read_text())[1]
    write_study(study, frames[1], folder / "repeat")
    first = write_page(study, folder)
    second = study.findings(Results.read(folder / "repeat"))
    section = (folder / "README.md").read_text().partition("## Repeated")[2].partition("\n## ")[0]
    assert f"**Verdict of the second run: {overall(second['verdict'])}**" in section
    for row in (*first.itertuples(), *second.itertuples()):
        assert np.isnan(row.estimate) or f"{row.estimate:+.2f} ({row.lower:+.2f} to {row.upper:+.2f})" in section


def test_the_stored_table_gives_the_numbers_of_the_runs(tmp_path):
    run = ROOT / "tests" / "data" / "studies" / "2026-11"
    a, b = analysis.load(run).spaces[:2]
    claims = (Claim("", "", a, b),)
    study = Definition("x", "", "", (), (Means(claims, match=None),), ())
    study.store([run], tmp_path)
    direct = Means(claims, match=None).estimate(analysis.load(run), 0.95)
    pd.testing.assert_frame_equal(study.findings(Results.read(tmp_path))[list(direct)], direct, check_dtype=False)


def test_a_page_needs_a_plan(tmp_path):
    with pytest.raises(ValueError, match=r"plan\.json: required"):
        write_page(DEFINITIONS["ladder"], tmp_path)


@pytest.mark.parametrize("table", PAGES, ids=lambda path: path.parent.name)
def test_every_number_of_a_published_page_follows_from_its_table(table, tmp_path):
    name = table.parent.name
    shutil.copytree(table.parent, tmp_path / name)
    write_page(DEFINITIONS[name], tmp_path / name)
    assert (tmp_path / name / "README.md").read_text() == (table.parent / "README.md").read_text()
    assert sum(path.stat().st_size for path in table.parent.rglob("*")) < 2e6
