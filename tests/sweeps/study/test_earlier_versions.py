"""Study folders written by earlier versions of the project: opened, reported, resumed and grown as they are.

`tests/data/studies/VERSION` was written by `designspace sweep experiment=smoke device=cpu n=3 recipe.epochs=1
data.subset=300` of that git revision or month, without `hydra/`. Add one when the format changes.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from fake_study import freeze

from analysis import load
from designspace.progress import StudyReader
from designspace.study import Study
from designspace.times import load_any_constants
from sweeps.compose import compose

STUDIES = sorted((Path(__file__).parents[2] / "data" / "studies").iterdir())
SETTINGS = ("experiment=smoke", "device=cpu", "recipe.epochs=1", "data.subset=300")


@pytest.fixture(params=STUDIES, ids=lambda path: path.name)
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return shutil.copytree(request.param, tmp_path / "study")


def test_a_study_of_an_earlier_version_is_read_unchanged(folder: Path) -> None:
    study = Study.open(folder)
    records, damaged = study.read_records()
    assert damaged == {}
    assert len(records) == len(study.models) == 6
    assert StudyReader(study).read().total.done == 6
    assert load_any_constants(study.paths.times) is not None
    frame = load(folder).frame
    assert frame["status"].tolist() == ["ok"] * 6
    assert frame["error_percent"].between(50, 95).all()  # one epoch of 300 images
    assert frame["error_percent"].tolist() == [records[model.key].error_percent for model in study.models]


def test_a_study_without_early_stopping_cannot_get_it_later(folder: Path) -> None:
    with pytest.raises(ValueError, match=r"undo these changes: .*stopping\.rule: absent -> asha"):
        freeze(compose([*SETTINGS, "n=3", "recipe.epochs=2", "stopping=asha"]).values, folder)


def test_the_same_command_finds_nothing_to_do_and_n_grows(folder: Path) -> None:
    before = Study.open(folder)
    assert freeze(compose([*SETTINGS, "n=3"]).values, folder).models_to_train() == []
    grown = freeze(compose([*SETTINGS, "n=4"]).values, folder)
    assert grown.models[:6] == before.models
    assert {(model.space, model.index) for model in grown.models_to_train()} == {("bottleneck_1", 3), ("inverted", 3)}
