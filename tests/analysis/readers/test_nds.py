"""Files of NDS."""

import json

import numpy as np
import pytest

from analysis import load
from analysis.rows import apply_failure_policy, average_seeds

MALFORMED = (None, "x", 3, [1], {"a": 1}, [], float("inf"), float("nan"), 10**400, True)


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
    table = load(path)
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
    published = load(path, columns={"error": "min_test_top1"})
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
    table = load(tmp_path / "DARTS.json")
    assert table.frame["error_percent"].tolist() == [5.0]
    assert "optimistic" in table.notes[0]
    assert table.frame[["depth", "width"]].to_numpy().tolist() == [[8, 16]]


def test_rng_files_are_seeds_of_the_same_networks(tmp_path):
    nets = [[1, depth, 1, 1] for depth in (2, 3, 4, 5)]
    for seed in (1, 2, 3):
        records = [nds_record(seed, ds=ds, curve=(50, 10.0 + place + seed)) for place, ds in enumerate(nets)]
        (tmp_path / f"ResNet_rng{seed}.json").write_text(json.dumps(records))
    table = load(*(tmp_path / f"ResNet_rng{seed}.json" for seed in (1, 2, 3)))
    models = average_seeds(apply_failure_policy(table.frame).frame)
    assert models["space"].unique().tolist() == ["ResNet"]
    assert models["error_percent"].tolist() == [12, 13, 14, 15]
    assert models["seeds"].tolist() == [3] * 4


def test_a_nan_loss_keeps_its_epoch(tmp_path):
    record = nds_record() | {"train_ep_loss": [2.0, float("nan"), None]}
    (tmp_path / "ResNet.json").write_text(json.dumps([record]))
    np.testing.assert_array_equal(load(tmp_path / "ResNet.json")["epoch_train_loss"][0], [2.0, np.nan, np.nan])


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
def test_a_malformed_network_is_unknown_and_its_error_is_kept(tmp_path, place, value):
    (tmp_path / "A.json").write_text(json.dumps([nds_record(), nds_record(2, **{place: value})]))
    table = load(tmp_path / "A.json")
    assert table.frame["error_percent"].tolist() == [7, 7]
    assert table.frame["block_widths"][0] == (32, 32, 64, 128, 128, 128)


def test_invalid_records_are_failures_with_a_message(tmp_path):
    (tmp_path / "A.json").write_text(json.dumps([nds_record(), None, 3, {}, nds_record(2, curve=(9.0, 700.0))]))
    table = load(tmp_path / "A.json")
    assert table.frame["status"].tolist() == ["ok", *["crashed"] * 4]
    assert table.frame["message"].tolist() == [
        "",
        "content = None: must be a mapping",
        "content = 3: must be a mapping",
        "no error in the table",
        "test_ep_top1 = 700.0: must be from 0 to 100 percent",
    ]
    assert table.notes[-1] == (
        "A: 3 of 5 records have unreadable values, read as unknown; record 2: content = None: must be a mapping."
    )


def test_a_note_on_several_files_appears_once(tmp_path):
    for name, last in (("ResNet", 7.0), ("ResNeXt", 8.0)):
        (tmp_path / f"{name}.json").write_text(json.dumps([nds_record(curve=(9.0, 6.0, last))]))
    (note,) = load(tmp_path / "ResNet.json", tmp_path / "ResNeXt.json").notes
    assert note.startswith("ResNet, ResNeXt: the error is the test error of the last epoch")
    assert note.endswith("(ResNet: 1.00 points lower on average; ResNeXt: 2.00 points lower on average).")
