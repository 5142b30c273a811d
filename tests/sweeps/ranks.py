"""What one of several processes does in the tests of distributed training; it leaves what it saw in FOLDER/RANK.pt.

python ranks.py FOLDER      with RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT in the environment
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from designspace import ModelSpec
from designspace.network import build_network
from sweeps.config import DeviceConfig, Recipe
from sweeps.data import DataConfig, Splits, load_data
from sweeps.trainer.checkpoint import Checkpoint
from sweeps.trainer.device import resolve_device
from sweeps.trainer.distributed import World, join
from sweeps.trainer.layout import faster_layout
from sweeps.trainer.result import EpochResult, TrainingResult
from sweeps.trainer.trainer import arithmetic, train_network

STAGE = {"block": "bottleneck", "depth": 1, "width": 8, "stride": 2, "group_width": 2}
SPEC = ModelSpec.from_mapping(
    {"resolution": 8, "in_channels": 1, "stem": {"width": 8, "stride": 1}, "stages": [STAGE], "head": {"classes": 10}}
)
RECIPE = Recipe(epochs=2, batch_size=30, crop_padding=1)
DATA = DataConfig(name="digits", validation_size=301, subset=330)  # three processes cannot share 301 equally
CPU = DeviceConfig(device="cpu")
FLOAT32 = DeviceConfig(device="cpu", dtype="float32")


def plain() -> nn.Module:
    """A network without batch norm."""
    return nn.Sequential(nn.Conv2d(1, 8, 3, stride=2), nn.ReLU(), nn.Flatten(), nn.Linear(72, 10))


class Killed(BaseException):
    """Stands for the end of the process."""


class InTheLastUpdate(nn.Module):
    """A network that in the last update of the first epoch returns what is not a number."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.updates = build_network(SPEC), 0

    def forward(self, x: Tensor) -> Tensor:
        self.updates += self.training
        output: Tensor = self.inner(x)
        return output * (torch.nan if self.updates == len(DATA_SPLITS.train_labels) // RECIPE.batch_size else 1)


class NoRoom(nn.Module):
    """A network that finds no memory where its weights are laid out channels_last."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = build_network(SPEC)

    def forward(self, x: Tensor) -> Tensor:
        kernels = [weight for weight in self.parameters() if weight.ndim == 4 and min(weight.shape[1:]) > 1]
        if all(kernel.is_contiguous(memory_format=torch.channels_last) for kernel in kernels):
            raise MemoryError
        output: Tensor = self.inner(x)
        return output


DATA_SPLITS: Splits = load_data(DATA)


def trained(world: World, build: Callable[[], nn.Module] | None = None, **options: Any) -> tuple[TrainingResult, Any]:
    """The result of a training and the final weights."""
    built: list[nn.Module] = []

    def kept() -> nn.Module:
        built[:] = [(build or (lambda: build_network(SPEC)))()]
        return built[0]

    options = {"seed": 0, "device_config": CPU} | options
    result = train_network(kept, DATA_SPLITS, options.pop("recipe", RECIPE), world=world, **options)
    return result, built[0].state_dict()


def resumed(world: World, folder: Path) -> tuple[TrainingResult, Any]:
    """A training that ends after its first epoch and goes on from the checkpoint."""

    def kill(epoch: EpochResult) -> None:
        raise Killed

    device = resolve_device(CPU, world)
    place = Checkpoint(folder / "model.pt", {"seed": 0}, arithmetic(device), long_seconds=0.0)
    try:
        trained(world, checkpoint=place, on_epoch=kill)
    except Killed:
        world.gathered(None)  # the first writes the file, and the others are already here
        return trained(world, checkpoint=place)
    raise AssertionError("it went on")


def told(block: Callable[[], object]) -> str:
    """What a block raises."""
    try:
        block()
    except (ValueError, SystemExit) as error:
        return f"{type(error).__name__}: {error}"
    return "nothing"


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    world = join("cpu")

    def mistaken() -> None:
        with world.together():
            if world.rank:
                raise ValueError(f"the file is not there for {world.rank}")

    def different() -> None:
        with world.together() as agreed:
            agreed["seed"] = world.rank // 2

    def layout(build: Callable[[], nn.Module]) -> str:
        device = resolve_device(FLOAT32, world)
        return faster_layout(build, DATA_SPLITS, SPEC.resolution, RECIPE, device).memory_format_name

    odd = InTheLastUpdate if world.rank == 1 else None
    outcome = {
        "whole": trained(world),
        "again": trained(world),
        "resumed": resumed(world, folder),
        "plain": trained(world, plain, device_config=FLOAT32),
        "layout": layout(lambda: build_network(SPEC)),
        "layout that fits": layout(NoRoom if world.rank == 1 else lambda: build_network(SPEC)),
        "diverged": trained(world, odd)[0],
        "late": trained(world, deadline_seconds=0.0 if world.rank == 1 else 1000.0)[0],
        "batch": told(lambda: trained(world, recipe=RECIPE.model_copy(update={"batch_size": 31}))),
        "mistaken": told(mistaken),
        "different": told(different),
    }
    torch.save(outcome, folder / f"{world.rank}.pt")
    world.leave()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
