"""Atomic file writes that do not replace files from other tools.

Content goes to a temporary file, which is synced and renamed, so a killed process leaves no partial file. Figures,
pages, specs, recipes and populations have MARK in their metadata. A CSV file has no metadata and is recognized by its
header. `--force` replaces any regular file.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
from pathlib import Path

MARK = "cnn-designspace"
"""Project name in the metadata of files that this tool writes."""

_SEARCHED_BYTES = 1 << 16
"""Metadata is within this distance of either end of a file."""

NO_LINKS = {errno.EPERM, errno.EACCES, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP}


def _write_temporary(path: Path, content: str | bytes, durable: bool) -> Path:
    # In the same directory, because renames and links cannot cross file systems.
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp")
    try:
        with open(temporary, "wb") as stream:
            stream.write(content.encode() if isinstance(content, str) else content)
            if durable:
                stream.flush()
                os.fsync(stream.fileno())
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        if error.errno is not None:
            error.filename = str(path)
        raise
    return temporary


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def replace_file(path: str | Path, content: str | bytes, *, durable: bool = True, parents: bool = True) -> None:
    """Write a file atomically, replacing an older one.

    Args:
        path: the file.
        content: the complete content; text is written as UTF-8.
        durable: sync to disk; False for files that may be lost.
        parents: create all missing parent folders. If False, create only the last one, so writing to a study that was
            moved or deleted fails.
    Raises:
        OSError: the disk is full or not writable; the older file is unchanged.
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
    """Write a text file unless it exists; the first writer wins.

    Args:
        path: the file; its folder is created if only that is missing.
        text: the complete content, written as UTF-8.
        durable: sync to disk.
    Returns:
        True if this call created the file, False if it exists.
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
        except OSError as error:  # without hard links, a rename is atomic, but two writers may both succeed
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


def check_output(path: str | Path, *, force: bool = False, content: bytes = b"") -> None:
    """Check that a file may be written.

    Args:
        path: the file.
        force: allow replacing a file that this tool did not write.
        content: the content to be written, if known.
    Raises:
        ValueError: the path is not a regular file, or a file that this tool did not write.
    """
    path = Path(path)
    if not path.exists():
        return
    if not path.is_file():
        raise ValueError(f"out = {path}: must be a regular file")
    if path.suffix == ".csv" and not content:
        return
    if not force and not _is_ours(path, content):
        raise not_ours(path)


def not_ours(path: Path) -> ValueError:
    """The error for a file that this tool did not write."""
    return ValueError(f"out = {path}: must be a new file or one that this tool wrote; use --force to replace it")


def write_output(path: str | Path, content: str | bytes, *, force: bool = False) -> None:
    """Check the path with `check_output`, create missing folders and write the file atomically."""
    content = content.encode() if isinstance(content, str) else content
    check_output(path, force=force, content=content)
    replace_file(os.path.realpath(path), content)  # replace the target of a symbolic link, not the link


def has_mark(path: Path) -> bool:
    """Whether a file has MARK near its start or end."""
    with path.open("rb") as stream:
        searched = stream.read(_SEARCHED_BYTES)
        stream.seek(max(stream.tell(), path.stat().st_size - _SEARCHED_BYTES))
        return MARK.encode() in searched + stream.read()


def _is_ours(path: Path, content: bytes) -> bool:
    if path.suffix != ".csv":
        return has_mark(path)
    with path.open("rb") as stream:
        return stream.readline(_SEARCHED_BYTES).rstrip(b"\r\n") == content.partition(b"\n")[0].rstrip(b"\r")
