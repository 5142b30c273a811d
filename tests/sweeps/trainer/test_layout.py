"""The choice of the faster memory layout, from timed updates."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from sweeps.config import DeviceConfig, Recipe, load_recipe
from sweeps.data import DataConfig, Splits, StreamedSplits, open_data
from sweeps.trainer import layout
from sweeps.trainer.device import Device, resolve_device
from sweeps.trainer.layout import Shape, faster_layout, timed_update
from sweeps.trainer.run import TrainingStopped

CPU = resolve_device(DeviceConfig(device="cpu", dtype="float32"))
RECIPE = load_recipe(batch_size=8)


def network() -> nn.Module:
    grouped = nn.Conv2d(4, 4, 3, padding=1, groups=2)
    return nn.Sequential(nn.Conv2d(1, 4, 3), grouped, nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(144, 10))


def splits() -> Splits | StreamedSplits:
    return open_data(DataConfig(name="digits", subset=100))


@pytest.mark.parametrize("fast", [torch.channels_last, torch.contiguous_format])
def test_the_faster_layout_is_chosen(fast: torch.memory_format, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        layout, "timed_update", lambda build, shape, recipe, device, updates: device.memory_format != fast
    )
    assert faster_layout(network, splits(), 8, RECIPE, CPU).memory_format == fast


def test_networks_without_grouped_convolutions_are_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layout, "timed_update", None)
    plain = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Flatten(), nn.Linear(144, 10))
    assert faster_layout(lambda: plain, splits(), 8, RECIPE, CPU).memory_format == torch.channels_last


def test_a_layout_that_runs_out_of_memory_is_not_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    def update(build: object, shape: Shape, recipe: Recipe, device: Device, updates: int) -> float:
        if device.memory_format in too_large:
            raise MemoryError
        return 1.0

    monkeypatch.setattr(layout, "timed_update", update)
    too_large = [torch.channels_last]
    assert faster_layout(network, splits(), 8, RECIPE, CPU).memory_format == torch.contiguous_format
    too_large.append(torch.contiguous_format)
    with pytest.raises(TrainingStopped) as stopped:
        faster_layout(network, splits(), 8, RECIPE, CPU)
    assert stopped.value.status == "out_of_memory"


def test_a_timed_update_does_not_change_the_random_state() -> None:
    state = torch.get_rng_state()
    seen: list[Tensor] = []

    def build() -> nn.Module:
        built = network()
        built[0].register_forward_hook(lambda *arguments: seen.append(arguments[2]))  # type: ignore[index, union-attr]
        return built

    assert timed_update(build, Shape(1, 8, 10), RECIPE, CPU, 100) > 0
    assert len(seen) == 4 * 4  # four intervals of four updates
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("epochs", [1, 300])
def test_timed_updates_use_the_cudnn_settings_of_the_training(epochs: int) -> None:
    recipe = RECIPE.model_copy(update={"epochs": epochs})
    searches: list[bool] = []

    def build() -> nn.Module:
        built = network()
        built.register_forward_hook(lambda *_: searches.append(torch.backends.cudnn.benchmark))
        return built

    faster_layout(build, splits(), 8, recipe, CPU)
    with CPU.settings(epochs * recipe.updates_per_epoch(len(splits().train_labels))):
        assert set(searches) == {torch.backends.cudnn.benchmark} == {epochs > 1}
