"""The JSON files of "On Network Design Spaces for Visual Recognition" (facebookresearch/nds)."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any

import pandas as pd


def read_nds(
    content: list[dict[str, Any]] | Mapping[str, list[dict[str, Any]]], name: str
) -> tuple[pd.DataFrame, list[str], tuple[str, ...]]:
    """Records of one NDS file as rows.

    Args:
        content: the parsed file: a list of records, or (`*_reruns`) one for the best and one for the middling.
        name: of the file, e.g. "ResNeXt-A"; the label of the space. `ResNet_rng1` to `_rng3` are the same networks from
            three seeds and have one label, so that together they are three trainings of each.

    Returns:
        Rows, names of the parameters, notes. The error is the test error of the last epoch where the file has the
        curve; `min_test_top1`, the number the paper reports, is the smallest over the epochs and kept beside it.

    Source: Radosavovic et al. 2019 (arXiv 1905.13214) and the notebooks beside its data. The lists of a network begin
    with its stem, and are empty where its blocks have no groups and no bottleneck; `bot_muls` are inner over outer
    width, the inverse of our bottleneck ratio; `num_gs` are numbers of groups.
    """
    space = re.sub(r"_rng\d+$", "", name)
    groups = content.items() if isinstance(content, Mapping) else [("", content)]
    rows = []
    places: dict[str, int] = {}
    for group, records in groups:
        for record in records:
            net, optim = record["net"], record.get("optim") or {}
            key = json.dumps([net, optim], sort_keys=True)
            curve = _curve(record.get("test_ep_top1"))
            row: dict[str, Any] = {
                "space": space,
                "index": places.setdefault(key, len(places)),
                "seed": record.get("rng_seed", 0),
                "spec_id": hashlib.sha256(key.encode()).hexdigest()[:16],
                "recipe_id": space,
                "job_id": record.get("job_id"),
                "macs": record.get("flops"),
                "params": record.get("params"),
                "error_percent": curve[-1] if curve else record.get("min_test_top1"),
                "min_test_top1": record.get("min_test_top1"),
                "epoch_validation_error_percent": curve,
                "epoch_train_error_percent": _curve(record.get("train_ep_top1")),
                "epoch_train_loss": _curve(record.get("train_ep_loss")),
                "epochs_done": len(curve) or optim.get("max_ep"),
                "learning_rate": optim.get("base_lr"),
                "weight_decay": optim.get("wd"),
            }
            if group:
                row["rerun_group"] = group
            rows.append(row | _network(net))
    frame = pd.DataFrame(rows)
    known = {"depth", "width", "learning_rate", "weight_decay"}
    parameters = [str(column) for column in frame if column in known or str(column).rpartition("_")[2].isdigit()]
    # One learning rate for all is a part of the recipe, not a parameter; the analysis leaves constants out by itself.
    return frame, parameters, (_note(frame, space),)


def _network(net: dict[str, Any]) -> dict[str, Any]:
    if "genotype" in net:  # a cell-based space: one width, one depth, one cell
        return {"depth": net.get("depth"), "width": net.get("width"), "block_widths": None}
    per_stage = {
        "depth": net["ds"][1:],
        "width": net["ws"][1:],
        "groups": net["num_gs"][1:],
        "bottleneck_ratio": [1 / multiplier for multiplier in net["bot_muls"][1:]],
    }
    found: dict[str, Any] = {"block_type": net.get("block_type"), "depth": sum(per_stage["depth"])}
    stages = zip(per_stage["width"], per_stage["depth"], strict=True)
    found["block_widths"] = tuple(int(width) for width, depth in stages for _ in range(depth))
    for name, values in per_stage.items():
        found |= {f"{name}_{stage}": value for stage, value in enumerate(values, start=1)}
    return found


def _curve(values: Any) -> tuple[float, ...]:
    """One value an epoch; a loss that is not a number stays in its place."""
    return tuple(float("nan") if value is None else float(value) for value in values or ())


def _note(frame: pd.DataFrame, space: str) -> str:
    if any(len(curve) for curve in frame["epoch_validation_error_percent"]):
        gap = float((frame["error_percent"] - frame["min_test_top1"].astype(float)).mean())
        return (
            f"{space}: the error is the test error of the last epoch; min_test_top1, the smallest over the epochs that "
            f"the paper reports, is {gap:.2f} points lower on average because it chooses the epoch by the test split."
        )
    return f"{space}: the error is min_test_top1, the smallest test error over the epochs, which is optimistic."
