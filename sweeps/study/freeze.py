"""Freezing a study before any worker starts.

The driver draws the populations, checks that every model fits the data, and writes models.jsonl and manifest.json. The
manifest holds the config as given and every space with all its distributions, so that a later change of a named space
does not change the study. An existing study must have the same config, except that `n` may grow.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import platform
import socket
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from filelock import FileLock

from designspace.atomic import replace_file
from designspace.blocks import block_packages
from designspace.distributions import Choice
from designspace.packages import optional
from designspace.population import Population
from designspace.spaces import DesignSpace, merge, space_from_config
from designspace.study import Study, StudyModel, StudyPaths, check_is_models, lines_hash, now, record_key
from sweeps.config import DEFAULT_TRAINER, Recipe, StudyConfig, without_defaults
from sweeps.data import open_data, prepare_data
from sweeps.resources import cores

log = logging.getLogger(__name__)

FROZEN = (
    "seed",
    "duplicates",
    "training_seeds",
    "spaces",
    "template",
    "complexity",
    "data",
    "recipe",
    "device",
    "deadline_seconds",
    "trainer",
    "stopping",
    "search",
    "objectives",
)
"""Config keys that define a study. `n` and `budget` may grow; all other keys are free at every start."""

FREE_OF_DATA = ("root", "workers", "max_pixels")
"""Keys of `data` that are free as well: where the images are, how they are decoded, and which are too large."""

EARLIER = {"duplicates": "drop"}
"""Values of the keys that manifests of earlier versions lack."""

SEARCH_PACKAGES = {
    "tpe": ("optuna",),
    "nsga2": ("optuna",),
    "cmaes": ("optuna", "cmaes"),
    "surrogate": ("optuna",),
    "random": (),
}
"""Libraries of each search strategy."""

PACKAGES = ("cnn-designspace", "torch", "numpy", "scikit-learn", "pydantic", "hydra-core", "omegaconf")


@dataclass(frozen=True)
class Drawn:
    """The models of a study, in the order (index, space, seed), their ids, spaces and sampling reports."""

    models: tuple[StudyModel, ...]
    spaces: dict[str, dict[str, Any]]
    sampling: dict[str, dict[str, Any]]
    recipe_id: str
    data_id: str


def frozen_part(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values that must be equal at every start: the keys in FROZEN, without FREE_OF_DATA."""
    complete = EARLIER | dict(config)
    part = {key: complete[key] for key in FROZEN if key in complete}
    part["data"] = {key: value for key, value in (complete.get("data") or {}).items() if key not in FREE_OF_DATA}
    if part.get("device"):  # earlier versions had no CUDA graphs
        part["device"] = {key: value for key, value in part["device"].items() if key != "cuda_graphs" or value}
    if part.get("recipe"):
        part["recipe"] = without_defaults(part["recipe"])
    if part.get("stopping") is None:  # as in studies of earlier versions
        part.pop("stopping", None)
    if "trainer" in part:
        part["trainer"] = part["trainer"] or DEFAULT_TRAINER
    if part.get("search") is None:  # earlier versions had no search
        part = {key: value for key, value in part.items() if key not in ("search", "objectives")}
    return part


def config_hash(config: Mapping[str, Any]) -> str:
    """Return a hash of the frozen part of a config, 16 hex digits."""
    return hashlib.sha256(json.dumps(frozen_part(config), sort_keys=True).encode()).hexdigest()[:16]


def changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Return one line for each value that differs between two configs, like `recipe.epochs: 2 -> 3`."""
    before, after = _flat(frozen_part(old)), _flat(frozen_part(new))
    return [
        f"{key}: {before.get(key, 'absent')} -> {after.get(key, 'absent')}"
        for key in sorted(before | after)
        if before.get(key) != after.get(key)  # null equals a setting that an earlier version did not have
    ]


@dataclass(frozen=True)
class Prepared:
    """A study that can be frozen.

    Args:
        root: the study folder.
        values: the config as plain values.
        study: the study if it exists.
        drawn: what to write; None if an existing study does not change.
    """

    root: Path
    values: Mapping[str, Any]
    study: Study | None
    drawn: Drawn | None


def prepare(values: Mapping[str, Any], root: str | Path) -> Prepared:
    """Check that a study can be created, resumed, or grown if `n` or `budget` is larger, without writing to its folder.

    Args:
        values: the config as plain values.
        root: the study folder.
    Raises:
        ValueError: a value is not allowed, a model does not fit the data, or the study has another config.
    """
    paths = StudyPaths(Path(root))
    if not paths.manifest.exists():
        check_is_models(paths.models)
        return Prepared(paths.root, values, None, draw(values))
    study = Study.open(root)
    values = with_earlier_padding(values, study)
    _check_same(study, values)
    if all(values.get(key) == study.config.get(key) for key in ("n", "budget", "search")):
        return Prepared(paths.root, values, study, None)
    drawn = draw(values, study.manifest.get("spaces"))
    if drawn.data_id != (before := study.manifest["data_id"]):
        raise ValueError(f"run = {root}: cannot grow, because its data_id is {before} and is {drawn.data_id} now")
    _new_models(study.drawn, drawn, root)
    return Prepared(paths.root, values, study, drawn)


def freeze(prepared: Prepared) -> Study:
    """Create, grow or open a prepared study.

    Raises:
        ValueError: another command has frozen the study with another config in the meantime.
    """
    paths = StudyPaths(prepared.root)
    if prepared.study is not None and prepared.drawn is None:
        return prepared.study
    paths.root.mkdir(parents=True, exist_ok=True)
    with _locked(paths.lock):
        before = Study.open(paths.root).manifest if paths.manifest.exists() else None
        if before != (prepared.study.manifest if prepared.study else None):
            prepared = prepare(prepared.values, paths.root)
        if prepared.drawn is not None:
            _write(paths, prepared.values, prepared.study, prepared.drawn)
    return Study.open(paths.root)


def _write(paths: StudyPaths, values: Mapping[str, Any], study: Study | None, drawn: Drawn) -> None:
    old = study.drawn if study is not None else ()
    lines = [model.to_line() for model in old + _new_models(old, drawn, paths.root)]
    replace_file(paths.models, "".join(line + "\n" for line in lines))
    manifest = (dict(study.manifest) if study else {"created_at": now()}) | {
        "config": dict(values),
        "config_hash": config_hash(values),
        "spaces": drawn.spaces,
        "frozen_at": now(),
        "recipe_id": drawn.recipe_id,
        "data_id": drawn.data_id,
        "sampling": drawn.sampling,
        "models": len(lines),
        "models_sha256": lines_hash(lines),
        "environment": environment(),
    }
    replace_file(paths.manifest, json.dumps(manifest, indent=1))


def draw(values: Mapping[str, Any], frozen: Mapping[str, Any] | None = None) -> Drawn:
    """Prepare the data and draw `n` models from every space.

    Args:
        values: the config as plain values.
        frozen: complete mappings of the spaces by label; by default, those that the config describes.
    Raises:
        ValueError: a config value is not allowed, or a model does not fit the data.
    """
    config = StudyConfig.from_mapping(values)
    if not config.spaces:
        raise ValueError("spaces: required and empty; name some, like spaces=[regnetx], or choose an experiment")
    _complete(values["spaces"])  # report errors before the data are downloaded
    prepare_data(config.data)
    splits = open_data(config.data)
    if advice := config.recipe.advice(len(splits.train_labels)):
        log.warning(advice)
    image = {"resolution": splits.resolution, "in_channels": splits.in_channels, "classes": splits.classes}
    spaces = {label: study_space(values, label, image) for label in config.spaces}
    if frozen:
        for label, space in spaces.items():
            if space != (before := space_from_config(frozen[label])):
                log.warning("spaces.%s: now defined differently; the study keeps the space it was frozen with", label)
                spaces[label] = before
    models, sampling = [], {}
    for label, space in spaces.items():
        field = f"spaces.{label}.template.resolution"
        if warning := config.recipe.resizing(field, space.template.resolution, splits.resolution):
            log.warning(warning)
        check_search(config, label, space)
        population = space.sample(config.n, config.seed)
        report = population.report
        sampling[label] = {
            "asked": config.n,
            "drawn": report.drawn,
            "kept": report.kept,
            "acceptance": report.acceptance,
            "rejected": dict(report.rejected),
            "distinct": report.distinct,
            "duplicates": report.duplicates,
            "duplicate_share": report.duplicate_share,
        }
        for row in population.rows():
            _check_fits(label, row["spec"], image)
            models += models_of(row, label, config.recipe, splits.data_id, config.training_seeds)
    order = {label: number for number, label in enumerate(spaces)}
    models.sort(key=lambda model: (model.index, order[model.space], model.seed))
    mappings = {label: space.to_mapping() for label, space in spaces.items()}
    return Drawn(tuple(models), mappings, sampling, config.recipe.recipe_id, splits.data_id)


def models_of(
    row: Mapping[str, Any], label: str, recipe: Recipe, data_id: str, seeds: Sequence[int], proposed_by: str = ""
) -> list[StudyModel]:
    """The models of one network, one for each training seed.

    Args:
        row: of `Population.rows`.
        label: the space's name in the study.
        recipe: of the study.
        data_id: of the study.
        seeds: training seeds.
        proposed_by: search strategy, if it is not a random draw.
    """
    recipe_id = recipe.with_rates(row["parameters"]).recipe_id
    keys = {seed: record_key(row["spec_id"], recipe_id, data_id, seed) for seed in seeds}
    fields = {**row, "space": label, "proposed_by": proposed_by}
    return [StudyModel(**(fields | {"key": key, "seed": seed})) for seed, key in keys.items()]


def check_search(config: StudyConfig, label: str, space: DesignSpace) -> None:
    """Check that the search of a study can propose enough models of a space.

    Raises:
        ValueError: the space has too few free parameters or networks.
        MissingPackage: a library that the search uses is not installed.
    """
    if config.search is None or config.budget is None:
        return
    for package in SEARCH_PACKAGES[config.search]:
        optional(package, "search")
    free = [one for one in space.parameters.values() if one.is_continuous or len(one.values) > 1]
    numeric = [one for one in free if not isinstance(one, Choice)]
    if not free:
        raise ValueError(f"search = {config.search}: must be null, because spaces.{label} has no free parameter")
    if config.search == "cmaes" and sum(space.draws_of(one) for one in numeric) < 2:
        raise ValueError(
            f"search = cmaes: must be tpe or nsga2, because spaces.{label} has fewer than two numeric parameters"
        )
    try:
        distinct_draws(space, config.budget, config.seed)
    except ValueError as error:
        text = str(error).replace("n = ", "budget = ", 1).replace("reduce n", "reduce budget")
        # Proposals are distinct networks also in a space that keeps duplicates.
        raise ValueError(text.removesuffix(", or set duplicates = keep")) from None


def distinct_draws(space: DesignSpace, budget: int, seed: int) -> Population:
    """The first distinct networks of a space's random stream, as many as the budget.

    They always contain a network that the study lacks, because a study has fewer until its budget is used up.
    """
    return space.changed(duplicates="drop").sample(budget, seed)


def study_space(values: Mapping[str, Any], label: str, image: Mapping[str, int]) -> DesignSpace:
    """A space of a study.

    Args:
        values: the config; `template`, `complexity` and `duplicates` are defaults that a space may override.
        label: the space's name in the study.
        image: resolution, in_channels and classes of the data, the defaults of the template.
    Raises:
        ValueError: a setting of the space is not allowed.
    """
    given = values["spaces"][label]
    limits = {name: limit for name, limit in values["complexity"].items() if limit is not None}
    from_data = {
        "resolution": image["resolution"],
        "in_channels": image["in_channels"],
        "head": {"classes": image["classes"]},
    }
    return space_from_config(
        {
            "name": label,  # the key of the random stream: the spaces of a study are drawn independently
            "duplicates": values["duplicates"],
            **given,
            "template": merge(merge(from_data, values["template"]), given.get("template") or {}),
            "constraints": {**limits, **(given.get("constraints") or {})},
        }
    )


def with_earlier_padding(values: Mapping[str, Any], study: Study) -> Mapping[str, Any]:
    """The config with black padding for a study of an earlier version, where all recipes had it."""
    before, recipe = study.config.get("recipe") or {}, values["recipe"]
    if "padding_color" in before or not recipe.get("crop_padding") or recipe.get("padding_color", "black") == "black":
        return values
    log.warning("recipe.padding_color = black, as in the version that started %s", study.paths.root)
    return {**values, "recipe": {**recipe, "padding_color": "black"}}


def environment() -> dict[str, Any]:
    """Return versions, git revision and machine as plain values for the manifest."""
    return {
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in (*PACKAGES, *block_packages())},
        "git": git_state(Path(__file__).parent),
        "host": socket.gethostname(),
        "platform": platform.platform(),
        "cores": cores(),
    }


def git_state(folder: Path) -> dict[str, Any] | None:
    """Return the revision of the source tree and whether it has uncommitted changes; None without git."""
    try:
        revision = _git(folder, "rev-parse", "HEAD")
        dirty = bool(_git(folder, "status", "--porcelain", "--untracked-files=no", "."))
    except (OSError, subprocess.SubprocessError):
        return None
    return {"revision": revision, "dirty": dirty}


def _git(folder: Path, *arguments: str) -> str:
    return subprocess.run(
        ["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=True, timeout=10
    ).stdout.strip()


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _check_same(study: Study, values: Mapping[str, Any]) -> None:
    root = study.paths.root
    frozen = EARLIER | dict(study.config)
    if int(values["n"]) == study.config["n"]:  # nothing is drawn, so a study of an earlier version continues as it is
        frozen |= {key: values[key] for key in EARLIER if key not in study.config}
    if frozen["spaces"] != values["spaces"] and _complete(frozen["spaces"]) == _complete(values["spaces"]):
        frozen["spaces"] = values["spaces"]  # the same spaces, written differently
    if frozen.get("search") is None:  # a study may become a search
        frozen |= {key: values.get(key) for key in ("search", "objectives")}
    if changed := changes(frozen, values):
        earlier = [f"{key} = {value}" for key, value in EARLIER.items() if key not in study.config]
        note = f" by an earlier version, with {', '.join(earlier)}" if earlier else ""
        raise ValueError(
            f"run = {root}: was frozen with another config{note}; use another run, or undo these changes: "
            + "; ".join(changed)
        )
    for key in ("n", "budget"):
        before = study.config.get(key)
        if before is not None and int(values[key]) < before:
            raise ValueError(f"{key} = {values[key]}: must be at least {before}, which {root} was frozen with")
    if study.proposals and int(values["n"]) != study.config["n"]:
        raise ValueError(
            f"n = {values['n']}: must be {study.config['n']}, because {root} has proposals; increase budget instead"
        )


def _complete(spaces: Mapping[str, Any]) -> dict[str, Any]:
    return {label: space_from_config({"name": label, **space}).to_mapping() for label, space in spaces.items()}


def _check_fits(label: str, spec: Mapping[str, Any], image: Mapping[str, int]) -> None:
    # Images are resized to the resolution of the spec.
    for field, value, needed in (
        ("head.classes", spec["head"]["classes"], image["classes"]),
        ("in_channels", spec["in_channels"], image["in_channels"]),
    ):
        if value != needed:
            raise ValueError(f"spaces.{label}.template.{field} = {value}: must be {needed}, as in the data")


def _new_models(old: tuple[StudyModel, ...], drawn: Drawn, root: str | Path) -> tuple[StudyModel, ...]:
    """Return the drawn models that the study lacks; the ones it has must be among the drawn."""
    keys = {model.place: model.key for model in drawn.models}
    for model in old:
        if keys.get(model.place) != model.key:
            raise ValueError(
                f"run = {root}: cannot grow, this version draws model {model.index} of {model.space} differently"
            )
    places = {model.place for model in old}
    return tuple(model for model in drawn.models if model.place not in places)


def _flat(value: Any, prefix: str = "") -> dict[str, Any]:
    """Return nested mappings as a flat one with dotted names."""
    if not isinstance(value, Mapping) or not value:
        return {prefix: value}
    flat: dict[str, Any] = {}
    for key, item in value.items():
        flat |= _flat(item, f"{prefix}.{key}" if prefix else str(key))
    return flat


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold a lock, so that two drivers do not freeze one study at the same time.

    Without locks, as on some network mounts, drivers of the same command write the same two files, each atomically.
    """
    lock = FileLock(path)
    with contextlib.suppress(OSError):
        lock.acquire()
    try:
        yield
    finally:
        lock.release()
