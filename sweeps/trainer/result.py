"""What a training gives back, and the ways in which it fails."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from sweeps.damage import ImageError


@dataclass(frozen=True)
class EpochResult:
    """One epoch as it ended; percentages 0 … 100, loss in nats, seconds with the evaluation."""

    epoch: int
    epochs: int
    train_loss: float
    train_error_percent: float
    validation_error_percent: float
    learning_rate: float
    seconds: float


@dataclass(frozen=True)
class TrainingResult:
    """Outcome, curves and environment of one training; the names are those of `designspace.study.Record`."""

    status: str
    message: str
    error_percent: float | None
    epochs_done: int
    updates: int
    train_seconds: float
    images_per_second: float | None
    peak_memory_bytes: int
    epoch_train_loss: tuple[float, ...]
    epoch_train_error_percent: tuple[float, ...]
    epoch_validation_error_percent: tuple[float, ...]
    epoch_learning_rate: tuple[float, ...]
    epoch_seconds: tuple[float, ...]
    torch_version: str
    device_name: str
    threads: int
    dtype: str
    memory_format: str
    compiled: bool
    host: str
    started_at: str
    ended_at: str


class TrainingStopped(Exception):
    """A training ended without a result; carries the record's status and message."""

    def __init__(self, status: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out: torch.OutOfMemoryError on a GPU, a plain RuntimeError from the CPU's allocator.

    A convolution for whose workspace cuDNN finds no memory only says that it found no engine or algorithm.
    """
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    texts = (
        "can't allocate memory",
        "not enough memory",
        "out of memory",
        "alloc_failed",
        "unable to find an engine",
        "valid cudnn algorithm",
    )
    return isinstance(error, RuntimeError) and any(text in str(error).lower() for text in texts)


@contextmanager
def failures_told() -> Iterator[None]:
    """Turn any failure of the model's own code into TrainingStopped; interrupts and damaged pictures pass."""
    try:
        yield
    except (TrainingStopped, ImageError):
        raise
    except Exception as error:
        first_line = (str(error).splitlines() or [""])[0][:500]
        if is_out_of_memory(error):
            raise TrainingStopped("out_of_memory", first_line) from None
        frame = traceback.extract_tb(error.__traceback__)[-1]
        place = f"{frame.filename.rpartition('/')[2]}:{frame.lineno}"
        raise TrainingStopped("crashed", f"{type(error).__name__} at {place}: {first_line}") from error
