"""Where files come from: Debian packages, installed or unpacked without root, and plain addresses."""

from __future__ import annotations

import os
import subprocess
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

TIMEOUT_SECONDS = 300


def _run(*command: str, cwd: Path | None = None) -> str:
    environment = {**os.environ, "LC_ALL": "C"}
    try:
        done = subprocess.run(
            command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=TIMEOUT_SECONDS, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise OSError(f"{command[0]} did not answer in {TIMEOUT_SECONDS} s") from error
    if done.returncode:
        reason = (done.stderr.strip() or done.stdout.strip()).splitlines()
        raise OSError(f"{' '.join(command[:2])}: {reason[-1] if reason else f'exit code {done.returncode}'}")
    return done.stdout


def installed_files(package: str) -> dict[str, Path]:
    """The files of an installed Debian package by their base name (`dpkg -L`); OSError if it is not installed."""
    paths = (Path(line) for line in _run("dpkg", "-L", package).splitlines())
    return {path.name: path for path in paths if path.is_file()}


@contextmanager
def downloaded_package(package: str) -> Iterator[dict[str, Path]]:
    """Fetch a Debian package and unpack it in a temporary folder, without root; gives its files by base name.

    Where the machine's package lists are missing or out of date, lists are fetched into the temporary folder, so
    nothing outside it changes. OSError has the message of apt.
    """
    with tempfile.TemporaryDirectory(prefix="designspace-") as name:
        folder = Path(name)
        folder.chmod(0o755)  # apt drops to its own user while downloading
        try:
            _run("apt-get", "download", package, cwd=folder)
        except OSError:
            private = _private_lists(folder)
            _run("apt-get", *private, "update", cwd=folder)
            _run("apt-get", *private, "download", package, cwd=folder)
        archives = list(folder.glob("*.deb"))
        if not archives:
            raise OSError(f"apt-get download {package} left no .deb file")
        _run("dpkg-deb", "-x", str(archives[0]), str(folder / "unpacked"))
        yield {path.name: path for path in (folder / "unpacked").rglob("*") if path.is_file()}


def _private_lists(folder: Path) -> list[str]:
    for part in ("lists/partial", "cache/archives/partial"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    options = (f"Dir::State::lists={folder}/lists", f"Dir::Cache={folder}/cache", "APT::Sandbox::User=")
    return [word for option in options for word in ("-o", option)]


def download(address: str) -> bytes:
    """The bytes behind an address; OSError (urllib's errors are subclasses) if they cannot be downloaded."""
    with urllib.request.urlopen(address, timeout=TIMEOUT_SECONDS) as answer:
        content: bytes = answer.read()
    return content
