"""Reading Hydra's command line: one config for the study, and how many workers are asked for."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import hydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

from designspace.record import STATUSES
from sweeps.resources import automatic_processes, cores
from sweeps.study.predict import TimeLimit


@dataclass(frozen=True)
class Composed:
    """The resolved config, the number of workers, and how many of them share this machine (0: they run elsewhere)."""

    config: dict[str, Any]
    workers: int
    here: int

    def processes(self) -> int:
        """Training processes of one worker; "auto" is its share of this machine, or elsewhere those of one device."""
        asked, per_device = self.config["processes"], self.config["processes_per_device"]
        if asked != "auto":
            return int(asked)
        return max(1, automatic_processes(self.config["device"], per_device) // self.here) if self.here else per_device


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
        here = 1
        if "joblib" in launcher._target_:
            here = min(workers, launcher.n_jobs if launcher.n_jobs > 0 else cores())
        elif "basic" not in launcher._target_:
            here = 0
        own = OmegaConf.masked_copy(composed, [str(key) for key in composed if key != "hydra"])
        values = OmegaConf.to_container(own, resolve=True, throw_on_missing=True)
    assert isinstance(values, dict)
    config = {str(key): value for key, value in values.items()}
    _check(config)
    return Composed(config, workers, here)


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


def _check(config: dict[str, Any]) -> None:
    """Check the keys that say how the work is done; ValueError names value and allowed ones."""
    processes = config["processes"]
    if processes != "auto" and (not isinstance(processes, int) or processes < 1):
        raise ValueError(f"processes={processes} is not allowed; allowed: auto, or 1 or more")
    for key, allowed in (
        ("processes_per_device", "1 or more"),
        ("attempts", "1 or more"),
        ("n", "1 or more models per space"),
    ):
        if not isinstance(config[key], int) or config[key] < 1:
            raise ValueError(f"{key}={config[key]} is not allowed; allowed: {allowed}")
    for key in ("heartbeat_seconds", "stale_seconds", "checkpoint_seconds", "stop_seconds"):
        if not isinstance(config[key], int | float) or config[key] < 0:
            raise ValueError(f"{key}={config[key]} is not allowed; allowed: 0 or more seconds")
    if not 0 <= config["allowed_failures"] <= 1:
        raise ValueError(f"allowed_failures={config['allowed_failures']} is not allowed; allowed: a share from 0 to 1")
    TimeLimit(config["deadline_seconds"], config["deadline_factor"])
    if config["plan"] not in (None, "only"):
        raise ValueError(f"plan={config['plan']} is not allowed; allowed: only, or null")
    if wrong := set(config["retry"]) - (set(STATUSES) - {"ok"}):
        raise ValueError(f"retry={sorted(wrong)} is not allowed; allowed: {', '.join(STATUSES[1:])}")


@contextlib.contextmanager
def sentences() -> Iterator[None]:
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
