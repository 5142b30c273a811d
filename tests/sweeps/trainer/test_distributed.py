"""Several processes train one network: the same images and weights as in one process, and they end together."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from command import HERE
from PIL import Image
from ranks import CPU, DATA_SPLITS, FLOAT32, RECIPE, RECORD, SPEC, plain, trained
from slurm import NEEDS_SLURM
from torch import Tensor

from designspace import save_spec
from designspace.network import build_network
from sweeps.config import load_recipe
from sweeps.data import DataConfig, open_data
from sweeps.trainer.checkpoint import Checkpoint
from sweeps.trainer.device import Device, merge_narrow_groups, resolve_device
from sweeps.trainer.distributed import ALONE, ProcessInfo, World, first_host, process_info
from sweeps.trainer.images import ResidentLoader
from sweeps.trainer.stream import Stream
from sweeps.trainer.trainer import arithmetic, check_size, make_loader, measure_error

SETTINGS = ("recipe.epochs=2", "data=digits", "device=cpu", "--out=out")


@contextlib.contextmanager
def launched(folder: Path, size: int, *command: str) -> Iterator[list[subprocess.Popen[str]]]:
    """Start processes as torchrun or srun do, without ending the others when one fails."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1]), "WORLD_SIZE": str(size)}
    with contextlib.ExitStack() as stack:
        processes = [
            subprocess.Popen(
                [sys.executable, *command],
                cwd=folder,
                env=os.environ | address | {"RANK": str(rank)},
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            for rank in range(size)
        ]
        for process in processes:
            stack.enter_context(process)
            stack.callback(process.kill)
        yield processes


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("ranks")


@pytest.fixture(scope="module")
def results(folder: Path) -> list[dict[str, Any]]:
    """Results of three processes, by rank."""
    with launched(folder, 3, str(HERE / "ranks.py"), str(folder)) as processes:
        for process in processes:
            out, _ = process.communicate(timeout=120)
            assert process.returncode == 0, out
    return [torch.load(folder / f"{rank}.pt", weights_only=False) for rank in range(3)]


def equal(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    return all(torch.equal(value, second[name]) for name, value in first.items())


def test_all_processes_end_with_the_same_weights_and_curves(results: list[dict[str, Any]]) -> None:
    first, weights = results[0]["first"]
    assert (first.status, first.updates) == ("ok", 22)
    for process in results[1:]:
        record, others = process["first"]
        assert equal(weights, others)
        for curve in ("epoch_train_loss", "epoch_train_error_percent", "epoch_validation_error_percent"):
            assert getattr(record, curve) == getattr(first, curve)
        assert record.images_per_second == pytest.approx(2 * 330 / record.train_seconds)
    assert not any(name.startswith("module.") for name in weights)


def test_all_processes_have_the_same_average_of_the_weights(results: list[dict[str, Any]]) -> None:
    record, weights = results[0]["averaged"]
    assert record.status == "ok"
    assert not equal(weights, results[0]["first"][1])
    for process in results[1:]:
        assert equal(weights, process["averaged"][1])
        assert process["averaged"][0].epoch_validation_error_percent == record.epoch_validation_error_percent


@pytest.mark.parametrize("other", ["again", "resumed"])
def test_a_repeated_or_resumed_training_is_bit_identical(results: list[dict[str, Any]], other: str) -> None:
    for process in results:
        assert equal(process["first"][1], process[other][1])
        assert process["first"][0].epoch_train_loss == process[other][0].epoch_train_loss


def test_without_batch_norm_the_training_equals_that_of_one_process_up_to_rounding(
    results: list[dict[str, Any]],
) -> None:
    together, weights = results[0]["plain"]
    alone, expected = trained(ALONE, plain, device_config=FLOAT32)
    assert together.epoch_learning_rate == alone.epoch_learning_rate
    assert together.epoch_train_loss == pytest.approx(alone.epoch_train_loss, rel=1e-4)
    for name, value in expected.items():
        torch.testing.assert_close(weights[name], value, rtol=1e-3, atol=1e-4)


def test_a_checkpoint_of_another_number_of_processes_starts_over(
    results: list[dict[str, Any]], folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert Checkpoint(folder / "model.pt", arithmetic(resolve_device(CPU))).load(RECORD) is None
    assert "different arithmetic (processes = 3 in the file, 1 here); training starts over" in caplog.text


def test_the_validation_error_equals_that_of_the_weights_in_one_process(results: list[dict[str, Any]]) -> None:
    record, weights = results[0]["first"]
    device = resolve_device(CPU)
    network = build_network(SPEC).to(memory_format=device.memory_format)  # type: ignore[call-overload]
    network.load_state_dict(weights)
    merge_narrow_groups(network, device)
    assert measure_error(network, DATA_SPLITS, SPEC.resolution, RECIPE, device) == record.error_percent


def test_all_processes_choose_the_same_layout(results: list[dict[str, Any]]) -> None:
    assert len({process["layout"] for process in results}) == 1
    assert {process["layout that fits"] for process in results} == {"contiguous"}


def test_divergence_or_timeout_of_one_process_stops_all(results: list[dict[str, Any]]) -> None:
    assert {process["diverged"].status for process in results} == {"diverged"}
    assert {process["diverged"].updates for process in results} == {11}
    assert {(process["late"].status, process["late"].updates) for process in results} == {("timeout", 1)}


def test_the_first_process_stops_a_training_early_in_all_processes(results: list[dict[str, Any]]) -> None:
    for rank in results:
        assert (rank["stopped"].status, rank["stopped"].epochs_done) == ("stopped", 1)
        assert (rank["not stopped"].status, rank["not stopped"].epochs_done) == ("ok", 2)


def test_a_user_error_in_one_process_ends_all_with_one_message(results: list[dict[str, Any]]) -> None:
    batch = "recipe.batch_size = 31: must be a multiple of 3, the number of processes, and at least 6"
    ends = "SystemExit: 2"
    assert [process["batch"] for process in results] == [f"ValueError: {batch}", ends, ends]
    assert [process["raises"] for process in results] == [ends, "ValueError: no file in process 1", ends]
    differs = "ValueError: seed = 1 in process 2: must be 0 as in process 0"
    assert [process["differs"] for process in results] == [differs, ends, ends]


def devices(size: int) -> list[Device]:
    return [dataclasses.replace(resolve_device(CPU), world=World(rank, size)) for rank in range(size)]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> DataConfig:
    root, generator = tmp_path_factory.mktemp("pictures"), np.random.default_rng(0)
    for name in ("one", "two"):
        (root / "train" / name).mkdir(parents=True)
        for number in range(10):
            pixels = generator.integers(0, 256, (12, 12, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(root / "train" / name / f"{number}.png")
    return DataConfig(name="image_folder", root=root, resolution=8, validation_size=7, workers=0)


@pytest.mark.parametrize("streamed", [False, True])
def test_shares_add_up_to_the_batch_and_every_image_is_validated_once(streamed: bool, pictures: DataConfig) -> None:
    splits = open_data(pictures) if streamed else DATA_SPLITS
    recipe = load_recipe(batch_size=6, crop_padding=1, flip=True)

    def data(device: Device) -> ResidentLoader | Stream:
        return make_loader(splits, device, recipe)

    batches = list(data(resolve_device(CPU)).epoch(recipe, 0, 1))
    shares = [list(data(device).epoch(recipe, 0, 1)) for device in devices(3)]
    assert len(batches) == len(splits.train_labels) // 6
    for batch, *parts in zip(batches, *shares, strict=True):
        for of_all, of_each in zip(batch, zip(*parts, strict=True), strict=True):
            assert {len(part) for part in of_each} == {2}
            assert torch.equal(of_all, torch.cat(of_each))

    def validation(device: Device) -> list[bytes]:
        return [image.numpy().tobytes() for images, _ in data(device).validation_batches(4) for image in images]

    validated = [image for device in devices(3) for image in validation(device)]
    assert sorted(validated) == sorted(validation(resolve_device(CPU)))
    assert len(validated) == (7 if streamed else 301)


def test_a_batch_must_be_divisible_by_the_processes() -> None:
    assert World(1, 4).share(8) == slice(2, 4)
    for batch, size in ((33, 2), (4, 4)):
        with pytest.raises(
            ValueError, match=f"batch_size = {batch}: must be a multiple of {size}, the number of processes"
        ):
            check_size(DATA_SPLITS, load_recipe(batch_size=batch), World(0, size))
    check_size(DATA_SPLITS, load_recipe(batch_size=33), ALONE)


SLURM = {
    "SLURM_JOB_ID": "1234", "SLURM_STEP_ID": "2", "SLURM_STEP_NODELIST": "rack[3-4]-gpu[07-09,12],login1",
    "SLURM_STEP_NUM_NODES": "2", "SLURM_STEP_NUM_TASKS": "8", "SLURM_PROCID": "5", "SLURM_LOCALID": "1",
}  # fmt: skip


def test_process_info_is_read_from_torchrun_and_slurm() -> None:
    assert process_info({}) is None
    assert process_info({"SLURM_NTASKS": "8", "SLURM_PROCID": "0"}) is None  # a batch script
    assert process_info(SLURM | {"SLURM_STEP_NUM_TASKS": "1"}) is None
    assert process_info(SLURM) == ProcessInfo(5, 8, 1, f"tcp://rack3-gpu07:{10_000 + 1234 * 16 + 2}")
    assert process_info(SLURM | {"SLURM_STEP_NUM_NODES": "1", "MASTER_PORT": "99"}) == ProcessInfo(
        5, 8, 1, "tcp://localhost:99"
    )
    torchrun = {"RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "1"}
    assert process_info(SLURM | torchrun) == ProcessInfo(3, 4, 1, "env://")  # torchrun in a task for each node
    assert process_info(torchrun | {"WORLD_SIZE": "1"}) is None


@pytest.mark.parametrize(
    ("nodes", "first"), [("one", "one"), ("a,b", "a"), ("n[1,3-4]", "n1"), ("n[010-012]x,m", "n010x")]
)
def test_the_first_host_of_a_node_list(nodes: str, first: str) -> None:
    assert first_host(nodes) == first


def check_folder(folder: Path, out: str, processes: int) -> None:
    assert [line.split()[1] for line in out.splitlines() if line.startswith("epoch")] == ["1/2", "2/2"]
    assert out.count("test error") == 1
    result = json.loads((folder / "training.json").read_text())
    assert (result["status"], result["processes"], result["epochs_done"]) == ("ok", processes, 2)
    assert result["test_error_percent"] < 80
    assert {path.name for path in folder.iterdir()} == {"README.md", "model.safetensors", "spec.yaml", "training.json"}


def test_torchrun_starts_the_command(tmp_path: Path) -> None:
    pytest.importorskip("safetensors")
    save_spec(SPEC, tmp_path / "spec.yaml")
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    command = [*torchrun, "-m", "designspace", "train", "spec.yaml", *SETTINGS]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    check_folder(tmp_path / "out", done.stdout, 2)


FAILS = """
import os, signal, sys
from designspace import cli
from designspace.network import build_network
from sweeps.trainer import trainer

updates = []

def fail(*_):
    updates.append(1)
    if len(updates) == 40:
        {how}

def build(spec, **options):
    network = build_network(spec, **options)
    if os.environ["RANK"] == "1":
        network.register_forward_pre_hook(fail)
    return network

trainer.build_network = build
sys.exit(cli.main(sys.argv[1:]))
"""


@pytest.mark.parametrize(
    ("how", "code"),
    [("raise MemoryError('no memory left')", 1), ("os.kill(os.getpid(), signal.SIGKILL)", -signal.SIGKILL)],
)
def test_a_process_that_fails_ends_the_others(tmp_path: Path, how: str, code: int) -> None:
    pytest.importorskip("safetensors")
    save_spec(SPEC, tmp_path / "spec.yaml")
    with launched(tmp_path, 2, "-c", FAILS.format(how=how), "train", "spec.yaml", *SETTINGS) as (first, second):
        out, _ = second.communicate(timeout=120)
        assert second.returncode == code, out
        if code == 1:
            assert "process 1 of 2: out_of_memory: no memory left" in out
        out, _ = first.communicate(timeout=30)
    assert first.returncode == 1, out
    assert "process 0 of 2: crashed" in out
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["checkpoint.pt"]  # of the epoch before


@pytest.mark.slurm
@NEEDS_SLURM[1]
def test_the_tasks_of_a_slurm_step_train_together(tmp_path: Path) -> None:
    pytest.importorskip("safetensors")
    save_spec(SPEC, tmp_path / "spec.yaml")
    step = ["srun", "--ntasks=2", "--nodes=1", "--kill-on-bad-exit", sys.executable, "-m", "designspace", "train"]
    done = subprocess.run([*step, "spec.yaml", *SETTINGS], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    check_folder(tmp_path / "out", done.stdout, 2)
