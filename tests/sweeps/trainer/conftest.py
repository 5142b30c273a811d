"""Fixtures of the trainer's tests."""

from collections.abc import Iterator

import pytest
import torch

from sweeps.data import DataConfig, Splits, open_data


@pytest.fixture
def one_thread() -> Iterator[None]:
    """One thread of PyTorch, whose sums do not depend on the machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def splits() -> Splits:
    """Part of the digits."""
    digits = open_data(DataConfig(name="digits", validation_size=300, subset=640))
    assert isinstance(digits, Splits)
    return digits
