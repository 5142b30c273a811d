"""Optuna's journal in a file, written once per proposal."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from optuna.storages.journal import BaseJournalBackend


class Journal(BaseJournalBackend):
    """Entries of Optuna's `JournalFileBackend`, read once and appended by `save`.

    An ask writes about ten entries, and many asks may be rejected before a proposal is accepted. `JournalFileBackend`
    would sync the disk for each entry. The caller must hold a lock from opening to `save`.

    Args:
        path: the file. Its last line is ignored if it was only partly written.
    Raises:
        ValueError: another line is not a journal entry.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._entries: list[dict[str, Any]] = []
        content = path.read_bytes() if path.exists() else b""
        self._valid = content.rfind(b"\n") + 1
        self._saved = 0
        for number, line in enumerate(content[: self._valid].splitlines(), 1):
            try:
                entry = json.loads(line)
            except ValueError:
                entry = None
            if not isinstance(entry, dict):
                raise ValueError(f"{path}, line {number}: not a journal entry")
            self._entries.append(entry)
        self._saved = len(self._entries)

    def read_logs(self, log_number_from: int) -> Iterable[dict[str, Any]]:
        """Return the entries from a number on."""
        return self._entries[log_number_from:]

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Add entries in memory."""
        self._entries += [json.loads(json.dumps(entry)) for entry in logs]

    def save(self) -> None:
        """Append the new entries to the file."""
        lines = [json.dumps(entry, separators=(",", ":")) + "\n" for entry in self._entries[self._saved :]]
        self._path.parent.mkdir(exist_ok=True)
        with open(self._path, "ab") as stream:
            stream.truncate(self._valid)
            stream.write("".join(lines).encode())
            stream.flush()
            os.fsync(stream.fileno())
            self._valid = stream.tell()
        self._saved = len(self._entries)
