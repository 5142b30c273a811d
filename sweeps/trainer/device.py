"""The device that trains a model: arithmetic, kernels, time, and memory."""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from designspace.machine import processor_name
from sweeps.config import DeviceConfig
from sweeps.trainer.distributed import ALONE, World

SEARCH_UPDATES = 2000
"""Updates from which searches pay off: cuDNN's for the fastest kernels (about 60 per network, milliseconds to seconds
each), and the one for the faster layout (32 updates, too noisy to help a short training)."""

MERGED_WIDTH = 8
"""Input channels up to which neighboring groups are merged. Merging up to 16 or 32 is slower."""

LAYOUTS = {"channels_last": torch.channels_last, "contiguous": torch.contiguous_format}


@dataclass(frozen=True)
class Device:
    """A resolved device: torch device, autocast type, memory layout, and process settings.

    `layout_is_auto` means that the layout is a default, to be chosen for each model. `world` holds the processes that
    train one network together, each on its own device.
    """

    torch_device: torch.device
    dtype: torch.dtype
    memory_format: torch.memory_format
    threads: int
    compile: bool
    deterministic: bool
    layout_is_auto: bool = False
    cuda_graphs: bool = False
    world: World = ALONE

    @property
    def is_cuda(self) -> bool:
        """Whether this is a GPU."""
        return self.torch_device.type == "cuda"

    @property
    def name(self) -> str:
        """Name of the GPU or processor."""
        return torch.cuda.get_device_name(self.torch_device) if self.is_cuda else processor_name()

    @property
    def dtype_name(self) -> str:
        """bfloat16, float16, float32, or tfloat32: float32 with 10-bit mantissas in a GPU's tensor cores."""
        if self.dtype == torch.float32 and self.is_cuda and torch.cuda.get_device_capability(self.torch_device)[0] >= 8:
            return "tfloat32"
        return str(self.dtype).removeprefix("torch.")

    @property
    def memory_format_name(self) -> str:
        """channels_last or contiguous."""
        return next(name for name, layout in LAYOUTS.items() if layout == self.memory_format)

    def in_layout(self, name: str) -> Device:
        """Return the device with a fixed layout, channels_last or contiguous."""
        return replace(self, memory_format=LAYOUTS[name], layout_is_auto=False)

    def autocast(self) -> AbstractContextManager[Any]:
        """Run forward passes in the device's arithmetic. Does nothing in float32."""
        return torch.autocast(self.torch_device.type, self.dtype, enabled=self.dtype != torch.float32)

    @contextmanager
    def settings(self, updates: int = 0) -> Iterator[None]:
        """Set threads, cuDNN, determinism, and a private random state; restore them on exit.

        Args:
            updates: number of updates to follow. cuDNN searches for the fastest kernels only if there are many.
        """
        threads = torch.get_num_threads()
        cudnn = torch.backends.cudnn.flags(
            enabled=True,
            benchmark=updates >= SEARCH_UPDATES and not self.deterministic,
            deterministic=self.deterministic,
            allow_tf32=True,
        )
        devices = [torch.cuda.current_device()] if self.is_cuda else []
        torch.set_num_threads(self.threads)
        deterministic = deterministic_algorithms() if self.deterministic and self.is_cuda else nullcontext()
        try:
            with cudnn, deterministic, torch.random.fork_rng(devices=devices):
                yield
        finally:
            torch.set_num_threads(threads)


@contextmanager
def deterministic_algorithms() -> Iterator[None]:
    """Use PyTorch's deterministic algorithms, with a warning where there is none; restore the previous mode on exit."""
    settings: Any = torch.utils.deterministic  # its attribute is defined at run time
    mode, fill = torch.get_deterministic_debug_mode(), settings.fill_uninitialized_memory
    torch.set_deterministic_debug_mode("warn")
    settings.fill_uninitialized_memory = False  # finds bugs, but costs a kernel for every new tensor
    try:
        yield
    finally:
        torch.set_deterministic_debug_mode(mode)
        settings.fill_uninitialized_memory = fill


def device_kind(config: DeviceConfig) -> str:
    """Return cuda or cpu, the type of the configured device on this machine."""
    return "cuda" if config.device != "cpu" and torch.cuda.is_available() else "cpu"


def resolve_device(config: DeviceConfig, world: World = ALONE) -> Device:
    """Replace every "auto" by a value; ValueError if the machine does not support what was requested."""
    kind = device_kind(config)
    if config.device == "cuda" and kind == "cpu":
        raise ValueError("device.device = cuda: must be auto or cpu, PyTorch sees no GPU")
    if config.dtype == "bfloat16" and kind == "cuda" and torch.cuda.get_device_capability() < (8, 0):
        raise ValueError("device.dtype = bfloat16: must be auto, float32 or float16 on this GPU")
    if config.dtype == "float16" and kind == "cpu":
        raise ValueError("device.dtype = float16: must be auto, float32 or bfloat16 on a CPU")
    if config.cuda_graphs and kind == "cpu":
        raise ValueError("device.cuda_graphs = True: must be False on a CPU")
    if config.deterministic and kind == "cuda":
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS reads it at its first product
    return Device(
        torch_device=torch.device(kind, torch.cuda.current_device()) if kind == "cuda" else torch.device(kind),
        dtype=native_dtype(kind) if config.dtype == "auto" else getattr(torch, config.dtype),
        memory_format=torch.channels_last if config.channels_last else torch.contiguous_format,
        threads=config.threads,
        compile=config.compile,
        deterministic=config.deterministic,
        cuda_graphs=config.cuda_graphs,
        layout_is_auto=kind == "cuda" and config.channels_last == "auto" and not config.deterministic,
        world=world,
    )


def native_dtype(kind: str) -> torch.dtype:
    """Return the fastest type with hardware support; emulated bfloat16 is slower than float32."""
    if kind == "cuda":
        major, _ = torch.cuda.get_device_capability()
        return torch.bfloat16 if major >= 8 else torch.float16 if major >= 7 else torch.float32
    native = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return torch.bfloat16 if native else torch.float32


class MergedGroupsConv(nn.Conv2d):
    """A grouped convolution that computes `merged` neighboring groups as one, with zero weights between them.

    oneDNN is slow in bfloat16 for groups of 1 and 2 channels: a training step takes 1.6 and 2 times as long as with
    groups of 8 (PyTorch 2.13, AVX512_BF16). Results differ by rounding only.
    """

    merged: int

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight
        if torch.is_autocast_enabled(x.device.type):
            weight = weight.to(torch.get_autocast_dtype(x.device.type))
        narrow = weight.unflatten(0, (-1, self.merged, self.out_channels // self.groups)).unsqueeze(3)
        eye = torch.eye(self.merged, dtype=weight.dtype, device=weight.device)
        blocks = narrow * eye.view(1, self.merged, 1, self.merged, 1, 1, 1)  # groups, from, out, to, in, height, width
        wide = blocks.reshape(self.out_channels, -1, *self.kernel_size).contiguous(memory_format=torch.channels_last)
        groups = self.groups // self.merged
        return functional.conv2d(x, wide, self.bias, self.stride, self.padding, self.dilation, groups)


def merge_narrow_groups(network: nn.Module, device: Device) -> None:
    """Replace narrow grouped convolutions by MergedGroupsConv, in place, on a CPU in bfloat16 only.

    Parameters, their names, and the function computed stay the same.
    """
    if device.is_cuda or device.dtype != torch.bfloat16:
        return
    for module in network.modules():
        if type(module) is nn.Conv2d and module.padding_mode == "zeros" and (merged := _merged_groups(module)) > 1:
            module.__class__ = MergedGroupsConv
            module.merged = merged  # type: ignore[assignment]


def _merged_groups(conv: nn.Conv2d) -> int:
    largest = max(1, MERGED_WIDTH // (conv.in_channels // conv.groups))
    return max(merged for merged in range(1, largest + 1) if conv.groups % merged == 0)


class Stopwatch:
    """Total seconds of work on the device over several intervals: CUDA events on a GPU, the clock on a CPU.

    An interval runs from `start` to `stop`, or is a `with` block, including one that raises.
    """

    def __init__(self, device: Device) -> None:
        self._cuda = device.is_cuda
        self._started = 0.0
        self.seconds = 0.0

    def __enter__(self) -> None:
        self.start()

    def __exit__(self, *failure: object) -> None:
        self.stop()

    def start(self) -> None:
        """Begin an interval."""
        if self._cuda:
            self._first, self._last = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            self._first.record()
        else:
            self._started = time.perf_counter()

    def stop(self) -> float:
        """End the interval and return its seconds. Waits for the GPU."""
        if self._cuda:
            self._last.record()
            self._last.synchronize()
            seconds = self._first.elapsed_time(self._last) / 1000
        else:
            seconds = time.perf_counter() - self._started
        self.seconds += seconds
        return seconds


class Deadline:
    """A time limit in seconds, minus the seconds already spent; None means no limit."""

    def __init__(self, seconds: float | None, spent: float = 0.0) -> None:
        self.seconds = seconds
        self._end = float("inf") if seconds is None else time.monotonic() + seconds - spent

    def has_passed(self) -> bool:
        """Whether the time is up."""
        return time.monotonic() > self._end


def reset_peak_memory(device: Device) -> None:
    """Start a new measurement of a GPU's peak memory."""
    if device.is_cuda:
        torch.cuda.reset_peak_memory_stats(device.torch_device)


def peak_memory_bytes(device: Device) -> int | None:
    """Peak memory allocated by PyTorch since the reset; None on a CPU, where only that of the process is measurable."""
    return int(torch.cuda.max_memory_allocated(device.torch_device)) if device.is_cuda else None


def empty_cache() -> None:
    """Free unreferenced objects and return PyTorch's cached GPU memory to other processes."""
    gc.collect()
    torch.cuda.empty_cache()
