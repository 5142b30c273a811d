"""Reading Hydra's command line: one config for the study, and how many workers are asked for."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import hydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException, OverrideParseException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

from sweeps.checked import checked
from sweeps.data.loading import automatic_workers
from sweeps.resources import automatic_processes, cores
from sweeps.study.config import StudyConfig


@dataclass(frozen=True)
class Composed:
    """What a command asks for.

    Args:
        config: the resolved config.
        workers: how many are to work.
        here: how many of them share this machine; 0 if they run elsewhere.
        gpus: of one worker elsewhere, as far as its launcher tells.
        cores: the same.
    """

    config: dict[str, Any]
    workers: int
    here: int
    gpus: int = 1
    cores: int = 1

    def processes(self) -> int:
        """Training processes of one worker; "auto" follows its share of this machine, or what it is given elsewhere."""
        asked, per_device, device = (self.config[key] for key in ("processes", "processes_per_device", "device"))
        if asked != "auto":
            return int(asked)
        if self.here:
            return max(1, automatic_processes(device, per_device) // self.here)
        return self.gpus * per_device or max(1, self.cores // device["threads"])

    def shares(self) -> list[str]:
        """Overrides by which workers of one machine share its devices and cores; a single worker finds its own."""
        if self.here <= 1:
            return []
        processes = self.processes()
        shares = [f"processes={processes}"]
        if self.config["data"].get("workers") == "auto":
            shares.append(f"data.workers={automatic_workers(processes * self.here)}")
        return shares


def compose(
    overrides: Sequence[str], *, multirun: bool = False, name: str = "config", folder: str | None = None
) -> Composed:
    """Compose the config that all workers of a command share.

    Args:
        overrides: Hydra's overrides; with several workers one of them sweeps `worker`.
        multirun: whether -m was given.
        name: of the root config.
        folder: one more place for configs.
    Raises:
        ValueError: an override or a value is not allowed; one sentence.
    """
    with sentences():
        single, workers = _split_workers(overrides, multirun)
        places = [f"hydra.searchpath=[file://{os.path.abspath(folder)}]"] if folder else []
        with hydra.initialize_config_module("conf", version_base="1.3"):
            composed = hydra.compose(name, [*single, *places], return_hydra_config=True)
        launcher = composed.hydra.launcher
        own = OmegaConf.masked_copy(composed, [str(key) for key in composed if key != "hydra"])
        values = OmegaConf.to_container(own, resolve=True, throw_on_missing=True)
    assert isinstance(values, dict)
    config = {str(key): value for key, value in values.items()}
    checked(StudyConfig, "", config)
    if not multirun and "basic" not in launcher._target_:
        chosen = composed.hydra.runtime.choices["hydra/launcher"]
        raise ValueError(f"hydra/launcher={chosen} starts workers with -m only; give -m, or leave the launcher out")
    gpus = 0 if config["device"].get("device") == "cpu" else _gpus(launcher)
    return Composed(config, workers, _here(launcher, workers), gpus, launcher.get("cpus_per_task") or 1)


def _here(launcher: DictConfig, workers: int) -> int:
    """How many workers a launcher starts at once on this machine."""
    kind = launcher._target_.rpartition(".")[2]
    if kind == "JoblibLauncher":
        return min(workers, launcher.n_jobs if launcher.n_jobs > 0 else cores())
    return {"BasicLauncher": 1, "LocalLauncher": workers}.get(kind, 0)


def _gpus(launcher: DictConfig) -> int:
    """How many GPUs a launcher asks for each worker; 1 if it is not SLURM's."""
    if "cpus_per_task" not in launcher:
        return 1
    kind, *count = (launcher.get("gres") or "").split(":")  # like gpu:2, gpu:a100:2, or shard:2 of one GPU
    of_gres = int(count[-1]) if kind == "gpu" and count and count[-1].isdigit() else int(bool(kind))
    return launcher.get("gpus_per_node") or launcher.get("gpus_per_task") or of_gres


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
            numbers = list(parsed.sweep_string_iterator())
            if not all(number.isdigit() for number in numbers) or len(set(numbers)) < len(numbers):
                raise ValueError(f"'{text}' is not allowed; allowed: different numbers from 0, like worker=0,1")
            workers = len(numbers)
    return single, workers


@contextlib.contextmanager
def sentences() -> Iterator[None]:
    """Turn the messages of Hydra and OmegaConf, which have many lines, into ValueErrors of one."""
    try:
        yield
    except MissingMandatoryValue as error:
        key = getattr(error, "full_key", None) or "a value"
        raise ValueError(f"{key} is missing; give {key}=… or choose an experiment, like experiment=smoke") from error
    except OverrideParseException as error:
        raise ValueError(
            f"{error.override}: must be of the form KEY=VALUE; a value with spaces or special characters needs two "
            f"pairs of quotes, like \"run='my study'\""
        ) from error
    except (HydraException, OmegaConfBaseException) as error:
        causes = [error, error.__cause__] if isinstance(error.__cause__, OmegaConfBaseException) else [error]
        text = "\n".join(str(cause) for cause in causes).split("Config search path:")[0]
        lines = [line.strip() for line in text.splitlines()]
        messages = [
            line for line in lines if line and not line.startswith(("full_key:", "object_type=", "reference_type="))
        ]
        raise ValueError(" ".join(dict.fromkeys(messages))) from error
