"""Start a sweep: the driver freezes its studies, then every Hydra job is a worker that pulls models until none is left.

Hydra's stock launchers (basic, joblib, submitit, ray) start the workers of all studies at once. A worker takes from its
job only which study to work on and how (processes, attempts); everything else comes from the frozen manifest. The
driver only monitors: workers continue if it is killed.
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
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import hydra
from hydra._internal.callbacks import Callbacks
from hydra._internal.utils import get_args_parser
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.plugins import Plugins
from hydra.core.utils import JobStatus
from hydra.types import HydraContext
from omegaconf import DictConfig

from designspace.cli import shell_code
from designspace.packages import run_worker
from designspace.progress import StudyReader, duration
from designspace.study import Study, StudyModel, StudyPaths, trainings
from designspace.terminal import autocomplete, usage_error
from designspace.times import TimePredictor, load_any_constants
from sweeps.completion import add_completer
from sweeps.compose import Composed, compose_studies, hydra_errors, rewrite
from sweeps.config import CONF, StudyConfig, TrainingConfig
from sweeps.data import open_data, prepare_data
from sweeps.multirun import run_override
from sweeps.resources import automatic_processes
from sweeps.study.claims import Claims, worker_name
from sweeps.study.freeze import FREE_OF_DATA, Drawn, draw, freeze, prepare, with_earlier_padding
from sweeps.study.predict import TimeLimit
from sweeps.study.progress import duplicates_line, sampling_lines, show_progress
from sweeps.worker.task import find_trainer
from sweeps.worker.worker import Worker, moved_or_deleted

log = logging.getLogger(__name__)

ENDING_SECONDS = 30.0
"""How long the jobs of a complete study may take to end before the driver returns without them."""


def work(config: DictConfig) -> None:
    """Run a worker: train models of the study at `config.run` until none is left."""
    study = Study.open(config.run)
    device = TrainingConfig.of_study(study.config).device
    processes = config.processes
    if processes == "auto":
        processes = automatic_processes(device.device, device.threads, config.processes_per_device)
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
        settings={"checkpoint_seconds": config.checkpoint_seconds, "probe": config.probe, "data": data},
        log_file=Path(HydraConfig.get().runtime.output_dir) / "training.log",
    ).run()


_hydra_main = hydra.main(version_base="1.3", config_path=str(CONF), config_name="config")(run_worker)


@dataclass(frozen=True)
class Sweep:
    """A frozen study of a command line, and its config."""

    study: Study
    composed: Composed

    @property
    def config(self) -> StudyConfig:
        """The validated config."""
        return self.composed.config


def sweep(argv: Sequence[str]) -> list[Sweep]:
    """Freeze the studies that a Hydra command line describes and train the missing models.

    Args:
        argv: the command line, without the program name.
    Returns:
        The studies, one without -m; none if Hydra only had to show something.
    Raises:
        ValueError: the arguments or a config are not valid, or a study was frozen with another config. Nothing is
            written then.
        WorkerError: a worker cannot continue.
    """
    parser = get_args_parser()
    parser.error = usage_error  # type: ignore[method-assign]
    add_completer(next(action for action in parser._actions if action.dest == "overrides"))
    autocomplete(parser)
    arguments = parser.parse_args(list(argv))
    if arguments.shell_completion:
        print(shell_code(arguments.overrides))
        return []
    if arguments.config_path:
        raise ValueError(f"--config-path = {arguments.config_path}: must be --config-dir, for configs of your own")
    options = [argument for argument in argv if argument not in arguments.overrides]
    if arguments.help or arguments.hydra_help or arguments.cfg or arguments.info:
        run_hydra([*options, *rewrite(arguments.overrides, arguments.config_dir)])
        return []
    name = arguments.config_name or "config"
    studies = compose_studies(arguments.overrides, multirun=arguments.multirun, name=name, folder=arguments.config_dir)
    for composed in studies:
        find_trainer(composed.config.trainer)
    if any(composed.config.plan == "only" for composed in studies):
        for composed in studies:
            heading = [f"{composed.config.run}:"] * (len(studies) > 1)
            print("\n".join([*heading, *plan_lines(composed)]), flush=True)
        return []
    prepared = [prepare(composed.values, composed.config.run) for composed in studies]
    sweeps = [Sweep(freeze(ready), composed) for ready, composed in zip(prepared, studies, strict=True)]
    for one in sweeps:
        one.study.set_aside_damaged()
        one.study.remove_old_checkpoints()
        one.study.set_aside_failed(one.config.retry)
        heading = [f"{one.study.paths.root}:"] * (len(sweeps) > 1)
        print("\n".join([*heading, *sampling_lines(one.study)]), flush=True)
    if unfinished := [one for one in sweeps if one.study.models_to_train() or any(one.study.to_propose.values())]:
        for one in unfinished:
            prepare_data(one.config.data)
        with show_progress([one.study for one in sweeps]):
            if arguments.multirun:
                start_workers(unfinished, name)
            else:
                run_hydra([*options, *studies[0].overrides, *studies[0].hydra])
    if len(sweeps) == 1 and sweeps[0].study.is_gone():
        raise moved_or_deleted(sweeps[0].study)
    return sweeps


@dataclass(frozen=True)
class Job:
    """A worker of a study, as a job of a launcher.

    Args:
        study: the study.
        overrides: of the worker's config.
    """

    study: Study
    overrides: list[str]


def worker_jobs(sweeps: Sequence[Sweep]) -> list[Job]:
    """The workers of all studies, study by study.

    Workers that share this machine have different numbers, because a worker's number selects its GPUs.
    """
    jobs = []
    for place, one in enumerate(sweeps):
        composed = one.composed
        shift = place * (max(composed.workers) + 1) if composed.here > 1 else 0
        for number in composed.workers:
            own = [run_override(one.study.paths.root), f"worker={number + shift}"]
            jobs.append(Job(one.study, [*composed.overrides, *composed.shares(), *own]))
    return jobs


def start_workers(sweeps: Sequence[Sweep], name: str = "config") -> None:
    """Let a launcher start the workers of all studies; one that fails does not end the sweep while others work.

    Args:
        sweeps: the studies.
        name: name of the root config.
    """
    studies, jobs = [one.study for one in sweeps], worker_jobs(sweeps)
    failed = False
    try:
        with _return_when_complete(studies):
            for job, error in zip(jobs, launch(jobs, sweeps[0].composed.hydra, name), strict=True):
                if error is not None and not job.study.is_gone():
                    log.warning("%s: a worker ended early: %s", job.study.paths.root, failure_text(error))
                failed = failed or error is not None
    except Exception as error:
        # Some launchers raise the error of the first job that failed instead of returning all.
        if not all(study.is_gone() for study in studies):
            log.warning("a worker ended early: %s", failure_text(error))
        failed = True
    if failed:
        _wait_for_others(studies)


def launch(jobs: Sequence[Job], overrides: Sequence[str], name: str) -> list[Exception | None]:
    """Run jobs with Hydra's launcher and return the error of each, None for those that succeeded.

    Hydra's sweepers only launch products of values. Here a job has the folder of its study.

    Args:
        jobs: the jobs. Files of the launcher itself, such as SLURM's, go to the study of the first one.
        overrides: overrides of `hydra`.
        name: name of the root config.
    Raises:
        Exception: the launcher gave up, or raised the error of a job.
    """
    with hydra_errors(), hydra.initialize_config_dir(str(CONF), version_base="1.3", job_name="worker"):
        own = [*jobs[0].overrides, *overrides, "hydra.mode=MULTIRUN"]
        config = hydra.compose(name, own, return_hydra_config=True)
        HydraConfig.instance().set_config(config)
        context = HydraContext(config_loader=GlobalHydra.instance().config_loader(), callbacks=Callbacks(config))
        launcher = Plugins.instance().instantiate_launcher(
            hydra_context=context, task_function=run_worker, config=config
        )
        returned = launcher.launch([job.overrides for job in jobs], initial_job_idx=0)
    return [one._return_value if one.status is JobStatus.FAILED else None for one in returned]


def failure_text(error: BaseException) -> str:
    """Describe a failed job in one line; submitit's errors hold a log or a traceback between rows of dashes."""
    text = str(error)
    lines = [line.strip() for line in text.splitlines() if line.strip(" -")] or [type(error).__name__]
    if match := re.match(r"Job (\S+) \(task: \d+\) with path (\S+)_result\.pkl\n.*\(state: (.*)\)", text):
        job, stem, state = match.groups()
        logs = [path for suffix in ("err", "out") if (path := Path(f"{stem}_log.{suffix}")).exists()]
        last = f": {lines[-1]}" if len(lines) > 3 else ""
        return f"job {job} ended without a result (state {state}){last}; see {logs[0] if logs else stem + '_log.out'}"
    if match := re.search(r"You can check full logs .* paths:\s*- (\S+)", text, re.DOTALL):
        trace = [line for line in text[: match.start()].splitlines() if line.strip(" -")]
        return f"{trace[-1].strip()}; see {match[1]}"
    return lines[-1]


class _Complete(BaseException):
    """Leaves a launcher; not an Exception, which the launcher would catch."""


@contextlib.contextmanager
def _return_when_complete(studies: Sequence[Study]) -> Iterator[None]:
    """Leave the block soon after all studies are complete.

    Without SLURM's accounting, a launcher waits forever for a job that died.
    """
    driver = threading.get_ident()
    left = threading.Event()

    def leave(number: int, frame: FrameType | None) -> None:
        if not left.is_set():
            raise _Complete

    def watch() -> None:
        readers, since = [StudyReader(study) for study in studies], time.monotonic()
        while not left.wait(ENDING_SECONDS / 10):
            if not all(reader.read().complete for reader in readers):
                since = time.monotonic()
            elif time.monotonic() - since > ENDING_SECONDS:
                signal.pthread_kill(driver, signal.SIGALRM)  # SIGINT is ignored under nohup
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


def _wait_for_others(studies: Sequence[Study]) -> None:
    """Wait while other workers train models or have jobs in SLURM's queue, and log which."""
    readers, logged, idle = [StudyReader(study) for study in studies], set(), 0
    while idle < 2:  # twice: between two models a worker holds no claim for a moment
        statuses = [reader.read() for reader in readers if not reader.study_is_gone()]
        if all(status.complete for status in statuses):
            return
        if any(status.running for status in statuses):
            what, pause = "workers that train models, or died less than stale_seconds ago", 1
        elif queued_jobs(studies):
            what, pause = "jobs of the sweep in SLURM's queue (squeue)", 10
        else:
            what, pause = "", 1
        idle = 0 if what else idle + 1
        if what and what not in logged:
            log.warning("waiting for %s; Ctrl-C ends only this command", what)
            logged.add(what)
        time.sleep(pause)


def queued_jobs(studies: Sequence[Study]) -> int:
    """Number of the studies' SLURM jobs that are queued or running; 0 without SLURM."""
    folders = [study.paths.root / "hydra" / ".submitit" for study in studies]
    arrays = {path.name.partition("_")[0] for folder in folders for path in folder.glob("[0-9]*")}
    command = ["squeue", "-h", "-r", "-o", "%i", "-j", ",".join(sorted(arrays))]
    try:
        listed = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False) if arrays else None
    except (OSError, subprocess.SubprocessError):
        return 0
    return len(listed.stdout.split()) if listed else 0


def run_hydra(argv: Sequence[str]) -> None:
    """Run Hydra on a command line; exceptions propagate instead of being printed by Hydra."""
    old_argv, old_full = sys.argv, os.environ.get("HYDRA_FULL_ERROR")
    sys.argv, os.environ["HYDRA_FULL_ERROR"] = ["designspace sweep", *argv], "1"
    try:
        with hydra_errors():
            _hydra_main()
    finally:
        sys.argv = old_argv
        if old_full is None:
            del os.environ["HYDRA_FULL_ERROR"]
        else:
            os.environ["HYDRA_FULL_ERROR"] = old_full


def predictor_for(
    config: TrainingConfig, times: Path, models: Sequence[StudyModel], processes: int
) -> tuple[TimePredictor, str]:
    """The time constants that this study measured while training, else those of this machine, measured now.

    Args:
        config: data, recipe and device.
        times: the study's folder of time constants.
        models: models to train, at least one.
        processes: training processes that share a machine's cores.
    Returns:
        The predictor, and the origin of its constants as text.
    Raises:
        ValueError: the device or the data are not available, or no network can be timed.
    """
    from sweeps.trainer.device import resolve_device
    from sweeps.worker.probe import measure_times

    if (before := load_any_constants(times)) is not None:
        return before, "measured by this study"
    splits = open_data(config.data, processes)
    device = resolve_device(config.device)
    with device.settings():
        measured = measure_times(models, config.recipe, splits, device)
    if measured is None:
        raise ValueError("no network of this study can be trained on this machine: no update fits in memory")
    return measured, "predicted from a few updates on this machine"


def plan_lines(composed: Composed) -> list[str]:
    """Draw the study without writing anything and return its predicted cost as lines to print.

    Raises:
        ValueError: a config value is not allowed, or a model does not fit the data.
    """
    config = composed.config
    paths = StudyPaths(Path(config.run))
    exists = paths.manifest.exists()
    drawn = draw(with_earlier_padding(composed.values, Study.open(paths.root)) if exists else composed.values)
    proposals = tuple(Study.open(paths.root).proposals.values()) if exists else ()
    models = trainings((*drawn.models, *(model for proposal in proposals for model in proposal.models)))
    left = [model for model in models if not paths.record(model.key).exists()]
    lines = [_space_line(label, drawn) for label in config.spaces]
    to_propose = 0
    if config.search is not None and config.budget is not None:
        planned = len(config.spaces) * (config.budget - config.n)
        to_propose = len(config.training_seeds) * max(0, planned - len(proposals))
        lines.append(f"search: {planned} models proposed by {config.search}, {config.budget - config.n} per space")
    if done := len(models) - len(left):
        lines.append(f"{done} of them have a record in {config.run}")
    if not left and not to_propose:
        return [*lines, "nothing left to train"]
    processes = composed.processes()
    predictor, source = predictor_for(config, paths.times, left or models, processes)
    seconds = [predictor.training_seconds(model) for model in left or models]
    at_once = processes * len(composed.workers)
    longest, mean = max(seconds), sum(seconds) / len(seconds)
    count = len(left) + to_propose
    total = count * mean
    off = "" if predictor.relative_error is None else f", typical error {predictor.relative_error:.0%}"
    return [
        *lines,
        f"one training: {duration(min(seconds))} to {duration(longest)} on {predictor.device} ({source}{off})",
        f"all {count} trainings: {duration(total)} of one training process",
        f"with {at_once} processes ({len(composed.workers)} x {processes}), each on such a device: "
        f"about {duration(max(longest, total / at_once))}; nothing was written",
    ]


def _space_line(label: str, drawn: Drawn) -> str:
    models = [model for model in drawn.models if model.space == label]
    macs = [model.macs for model in models]
    report = drawn.sampling[label]
    return (
        f"{label}: {len(trainings(models))} trainings, {min(macs) / 1e6:.3g} to {max(macs) / 1e6:.3g} million "
        f"multiply-adds; {duplicates_line(report, drawn.spaces[label])}"
    )
