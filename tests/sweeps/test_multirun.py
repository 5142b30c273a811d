"""Sweeps over settings: one study per combination, all started by one command."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from command import run
from fake_study import freeze, make_study, read_records

from designspace.study import Study, find_studies
from sweeps.compose import compose, compose_studies
from sweeps.launch import Sweep, sweep, worker_jobs

SMOKE = ("experiment=smoke", "n=2", "processes=1")


def runs(*overrides: str, folder: str | None = None) -> list[str]:
    return [study.config.run for study in compose_studies(overrides, multirun=True, folder=folder)]


@pytest.fixture
def mine(tmp_path: Path) -> str:
    """A folder with an experiment of the user that has no study folder, and one that sweeps."""
    (tmp_path / "experiment").mkdir()
    header = "# @package _global_\nspaces: {mine: regnetx}\n"
    (tmp_path / "experiment" / "mine.yaml").write_text(header)
    params = "hydra: {sweeper: {params: {recipe.epochs: '1,2', seed: '3,4'}}}\n"
    (tmp_path / "experiment" / "swept.yaml").write_text(header + params)
    return str(tmp_path)


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (
            ["experiment=smoke", "recipe.learning_rate=0.1,0.2"],
            ["runs/smoke-multirun/learning_rate-0.1", "runs/smoke-multirun/learning_rate-0.2"],
        ),
        (
            ["experiment=smoke", "run=runs/lr_${recipe.learning_rate}", "recipe.learning_rate=0.1,0.2"],
            ["runs/lr_0.1", "runs/lr_0.2"],
        ),
        (["experiment=smoke,demo"], ["runs/smoke", "runs/demo"]),
        (["experiment=glob(study_scaling*)"], ["runs/study_scaling", "runs/study_scaling_grid"]),
        (["spaces=[regnetx],[regnety]"], ["runs/multirun/spaces-regnetx", "runs/multirun/spaces-regnety"]),
        (["experiment=smoke", "run=a,2026"], ["a", "2026"]),
        (["experiment=smoke", "seed=0,1,2", "seed=3,4"], ["runs/smoke-multirun/seed-3", "runs/smoke-multirun/seed-4"]),
        (["experiment=smoke", "seed=0,1,2", "seed=3"], ["runs/smoke"]),
        (
            ["experiment=smoke", "complexity=any,macs_400m", "seed=range(0,2)"],
            [f"runs/smoke-multirun/complexity-{name}-seed-{seed}" for name in ("any", "macs_400m") for seed in (0, 1)],
        ),
        (
            ["experiment=smoke", "data.subset=400,800", "recipe.name=a,b", "data.name=digits,cifar10"],
            [
                f"runs/smoke-multirun/data.subset-{subset}-recipe.name-{recipe}-data.name-{data}"
                for subset in (400, 800)
                for recipe in ("a", "b")
                for data in ("digits", "cifar10")
            ],
        ),
    ],
)
def test_every_combination_has_a_folder(overrides: list[str], expected: list[str]) -> None:
    assert runs(*overrides) == expected
    assert runs(*overrides) == expected  # the same for the same command


def test_experiments_of_the_user_can_be_swept(mine: str) -> None:
    assert runs("experiment=smoke,mine", folder=mine) == ["runs/smoke", "runs/multirun/experiment-mine"]
    assert len(runs("experiment=glob(*,exclude=study_*)", folder=mine)) == 5


def test_sweeps_of_the_config_are_combined_with_those_of_the_command_line(mine: str) -> None:
    names = [Path(name).name for name in runs("experiment=swept", "seed=5", folder=mine)]
    assert names == ["epochs-1", "epochs-2"]
    assert runs("experiment=swept", "seed=5", "recipe.epochs=3", "run=x", folder=mine) == ["x"]


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ["recipe.learning_rate=0.1,0.2", "run=x"],
            r"^run = x: must differ between recipe\.learning_rate=0\.1 and recipe\.learning_rate=0\.2; omit run, .*"
            r"changes: recipe\.learning_rate: 0\.1 -> 0\.2$",
        ),
        (["seed=3,3"], "^run = runs/smoke-multirun/seed-3: must differ between seed=3 and seed=3"),
        (["recipe.learning_rate=interval(0,1)"], "must list its values"),
        (["recipe=glob(none*)"], r"^recipe=glob\(none\*\): matches no config; recipe has effnet, full, "),
        (["hydra/launcher=joblib,basic"], "^hydra/launcher=joblib,basic: must be a single value"),
        (["recipe.epochs=2,0"], "^recipe.epochs = 0: must be at least 1$"),
        (
            ["recipe.lr=0.1,0.2"],
            r"^recipe\.lr = 0\.1: unknown; did you mean learning_rate\? Keys of recipe: name, epochs",
        ),
        (["trainer=fake_study.open_good,fake_study.open"], "^trainer = fake_study:open: "),
    ],
)
def test_wrong_sweeps_write_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, overrides: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=message) as error:
        sweep(["-m", "experiment=smoke", "n=1", *overrides])
    assert "\n" not in str(error.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("changed", [["recipe.epochs=3,2,1"], ["n=3,1"]])
def test_a_folder_with_another_config_refuses_the_entire_sweep(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changed: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    key = changed[0].partition("=")[0]
    freeze(compose(["experiment=smoke", "n=2"]).values, Path(f"study_{1 if key == 'n' else 3}"))
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(ValueError, match=r"recipe\.epochs: 2 -> 3|n = 1: must be at least 2"):
        sweep(["-m", "experiment=smoke", "n=2", *changed, f"run=study_${{{key}}}"])
    assert sorted(tmp_path.rglob("*")) == before


def test_a_space_without_networks_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=r"^n = 8: must be at most the 0 networks"):
        sweep(["experiment=smoke", "complexity.macs=[1,2]", "run=study"])
    assert list(tmp_path.iterdir()) == []


def test_workers_that_share_a_machine_have_different_numbers(tmp_path: Path) -> None:
    def numbers(*overrides: str) -> list[str]:
        studies = compose_studies(["experiment=smoke", "seed=0,1", "worker=0,2", *overrides], multirun=True)
        jobs = worker_jobs([Sweep(make_study(tmp_path / str(at), 1), one) for at, one in enumerate(studies)])
        assert [job.study.paths.root.name for job in jobs] == ["0", "0", "1", "1"]
        return [job.overrides[-1] for job in jobs]

    assert numbers("hydra/launcher=joblib") == ["worker=0", "worker=2", "worker=3", "worker=5"]  # other GPUs
    assert numbers("hydra/launcher=slurm_gpu") == ["worker=0", "worker=2"] * 2


@pytest.mark.parametrize("launcher", ["basic", "joblib"])
def test_a_failed_study_does_not_stop_the_others(tmp_path: Path, launcher: str) -> None:
    code, out, err = run(
        tmp_path, "sweep", "-m", *SMOKE, "trainer=fake_study.open_never,fake_study.open_started",
        "run=runs/${trainer}", "worker=range(0,2)", f"hydra/launcher={launcher}",
    )  # fmt: skip
    assert code == 1
    assert "Traceback" not in err
    failed, done = "runs/fake_study.open_never", "runs/fake_study.open_started"
    assert [line for line in err.splitlines() if line.startswith("designspace sweep: ")] == [
        f"designspace sweep: {failed}: some models have no record; repeat the command to train them"
    ]
    assert f"{failed}: a worker ended early: the training processes cannot start: ValueError: the data are not" in err
    assert "2 studies: 4 of 8 trainings have a record" in out
    assert re.search(rf"{failed} +4 +0 +0 +0 +4 ", out)
    assert re.search(rf"{done} +4 +4 +0 +0 +0 ", out)
    assert {path.name for path in tmp_path.iterdir()} <= {"runs", "log"}


def test_recipes_are_swept_shown_compared_and_resumed(tmp_path: Path) -> None:
    command = ("sweep", "-m", *SMOKE, "n=4", "recipe.epochs=1,2", "data.subset=200", "device=cpu")
    code, out, err = run(tmp_path, *command)
    assert code == 0, err
    parent = "runs/smoke-multirun"
    assert find_studies(tmp_path / "runs") == [tmp_path / parent / f"epochs-{epochs}" for epochs in (1, 2)]
    for study in map(Study.open, find_studies(tmp_path)):
        epochs = int(study.paths.root.name.removeprefix("epochs-"))
        assert {record.epochs_done for record in read_records(study.paths.root)} == {epochs}

    code, out, err = run(tmp_path, "status", parent)
    assert code == 0, err
    assert re.search(rf"{parent}/epochs-1 +8 +8 +0 +0 +0 +\d", out)
    assert run(tmp_path, "status", f"{parent}/epochs-1", f"{parent}/epochs-2")[1] == out
    shown = json.loads(run(tmp_path, "status", parent, "--json")[1])
    assert {name: content["groups"]["all"]["done"] for name, content in shown.items()} == {
        f"{parent}/epochs-1": 8,
        f"{parent}/epochs-2": 8,
    }
    code, out, err = run(tmp_path, "report", parent)
    assert code == 2
    assert "recipe" in err
    code, out, err = run(tmp_path, "report", parent, "--across", "recipe")
    assert code == 0, err
    assert "epochs-2/inverted" in out
    assert f"report: {parent}/report.html" in out
    code, out, err = run(tmp_path, "recipes", parent, "--reference", "epochs-2")
    assert code == 0, err

    code, out, err = run(tmp_path, *command)
    assert code == 0, err
    assert "2 studies: 16 of 16 trainings have a record" in out


def test_a_plan_of_several_studies_writes_nothing(tmp_path: Path) -> None:
    code, out, err = run(tmp_path, "sweep", "-m", *SMOKE, "recipe.epochs=1,2", "plan=only")
    assert code == 0, err
    assert len(re.findall(r"all 4 trainings: ", out)) == 2
    assert "runs/smoke-multirun/epochs-2:" in out
    assert list(tmp_path.iterdir()) == []
