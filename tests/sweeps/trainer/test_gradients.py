"""Gradient norms of the parts of a network."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from sweeps.trainer.gradients import GradientNorms


def network() -> nn.Sequential:
    """Parts with two parameters, none, and one."""
    return nn.Sequential(nn.Linear(2, 1), nn.ReLU(), nn.Linear(1, 1, bias=False))


def set_gradients(network: nn.Module, *values: float) -> None:
    for parameter, value in zip(network.parameters(), values, strict=True):
        parameter.grad = torch.full_like(parameter, value)


def test_the_norm_of_a_part_is_that_of_all_its_parameters() -> None:
    model = network()
    norms = GradientNorms(model)
    set_gradients(model, 2.0, 1.0, -5.0)  # two weights of 2 and a bias of 1
    norms.add()
    assert norms.take() == pytest.approx((3.0, 5.0))


def test_norms_are_averaged_over_updates_and_start_over() -> None:
    model = network()
    norms = GradientNorms(model)
    for factor in (1, 2, 6):
        set_gradients(model, 2.0 * factor, 1.0 * factor, 1.0 * factor)
        norms.add()
    assert norms.take() == pytest.approx((9.0, 3.0))
    set_gradients(model, 2.0, 1.0, 1.0)
    norms.add()
    assert norms.take() == pytest.approx((3.0, 1.0))
    assert norms.take() == (None, None)


def test_an_overflow_is_skipped_and_a_part_without_gradients_has_norm_zero() -> None:
    model = network()
    norms = GradientNorms(model)
    set_gradients(model, 2.0, 1.0, math.inf)
    norms.add()
    set_gradients(model, 2.0, 1.0, 7.0)
    norms.add()
    assert norms.take() == pytest.approx((3.0, 7.0))
    model.zero_grad()
    norms.add()
    assert norms.take() == (0.0, 0.0)
