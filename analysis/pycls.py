"""The sweep.json that the sweeps of pycls collect (facebookresearch/pycls, docs/SWEEP_INFO.md)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd

from designspace import ModelSpec
from designspace.export import from_pycls

NOT_THE_MODEL = ("RNG_SEED", "OUT_DIR", "DESC", "HOST", "PORT")
"""Settings in which two trainings of one model differ."""

NAMES = {
    "REGNET": {
        "DEPTH": "depth",
        "W0": "w_0",
        "WA": "w_a",
        "WM": "w_m",
        "GROUP_W": "group_width",
        "BOT_MUL": "bottleneck_ratio",
    },
    "ANYNET": {"DEPTHS": "depth", "WIDTHS": "width", "GROUP_WS": "group_width", "BOT_MULS": "bottleneck_ratio"},
    "EN": {"DEPTHS": "depth", "WIDTHS": "width", "EXP_RATIOS": "expansion_ratio"},
    "OPTIM": {"BASE_LR": "learning_rate", "WEIGHT_DECAY": "weight_decay"},
}
"""Settings of pycls by section, in our words; pycls' BOT_MUL is the inverse of our b. Lists have a value a stage."""

SECTIONS = {"regnet": "REGNET", "anynet": "ANYNET", "effnet": "EN"}
"""The section that describes a model of each type; the others keep their defaults."""


def read_pycls(jobs: list[dict[str, Any]], space: str) -> tuple[pd.DataFrame, list[str], tuple[str, ...]]:
    """Jobs of one sweep as rows; a job that did not finish is a failed model, not a missing one.

    Args:
        jobs: the parsed sweep.json.
        space: label of the space, usually the name of the sweep.

    Returns:
        Rows, names of the parameters, notes. The error is top1_err of the last test epoch (without the averaged
        weights); `min_top1_err` and `ema_error_percent` are kept beside it. Every setting whose number differs between
        jobs is a parameter. Jobs that differ in their seed only are trainings of one model.
    """
    configs = [job.get("cfg") or {} for job in jobs]
    settings = _parameters(configs)
    specs = [_spec(config) for config in configs]
    names = _names(jobs, specs)
    places: dict[str, int] = {}
    rows, optimistic = [], False
    for job, config, spec, name, varying in zip(jobs, configs, specs, names, settings, strict=True):
        test, train = job.get("test_epoch") or {}, job.get("train_epoch") or {}
        errors, smallest = _numbers(test.get("top1_err")), _numbers(test.get("min_top1_err"))
        optimistic |= not errors and bool(smallest)
        error = errors[-1] if errors else min(smallest, default=np.nan)
        status, message = _status(job, test, error)
        epochs = _numbers(test.get("epoch_ind"))
        each = epochs == list(range(1, len(epochs) + 1))  # pycls may test every few epochs only
        complexity = job.get("complexity") or {}
        ema = _numbers((job.get("test_ema_epoch") or {}).get("top1_err"))
        row = {
            "space": space,
            "index": places.setdefault(name, len(places)),
            "seed": config.get("RNG_SEED", 0),
            "spec_id": name,
            "recipe_id": space,
            "status": status,
            "message": message,
            "macs": complexity.get("flops"),
            "params": complexity.get("params"),
            "acts": complexity.get("acts"),
            "error_percent": error if status == "ok" else np.nan,
            "min_top1_err": min(smallest, default=np.nan),
            "ema_error_percent": ema[-1] if ema else np.nan,
            "epoch_validation_error_percent": tuple(errors) if each else (),
            "epoch_train_error_percent": tuple(_numbers(train.get("top1_err"))),
            "epoch_train_loss": tuple(_numbers(train.get("loss"))),
            "epochs_done": int(epochs[-1]) if epochs else 0,
            "spec": None if spec is None else json.loads(spec.to_json()),
            "block_widths": None if spec is None else spec.block_widths,
        }
        rows.append(row | ({} if spec is None else {"depth": spec.depth}) | varying)
    frame = pd.DataFrame(rows)
    parameters = list(dict.fromkeys(key for varying in settings for key in varying))
    notes = [f"{space}: errors are those of the split pycls tests on after every epoch, here of the last epoch."]
    if optimistic:
        notes.append(f"{space}: some errors are min_top1_err, the smallest over the epochs, which is optimistic.")
    return frame, ["depth", *(name for name in parameters if name != "depth")], tuple(notes)


def _spec(config: Mapping[str, Any]) -> ModelSpec | None:
    """The network of a job; None where it has no words here or the job never came to say what it trains."""
    try:
        return from_pycls(config)
    except ValueError:
        return None


def _names(jobs: list[dict[str, Any]], specs: list[ModelSpec | None]) -> list[str]:
    """What the jobs train, by the network where that says it, else by all that they were told."""
    told = []
    for job in jobs:
        config = {key: value for key, value in (job.get("cfg") or {}).items() if key not in NOT_THE_MODEL}
        identity = json.dumps(config or job.get("log_file"), sort_keys=True)
        told.append(hashlib.sha256(identity.encode()).hexdigest()[:16])
    networks = [name if spec is None else spec.spec_id for name, spec in zip(told, specs, strict=True)]
    return networks if len(set(networks)) == len(set(told)) else told


def _parameters(configs: list[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The parameters of each job's model, then all other numbers of its configuration that differ between jobs."""
    known, other = [], []
    for config in configs:
        section = SECTIONS.get((config.get("MODEL") or {}).get("TYPE", ""), "")
        found: dict[str, Any] = {}
        for name in filter(None, (section, "OPTIM")):
            for key, ours in NAMES[name].items():
                value = (config.get(name) or {}).get(key)
                value = np.reciprocal(np.asarray(value, dtype=float)).tolist() if ours == "bottleneck_ratio" else value
                found |= dict(_numbers_in(ours, value, "_"))
        known.append(found)
        sections = {key: value for key, value in config.items() if key not in (*NOT_THE_MODEL, *SECTIONS.values())}
        other.append(dict(_numbers_in("", sections, ".")))
    same = {f"OPTIM.{key}" for key in NAMES["OPTIM"]}
    names = [name for name in dict.fromkeys(key for found in other for key in found) if name not in same]
    differ = [name for name in names if len({found.get(name) for found in other if found}) > 1]
    return [
        found | {name: numbers[name] for name in differ if name in numbers}
        for found, numbers in zip(known, other, strict=True)
    ]


def _numbers_in(name: str, value: Any, joint: str) -> Iterator[tuple[str, float]]:
    """All numbers in a nested setting, by name; those of a list are numbered from 1."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _numbers_in(f"{name}{joint}{key}" if name else key, item, joint)
    elif isinstance(value, list):
        for place, item in enumerate(value, start=1):
            yield from _numbers_in(f"{name}_{place}", item, joint)
    elif isinstance(value, int | float):
        yield name, value


def _status(job: Mapping[str, Any], test: Mapping[str, Any], error: float) -> tuple[str, str]:
    done, planned = (_numbers(test.get(name)) for name in ("epoch_ind", "epoch_max"))
    said = str(job.get("err") or "").strip()
    last_line = said.splitlines()[-1] if said else ""
    if not np.isfinite(error):
        return ("out_of_memory" if "out of memory" in said else "crashed"), last_line or "no test epoch in the log"
    if done and planned and done[-1] < planned[-1]:
        return "crashed", f"stopped after epoch {done[-1]:.0f} of {planned[-1]:.0f}. {last_line}".strip()
    return "ok", ""


def _numbers(values: Any) -> list[float]:
    return [float("nan") if value is None else float(value) for value in values or ()]
