"""Tables other people made: expressions, CSV and Parquet, NDS, pycls."""

import json

import numpy as np
import pandas as pd
import pytest

from analysis.commands import export
from analysis.expressions import evaluate, parse_map
from analysis.grouping import group_by, keep_where
from analysis.table import load, load_table
from analysis.trainings import apply_failure_policy, average_seeds
from designspace import ModelSpec, complexity, load_spec, zoo

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


NAMES = ["val/acc", "macs(M)", "top-1", "acc.top1", 'a"b', "a'b", "a\\b", "a b", "a,b", "a=b", "a`b", "µacc", "lambda"]
NAMES += ["if", "None", "2nd", "100%", "x*y", "精度", "val/acc (%)", "100-acc"]


@pytest.mark.parametrize("name", NAMES)
def test_any_column_can_be_computed_with_in_backticks(tmp_path, name):
    pd.DataFrame({"space": ["a", "b"], name: [93.0, 92.0]}).to_csv(tmp_path / "t.csv", index=False)
    term = "`" + name.replace("`", "``") + "`"
    columns = parse_map(f"error=(100 - {term}) * 2/2,{term}")
    assert list(columns) == ["error", name]
    table = load_table(tmp_path / "t.csv", columns=columns)
    assert table.frame["error_percent"].tolist() == [7, 8]
    assert table.frame[name].tolist() == [93, 92]
    assert table.parameters == (name,)


@pytest.mark.parametrize("name", ["val/acc", "macs(M)", "top-1", "a b", "2nd", "100%", "a=b", "x*y", 'a"b', "a`b"])
def test_the_error_shows_how_to_quote_a_column(name):
    frame = pd.DataFrame({"val": [1.0], "acc": [2.0], "top": [1.0], "x": [1.0], "y": [1.0], name: [3.0]})
    with pytest.raises(ValueError, match="quote the column") as caught:
        evaluate(f"100-{name}", frame)
    shown = "`" + name.replace("`", "``") + "`"
    assert f"--map 'NAME=100-{shown}'" in str(caught.value)
    assert evaluate(f"100-{shown}", frame).tolist() == [97]


def test_spaces_tell_an_operation_from_a_name():
    frame = pd.DataFrame({"val": [6.0], "acc": [2.0], "val/acc": [90.0]})
    assert evaluate("1 + val / acc", frame).tolist() == [4]
    assert evaluate("val/acc", frame).tolist() == [90]


def test_a_division_by_zero_is_infinite_or_unknown():
    frame = pd.DataFrame({"a": [1.0, 0.0, -1.0]})
    np.testing.assert_array_equal(evaluate("a/0", frame), [np.inf, np.nan, -np.inf])
    np.testing.assert_array_equal(evaluate("1/a", frame), [1, np.inf, -1])
    assert evaluate("1/0", frame).tolist() == [np.inf] * 3


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
    assert table.sources[0].manifest == {}


def test_errors_of_several_seeds_become_a_row_each(tmp_path):
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
    table = load_table(tmp_path / "t.csv")
    assert group_by(table, "k").frame["space"].unique().tolist() == ["k = 2", "k = 10"]
    assert group_by(table, "tag").frame["space"].tolist() == list("abab")
    assert keep_where(table, ["tag=b", "k=2,3"]).frame["error_percent"].tolist() == [2, 4]
    both = pd.DataFrame({"error_percent": [1.0, 2, 3, 4], "wide": [True, False, True, False], "k": [3, None, 2, None]})
    both.to_csv(tmp_path / "both.csv", index=False)
    wide = group_by(load_table(tmp_path / "both.csv"), "wide")
    assert wide.frame["space"].tolist() == ["wide = False", "wide = False", "wide = True", "wide = True"]
    some = group_by(load_table(tmp_path / "both.csv"), "k")
    assert some.frame["space"].tolist() == ["k = 2", "k = 3"]
    assert some.notes == ("2 of 4 rows have no k and are left out.",)
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


def test_spaces_of_two_files_without_seeds_are_kept_apart(tmp_path):
    for folder in "ab":
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "nets.csv").write_text("name,error_percent\nx,1\ny,2\n")
    frame = load(tmp_path / "a" / "nets.csv", tmp_path / "b" / "nets.csv", columns=parse_map("name")).frame
    assert frame["space"].tolist() == ["a/nets.csv/nets", "a/nets.csv/nets", "b/nets.csv/nets", "b/nets.csv/nets"]
    assert frame[["recipe_id", "data_id"]].isna().all(axis=None)  # the files do not say


def test_different_seeds_of_the_same_models_in_two_files_are_seeds_of_one_recipe(tmp_path):
    for seed in (1, 2):
        rows = f"s,x,{seed},{10 + seed}\ns,y,{seed},{20 + seed}\n"
        (tmp_path / f"seed{seed}.csv").write_text("space,net,seed,error\n" + rows)
    columns = parse_map("space,name=net,error")
    table = load_table(tmp_path / "seed1.csv", tmp_path / "seed2.csv", columns=columns)
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
def test_other_spaces_of_one_name_in_two_files_are_kept_apart(tmp_path, second, reason):
    (tmp_path / "one.csv").write_text("space,net,seed,error\ns,x,1,11\ns,y,1,21\n")
    (tmp_path / "two.csv").write_text("space,net,seed,error\n" + second)
    frame = load(tmp_path / "one.csv", tmp_path / "two.csv", columns=parse_map("space,name=net,error")).frame
    assert frame["space"].unique().tolist() == ["one.csv/s", "two.csv/s"], reason


def test_a_table_and_a_study_of_one_name_are_kept_apart(study, tmp_path):
    (tmp_path / "t.csv").write_text("space,net,seed,error\nbottleneck,x,1,11\nbottleneck,y,1,21\n")
    frame = load(study, tmp_path / "t.csv", columns=parse_map("space,name=net,error")).frame
    assert set(frame["space"]) == {"study/bottleneck", "t.csv/bottleneck", "inverted"}


def test_files_are_trainings_of_the_same_models_if_the_map_says_so(tmp_path):
    for seed in (1, 2):
        (tmp_path / f"seed{seed}.csv").write_text(f"net,s,error_percent\nx,{seed},{seed}\ny,{seed},{seed + 2}\n")
    columns = parse_map("name=net,seed=s,space=1,recipe_id=1")
    models = average_seeds(
        apply_failure_policy(load(tmp_path / "seed1.csv", tmp_path / "seed2.csv", columns=columns)).frame
    )
    assert models["error_percent"].tolist() == [1.5, 3.5]
    assert models["seeds"].tolist() == [2, 2]


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
    """A record as the published files have them: the lists of a network begin with its stem."""
    body = {"block_type": "res_bottleneck_block", "ds": [1, 2, 1, 3], "ws": [16, 32, 64, 128], "ss": [1, 1, 2, 2]}
    return {
        "job_id": f"j{seed}",
        "rng_seed": seed,
        "net": body | {"num_gs": [1, 1, 2, 4], "bot_muls": [0.0, 1.0, 0.5, 0.25]} | net,
        "optim": {"base_lr": lr, "wd": 5e-4, "max_ep": 3},
        "params": 1_000_000,
        "flops": 100_000_000,
        "exp_mem": 10.0,
        "act_mem": 20.0,
        "prec_time": {"fw_test": 0.01},
        "iter_time": 0.02,
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
    assert "min_test_top1" in table.notes[0]
    assert "1.00 points lower" in table.notes[0]
    assert frame["index"].tolist() == [0, 1, 0]  # the third is the first with another seed
    assert frame["block_widths"][0] == (32, 32, 64, 128, 128, 128)
    row = frame.iloc[0][["depth", "depth_3", "width_1", "groups_2", "bottleneck_ratio_3"]]
    assert row.tolist() == [6, 3, 32, 2, 4]
    assert "width_4" not in frame  # the stem is no stage
    assert frame.loc[0, ["macs", "params"]].tolist() == [100_000_000, 1_000_000]
    assert {"depth", "width_1", "groups_1", "bottleneck_ratio_1", "learning_rate"} <= set(table.parameters)
    published = load_table(path, columns={"error": "min_test_top1"})
    assert published.frame["error_percent"].tolist() == [6, 6, 6]
    assert published.notes == ()


def test_nds_reruns_and_networks_without_groups(tmp_path):
    plain = {"block_type": "double_plain_block", "num_gs": [], "bot_muls": []}
    records = {"top": [nds_record(1, **plain), nds_record(2, **plain)], "mid": [nds_record(3)]}
    (tmp_path / "Vanilla_reruns.json").write_text(json.dumps(records))
    frame = load(tmp_path / "Vanilla_reruns.json").frame
    assert frame["rerun_group"].tolist() == ["top", "top", "mid"]
    assert frame["index"].tolist() == [0, 0, 1]
    assert np.isnan(frame["groups_1"][0])
    assert frame["block_widths"][0] == (32, 32, 64, 128, 128, 128)


def test_nds_cells_and_records_without_curves(tmp_path):
    net = {"genotype": {"normal": [["skip_connect", 0]]}, "width": 16, "depth": 8, "aux": False, "drop_prob": 0.1}
    (tmp_path / "DARTS.json").write_text(json.dumps([nds_record(curve=()) | {"net": net}]))
    table = load_table(tmp_path / "DARTS.json")
    assert table.frame["error_percent"].tolist() == [5.0]
    assert "optimistic" in table.notes[0]
    assert table.frame[["depth", "width"]].to_numpy().tolist() == [[8, 16]]


def test_nds_files_of_several_seeds_are_trainings_of_the_same_networks(tmp_path):
    nets = [[1, depth, 1, 1] for depth in (2, 3, 4, 5)]
    for seed in (1, 2, 3):
        records = [nds_record(seed, ds=ds, curve=(50, 10.0 + place + seed)) for place, ds in enumerate(nets)]
        (tmp_path / f"ResNet_rng{seed}.json").write_text(json.dumps(records))
    table = load_table(*(tmp_path / f"ResNet_rng{seed}.json" for seed in (1, 2, 3)))
    models = average_seeds(apply_failure_policy(table.frame).frame)
    assert models["space"].unique().tolist() == ["ResNet"]
    assert models["error_percent"].tolist() == [12, 13, 14, 15]
    assert models["seeds"].tolist() == [3] * 4


def test_a_loss_that_is_not_a_number_keeps_its_epoch(tmp_path):
    record = nds_record() | {"train_ep_loss": [2.0, float("nan"), None]}
    (tmp_path / "ResNet.json").write_text(json.dumps([record]))
    np.testing.assert_array_equal(load(tmp_path / "ResNet.json")["epoch_train_loss"][0], [2.0, np.nan, np.nan])


REGNET = {"STEM_TYPE": "simple_stem_in", "STEM_W": 32, "STRIDE": 2, "SE_ON": False, "SE_R": 0.25, "HEAD_W": 0}
ANYNET = {"STEM_TYPE": "simple_stem_in", "DEPTHS": [], "WIDTHS": [], "STRIDES": [], "BOT_MULS": [], "GROUP_WS": []}
X200 = {"DEPTH": 13, "W0": 24, "WA": 36.44, "WM": 2.49, "GROUP_W": 8, "BOT_MUL": 1.0}


def pycls_job(seed=1, done=3, every=1, kind="regnet", optim=(), **sections):
    """A job as sweep_collect.py gathers it: the configuration, then a list over the epochs for each number logged."""
    errors = [50.0, 40.0, 41.0][:done]
    config = {
        "MODEL": {"TYPE": kind, "NUM_CLASSES": 1000, "ACTIVATION_FUN": "relu", "LOSS_FUN": "cross_entropy"},
        "REGNET": REGNET | X200 | sections.pop("regnet", {}),
        "ANYNET": ANYNET | sections.pop("anynet", {}),
        "OPTIM": {"BASE_LR": 0.1, "WEIGHT_DECAY": 5e-5, "MAX_EPOCH": 3 * every, "NESTEROV": True, **dict(optim)},
        "TRAIN": {"IM_SIZE": 224, "BATCH_SIZE": 128},
        "RNG_SEED": seed,
        "OUT_DIR": f"/sweeps/logs/{seed:06}",
        "PORT": 10000 + seed,
    }
    epochs = list(range(every, done * every + 1, every))
    test = {"top1_err": errors, "epoch_ind": epochs, "epoch_max": [3 * every] * done, "mem": [9000] * done}
    return {
        "cfg": config,
        "complexity": {"flops": 199040872, "params": 2684792, "acts": 2164056},
        "test_epoch": test | {"min_top1_err": np.minimum.accumulate(errors).tolist()},
        "test_ema_epoch": test | {"top1_err": [e - 1 for e in errors], "min_top1_err": [e - 1 for e in errors]},
        "train_epoch": {"loss": [3.0, 2.0, 1.5][:done], "top1_err": errors, "epoch_ind": epochs},
        "log_file": f"/sweeps/logs/{seed:06}/stdout.log",
        "err": "",
        **sections,
    }


MALFORMED = (None, "x", 3, [1], {"a": 1}, [], float("inf"), float("nan"), 10**400, True)


@pytest.mark.parametrize(
    "place", ["net", "optim", "test_ep_top1", "min_test_top1", "flops", "rng_seed", "train_ep_loss"]
)
@pytest.mark.parametrize("value", MALFORMED)
def test_a_malformed_nds_record_is_a_row(tmp_path, place, value):
    (tmp_path / "A.json").write_text(json.dumps([nds_record(), nds_record(2) | {place: value}, nds_record(4)]))
    frame = load(tmp_path / "A.json").frame
    assert len(frame) == 3
    if place not in ("test_ep_top1", "min_test_top1"):
        assert frame["error_percent"].tolist() == [7, 7, 7]


@pytest.mark.parametrize("place", ["ds", "ws", "num_gs", "bot_muls"])
@pytest.mark.parametrize("value", [*MALFORMED, [1, 2], [1, None, 2, 3], [1, "2", 2, 3], [1, 10**12, 1, 1]])
def test_a_malformed_nds_network_is_unknown_and_its_error_stays(tmp_path, place, value):
    (tmp_path / "A.json").write_text(json.dumps([nds_record(), nds_record(2, **{place: value})]))
    table = load_table(tmp_path / "A.json")
    assert table.frame["error_percent"].tolist() == [7, 7]
    assert table.frame["block_widths"][0] == (32, 32, 64, 128, 128, 128)


def test_records_that_are_none_are_failures_that_say_so(tmp_path):
    (tmp_path / "A.json").write_text(json.dumps([nds_record(), None, 3, {}, nds_record(2, curve=(9.0, 700.0))]))
    table = load_table(tmp_path / "A.json")
    assert table.frame["status"].tolist() == ["ok", *["crashed"] * 4]
    assert table.frame["message"].tolist() == [
        "",
        "content = None: must be a mapping",
        "content = 3: must be a mapping",
        "the table has no error for it",
        "test_ep_top1 = 700.0: must be from 0 to 100 percent",
    ]
    assert table.notes[-1] == (
        "A: 3 of 5 records have values that cannot be read and are unknown; "
        "record 2: content = None: must be a mapping."
    )


def test_a_note_of_several_files_appears_once(tmp_path):
    for name, last in (("ResNet", 7.0), ("ResNeXt", 8.0)):
        (tmp_path / f"{name}.json").write_text(json.dumps([nds_record(curve=(9.0, 6.0, last))]))
        (tmp_path / name).mkdir()
        (tmp_path / name / "sweep.json").write_text(json.dumps([pycls_job()]))
    (note,) = load_table(tmp_path / "ResNet.json", tmp_path / "ResNeXt.json").notes
    assert note.startswith("ResNet, ResNeXt: the error is the test error of the last epoch")
    assert note.endswith("(ResNet: 1.00 points lower on average; ResNeXt: 2.00 points lower on average).")
    (note,) = load_table(tmp_path / "ResNet" / "sweep.json", tmp_path / "ResNeXt" / "sweep.json").notes
    assert note.startswith("ResNet, ResNeXt: errors are those of the split pycls tests on")


def read_jobs(folder, jobs):
    folder.mkdir()
    (folder / "sweep.json").write_text(json.dumps(jobs))
    return load_table(folder / "sweep.json")


def test_pycls_sweeps(tmp_path):
    crashed = {"test_epoch": {}, "test_ema_epoch": {}, "err": "Traceback\nRuntimeError: CUDA out of memory."}
    died = {"log_file": "/sweeps/logs/000004/stdout.log", "err": "slurmstepd: error: *** STEP CANCELLED ***"}
    jobs = [died, pycls_job(), pycls_job(2, done=2, regnet={"DEPTH": 12}), pycls_job(3, **crashed)]
    frame = read_jobs(tmp_path / "regnetx_200mf", jobs).frame
    assert frame["space"].unique().tolist() == ["regnetx_200mf"]
    assert frame["status"].tolist() == ["crashed", "ok", "crashed", "out_of_memory"]  # pycls itself drops the others
    assert "CANCELLED" in frame["message"][0]
    assert frame["message"][2] == "stopped after epoch 2 of 3."
    row = frame.iloc[1]
    assert row[["error_percent", "min_top1_err", "ema_error_percent"]].tolist() == [41, 40, 40]
    assert row[["depth", "w_0", "bottleneck_ratio", "group_width"]].tolist() == [13, 24, 1, 8]
    assert row["epoch_validation_error_percent"] == (50, 40, 41)


@pytest.mark.parametrize("place", ["cfg", "complexity", "test_epoch", "train_epoch", "test_ema_epoch", "err"])
@pytest.mark.parametrize("value", MALFORMED)
def test_a_malformed_job_is_a_row(tmp_path, place, value):
    frame = read_jobs(tmp_path / "s", [pycls_job(), pycls_job(2, regnet={"DEPTH": 12}) | {place: value}]).frame
    assert frame["status"].tolist() == ["ok", "crashed" if place == "test_epoch" else "ok"]
    assert frame["error_percent"][0] == 41


@pytest.mark.parametrize("key", ["top1_err", "min_top1_err", "epoch_ind", "epoch_max"])
@pytest.mark.parametrize("value", [*MALFORMED, [None], ["x"], [40, None], [40, 700], [-1], [[1]]])
def test_a_malformed_test_is_a_row(tmp_path, key, value):
    job = pycls_job(2, regnet={"DEPTH": 12})
    job["test_epoch"][key] = value
    frame = read_jobs(tmp_path / "s", [pycls_job(), job]).frame
    assert frame["spec_id"].nunique() == 2
    assert frame["status"][0] == "ok"


@pytest.mark.parametrize("place", ["MODEL", "REGNET", "OPTIM", "TRAIN", "RNG_SEED", *(f"REGNET.{key}" for key in X200)])
@pytest.mark.parametrize("value", [*(v for v in MALFORMED if v not in (None, 3, [], True)), 0, -1, 12.5])
def test_a_job_whose_network_cannot_be_built_keeps_its_error(tmp_path, place, value):
    job = pycls_job(2)
    section, _, key = place.partition(".")
    if key:
        job["cfg"][section][key] = value
    else:
        job["cfg"][section] = value
    table = read_jobs(tmp_path / "s", [pycls_job(), job])
    assert table.frame["error_percent"].tolist() == [41, 41]
    if place in ("REGNET.GROUP_W", "REGNET.W0", "REGNET.DEPTH"):
        assert table.frame["spec"].isna().tolist() == [False, True]
        assert f"record 2: {place} = " in table.notes[-1]


def test_jobs_that_are_none_and_errors_that_are_none_are_failures_that_say_so(tmp_path):
    jobs = [pycls_job(), None, 3, pycls_job(2), pycls_job(3), pycls_job(4)]
    jobs[3]["test_epoch"]["top1_err"] = [50.0, 40.0, float("nan")]
    jobs[4]["test_epoch"]["top1_err"] = [50.0, 40.0, 700.0]
    jobs[5]["test_epoch"] = [1]
    frame = read_jobs(tmp_path / "s", jobs).frame
    assert frame["status"].tolist() == ["ok", "crashed", "crashed", "diverged", "crashed", "crashed"]
    assert frame["message"].tolist() == [
        "",
        "content = None: must be a mapping",
        "content = 3: must be a mapping",
        "top1_err is nan",
        "test_epoch.top1_err = 700.0: must be from 0 to 100 percent",
        "test_epoch = [1]: must be a mapping",
    ]


def test_jobs_that_died_without_a_configuration_are_models_of_their_own(tmp_path):
    frame = read_jobs(tmp_path / "s", [pycls_job(), {"err": "no node"}, {"err": "no node"}]).frame
    assert frame["status"].tolist() == ["ok", "crashed", "crashed"]
    assert frame["spec_id"].nunique() == 3


@pytest.mark.parametrize("path", ["sweep.json", "../mine/sweep.json", "../mine/../mine/SWEEP.JSON"])
def test_a_sweep_is_named_after_its_folder_wherever_it_is_read_from(tmp_path, monkeypatch, path):
    read_jobs(tmp_path / "mine", [pycls_job()])
    (tmp_path / "mine" / "SWEEP.JSON").write_text((tmp_path / "mine" / "sweep.json").read_text())
    monkeypatch.chdir(tmp_path / "mine")
    assert load(path)["space"].tolist() == ["mine"]


def test_half_a_character_in_json_is_a_question_mark(tmp_path):
    jobs = [pycls_job(), pycls_job(2, optim={"x\ud800": 1, "😀": 2}), pycls_job(3, optim={"x\ud800": 2, "😀": 1})]
    assert {"OPTIM.x?", "OPTIM.😀"} <= set(read_jobs(tmp_path / "s", jobs).parameters)


@pytest.mark.parametrize("content", ["{", "[" * 100_000, "null", "[]", "[1]", '{"a": 1}'])
def test_other_json_is_rejected(tmp_path, content):
    (tmp_path / "x.json").write_text(content)
    with pytest.raises(ValueError, match=r"x\.json"):
        load(tmp_path / "x.json")


def test_networks_of_pycls_are_specs(tmp_path, capsys):
    frame = read_jobs(tmp_path / "x", [pycls_job(), pycls_job(2, regnet={"BOT_MUL": 0.5})]).frame
    published = zoo.spec("RegNetX-200MF")
    assert frame["spec_id"][0] == ModelSpec.from_mapping(frame["spec"][0]).spec_id == published.spec_id
    assert frame["macs"][0] == complexity(published).macs
    # What was trained are the widths fitted to groups, not those of the rule: 12 inner channels make no groups of 8.
    assert set(frame["block_widths"][1]) == {32, 64, 160, 368}
    out = tmp_path / "specs"
    assert export([str(tmp_path / "x" / "sweep.json"), "--top", "1", "--out", str(out)]) == 0
    (written,) = out.iterdir()
    assert load_spec(written).spec_id == published.spec_id
    for told in (written.read_text(), capsys.readouterr().out):
        assert "error" in told
        assert "validation" not in told  # of which split it is, pycls does not say


def test_trainings_of_one_pycls_model_differ_in_their_seed_only(tmp_path):
    jobs = [pycls_job(seed, optim={"MAX_EPOCH": epochs}) for epochs in (3, 6) for seed in (1, 2, 3)]
    table = read_jobs(tmp_path / "cifar_best", jobs)
    assert table.frame["index"].tolist() == [0, 0, 0, 1, 1, 1]
    assert table.frame["spec_id"].nunique() == 2  # one network, but two models
    assert "OPTIM.MAX_EPOCH" in table.parameters  # any setting that was varied is a parameter
    assert not {"RNG_SEED", "PORT", "OPTIM.NESTEROV", "TRAIN.IM_SIZE"} & set(table.parameters)
    settings = read_jobs(tmp_path / "lr", [pycls_job(), pycls_job(2, optim={"BASE_LR": 0.2})])
    assert settings.frame["learning_rate"].tolist() == [0.1, 0.2]
    assert "OPTIM.BASE_LR" not in settings.frame


def test_a_test_every_few_epochs_is_no_curve(tmp_path):
    row = read_jobs(tmp_path / "rare", [pycls_job(every=5)]).frame.iloc[0]
    assert (row["status"], row["epochs_done"], row["error_percent"]) == ("ok", 15, 41)
    assert row["epoch_validation_error_percent"] == ()


def test_anynet_sweeps_have_stages(tmp_path):
    anynet = {"DEPTHS": [1, 2], "WIDTHS": [32, 64], "STRIDES": [2, 2], "GROUP_WS": [8, 16], "BOT_MULS": [1.0, 0.5]}
    table = read_jobs(tmp_path / "any", [pycls_job(kind="anynet", anynet=anynet)])
    row = table.frame.iloc[0]
    assert row["block_widths"] == (32, 64, 64)
    assert (row["depth"], row["bottleneck_ratio_2"], row["group_width_2"]) == (3, 2, 16)
    assert "w_0" not in table.frame  # the defaults of another type say nothing
    assert table.parameters[0] == "depth"


def test_a_pycls_model_without_words_here_is_a_row_all_the_same(tmp_path):
    jobs = [pycls_job(kind="vit"), pycls_job(2, kind="vit", optim={"BASE_LR": 0.01})]
    frame = read_jobs(tmp_path / "vit", jobs).frame
    assert frame["spec"].isna().all()
    assert frame["error_percent"].tolist() == [41, 41]
    assert frame["index"].tolist() == [0, 1]


def test_rows_of_one_name_are_seeds_only_where_seeds_are_given(tmp_path):
    (tmp_path / "long.csv").write_text("name,seed,error_percent\na,1,3\nb,1,5\na,2,4\nb,2,6\n")
    table = load_table(tmp_path / "long.csv", columns=parse_map("name"))
    models = average_seeds(apply_failure_policy(table.frame).frame)
    assert models["error_percent"].tolist() == [3.5, 5.5]
    (tmp_path / "short.csv").write_text("name,error_percent\na,3\nb,5\na,4\n")
    table = load_table(tmp_path / "short.csv", columns=parse_map("name"))
    assert table.frame["spec_id"].tolist() == ["a", "b", "a #2"]
    assert len(average_seeds(apply_failure_policy(table.frame).frame)) == 3


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
