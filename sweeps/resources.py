"""What a process may use here: processor cores and GPUs, also where a batch system gives it a share of them."""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Mapping
from glob import glob
from typing import Any


def cores() -> int:
    """Return the processor cores this process may use (a batch system may allow fewer than there are)."""
    found = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(found, _slurm_cores() or found)


def _slurm_cores() -> int | None:
    """The cores of this task of a SLURM step, as not every SLURM binds tasks to theirs; None if not told."""
    task, node = (os.environ.get(name, "") for name in ("SLURM_CPUS_PER_TASK", "SLURM_CPUS_ON_NODE"))
    if task.isdigit():
        return int(task)
    tasks = re.findall(r"(?:^|,)(\d+)", os.environ.get("SLURM_STEP_TASKS_PER_NODE", ""))  # like 4(x2),3
    return max(1, int(node) // max(map(int, tasks))) if node.isdigit() and tasks else None


def visible_gpus(device: str = "auto") -> list[str]:
    """Return the names, as CUDA_VISIBLE_DEVICES takes them, of the GPUs a study may use here.

    Args:
        device: the study's `device.device`; "cpu" uses none.
    """
    if device == "cpu":
        return []
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return [str(number) for number in range(len(glob("/dev/nvidia[0-9]*")))]
    names = (name.strip() for name in visible.split(","))
    return list(itertools.takewhile(lambda name: name not in ("", "-1", "NoDevFiles"), names))  # as CUDA reads it


def automatic_processes(device: Mapping[str, Any], per_device: int = 1) -> int:
    """Return how many training processes suit this machine: `per_device` a GPU, else one for each `threads` cores.

    Args:
        device: the study's `device`, of which `device` and `threads` count.
        per_device: how many share a GPU.
    """
    return len(visible_gpus(device["device"])) * per_device or max(1, cores() // device["threads"])
