"""Files that a command writes where its user says: one that this tool did not write is never replaced by accident.

What the commands write has MARK in its metadata: figures, pages, specs, recipes and populations. CSV has no place for
it; there the same columns decide. `--force` replaces any regular file.
"""

from __future__ import annotations

import os
from pathlib import Path

from designspace.atomic import replace_file

MARK = "cnn-designspace"
"""The project's name in the metadata of what it writes."""

_SEARCHED_BYTES = 1 << 16
"""Metadata is near the beginning or the end of a file."""


def check_output(path: str | Path, *, force: bool = False, content: bytes = b"") -> None:
    """Check that a file may be written.

    Args:
        path: the file.
        force: whether a file of other origin may be replaced.
        content: what will be written, where it is known already.
    Raises:
        ValueError: something is there that this tool did not write.
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
    """The error for a file that would be replaced and that this tool did not write."""
    return ValueError(f"out = {path}: is there and not from this tool; choose another place, or --force to replace it")


def write_output(path: str | Path, content: str | bytes, *, force: bool = False) -> None:
    """Write a file completely or not at all, after `check_output`; missing folders are created."""
    content = content.encode() if isinstance(content, str) else content
    check_output(path, force=force, content=content)
    replace_file(os.path.realpath(path), content)  # a link stays, and what it points to is replaced


def has_mark(path: Path) -> bool:
    """Whether a file has MARK near its beginning or end."""
    with path.open("rb") as stream:
        searched = stream.read(_SEARCHED_BYTES)
        stream.seek(max(stream.tell(), path.stat().st_size - _SEARCHED_BYTES))
        return MARK.encode() in searched + stream.read()


def _is_ours(path: Path, content: bytes) -> bool:
    if path.suffix != ".csv":
        return has_mark(path)
    with path.open("rb") as stream:
        return stream.readline(_SEARCHED_BYTES).rstrip(b"\r\n") == content.partition(b"\n")[0].rstrip(b"\r")
