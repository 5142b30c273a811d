import re
import signal
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored behind nohup, by us and by what we start
torch.set_num_threads(1)  # more threads than free cores slow small convolutions down fifty-fold

BLOCKS_PAGE = Path(__file__).parents[1] / "docs" / "blocks.md"


@pytest.fixture
def install(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Put a package of one module on the import path, with the metadata that pip would write; returns its folder."""

    def install(name: str, version: str, source: str, groups: dict[str, dict[str, str]]) -> Path:
        folder = tmp_path_factory.mktemp("site")
        module = name.replace("-", "_")
        (folder / f"{module}.py").write_text(source)
        metadata = folder / f"{module}-{version}.dist-info"
        metadata.mkdir()
        (metadata / "METADATA").write_text(f"Name: {name}\nVersion: {version}\n")
        lines = [
            line
            for group, points in groups.items()
            for line in (f"[{group}]", *(f"{point} = {value}" for point, value in points.items()))
        ]
        (metadata / "entry_points.txt").write_text("\n".join(lines))
        monkeypatch.syspath_prepend(folder)
        return folder

    return install


@pytest.fixture
def shuffle_blocks(install: Callable[..., Path]) -> Path:
    """The package of docs/blocks.md, installed; its folder."""
    files = dict(re.findall(r"^```\w+\n# (\S+)\n(.*?)^```$", BLOCKS_PAGE.read_text(), re.DOTALL | re.MULTILINE))
    project = tomllib.loads(files["pyproject.toml"])["project"]
    return install(project["name"], project["version"], files["shuffle_blocks.py"], project["entry-points"])
