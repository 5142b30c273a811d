"""The gallery: run the code of gallery.md on stored studies and collect the figures that it writes."""

from __future__ import annotations

import contextlib
import io
import os
import re
import shlex
import tarfile
import tempfile
from pathlib import Path

FOLDER = Path(__file__).parent
STUDIES = FOLDER / "studies.tar.xz"
"""Studies of the gallery and of the tests of the docs, trained by studies.sh."""


def build() -> dict[str, str | bytes]:
    """The page and its figures, by path on the site.

    Raises:
        RuntimeError: a command failed.
    """
    page = (FOLDER / "gallery.md").read_text()
    figures = re.findall(r"\]\((gallery/[\w.]+)\)", page)
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        unpack(Path(folder))
        os.mkdir("gallery")
        run(page)
        return {"gallery.md": page} | {figure: Path(figure).read_bytes() for figure in figures}


def unpack(folder: Path) -> None:
    """Write the stored studies to `folder`/runs."""
    with tarfile.open(STUDIES) as archive:
        archive.extractall(folder, filter="data")


def run(page: str) -> None:
    """Run the commands and the Python code of a page in the current folder, in order."""
    import matplotlib

    from designspace.cli import main

    matplotlib.use("agg")
    namespace: dict[str, object] = {}
    for language, code in re.findall(r"^```(sh|python)\n(.*?)^```$", page, re.DOTALL | re.MULTILINE):
        if language == "python":
            exec(code, namespace)
            continue
        for command in code.replace("\\\n", " ").splitlines():
            with contextlib.redirect_stdout(io.StringIO()) as output, contextlib.redirect_stderr(output):
                failed = main(shlex.split(command, comments=True)[1:])
            if failed:
                raise RuntimeError(f"gallery.md: {command}\n{output.getvalue()}")
