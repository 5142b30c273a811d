"""Shell completion in an interactive bash, as a user presses Tab."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pexpect
import pytest

from designspace.cli import main
from sweeps.completion import complete_override

ROOT = Path(__file__).parents[1]
Press = Callable[[str], str]


@pytest.fixture(scope="module")
def press_tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Press]:
    """Type a command line, press Tab, and return what the shell shows."""
    folder = tmp_path_factory.mktemp("shell")
    (folder / "runs" / "lr").mkdir(parents=True)
    program = folder / "bin" / "designspace"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m designspace "$@"\n')
    program.chmod(0o755)
    environment = os.environ | {
        "PATH": f"{program.parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "TERM": "dumb",
        "INPUTRC": os.devnull,
    }
    shell = pexpect.spawn(
        "bash",
        ["--norc", "--noprofile"],
        env=environment,
        cwd=folder,
        encoding="utf-8",
        dimensions=(50, 200),
        timeout=60,
    )
    for setting in ("enable-bracketed-paste off", "show-all-if-ambiguous on", "page-completions off"):
        shell.sendline(f"bind 'set {setting}'")
    shell.sendline('eval "$(designspace --shell-completion install=bash)"; echo installed=$?')
    shell.expect("installed=0")

    def press(line: str) -> str:
        shell.send(f"{line}\t")
        shell.send("\x15echo $((6 * 7))th answer\n")  # Ctrl-U deletes the line
        shell.expect_exact("42th answer")
        return shell.before

    yield press
    shell.close(force=True)


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("designspace swe", ["sweep "]),
        ("designspace s", ["sample", "scale", "select", "show", "spaces", "status", "sweep"]),
        ("designspace sweep experiment=sm", ["experiment=smoke"]),
        ("designspace sweep experiment=smoke recipe.lear", ["recipe.learning_rate="]),
        ("designspace sweep templ", ["template."]),
        ("designspace sweep -m experiment=smoke,bott", ["experiment=smoke,bottleneck_demo"]),
        ("designspace sweep hydra/launcher=sl", ["slurm_gpu", "slurm_shared_gpu"]),
        ("designspace sweep spaces=[mobilenet", ["spaces=[mobilenet"]),
        ("designspace train data=fashion", ["data=fashion_mnist"]),
        ("designspace calibrate experiment=demo --ref", ["--reference "]),
        ("designspace show RegNetX-2", ["RegNetX-200MF "]),
        ("designspace sample space=anynetx_", ["anynetx_a", "anynetx_e"]),
        ("designspace status ru", ["runs/"]),
        ("designspace report runs/lr --acr", ["--across "]),
    ],
)
def test_tab_completes(press_tab: Press, line: str, shown: list[str]) -> None:
    text = press_tab(line)
    assert [name for name in shown if name not in text] == []


def test_sweep_installs_the_same_completion(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--shell-completion", "install=bash"]) == 0
    code = capsys.readouterr().out
    assert main(["sweep", "--shell-completion", "install=bash"]) == 0
    assert capsys.readouterr().out == code
    assert main(["-sc", "install=bsh"]) == 2
    assert capsys.readouterr().err == "designspace -sc: install = bsh: unknown; did you mean bash?\n"


def test_a_key_with_subkeys_is_completed_to_them() -> None:
    keys = complete_override("template.", ["experiment=smoke"])
    assert {"template.stem.", "template.strides."} <= set(keys)
    assert complete_override("templa", ["experiment=smoke"]) == keys
