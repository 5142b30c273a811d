"""Freezing a study, once, before any worker starts.

The driver draws the populations, checks that every model fits the data, and writes models.jsonl and manifest.json. For
an existing study it checks that the config is the one the study was frozen with; only `n` may have grown.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from designspace.atomic import replace_file
from designspace.study import Study, StudyModel, StudyPaths, check_is_models, lines_hash, now
from sweeps.environment import environment
from sweeps.study.population import Drawn, draw

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
)
"""Config keys that define a study and never change; `n` may grow, and all others are free at every start."""

FREE_OF_DATA = ("root", "workers", "max_pixels")
"""Keys of `data` that are free as well: where the images are, how they are decoded, and which are too large."""

EARLIER = {"duplicates": "drop"}
"""Keys that the manifests of earlier versions lack, with the values that their studies were drawn with."""


def frozen_part(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return what must be equal at every start: the keys in FROZEN, without FREE_OF_DATA."""
    known = EARLIER | dict(config)
    part = {key: known[key] for key in FROZEN if key in known}
    part["data"] = {key: value for key, value in (known.get("data") or {}).items() if key not in FREE_OF_DATA}
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
        if before.get(key) != after.get(key)  # null is a setting that an earlier version did not have
    ]


def freeze(config: Mapping[str, Any], root: str | Path) -> Study:
    """Create the study, or check the existing one and grow it if `n` is larger, and open it.

    Args:
        config: the resolved config, plain values.
        root: the study folder.
    Raises:
        ValueError: a value is not allowed, a model does not fit the data, or the study was frozen with another config.
    """
    paths = StudyPaths(Path(root))
    paths.root.mkdir(parents=True, exist_ok=True)
    with _locked(paths.lock):
        study = Study.open(root) if paths.manifest.exists() else None
        if study is None:
            check_is_models(paths.models)
        else:
            _check_same(study, config)
            if int(config["n"]) == study.config["n"]:
                return study
        drawn = draw(config)
        if study is not None and drawn.data_id != (before := study.manifest["data_id"]):
            raise ValueError(f"'{root}' cannot grow: its data were {before} and are {drawn.data_id} now (data_id)")
        old = study.models if study is not None else ()
        models = old + _new_models(old, drawn, root)
        lines = [model.to_line() for model in models]
        replace_file(paths.models, "".join(line + "\n" for line in lines))
        manifest = (dict(study.manifest) if study else {"created_at": now()}) | {
            "config": dict(config),
            "config_hash": config_hash(config),
            "frozen_at": now(),
            "recipe_id": drawn.recipe_id,
            "data_id": drawn.data_id,
            "sampling": drawn.sampling,
            "models": len(models),
            "models_sha256": lines_hash(lines),
            "environment": environment(),
        }
        replace_file(paths.manifest, json.dumps(manifest, indent=1))
    return Study.open(root)


def _check_same(study: Study, config: Mapping[str, Any]) -> None:
    root = study.paths.root
    frozen = EARLIER | dict(study.config)
    if int(config["n"]) == study.config["n"]:  # nothing is drawn, so a study of an earlier version goes on as it is
        frozen |= {key: config[key] for key in EARLIER if key not in study.config}
    if changed := changes(frozen, config):
        earlier = [f"{key}={value}" for key, value in EARLIER.items() if key not in study.config]
        note = f" (an earlier version froze it, which means {', '.join(earlier)})" if earlier else ""
        raise ValueError(
            f"'{root}' was frozen with another config{note}; use another run=, or undo what changed: "
            + "; ".join(changed)
        )
    if int(config["n"]) < study.config["n"]:
        raise ValueError(
            f"n={config['n']} is not allowed: '{root}' was frozen with n={study.config['n']}, and n may only grow"
        )


def _new_models(old: tuple[StudyModel, ...], drawn: Drawn, root: str | Path) -> tuple[StudyModel, ...]:
    """Return the drawn models that the study does not have yet; those it has must be drawn again exactly."""
    keys = {model.place: model.key for model in drawn.models}
    for model in old:
        if keys.get(model.place) != model.key:
            raise ValueError(
                f"'{root}' cannot grow: model {model.index} of {model.space} is drawn differently by this version"
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
    """Hold an advisory lock, so that two drivers do not freeze one study at the same time.

    Without locks, as on some network mounts, drivers of the same command write the same two files, each atomically.
    """
    with open(path, "w") as stream:
        with contextlib.suppress(OSError):
            fcntl.flock(stream, fcntl.LOCK_EX)
        yield
