"""Our packages are imported whatever modules of the same names a user has."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import designspace

ROOT = Path(designspace.__file__).parents[1]
SPACE = """
from designspace.distributions import Uniform
from designspace.spaces import DesignSpace
from helpers import WIDTHS

pyramids = DesignSpace(
    name="pyramids",
    family="anynet",
    parameters={"depth": Uniform(low=1, high=4, per_stage=True), "width": WIDTHS},
)
"""
HELPERS = """
from designspace.distributions import Uniform

WIDTHS = Uniform(low=8, high=64, step=8, per_stage=True)
"""


@pytest.fixture
def hostile(tmp_path: Path) -> Path:
    """A folder with a user's own analysis.py, sweeps/, conf/ and a space."""
    (tmp_path / "analysis.py").write_text("MINE = True\n")
    for name in ("sweeps", "conf"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("MINE = True\n")
    (tmp_path / "my_spaces.py").write_text(SPACE)
    (tmp_path / "helpers.py").write_text(HELPERS)
    return tmp_path


def python(*arguments: str, cwd: Path, path: list[Path]) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, path))}
    return subprocess.run(
        [sys.executable, *arguments], cwd=cwd, env=environment, capture_output=True, text=True, timeout=120, check=False
    )


@pytest.mark.parametrize("command", ["status", "edf", "report", "compare"])
@pytest.mark.parametrize("first", [True, False])
def test_commands_use_our_packages(command: str, first: bool, hostile: Path) -> None:
    path = [hostile, ROOT] if first else [ROOT]
    result = python("-m", "designspace", command, "--help", cwd=hostile, path=path)
    assert result.returncode == 0, result.stderr
    assert f"designspace {command}" in result.stdout


def test_packages_of_the_api_are_ours_and_importable_by_name(hostile: Path) -> None:
    program = (
        "import designspace as ds\n"
        "from designspace import analysis, sweeps\n"
        "import analysis as by_name, sweeps as sweeps_by_name\n"
        "assert ds.analysis is analysis is by_name and ds.sweeps is sweeps is sweeps_by_name\n"
        "print(analysis.__file__)\n"
        "print(sweeps.__file__)\n"
    )
    result = python("-c", program, cwd=hostile, path=[hostile, ROOT])
    assert result.returncode == 0, result.stderr
    assert result.stdout.split() == [str(ROOT / name / "__init__.py") for name in ("analysis", "sweeps")]


def test_a_module_of_that_name_imported_before_is_an_error_and_stays(hostile: Path) -> None:
    program = "import analysis, designspace\nassert analysis.MINE\ndesignspace.analysis\n"
    result = python("-c", program, cwd=hostile, path=[hostile, ROOT])
    assert result.stderr.splitlines()[-1] == (
        f"ImportError: analysis: this process has already imported {hostile / 'analysis.py'}; cnn-designspace needs "
        "its own package analysis, so import designspace.analysis first or rename that module"
    )


def test_a_space_in_the_current_directory_is_found_and_shadows_nothing(hostile: Path) -> None:
    for name in ("yaml", "numpy", "pydantic", "rich"):
        (hostile / f"{name}.py").write_text("raise RuntimeError('must not be imported')\n")
    program = "import sys; from designspace.cli import main; sys.exit(main())"
    result = python("-P", "-c", program, "sample", "space=my_spaces:pyramids", "n=3", cwd=hostile, path=[ROOT])
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("3 networks of pyramids, seed 0")


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("my_space:pyramids", "space = my_space:pyramids: No module named 'my_space'"),
        ("my_spaces:pyramid", "space = my_spaces:pyramid: module 'my_spaces' has no attribute 'pyramid'"),
        ("my_spaces:a-b", "space = 'my_spaces:a-b': must be MODULE:ATTRIBUTE, like my_spaces:pyramids"),
        ("my_spaces:WIDTHS", "space = 'my_spaces:WIDTHS': must be a DesignSpace, not Uniform"),
    ],
)
def test_import_errors_of_a_space_are_one_line(path: str, message: str, hostile: Path) -> None:
    program = "import sys; from designspace.cli import main; sys.exit(main())"
    result = python("-P", "-c", program, "sample", f"space={path}", cwd=hostile, path=[ROOT])
    assert result.returncode == 2
    assert message in result.stderr
    assert result.stderr.count("\n") == 1


def test_importing_the_package_loads_no_library() -> None:
    program = (
        "import sys, designspace\n"
        "print([name for name in ('numpy', 'pydantic', 'torch', 'pandas', 'yaml', 'analysis') if name in sys.modules])\n"
    )
    assert python("-c", program, cwd=ROOT, path=[ROOT]).stdout.strip() == "[]"


def test_version_is_that_of_the_distribution() -> None:
    from importlib.metadata import version

    assert designspace.__version__ == version("cnn-designspace")
    result = python("-m", "designspace", "--version", cwd=ROOT, path=[ROOT])
    assert result.stdout == f"designspace {designspace.__version__}\n"
