"""The cache folder: one place for downloaded data, safe under concurrent callers."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


def cache_root(root: Path | None = None) -> Path:
    """The folder of the data sets: `root`, else $DESIGNSPACE_DATA, else ~/.cache/designspace."""
    if root is not None:
        return Path(root).expanduser()
    return Path(os.environ.get("DESIGNSPACE_DATA") or "~/.cache/designspace").expanduser()


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the folder's lock, so that of several processes one downloads and the others wait for it.

    The lock only saves work: files appear by rename, so a file system without locks (some network mounts) costs a
    second download and nothing else.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / ".lock", "ab") as stream:
        with suppress(OSError):
            fcntl.flock(stream, fcntl.LOCK_EX)
        yield
