"""The examples in README.md and docs/spaces.md run."""

import re
import sys
from pathlib import Path

import pytest

from designspace import load_spec
from designspace.cli import main

ROOT = Path(__file__).parents[2]


def block(language: str, page: str = "docs/spaces.md", number: int = 0) -> str:
    return re.findall(rf"```{language}\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)[number]


def test_documented_space_in_yaml(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "kernels.yaml").write_text(block("yaml"))
    assert main(["sample", f"space={tmp_path / 'kernels.yaml'}", "n=20"]) == 0
    assert "20 networks of kernels" in capsys.readouterr().out


def test_documented_python_api(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPLBACKEND", "agg")
    exec(block("python"), {})
    macs, memory = map(int, capsys.readouterr().out.split())
    assert 3e6 <= macs <= 6e6 < memory
    assert load_spec("spec.yaml").resolution == 28


def test_documented_space_in_python(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "my_spaces.py").write_text(block("python", number=1))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path])
    assert main(["sample", "space=my_spaces:pyramids", "n=20", "macs=[100e6,400e6]"]) == 0
    assert "20 networks of pyramids" in capsys.readouterr().out
    del sys.modules["my_spaces"]


def test_python_of_the_readme() -> None:
    names: dict[str, object] = {}
    exec(block("python", "README.md"), names)
    assert len(names["population"]) == 500  # type: ignore[arg-type]


def test_commands_of_the_readme_exist(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    known = re.findall(r"^  (\w+) ", capsys.readouterr().out, re.MULTILINE)
    used = re.findall(r"designspace (\w+) [^\n]*", block("sh", "README.md"))
    assert used
    assert set(used) <= set(known)


def test_links_in_the_docs_exist() -> None:
    for page in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")]:
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"
