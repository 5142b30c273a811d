"""Modules of the user: with the names of this distribution's packages, and in the current directory."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from command import PATHS, ROOT
from fake_study import read_records

from designspace.study import Study

JOBLIB = ("-m", "hydra/launcher=joblib", "worker=0,1")
SUBMITIT = ("-m", "hydra/launcher=submitit_local", "worker=0,1")


def sweep(folder: Path, path: str, *arguments: str) -> None:
    """Sweep in a folder that Python does not add to the import path by itself."""
    command = [sys.executable, "-P", "-m", "designspace", "sweep", *arguments, "experiment=smoke", "run=study"]
    environment = os.environ | {"PYTHONPATH": path, "FAKE_STUDY_LOG": str(folder / "log")}
    finished = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert finished.returncode == 0, finished.stderr


@pytest.mark.parametrize("launcher", [(), JOBLIB, SUBMITIT], ids=["basic", "joblib", "submitit_local"])
def test_every_process_of_a_sweep_imports_the_right_packages(tmp_path: Path, launcher: tuple[str, ...]) -> None:
    if launcher == SUBMITIT:
        pytest.importorskip("submitit", reason="an optional extra, which is not installed")
    for name in ("sweeps", "conf"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text(f"raise RuntimeError('the wrong {name}')\n")
    (tmp_path / "conf" / "config.yaml").write_text("wrong: true\n")
    (tmp_path / "analysis.py").write_text("raise RuntimeError('the wrong analysis')\n")
    path = os.pathsep.join([str(tmp_path), str(ROOT)])
    sweep(tmp_path, path, *launcher, "n=1", "processes=1", "recipe.epochs=1", "data.subset=320")
    assert [record.status for record in read_records(tmp_path / "study")] == ["ok", "ok"]


@pytest.mark.parametrize("launcher", [(), JOBLIB], ids=["basic", "joblib"])
def test_modules_in_the_current_directory_are_imported(tmp_path: Path, launcher: tuple[str, ...]) -> None:
    (tmp_path / "my_spaces.py").write_text("import designspace as ds\n\npyramids = ds.spaces.space('regnetx')\n")
    (tmp_path / "my_trainer.py").write_text("from fake_study import open_good as train\n")
    sweep(tmp_path, PATHS, *launcher, "n=2", "spaces=[my_spaces:pyramids]", "trainer=my_trainer:train")
    study = Study.open(tmp_path / "study")
    assert len(read_records(study.paths.root)) == 2
    assert {model.space for model in study.models} == {"pyramids"}
