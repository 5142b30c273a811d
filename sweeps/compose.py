"""Compose the configs and the workers of the studies of a command line of Hydra overrides."""

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

from designspace.validated import Validated, suggestion, unknown
from sweeps.config import CONF, StudyConfig, spaces_by_label
from sweeps.data.loading import automatic_workers
from sweeps.multirun import Combination, expand, run_override, set_runs
from sweeps.resources import automatic_processes, cores
from sweeps.study.freeze import changes


@dataclass(frozen=True)
class Composed:
    """The composed config of one study of a command line.

    Args:
        config: the validated config.
        values: the same as plain values, as the manifest stores them.
        overrides: overrides of the study in the form that Hydra accepts, without `worker` and those of `hydra`.
        hydra: overrides of `hydra`, such as the launcher.
        workers: numbers of the workers.
        here: how many workers of the command run at once on this machine; 0 if they run on others.
        gpus: GPUs that the launcher requests for a worker on another machine.
        cores: cores of a worker on another machine.
    """

    config: StudyConfig
    values: dict[str, Any]
    overrides: tuple[str, ...]
    hydra: tuple[str, ...]
    workers: tuple[int, ...]
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
    """Compose the config of a command line that describes one study; see `compose_studies`."""
    studies = compose_studies(overrides, multirun=multirun, name=name, folder=folder)
    if len(studies) > 1:
        raise ValueError(f"{' '.join(overrides)}: must describe one study; sweep several with designspace sweep -m")
    return studies[0]


def compose_studies(
    overrides: Sequence[str], *, multirun: bool = False, name: str = "config", folder: str | None = None
) -> list[Composed]:
    """Compose the configs of a command line: one study for each combination of the values that it sweeps.

    Values of `worker` are the workers of each study. A study without a folder of its own gets one that is named after
    its values.

    Args:
        overrides: Hydra overrides.
        multirun: whether -m was given; without it, nothing is swept.
        name: name of the root config.
        folder: folder with further configs.
    Raises:
        ValueError: an override or a value is not allowed, or two studies have the same folder.
    """
    roots = [str(CONF), *([folder] if folder else [])]
    search = [f"hydra.searchpath=[file://{os.path.abspath(folder)}]"] if folder else []
    with hydra_errors(), hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        if multirun:
            overrides = [*_config_sweeps(overrides, name, folder, search), *overrides]
        combinations, workers = expand(overrides, multirun, roots)
        texts = [rewrite(combination.overrides, folder) for combination in combinations]
        configs = [hydra.compose(name, [*text, *search], return_hydra_config=True) for text in texts]
        if len(configs) > 1:
            set_runs(combinations, configs)
        plains = [_plain(config) for config in configs]
    jobs = len(configs) * max(1, len(workers))
    studies = [_composed(*study, search, workers, jobs, multirun) for study in zip(configs, plains, texts, strict=True)]
    _check_runs(combinations, studies)
    return studies


def _config_sweeps(overrides: Sequence[str], name: str, folder: str | None, search: Sequence[str]) -> list[str]:
    """Sweeps of the config, `hydra.sweeper.params`, whose keys are not on the command line."""
    parsed = OverridesParser.create().parse_overrides(list(overrides))
    single = [text for text, one in zip(overrides, parsed, strict=True) if not one.is_sweep_override()]
    sweeper = hydra.compose(name, [*rewrite(single, folder), *search], return_hydra_config=True).hydra.sweeper
    if not sweeper._target_.endswith(".BasicSweeper"):
        raise ValueError(f"hydra/sweeper = {sweeper._target_}: must be basic, which trains all combinations")
    given = {one.key_or_group for one in parsed}
    return [f"{key}={value}" for key, value in (sweeper.params or {}).items() if key.lstrip("+~") not in given]


def _plain(composed: DictConfig) -> dict[str, Any]:
    own = OmegaConf.masked_copy(composed, [str(key) for key in composed if key != "hydra"])
    plain: Any = OmegaConf.to_container(own, resolve=True, throw_on_missing=True)
    return {str(key): value for key, value in plain.items()}


def _composed(
    composed: DictConfig,
    values: dict[str, Any],
    overrides: Sequence[str],
    search: Sequence[str],
    workers: tuple[int, ...],
    jobs: int,
    multirun: bool,
) -> Composed:
    if "spaces" in values:
        values["spaces"] = spaces_by_label(values["spaces"])
    config = StudyConfig.from_mapping(values)
    launcher = composed.hydra.launcher
    if not multirun and "basic" not in launcher._target_:
        chosen = composed.hydra.runtime.choices["hydra/launcher"]
        raise ValueError(f"hydra/launcher = {chosen}: must be used with -m, which starts workers")
    gpus = 0 if config.device.device == "cpu" else _gpus(launcher)
    parsed = OverridesParser.create().parse_overrides(list(overrides))
    of_hydra = [text for text, one in zip(overrides, parsed, strict=True) if one.is_hydra_override()]
    return Composed(
        config=config,
        values=values,
        overrides=tuple(text for text in overrides if text not in of_hydra),
        hydra=(*of_hydra, *search),
        workers=workers or (config.worker,),
        here=_workers_here(launcher, jobs),
        gpus=gpus,
        cores=launcher.get("cpus_per_task") or 1,
    )


def _check_runs(combinations: Sequence[Combination], studies: Sequence[Composed]) -> None:
    """Raise ValueError if two studies have the same folder."""
    first: dict[str, tuple[Combination, Composed]] = {}
    for combination, study in zip(combinations, studies, strict=True):
        before, other = first.setdefault(os.path.abspath(study.config.run), (combination, study))
        if other is not study:
            raise ValueError(
                f"run = {study.config.run}: must differ between {' '.join(before.swept)} and "
                f"{' '.join(combination.swept)}; omit run, or add what differs, like "
                f"'run=runs/lr_${{recipe.learning_rate}}'; changes: {'; '.join(changes(other.values, study.values))}"
            )


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
        if not parsed.is_delete() and key not in groups and not parsed.is_hydra_override():
            _check_key(key, text.partition("=")[2])
        if key == "spaces" and not (parsed.is_delete() or parsed.is_sweep_override()):
            rewritten += ["~spaces"] * ("~spaces" not in rewritten) + [f"++{text.lstrip('+')}"]
        elif text[0] in "+~" or parsed.is_sweep_override() or key in groups or key.startswith("hydra"):
            rewritten.append(text)
        elif key == "run" and isinstance(parsed.value(), int | float):  # a folder named by a number, as typed
            rewritten.append(run_override(text.partition("=")[2]))
        else:
            rewritten.append(f"++{text}")
    return rewritten


def _check_key(key: str, value: str) -> None:
    """Raise ValueError for a key that the config does not have; the error lists the keys of its section."""
    section, _, rest = key.partition(".")
    sections = {
        name: field.annotation
        for name, field in StudyConfig.model_fields.items()
        if isinstance(field.annotation, type) and issubclass(field.annotation, Validated)
    }
    if section not in StudyConfig.model_fields:
        if nested := [f"{name}.{key}" for name, model in sections.items() if key in model.model_fields]:
            raise ValueError(f"{key} = {value}: unknown; did you mean {', '.join(nested)}?")
        advice = suggestion(section, StudyConfig.model_fields, "designspace sweep --cfg job experiment=smoke")
        raise ValueError(f"{key} = {value}: unknown; {advice}")
    if (
        section in sections
        and rest
        and (name := rest.partition(".")[0]) not in (fields := sections[section].model_fields)
    ):
        similar = suggestion(name, fields).partition("?")
        advice = f"{similar[0]}? " if similar[1] else ""
        raise ValueError(f"{key} = {value}: unknown; {advice}Keys of {section}: {', '.join(fields)}")


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
