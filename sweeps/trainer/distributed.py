"""Several processes that train one network together, usually one a GPU: which of them this is, and what they exchange.

torchrun or SLURM starts them, PyTorch's DistributedDataParallel averages their gradients. Each takes its share of every
batch, so that an update is the same as with one process but for rounding and for batch norm, whose statistics are those
of a process's own share.
"""

from __future__ import annotations

import inspect
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, NamedTuple

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

WAIT = timedelta(minutes=10)
"""How long a process waits for the others before it ends; they differ by a checkpoint or a download that one makes."""

# The name of DistributedDataParallel's setting before and after PyTorch 2.13.
BUFFERS_BEFORE_EVERY_UPDATE = next(
    name
    for name in ("forward_sync_buffers", "broadcast_buffers")
    if name in inspect.signature(DistributedDataParallel).parameters
)


@dataclass(frozen=True)
class World:
    """The processes that train one network together, seen from one of them; alone every call gives back what it got.

    All processes must make the same calls in the same order.
    """

    rank: int = 0
    size: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this process writes the files and speaks for all."""
        return self.rank == 0

    def share(self, batch_size: int) -> slice:
        """This process's part of every batch; ValueError unless the batch can be shared out equally."""
        each = batch_size // self.size
        if each * self.size != batch_size or (self.size > 1 and each < 2):  # batch norm needs two
            raise ValueError(
                f"recipe.batch_size is {batch_size}, the batch of all {self.size} processes together; it must be a "
                f"multiple of {self.size}, and {2 * self.size} or more."
            )
        return slice(self.rank * each, (self.rank + 1) * each)

    def parallel(self, network: nn.Module) -> nn.Module:
        """The network with its gradients averaged over the processes after every backward pass.

        For the updates of one epoch: PyTorch sums the gradients in another order in the first update after this than
        in those that follow, and a training that is resumed must do as one that was never stopped.
        """
        if self.size == 1:
            return network
        # Running statistics wait for the end of the epoch (`copy_from_first`): no update reads them.
        wait: dict[str, Any] = {BUFFERS_BEFORE_EVERY_UPDATE: False}
        return DistributedDataParallel(network, gradient_as_bucket_view=True, **wait)

    def copy_from_first(self, network: nn.Module) -> None:
        """Take over the buffers of process 0: the running statistics of batch norm."""
        if self.size > 1:
            for buffer in network.buffers():
                distributed.broadcast(buffer, 0)

    def sum(self, tensor: Tensor) -> Tensor:
        """The sum over all processes."""
        if self.size == 1:
            return tensor
        total = tensor.clone()
        distributed.all_reduce(total)
        return total

    def gathered(self, value: Any) -> list[Any]:
        """The values of all processes, by rank."""
        values = [value] * self.size
        if self.size > 1:
            distributed.all_gather_object(values, value)
        return values

    def leave(self) -> None:
        """Part from the others at the end of a success; after a failure this would wait for them, and they for this."""
        if self.size > 1:
            distributed.destroy_process_group()

    @contextmanager
    def together(self) -> Iterator[dict[str, Any]]:
        """Go on after the block if all processes got through it and agree on what they put into the dict.

        Raises:
            ValueError: what a user's mistake raised in the block, or what differs; in one process, to be told once.
            SystemExit: in the others.
        """
        agreed: dict[str, Any] = {}
        mistake: Exception | None = None
        try:
            yield agreed
        except (ValueError, OSError, ModuleNotFoundError) as error:
            mistake = error
        told = self.gathered((mistake is None, agreed))
        failed = [rank for rank, (through, _) in enumerate(told) if not through]
        if not failed and (mistake := _difference([agreed for _, agreed in told])):
            failed = [0]
        if failed:
            if mistake is not None and self.rank == failed[0]:
                raise mistake
            raise SystemExit(2)


ALONE = World()


class Place(NamedTuple):
    """Which of how many processes this is, which on its machine, and where they meet."""

    rank: int
    size: int
    local_rank: int
    meeting: str


def place_in(environment: Mapping[str, str]) -> Place | None:
    """What torchrun or a SLURM step tell their processes; None for a process that has no others."""
    if "RANK" in environment and "WORLD_SIZE" in environment:
        rank, size = int(environment["RANK"]), int(environment["WORLD_SIZE"])
        found = Place(rank, size, int(environment.get("LOCAL_RANK", rank)), "env://")
    elif "SLURM_STEP_NUM_TASKS" in environment:  # SLURM_NTASKS is also in batch scripts, which are one process
        job, step = int(environment["SLURM_JOB_ID"]), int(environment["SLURM_STEP_ID"])
        nodes = "localhost" if environment["SLURM_STEP_NUM_NODES"] == "1" else environment["SLURM_STEP_NODELIST"]
        host = environment.get("MASTER_ADDR") or first_host(nodes)
        port = environment.get("MASTER_PORT") or 10_000 + (16 * job + step) % 20_000
        rank, size = int(environment["SLURM_PROCID"]), int(environment["SLURM_STEP_NUM_TASKS"])
        found = Place(rank, size, int(environment["SLURM_LOCALID"]), f"tcp://{host}:{port}")
    else:
        return None
    return found if found.size > 1 else None


def first_host(nodes: str) -> str:
    """The first name of a SLURM node list: node07 of node[07-09,12],login1."""
    whole = re.match(r"(\[[^]]*\]|[^,[])+", nodes)
    return re.sub(r"\[([^],-]+)[^]]*\]", r"\1", whole[0] if whole else nodes)


def join(kind: str) -> World:
    """Connect with the processes that torchrun or srun started with this one.

    Args:
        kind: cuda, where each takes a GPU of its own, or cpu.
    Raises:
        OSError: the others cannot be reached.
    """
    place = place_in(os.environ)
    if place is None:
        return ALONE
    device = None
    if kind == "cuda":
        # SLURM may show each task its own GPU only.
        device = torch.device("cuda", place.local_rank % torch.cuda.device_count())
        torch.cuda.set_device(device)
    try:
        distributed.init_process_group(
            "nccl" if device else "gloo",
            init_method=place.meeting,
            rank=place.rank,
            world_size=place.size,
            timeout=WAIT,
            device_id=device,
        )
    except distributed.DistError as error:
        reason = str(error).splitlines()[0]
        who = f"process {place.rank} of {place.size}"
        raise OSError(f"{who} could not meet the others at {place.meeting}: {reason}") from error
    return World(place.rank, place.size)


def _difference(everyone: list[dict[str, Any]]) -> ValueError | None:
    for rank, other in enumerate(everyone):
        for name, value in other.items():
            if value != everyone[0].get(name):
                here = f"{name} is {everyone[0].get(name)} in process 0 and {value} in process {rank}"
                return ValueError(f"{here}; it must be the same in all.")
    return None
