"""Compose the config of a study and the number of workers from a command line of Hydra overrides."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

from designspace.validated import unknown
from sweeps.config import CONF, StudyConfig, spaces_by_label
from sweeps.data.loading import automatic_workers
from sweeps.resources import automatic_processes, cores


@dataclass(frozen=True)
class Composed:
    """A composed command line.

    Args:
        config: the validated config.
        values: the same as plain values, as the manifest stores them.
        overrides: the command line's overrides in the form that Hydra accepts.
        workers: number of workers.
        here: how many run at once on this machine; 0 if they run on others.
        gpus: GPUs that the launcher requests for a worker on another machine.
        cores: cores of a worker on another machine.
    """

    config: StudyConfig
    values: dict[str, Any]
    overrides: tuple[str, ...]
    workers: int
    here: int
    gpus: int = 1
    cores: int = 1

    def processes(self) -> int:
        """Training processes of one worker; "auto" follows its share of this machine, or its job's resources."""
        config = self.config
        if config.processes != "auto":
            return config.processes
        device = config.device
        if self.here:
            return max(1, automatic_processes(device.device, device.threads, config.processes_per_device) // self.here)
        return self.gpus * config.processes_per_device or max(1, self.cores // device.threads)

    def shares(self) -> list[str]:
        """Overrides that divide this machine among its workers; none for a single worker."""
        if self.here <= 1:
            return []
        processes = self.processes()
        shares = [f"processes={processes}"]
        if self.values["data"].get("workers") == "auto":
            shares.append(f"data.workers={automatic_workers(processes * self.here)}")
        return shares


def compose(
    overrides: Sequence[str], *, multirun: bool = False, name: str = "config", folder: str | None = None
) -> Composed:
    """Compose the config that all workers of a command share.

    Args:
        overrides: Hydra overrides; with several workers, one of them sweeps `worker`.
        multirun: whether -m was given.
        name: name of the root config.
        folder: folder with further configs.
    Raises:
        ValueError: an override or a value is not allowed.
    """
    with hydra_errors():
        overrides = rewrite(overrides, folder)
        single, workers = _split_workers(overrides, multirun)
        search = [f"hydra.searchpath=[file://{os.path.abspath(folder)}]"] if folder else []
        with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
            composed = hydra.compose(name, [*single, *search], return_hydra_config=True)
        launcher = composed.hydra.launcher
        own = OmegaConf.masked_copy(composed, [str(key) for key in composed if key != "hydra"])
        plain: Any = OmegaConf.to_container(own, resolve=True, throw_on_missing=True)
    values = {str(key): value for key, value in plain.items()}
    if "spaces" in values:
        values["spaces"] = spaces_by_label(values["spaces"])
    config = StudyConfig.from_mapping(values)
    if not multirun and "basic" not in launcher._target_:
        chosen = composed.hydra.runtime.choices["hydra/launcher"]
        raise ValueError(f"hydra/launcher = {chosen}: must be used with -m, which starts workers")
    gpus = 0 if config.device.device == "cpu" else _gpus(launcher)
    here = _workers_here(launcher, workers)
    return Composed(config, values, tuple(overrides), workers, here, gpus, launcher.get("cpus_per_task") or 1)


def rewrite(overrides: Sequence[str], folder: str | None = None) -> list[str]:
    """Rewrite overrides so that Hydra accepts unknown keys, which `StudyConfig` then rejects with suggestions.

    `spaces=…` replaces the spaces of an experiment; Hydra would merge them.

    Raises:
        ValueError: an override cannot be parsed, or chooses from the former group `space`.
    """
    groups = {path.name for root in (CONF, folder) if root for path in Path(root).iterdir() if path.is_dir()}
    with hydra_errors():
        parsed_overrides = OverridesParser.create().parse_overrides(list(overrides))
    rewritten: list[str] = []
    for text, parsed in zip(overrides, parsed_overrides, strict=True):
        key = parsed.key_or_group
        if key == "space":
            raise ValueError(_space_group_removed(f"{text}: ", parsed.package, str(parsed.value())))
        if key == "spaces" and not (parsed.is_delete() or parsed.is_sweep_override()):
            rewritten += ["~spaces"] * ("~spaces" not in rewritten) + [f"++{text.lstrip('+')}"]
        elif text[0] in "+~" or parsed.is_sweep_override() or key in groups or key.startswith("hydra"):
            rewritten.append(text)
        else:
            rewritten.append(f"++{text}")
    return rewritten


def _space_group_removed(prefix: str, package: str | None, name: str) -> str:
    label = (package or "spaces").rpartition(".")[2]
    option = f"spaces=[{name}]" if label in ("spaces", "space") else f"+spaces.{label}.base={name}"
    return f"{prefix}must be {option}; spaces are named directly, without a config group"


def _workers_here(launcher: DictConfig, workers: int) -> int:
    """Number of workers that a launcher runs at once on this machine."""
    kind = launcher._target_.rpartition(".")[2]
    if kind == "JoblibLauncher":
        return min(workers, launcher.n_jobs if launcher.n_jobs > 0 else cores())
    return {"BasicLauncher": 1, "LocalLauncher": workers}.get(kind, 0)


def _gpus(launcher: DictConfig) -> int:
    """GPUs that a launcher requests for each worker; 1 if it is not a SLURM launcher."""
    if "cpus_per_task" not in launcher:
        return 1
    kind, *count = (launcher.get("gres") or "").split(":")  # gpu:2, gpu:a100:2, or shard:2 of one GPU
    of_gres = int(count[-1]) if kind == "gpu" and count and count[-1].isdigit() else int(bool(kind))
    return launcher.get("gpus_per_node") or launcher.get("gpus_per_task") or of_gres


def _split_workers(overrides: Sequence[str], multirun: bool) -> tuple[list[str], int]:
    """Return the overrides without a swept `worker`, and the number of workers."""
    single, workers = [], 1
    for text, parsed in zip(overrides, OverridesParser.create().parse_overrides(list(overrides)), strict=True):
        if not parsed.is_sweep_override():
            single.append(text)
        elif parsed.key_or_group != "worker":
            raise ValueError(f"{text}: must be a single value, only worker= takes several; write a list as [1,2]")
        elif not multirun:
            raise ValueError(f"{text}: must be used with -m and a launcher, like hydra/launcher=joblib")
        else:
            numbers = list(parsed.sweep_string_iterator())
            if not all(number.isdigit() for number in numbers) or len(set(numbers)) < len(numbers):
                raise ValueError(f"{text}: must be different numbers from 0, like worker=0,1")
            workers = len(numbers)
    return single, workers


@contextlib.contextmanager
def hydra_errors() -> Iterator[None]:
    """Turn the multi-line errors of Hydra and OmegaConf into ValueErrors of one line."""
    try:
        yield
    except MissingMandatoryValue as error:
        key = getattr(error, "full_key", None) or "a value"
        raise ValueError(f"{key}: required; add {key}=…, or choose an experiment (experiment=smoke)") from error
    except OverrideParseException as error:
        raise ValueError(
            f"{error.override}: must be KEY=VALUE; put a value with spaces or special characters in two pairs of "
            f"quotes, like \"run='my study'\""
        ) from error
    except MissingConfigException as error:
        group, _, choice = (error.missing_cfg_file or "").rpartition("/")
        if group == "space":
            where = str(error).partition(":")[0]
            raise ValueError(_space_group_removed(f"{where}: /space@spaces.LABEL: ", None, choice)) from error
        if error.options is None:
            raise ValueError(_one_line(error)) from error
        raise ValueError(unknown(group, choice, error.options, "designspace sweep --help")) from error
    except (HydraException, OmegaConfBaseException) as error:
        raise ValueError(_one_line(error)) from error


def _one_line(error: Exception) -> str:
    causes = [error, error.__cause__] if isinstance(error.__cause__, OmegaConfBaseException) else [error]
    text = "\n".join(str(cause) for cause in causes).split("Config search path:")[0]
    lines = [line.strip() for line in text.splitlines()]
    kept = [line for line in lines if line and not line.startswith(("full_key:", "object_type=", "reference_type="))]
    return " ".join(dict.fromkeys(kept))
