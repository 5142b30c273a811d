"""The layout probe: it takes the faster one, and leaves the process as it was."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from sweeps import layout
from sweeps.data import DataConfig, load_data
from sweeps.device import DeviceConfig, resolve_device
from sweeps.layout import Shape, faster_layout, timed_update
from sweeps.recipe import Recipe

CPU = resolve_device(DeviceConfig(device="cpu", dtype="float32"))
RECIPE = Recipe(batch_size=8)


def network() -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(144, 10))


@pytest.mark.parametrize("fast", [torch.channels_last, torch.contiguous_format])
def test_the_faster_layout_is_taken(fast: torch.memory_format, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layout, "timed_update", lambda build, shape, recipe, device: device.memory_format != fast)
    splits = load_data(DataConfig(name="digits", subset=100))
    assert faster_layout(network, splits, RECIPE, CPU).memory_format == fast


def test_a_timed_update_leaves_the_random_state_alone() -> None:
    state = torch.get_rng_state()
    seen: list[Tensor] = []

    def build() -> nn.Module:
        made = network()
        made[0].register_forward_hook(lambda *arguments: seen.append(arguments[2]))  # type: ignore[index, union-attr]
        return made

    assert timed_update(build, Shape(1, 8, 10), RECIPE, CPU) > 0
    assert len(seen) == 4 * (4 + 1)  # four stretches of four updates and an evaluation
    assert torch.equal(torch.get_rng_state(), state)
