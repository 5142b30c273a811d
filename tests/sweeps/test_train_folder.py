"""Where `designspace train` and `calibrate` may write."""

from __future__ import annotations

from pathlib import Path

import pytest

from sweeps.calibrate import EVIDENCE, RECOMMENDED, calibrate
from sweeps.train_one import CHECKPOINT, check_train_folder


@pytest.mark.parametrize("name", ["README.md", "spec.yaml", "model.safetensors", CHECKPOINT])
def test_training_spares_a_folder_with_files_of_the_user(tmp_path: Path, name: str) -> None:
    check_train_folder(tmp_path / "absent")
    (tmp_path / name).write_text("precious")
    with pytest.raises(ValueError, match=rf"{name}: must be a new file or one that this tool wrote"):
        check_train_folder(tmp_path)
    check_train_folder(tmp_path, force=True)


def test_training_goes_on_where_it_left_its_checkpoint(tmp_path: Path) -> None:
    (tmp_path / CHECKPOINT).write_bytes(b"designspace checkpoint 4 0123\n")
    check_train_folder(tmp_path)


@pytest.mark.parametrize("name", [EVIDENCE, RECOMMENDED])
def test_calibration_spares_files_of_the_user_before_it_trains(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("precious\n")
    with pytest.raises(ValueError, match=rf"{name}: must be a new file or one that this tool wrote"):
        calibrate(["experiment=smoke"], [0.1], [], 2, tmp_path)
    assert (tmp_path / name).read_text() == "precious\n"
