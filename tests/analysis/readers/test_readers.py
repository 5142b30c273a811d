"""Table files, data frames, and several sources in one table."""

import numpy as np
import pandas as pd
import pytest

from analysis import load
from analysis.expressions import parse_map
from analysis.grouping import group_by, keep_where
from analysis.rows import apply_failure_policy, average_seeds
from designspace.blocks import STAGES


@pytest.mark.parametrize("suffix", ["csv", "csv.gz", "parquet"])
def test_the_map_sets_columns_and_parameters(tmp_path, suffix):
    raw = pd.DataFrame(
        {"arch": ["001", "010", "011"], "acc": [90.0, 80.0, np.nan], "gmacs": [1.0, 2.0, 3.0], "layers": [3, 4, 5]}
    )
    path = tmp_path / f"nets.{suffix}"
    raw.to_parquet(path) if suffix == "parquet" else raw.to_csv(path, index=False)
    table = load(path, columns=parse_map("name=arch,error=100-acc,macs=gmacs*1e9,layers"))
    frame = table.frame
    assert frame["spec_id"].tolist() == ["001", "010", "011"]
    assert frame["error_percent"].tolist()[:2] == [10, 20]
    assert frame["macs"].tolist() == [1e9, 2e9, 3e9]
    assert frame["status"].tolist() == ["ok", "ok", "crashed"]  # no error is not a good error
    assert frame["space"].tolist() == ["nets"] * 3
    assert table.parameters == ("layers",)
    assert table.sources[0].manifest == {}


def test_error_columns_of_several_seeds_become_rows(tmp_path):
    pd.DataFrame({"a": [1.0, 2.0], "b": [3.0, 4.0]}).to_csv(tmp_path / "t.csv", index=False)
    frame = load(tmp_path / "t.csv", columns=parse_map("error_1=a,error_2=b")).frame
    assert frame[["index", "seed", "error_percent"]].to_numpy().tolist() == [[0, 1, 1], [1, 1, 2], [0, 2, 3], [1, 2, 4]]


def test_a_study_and_a_table_together(study, tmp_path):
    pd.DataFrame({"error": [1.0, 2.0], "macs": [3, 4]}).to_csv(tmp_path / "t.csv", index=False)
    frame = load(study, tmp_path / "t.csv", columns={"error": "error"}).frame
    assert frame["space"].unique().tolist() == ["bottleneck", "inverted", "t"]
    assert frame["study"].unique().tolist() == ["study", "t.csv"]


def test_spaces_from_a_column_and_rows_by_condition(tmp_path):
    pd.DataFrame(
        {"error_percent": [1.0, 2, 3, 4], "k": [10, 2, 10, 2], "tag": list("abab"), "x": [0.1, 0.2, 0.3, 0.4]}
    ).to_csv(tmp_path / "t.csv", index=False)
    table = load(tmp_path / "t.csv")
    assert group_by(table, "k").frame["space"].unique().tolist() == ["k = 2", "k = 10"]
    assert group_by(table, "tag").frame["space"].tolist() == list("abab")
    assert keep_where(table, ["tag=b", "k=2,3"]).frame["error_percent"].tolist() == [2, 4]
    both = pd.DataFrame({"error_percent": [1.0, 2, 3, 4], "wide": [True, False, True, False], "k": [3, None, 2, None]})
    both.to_csv(tmp_path / "both.csv", index=False)
    wide = group_by(load(tmp_path / "both.csv"), "wide")
    assert wide.frame["space"].tolist() == ["wide = False", "wide = False", "wide = True", "wide = True"]
    some = group_by(load(tmp_path / "both.csv"), "k")
    assert some.frame["space"].tolist() == ["k = 2", "k = 3"]
    assert some.notes == ("2 of 4 rows have no k and are excluded.",)
    with pytest.raises(ValueError, match="where = k=3: no model is left; k is one of 10, 2"):
        keep_where(table, ["k=3"])
    with pytest.raises(ValueError, match="must be COLUMN=VALUE"):
        keep_where(table, ["k"])
    with pytest.raises(ValueError, match="by = y: unknown"):
        group_by(table, "y")
    many = pd.DataFrame({"error_percent": np.arange(20.0), "k": range(20)})
    many.to_csv(tmp_path / "m.csv", index=False)
    with pytest.raises(ValueError, match="by = k: must have at most 12 values, not 20; select some with"):
        group_by(load(tmp_path / "m.csv"), "k")


def test_spaces_of_files_without_seeds_are_separate(tmp_path):
    for folder in "ab":
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "nets.csv").write_text("name,error_percent\nx,1\ny,2\n")
    frame = load(tmp_path / "a" / "nets.csv", tmp_path / "b" / "nets.csv", columns=parse_map("name")).frame
    assert frame["space"].tolist() == ["a/nets.csv/nets", "a/nets.csv/nets", "b/nets.csv/nets", "b/nets.csv/nets"]
    assert frame[["recipe_id", "data_id"]].isna().all(axis=None)  # the files do not say


def test_files_with_different_seeds_of_the_same_models_are_pooled(tmp_path):
    for seed in (1, 2):
        rows = f"s,x,{seed},{10 + seed}\ns,y,{seed},{20 + seed}\n"
        (tmp_path / f"seed{seed}.csv").write_text("space,net,seed,error\n" + rows)
    columns = parse_map("space,name=net,error")
    table = load(tmp_path / "seed1.csv", tmp_path / "seed2.csv", columns=columns)
    assert table.notes == (
        "s: its tables share models and count as seeds of one recipe; map recipe_id if the recipes differ.",
    )
    models = average_seeds(apply_failure_policy(table.frame).frame)
    assert models[["space", "error_percent", "seeds"]].to_numpy().tolist() == [["s", 11.5, 2], ["s", 21.5, 2]]


@pytest.mark.parametrize(
    ("second", "reason"),
    [
        ("s,x,1,15\ns,y,2,22\n", "one training cannot have two errors"),
        ("s,v,2,12\ns,w,2,22\n", "no model in common"),
    ],
)
def test_files_without_common_trainings_are_separate(tmp_path, second, reason):
    (tmp_path / "one.csv").write_text("space,net,seed,error\ns,x,1,11\ns,y,1,21\n")
    (tmp_path / "two.csv").write_text("space,net,seed,error\n" + second)
    frame = load(tmp_path / "one.csv", tmp_path / "two.csv", columns=parse_map("space,name=net,error")).frame
    assert frame["space"].unique().tolist() == ["one.csv/s", "two.csv/s"], reason


def test_spaces_of_a_file_and_a_study_with_one_name_are_separate(study, tmp_path):
    (tmp_path / "t.csv").write_text("space,net,seed,error\nbottleneck,x,1,11\nbottleneck,y,1,21\n")
    frame = load(study, tmp_path / "t.csv", columns=parse_map("space,name=net,error")).frame
    assert set(frame["space"]) == {"study/bottleneck", "t.csv/bottleneck", "inverted"}


def test_files_with_one_recipe_id_are_pooled(tmp_path):
    for seed in (1, 2):
        (tmp_path / f"seed{seed}.csv").write_text(f"net,s,error_percent\nx,{seed},{seed}\ny,{seed},{seed + 2}\n")
    columns = parse_map("name=net,seed=s,space=1,recipe_id=1")
    models = average_seeds(
        apply_failure_policy(load(tmp_path / "seed1.csv", tmp_path / "seed2.csv", columns=columns).frame).frame
    )
    assert models["error_percent"].tolist() == [1.5, 3.5]
    assert models["seeds"].tolist() == [2, 2]


def test_errors_name_the_file_and_what_to_do(study, tmp_path):
    with pytest.raises(FileNotFoundError, match="no such file"):
        load(tmp_path / "no.csv")
    pd.DataFrame({"acc": [1.0]}).to_csv(tmp_path / "t.csv", index=False)
    with pytest.raises(ValueError, match=r"error_percent: required and missing; map it, such as .*; columns: acc"):
        load(tmp_path / "t.csv")
    with pytest.raises(ValueError, match="columns: must be omitted for study folders"):
        load(study, columns={"error": "acc"})
    (tmp_path / "other.json").write_text('[{"x": 1}]')
    with pytest.raises(ValueError, match=r"must be an NDS file .* or a sweep\.json"):
        load(tmp_path / "other.json")


@pytest.mark.parametrize("content", ["{", "[" * 100_000, "null", "[]", "[1]", '{"a": 1}'])
def test_other_json_is_rejected(tmp_path, content):
    (tmp_path / "x.json").write_text(content)
    with pytest.raises(ValueError, match=r"x\.json"):
        load(tmp_path / "x.json")


def test_rows_with_one_name_are_seeds_only_with_a_seed_column(tmp_path):
    (tmp_path / "long.csv").write_text("name,seed,error_percent\na,1,3\nb,1,5\na,2,4\nb,2,6\n")
    table = load(tmp_path / "long.csv", columns=parse_map("name"))
    models = average_seeds(apply_failure_policy(table.frame).frame)
    assert models["error_percent"].tolist() == [3.5, 5.5]
    (tmp_path / "short.csv").write_text("name,error_percent\na,3\nb,5\na,4\n")
    table = load(tmp_path / "short.csv", columns=parse_map("name"))
    assert table.frame["spec_id"].tolist() == ["a", "b", "a #2"]
    assert len(average_seeds(apply_failure_policy(table.frame).frame)) == 3


def test_real_tables(shared_data):
    macro = load(shared_data("nas-bench-macro.csv"), columns=parse_map("name=arch,error=err,macs=flops,n_id"))
    assert (len(macro), macro["spec_id"][1]) == (6561, "00000001")
    timm = load(
        shared_data("timm_results.csv"),
        columns=parse_map("name=model,error=top1_err,macs=gmacs*1e9,params=params_M*1e6,acts=macts*1e6"),
    )
    kept = keep_where(timm, ["tag=pycls_in1k"]).frame
    assert len(kept) == 24
    assert kept["macs"].max() == pytest.approx(32.34e9, rel=0.02)


def test_a_block_that_is_not_installed_is_an_error_that_names_the_study(study, monkeypatch):
    monkeypatch.delitem(STAGES, "bottleneck")
    with pytest.raises(ValueError, match=r"study: model \w+/\d+: .*block = 'bottleneck': must be one of basic"):
        load(study)
