"""The cache folder, verified downloads, and Debian packages unpacked without root."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

TIMEOUT_SECONDS = 300


def cache_root(root: Path | None = None) -> Path:
    """Return the folder of the data sets: `root`, or else $DESIGNSPACE_DATA, or else ~/.cache/designspace."""
    if root is not None:
        return Path(root).expanduser()
    return Path(os.environ.get("DESIGNSPACE_DATA") or "~/.cache/designspace").expanduser()


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the lock of a folder, so that one of several processes downloads while the others wait."""
    from filelock import FileLock

    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / ".lock"):
        yield


def download(url: str, known_hash: str, folder: Path) -> Path:
    """Download a file into a folder unless it is there, and verify it.

    Args:
        url: address; its last part becomes the file name.
        known_hash: like md5:0123…
        folder: where the file goes.

    Raises:
        OSError: the file cannot be downloaded.
        ValueError: the hash of the download is wrong.
    """
    import pooch

    name = url.rpartition("/")[2]
    downloader = pooch.HTTPDownloader(timeout=TIMEOUT_SECONDS)
    return Path(pooch.retrieve(url, known_hash, name, folder, downloader=downloader))


def installed_files(package: str) -> dict[str, Path]:
    """Return the files of an installed Debian package by name (`dpkg -L`); OSError if it is not installed."""
    paths = (Path(line) for line in _run("dpkg", "-L", package).splitlines())
    return {path.name: path for path in paths if path.is_file()}


@contextmanager
def downloaded_package(package: str) -> Iterator[dict[str, Path]]:
    """Download and unpack a Debian package in a temporary folder, without root; yield its files by name.

    If the machine's package lists are missing or outdated, new lists are downloaded into the temporary folder.

    Raises:
        OSError: with the message of apt.
    """
    with tempfile.TemporaryDirectory(prefix="designspace-") as name:
        folder = Path(name)
        folder.chmod(0o755)  # apt drops to its own user while downloading
        try:
            _run("apt-get", "download", package, cwd=folder)
        except OSError:
            options = _private_lists(folder)
            _run("apt-get", *options, "update", cwd=folder)
            _run("apt-get", *options, "download", package, cwd=folder)
        archives = list(folder.glob("*.deb"))
        if not archives:
            raise OSError(f"apt-get download {package} left no .deb file")
        _run("dpkg-deb", "-x", str(archives[0]), str(folder / "unpacked"))
        yield {path.name: path for path in (folder / "unpacked").rglob("*") if path.is_file()}


def _private_lists(folder: Path) -> list[str]:
    for part in ("lists/partial", "cache/archives/partial"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    options = (f"Dir::State::lists={folder}/lists", f"Dir::Cache={folder}/cache", "APT::Sandbox::User=")
    return [argument for option in options for argument in ("-o", option)]


def _run(*command: str, cwd: Path | None = None) -> str:
    environment = {**os.environ, "LC_ALL": "C"}
    try:
        done = subprocess.run(
            command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=TIMEOUT_SECONDS, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise OSError(f"{command[0]} did not finish in {TIMEOUT_SECONDS} s") from error
    if done.returncode:
        lines = (done.stderr.strip() or done.stdout.strip()).splitlines()
        raise OSError(f"{' '.join(command[:2])}: {lines[-1] if lines else f'exit code {done.returncode}'}")
    return done.stdout
