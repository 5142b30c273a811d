"""Time and memory of a training, as the device sees them."""

from __future__ import annotations

import ctypes
import gc
import re
import resource
import sys
import time
from contextlib import suppress
from pathlib import Path

import torch

from sweeps.trainer.device import Device


class Stopwatch:
    """Seconds of work on the device: CUDA events on a GPU, the clock on a CPU; adds up over stretches.

    A stretch is what lies between `start` and `stop`, or a `with` block, also one that fails.
    """

    def __init__(self, device: Device) -> None:
        self._cuda = device.is_cuda
        self._begun = 0.0
        self.seconds = 0.0

    def __enter__(self) -> None:
        self.start()

    def __exit__(self, *failure: object) -> None:
        self.stop()

    def start(self) -> None:
        """Begin a stretch."""
        if self._cuda:
            self._first, self._last = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            self._first.record()
        else:
            self._begun = time.perf_counter()

    def stop(self) -> float:
        """End the stretch and return its seconds; waits for the GPU."""
        if self._cuda:
            self._last.record()
            self._last.synchronize()
            stretch = self._first.elapsed_time(self._last) / 1000
        else:
            stretch = time.perf_counter() - self._begun
        self.seconds += stretch
        return stretch


class Deadline:
    """A limit in seconds, of which some may be spent already; None never passes."""

    def __init__(self, seconds: float | None, spent: float = 0.0) -> None:
        self.seconds = seconds
        self._end = float("inf") if seconds is None else time.monotonic() + seconds - spent

    def has_passed(self) -> bool:
        """Whether the time is over."""
        return time.monotonic() > self._end


def reset_peak_memory(device: Device) -> None:
    """Begin a new measurement of the peak."""
    if device.is_cuda:
        torch.cuda.reset_peak_memory_stats(device.torch_device)
        return
    _give_freed_memory_back()  # what earlier models left behind is not this one's
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")  # Linux: forget the peak resident size so far (man 5 proc)


def peak_memory_bytes(device: Device) -> int:
    """Most memory in use since the reset: allocated on the GPU, or resident in the process on a CPU."""
    if device.is_cuda:
        return int(torch.cuda.max_memory_allocated(device.torch_device))
    try:
        found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    except OSError:
        found = None
    if found:
        return int(found[1]) * 1024
    # Elsewhere the peak of the whole life of the process, in bytes on macOS and kB on other systems.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def give_memory_back() -> None:
    """Free what nothing refers to any more, and leave the GPU's to the processes that share it."""
    gc.collect()
    torch.cuda.empty_cache()


def keep_freed_memory() -> bool:
    """Tell glibc to keep freed blocks for the next batch instead of returning them to the kernel, process-wide.

    Call it once in a process that only trains; `reset_peak_memory` still begins from what is in use.
    Returns whether it could (False outside glibc).
    """
    trim_threshold, mmap_threshold = -1, -3  # <malloc.h>
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    return bool(mallopt(mmap_threshold, 1 << 30)) and bool(mallopt(trim_threshold, (1 << 31) - 1))


def _give_freed_memory_back() -> None:
    with suppress(OSError, AttributeError):  # glibc only
        ctypes.CDLL(None).malloc_trim(0)
