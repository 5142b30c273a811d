"""The command from end to end: Hydra, the driver, workers, records, exit codes."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import shutil
import signal
import time

import pytest
from command import ROOT, run, start
from fake_study import freeze, read_records
from slurm import check_made_up, wait_until

from designspace.cli import main
from designspace.study import Study
from sweeps.compose import compose
from sweeps.launch import sweep
from sweeps.resources import automatic_processes, cores, visible_gpus
from sweeps.study.freeze import study_space

SMOKE = ("experiment=smoke", "run=study")


def test_smoke_trains_resumes_and_grows(tmp_path):
    code, out, err = run(tmp_path, "sweep", *SMOKE, "n=2")
    assert code == 0, err
    assert "4 of 4 models have a record" in out
    assert re.search(r"inverted: 2 models; \d+\.\d+% of [\d,]+ draws accepted; 2 distinct networks", out)
    assert re.search(r"training: 4 done, 0 failed of 4, best error \d", err)
    assert {path.name for path in tmp_path.iterdir()} == {"study"}  # Hydra left nothing elsewhere
    study = Study.open(tmp_path / "study")
    records = read_records(study.paths.root)
    assert {record.status for record in records} == {"ok"}
    assert {(r.space, r.index) for r in records} == {(m.space, m.index) for m in study.models}
    assert all(record.error_percent < 80 for record in records)
    assert all(record.recipe_id == study.manifest["recipe_id"] for record in records)
    before = {path.name: path.read_bytes() for path in (tmp_path / "study" / "records").iterdir()}

    code, out, err = run(tmp_path, "sweep", *SMOKE, "n=3", "processes=1")
    assert code == 0, err
    after = {path.name: path.read_bytes() for path in (tmp_path / "study" / "records").iterdir()}
    assert len(after) == 6
    assert before.items() <= after.items()

    code, out, err = run(tmp_path, "status", "study", "--json")
    assert code == 0
    assert json.loads(out)["groups"]["all"]["done"] == 6


def test_a_killed_sweep_resumes_without_repeating_models(tmp_path):
    command = ("sweep", *SMOKE, "n=8", "trainer=fake_study.open_slow")
    process = start(tmp_path, *command)
    records = tmp_path / "study" / "records"
    deadline = time.monotonic() + 60
    while not records.is_dir() or len(list(records.glob("*.json"))) < 4:
        assert time.monotonic() < deadline
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    before = {path.name: path.read_bytes() for path in records.glob("*.json")}
    assert 4 <= len(before) < 16

    code, out, _ = run(tmp_path, "status", "study")
    assert code == 0
    assert f"{len(before)} of 16 models have a record" in out
    assert re.search(rf"all +16 +{len(before)} +0 +0 +{16 - len(before)} ", out)  # nothing runs any more

    code, out, err = run(tmp_path, *command)
    assert code == 0, err
    models, found = Study.open(tmp_path / "study").models, read_records(tmp_path / "study")
    assert sorted((r.space, r.index) for r in found) == sorted((m.space, m.index) for m in models)
    assert before.items() <= {path.name: path.read_bytes() for path in records.glob("*.json")}.items()
    trained = (tmp_path / "log").read_text().split()
    assert len(trained) <= 16 + 2  # only what was in training was trained twice


def test_a_keyboard_interrupt_ends_with_one_message(tmp_path):
    process = start(tmp_path, "sweep", *SMOKE, "n=8", "trainer=fake_study.open_slow")
    records = tmp_path / "study" / "records"
    deadline = time.monotonic() + 60
    while not records.is_dir() or not list(records.glob("*.json")):
        assert time.monotonic() < deadline
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "interrupted; repeat the command to resume" in err
    assert "Traceback" not in err
    assert list((tmp_path / "study" / "claims").iterdir()) == []


def test_concurrent_sweeps_share_the_models(tmp_path):
    command = ("sweep", *SMOKE, "n=6", "trainer=fake_study.open_slow", "processes=1")
    both = [start(tmp_path, *command) for _ in range(2)]
    for process in both:
        _, err = process.communicate(timeout=120)
        assert process.returncode == 0, err
    models, records = Study.open(tmp_path / "study").models, read_records(tmp_path / "study")
    assert sorted((r.space, r.index) for r in records) == sorted((m.space, m.index) for m in models)
    assert len((tmp_path / "log").read_text().split()) == 12


def test_two_workers_under_joblib(tmp_path):
    code, out, err = run(
        tmp_path, "sweep", "-m", *SMOKE, "n=8", "trainer=fake_study.open_slow", "hydra/launcher=joblib", "worker=0,1"
    )
    assert code == 0, err
    assert "16 of 16 models have a record" in out
    assert len((tmp_path / "log").read_text().split()) == 16
    assert len({record.host for record in read_records(tmp_path / "study")}) > 1
    assert {path.name for path in tmp_path.iterdir()} == {"study", "log"}
    assert (tmp_path / "study" / "hydra" / "worker-1" / "training.log").exists()


def test_too_many_failures_and_retry(tmp_path):
    command = ("sweep", *SMOKE, "n=5", "attempts=1")
    code, out, err = run(tmp_path, *command, "trainer=fake_study.open_deadly", "processes=2")
    assert code == 1
    assert "failed: 6 crashed" in out
    assert (
        "60% of the models failed, more than allowed_failures = 0.1; add 'retry=[crashed]' to train them again" in err
    )
    assert "Traceback" not in err
    code, out, err = run(
        tmp_path, *command, "trainer=fake_study.open_deadly", "allowed_failures=0.6", "retry=[crashed]"
    )
    assert code == 0, err
    assert len(list((tmp_path / "study" / "set_aside").iterdir())) == 6
    assert len(read_records(tmp_path / "study")) == 10


def test_workers_that_cannot_start(tmp_path):
    code, _, err = run(tmp_path, "sweep", *SMOKE, "n=1", "trainer=fake_study.open_never")
    assert code == 1
    assert err.splitlines()[-1] == (
        "designspace sweep: the training processes cannot start: ValueError: the data are not here"
    )
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["n=3"], r"^run: required; add run=…, or choose an experiment"),
        (["experiment=smok"], r"^experiment = smok: unknown; did you mean smoke\?"),
        (["experiment=smoke", "recipe=low"], r"^recipe = low: unknown; "),
        (["experiment=smoke", "data=cifar"], r"^data = cifar: unknown; did you mean cifar10"),
        (["experiment=smoke", "epochs=3"], r"^epochs = 3: unknown; did you mean recipe\.epochs\?$"),
        (["experiment=smoke", "+epochs=3"], r"^epochs.*unknown"),
        (
            ["experiment=smoke", "recipe.lr=0.1"],
            r"^recipe\.lr = 0\.1: unknown; did you mean learning_rate\? Keys of recipe: name, epochs, .*momentum",
        ),
        (["experiment=smoke", "recip.epochs=1"], r"^recip\.epochs = 1: unknown; did you mean recipe\?"),
        (["experiment=smoke", "template.stm=null"], r"^template\.stm.*unknown"),
        (["experiment=smoke", "n=="], r"^n==: must be KEY=VALUE"),
        (["experiment=smoke", "run=my", "study", "é"], r"^study: must be KEY=VALUE; put a value with spaces"),
        (
            ["experiment=smoke", "run=my study é"],
            r"^run=my study é: must be .* two pairs of quotes",
        ),
        (["experiment=smoke", "seed=0,1"], r"^seed=0,1: must be used with -m, which trains one study per value"),
        (["run=x", "spaces=regnetx,regnety"], r"^spaces=regnetx,regnety: must be used with -m.*a list as \["),
        (["experiment=smoke", "worker=0,1"], r"^worker=0,1: must be used with -m"),
        (["-m", "experiment=smoke", "worker=0,a"], r"^worker=0,a: must be different numbers from 0"),
        (["-m", "experiment=smoke", "worker=1,1"], r"^worker=1,1: must be different numbers"),
        (["experiment=smoke", "n=0"], r"^n = 0: must be at least 1$"),
        (["experiment=smoke", "processes=none"], r"^processes = 'none': must be auto or an integer$"),
        (["experiment=smoke", "attempts=0"], r"^attempts = 0: "),
        (["experiment=smoke", "allowed_failures=2"], r"^allowed_failures = 2: "),
        (["experiment=smoke", "allowed_failures=x"], r"^allowed_failures = 'x': must be a "),
        (["experiment=smoke", "retry=[ok]"], r"^retry\.0 = 'ok': must be one of diverged, timeout, "),
        (["experiment=smoke", "retry=null"], r"^retry = None: must be "),
        (["experiment=smoke", "recipe.epochs=0"], r"^recipe\.epochs = 0: "),
        (["experiment=smoke", "data.name=moon"], r"^data\.name = moon: unknown; must be one of digits, "),
        (["run=x", "spaces=[regnetz]"], r"^space = .*regnetz.*: unknown; did you mean .*regnetx"),
        (["experiment=smoke", "spaces.inverted.base=regnetz"], r"^space = .*regnetz"),
        (["run=x", "spaces=[]"], r"^spaces: required and empty; name some"),
        (["run=x", "spaces=3"], r"^spaces = 3: must be a list of names"),
        (["run=x", "+space@spaces.mine=regnetx"], r"space@spaces\.mine=regnetx: must be \+spaces\.mine\.base=regnetx;"),
        (["run=x", "+space=regnetx"], r"^\+space=regnetx: must be spaces=\[regnetx\];"),
        (["experiment=smoke", "training_seeds=3"], r"^training_seeds = 3: must be a "),
        (["experiment=smoke", "training_seeds=[]"], r"^training_seeds = \[\]: must have at least 1 item"),
        (["experiment=smoke", "training_seeds=[0,0]"], r"^training_seeds = \[0, 0\]: must be different numbers$"),
        (["experiment=smoke", "training_seeds=[0,a]"], r"^training_seeds\.1 = 'a': must be a"),
        (["experiment=smoke", "seed=a"], r"^seed = 'a': must be a"),
        (["experiment=smoke", "template=null"], r"^template = None: "),
        (["experiment=smoke", "run=[3]"], r"^run = \[3\]: must be text"),
        (["experiment=smoke", "worker=a"], r"^worker = 'a': must be a"),
        (["run=study", "~recipe"], r"^recipe: required"),
        (["experiment=smoke", "deadline_seconds=-1"], r"^deadline_seconds = -1: "),
        (["experiment=smoke", "deadline_seconds=nan"], r"^deadline_seconds = nan: "),
        (["experiment=smoke", "deadline_factor=0.5"], r"^deadline_factor = 0.5: "),
        (["experiment=smoke", "heartbeat_seconds=0"], r"^heartbeat_seconds = 0: "),
        (
            ["experiment=smoke", "heartbeat_seconds=30"],
            r"^stale_seconds = 60: must be at least 3 times heartbeat_seconds = 30$",
        ),
        (["experiment=smoke", "--config-path=x"], r"^--config-path = x: must be --config-dir"),
        (["experiment=smoke", "hydra/launcher=slurm"], r"^hydra/launcher = slurm: unknown; did you mean slurm_gpu"),
        (["experiment=smoke", "hydra/launcher=slurm_gpu"], r"^hydra/launcher = slurm_gpu: must be used with -m"),
        (
            ["experiment=smoke", "trainer=sweeps.worker.task:open"],
            r"^trainer = sweeps\.worker\.task:open: .*attribute",
        ),
        (["experiment=smoke", "device.dtype=bf16"], r"^device\.dtype = 'bf16': must be one of auto, float32, "),
        (["experiment=smoke", "device.threads=0"], r"^device\.threads = 0: "),
        (["experiment=smoke", "device.threads=0", "plan=only"], r"^device\.threads = 0: "),
    ],
)
def test_user_errors_are_one_line(tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=message) as error:
        sweep(arguments)
    assert "\n" not in str(error.value)
    assert list(tmp_path.iterdir()) == []


def test_another_config_is_an_error(tmp_path):
    freeze(compose(["experiment=smoke", "n=1"]).values, tmp_path / "study")
    code, out, err = run(tmp_path, "sweep", *SMOKE, "n=1", "recipe.epochs=5")
    assert code == 2
    assert out == ""
    assert err.strip() == (
        "designspace sweep: run = study: was frozen with another config; use another run, or undo these changes: "
        "recipe.epochs: 2 -> 5"
    )


def test_status_needs_a_study(tmp_path):
    code, _, err = run(tmp_path, "status", "nowhere")
    assert code == 2
    assert err.startswith("designspace status: nowhere: not a study folder")


@pytest.mark.parametrize("command", ["sweep", "calibrate", "train"])
def test_help_cfg_and_info_show_the_configuration(tmp_path, monkeypatch, capfd, command):
    monkeypatch.chdir(tmp_path)
    with contextlib.suppress(SystemExit):  # raised by argparse
        assert main([command, "--help"]) == 0
    out = capfd.readouterr().out
    assert f"designspace {command} " in out
    assert "data: cifar10, cifar100, digits" in out
    assert main([command, "recipe=full", "--cfg", "job", "--package", "recipe"]) == 0
    assert "# @package recipe\nname: full\nepochs: 100" in capfd.readouterr().out
    (tmp_path / "mine" / "recipe").mkdir(parents=True)
    (tmp_path / "mine" / "recipe" / "own.yaml").write_text("defaults: [low_epoch]\nname: own\n")
    assert main([command, "recipe=own", "--info", "defaults", "--config-dir", "mine"]) == 0
    assert "| recipe/own " in capfd.readouterr().out
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


@pytest.mark.parametrize("path", sorted((ROOT / "conf" / "experiment").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_experiment_can_be_drawn(path):
    text = path.read_text()
    assert f"designspace sweep experiment={path.stem}" in text.splitlines()[1]
    values = compose([f"experiment={path.stem}"]).values
    data = values["data"]
    image = {name: data[name] for name in ("resolution", "in_channels", "classes")}
    for label in values["spaces"]:
        assert len(study_space(values, label, image).sample(values["n"], values["seed"])) == values["n"]


def test_a_space_keeps_its_limits_in_a_study_without_limits(tmp_path, monkeypatch):
    code = "import designspace\nsmall = designspace.space('regnetx').with_constraints(macs=(1e6, 2e6))\n"
    (tmp_path / "limited_space.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    values = compose(["experiment=smoke", "complexity.macs=null"]).values
    values["spaces"] = {"small": {"base": "limited_space:small"}, "any": {"base": "regnetx"}}
    image = {"resolution": 8, "in_channels": 1, "classes": 10}
    assert study_space(values, "small", image).constraints.macs == (1e6, 2e6)
    assert study_space(values, "any", image).constraints.macs is None
    values["complexity"]["macs"] = [3e6, 4e6]
    assert study_space(values, "small", image).constraints.macs == (3e6, 4e6)


@pytest.mark.parametrize("path", sorted((ROOT / "conf" / "hydra").rglob("*.yaml")), ids=lambda path: path.stem)
def test_the_command_of_every_launcher_composes(path):
    first = shlex.split(path.read_text().splitlines()[0].lstrip("# "))
    assert first[:3] == ["designspace", "sweep", "-m"]
    assert f"hydra/launcher={path.stem}" in first
    if path.stem.startswith("ray"):
        pytest.importorskip("hydra_plugins.hydra_ray_launcher", reason="an optional extra, which is not installed")
    composed = compose(first[3:], multirun=True)
    assert len(composed.workers) in (8, 16)
    assert composed.here == (8 if path.stem == "local_gpus" else 0)


@pytest.fixture
def machine(monkeypatch):
    """A machine of 24 cores without GPU."""
    for name in ("LOCAL_WORLD_SIZE", "SLURM_CPUS_PER_TASK", "SLURM_STEP_TASKS_PER_NODE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(24), raising=False)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")


@pytest.mark.parametrize(
    ("overrides", "shares"),
    [
        (["hydra/launcher=joblib"], ["processes=6", "data.workers=1"]),
        (["hydra/launcher=joblib", "device.threads=2"], ["processes=3", "data.workers=2"]),
        (["hydra/launcher=joblib", "hydra.launcher.n_jobs=2", "processes=1"], ["processes=1", "data.workers=12"]),
        (["hydra/launcher=submitit_local", "processes=2"], ["processes=2", "data.workers=3"]),
        (["hydra/launcher=submitit_local", "data.workers=5"], ["processes=6"]),
        (["hydra/launcher=joblib", "data=digits"], ["processes=6"]),  # nothing to decode
        (["hydra/launcher=slurm_gpu"], []),
        (["hydra/launcher=basic"], []),  # sequentially
    ],
)
def test_workers_on_one_machine_share_its_cores(machine, overrides, shares):
    command = ["run=study", "data=image_folder", "worker=range(0,4)", *overrides]
    assert compose(command, multirun=True).shares() == shares


@pytest.mark.parametrize(
    ("overrides", "processes"),
    [
        ([], 1),
        (["processes_per_device=4"], 4),
        (["hydra.launcher.gpus_per_node=2"], 2),
        (["hydra.launcher.gpus_per_node=null"], 4),
        (["hydra.launcher.gpus_per_node=null", "device.threads=2"], 2),
        (["hydra.launcher.gpus_per_node=null", "hydra.launcher.cpus_per_task=null"], 1),
        (["hydra.launcher.gpus_per_node=null", "hydra.launcher.gres=gpu:a100:3"], 3),
        (["hydra.launcher.name='job-${hydra.job.num}'"], 1),  # not known before the job
        (["device=cpu"], 4),
        (["hydra/launcher=slurm_shared_gpu", "hydra.launcher.gres=shard:2"], 1),
    ],
)
def test_processes_of_a_job_follow_its_resources(overrides, processes):
    command = ["run=study", "hydra/launcher=slurm_gpu", "worker=0,1", *overrides]
    assert compose(command, multirun=True).processes() == processes


def test_processes_follow_the_devices(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1,MIG-7")
    assert visible_gpus() == ["0", "1", "MIG-7"]
    assert (automatic_processes("auto", 1), automatic_processes("auto", 1, per_device=4)) == (3, 12)
    assert automatic_processes("cpu", 1) == cores()
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,-1,3")
    assert visible_gpus() == ["2"]
    for none in ("", "-1", "NoDevFiles"):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", none)
        assert automatic_processes("auto", 1) == cores()
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "1")
    assert automatic_processes("auto", 1) == 1


GPU = "GPU {}: NVIDIA A100-SXM4-40GB (UUID: GPU-{})"
SLICE = "  MIG 3g.20gb     Device  {}: (UUID: MIG-{})"


@pytest.mark.parametrize(
    ("listing", "gpus"),
    [
        ([GPU.format(0, "a"), GPU.format(1, "b")], ["0", "1"]),  # also in WSL, where there are no device files
        ([GPU.format(0, "a"), SLICE.format(0, "c"), SLICE.format(1, "d")], ["MIG-c", "MIG-d"]),
        ([GPU.format(0, "a"), SLICE.format(0, "c"), GPU.format(1, "b")], ["MIG-c", "GPU-b"]),
    ],
)
def test_gpus_and_their_slices_are_listed(listing, gpus, tmp_path, monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    program = tmp_path / "nvidia-smi"
    program.write_text("\n".join(["#!/bin/sh", "cat <<END", *listing, "END", ""]))
    program.chmod(0o755)
    assert visible_gpus() == gpus
    assert visible_gpus("cpu") == []


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, 24),
        ({"SLURM_CPUS_ON_NODE": "24", "SLURM_STEP_TASKS_PER_NODE": "4(x12),3"}, 6),
        ({"SLURM_CPUS_ON_NODE": "2", "SLURM_STEP_TASKS_PER_NODE": "4"}, 1),
        ({"SLURM_CPUS_ON_NODE": "64", "SLURM_STEP_TASKS_PER_NODE": "1"}, 24),  # it is bound to fewer
        ({"SLURM_CPUS_PER_TASK": "8", "SLURM_CPUS_ON_NODE": "24", "SLURM_STEP_TASKS_PER_NODE": "4"}, 8),
        ({"SLURM_CPUS_ON_NODE": "12"}, 24),  # no step
    ],
)
def test_a_slurm_task_uses_its_share_of_the_cores(monkeypatch, environment, expected):
    for name in ("SLURM_CPUS_PER_TASK", "SLURM_CPUS_ON_NODE", "SLURM_STEP_TASKS_PER_NODE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(24), raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert cores() == expected


def test_the_plan_predicts_the_cost_and_writes_nothing(tmp_path):
    code, out, err = run(tmp_path, "sweep", *SMOKE, "n=2", "plan=only")
    assert code == 0, err
    assert "bottleneck_1: 2 trainings" in out
    assert re.search(r"all 4 trainings: \d+ s of one training process", out)
    assert list(tmp_path.iterdir()) == []


def test_the_plan_counts_duplicate_draws_once(tmp_path):
    code, out, err = run(tmp_path, "sweep", *SMOKE, "n=8", "duplicates=keep", "plan=only")
    assert code == 0, err
    assert re.search(r"inverted: 5 trainings, .*; 5 distinct networks, 3 duplicate draws \(37\.5%\) kept", out)
    assert "all 13 trainings: " in out


def test_a_network_drawn_twice_is_trained_once(tmp_path):
    command = ("sweep", *SMOKE, "n=8", "duplicates=keep", "trainer=fake_study.open_slow", "processes=2")
    code, out, err = run(tmp_path, *command)
    assert code == 0, err
    assert "13 of 13 trainings have a record" in out
    assert len((tmp_path / "log").read_text().split()) == 13
    assert re.search(r"all +16 +13 +13 +0 +0 +0 ", out)
    assert json.loads(run(tmp_path, "status", "study", "--json")[1])["groups"]["inverted"]["trainings"] == 5


def test_sigterm_stops_a_worker_at_a_checkpoint(tmp_path, monkeypatch):
    monkeypatch.setenv("FAKE_STUDY_SECONDS", "0.3")
    command = ("sweep", *SMOKE, "n=1", "recipe.epochs=10", "trainer=fake_study.open_steps", "processes=1")
    process = start(tmp_path, *command)
    checkpoints = tmp_path / "study" / "checkpoints"
    deadline = time.monotonic() + 60
    while not checkpoints.is_dir() or not list(checkpoints.glob("[!.]*")):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 143
    assert "interrupted; repeat the command to resume" in err
    assert not list((tmp_path / "study" / "claims").iterdir())
    assert len(list(checkpoints.iterdir())) == 1
    code, _, err = run(tmp_path, *command)
    assert code == 0, err
    first, again, _ = (tmp_path / "log").read_text().split()
    assert first.split(":")[0] == again.split(":")[0]  # the same model
    assert int(again.split(":")[1]) > 0  # from where it was
    check_made_up(Study.open(tmp_path / "study"))


@pytest.mark.parametrize(
    ("overrides", "spaces"),
    [
        (["run=x", "spaces=[regnetx,regnety]"], {"regnetx": {"base": "regnetx"}, "regnety": {"base": "regnety"}}),
        (["run=x", "spaces={mine:regnetx}"], {"mine": {"base": "regnetx"}}),
        (["run=x", "+spaces.mine.base=regnetx"], {"mine": {"base": "regnetx"}}),
        (["run=x", "spaces.mine.base=regnetx"], {"mine": {"base": "regnetx"}}),
        (["experiment=smoke", "spaces=[regnetx]"], {"regnetx": {"base": "regnetx"}}),
        (["run=x", "spaces=[my_spaces:pyramids]"], {"pyramids": {"base": "my_spaces:pyramids"}}),
    ],
)
def test_spaces_are_named_on_the_command_line(overrides, spaces):
    assert compose(overrides).values["spaces"] == spaces


@pytest.mark.parametrize(
    ("run", "folder"), [("2026", "2026"), ("2026_11", "2026_11"), ("007", "007"), ("a b", "a b"), ("'a, b'", "a, b")]
)
def test_a_folder_is_named_as_on_the_command_line(run, folder):
    assert compose(["experiment=smoke", f"run={run}"]).config.run == folder


def test_experiments_can_be_in_a_folder_of_the_user(tmp_path):
    folder = tmp_path / "experiment"
    folder.mkdir()
    header = "# @package _global_\n"
    (folder / "mine.yaml").write_text(header + "run: study\nn: 2\nspaces: {mine: regnetx}\n")
    (folder / "old.yaml").write_text(header + "defaults: [{/space@spaces.mine: regnetx}]\nrun: study\n")
    composed = compose(["experiment=mine"], folder=str(tmp_path))
    assert (composed.config.spaces, composed.config.n) == ({"mine": {"base": "regnetx"}}, 2)
    with pytest.raises(ValueError, match=r"/space@spaces\.LABEL: must be"):
        compose(["experiment=old"], folder=str(tmp_path))


@pytest.mark.parametrize("launcher", [(), ("-m", "hydra/launcher=joblib", "worker=0,1")], ids=["one", "joblib"])
@pytest.mark.parametrize("how", ["moved", "deleted"])
def test_a_study_that_is_moved_or_deleted_ends_with_one_message(tmp_path, launcher, how):
    command = ("sweep", *launcher, *SMOKE, "n=30", "trainer=fake_study.open_slow", "heartbeat_seconds=0.5")
    process = start(tmp_path, *command, "processes=1", "complexity.macs=null")
    study = tmp_path / "study"
    wait_until(lambda: list(study.glob("records/*.json")), 90, "a model has a record")
    study.rename(tmp_path / "moved")
    if how == "deleted":
        shutil.rmtree(tmp_path / "moved")
    out, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert not study.exists()
    assert [line for line in err.splitlines() if not line.startswith("training: ")][-1:] == [
        "designspace sweep: run = study: the study folder was moved or deleted; if it was moved, repeat the command "
        "with the new folder"
    ]
    assert err.count("moved or deleted") == 1
    assert "Traceback" not in err
    if how == "moved":
        code, out, err = run(tmp_path, *command, "complexity.macs=null", "run=moved")
        assert code == 0, err
        assert "60 of 60 models have a record" in out


def test_workers_continue_when_their_logs_are_deleted(tmp_path):
    process = start(tmp_path, "sweep", *SMOKE, "n=6", "trainer=fake_study.open_deadly", "attempts=1", "processes=1")
    study = tmp_path / "study"
    wait_until(lambda: (study / "hydra").exists(), 90, "the worker has started")
    shutil.rmtree(study / "hydra")
    out, err = process.communicate(timeout=90)
    assert process.returncode == 1, err  # more than allowed_failures failed
    assert "12 of 12 models have a record" in out


def test_a_models_file_of_the_user_is_not_overwritten(tmp_path):
    (tmp_path / "models.jsonl").write_text('{"my": "models"}\n')
    code, _, err = run(tmp_path, "sweep", *SMOKE, "n=1", "run=.")
    assert code == 2
    assert err.startswith("designspace sweep: models.jsonl: exists and was not written by this tool")
    assert (tmp_path / "models.jsonl").read_text() == '{"my": "models"}\n'
