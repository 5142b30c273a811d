"""The sweep.json of pycls."""

import json

import numpy as np
import pytest

from analysis import load
from analysis.commands import export
from designspace import ModelSpec, complexity, load_spec, zoo

MALFORMED = (None, "x", 3, [1], {"a": 1}, [], float("inf"), float("nan"), 10**400, True)


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


def read_jobs(folder, jobs):
    folder.mkdir()
    (folder / "sweep.json").write_text(json.dumps(jobs))
    return load(folder / "sweep.json")


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
def test_a_job_with_malformed_test_epochs_is_a_row(tmp_path, key, value):
    job = pycls_job(2, regnet={"DEPTH": 12})
    job["test_epoch"][key] = value
    frame = read_jobs(tmp_path / "s", [pycls_job(), job]).frame
    assert frame["spec_id"].nunique() == 2
    assert frame["status"][0] == "ok"


@pytest.mark.parametrize("place", ["MODEL", "REGNET", "OPTIM", "TRAIN", "RNG_SEED", *(f"REGNET.{key}" for key in X200)])
@pytest.mark.parametrize("value", [*(v for v in MALFORMED if v not in (None, 3, [], True)), 0, -1, 12.5])
def test_a_job_with_an_invalid_network_keeps_its_error(tmp_path, place, value):
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


def test_invalid_jobs_and_errors_are_failures_with_a_message(tmp_path):
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


def test_jobs_without_a_config_are_separate_models(tmp_path):
    frame = read_jobs(tmp_path / "s", [pycls_job(), {"err": "no node"}, {"err": "no node"}]).frame
    assert frame["status"].tolist() == ["ok", "crashed", "crashed"]
    assert frame["spec_id"].nunique() == 3


@pytest.mark.parametrize("path", ["sweep.json", "../mine/sweep.json", "../mine/../mine/SWEEP.JSON"])
def test_a_sweep_is_named_after_its_folder(tmp_path, monkeypatch, path):
    read_jobs(tmp_path / "mine", [pycls_job()])
    (tmp_path / "mine" / "SWEEP.JSON").write_text((tmp_path / "mine" / "sweep.json").read_text())
    monkeypatch.chdir(tmp_path / "mine")
    assert load(path)["space"].tolist() == ["mine"]


def test_unpaired_surrogates_in_json_become_question_marks(tmp_path):
    jobs = [pycls_job(), pycls_job(2, optim={"x\ud800": 1, "😀": 2}), pycls_job(3, optim={"x\ud800": 2, "😀": 1})]
    assert {"OPTIM.x?", "OPTIM.😀"} <= set(read_jobs(tmp_path / "s", jobs).parameters)


def test_pycls_networks_have_specs_that_export(tmp_path, capsys):
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
    for text in (written.read_text(), capsys.readouterr().out):
        assert "error" in text
        assert "validation" not in text  # pycls does not state the split


def test_jobs_that_differ_only_in_the_seed_are_trainings_of_one_model(tmp_path):
    jobs = [pycls_job(seed, optim={"MAX_EPOCH": epochs}) for epochs in (3, 6) for seed in (1, 2, 3)]
    table = read_jobs(tmp_path / "cifar_best", jobs)
    assert table.frame["index"].tolist() == [0, 0, 0, 1, 1, 1]
    assert table.frame["spec_id"].nunique() == 2  # one network, but two models
    assert "OPTIM.MAX_EPOCH" in table.parameters  # any setting that was varied is a parameter
    assert not {"RNG_SEED", "PORT", "OPTIM.NESTEROV", "TRAIN.IM_SIZE"} & set(table.parameters)
    settings = read_jobs(tmp_path / "lr", [pycls_job(), pycls_job(2, optim={"BASE_LR": 0.2})])
    assert settings.frame["learning_rate"].tolist() == [0.1, 0.2]
    assert "OPTIM.BASE_LR" not in settings.frame


def test_tests_at_longer_intervals_give_no_curve(tmp_path):
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


def test_a_model_type_without_a_spec_is_a_row(tmp_path):
    jobs = [pycls_job(kind="vit"), pycls_job(2, kind="vit", optim={"BASE_LR": 0.01})]
    frame = read_jobs(tmp_path / "vit", jobs).frame
    assert frame["spec"].isna().all()
    assert frame["error_percent"].tolist() == [41, 41]
    assert frame["index"].tolist() == [0, 1]


def test_a_note_on_several_sweeps_appears_once(tmp_path):
    for name in ("ResNet", "ResNeXt"):
        read_jobs(tmp_path / name, [pycls_job()])
    (note,) = load(tmp_path / "ResNet" / "sweep.json", tmp_path / "ResNeXt" / "sweep.json").notes
    assert note.startswith("ResNet, ResNeXt: the error is the last epoch's on the split that pycls tests on")
