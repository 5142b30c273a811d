"""The Hydra application: the driver freezes the study, then every Hydra job is a worker that pulls models.

Hydra's launchers (basic, joblib, submitit, ray) start the workers as they are; a worker takes from its job only which
study to work on and how (processes, attempts), and everything else from the frozen manifest.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator, Sequence
from glob import glob
from pathlib import Path
from typing import Any

import hydra
from hydra._internal.utils import get_args_parser
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

from designspace.record import STATUSES, Record
from sweeps.checked import checked
from sweeps.claims import Claims
from sweeps.data import DataConfig, prepare_data
from sweeps.environment import cores, worker_name
from sweeps.freeze import freeze
from sweeps.progress import watching
from sweeps.status import Status, StudyReader
from sweeps.study import Study
from sweeps.summary import sampling_lines
from sweeps.worker import Worker

CONFIG = "pkg://conf"


def work(config: DictConfig) -> None:
    """Be a worker: train models of the study at `config.run` until none is left."""
    study = Study.open(config.run)
    threads = study.config["device"]["threads"]
    processes = automatic_processes(threads) if config.processes == "auto" else int(config.processes)
    deadline = study.config["deadline_seconds"]
    Worker(
        study,
        Claims(study.paths.claims, worker_name(config.worker), config.stale_seconds),
        trainer=study.config["trainer"],
        processes=processes,
        attempts=config.attempts,
        first_slot=int(config.worker) * processes,
        heartbeat_seconds=config.heartbeat_seconds,
        kill_after_seconds=None if deadline is None else 2 * deadline + 60,
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
    if arguments.help or arguments.hydra_help or arguments.cfg or arguments.info or arguments.shell_completion:
        _run_hydra(argv)
        return None
    with _sentences():
        driver_overrides, workers = _split_workers(arguments.overrides, arguments.multirun)
        config, jobs = _compose(driver_overrides, arguments.config_name or "config", arguments.config_dir)
    _check_how(config)
    study = freeze(config, config["run"])
    study.set_aside_damaged()
    _set_aside_for_retry(study, config["retry"])
    print("\n".join(sampling_lines(study)), flush=True)
    if study.models_to_train():
        prepare_data(checked(DataConfig, "data", config["data"]))
        extra = []
        if jobs and workers > 1 and config["processes"] == "auto":  # the workers share this machine
            extra = [f"processes={max(1, automatic_processes(config['device']['threads']) // min(jobs, workers))}"]
        with watching(study):
            _run_hydra([*argv, *extra])
    return study, StudyReader(study).read(), config


def automatic_processes(threads: int) -> int:
    """Return how many training processes suit this machine: one per visible GPU, else one per `threads` cores."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    gpus = len(glob("/dev/nvidia[0-9]*")) if visible is None else len([d for d in visible.split(",") if d.strip()])
    return gpus or max(1, cores() // threads)


def _split_workers(overrides: Sequence[str], multirun: bool) -> tuple[list[str], int]:
    """Return the overrides without a swept `worker`, and how many workers there are."""
    single, workers = [], 1
    for text, parsed in zip(overrides, OverridesParser.create().parse_overrides(list(overrides)), strict=True):
        if not parsed.is_sweep_override():
            single.append(text)
        elif parsed.key_or_group != "worker":
            raise ValueError(
                f"'{text}' would put several configs into one study; allowed: one value (only worker= may have several)"
            )
        elif not multirun:
            raise ValueError(
                f"'{text}' starts several workers; that needs -m and a launcher, like hydra/launcher=joblib"
            )
        else:
            workers = len(list(parsed.sweep_string_iterator()))
    return single, workers


def _compose(overrides: Sequence[str], name: str, directory: str | None) -> tuple[dict[str, Any], int]:
    """Return the resolved config, and how many workers the launcher runs at once on this machine (0: not known)."""
    places = [f"hydra.searchpath=[file://{os.path.abspath(directory)}]"] if directory else []
    with hydra.initialize_config_module("conf", version_base="1.3"):
        composed = hydra.compose(name, [*overrides, *places], return_hydra_config=True)
    launcher = composed.hydra.launcher
    jobs = 0
    if "joblib" in launcher._target_:
        jobs = launcher.n_jobs if launcher.n_jobs > 0 else cores()
    own = OmegaConf.masked_copy(composed, [str(key) for key in composed if key != "hydra"])
    values = OmegaConf.to_container(own, resolve=True, throw_on_missing=True)
    assert isinstance(values, dict)
    return {str(key): value for key, value in values.items()}, jobs


def _check_how(config: dict[str, Any]) -> None:
    """Check the keys that say how the work is done; ValueError names value and allowed ones."""
    processes = config["processes"]
    if processes != "auto" and (not isinstance(processes, int) or processes < 1):
        raise ValueError(f"processes={processes} is not allowed; allowed: auto, or 1 or more")
    if not isinstance(config["attempts"], int) or config["attempts"] < 1:
        raise ValueError(f"attempts={config['attempts']} is not allowed; allowed: 1 or more")
    if not isinstance(config["n"], int) or config["n"] < 1:
        raise ValueError(f"n={config['n']} is not allowed; allowed: 1 or more models per space")
    if not 0 <= config["allowed_failures"] <= 1:
        raise ValueError(f"allowed_failures={config['allowed_failures']} is not allowed; allowed: a share from 0 to 1")
    if wrong := set(config["retry"]) - (set(STATUSES) - {"ok"}):
        raise ValueError(f"retry={sorted(wrong)} is not allowed; allowed: {', '.join(STATUSES[1:])}")


def _set_aside_for_retry(study: Study, statuses: Sequence[str]) -> None:
    for key in sorted(study.recorded_keys()) if statuses else ():
        status = Record.from_json(study.paths.record(key).read_text(encoding="utf-8")).status
        if status in statuses:
            study.set_aside(key, f"{status}, and retry={list(statuses)}")


def _run_hydra(argv: Sequence[str]) -> None:
    """Hand a command line to Hydra; exceptions come out as they are instead of Hydra's own print and exit."""
    old_argv, old_full = sys.argv, os.environ.get("HYDRA_FULL_ERROR")
    sys.argv, os.environ["HYDRA_FULL_ERROR"] = ["designspace sweep", *argv], "1"
    try:
        with _sentences():
            _hydra_main()
    finally:
        sys.argv = old_argv
        if old_full is None:
            del os.environ["HYDRA_FULL_ERROR"]
        else:
            os.environ["HYDRA_FULL_ERROR"] = old_full


@contextlib.contextmanager
def _sentences() -> Iterator[None]:
    """Turn the messages of Hydra and OmegaConf, which have many lines, into ValueErrors of one."""
    try:
        yield
    except MissingMandatoryValue as error:
        key = getattr(error, "full_key", None) or "a value"
        raise ValueError(f"{key} is missing; give {key}=… or choose an experiment, like experiment=smoke") from error
    except (HydraException, OmegaConfBaseException) as error:
        causes = [error, error.__cause__] if isinstance(error.__cause__, OmegaConfBaseException) else [error]
        text = "\n".join(str(cause) for cause in causes).split("Config search path:")[0]
        lines = [line.strip() for line in text.splitlines()]
        told = [
            line for line in lines if line and not line.startswith(("full_key:", "object_type=", "reference_type="))
        ]
        raise ValueError(" ".join(dict.fromkeys(told))) from error
