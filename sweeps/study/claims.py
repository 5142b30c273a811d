"""Claims: hints that keep two workers from training the same model.

A claim is a small file with a counter that its owner raises every few seconds. Nothing depends on it: a lost or stale
claim costs one repeated training, never a record. Staleness is judged without comparing clocks of two machines: a claim
is stale when its counter has not changed for its owner's `stale_seconds` by the observer's clock, when its owner ran on
this machine and is gone, or when it cannot be read as a claim.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import secrets
import shutil
import socket
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from pydantic import TypeAdapter

from designspace.atomic import create_file, replace_file
from designspace.study import STRICT, Count, Seconds, Time, now
from designspace.validated import parse_json, read_regular


@dataclass(frozen=True)
class Claim:
    """Who trains a model: worker name, host, process, since when (ISO UTC), epochs done, heartbeat counter.

    `machine` is where process numbers mean the same; `takeovers` counts owners before this one that vanished;
    `failures` are the model's attempts that failed, also those of owners before; `stale_seconds` are the owner's.
    """

    __pydantic_config__ = STRICT

    key: str
    worker: str
    host: str
    pid: Count
    process_start: str
    since: Time
    epoch: Count = 0
    beat: Count = 0
    machine: str = ""
    takeovers: Count = 0
    failures: tuple[str, ...] = ()
    stale_seconds: Seconds = 60.0


_CLAIM = TypeAdapter(Claim)


def process_start(pid: int) -> str:
    """Return the kernel's start time of a process, '' if there is no such process.

    It distinguishes a process from a later one with the same number.
    """
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        if Path("/proc/self/stat").exists():
            return ""
        try:  # no /proc on this system: alive or not is all one can know
            os.kill(pid, 0)
        except ProcessLookupError:
            return ""
        except PermissionError:
            pass
        return "alive"
    state, *fields = text.rpartition(")")[2].split()
    return "" if state in "ZX" else fields[18]


def worker_name(number: int) -> str:
    """Return a name that no other worker of a study has: number, machine, process and a random part."""
    return f"{number}-{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(2)}"


@functools.cache
def this_machine() -> str:
    """Return what identifies the running system and its process numbers: containers may share a host name or kernel."""
    marks = [socket.gethostname()]
    with contextlib.suppress(OSError):  # no /proc: the host name must do
        marks += [Path("/proc/sys/kernel/random/boot_id").read_text().strip(), os.readlink("/proc/self/ns/pid")]
    return " ".join(marks)


def owner_is_gone(claim: Claim) -> bool:
    """Whether the claim's owner ran on this machine and is gone."""
    return claim.machine == this_machine() and process_start(claim.pid) != claim.process_start


class Claims:
    """The claims folder as one worker sees it.

    Args:
        directory: the folder; created by the first claim.
        worker: name of this worker, unique in the study.
        stale_seconds: time without a change after which others may take over this worker's claims, and this worker a
            claim that the file system does not let it read.
    """

    def __init__(self, directory: Path, worker: str, stale_seconds: float) -> None:
        self._directory = directory
        self._worker = worker
        self._stale_seconds = stale_seconds
        self._mine: dict[str, Claim] = {}
        self._seen: dict[str, tuple[tuple[str, int], float]] = {}

    @property
    def mine(self) -> frozenset[str]:
        """Keys this worker holds."""
        return frozenset(self._mine)

    def take(self, key: str) -> bool:
        """Claim a model if nobody does, or if the claim on it is stale.

        Returns:
            True if this worker holds the claim now.
        """
        path = self._directory / key
        held = None
        try:
            held = read_claim(path)
            stale = held is not None and self._is_stale(key, held)
        except ValueError:
            stale = True
            if path.is_dir():
                shutil.rmtree(path)
        except OSError:  # perhaps for a moment only, as on NFS
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
        """Note a failed attempt in an own claim and return all there were."""
        self._mine[key] = replace(self._mine[key], failures=(*self._mine[key].failures, how))
        self.beat(key)
        return self._mine[key].failures

    def failures(self, key: str) -> tuple[str, ...]:
        """Return how the attempts at an own claim's model failed."""
        return self._mine[key].failures

    def takeovers(self, key: str) -> int:
        """Return how many owners of an own claim vanished, one after another, before the end of an epoch."""
        return self._mine[key].takeovers

    def beat(self, key: str, epoch: int | None = None) -> None:
        """Raise the counter of an own claim (and note the epoch); a full disk is no reason to stop."""
        claim = self._mine[key]
        self._mine[key] = replace(claim, beat=claim.beat + 1, epoch=claim.epoch if epoch is None else epoch)
        with contextlib.suppress(OSError):
            replace_file(self._directory / key, json.dumps(asdict(self._mine[key])), durable=False, parents=False)

    def note_epoch(self, key: str, epoch: int) -> None:
        """Remember the epochs done; the next heartbeat writes them."""
        self._mine[key] = replace(self._mine[key], epoch=epoch)

    def release(self, key: str) -> None:
        """Release an own claim, unless another worker has taken it over meanwhile."""
        self._mine.pop(key, None)
        path = self._directory / key
        with contextlib.suppress(OSError):  # a claim that stays becomes stale
            try:
                held = read_claim(path)
            except ValueError:
                held = None
            if held is None or held.worker == self._worker:
                path.unlink(missing_ok=True)

    def foreign(self) -> set[str]:
        """Return the keys that other workers hold."""
        return claimed_keys(self._directory) - set(self._mine)

    def _is_stale(self, key: str, claim: Claim | None) -> bool:
        """Whether a claim, or one that cannot be read (None), has not changed for long enough or lost its owner."""
        if claim is not None and owner_is_gone(claim):
            return True
        mark = ("", -1) if claim is None else (claim.worker + claim.since, claim.beat)
        now = time.monotonic()
        seen_mark, since = self._seen.get(key, (None, now))
        if seen_mark != mark:
            self._seen[key] = (mark, now)
            return False
        return now - since >= (self._stale_seconds if claim is None else claim.stale_seconds)


def claimed_keys(directory: Path) -> set[str]:
    """Return the keys of all claims, also of stale ones; the folder need not exist."""
    try:
        return {name for name in os.listdir(directory) if not name.startswith(".")}
    except FileNotFoundError:
        return set()


def read_claim(path: Path) -> Claim | None:
    """Read a claim file; None if there is none.

    Raises:
        ValueError: it is damaged.
    """
    try:
        return parse_json(_CLAIM, read_regular(path))
    except FileNotFoundError:
        return None
