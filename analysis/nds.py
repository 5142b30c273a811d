"""The JSON files of "On Network Design Spaces for Visual Recognition" (facebookresearch/nds)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd


def read_nds(
    content: list[dict[str, Any]] | Mapping[str, Any], space: str
) -> tuple[pd.DataFrame, list[str], tuple[str, ...]]:
    """Records of one NDS file as rows.

    Args:
        content: the parsed file: a list of records, or (`*_reruns`) a mapping of lists.
        space: label of the space, usually the file's name, e.g. "ResNeXt-A".

    Returns:
        Rows, names of the parameters, notes. The error is the test error of the last epoch where the file has the
        curve; `min_test_top1`, the number the paper reports, is the smallest over the epochs and kept beside it.

    Source: Radosavovic et al. 2019 (arXiv 1905.13214). `ds`, `ws` and `ss` begin with the stem; `bot_muls` are inner
    over outer width, the inverse of our bottleneck ratio; `num_gs` are numbers of groups.
    """
    rows = []
    places: dict[str, int] = {}
    for group, record in _flat(content):
        net, optim = record["net"], record.get("optim") or {}
        key = json.dumps([net, optim], sort_keys=True)
        curve = _numbers(record.get("test_ep_top1"))
        last = curve[-1] if curve else record.get("min_test_top1")
        row: dict[str, Any] = {
            "space": space,
            "index": places.setdefault(key, len(places)),
            "seed": record.get("rng_seed", 0),
            "spec_id": hashlib.sha256(key.encode()).hexdigest()[:16],
            "job_id": record.get("job_id"),
            "macs": record.get("flops"),
            "params": record.get("params"),
            "error_percent": last,
            "min_test_top1": record.get("min_test_top1"),
            "epoch_validation_error_percent": tuple(curve),
            "epoch_train_error_percent": tuple(_numbers(record.get("train_ep_top1"))),
            "epoch_train_loss": tuple(_numbers(record.get("train_ep_loss"))),
            "epochs_done": len(curve) or optim.get("max_ep"),
            "learning_rate": optim.get("base_lr"),
            "weight_decay": optim.get("wd"),
        }
        if group:
            row["rerun_group"] = group
        rows.append(row | _network(net))
    frame = pd.DataFrame(rows)
    known = {"depth", "width", "learning_rate", "weight_decay"}
    parameters = [name for name in frame if name in known or str(name).rpartition("_")[2].isdigit()]
    # One learning rate for all is a part of the recipe, not a parameter; the analysis leaves constants out by itself.
    return frame, [str(name) for name in parameters], (_note(frame, space),)


def _flat(content: list[dict[str, Any]] | Mapping[str, Any]) -> Iterable[tuple[str, dict[str, Any]]]:
    groups = content.items() if isinstance(content, Mapping) else [("", content)]
    for group, records in groups:
        for record in records:
            # A rerun file may hold the runs of one network as a list of its own.
            for one in record if isinstance(record, list) else [record]:
                yield str(group), one


def _network(net: dict[str, Any]) -> dict[str, Any]:
    if "ds" not in net:  # a cell-based space: one width, one depth, a genotype
        return {"depth": net.get("depth"), "width": net.get("width"), "block_widths": None}
    depths, widths = net["ds"][1:], net["ws"][1:]
    found: dict[str, Any] = {"block_type": net.get("block_type"), "depth": int(sum(depths))}
    found["block_widths"] = tuple(int(w) for w, d in zip(widths, depths, strict=True) for _ in range(int(d)))
    per_stage = {"depth": depths, "width": widths, "groups": net.get("num_gs") or ()}
    per_stage["bottleneck_ratio"] = [1 / m for m in net.get("bot_muls") or () if m]
    for name, values in per_stage.items():
        # num_gs and bot_muls may begin with the stem as ds and ws do.
        stages = values[-len(depths) :]
        found |= {f"{name}_{stage}": value for stage, value in enumerate(stages, start=1)}
    return found


def _numbers(values: Any) -> list[float]:
    return [float(v) for v in values or () if v is not None and np.isfinite(v)]


def _note(frame: pd.DataFrame, space: str) -> str:
    if any(len(curve) for curve in frame["epoch_validation_error_percent"]):
        gap = float((frame["error_percent"] - frame["min_test_top1"].astype(float)).mean())
        return (
            f"{space}: the error is the test error of the last epoch; min_test_top1, the smallest over the epochs that "
            f"the paper reports, is {gap:.2f} points lower on average because it chooses the epoch by the test split"
        )
    return f"{space}: the error is min_test_top1, the smallest test error over the epochs, which is optimistic"
