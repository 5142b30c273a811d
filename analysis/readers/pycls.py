"""The sweep.json of pycls (facebookresearch/pycls, docs/SWEEP_INFO.md)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from analysis.formatting import Note
from analysis.readers.fields import Fields, unreadable_note
from designspace import ModelSpec
from designspace.pycls import PARAMETERS, SECTIONS, from_pycls

NOT_THE_MODEL = ("RNG_SEED", "OUT_DIR", "DESC", "HOST", "PORT")
"""Settings that may differ between trainings of one model."""

NAMES = PARAMETERS | {"OPTIM": {"BASE_LR": "learning_rate", "WEIGHT_DECAY": "weight_decay"}}
"""pycls settings by section, with our names; lists have one value per stage."""


def read_pycls(jobs: Sequence[Any], space: str) -> tuple[pd.DataFrame, list[str], tuple[Note, ...]]:
    """Read the jobs of one sweep. A job that did not finish is a failed model.

    The error is top1_err of the last test epoch, without averaged weights; `min_top1_err` and `ema_error_percent` are
    further columns. Every numeric setting that differs between jobs is a parameter. Jobs that differ only in the seed
    are trainings of one model. Unreadable values become unknown, with a note; a job whose error is unreadable crashed.

    Args:
        jobs: the parsed sweep.json.
        space: label of the space, usually the name of the sweep.

    Returns:
        Rows, parameter names, notes.
    """
    fields = [Fields(job) for job in jobs]
    configs = [job.fields("cfg").value for job in fields]
    settings = _parameters(configs)
    specs = [_spec(config, job.problems) for config, job in zip(configs, fields, strict=True)]
    seeds = [job.fields("cfg").integer("RNG_SEED", 0) for job in fields]
    names = _names(fields, configs, seeds, specs, space)
    indices: dict[str, int] = {}
    rows, optimistic = [], False
    for job, spec, name, seed, varying in zip(fields, specs, names, seeds, settings, strict=True):
        row = _training(job)
        optimistic |= row["status"] == "ok" and not job.fields("test_epoch").numbers("top1_err")
        row |= {
            "space": space,
            "index": indices.setdefault(name, len(indices)),
            "seed": seed or 0,
            "spec_id": name,
            "spec": None if spec is None else json.loads(spec.to_json()),
            "block_widths": None if spec is None else spec.block_widths,
        }
        rows.append(row | ({} if spec is None else {"depth": spec.depth}) | varying)
    parameters = list(dict.fromkeys(key for varying in settings for key in varying))
    text = "the error is the last epoch's on the split that pycls tests on after each epoch"
    notes = [Note(space, text, about="error_percent")]
    if optimistic:
        text = "some errors are min_top1_err, the smallest over the epochs, which is optimistic"
        notes.append(Note(space, text, about="error_percent"))
    return (
        pd.DataFrame(rows),
        ["depth", *(name for name in parameters if name != "depth")],
        (*notes, *unreadable_note(fields, space)),
    )


def _training(job: Fields) -> dict[str, Any]:
    """Outcome and complexity of a job."""
    test, train, complexity = job.fields("test_epoch"), job.fields("train_epoch"), job.fields("complexity")
    errors, smallest = test.numbers("top1_err"), [e for e in test.numbers("min_top1_err") if np.isfinite(e)]
    error = test.percent("top1_err", errors[-1] if errors else min(smallest, default=np.nan))
    status, message = _status(job, test, error, bool(errors))
    epochs = test.numbers("epoch_ind")
    every_epoch = epochs == list(range(1, len(epochs) + 1))  # pycls can test at longer intervals
    ema = job.fields("test_ema_epoch").numbers("top1_err")
    return {
        "status": status,
        "message": message,
        "macs": complexity.number("flops", low=1),
        "params": complexity.number("params", low=1),
        "acts": complexity.number("acts", low=1),
        "error_percent": error if status == "ok" else np.nan,
        "min_top1_err": min(smallest, default=np.nan),
        "ema_error_percent": ema[-1] if ema else np.nan,
        "epoch_validation_error_percent": tuple(errors) if every_epoch else (),
        "epoch_train_error_percent": tuple(train.numbers("top1_err")),
        "epoch_train_loss": tuple(train.numbers("loss")),
        "epochs_done": int(epochs[-1]) if epochs and np.isfinite(epochs[-1]) else 0,
    }


def _status(job: Fields, test: Fields, error: float, tested: bool) -> tuple[str, str]:
    done, planned = test.numbers("epoch_ind"), test.numbers("epoch_max")
    log = str(job.value.get("err") or "").strip()
    last_line = log.splitlines()[-1] if log else ""
    if not np.isfinite(error):
        if "out of memory" in log:
            return "out_of_memory", last_line
        if tested and not job.problems:
            return "diverged", last_line or f"top1_err is {error}"
        return "crashed", "; ".join(
            dict.fromkeys([*job.problems, *filter(None, [last_line])])
        ) or "no test epoch in the log"
    if done and planned and done[-1] < planned[-1]:
        return "crashed", f"stopped after epoch {done[-1]:.0f} of {planned[-1]:.0f}. {last_line}".strip()
    return "ok", ""


def _spec(config: Mapping[str, Any], problems: list[str]) -> ModelSpec | None:
    """The network of a job; None if a spec cannot express it or the job has no config."""
    if not config:
        return None
    try:
        return from_pycls(config)
    except ValueError as error:
        problems.append(str(error))
        return None


def _names(
    jobs: list[Fields],
    configs: list[Mapping[str, Any]],
    seeds: list[int | None],
    specs: list[ModelSpec | None],
    space: str,
) -> list[str]:
    """The model of each job: its spec_id if that identifies it, otherwise a hash of all its settings.

    A job without settings, or with an unreadable seed, is a separate model.
    """
    hashes = []
    for position, (job, config, seed) in enumerate(zip(jobs, configs, seeds, strict=True)):
        settings = {key: value for key, value in config.items() if key not in NOT_THE_MODEL}
        own = [] if settings and seed is not None else [space, job.value.get("log_file"), position]
        identity = json.dumps([settings, *own] if own else settings, sort_keys=True)
        hashes.append(hashlib.sha256(identity.encode()).hexdigest()[:16])
    networks = [name if spec is None else spec.spec_id for name, spec in zip(hashes, specs, strict=True)]
    return networks if len(set(networks)) == len(set(hashes)) else hashes


def _parameters(configs: list[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The parameters of each job's model, then all other numbers in its config that differ between jobs."""
    described, other = [], []
    for config in configs:
        kind = _mapping(config.get("MODEL")).get("TYPE")
        section = SECTIONS.get(kind, "") if isinstance(kind, str) else ""
        numbers: dict[str, Any] = {}
        for name in filter(None, (section, "OPTIM")):
            for key, ours in NAMES[name].items():
                values = dict(_numbers_in(ours, _mapping(config.get(name)).get(key), "_"))
                inverse = ours == "bottleneck_ratio"
                numbers |= {place: 1 / v for place, v in values.items() if v} if inverse else values
        described.append(numbers)
        sections = {key: value for key, value in config.items() if key not in (*NOT_THE_MODEL, *SECTIONS.values())}
        other.append(dict(_numbers_in("", sections, ".")))
    same = {f"OPTIM.{key}" for key in NAMES["OPTIM"]}
    names = [name for name in dict.fromkeys(key for numbers in other for key in numbers) if name not in same]
    differ = [name for name in names if len({numbers.get(name) for numbers in other if numbers}) > 1]
    return [
        of_model | {name: numbers[name] for name in differ if name in numbers}
        for of_model, numbers in zip(described, other, strict=True)
    ]


def _numbers_in(name: str, value: Any, joint: str) -> Iterator[tuple[str, float]]:
    """All finite numbers in a nested setting, by name; list items are numbered from 1."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _numbers_in(f"{name}{joint}{key}" if name else key, item, joint)
    elif isinstance(value, list):
        for place, item in enumerate(value, start=1):
            yield from _numbers_in(f"{name}_{place}", item, joint)
    elif isinstance(value, int | float) and abs(value) < 2**63:
        yield name, value


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
