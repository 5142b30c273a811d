"""Data-parallel training of one network by several processes, usually one per GPU.

torchrun or SLURM starts the processes, and PyTorch's DistributedDataParallel averages their gradients. Each process
takes its share of every batch. An update equals that of a single process except for rounding and for batch norm, whose
statistics cover the process's own share.
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

TIMEOUT = timedelta(minutes=10)
"""How long a process waits for the others, such as during a download or while one writes a checkpoint."""

# DistributedDataParallel's argument was renamed in PyTorch 2.13.
SYNC_BUFFERS = next(
    name
    for name in ("forward_sync_buffers", "broadcast_buffers")
    if name in inspect.signature(DistributedDataParallel).parameters
)


@dataclass(frozen=True)
class World:
    """The processes that train one network together, as seen by one of them.

    All processes must make the same calls in the same order. With a single process, every call is the identity.
    """

    rank: int = 0
    size: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this process writes the files and prints."""
        return self.rank == 0

    def share(self, batch_size: int) -> slice:
        """Return this process's part of every batch; ValueError if the batch cannot be divided equally."""
        each = batch_size // self.size
        if each * self.size != batch_size or (self.size > 1 and each < 2):  # batch norm needs two images
            raise ValueError(
                f"recipe.batch_size = {batch_size}: must be a multiple of {self.size}, the number of processes, and at "
                f"least {2 * self.size}"
            )
        return slice(self.rank * each, (self.rank + 1) * each)

    def parallel(self, network: nn.Module) -> nn.Module:
        """Wrap a network so that every backward pass averages its gradients over the processes.

        Call it once per epoch: PyTorch sums gradients in a different order in the first update after the call, and a
        resumed training must repeat an uninterrupted one.
        """
        if self.size == 1:
            return network
        # Running statistics are synchronized after the epoch (`copy_from_first`), because no update reads them.
        options: dict[str, Any] = {SYNC_BUFFERS: False}
        return DistributedDataParallel(network, gradient_as_bucket_view=True, **options)

    def copy_from_first(self, network: nn.Module) -> None:
        """Copy the buffers of process 0, the running statistics of batch norm, to all processes."""
        if self.size > 1:
            for buffer in network.buffers():
                distributed.broadcast(buffer, 0)

    def sum(self, tensor: Tensor) -> Tensor:
        """Return the sum over all processes."""
        if self.size == 1:
            return tensor
        total = tensor.clone()
        distributed.all_reduce(total)
        return total

    def gather(self, value: Any) -> list[Any]:
        """Return the values of all processes, by rank."""
        values = [value] * self.size
        if self.size > 1:
            distributed.all_gather_object(values, value)
        return values

    def leave(self) -> None:
        """Leave the process group after a success. After a failure this would deadlock."""
        if self.size > 1:
            distributed.destroy_process_group()

    @contextmanager
    def agree(self) -> Iterator[dict[str, Any]]:
        """Continue after the block only if no process raised and all filled the dictionary with equal values.

        Raises:
            ValueError: the user error raised in the block, or the first difference; in one process only.
            SystemExit: in the other processes.
        """
        values: dict[str, Any] = {}
        error: Exception | None = None
        try:
            yield values
        except (ValueError, OSError, ModuleNotFoundError) as raised:
            error = raised
        results = self.gather((error is None, values))
        failed = [rank for rank, (succeeded, _) in enumerate(results) if not succeeded]
        if not failed and (error := _difference([values for _, values in results])):
            failed = [0]
        if failed:
            if error is not None and self.rank == failed[0]:
                raise error
            raise SystemExit(2)


ALONE = World()


class ProcessInfo(NamedTuple):
    """Rank of a process, number of processes, rank on its machine, and the address where they meet."""

    rank: int
    size: int
    local_rank: int
    init_method: str


def process_info(environment: Mapping[str, str]) -> ProcessInfo | None:
    """Read the variables set by torchrun or a SLURM step; None for a single process."""
    if "RANK" in environment and "WORLD_SIZE" in environment:
        rank, size = int(environment["RANK"]), int(environment["WORLD_SIZE"])
        info = ProcessInfo(rank, size, int(environment.get("LOCAL_RANK", rank)), "env://")
    elif "SLURM_STEP_NUM_TASKS" in environment:  # batch scripts, a single process, have SLURM_NTASKS too
        job, step = int(environment["SLURM_JOB_ID"]), int(environment["SLURM_STEP_ID"])
        nodes = "localhost" if environment["SLURM_STEP_NUM_NODES"] == "1" else environment["SLURM_STEP_NODELIST"]
        host = environment.get("MASTER_ADDR") or first_host(nodes)
        port = environment.get("MASTER_PORT") or 10_000 + (16 * job + step) % 20_000
        rank, size = int(environment["SLURM_PROCID"]), int(environment["SLURM_STEP_NUM_TASKS"])
        info = ProcessInfo(rank, size, int(environment["SLURM_LOCALID"]), f"tcp://{host}:{port}")
    else:
        return None
    return info if info.size > 1 else None


def first_host(nodes: str) -> str:
    """Return the first name of a SLURM node list, for example node07 for node[07-09,12],login1."""
    match = re.match(r"(\[[^]]*\]|[^,[])+", nodes)
    return re.sub(r"\[([^],-]+)[^]]*\]", r"\1", match[0] if match else nodes)


def join(kind: str) -> World:
    """Connect with the processes that torchrun or srun started together with this one.

    Args:
        kind: cuda, where each process uses its own GPU, or cpu.
    Raises:
        OSError: the other processes cannot be reached.
    """
    info = process_info(os.environ)
    if info is None:
        return ALONE
    device = None
    if kind == "cuda":
        # SLURM may show each task only its own GPU.
        device = torch.device("cuda", info.local_rank % torch.cuda.device_count())
        torch.cuda.set_device(device)
    try:
        distributed.init_process_group(
            "nccl" if device else "gloo",
            init_method=info.init_method,
            rank=info.rank,
            world_size=info.size,
            timeout=TIMEOUT,
            device_id=device,
        )
    except distributed.DistError as error:
        reason = str(error).splitlines()[0]
        raise OSError(
            f"process {info.rank} of {info.size} could not reach the others at {info.init_method}: {reason}"
        ) from error
    return World(info.rank, info.size)


def _difference(values: list[dict[str, Any]]) -> ValueError | None:
    first = values[0]
    for rank, own in enumerate(values):
        for name, value in own.items():
            if value != first.get(name):
                return ValueError(f"{name} = {value} in process {rank}: must be {first.get(name)} as in process 0")
    return None
