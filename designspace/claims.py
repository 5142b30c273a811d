"""Claims: hints that keep two workers from training the same model, and show which models are in training.

A claim is a small file with a counter that its owner increments every few seconds. A lost or stale claim costs one
repeated training, never a record. `sweeps.study.claims` writes them.
"""

from __future__ import annotations

import contextlib
import functools
import os
import socket
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter

from designspace.study import STRICT, Count, Seconds, Time
from designspace.validated import parse_json, read_regular


@dataclass(frozen=True)
class Claim:
    """Who trains a model: worker name, host, process, start (ISO UTC), progress, heartbeat counter.

    Attributes:
        epoch: epochs done.
        errors: validation errors so far, in percent.
        machine: scope of the process ids.
        takeovers: earlier owners that vanished.
        failures: the model's failed attempts, including those of earlier owners.
        stale_seconds: time without a heartbeat after which others may take the claim over.
    """

    __pydantic_config__ = STRICT

    key: str
    worker: str
    host: str
    pid: Count
    process_start: str
    since: Time
    epoch: Count = 0
    errors: tuple[float, ...] = ()
    beat: Count = 0
    machine: str = ""
    takeovers: Count = 0
    failures: tuple[str, ...] = ()
    stale_seconds: Seconds = 60.0


_CLAIM = TypeAdapter(Claim)


def process_start(pid: int) -> str:
    """Return the kernel's start time of a process, which identifies it if its id is reused; '' if it is gone."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        if Path("/proc/self/stat").exists():
            return ""
        try:  # no /proc on this system: only alive or not is known
            os.kill(pid, 0)
        except ProcessLookupError:
            return ""
        except PermissionError:
            pass
        return "alive"
    state, *fields = text.rpartition(")")[2].split()
    return "" if state in "ZX" else fields[18]


@functools.cache
def this_machine() -> str:
    """Return an identifier of this system and its process ids; containers may share a host name or a kernel."""
    marks = [socket.gethostname()]
    with contextlib.suppress(OSError):  # no /proc: the host name only
        marks += [Path("/proc/sys/kernel/random/boot_id").read_text().strip(), os.readlink("/proc/self/ns/pid")]
    return " ".join(marks)


def owner_is_gone(claim: Claim) -> bool:
    """Whether the claim's owner ran on this machine and is gone."""
    return claim.machine == this_machine() and process_start(claim.pid) != claim.process_start


def claimed_keys(directory: Path) -> set[str]:
    """Return the keys of all claims, including stale ones; the folder need not exist."""
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
