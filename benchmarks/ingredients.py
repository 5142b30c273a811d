"""Effect of each optimization of the trainer: time of an epoch without it over the time with all of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from benchmarks.reference_trainer import Images
from designspace import ModelSpec, complexity
from sweeps.config import DeviceConfig, Recipe, load_recipe
from sweeps.data import Splits
from sweeps.resources import cores
from sweeps.trainer.device import resolve_device
from sweeps.trainer.images import ResidentLoader
from sweeps.trainer.trainer import new_record, train_model

ROUNDS = 3
GATHER = "gather augmentation (DataLoader instead)"
BFLOAT16_ONLY = ["bfloat16 (float32 instead)", "groups merged"]
RECIPE = load_recipe(epochs=1, batch_size=32, crop_padding=2, flip=True)


def loader_epochs(splits: Splits) -> Callable[..., Iterator[tuple[Tensor, Tensor]]]:
    """Return a replacement of `ResidentLoader.epoch` with a DataLoader, two workers, and per-sample transforms."""

    def epoch(_: ResidentLoader, recipe: Recipe, seed: int, number: int) -> Iterator[tuple[Tensor, Tensor]]:
        images = Images(splits, True, recipe.crop_padding, recipe.flip)
        for batch, labels in DataLoader(images, recipe.batch_size, shuffle=True, drop_last=True, num_workers=2):
            yield batch.contiguous(memory_format=torch.channels_last), labels

    return epoch


def ingredients(specs: Sequence[ModelSpec], splits: Splits, plain: DeviceConfig) -> list[str]:
    """Return a line for each optimization on a CPU: the fastest of three alternating rounds with one thread."""
    narrow = ModelSpec.from_mapping(
        specs[0].to_mapping() | {"stages": [stage | {"group_width": 2} for stage in specs[0].to_mapping()["stages"]]}
    )
    float32 = plain.model_copy(update={"dtype": "float32"})
    without: dict[str, tuple[DeviceConfig, Callable[[], AbstractContextManager[Any]]]] = {
        "all": (plain, nullcontext),
        "bfloat16 (float32 instead)": (float32, nullcontext),
        "channels_last": (plain.model_copy(update={"channels_last": False}), nullcontext),
        "bfloat16 and channels_last": (float32.model_copy(update={"channels_last": False}), nullcontext),
        GATHER: (
            plain,
            lambda: patch.object(ResidentLoader, "epoch", loader_epochs(splits)),
        ),
        "groups merged": (plain, lambda: patch("sweeps.trainer.run.merge_narrow_groups", lambda network, device: None)),
    }
    if resolve_device(plain).dtype == torch.bfloat16:
        rows = [("", list(specs), list(without)), (" (group width 2)", [narrow], ["all", *BFLOAT16_ONLY])]
    else:
        rows = [("", list(specs), ["all", "channels_last", GATHER])]
    lines = [
        f"Time of an epoch without each optimization over the time with all (batch {RECIPE.batch_size}, one thread):"
    ]
    for label, chosen, names in rows:
        seconds = dict.fromkeys(names, 0.0)
        for spec in chosen:
            best = {name: float("inf") for name in names}
            for _ in range(ROUNDS):
                for name in names:
                    device, changed = without[name]
                    with changed():
                        best[name] = min(best[name], _seconds(spec, splits, device))
            for name in names:
                seconds[name] += best[name]
        lines += [f"  {name + label:42} {seconds[name] / seconds['all']:.2f}" for name in names[1:]]
    one = sum(_seconds(spec, splits, plain) for spec in specs)
    many = sum(_seconds(spec, splits, plain.model_copy(update={"threads": cores()})) for spec in specs)
    lines.append(f"  {f'a thread per process ({cores()} threads instead)':42} {cores() * many / one:.2f}")
    lines.append(f"  (models of {', '.join(f'{complexity(spec).macs / 1e6:.1f}' for spec in specs)} million macs)")
    return lines


def _seconds(spec: ModelSpec, splits: Splits, device: DeviceConfig) -> float:
    begun = time.perf_counter()
    record = train_model(spec, splits, RECIPE, new_record(spec, splits, RECIPE, seed=0), device_config=device)
    assert record.status == "ok", record.message
    return time.perf_counter() - begun
