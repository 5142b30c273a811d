"""A study folder of the documented format, written without training: networks drawn, errors made up."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from designspace.spaces import space_from_config
from designspace.study import Record, lines_hash, record_key

sys.path.insert(0, str(Path(__file__).parent))  # for live_server

RECIPE, DATA = "0123456789abcdef", "fedcba9876543210"
SHARED_DATA = Path(__file__).parents[3] / "shared" / "data"
SPACES = {"bottleneck": (1.0, (2e6, 20e6)), "inverted": (0.5, (2e6, 20e6))}

TEMPLATE = {"resolution": 28, "in_channels": 1, "head": {"classes": 10}, "stem": {"width": 16, "stride": 1}}


def settings(ratio: float, macs: tuple[float, float]) -> dict[str, Any]:
    """A RegNetX space with one bottleneck ratio; all of them share a random stream."""
    parameters = {
        "depth": {"distribution": "log_uniform", "low": 4, "high": 24},
        "w_0": {"distribution": "log_uniform", "low": 8, "high": 64, "step": 8},
        "w_a": {"distribution": "log_uniform", "low": 4, "high": 64, "step": 0.1},
        "bottleneck_ratio": {"distribution": "choice", "options": [ratio]},
    }
    return {"base": "regnetx", "name": "regnetx", "parameters": parameters, "constraints": {"macs": list(macs)}}


def write_study(
    folder: Path,
    *,
    n: int = 24,
    seed: int = 0,
    failures: dict[int, str] | None = None,
    untrained: int = 0,
    recipe_id: str = RECIPE,
    advantage: float = 2.0,
    spaces: Mapping[str, tuple[float, tuple[float, float]]] = SPACES,
    training_seeds: tuple[int, ...] | None = None,
    search: str = "",
    budget: int = 0,
    gain: float = 0.0,
) -> Path:
    """Write a study.

    Args:
        n: models per space.
        failures: status by position in models.jsonl.
        untrained: models at the end of the list left without a record.
        spaces: label to bottleneck ratio and limits of macs.
        advantage: how many points spaces are better by whose label begins with "bottleneck".
        training_seeds: by default the seed of the draws.
        search, budget: strategy that proposed the models from number n to the budget, if there is one.
        gain: how many points the proposals are better than random draws.
    """
    rng = np.random.default_rng(seed)
    (folder / "records").mkdir(parents=True)
    models, sampling = [], {}
    configs = {label: settings(*space) for label, space in spaces.items()}
    for label, config in configs.items():
        population = space_from_config(config | {"template": TEMPLATE}).sample(max(n, budget), seed)
        report = population.report
        sampling[label] = {
            "asked": n,
            "drawn": report.drawn,
            "kept": report.kept,
            "acceptance": report.acceptance,
            "rejected": dict(report.rejected),
            "distinct": report.distinct,
            "duplicates": report.duplicates,
        }
        for row in population.rows():
            for trained in training_seeds or (seed,):
                key = record_key(row["spec_id"], recipe_id, DATA, trained)
                proposed = {"proposed_by": search} if row["index"] >= n else {}
                models.append(row | {"space": label, "seed": trained, "key": key} | proposed)
    models.sort(key=lambda model: (model["index"], model["space"]))
    lines = [json.dumps(model) for model in models]
    (folder / "models.jsonl").write_text("".join(line + "\n" for line in lines))
    manifest = _manifest(n, seed, sampling, len(models), recipe_id, configs) | {"models_sha256": lines_hash(lines)}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    for position, model in enumerate(models[: len(models) - untrained]):
        record = _record(model, (failures or {}).get(position, "ok"), rng, recipe_id, advantage)
        if model.get("proposed_by") and record.error_percent is not None:
            record = replace(record, error_percent=max(0.0, record.error_percent - gain))
        if not (path := folder / "records" / f"{model['key']}.json").exists():
            path.write_text(record.to_json())
    return folder


def _record(model: dict[str, Any], status: str, rng: np.random.Generator, recipe_id: str, advantage: float) -> Record:
    better = advantage if model["space"].startswith("bottleneck") else 0.0
    error = 17 - better + 0.15 * abs(model["depth"] - 12) - 3 * math.log10(model["macs"] / 2e6) + rng.gamma(2.0, 1.0)
    error = round(float(error), 2)
    ok, stopped = status == "ok", status == "stopped"
    curve = (error + 6, error)
    return Record(
        **{name: model[name] for name in ("spec_id", "seed", "space", "index", "spec", "parameters")},
        **{name: model[name] for name in ("macs", "params", "acts", "depth")},
        recipe_id=recipe_id,
        data_id=DATA,
        status=status,
        message="" if ok or stopped else f"{status} <script>alert(1)</script> after 1 epoch",
        error_percent=error if ok else curve[0] if stopped else None,
        epochs_done=2 if ok else 1,
        updates=78 if stopped else 156,
        train_seconds=12.5,
        images_per_second=1600.0,
        epoch_train_loss=(1.2, 0.8),
        epoch_validation_error_percent=curve if ok else curve[:1] if stopped else (90.0,),
        device_name="made up",
        torch_version="0",
        dtype="float32",
    )


def _manifest(
    n: int, seed: int, sampling: dict[str, Any], models: int, recipe_id: str, spaces: dict[str, Any]
) -> dict[str, Any]:
    return {
        "created_at": "2026-01-01T00:00:00+00:00",
        "config": {
            "n": n,
            "seed": seed,
            "training_seeds": [seed],
            "recipe": {"epochs": 2, "batch_size": 128, "learning_rate": 0.1},
            "data": {"name": "fashion_mnist", "subset": 10000, "validation_size": 5000},
            "complexity": {"macs": None},
            "spaces": spaces,
        },
        "config_hash": "0" * 16,
        "frozen_at": "2026-01-01T00:00:00+00:00",
        "recipe_id": recipe_id,
        "data_id": DATA,
        "sampling": sampling,
        "models": models,
        "environment": {
            "python": "3.11",
            "packages": {"torch": "0", "numpy": "0"},
            "git": {"revision": "0" * 40, "dirty": False},
            "host": "somewhere",
            "platform": "Linux",
            "cores": 2,
        },
    }


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """24 models per space, all trained but three failures and two missing."""
    return write_study(tmp_path / "study", failures={3: "diverged", 8: "out_of_memory", 10: "diverged"}, untrained=2)


@pytest.fixture(scope="session")
def make_study() -> Callable[..., Path]:
    """The writer itself, for other studies."""
    return write_study


@pytest.fixture
def shared_data() -> Callable[[str], Path]:
    """Path of a published table; the test is skipped, saying so, where it is absent."""

    def find(name: str) -> Path:
        path = SHARED_DATA / name
        if not path.exists():
            pytest.skip(f"the published table {name} is not on this machine ({path})")
        return path

    return find
