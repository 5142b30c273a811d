"""A small study whose records have times, and helpers that change it as a sweep would."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from designspace.study import Record, Study, trainings


def edit_record(root: Path, position: int, **fields: object) -> None:
    """Replace fields of the record of a model, by its position in the study."""
    study = Study.open(root)
    path = study.paths.record(trainings(study.models)[position].key)
    path.write_text(replace(Record.from_json(path.read_text()), **fields).to_json())


@pytest.fixture
def edit() -> Callable[..., None]:
    """The function that changes a record."""
    return edit_record


@pytest.fixture
def runs(tmp_path: Path, make_study: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> Path:
    """The study runs/demo in the current folder: models 0 to 4 of 6 are trained, and model 1 diverged in epoch 2."""
    root = make_study(tmp_path / "runs" / "demo", n=3, failures={1: "diverged"}, untrained=1)
    for position in range(5):
        began, ended = f"2026-01-01T00:0{position}:00+00:00", f"2026-01-01T00:0{position}:30+00:00"
        edit_record(root, position, started_at=began, ended_at=ended, epoch_seconds=(10.0, 20.0))
    edit_record(root, 1, epoch_train_loss=(1.2,), epoch_seconds=(10.0,))
    monkeypatch.chdir(tmp_path)
    return root
