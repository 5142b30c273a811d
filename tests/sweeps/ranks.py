"""One of several processes in the tests of distributed training. Writes its results to FOLDER/RANK.pt.

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
from designspace.study import Record
from sweeps.config import DeviceConfig, load_recipe
from sweeps.data import DataConfig, open_data
from sweeps.trainer.device import resolve_device
from sweeps.trainer.distributed import World, join
from sweeps.trainer.layout import faster_layout
from sweeps.trainer.trainer import train_network

STAGE = {"block": "bottleneck", "depth": 1, "width": 8, "stride": 2, "group_width": 2}
SPEC = ModelSpec.from_mapping(
    {"resolution": 8, "in_channels": 1, "stem": {"width": 8, "stride": 1}, "stages": [STAGE], "head": {"classes": 10}}
)
RECIPE = load_recipe(epochs=2, batch_size=30, crop_padding=1)
AVERAGED = RECIPE.changed(ema_decay=0.9, mixup=0.2, cutmix=1.0)
LONG = load_recipe(epochs=200, batch_size=30)  # the layout of short trainings is not timed
DATA = DataConfig(name="digits", validation_size=301, subset=330)  # three processes cannot share 301 equally
CPU = DeviceConfig(device="cpu")
FLOAT32 = DeviceConfig(device="cpu", dtype="float32")
RECORD = Record("spec", "recipe", "data", 0, "ok")


def plain() -> nn.Module:
    """A network without batch norm."""
    return nn.Sequential(nn.Conv2d(1, 8, 3, stride=2), nn.ReLU(), nn.Flatten(), nn.Linear(72, 10))


class Killed(BaseException):
    """Simulates the end of the process."""


class DivergesLate(nn.Module):
    """A network that returns NaN in the last update of the first epoch."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.updates = build_network(SPEC), 0

    def forward(self, x: Tensor) -> Tensor:
        self.updates += self.training
        output: Tensor = self.inner(x)
        return output * (torch.nan if self.updates == len(DATA_SPLITS.train_labels) // RECIPE.batch_size else 1)


class TooLargeInChannelsLast(nn.Module):
    """A network that runs out of memory if its weights are channels_last."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = build_network(SPEC)

    def forward(self, x: Tensor) -> Tensor:
        kernels = [weight for weight in self.parameters() if weight.ndim == 4 and min(weight.shape[1:]) > 1]
        if all(kernel.is_contiguous(memory_format=torch.channels_last) for kernel in kernels):
            raise MemoryError
        output: Tensor = self.inner(x)
        return output


DATA_SPLITS = open_data(DATA)


def trained(world: World, build: Callable[[], nn.Module] | None = None, **options: Any) -> tuple[Record, Any]:
    """Train a network and return the record and the final weights, None after a failure."""
    networks: list[nn.Module] = []
    options = {"device_config": CPU, "on_trained": lambda network, _: networks.append(network)} | options
    recipe = options.pop("recipe", RECIPE)
    record = train_network(build or (lambda: build_network(SPEC)), DATA_SPLITS, recipe, RECORD, world=world, **options)
    return record, networks[0].state_dict() if networks else None


def resumed(world: World, folder: Path) -> tuple[Record, Any]:
    """Interrupt a training after its first epoch and resume it from the checkpoint."""

    def kill(record: Record) -> None:
        raise Killed

    file = folder / "model.pt"
    try:
        trained(world, checkpoint=file, long_seconds=0.0, on_epoch=kill)
    except Killed:
        world.gather(None)  # wait for the first process, which writes the file
        return trained(world, checkpoint=file, long_seconds=0.0)
    raise AssertionError("not interrupted")


def error_of(block: Callable[[], object]) -> str:
    """Run a block and return its error."""
    try:
        block()
    except (ValueError, SystemExit) as error:
        return f"{type(error).__name__}: {error}"
    return "nothing"


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    world = join("cpu")

    def raises() -> None:
        with world.agree():
            if world.rank:
                raise ValueError(f"no file in process {world.rank}")

    def differs() -> None:
        with world.agree() as agreed:
            agreed["seed"] = world.rank // 2

    def layout(build: Callable[[], nn.Module]) -> str:
        device = resolve_device(FLOAT32, world)
        return faster_layout(build, DATA_SPLITS, SPEC.resolution, LONG, device).memory_format_name

    diverging = DivergesLate if world.rank == 1 else None
    results = {
        "first": trained(world),
        "again": trained(world),
        "resumed": resumed(world, folder),
        "averaged": trained(world, recipe=AVERAGED),
        "plain": trained(world, plain, device_config=FLOAT32),
        "layout": layout(lambda: build_network(SPEC)),
        "layout that fits": layout(TooLargeInChannelsLast if world.rank == 1 else lambda: build_network(SPEC)),
        "diverged": trained(world, diverging)[0],
        "stopped": trained(world, should_stop=lambda record: world.is_first)[0],
        "not stopped": trained(world, should_stop=lambda record: not world.is_first)[0],
        "late": trained(world, deadline_seconds=0.0 if world.rank == 1 else 1000.0)[0],
        "batch": error_of(lambda: trained(world, recipe=RECIPE.model_copy(update={"batch_size": 31}))),
        "raises": error_of(raises),
        "differs": error_of(differs),
    }
    torch.save(results, folder / f"{world.rank}.pt")
    world.leave()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
