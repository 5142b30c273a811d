"""CPU cores and GPUs available to this process, within the limits of a batch system."""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import shutil
import subprocess
from glob import glob

WSL_LIBRARIES = "/usr/lib/wsl/lib"
"""Folder of nvidia-smi in the Windows Subsystem for Linux, which is not always in PATH."""


def cores() -> int:
    """Return the number of CPU cores this process may use; a batch system may limit it."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(count, _slurm_cores() or count)


def _slurm_cores() -> int | None:
    """Cores of this task of a SLURM step, since SLURM does not always bind tasks to them; None outside SLURM."""
    task, node = (os.environ.get(name, "") for name in ("SLURM_CPUS_PER_TASK", "SLURM_CPUS_ON_NODE"))
    if task.isdigit():
        return int(task)
    tasks = re.findall(r"(?:^|,)(\d+)", os.environ.get("SLURM_STEP_TASKS_PER_NODE", ""))  # such as 4(x2),3
    return max(1, int(node) // max(map(int, tasks))) if node.isdigit() and tasks else None


def visible_gpus(device: str = "auto") -> list[str]:
    """Return the GPUs that a study may use here, named as in CUDA_VISIBLE_DEVICES.

    Args:
        device: the study's `device.device`; "cpu" uses none.
    """
    if device == "cpu":
        return []
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return _listed_gpus()
    names = (name.strip() for name in visible.split(","))
    return list(itertools.takewhile(lambda name: name not in ("", "-1", "NoDevFiles"), names))  # as CUDA reads it


def _listed_gpus() -> list[str]:
    """Return the GPUs of this machine: the slices of GPUs in MIG mode by UUID, other GPUs by number.

    CUDA sees only one slice unless CUDA_VISIBLE_DEVICES names another. WSL has no device files.
    """
    command = shutil.which("nvidia-smi", path=os.pathsep.join((os.environ.get("PATH", os.defpath), WSL_LIBRARIES)))
    listing = ""
    if command is not None:
        with contextlib.suppress(OSError, subprocess.SubprocessError):
            listing = subprocess.run([command, "-L"], capture_output=True, text=True, timeout=60, check=True).stdout
    slices = re.findall(r"^\s+MIG .*\(UUID:\s*(MIG-[^)]+)\)", listing, re.MULTILINE)
    whole = re.findall(r"^GPU \d+: .*\(UUID:\s*(GPU-[^)]+)\)(?!\s*MIG)", listing, re.MULTILINE)
    if slices:
        return slices + whole
    return [str(number) for number in range(len(whole) or len(glob("/dev/nvidia[0-9]*")))]


def automatic_processes(device: str, threads: int, per_device: int = 1) -> int:
    """Return the number of training processes for this machine: `per_device` per GPU, else one per `threads` cores.

    Args:
        device: the study's `device.device`.
        threads: CPU threads of a process.
        per_device: processes that share a GPU.
    """
    return len(visible_gpus(device)) * per_device or max(1, cores() // threads)
