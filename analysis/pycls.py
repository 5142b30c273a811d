"""The sweep.json that the sweeps of pycls collect (facebookresearch/pycls, docs/SWEEP_INFO.md)."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import numpy as np
import pandas as pd

from designspace.quantized_linear import QuantizedLinear


def read_pycls(jobs: list[dict[str, Any]], space: str) -> tuple[pd.DataFrame, list[str], tuple[str, ...]]:
    """Jobs of one sweep as rows; a job that did not finish is a failed model, not a missing one.

    Args:
        jobs: the parsed sweep.json.
        space: label of the space, usually the name of the sweep.

    Returns:
        Rows, names of the parameters, notes. The error is top1_err of the last test epoch (without the averaged
        weights); `min_top1_err` and `ema_error_percent` are kept beside it. pycls' BOT_MUL is the inverse of our b.
    """
    rows, optimistic = [], False
    for index, job in enumerate(jobs):
        cfg = job["cfg"]
        test = job.get("test_epoch") or {}
        curve = _numbers(test.get("top1_err"))
        smallest = _numbers(test.get("min_top1_err"))
        optimistic |= not curve and bool(smallest)
        error = curve[-1] if curve else min(smallest, default=np.nan)
        status, message = _status(job, test, error)
        identity = json.dumps([cfg.get(part) for part in ("MODEL", "REGNET", "ANYNET", "EN", "RESNET")], sort_keys=True)
        optim = cfg.get("OPTIM") or {}
        complexity = job.get("complexity") or {}
        train = job.get("train_epoch") or {}
        ema = _numbers((job.get("test_ema_epoch") or {}).get("top1_err"))
        rows.append(
            {
                "space": space,
                "index": index,
                "seed": cfg.get("RNG_SEED", 0),
                "spec_id": hashlib.sha256(identity.encode()).hexdigest()[:16],
                "status": status,
                "message": message,
                "macs": complexity.get("flops"),
                "params": complexity.get("params"),
                "acts": complexity.get("acts"),
                "error_percent": error if status == "ok" else np.nan,
                "min_top1_err": min(smallest, default=np.nan),
                "ema_error_percent": ema[-1] if ema else np.nan,
                "epoch_validation_error_percent": tuple(curve),
                "epoch_train_error_percent": tuple(_numbers(train.get("top1_err"))),
                "epoch_train_loss": tuple(_numbers(train.get("loss"))),
                "epochs_done": len(curve),
                "learning_rate": optim.get("BASE_LR"),
                "weight_decay": optim.get("WEIGHT_DECAY"),
                **_network(cfg),
            }
        )
    frame = pd.DataFrame(rows)
    known = {"depth", "w_0", "w_a", "w_m", "bottleneck_ratio", "group_width", "learning_rate", "weight_decay"}
    parameters = [str(name) for name in frame if name in known or str(name).rpartition("_")[2].isdigit()]
    notes = [f"{space}: errors are those of the split pycls tests on after every epoch, here of the last epoch"]
    if optimistic:
        notes.append(f"{space}: some errors are min_top1_err, the smallest over the epochs, which is optimistic")
    return frame, parameters, tuple(notes)


def _status(job: dict[str, Any], test: dict[str, Any], error: float) -> tuple[str, str]:
    done, planned = (_numbers(test.get(name)) for name in ("epoch_ind", "epoch_max"))
    said = str(job.get("err") or "").strip()
    last_line = said.splitlines()[-1] if said else ""
    if not np.isfinite(error):
        return ("out_of_memory" if "out of memory" in said else "crashed"), last_line or "no test epoch in the log"
    if done and planned and done[-1] < planned[-1]:
        return "crashed", f"stopped after epoch {done[-1]:.0f} of {planned[-1]:.0f}. {last_line}".strip()
    return "ok", ""


def _network(cfg: dict[str, Any]) -> dict[str, Any]:
    kind = str((cfg.get("MODEL") or {}).get("TYPE", "")).lower()
    regnet, anynet = cfg.get("REGNET") or {}, cfg.get("ANYNET") or {}
    if regnet.get("DEPTH") and kind in ("", "regnet"):
        found = {
            "depth": regnet["DEPTH"],
            "w_0": regnet.get("W0"),
            "w_a": regnet.get("WA"),
            "w_m": regnet.get("WM"),
            "bottleneck_ratio": 1 / regnet["BOT_MUL"] if regnet.get("BOT_MUL") else None,
            "group_width": regnet.get("GROUP_W"),
        }
        rule = QuantizedLinear(int(found["depth"]), found["w_0"], found["w_a"], found["w_m"])
        return found | {"block_widths": tuple(int(w) for w in rule.block_widths())}
    if not anynet.get("DEPTHS"):
        return {"block_widths": None}
    depths, widths = anynet["DEPTHS"], anynet["WIDTHS"]
    stages = {"depth": depths, "width": widths, "group_width": anynet.get("GROUP_WS") or ()}
    stages["bottleneck_ratio"] = [1 / m for m in anynet.get("BOT_MULS") or () if m]
    flat = {f"{name}_{stage}": value for name, values in stages.items() for stage, value in enumerate(values, start=1)}
    blocks = tuple(int(w) for w, d in zip(widths, depths, strict=True) for _ in range(int(d)))
    return {"depth": int(sum(depths)), "block_widths": blocks, **flat}


def _numbers(values: Any) -> list[float]:
    values = values if isinstance(values, list | tuple) else [] if values is None else [values]
    return [float(v) for v in values if v is not None and np.isfinite(float(v))]
