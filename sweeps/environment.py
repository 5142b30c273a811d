"""What a study was made with: package versions, git revision, machine."""

from __future__ import annotations

import itertools
import os
import platform
import secrets
import socket
import subprocess
from collections.abc import Mapping
from glob import glob
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

PACKAGES = ("cnn-designspace", "torch", "numpy", "scikit-learn", "pydantic", "hydra-core", "omegaconf")


def cores() -> int:
    """Return the processor cores this process may use (a batch system may allow fewer than there are)."""
    found = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    asked = os.environ.get("SLURM_CPUS_PER_TASK", "")  # not every SLURM binds its jobs to the cores they asked for
    return min(found, int(asked)) if asked.isdigit() else found


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


def worker_name(number: int) -> str:
    """Return a name no other worker of a study has: number, machine, process, and a mark for containers alike."""
    return f"{number}-{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(2)}"


def environment() -> dict[str, Any]:
    """Return versions, git revision and machine as plain values for the manifest."""
    return {
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in PACKAGES},
        "git": git_state(Path(__file__).parent),
        "host": socket.gethostname(),
        "platform": platform.platform(),
        "cores": cores(),
    }


def git_state(folder: Path) -> dict[str, Any] | None:
    """Return the revision of the source tree and whether it has uncommitted changes; None without git."""
    try:
        revision = _git(folder, "rev-parse", "HEAD")
        dirty = bool(_git(folder, "status", "--porcelain", "--untracked-files=no", "."))
    except (OSError, subprocess.SubprocessError):
        return None
    return {"revision": revision, "dirty": dirty}


def _git(folder: Path, *arguments: str) -> str:
    return subprocess.run(
        ["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=True, timeout=10
    ).stdout.strip()


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
