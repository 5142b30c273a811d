"""A worker's claims: take, refresh and release models.

Clocks of different machines are not compared: a claim is stale when its counter has not changed for its owner's
`stale_seconds` by the observer's clock, when its owner ran on this machine and is gone, or when the file is not a valid
claim.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import socket
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

from designspace.atomic import create_file, replace_file
from designspace.claims import Claim, claimed_keys, owner_is_gone, process_start, read_claim, this_machine
from designspace.study import now


def worker_name(number: int) -> str:
    """Return a unique name for a worker: number, host, process and a random part."""
    return f"{number}-{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(2)}"


class Claims:
    """The claims folder as one worker sees it.

    Args:
        directory: the folder, created by the first claim.
        worker: name of this worker, unique in the study.
        stale_seconds: time without a change after which other workers may take over this worker's claims, and this
            worker a claim that it cannot read.
    """

    def __init__(self, directory: Path, worker: str, stale_seconds: float) -> None:
        self._directory = directory
        self._worker = worker
        self._stale_seconds = stale_seconds
        self._mine: dict[str, Claim] = {}
        self._seen: dict[str, tuple[tuple[str, int], float]] = {}

    @property
    def mine(self) -> frozenset[str]:
        """Keys that this worker has claimed."""
        return frozenset(self._mine)

    def take(self, key: str) -> bool:
        """Claim a model that is free or whose claim is stale; return whether this worker now holds the claim."""
        path = self._directory / key
        held = None
        try:
            held = read_claim(path)
            stale = held is not None and self._is_stale(key, held)
        except ValueError:
            stale = True
            if path.is_dir():
                shutil.rmtree(path)
        except OSError:  # possibly temporary, as on NFS
            stale = self._is_stale(key, None)
        else:
            if held is None:
                claim = self._new_claim(key)
                if create_file(path, json.dumps(asdict(claim)), durable=False):
                    self._mine[key] = claim
                return key in self._mine
        if not stale:
            return False
        vanished = 0 if held is None or held.epoch else held.takeovers + 1
        claim = self._new_claim(key, vanished, held.failures if held is not None else ())
        replace_file(path, json.dumps(asdict(claim)), durable=False, parents=False)
        now_held = read_claim(path)
        if now_held is None or now_held.worker != self._worker:  # another worker saw the same stale claim
            return False
        self._mine[key] = claim
        return True

    def _new_claim(self, key: str, takeovers: int = 0, failures: tuple[str, ...] = ()) -> Claim:
        return Claim(
            key=key,
            worker=self._worker,
            host=socket.gethostname(),
            pid=os.getpid(),
            process_start=process_start(os.getpid()),
            since=now(),
            machine=this_machine(),
            takeovers=takeovers,
            failures=failures,
            stale_seconds=self._stale_seconds,
        )

    def add_failure(self, key: str, how: str) -> tuple[str, ...]:
        """Add a failed attempt to an own claim and return all of them."""
        self._mine[key] = replace(self._mine[key], failures=(*self._mine[key].failures, how))
        self.beat(key)
        return self._mine[key].failures

    def failures(self, key: str) -> tuple[str, ...]:
        """Return the failed attempts at an own claim's model."""
        return self._mine[key].failures

    def takeovers(self, key: str) -> int:
        """Return how many successive owners of an own claim vanished before the end of an epoch."""
        return self._mine[key].takeovers

    def beat(self, key: str, epoch: int | None = None) -> None:
        """Increment the counter of an own claim and set its epoch; a full disk is ignored."""
        claim = self._mine[key]
        self._mine[key] = replace(claim, beat=claim.beat + 1, epoch=claim.epoch if epoch is None else epoch)
        with contextlib.suppress(OSError):
            replace_file(self._directory / key, json.dumps(asdict(self._mine[key])), durable=False, parents=False)

    def note_epoch(self, key: str, epoch: int, errors: Sequence[float] = ()) -> None:
        """Set the epochs done and the validation errors so far; the next heartbeat writes them."""
        self._mine[key] = replace(self._mine[key], epoch=epoch, errors=tuple(errors))

    def release(self, key: str) -> None:
        """Release an own claim, unless another worker has taken it over."""
        self._mine.pop(key, None)
        path = self._directory / key
        with contextlib.suppress(OSError):  # a remaining claim becomes stale
            try:
                held = read_claim(path)
            except ValueError:
                held = None
            if held is None or held.worker == self._worker:
                path.unlink(missing_ok=True)

    def foreign(self) -> set[str]:
        """Return the keys that other workers have claimed."""
        return claimed_keys(self._directory) - set(self._mine)

    def _is_stale(self, key: str, claim: Claim | None) -> bool:
        """Whether a claim, or one that cannot be read (None), has not changed for long enough or has lost its owner."""
        if claim is not None and owner_is_gone(claim):
            return True
        mark = ("", -1) if claim is None else (claim.worker + claim.since, claim.beat)
        now = time.monotonic()
        seen_mark, since = self._seen.get(key, (None, now))
        if seen_mark != mark:
            self._seen[key] = (mark, now)
            return False
        return now - since >= (self._stale_seconds if claim is None else claim.stale_seconds)
