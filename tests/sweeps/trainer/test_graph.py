"""Graphed updates: with a substitute for the capture, they equal ordinary updates on a CPU."""

from __future__ import annotations

import dataclasses
import gc
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from designspace.study import Record
from sweeps.config import DeviceConfig, Recipe, load_recipe
from sweeps.data import DataConfig, open_data
from sweeps.study.freeze import FROZEN, changes
from sweeps.trainer import graph, trainer
from sweeps.trainer.device import Device, resolve_device
from sweeps.trainer.trainer import train_network

CPU = resolve_device(DeviceConfig(device="cpu", dtype="float32"))
RECIPE = load_recipe(epochs=3, batch_size=32, crop_padding=1, flip=True, learning_rate=0.3, label_smoothing=0.1)
SPLITS = open_data(DataConfig(name="digits", validation_size=300, subset=320))
RECORD = Record("spec", "recipe", "data", 0, "ok")


def network() -> nn.Module:
    convolution = nn.Conv2d(1, 8, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU(inplace=True)
    return nn.Sequential(*convolution, nn.Flatten(), nn.Dropout(0.2), nn.Linear(288, 10))


@pytest.fixture
def captured(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the calls that need a GPU, with a substitute that computes the same on a CPU."""
    calls: list[str] = []

    def warm_up(step: Callable[[], graph.Outputs]) -> graph.Outputs:
        calls.append("warm-up")
        return step()

    def capture(step: Callable[[], graph.Outputs]) -> Callable[[], graph.Outputs]:
        outputs = torch.zeros(()), torch.zeros((), dtype=torch.int64)
        calls.append("capture")

        def replay() -> graph.Outputs:
            calls.append("replay")
            for static, value in zip(outputs, step(), strict=True):
                static.copy_(value)
            return outputs

        return replay

    monkeypatch.setattr(graph, "warm_up", warm_up)
    monkeypatch.setattr(graph, "capture", capture)
    return calls


def train(device: Device, monkeypatch: pytest.MonkeyPatch, recipe: Recipe = RECIPE, **options: Any) -> Record:
    monkeypatch.setattr(trainer, "resolve_device", lambda *_: device)
    return train_network(network, SPLITS, recipe, RECORD, **options)


def curves(record: Record) -> list[tuple[float | None, ...]]:
    return [value for name, value in vars(record).items() if name.startswith("epoch_") and "seconds" not in name]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_graphed_updates_equal_ordinary_updates(
    dtype: torch.dtype, captured: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    device = dataclasses.replace(CPU, dtype=dtype)
    ordinary = train(device, monkeypatch)
    assert not captured
    graphed = train(dataclasses.replace(device, cuda_graphs=True), monkeypatch)
    assert captured == ["warm-up"] * 3 + ["capture"] + ["replay"] * 27
    assert curves(graphed) == curves(ordinary)
    assert graphed.updates == ordinary.updates == 30


def test_gradient_norms_of_graphed_updates_equal_those_of_ordinary_ones(
    captured: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    ordinary, graphed = (
        train(dataclasses.replace(CPU, cuda_graphs=graphs), monkeypatch, probe=True) for graphs in (False, True)
    )
    assert captured
    assert ordinary.part_gradient_norm_first == graphed.part_gradient_norm_first
    assert ordinary.part_gradient_norm_last == graphed.part_gradient_norm_last


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_a_replayed_training_equals_an_ordinary_one_on_a_gpu(dtype: str) -> None:
    ordinary, graphed = (
        DeviceConfig.model_validate(
            {"device": "cuda", "dtype": dtype, "deterministic": True, "cuda_graphs": cuda_graphs}
        )
        for cuda_graphs in (False, True)
    )
    first, second = (
        train_network(network, SPLITS, RECIPE, RECORD, device_config=config) for config in (ordinary, graphed)
    )
    assert second.status == "ok"
    assert curves(first) == curves(second)


def test_a_graphed_training_resumes_and_can_continue_without_graphs(
    captured: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(record: Record) -> None:
        if record.epochs_done == 1:
            raise InterruptedError

    graphed = dataclasses.replace(CPU, cuda_graphs=True)
    expected = curves(train(CPU, monkeypatch))
    for first, second in ((graphed, graphed), (graphed, CPU), (CPU, graphed)):
        options: dict[str, Any] = {"checkpoint": tmp_path / "model.pt", "long_seconds": 0.0}
        with pytest.raises(InterruptedError):
            train(first, monkeypatch, on_epoch=interrupt, **options)
        assert curves(train(second, monkeypatch, **options)) == expected
        (tmp_path / "model.pt").unlink()


def test_a_graphed_training_stops_at_its_deadline_and_when_it_diverges(
    captured: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    graphed = dataclasses.replace(CPU, cuda_graphs=True)
    assert train(graphed, monkeypatch, deadline_seconds=0).status == "timeout"
    diverging = RECIPE.model_copy(update={"learning_rate": 1e30, "warmup_epochs": 0})
    assert train(graphed, monkeypatch, diverging).status == "diverged"


@pytest.mark.parametrize("cuda_graphs", [False, True])
def test_a_network_is_freed_after_its_training(cuda_graphs: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    networks: list[weakref.ref[nn.Module]] = []

    def build() -> nn.Module:
        built = network()
        networks.append(weakref.ref(built))
        return built

    def capture(step: Callable[[], graph.Outputs]) -> Callable[[], graph.Outputs]:
        outputs = step()
        return lambda: outputs  # like a CUDA graph, without a reference to the step

    monkeypatch.setattr(graph, "warm_up", lambda step: step())
    monkeypatch.setattr(graph, "capture", capture)
    monkeypatch.setattr(trainer, "resolve_device", lambda *_: dataclasses.replace(CPU, cuda_graphs=cuda_graphs))
    gc.collect()
    gc.disable()
    try:
        assert train_network(build, SPLITS, RECIPE, RECORD).status == "ok"
        assert networks[0]() is None
    finally:
        gc.enable()


def test_a_study_of_an_earlier_version_continues_without_graphs() -> None:
    study = dict.fromkeys(FROZEN)
    before, without, graphed = (
        {**study, "device": {"device": "cuda"} | new} for new in ({}, {"cuda_graphs": False}, {"cuda_graphs": True})
    )
    assert changes(before, without) == []
    assert changes(before, graphed) == ["device.cuda_graphs: absent -> True"]
