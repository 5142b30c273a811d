"""The choice of the faster memory layout, from timed updates."""

from __future__ import annotations

import functools
import gc
import weakref

import pytest
import torch
from torch import Tensor, nn

from sweeps.config import DeviceConfig, load_recipe
from sweeps.data import DataConfig, Splits, StreamedSplits, open_data
from sweeps.trainer import layout
from sweeps.trainer.device import resolve_device
from sweeps.trainer.layout import Shape, faster_layout, timed_update
from sweeps.trainer.run import TrainingStopped, convert_failures

CPU = resolve_device(DeviceConfig(device="cpu", dtype="float32"))
RECIPE = load_recipe(batch_size=8, epochs=300)


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


class TooLarge(nn.Module):
    """A network that runs out of memory in some layouts."""

    def __init__(self, layouts: list[torch.memory_format]) -> None:
        super().__init__()
        self.inner, self.layouts = network(), layouts

    def forward(self, x: Tensor) -> Tensor:
        if any(self.inner[1].weight.is_contiguous(memory_format=layout) for layout in self.layouts):  # type: ignore[index, operator, union-attr]
            raise MemoryError
        output: Tensor = self.inner(x)
        return output


def test_a_layout_that_runs_out_of_memory_is_not_chosen() -> None:
    for too_large, fits in ((torch.channels_last, "contiguous"), (torch.contiguous_format, "channels_last")):
        build = functools.partial(TooLarge, [too_large])
        assert faster_layout(build, splits(), 8, RECIPE, CPU).memory_format_name == fits


def test_a_network_that_fails_in_both_layouts_fails_in_training() -> None:
    build = functools.partial(TooLarge, [torch.channels_last, torch.contiguous_format])
    device = faster_layout(build, splits(), 8, RECIPE, CPU)
    with pytest.raises(TrainingStopped) as stopped, convert_failures():
        timed_update(build, Shape(1, 8, 10), RECIPE, device, 100)
    assert stopped.value.status == "out_of_memory"


def test_a_network_is_freed_before_the_other_layout_is_timed() -> None:
    networks: list[weakref.ref[nn.Module]] = []

    def build() -> nn.Module:
        assert not any(network() for network in networks)
        built = TooLarge([torch.channels_last])
        networks.append(weakref.ref(built))
        return built

    gc.disable()
    try:
        assert faster_layout(build, splits(), 8, RECIPE, CPU).memory_format_name == "contiguous"
    finally:
        gc.enable()
    assert len(networks) == 3  # one on the meta device


def test_short_trainings_use_channels_last_without_timing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layout, "timed_update", None)
    short = RECIPE.model_copy(update={"epochs": 4})
    assert faster_layout(network, splits(), 8, short, CPU).memory_format == torch.channels_last


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


@pytest.mark.parametrize("updates", [100, 50_000])
def test_timed_updates_use_the_cudnn_settings_of_the_training(updates: int) -> None:
    searches: list[bool] = []

    def build() -> nn.Module:
        built = network()
        built.register_forward_hook(lambda *_: searches.append(torch.backends.cudnn.benchmark))
        return built

    timed_update(build, Shape(1, 8, 10), RECIPE, CPU, updates)
    with CPU.settings(updates):
        assert set(searches) == {torch.backends.cudnn.benchmark} == {updates > 100}
