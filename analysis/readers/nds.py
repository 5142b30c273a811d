"""The JSON files of "On Network Design Spaces for Visual Recognition" (facebookresearch/nds)."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from analysis.formatting import Note
from analysis.readers.cells import LARGEST
from analysis.readers.fields import Fields, unreadable_note


def read_nds(content: Any, name: str) -> tuple[pd.DataFrame, list[str], tuple[Note, ...]]:
    """Read the records of one NDS file.

    The error is the test error of the last epoch if the file has the curve. `min_test_top1`, the smallest over the
    epochs, which the paper reports, is a column of its own. Unreadable values become unknown, with a note.

    Args:
        content: the parsed file: a list of records, or (`*_reruns`) a mapping with one list per group of models.
        name: file name without suffix, such as "ResNeXt-A"; the label of the space. `ResNet_rng1` to `_rng3` are three
            seeds of the same networks and share a label.

    Returns:
        Rows, parameter names, notes.

    Source: Radosavovic et al. 2019 (arXiv 1905.13214) and the notebooks published with its data. The lists of a network
    start with the stem, and are empty for blocks without groups and bottleneck. `bot_muls` is inner over outer width,
    the inverse of our bottleneck ratio. `num_gs` is the number of groups.
    """
    space = re.sub(r"_rng\d+$", "", name)
    groups: list[tuple[str, Any]] = list(content.items()) if isinstance(content, Mapping) else [("", content)]
    rows, records = [], []
    indices: dict[str, int] = {}
    for group, members in groups:
        for position, member in enumerate(members if isinstance(members, list) else [members]):
            record = Fields(member)
            net, optim, seed = record.fields("net"), record.fields("optim"), record.integer("rng_seed", 0)
            own = [] if net.value and seed is not None else [name, group, position]
            key = json.dumps([net.value, optim.value, *own], sort_keys=True)
            row = _training(record, optim) | _network(net)
            row |= {
                "space": space,
                "index": indices.setdefault(key, len(indices)),
                "seed": seed or 0,
                "spec_id": hashlib.sha256(key.encode()).hexdigest()[:16],
                "message": "; ".join(record.problems) if np.isnan(row["error_percent"]) else "",
            }
            records.append(record)
            rows.append(row | ({"rerun_group": group} if group else {}))
    frame = pd.DataFrame(rows)
    settings = {"depth", "width", "learning_rate", "weight_decay"}
    parameters = [str(column) for column in frame if column in settings or str(column).rpartition("_")[2].isdigit()]
    return frame, parameters, (_note(frame, space), *unreadable_note(records, space))


def _training(record: Fields, optim: Fields) -> dict[str, Any]:
    curve = tuple(record.numbers("test_ep_top1"))
    smallest = record.number("min_test_top1")
    max_epochs = optim.number("max_ep")
    return {
        "job_id": str(record.value.get("job_id") or ""),
        "macs": record.number("flops", low=1),
        "params": record.number("params", low=1),
        "error_percent": record.percent(*(("test_ep_top1", curve[-1]) if curve else ("min_test_top1", smallest))),
        "min_test_top1": smallest,
        "epoch_validation_error_percent": curve,
        "epoch_train_error_percent": tuple(record.numbers("train_ep_top1")),
        "epoch_train_loss": tuple(record.numbers("train_ep_loss")),
        "epochs_done": len(curve) or (int(max_epochs) if np.isfinite(max_epochs) else 0),
        "learning_rate": optim.number("base_lr"),
        "weight_decay": optim.number("wd"),
    }


def _network(net: Fields) -> dict[str, Any]:
    if "genotype" in net:  # a cell-based space has one width, one depth and one cell
        return {"depth": net.number("depth"), "width": net.number("width"), "block_widths": None}
    if not net.value:
        return {"block_widths": None}
    depths, widths, groups = (_counts(net, name) for name in ("ds", "ws", "num_gs"))
    multipliers = net.numbers("bot_muls")[1:]
    lengths = {len(depths), len(widths)} | {len(values) for values in (groups, multipliers) if values}
    if len(lengths) > 1 or not depths:
        net.problem(
            "ds", f"must match ws ({len(widths)}), num_gs ({len(groups)}) and bot_muls ({len(multipliers)} values)"
        )
        return {"block_widths": None}
    per_stage: dict[str, Sequence[float]] = {
        "depth": depths,
        "width": widths,
        "groups": groups,
        "bottleneck_ratio": [1 / multiplier if multiplier > 0 else np.nan for multiplier in multipliers],
    }
    network: dict[str, Any] = {"block_type": net.value.get("block_type"), "depth": sum(depths)}
    network["block_widths"] = tuple(w for w, depth in zip(widths, depths, strict=True) for _ in range(depth))
    for name, values in per_stage.items():
        network |= {f"{name}_{stage}": value for stage, value in enumerate(values, start=1)}
    return network


def _counts(net: Fields, name: str) -> list[int]:
    """The numbers of the stages, without the stem; empty if absent or unreadable."""
    values = net.numbers(name)[1:]
    if all(1 <= value <= LARGEST and value % 1 == 0 for value in values):
        return [int(value) for value in values]
    net.problem(name, f"must be whole numbers from 1 to {LARGEST:,}")
    return []


def _note(frame: pd.DataFrame, space: str) -> Note:
    if any(len(curve) for curve in frame["epoch_validation_error_percent"]):
        gap = float((frame["error_percent"] - frame["min_test_top1"]).replace(np.inf, np.nan).mean())
        text = (
            "the error is the test error of the last epoch; the paper reports min_test_top1, the smallest over the "
            "epochs, which is optimistic"
        )
        return Note(space, text, f"{gap:.2f} points lower on average", about="error_percent")
    text = "the error is min_test_top1, the smallest test error over the epochs, which is optimistic"
    return Note(space, text, about="error_percent")
