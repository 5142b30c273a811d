"""What each ingredient of the trainer gives: the time of an epoch without it over the time with all of them."""

from __future__ import annotations

import copy
import ctypes
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from benchmarks.reference_trainer import Images
from designspace import ModelSpec, complexity
from sweeps.config import DeviceConfig, Recipe
from sweeps.data import Splits
from sweeps.resources import cores
from sweeps.trainer.images import ResidentSplits
from sweeps.trainer.measure import keep_freed_memory
from sweeps.trainer.trainer import train_model

ROUNDS = 3
RECIPE = Recipe(epochs=1, batch_size=32, crop_padding=2, flip=True)


@contextmanager
def freed_memory_given_back() -> Iterator[None]:
    """glibc's own thresholds."""
    mallopt = ctypes.CDLL(None).mallopt
    mallopt(-3, 128 << 10)
    mallopt(-1, 128 << 10)
    yield
    keep_freed_memory()


def loader_epochs(splits: Splits) -> Callable[..., Iterator[tuple[Tensor, Tensor]]]:
    """An epoch from a DataLoader with two workers and per-sample transforms."""

    def epoch(_: ResidentSplits, recipe: Recipe, seed: int, number: int) -> Iterator[tuple[Tensor, Tensor]]:
        images = Images(splits, True, recipe.crop_padding, recipe.flip)
        for batch, labels in DataLoader(images, recipe.batch_size, shuffle=True, drop_last=True, num_workers=2):
            yield batch.contiguous(memory_format=torch.channels_last), labels

    return epoch


def ingredients(specs: Sequence[ModelSpec], splits: Splits) -> list[str]:
    """A line for each ingredient; models in turns, the fastest of three rounds, one thread."""
    narrow = ModelSpec.from_mapping(
        specs[0].to_mapping() | {"stages": [stage | {"group_width": 2} for stage in specs[0].to_mapping()["stages"]]}
    )
    plain = DeviceConfig(device="cpu")
    without: dict[str, tuple[DeviceConfig, Callable[[], AbstractContextManager[Any]]]] = {
        "all of them": (plain, nullcontext),
        "bfloat16 (float32 instead)": (DeviceConfig(device="cpu", dtype="float32"), nullcontext),
        "channels_last": (DeviceConfig(device="cpu", channels_last=False), nullcontext),
        "bfloat16 and channels_last": (DeviceConfig(device="cpu", dtype="float32", channels_last=False), nullcontext),
        "gather augmentation (DataLoader instead)": (
            plain,
            lambda: patch.object(ResidentSplits, "epoch", loader_epochs(splits)),
        ),
        "freed memory kept (mallopt)": (plain, freed_memory_given_back),
        "folded batch norm in evaluation": (
            plain,
            lambda: patch("sweeps.trainer.evaluate.evaluation_copy", lambda network: copy.deepcopy(network).eval()),
        ),
        "groups merged": (plain, lambda: patch("sweeps.trainer.run.merge_narrow_groups", lambda network, device: None)),
    }
    lines = [f"Time of an epoch without … over the time with everything (batch {RECIPE.batch_size}, one thread):"]
    for label, chosen in (("", list(specs)), (" (group width 2)", [narrow])):
        names = list(without) if not label else ["all of them", "bfloat16 (float32 instead)", "groups merged"]
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
        lines += [f"  {name + label:42} {seconds[name] / seconds['all of them']:.2f}" for name in names[1:]]
    one = sum(_seconds(spec, splits, plain) for spec in specs)
    many = sum(_seconds(spec, splits, plain.model_copy(update={"threads": cores()})) for spec in specs)
    lines.append(f"  {f'a thread per process ({cores()} threads instead)':42} {cores() * many / one:.2f}")
    lines.append(f"  (models of {', '.join(f'{complexity(spec).macs / 1e6:.1f}' for spec in specs)} million macs)")
    return lines


def _seconds(spec: ModelSpec, splits: Splits, device: DeviceConfig) -> float:
    begun = time.perf_counter()
    result = train_model(spec, splits, RECIPE, seed=0, device_config=device)
    assert result.status == "ok", result.message
    return time.perf_counter() - begun
