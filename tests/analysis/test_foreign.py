"""Tables other people made: expressions, CSV and Parquet, NDS, pycls."""

import json

import numpy as np
import pandas as pd
import pytest

from analysis.expression import evaluate, parse_map
from analysis.table import group_by, keep_where, load, load_table

FRAME = pd.DataFrame({"a": [1.0, 2.0], "b": [3, 4], "name": ["x", "y"], "top-1 error": [5.0, 6.0], "net.d": [7, 8]})


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("a*1e9", [1e9, 2e9]),
        ("100-a", [99, 98]),
        ("-(a + b) / 2", [-2, -3]),
        ("top-1 error", [5, 6]),
        ("net.d+0", [7, 8]),
        ("3", [3, 3]),
        ("name", ["x", "y"]),
    ],
)
def test_expressions(expression, value):
    assert evaluate(expression, FRAME).tolist() == value


@pytest.mark.parametrize(
    ("expression", "sentence"),
    [
        ("__import__('os').system('true')", "allowed: numbers, columns"),
        ("a.__class__", "names the column 'a.__class__'"),
        ("a**1000000000", "allowed: numbers, columns"),
        ("[a][0]", "allowed: numbers, columns"),
        ("a if b else 1", "allowed: numbers, columns"),
        ("'text'", "allowed: numbers, columns"),
        ("c", "names the column 'c'; the table has a, b, name"),
        ("name*2", "is not a number"),
        ("a+", "cannot be read"),
        ("-" * 50000 + "a", "of 50001 characters is too long"),
    ],
)
def test_anything_else_in_an_expression_is_refused(expression, sentence):
    with pytest.raises(ValueError, match=sentence):
        evaluate(expression, FRAME)


def test_maps():
    assert parse_map("error=top1_err, macs=gmacs*1e9,n_id") == {
        "error": "top1_err",
        "macs": "gmacs*1e9",
        "n_id": "n_id",
    }
    with pytest.raises(ValueError, match=r"item 'macs='; it must be NAME=EXPRESSION"):
        parse_map("macs=")
    with pytest.raises(ValueError, match="'a' twice"):
        parse_map("a=b,a=c")


@pytest.mark.parametrize("suffix", ["csv", "csv.gz", "parquet"])
def test_a_mapped_table_is_a_table(tmp_path, suffix):
    raw = pd.DataFrame(
        {"arch": ["001", "010", "011"], "acc": [90.0, 80.0, np.nan], "gmacs": [1.0, 2.0, 3.0], "layers": [3, 4, 5]}
    )
    path = tmp_path / f"nets.{suffix}"
    raw.to_parquet(path) if suffix == "parquet" else raw.to_csv(path, index=False)
    table = load_table(path, columns=parse_map("name=arch,error=100-acc,macs=gmacs*1e9,layers"))
    frame = table.frame
    assert frame["spec_id"].tolist() == ["001", "010", "011"]
    assert frame["error_percent"].tolist()[:2] == [10, 20]
    assert frame["macs"].tolist() == [1e9, 2e9, 3e9]
    assert frame["status"].tolist() == ["ok", "ok", "crashed"]  # no error is not a good error
    assert frame["space"].tolist() == ["nets"] * 3
    assert table.parameters == ("layers",)
    assert table.studies[0].manifest == {}


def test_errors_of_several_seeds_become_a_row_each(tmp_path):
    pd.DataFrame({"a": [1.0, 2.0], "b": [3.0, 4.0]}).to_csv(tmp_path / "t.csv", index=False)
    frame = load(tmp_path / "t.csv", columns=parse_map("error_1=a,error_2=b"))
    assert frame[["index", "seed", "error_percent"]].to_numpy().tolist() == [[0, 1, 1], [1, 1, 2], [0, 2, 3], [1, 2, 4]]


def test_a_study_and_a_table_together(study, tmp_path):
    pd.DataFrame({"error": [1.0, 2.0], "macs": [3, 4]}).to_csv(tmp_path / "t.csv", index=False)
    frame = load(study, tmp_path / "t.csv", columns={"error": "error"})
    assert frame["space"].unique().tolist() == ["bottleneck", "inverted", "t"]
    assert frame["study"].unique().tolist() == ["study", "t.csv"]


def test_spaces_from_a_column_and_rows_by_condition(tmp_path):
    pd.DataFrame(
        {"error_percent": [1.0, 2, 3, 4], "k": [10, 2, 10, 2], "tag": list("abab"), "x": [0.1, 0.2, 0.3, 0.4]}
    ).to_csv(tmp_path / "t.csv", index=False)
    table = load_table(tmp_path / "t.csv")
    assert group_by(table, "k").frame["space"].unique().tolist() == ["k = 2", "k = 10"]
    assert group_by(table, "tag").frame["space"].tolist() == list("abab")
    assert keep_where(table, ["tag=b", "k=2,3"]).frame["error_percent"].tolist() == [2, 4]
    with pytest.raises(ValueError, match="k is one of 10, 2"):
        keep_where(table, ["k=3"])
    with pytest.raises(ValueError, match="must be COLUMN=VALUE"):
        keep_where(table, ["k"])
    with pytest.raises(ValueError, match="by is 'y'; the table has"):
        group_by(table, "y")
    many = pd.DataFrame({"error_percent": np.arange(20.0), "k": range(20)})
    many.to_csv(tmp_path / "m.csv", index=False)
    with pytest.raises(ValueError, match="20 values; 1 to 12 spaces can be compared; choose with --where k="):
        group_by(load_table(tmp_path / "m.csv"), "k")


def test_mistakes_are_named(study, tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no such table"):
        load(tmp_path / "no.csv")
    pd.DataFrame({"acc": [1.0]}).to_csv(tmp_path / "t.csv", index=False)
    with pytest.raises(ValueError, match="--map error=top1_err; the columns are acc"):
        load(tmp_path / "t.csv")
    with pytest.raises(ValueError, match="map is for tables"):
        load(study, columns={"error": "acc"})
    (tmp_path / "other.json").write_text('[{"x": 1}]')
    with pytest.raises(ValueError, match=r"neither an NDS file .* nor a sweep\.json"):
        load(tmp_path / "other.json")


def nds_record(seed=1, lr=0.1, curve=(9.0, 6.0, 7.0), **net):
    """A record with the keys of the published files; ds, ws, ss begin with the stem."""
    body = {"block_type": "res_bottleneck_block", "ds": [1, 2, 1, 3], "ws": [16, 32, 64, 128], "ss": [1, 1, 2, 2]}
    return {
        "job_id": f"j{seed}",
        "rng_seed": seed,
        "net": body | {"num_gs": [1, 2, 4], "bot_muls": [1.0, 0.5, 0.25]} | net,
        "optim": {"base_lr": lr, "wd": 5e-4, "max_ep": 3},
        "params": 1_000_000,
        "flops": 100_000_000,
        "min_test_top1": min(curve, default=5.0),
        "train_ep_top1": list(curve),
        "train_ep_loss": [1.0 for _ in curve],
        "test_ep_top1": list(curve),
    }


def test_nds_records(tmp_path):
    path = tmp_path / "ResNeXt-A.json"
    path.write_text(json.dumps([nds_record(), nds_record(seed=2, lr=0.05), nds_record(seed=3)]))
    table = load_table(path)
    frame = table.frame
    assert frame["space"].unique().tolist() == ["ResNeXt-A"]
    assert frame["error_percent"].tolist() == [7, 7, 7]  # the last epoch
    assert frame["min_test_top1"].tolist() == [6, 6, 6]
    assert "min_test_top1" in table.studies[0].notes[0]
    assert "1.00 points lower" in table.studies[0].notes[0]
    assert frame["index"].tolist() == [0, 1, 0]  # the third is the first with another seed
    assert frame["block_widths"][0] == (32, 32, 64, 128, 128, 128)
    row = frame.iloc[0]
    assert (row["depth"], row["depth_3"], row["width_1"], row["groups_2"], row["bottleneck_ratio_3"]) == (
        6,
        3,
        32,
        2,
        4,
    )
    assert (row["macs"], row["params"]) == (100_000_000, 1_000_000)
    assert {"depth", "width_1", "groups_1", "bottleneck_ratio_1", "learning_rate"} <= set(table.parameters)
    published = load_table(path, columns={"error": "min_test_top1"})
    assert published.frame["error_percent"].tolist() == [6, 6, 6]
    assert published.studies[0].notes == ()


def test_nds_reruns_cells_and_files_without_curves(tmp_path):
    (tmp_path / "R_reruns.json").write_text(
        json.dumps({"top": [[nds_record(1), nds_record(2)]], "mid": [nds_record(3)]})
    )
    frame = load(tmp_path / "R_reruns.json")
    assert frame["rerun_group"].tolist() == ["top", "top", "mid"]
    cell = nds_record(curve=()) | {"net": {"genotype": "x", "width": 16, "depth": 8, "aux": False, "drop_prob": 0.1}}
    (tmp_path / "DARTS.json").write_text(json.dumps([cell]))
    table = load_table(tmp_path / "DARTS.json")
    assert table.frame["error_percent"].tolist() == [5.0]
    assert "optimistic" in table.studies[0].notes[0]
    assert table.frame[["depth", "width"]].to_numpy().tolist() == [[8, 16]]


def pycls_job(seed=1, done=3, **extra):
    regnet = {"DEPTH": 13, "W0": 24, "WA": 36.44, "WM": 2.49, "GROUP_W": 8, "BOT_MUL": 0.5}
    errors = [50.0, 40.0, 41.0][:done]
    return {
        "cfg": {
            "MODEL": {"TYPE": "regnet"},
            "REGNET": regnet,
            "RNG_SEED": seed,
            "OPTIM": {"BASE_LR": 0.1, "MAX_EPOCH": 3},
        },
        "complexity": {"flops": 199_000_000, "params": 2_680_000, "acts": 2_160_000},
        "test_epoch": {
            "top1_err": errors,
            "min_top1_err": list(np.minimum.accumulate(errors)),
            "epoch_ind": list(range(1, done + 1)),
            "epoch_max": [3] * done,
        },
        "test_ema_epoch": {"top1_err": [e - 1 for e in errors]},
        "train_epoch": {"loss": [3.0, 2.0, 1.5][:done]},
        "err": "",
        **extra,
    }


def test_pycls_sweeps(tmp_path):
    folder = tmp_path / "regnetx_200mf"
    folder.mkdir()
    crashed = {"test_epoch": {}, "test_ema_epoch": {}, "err": "Traceback\nRuntimeError: CUDA out of memory."}
    jobs = [pycls_job(), pycls_job(2, done=2), pycls_job(3, **crashed)]
    (folder / "sweep.json").write_text(json.dumps(jobs))
    table = load_table(folder / "sweep.json")
    frame = table.frame
    assert frame["space"].unique().tolist() == ["regnetx_200mf"]
    assert frame["status"].tolist() == ["ok", "crashed", "out_of_memory"]  # pycls itself drops the last two
    assert frame["message"][1] == "stopped after epoch 2 of 3."
    assert frame["error_percent"][0] == 41
    assert frame["ema_error_percent"][0] == 40
    assert frame["min_top1_err"][0] == 40
    row = frame.iloc[0]
    assert (row["depth"], row["w_0"], row["bottleneck_ratio"], row["group_width"]) == (13, 24, 2, 8)
    assert row["block_widths"][0] == 24
    assert len(row["block_widths"]) == 13
    assert set(row["block_widths"]) == {24, 56, 152, 368}  # RegNetX-200MF


def test_anynet_sweeps_have_stages(tmp_path):
    anynet = {"DEPTHS": [1, 2], "WIDTHS": [32, 64], "GROUP_WS": [8, 16], "BOT_MULS": [1.0, 0.5]}
    job = pycls_job() | {"cfg": {"MODEL": {"TYPE": "anynet"}, "ANYNET": anynet, "REGNET": {"DEPTH": 10}}}
    (tmp_path / "sweep.json").write_text(json.dumps([job]))
    row = load(tmp_path / "sweep.json").iloc[0]
    assert row["block_widths"] == (32, 64, 64)
    assert (row["depth"], row["bottleneck_ratio_2"], row["group_width_2"]) == (3, 2, 16)


def test_real_tables(shared_data):
    macro = load(shared_data("nas-bench-macro.csv"), columns=parse_map("name=arch,error=err,macs=flops,n_id"))
    assert (len(macro), macro["spec_id"][1]) == (6561, "00000001")
    timm = load_table(
        shared_data("timm_results.csv"),
        columns=parse_map("name=model,error=top1_err,macs=gmacs*1e9,params=params_M*1e6,acts=macts*1e6"),
    )
    kept = keep_where(timm, ["tag=pycls_in1k"]).frame
    assert len(kept) == 24
    assert kept["macs"].max() == pytest.approx(32.34e9, rel=0.02)
