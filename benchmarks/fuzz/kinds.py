"""The kinds of input: valid originals, a strategy that damages them, and a reader."""

from __future__ import annotations

import json
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from hypothesis import strategies as st

from analysis import load
from analysis.rows import apply_failure_policy, average_seeds
from benchmarks.fuzz import strategies
from designspace import ModelSpec, complexity, load_spec, zoo
from designspace.export import from_pycls
from designspace.files import read_yaml, to_yaml
from designspace.latency.predictor import load_predictor
from designspace.latency.records import parse_measurements
from designspace.spaces import space_from_config
from designspace.study import Record

ROOT = Path(__file__).parents[2]

SPECS = [zoo.spec(name).to_mapping() for name in ("RegNetY-200MF", "EfficientNet-B0", "VGG-16", "Xception-299")]
_STAGE = {"block": "bottleneck", "se_ratio": [0, 0.25, 0.25], "downsample": "avg"}
SPACES: list[dict[str, Any]] = [
    {"base": "regnetx", "constraints": {"macs": [1e8, 2e8], "batch_size": 64}, "parameters": {"w_0": {"low": 16}}},
    {
        "base": "anynetx_a",
        "parameters": {"width": {"within": [16, 512]}},
        "where": ["width_1 <= 64 or not shared(depth)"],
        "restrict": ["max(depth) <= 8 and bottleneck_ratio in (1, 2)", "ratio(width) <= 2.5"],
        "provenance": {"from": "runs/anynet_a", "models": 312},
    },
    {"base": "compound", "spec": SPECS[1], "parameters": {"phi": {"high": 2}}},
    {
        "name": "mine",
        "family": "anynet",
        "parameters": {
            "depth": {"distribution": "uniform", "low": 1, "high": 4, "per_stage": True},
            "width": {"distribution": "log_uniform", "low": 16, "high": 128, "step": 16, "per_stage": True},
            "kernel_size": {"distribution": "choice", "options": [3, 5], "weights": [1, 2]},
            "group_width": {"distribution": "power_of_two", "low": 1, "high": 8},
            "resolution": {"distribution": "choice", "options": [32, 48]},
        },
        "increasing": ["width"],
        "constraints": {"training_memory": [0, 1e9], "envelope": "regnet"},
        "template": {"strides": [1, 2, 2], "stem": None, "head": {"hidden": [10]}, "stage": _STAGE},
        "size": 1e6,
    },
]
_STAGES = {"DEPTHS": [1, 2], "WIDTHS": [32, 64], "STRIDES": [2, 2]}
_REGNET = {"DEPTH": 13, "W0": 24, "WA": 36.44, "WM": 2.49, "GROUP_W": 8, "BOT_MUL": 1.0, "SE_ON": True, "SE_R": 0.25}
_LINEAR = {"BLOCK_TYPE": "res_bottleneck_linear_block", "BOT_MULS": [4.0, 4.0], "GROUP_WS": [8, 16], "HEAD_W": 64}
PYCLS: list[dict[str, Any]] = [
    {"MODEL": {"TYPE": "regnet", "NUM_CLASSES": 10}, "REGNET": _REGNET, "TRAIN": {"IM_SIZE": 32}},
    {"MODEL": {"TYPE": "anynet"}, "ANYNET": _STAGES | {"BOT_MULS": [1.0, 0.5], "GROUP_WS": [8, 16], "SE_ON": True}},
    {"MODEL": {"TYPE": "anynet", "ACTIVATION_FUN": "silu"}, "ANYNET": _STAGES | _LINEAR},
    {
        "MODEL": {"TYPE": "effnet", "NUM_CLASSES": 10},
        "EN": _STAGES | {"EXP_RATIOS": [1.0, 6.5], "KERNELS": [3, 5], "STEM_W": 22, "SE_R": 0.25, "HEAD_W": 64},
    },
    {
        "MODEL": {"TYPE": "resnet", "DEPTH": 50},
        "RESNET": {"TRANS_FUN": "bottleneck_transform", "NUM_GROUPS": 32, "WIDTH_PER_GROUP": 4, "STRIDE_1X1": False},
        "TRAIN": {"DATASET": "imagenet", "IM_SIZE": 224},
    },
]
_GROUPS = {"TYPE": "int_sampler", "RAND_TYPE": "power2_or_log_uniform", "RANGE": [1, 32], "QUANTIZE": 8}
_ITEM = {"TYPE": "int_sampler", "RAND_TYPE": "log_uniform", "RANGE": [8, 128], "QUANTIZE": 8}
_RATIOS = {"TYPE": "value_sampler", "VALUES": [1.0, 2.0]}
SWEEPS: list[dict[str, Any]] = [
    {
        "NAME": "regnets",
        "SETUP": {
            "SAMPLERS": {"REGNET": {"TYPE": "regnet_sampler", "DEPTH": [6, 16], "GROUP_W": [1, 32]}},
            "CONSTRAINTS": {"CX": {"FLOPS": [1e8, 2e8], "ACTS": [0, 1e6]}, "REGNET": {"NUM_STAGES": [2, 2]}},
            "BASE_CFG": {"MODEL": {"TYPE": "regnet", "NUM_CLASSES": 10}, "REGNET": {"STEM_W": 16}},
        },
    },
    {
        "NAME": "anynets",
        "SETUP": {
            "SAMPLERS": {
                "ANYNET.WIDTHS": {"TYPE": "list_sampler", "LENGTH": 2, "ITEM_SAMPLER": _ITEM},
                "ANYNET.GROUP_WS": {"TYPE": "list_sampler", "LENGTH": 2, "ITEM_SAMPLER": _GROUPS},
                "ANYNET.BOT_MULS": {"TYPE": "list_sampler", "LENGTH": 2, "ITEM_SAMPLER": _RATIOS},
                "TRAIN.IM_SIZE": {"TYPE": "value_sampler", "VALUES": [32, 64]},
            },
            "BASE_CFG": {"MODEL": {"TYPE": "anynet"}, "ANYNET": {"DEPTHS": [2, 2], "STRIDES": [1, 2]}},
        },
    },
]
_EPOCHS = {"top1_err": [50.0, 40.0], "min_top1_err": [50.0, 40.0], "epoch_ind": [1, 2], "epoch_max": [2, 2]}
JOBS: list[Any] = [
    [
        {
            "cfg": config | {"OPTIM": {"BASE_LR": 0.1 * seed}, "RNG_SEED": seed},
            "complexity": {"flops": 2e8, "params": 2684792, "acts": 2164056},
            "test_epoch": _EPOCHS,
            "train_epoch": {"loss": [3.0, 2.0], "top1_err": [60.0, 50.0]},
            "log_file": f"logs/{seed}",
            "err": "",
        }
        for seed, config in enumerate(PYCLS, start=1)
    ]
]
_NET = {"block_type": "res_bottleneck_block", "ds": [1, 2, 1], "ws": [16, 32, 64], "num_gs": [1, 1, 2]}
_NETS: list[dict[str, Any]] = [_NET | {"bot_muls": [0.0, 1.0, 0.5]}, {"genotype": {}, "width": 16, "depth": 8}]
_NDS = [
    {
        "job_id": f"j{seed}",
        "rng_seed": seed,
        "net": net,
        "optim": {"base_lr": 0.1, "wd": 5e-4, "max_ep": 2},
        "params": 1_000_000,
        "flops": 100_000_000,
        "min_test_top1": 6.0,
        "train_ep_top1": [9.0, 6.0],
        "train_ep_loss": [1.0, 0.5],
        "test_ep_top1": [9.0, 7.0],
    }
    for seed, net in enumerate(_NETS, start=1)
]
NDS: list[Any] = [_NDS, {"top": _NDS, "mid": _NDS[:1]}]
TABLES: list[dict[str, list[Any]]] = [
    {"name": ["a", "b", "b", "c"], "seed": [1, 1, 2, 1], "error_percent": [9.5, 8, 7, 6], "macs": [1e8, 2e8, 2e8, 3e8]},
    {"acc": [90, 91, 92.5], "status": ["ok", "ok", "failed"], "space": ["x", "x", "y"], "w": ["[1, 2]", "[3]", "[4]"]},
    {"error_1": [5, 6.5], "error_2": [7, 8], "depth": [3, 4], "val/acc": [0.9, 0.8], "message": ["", ""]},
]
MAPS: list[dict[str, str]] = [
    {},
    {"error": "100-acc", "widths": "w", "status": "status"},
    {"error_1": "error_1", "error_2": "error_2", "acc": "`val/acc`*100"},
    {"name": "name", "seed": "seed", "macs": "macs/2"},
    {"error": "error_percent", "params": "macs*1e300*1e300"},
]
RECORDS = [
    json.loads(
        Record(
            spec_id="0" * 16,
            recipe_id="1" * 16,
            data_id="2" * 16,
            seed=0,
            status="ok",
            spec=SPECS[0],
            parameters={"depth": [1, 2], "w_0": 8},
            macs=10**8,
            error_percent=12.5,
            epochs_done=2,
            epoch_train_loss=(2.0, 1.0),
            epoch_seconds=(1.5, 1.25),
            started_at="2026-01-01T00:00:00+00:00",
        ).to_json()
    )
]


LATENCIES = [
    {
        "generator": "cnn-designspace",
        "condition": {
            "engine": "torch",
            "device": "cpu",
            "device_name": "AMD EPYC",
            "batch": 1,
            "threads": 1,
            "clock": "wall",
            "packages": {"torch": "2.13.0"},
        },
        "networks": {
            "0" * 16: {
                "median_ms": 2.0,
                "low_ms": 1.9,
                "high_ms": 2.4,
                "relative_error": 0.01,
                "rounds": 6,
                "runs": 60,
                "waiting": None,
                "measured_at": "2026-01-01T00:00:00+00:00",
            }
        },
    }
]
PREDICTORS = [
    {
        "generator": "cnn-designspace",
        "per_mac": 1e-8,
        "per_act": 2e-7,
        "per_param": 0.0,
        "per_block": 0.05,
        "constant": 0.1,
        "condition": "torch 2.13.0, batch 1, 1 thread, AMD EPYC",
        "networks": 60,
        "fastest_ms": 1.0,
        "slowest_ms": 20.0,
        "typical_error": 0.03,
        "error": 0.12,
    }
]


class Kind(NamedTuple):
    """A kind of input.

    Args:
        name: for the summary.
        inputs: the strategy.
        read: reads one input; raises only ValueError, or OSError for files.
    """

    name: str
    inputs: st.SearchStrategy[Any]
    read: Callable[[Any], object]


def check(kind: Kind, value: Any) -> tuple[bool, float]:
    """Read an input and return whether it is valid and the CPU seconds it took.

    Raises:
        AssertionError: the message of an error is longer than a few lines, or comes from a library.
        Exception: any other than the documented ones; also warnings of libraries.
    """
    start = time.process_time()
    valid = True
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", UserWarning)  # ours
        try:
            kind.read(value)
        except (ValueError, OSError) as error:
            valid = False
            _check_message(error)
    return valid, time.process_time() - start


def _check_message(error: Exception) -> None:
    message = str(error)
    assert len(message) <= 2000, message[:200]
    assert message.count("\n") < 10, message[:200]
    message.encode()
    place = Path(traceback.extract_tb(error.__traceback__)[-1].filename)
    assert place.is_relative_to(ROOT / "designspace") or place.is_relative_to(ROOT / "analysis"), repr(error)


def read_spec(mapping: dict[str, Any]) -> None:
    """Check that a spec survives a round trip through JSON and that its counts fit in 64 bits."""
    spec = ModelSpec.from_mapping(mapping)
    assert ModelSpec.from_mapping(json.loads(spec.to_json())) == spec
    assert 0 < complexity(spec).params < 2**63


def read_text(text: str) -> None:
    """Read a YAML text as a spec or a space."""
    value = read_yaml(text)
    if isinstance(value, dict):
        for read in (ModelSpec.from_mapping, space_from_config):
            try:
                read(value)
            except ValueError as error:
                assert len(str(error)) <= 2000  # noqa: PT017


def read_spec_file(content: bytes) -> None:
    """Read a spec file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "spec.json"
        path.write_bytes(content)
        load_spec(path)


def read_predictor(content: bytes) -> None:
    """Read a predictor file and predict a latency."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "latency.json"
        path.write_bytes(content)
        assert load_predictor(path).milliseconds(1e8, 1e6, 1e6, 10) >= 0


def read_pycls(config: Any) -> None:
    """Convert a pycls configuration and count its network."""
    assert complexity(from_pycls(config)).params > 0


def read_table(name: str, content: bytes, columns: dict[str, str] | None = None) -> None:
    """Load a table and run the first steps of every command."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_bytes(content)
        average_seeds(apply_failure_policy(load(path, columns=columns).frame).frame)


TEXTS = [to_yaml(mapping) for mapping in SPECS + SPACES]
maps = st.just({}) | st.sampled_from(MAPS)

KINDS = {
    kind.name: kind
    for kind in (
        Kind("spec", strategies.mutated(SPECS), read_spec),
        Kind("spec file", strategies.json_files(SPECS), read_spec_file),
        Kind("space", strategies.mutated(SPACES), space_from_config),
        Kind("YAML text", strategies.damaged(TEXTS), read_text),
        Kind("record", strategies.json_files(RECORDS).map(lambda b: b.decode("utf-8", "replace")), Record.from_json),
        Kind("latencies", strategies.json_files(LATENCIES), parse_measurements),
        Kind("latency predictor", strategies.json_files(PREDICTORS), read_predictor),
        Kind("pycls config", strategies.mutated(PYCLS), read_pycls),
        Kind("pycls sweep config", strategies.mutated(SWEEPS), space_from_config),
        Kind("pycls sweep.json", strategies.json_files(JOBS), lambda content: read_table("sweep.json", content)),
        Kind("NDS file", strategies.json_files(NDS), lambda content: read_table("ResNet.json", content)),
        Kind(
            "CSV",
            st.tuples(strategies.delimited_files(TABLES), maps),
            lambda value: read_table("table.csv", *value),
        ),
        Kind(
            "Parquet",
            st.tuples(strategies.parquet_files(TABLES), maps),
            lambda value: read_table("table.parquet", *value),
        ),
    )
}
