"""Devices: arithmetic, settings, merged convolutions, and peak memory."""

from __future__ import annotations

import copy
import dataclasses
import warnings
from typing import Any

import pytest
import torch
from torch import nn

from sweeps.config import DeviceConfig
from sweeps.trainer.device import (
    MergedGroupsConv,
    deterministic_algorithms,
    merge_narrow_groups,
    peak_memory_bytes,
    resolve_device,
)

CPU = DeviceConfig(device="cpu")
BFLOAT16 = resolve_device(DeviceConfig(device="cpu", dtype="bfloat16"))
FLOAT32 = resolve_device(DeviceConfig(device="cpu", dtype="float32"))


@pytest.mark.parametrize(
    ("avx512_bf16", "amx", "dtype"),
    [(True, False, torch.bfloat16), (False, True, torch.bfloat16), (False, False, torch.float32)],
)
def test_auto_dtype_is_bfloat16_with_hardware_support_only(
    avx512_bf16: bool, amx: bool, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: avx512_bf16)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx)
    assert resolve_device(CPU).dtype == dtype


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (DeviceConfig(device="cuda"), r"device\.device = cuda: must be auto or cpu, PyTorch sees no GPU"),
        (DeviceConfig(cuda_graphs=True), r"device\.cuda_graphs = True: must be False on a CPU"),
        (DeviceConfig(dtype="float16"), r"device\.dtype = float16: must be auto, float32 or bfloat16 on a CPU"),
    ],
)
def test_unsupported_settings_are_rejected(config: DeviceConfig, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ValueError, match=message):
        resolve_device(config)


def test_cudnn_searches_for_kernels_in_long_trainings_only() -> None:
    device = resolve_device(CPU)
    for updates, searched in ((500, False), (50_000, True)):
        with device.settings(updates):
            assert torch.backends.cudnn.benchmark is searched
    with dataclasses.replace(device, deterministic=True).settings(50_000):
        assert not torch.backends.cudnn.benchmark
        assert torch.backends.cudnn.deterministic


def test_deterministic_algorithms_do_not_fill_new_tensors() -> None:
    def modes() -> tuple[bool, bool]:
        options: Any = torch.utils.deterministic
        return torch.are_deterministic_algorithms_enabled(), options.fill_uninitialized_memory

    before = modes()
    with deterministic_algorithms():
        assert modes() == (True, False)
    assert modes() == before == (False, True)


def test_the_warning_that_cublas_creates_a_context_is_not_an_error() -> None:
    warnings.warn(  # in the first backward pass of a thread
        "Attempting to run cuBLAS, but there was no current CUDA context! Attempting to set the primary context...",
        UserWarning,
        stacklevel=1,
    )


@pytest.mark.parametrize(
    ("channels", "out", "groups", "stride", "merged"),
    [(16, 16, 16, 1, 8), (16, 32, 8, 2, 4), (12, 12, 6, 1, 3), (24, 24, 6, 1, 2), (20, 20, 5, 1, 1)],
)
def test_merged_groups_compute_the_same_function_and_gradients(
    channels: int, out: int, groups: int, stride: int, merged: int
) -> None:
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


def test_peak_memory_is_measured_on_gpus_only() -> None:
    assert peak_memory_bytes(FLOAT32) is None
