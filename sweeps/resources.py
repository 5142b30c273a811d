"""CPU cores and GPUs available to this process, within the limits of a batch system."""

from __future__ import annotations

import itertools
import os
import re
from glob import glob


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
        return [str(number) for number in range(len(glob("/dev/nvidia[0-9]*")))]
    names = (name.strip() for name in visible.split(","))
    return list(itertools.takewhile(lambda name: name not in ("", "-1", "NoDevFiles"), names))  # as CUDA reads it


def automatic_processes(device: str, threads: int, per_device: int = 1) -> int:
    """Return the number of training processes for this machine: `per_device` per GPU, else one per `threads` cores.

    Args:
        device: the study's `device.device`.
        threads: CPU threads of a process.
        per_device: processes that share a GPU.
    """
    return len(visible_gpus(device)) * per_device or max(1, cores() // threads)
