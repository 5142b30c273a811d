"""Files that are complete or absent, whenever the process is killed: written to a temporary file, synced, renamed."""

from __future__ import annotations

import errno
import os
import secrets
from pathlib import Path

NO_LINKS = {errno.EPERM, errno.EACCES, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP}


def _write_temporary(path: Path, content: str | bytes, durable: bool) -> Path:
    # Same directory: a rename or a link must not cross file systems.
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp")
    try:
        with open(temporary, "wb") as stream:
            stream.write(content.encode() if isinstance(content, str) else content)
            if durable:
                stream.flush()
                os.fsync(stream.fileno())
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    return temporary


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def replace_file(path: str | Path, content: str | bytes, *, durable: bool = True, parents: bool = True) -> None:
    """Write a file, replacing an older one in one step.

    Args:
        path: the file.
        content: the whole content; text is written as UTF-8.
        durable: wait until the disk has it (off for hints that may be lost).
        parents: create every missing folder above the file; otherwise the last one only, so that nothing appears where
            a study was moved or deleted.
    Raises:
        OSError: the disk is full or not writable; the older file is untouched.
    """
    path = Path(path)
    path.parent.mkdir(parents=parents, exist_ok=True)
    temporary = _write_temporary(path, content, durable)
    try:
        os.replace(temporary, path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    if durable:
        _sync_directory(path.parent)


def create_file(path: Path, text: str, *, durable: bool = True) -> bool:
    """Write a text file unless there is one of that name: the first writer wins and nothing is ever altered.

    Args:
        path: the file; its folder is created where only that is missing.
        text: the whole content, written as UTF-8.
        durable: wait until the disk has it.
    Returns:
        True if this call created the file, False if it was already there.
    Raises:
        OSError: the disk is full or not writable; no file is left behind.
    """
    path.parent.mkdir(exist_ok=True)
    temporary = _write_temporary(path, text, durable)
    try:
        try:
            os.link(temporary, path)
        except FileExistsError:
            return False
        except OSError as error:  # without hard links a rename is as atomic, only 'first wins' is weaker
            if error.errno not in NO_LINKS:
                raise
            if path.exists():
                return False
            os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    if durable:
        _sync_directory(path.parent)
    return True
