"""Merged groups compute the same function, and its gradients, of the same parameters."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from sweeps.config import DeviceConfig
from sweeps.trainer.convolutions import MergedGroupsConv, merge_narrow_groups
from sweeps.trainer.device import resolve_device

BFLOAT16 = resolve_device(DeviceConfig(device="cpu", dtype="bfloat16"))
FLOAT32 = resolve_device(DeviceConfig(device="cpu", dtype="float32"))


@pytest.mark.parametrize(
    ("channels", "out", "groups", "stride", "merged"),
    [(16, 16, 16, 1, 8), (16, 32, 8, 2, 4), (12, 12, 6, 1, 3), (24, 24, 6, 1, 2), (20, 20, 5, 1, 1)],
)
def test_merged_groups_change_nothing(channels: int, out: int, groups: int, stride: int, merged: int) -> None:
    torch.manual_seed(0)
    narrow = nn.Sequential(nn.Conv2d(channels, out, 3, stride, 1, groups=groups, bias=False))
    wide = copy.deepcopy(narrow)
    merge_narrow_groups(wide, BFLOAT16)
    assert getattr(wide[0], "merged", 1) == merged
    x = torch.randn(2, channels, 7, 7).contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(wide(x), narrow(x))
    for network in (narrow, wide):
        network(x).square().sum().backward()
    torch.testing.assert_close(wide[0].weight.grad, narrow[0].weight.grad)
    assert wide.state_dict().keys() == narrow.state_dict().keys()


def test_only_narrow_groups_in_bfloat16_are_merged() -> None:
    def types(network: nn.Module) -> set[type]:
        return {type(module) for module in network}  # type: ignore[attr-defined]

    network = nn.Sequential(nn.Conv2d(32, 32, 1), nn.Conv2d(32, 32, 3), nn.Conv2d(32, 32, 3, groups=4))
    merge_narrow_groups(network, BFLOAT16)
    assert types(network) == {nn.Conv2d}
    narrow = nn.Sequential(nn.Conv2d(32, 32, 3, groups=32))
    merge_narrow_groups(narrow, FLOAT32)
    assert types(narrow) == {nn.Conv2d}
    merge_narrow_groups(narrow, BFLOAT16)
    assert types(narrow) == {MergedGroupsConv}
