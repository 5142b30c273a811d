"""Where and in what arithmetic a model is trained: decided once from what the hardware can do."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from sweeps.config import DeviceConfig
from sweeps.trainer.distributed import ALONE, World

BENCHMARK_UPDATES = 2000
"""Updates from which cuDNN's search pays: it takes some 60 searches for a network, of milliseconds to seconds each."""

LAYOUTS = {"channels_last": torch.channels_last, "contiguous": torch.contiguous_format}


@dataclass(frozen=True)
class Device:
    """A decided device: the torch device, the autocast type, the layout, and the settings of the process.

    `layout_is_open` says that the layout given is only a guess, to be decided for each model. `world` are the processes
    that train together, each on a device of its own.
    """

    torch_device: torch.device
    dtype: torch.dtype
    memory_format: torch.memory_format
    threads: int
    compile: bool
    deterministic: bool
    layout_is_open: bool = False
    world: World = ALONE

    @property
    def is_cuda(self) -> bool:
        """Whether work is queued on a GPU."""
        return self.torch_device.type == "cuda"

    @property
    def name(self) -> str:
        """Name of the GPU or the processor."""
        return torch.cuda.get_device_name(self.torch_device) if self.is_cuda else processor_name()

    @property
    def dtype_name(self) -> str:
        """bfloat16, float16, float32, or tfloat32: float32 of which a GPU's tensor cores multiply 10 bits."""
        if self.dtype == torch.float32 and self.is_cuda and torch.cuda.get_device_capability(self.torch_device)[0] >= 8:
            return "tfloat32"
        return str(self.dtype).removeprefix("torch.")

    @property
    def memory_format_name(self) -> str:
        """channels_last or contiguous."""
        return next(name for name, layout in LAYOUTS.items() if layout == self.memory_format)

    def in_layout(self, name: str) -> Device:
        """The same device with its layout decided: channels_last or contiguous."""
        return replace(self, memory_format=LAYOUTS[name], layout_is_open=False)

    def autocast(self) -> AbstractContextManager[Any]:
        """Forward passes in the device's arithmetic; float32 leaves them as they are."""
        return torch.autocast(self.torch_device.type, self.dtype, enabled=self.dtype != torch.float32)

    @contextmanager
    def settings(self, updates: int = 0) -> Iterator[None]:
        """Threads, cuDNN and determinism as configured and a private random state, all put back afterwards.

        Args:
            updates: how many will follow; only many are worth cuDNN's search for the fastest kernels.
        """
        threads, strict = torch.get_num_threads(), torch.get_deterministic_debug_mode()
        cudnn = torch.backends.cudnn.flags(
            enabled=True,
            benchmark=updates >= BENCHMARK_UPDATES and not self.deterministic,
            deterministic=self.deterministic,
            allow_tf32=True,
        )
        devices = [torch.cuda.current_device()] if self.is_cuda else []
        torch.set_num_threads(self.threads)
        if self.deterministic and self.is_cuda:
            torch.set_deterministic_debug_mode("warn")
        try:
            with cudnn, torch.random.fork_rng(devices=devices):
                yield
        finally:
            torch.set_num_threads(threads)
            torch.set_deterministic_debug_mode(strict)


def resolve_device(config: DeviceConfig, world: World = ALONE) -> Device:
    """Decide what is "auto"; ValueError if the machine cannot do what is asked."""
    kind = config.kind
    if config.device == "cuda" and kind == "cpu":
        raise ValueError("device.device is 'cuda', but PyTorch sees no GPU here; allowed: auto, cpu.")
    if config.dtype == "bfloat16" and kind == "cuda" and torch.cuda.get_device_capability() < (8, 0):
        raise ValueError("device.dtype is 'bfloat16', which this GPU does not have; allowed: auto, float32 or float16.")
    if config.dtype == "float16" and kind == "cpu":
        raise ValueError("device.dtype is 'float16', which needs a GPU; on a CPU: auto, float32 or bfloat16.")
    if config.deterministic and kind == "cuda":
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS reads it with its first product
    return Device(
        torch_device=torch.device(kind, torch.cuda.current_device()) if kind == "cuda" else torch.device(kind),
        dtype=native_dtype(kind) if config.dtype == "auto" else getattr(torch, config.dtype),
        memory_format=torch.channels_last if config.channels_last else torch.contiguous_format,
        threads=config.threads,
        compile=config.compile,
        deterministic=config.deterministic,
        layout_is_open=kind == "cuda" and config.channels_last == "auto" and not config.deterministic,
        world=world,
    )


def native_dtype(kind: str) -> torch.dtype:
    """The fastest arithmetic type the hardware has of its own; emulated bfloat16 is slower than float32."""
    if kind == "cuda":
        major, _ = torch.cuda.get_device_capability()
        return torch.bfloat16 if major >= 8 else torch.float16 if major >= 7 else torch.float32
    native = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return torch.bfloat16 if native else torch.float32


def processor_name() -> str:
    """The processor's model name as the kernel gives it, else the machine type."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
