"""The Hydra application: the driver freezes the study, then every Hydra job is a worker that pulls models.

Hydra's launchers (basic, joblib, submitit, ray) start the workers as they are; a worker takes from its job only which
study to work on and how (processes, attempts), and everything else from the frozen manifest. The driver only monitors;
once the workers are started it may be killed.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

import hydra
from hydra._internal.utils import get_args_parser
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from designspace.study import Study
from sweeps.compose import Composed, compose, sentences
from sweeps.config import DataConfig
from sweeps.data import prepare_data
from sweeps.resources import automatic_processes
from sweeps.study.claims import Claims, worker_name
from sweeps.study.freeze import FREE_OF_DATA, freeze
from sweeps.study.predict import TimeLimit
from sweeps.study.progress import watching
from sweeps.study.status import Status, StudyReader
from sweeps.study.summary import sampling_lines
from sweeps.training import find_trainer
from sweeps.worker.worker import Worker, moved_or_deleted

log = logging.getLogger(__name__)

CONFIG = "pkg://conf"

ENDING_SECONDS = 30.0
"""How long the jobs of a complete study may take to end before the driver goes without them."""


def work(config: DictConfig) -> None:
    """Be a worker: train models of the study at `config.run` until none is left."""
    study = Study.open(config.run)
    processes = config.processes
    if processes == "auto":
        processes = automatic_processes(study.config["device"], config.processes_per_device)
    data = {**study.config["data"], **{key: config.data[key] for key in FREE_OF_DATA if key in config.data}}
    Worker(
        study,
        Claims(study.paths.claims, worker_name(config.worker), config.stale_seconds),
        trainer=study.config["trainer"],
        processes=processes,
        attempts=config.attempts,
        first_slot=int(config.worker) * processes,
        heartbeat_seconds=config.heartbeat_seconds,
        limit=TimeLimit(study.config["deadline_seconds"], config.deadline_factor),
        stop_seconds=config.stop_seconds,
        settings={"checkpoint_seconds": config.checkpoint_seconds, "data": data},
        log_file=Path(HydraConfig.get().runtime.output_dir) / "training.log",
    ).run()


_hydra_main = hydra.main(version_base="1.3", config_path=CONFIG, config_name="config")(work)


def sweep(argv: Sequence[str]) -> tuple[Study, Status, dict[str, Any]] | None:
    """Freeze the study that Hydra's arguments describe and train what is missing.

    Args:
        argv: Hydra's command line, without the program name.
    Returns:
        The study, its status afterwards and the resolved config; None if Hydra was only asked to show something.
    Raises:
        ValueError: the arguments, the config or the study do not fit; one sentence.
        WorkerError: a worker cannot go on.
    """
    arguments = get_args_parser().parse_args(list(argv))
    if place := arguments.config_path:
        raise ValueError(f"--config-path={place} is not allowed; allowed: --config-dir, for configs of your own")
    if arguments.help or arguments.hydra_help or arguments.cfg or arguments.info or arguments.shell_completion:
        _run_hydra(argv)
        return None
    composed = compose(
        arguments.overrides,
        multirun=arguments.multirun,
        name=arguments.config_name or "config",
        folder=arguments.config_dir,
    )
    config = composed.config
    find_trainer(config["trainer"])
    if config["plan"] == "only":
        from sweeps.plan import plan_lines

        print("\n".join(plan_lines(composed)), flush=True)
        return None
    study = freeze(config, config["run"])
    study.set_aside_damaged()
    study.remove_old_checkpoints()
    study.set_aside_failed(config["retry"])
    print("\n".join(sampling_lines(study)), flush=True)
    if study.models_to_train():
        prepare_data(DataConfig.from_mapping(config["data"]))
        with watching(study):
            _start_workers(argv, composed, study)
        if study.is_gone():
            raise moved_or_deleted(study)
    return study, StudyReader(study).read(), config


def _start_workers(argv: Sequence[str], composed: Composed, study: Study) -> None:
    """Let Hydra start the workers; one that ends badly is no reason to give up while others work."""
    if composed.workers == 1 and composed.here:
        _run_hydra(argv)
        return
    try:
        with _not_longer_than(study):
            _run_hydra([*argv, *composed.shares()])
    except Exception as error:
        if study.is_gone():
            raise moved_or_deleted(study) from error
        # Launchers report the first job that ended badly, and do not know what the others do.
        log.warning("a worker ended before the study was done: %s", failure_text(error))
        _wait_for_others(study)


def failure_text(error: BaseException) -> str:
    """Describe in one line how a job ended: submitit's errors have its log, or a traceback, between rows of dashes."""
    text = str(error)
    lines = [line.strip() for line in text.splitlines() if line.strip(" -")] or [type(error).__name__]
    if match := re.match(r"Job (\S+) \(task: \d+\) with path (\S+)_result\.pkl\n.*\(state: (.*)\)", text):
        job, place, state = match.groups()
        logs = [path for suffix in ("err", "out") if (path := Path(f"{place}_log.{suffix}")).exists()]
        last = f": {lines[-1]}" if len(lines) > 3 else ""
        return f"job {job} ended without a result (state {state}){last}; see {logs[0] if logs else place + '_log.out'}"
    if match := re.search(r"You can check full logs .* paths:\s*- (\S+)", text, re.DOTALL):
        trace = [line for line in text[: match.start()].splitlines() if line.strip(" -")]
        return f"{trace[-1].strip()}; see {match[1]}"
    return lines[-1]


class _Complete(BaseException):
    """Leaves a launcher; no Exception, so that it does not take this for an error of its own."""


@contextlib.contextmanager
def _not_longer_than(study: Study) -> Iterator[None]:
    """Leave the block soon after the study is complete.

    Without SLURM's accounting a launcher waits for ever for a job that died.
    """
    driver = threading.get_ident()
    left = threading.Event()

    def leave(number: int, frame: FrameType | None) -> None:
        if not left.is_set():
            raise _Complete

    def watch() -> None:
        reader, since = StudyReader(study), time.monotonic()
        while not left.wait(ENDING_SECONDS / 10):
            status = reader.read().total
            if status.missing or status.running:
                since = time.monotonic()
            elif time.monotonic() - since > ENDING_SECONDS:
                signal.pthread_kill(driver, signal.SIGALRM)  # SIGINT is ignored behind nohup
                return

    before = signal.signal(signal.SIGALRM, leave)
    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    except _Complete:
        pass
    finally:
        left.set()
        watcher.join()
        signal.signal(signal.SIGALRM, before)


def _wait_for_others(study: Study) -> None:
    """Wait while others train models of the study or have jobs in SLURM's queue, and say which."""
    reader, said, idle = StudyReader(study), set(), 0
    while idle < 2 and not study.is_gone():  # twice: between two models a worker holds no claim for a moment
        status = reader.read()
        if not status.total.missing + status.total.running:
            return
        if status.running:
            what, pause = "workers that train models, or died less than stale_seconds ago", 1
        elif queued_jobs(study):
            what, pause = "the study's jobs in SLURM's queue (squeue)", 10
        else:
            what, pause = "", 1
        idle = 0 if what else idle + 1
        if what and what not in said:
            log.warning("waiting for %s; Ctrl-C ends only this command", what)
            said.add(what)
        time.sleep(pause)


def queued_jobs(study: Study) -> int:
    """Number of SLURM jobs of a study that wait or run, by the folders of their submissions; 0 without SLURM."""
    arrays = {folder.name.partition("_")[0] for folder in (study.paths.root / "hydra" / ".submitit").glob("[0-9]*")}
    command = ["squeue", "-h", "-r", "-o", "%i", "-j", ",".join(sorted(arrays))]
    try:
        listed = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False) if arrays else None
    except (OSError, subprocess.SubprocessError):
        return 0
    return len(listed.stdout.split()) if listed else 0


def _run_hydra(argv: Sequence[str]) -> None:
    """Hand a command line to Hydra; exceptions come out as they are instead of Hydra's own print and exit."""
    old_argv, old_full = sys.argv, os.environ.get("HYDRA_FULL_ERROR")
    sys.argv, os.environ["HYDRA_FULL_ERROR"] = ["designspace sweep", *argv], "1"
    try:
        with sentences():
            _hydra_main()
    finally:
        sys.argv = old_argv
        if old_full is None:
            del os.environ["HYDRA_FULL_ERROR"]
        else:
            os.environ["HYDRA_FULL_ERROR"] = old_full
