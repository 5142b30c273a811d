"""Studies of fake models, and fake trainers that fail in every way, for tests without training."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import designspace.study
import sweeps.study.freeze
import sweeps.worker.process
from designspace.atomic import replace_file
from designspace.study import Record, Study, StudyModel, StudyPaths, lines_hash, now, record_key
from designspace.times import TimePredictor
from sweeps.data import ImageError
from sweeps.study.claims import Claims
from sweeps.study.freeze import prepare
from sweeps.worker.task import ContextLost, Task, Trainer
from sweeps.worker.worker import Worker


def freeze(values: Mapping[str, Any], root: Path) -> Study:
    """The study of a config, frozen in a folder."""
    return sweeps.study.freeze.freeze(prepare(values, root))


def make_study(root: Path, count: int, spaces: tuple[str, ...] = ("a",), **config: Any) -> Study:
    """Write a study folder of `count` fake models per space, with increasing cost and further keys of its config."""
    models = [
        StudyModel(
            key=record_key(f"{space}{index:04d}", "recipe", "data", 0),
            space=space,
            index=index,
            seed=0,
            spec_id=f"{space}{index:04d}",
            macs=1000 + index,
            params=10,
            acts=10,
            depth=4,
            parameters={"depth": 4},
            spec={},
        )
        for index in range(count)
        for space in spaces
    ]
    paths = StudyPaths(root)
    for folder in (root, paths.records, paths.claims):
        folder.mkdir(parents=True, exist_ok=True)
    lines = [model.to_line() for model in models]
    replace_file(paths.models, "".join(line + "\n" for line in lines))
    manifest = {
        "config": {"n": count, "spaces": {space: {} for space in spaces}} | config,
        "recipe_id": "recipe",
        "data_id": "data",
        "models": len(lines),
        "models_sha256": lines_hash(lines),
    }
    replace_file(paths.manifest, json.dumps(manifest))
    return Study.open(root)


def read_records(root: Path) -> list[Record]:
    """Read the records of a study, ordered by key; fail if one is damaged."""
    records, damaged = Study.open(root).read_records()
    assert not damaged
    return list(records.values())


def work(study: Study, trainer: str, *, processes: int = 1, attempts: int = 2, **options: Any) -> None:
    """Run one worker until the study is done."""
    claims = Claims(study.paths.claims, options.pop("worker", "test"), stale_seconds=options.pop("stale_seconds", 60))
    Worker(study, claims, trainer=trainer, processes=processes, attempts=attempts, **options).run()


def _record(status: Any, **fields: Any) -> Record:
    """A record without identity, which the training process fills in."""
    return Record(spec_id="", recipe_id="", data_id="", seed=0, status=status, **fields)


def _trained(model: StudyModel) -> Record:
    return _record("ok", error_percent=float(model.index), epochs_done=1, host=str(os.getpid()))


def _log(config: Mapping[str, Any], model: StudyModel) -> None:
    if path := os.environ.get("FAKE_STUDY_LOG"):
        with open(path, "a") as stream:
            stream.write(model.spec_id + "\n")


def open_good(config: Mapping[str, Any]) -> Trainer:
    """Every model trains instantly."""

    def train(task: Task) -> Record:
        model = task.model
        _log(config, model)
        task.on_epoch(1)
        return _trained(model)

    return Trainer(train)


def open_started(config: Mapping[str, Any]) -> Trainer:
    """Every model trains at once and records the time."""
    return Trainer(lambda task: replace(_trained(task.model), started_at=now()))


def open_slow(config: Mapping[str, Any]) -> Trainer:
    """Every model takes a fifth of a second."""

    def train(task: Task) -> Record:
        model = task.model
        _log(config, model)
        time.sleep(0.2)
        return _trained(model)

    return Trainer(train)


def open_predicting(config: Mapping[str, Any]) -> Trainer:
    """Trainings with equal predicted times; train_seconds of a record is its time limit."""

    def train(task: Task) -> Record:
        _log(config, task.model)
        return replace(_trained(task.model), train_seconds=task.deadline_seconds)

    def measure_times(models: Sequence[StudyModel]) -> TimePredictor:
        with open(os.environ["FAKE_STUDY_LOG"], "a") as stream:
            stream.write(f"measured-{len(models)}\n")
        return TimePredictor(0, 0, 0, 0.5, 0, 1, updates=100, evaluated=0, relative_error=0, device="made up")

    return Trainer(train, measure_times, {"device": "made up"})


def open_predicting_late(config: Mapping[str, Any]) -> Trainer:
    """Predictions arrive when two models are in training; model 3 hangs."""
    folder = Path(os.environ["FAKE_STUDY_LOG"]).parent

    def wait_for(pattern: str, count: int) -> None:
        while len(list(folder.glob(pattern))) < count:
            time.sleep(0.02)

    def train(task: Task) -> Record:
        (folder / f"begun-{task.model.index}").touch()
        wait_for("study/times/*.json", 1)
        time.sleep(600 if task.model.index == 3 else 0.2)
        return _trained(task.model)

    def measure_times(models: Sequence[StudyModel]) -> TimePredictor:
        wait_for("begun-*", 2)
        return TimePredictor(0, 0, 0, 0.5, 0, 1, updates=1, evaluated=0, relative_error=0, device="made up")

    return Trainer(train, measure_times, {"device": "made up"})


def open_deadly_to_measure(config: Mapping[str, Any]) -> Trainer:
    """Measuring times kills the process; all models train."""

    def measure_times(models: Sequence[StudyModel]) -> TimePredictor:
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError

    return Trainer(open_good(config).train, measure_times, {"device": "made up"})


def open_crowded(config: Mapping[str, Any]) -> Trainer:
    """Models 1 and 2 run out of memory unless they are alone on their GPU, or on the machine."""
    gpu = os.environ.get("CUDA_VISIBLE_DEVICES", "")

    def train(task: Task) -> Record:
        model = task.model
        _log(config, model)
        here = Path(os.environ["FAKE_STUDY_LOG"]).parent / f"training-{gpu}-{model.index}"
        here.touch()
        time.sleep(0.3)
        others = [other for other in here.parent.glob(f"training-{gpu}-*") if other != here]
        here.unlink()
        if model.index in (1, 2) and (others or not here.with_name(f"seen-{model.index}").exists()):
            here.with_name(f"seen-{model.index}").touch()
            return _record("out_of_memory", message="out of memory")
        return replace(_trained(model), device_name=f"GPU {gpu}")

    return Trainer(train)


def open_faulting(config: Mapping[str, Any]) -> Trainer:
    """Models 1 and 2 lose the CUDA context, model 2 only in its first training."""

    def train(task: Task) -> Record:
        model = task.model
        _log(config, model)
        trained = Path(os.environ["FAKE_STUDY_LOG"]).read_text().split().count(model.spec_id)
        if model.index == 1 or (model.index == 2 and trained == 1):
            raise ContextLost("CUDA error: the MPS client has been terminated by the server")
        return _trained(model)

    return Trainer(train)


def open_damaged(config: Mapping[str, Any]) -> Trainer:
    """An image of the data cannot be read."""

    def train(task: Task) -> Record:
        raise ImageError("red/7.png cannot be read as an image: image file is truncated.")

    return Trainer(train)


def open_file_name(config: Mapping[str, Any]) -> Trainer:
    """The name of an unreadable file is not UTF-8."""

    def train(task: Task) -> Record:
        raise FileNotFoundError(os.fsdecode(b"caf\xe9.png"))

    return Trainer(train)


def open_outcome(config: Mapping[str, Any]) -> Trainer:
    """A trainer whose outcome has other values than a record may have."""
    return Trainer(lambda task: replace(_trained(task.model), **json.loads(os.environ["FAKE_STUDY_OUTCOME"])))


def open_other_data(config: Mapping[str, Any]) -> Trainer:
    """The data on this machine differ from those of the study."""
    return Trainer(open_good(config).train, identity={"recipe_id": "recipe", "data_id": "other"})


def open_deadly(config: Mapping[str, Any]) -> Trainer:
    """Model 2 kills its process, model 3 exits it, model 4 raises; the others train."""

    def train(task: Task) -> Record:
        model = task.model
        _log(config, model)
        if model.index == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        if model.index == 3:
            os._exit(7)
        if model.index == 4:
            raise RuntimeError("no such layer")
        return _trained(model)

    return Trainer(train)


def open_never(config: Mapping[str, Any]) -> Trainer:
    """The trainer cannot be opened."""
    raise ValueError("the data are not here")


def open_dead(config: Mapping[str, Any]) -> Trainer:
    """The process dies while opening the trainer."""
    os._exit(3)


def open_full_disk(config: Mapping[str, Any]) -> Trainer:
    """All models train, but no record can be written."""

    def no_space(*_: object) -> bool:
        raise OSError(28, "No space left on device")

    setattr(sweeps.worker.process, "WRITE_ATTEMPTS", 2)  # noqa: B010
    setattr(designspace.study, "create_file", no_space)  # noqa: B010
    return open_good(config)


def open_hanging(config: Mapping[str, Any]) -> Trainer:
    """Model 0 hangs."""

    def train(task: Task) -> Record:
        model = task.model
        if model.index == 0:
            time.sleep(600)
        return _trained(model)

    return Trainer(train)


def fake_curve(model: StudyModel, epochs: int) -> tuple[float, ...]:
    """Errors that decrease with the epochs, are lower by 1 for each lower index, and by 20 in space a."""
    return tuple(20.0 * (model.space != "a") + model.index + 30 / epoch for epoch in range(1, epochs + 1))


def open_curves(config: Mapping[str, Any]) -> Trainer:
    """Errors of `fake_curve`; a checkpoint after each epoch, and models may be stopped early."""
    epochs = config["recipe"]["epochs"]

    def train(task: Task) -> Record:
        model, checkpoint = task.model, task.checkpoint
        done = json.loads(checkpoint.read_text()) if checkpoint.exists() else 0
        while done < epochs and not (done and task.should_stop(fake_curve(model, done))):
            _log(config, model)
            done += 1
            checkpoint.parent.mkdir(exist_ok=True)
            replace_file(checkpoint, json.dumps(done))
            task.on_epoch(done, fake_curve(model, done))
        errors, status = fake_curve(model, done), "ok" if done == epochs else "stopped"
        return _record(
            status, error_percent=errors[-1], epochs_done=done, epoch_validation_error_percent=errors, started_at=now()
        )

    return Trainer(train)


def step(state: int, model: StudyModel, epoch: int) -> int:
    """One epoch of fake training: a skipped, repeated or foreign epoch changes all later states."""
    return (state * 48271 + model.macs + 31 * epoch + 1) % 2147483647


def error_after(model: StudyModel, epochs: int) -> float:
    """Error of an undisturbed fake training."""
    state = 0
    for epoch in range(1, epochs + 1):
        state = step(state, model, epoch)
    return state % 10000 / 100


def open_steps(config: Mapping[str, Any]) -> Trainer:
    """Epochs of FAKE_STUDY_SECONDS with a checkpoint after each; index 1 diverges, index 2 raises."""
    epochs, seconds = config["recipe"]["epochs"], float(os.environ.get("FAKE_STUDY_SECONDS", "0.2"))

    def train(task: Task) -> Record:
        model, checkpoint = task.model, task.checkpoint
        epoch, state = 0, 0
        if checkpoint.exists():
            epoch, state = json.loads(checkpoint.read_text())
        if log := os.environ.get("FAKE_STUDY_LOG"):
            with open(log, "a") as stream:
                stream.write(f"{model.spec_id}:{epoch}\n")
        while epoch < epochs:
            time.sleep(seconds)
            epoch += 1
            state = step(state, model, epoch)
            if model.index == 1:
                return _record("diverged", message="the loss is nan", epochs_done=0)
            if model.index == 2:
                raise RuntimeError("no such layer")
            if epoch < epochs:
                checkpoint.parent.mkdir(exist_ok=True)
                replace_file(checkpoint, json.dumps([epoch, state]))
            task.on_epoch(epoch)
        return _record("ok", error_percent=state % 10000 / 100, epochs_done=epoch, started_at=now())

    return Trainer(train)
