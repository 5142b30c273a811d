"""The examples of docs/spaces.md do what the page says."""

import re
import sys
from pathlib import Path

import pytest

from designspace.cli import main

PAGE = (Path(__file__).parents[2] / "docs" / "spaces.md").read_text()


def block(language: str) -> str:
    found = re.search(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)
    assert found
    return found[1]


def test_a_space_in_yaml(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "kernels.yaml").write_text(block("yaml"))
    assert main(["sample", f"space={tmp_path / 'kernels.yaml'}", "n=20"]) == 0
    assert "20 networks of kernels" in capsys.readouterr().out


def test_a_space_in_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "my_spaces.py").write_text(block("python"))
    monkeypatch.syspath_prepend(tmp_path)
    assert main(["sample", "space=my_spaces:pyramids", "n=20", "macs=[100e6,400e6]"]) == 0
    assert "20 networks of pyramids" in capsys.readouterr().out
    del sys.modules["my_spaces"]
