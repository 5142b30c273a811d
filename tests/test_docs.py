"""The code, commands and links of README.md, docs/ and the tutorial, executed in a temporary folder."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import nbformat
import pytest
from nbclient import NotebookClient

from designspace.cli import main

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
TUTORIAL = ROOT / "docs" / "tutorial.ipynb"

ENVIRONMENT = os.environ | {
    "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
    "PYTHONPATH": str(ROOT),
}


def blocks(page: Path, language: str) -> list[tuple[int, str]]:
    """Fenced code blocks of a page, each with the number of its first line."""
    text = page.read_text()
    fences = re.finditer(rf"^```{language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    return [(text.count("\n", 0, fence.start(1)) + 1, fence[1]) for fence in fences]


def file_name(code: str) -> str | None:
    """File that a block shows, from a first line like `# space.yaml: designspace sample space=space.yaml`."""
    match = re.match(r"# (\w+\.\w+)", code)
    return match and match[1]


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The study of experiment=smoke."""
    folder = tmp_path_factory.mktemp("docs")
    command = [sys.executable, "-m", "designspace", "sweep", "experiment=smoke", "run=smoke"]
    done = subprocess.run(command, cwd=folder, env=ENVIRONMENT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return folder / "smoke"


@pytest.fixture
def folder(study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with the studies that the pages mention."""
    for name in ("demo", "mine", "smoke"):
        shutil.copytree(study, tmp_path / "runs" / name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "python")], ids=lambda page: page.name)
def test_python_of_a_page_runs(page: Path, folder: Path) -> None:
    """Blocks share one namespace. A block that shows a file is saved and not executed."""
    plt.switch_backend("agg")
    namespace: dict[str, object] = {"__name__": "__main__"}
    try:
        for line, code in blocks(page, "python"):
            if name := file_name(code):
                (folder / name).write_text(code)
            else:
                exec(compile("\n" * (line - 1) + code, str(page), "exec"), namespace)
    finally:
        plt.close("all")


def quick(line: str) -> str:
    """A command of the README without its comment. Sweeps only print their plan."""
    command = line.partition("  #")[0]
    return f"{command} plan=only" if command.startswith("designspace sweep ") else command


def test_commands_of_the_readme_run(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = [line for _, code in blocks(ROOT / "README.md", "sh") for line in code.splitlines()]
    commands = [quick(line) for line in lines if line.startswith("designspace")]
    assert len(commands) >= 5
    for command in commands:
        assert main(shlex.split(command, comments=True)[1:]) == 0, f"{command}\n{capsys.readouterr().err}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_of_a_page_exist(page: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    commands = set(re.findall(r"^  (\w+) ", capsys.readouterr().out, re.MULTILINE))
    assert set(re.findall(r"^(?: {4})?designspace ([a-z]+)", page.read_text(), re.MULTILINE)) <= commands


@pytest.mark.parametrize("code", [code for _, code in blocks(ROOT / "docs" / "spaces.md", "yaml")], ids=file_name)
def test_yaml_of_a_space(code: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / str(file_name(code))
    file.write_text(code)
    assert main(["sample", f"space={file}", "n=20"]) == 0
    assert f"20 networks of {file.stem}" in capsys.readouterr().out


def test_python_of_a_space(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    codes = [code for _, code in blocks(ROOT / "docs" / "spaces.md", "python") if "pyramids = " in code]
    (tmp_path / "my_spaces.py").write_text(codes[0])
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "my_spaces", raising=False)
    assert main(["sample", "space=my_spaces:pyramids", "n=20", "macs=[100e6,400e6]"]) == 0
    assert "20 networks of pyramids" in capsys.readouterr().out
    del sys.modules["my_spaces"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_of_a_page_exist(page: Path) -> None:
    targets = re.findall(r"\]\(([^)#:]+)\)", page.read_text())
    assert [target for target in targets if not (page.parent / target).exists()] == []


def test_tutorial_is_stored_without_output() -> None:
    notebook = nbformat.read(TUTORIAL, as_version=4)
    nbformat.validate(notebook)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(cell.outputs == [] and cell.execution_count is None for cell in cells)


def test_tutorial_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PATH", "PYTHONPATH"):
        monkeypatch.setenv(name, ENVIRONMENT[name])
    notebook = nbformat.read(TUTORIAL, as_version=4)
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    assert "\\u001b" not in nbformat.writes(notebook)  # escape codes of a terminal
