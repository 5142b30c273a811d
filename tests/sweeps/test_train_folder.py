"""Where `designspace calibrate` may write."""

from __future__ import annotations

from pathlib import Path

import pytest

from sweeps.calibrate import RECOMMENDED, RESULTS, calibrate


@pytest.mark.parametrize("name", [RESULTS, RECOMMENDED])
def test_calibration_checks_for_files_of_the_user_before_training(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("precious\n")
    with pytest.raises(ValueError, match=rf"{name}: must be a new file or one that this tool wrote"):
        calibrate(["experiment=smoke"], [0.1], [], 2, tmp_path)
    assert (tmp_path / name).read_text() == "precious\n"
