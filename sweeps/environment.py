"""What a study was made with: package versions, git revision, machine."""

from __future__ import annotations

import platform
import socket
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from sweeps.resources import cores

PACKAGES = ("cnn-designspace", "torch", "numpy", "scikit-learn", "pydantic", "hydra-core", "omegaconf")


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
