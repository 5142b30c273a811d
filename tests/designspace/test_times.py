"""Predicted training times."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from designspace.times import TimePredictor

PREDICTOR = TimePredictor(
    per_mac=3e-12,
    per_act=2e-10,
    per_block=1e-4,
    per_update=5e-4,
    per_picture=0.0,
    batch_size=10,
    updates=40,
    evaluated=60,
    relative_error=0.05,
    device="a device",
)


def model(macs: int = 1_000_000, acts: int = 100_000, depth: int = 8) -> Any:
    return SimpleNamespace(macs=macs, acts=acts, depth=depth)


def test_the_time_of_an_update_is_arithmetic_memory_and_overhead() -> None:
    assert PREDICTOR.update_seconds(model()) == pytest.approx(10 * (3e-6 + 2e-5) + 8e-4 + 5e-4)
    assert PREDICTOR.update_seconds(model(acts=200_000)) > PREDICTOR.update_seconds(model())


def test_an_evaluated_image_costs_a_third_of_a_training_image() -> None:
    update = PREDICTOR.update_seconds(model())
    assert PREDICTOR.training_seconds(model()) == pytest.approx((40 + 60 / 10 / 3) * update)
    assert replace(PREDICTOR, evaluated=0).training_seconds(model()) == pytest.approx(40 * update)


def test_slow_decoding_limits_the_speed() -> None:
    slow = replace(PREDICTOR, per_picture=0.01)
    assert slow.update_seconds(model()) == pytest.approx(0.1)
    assert slow.training_seconds(model()) == pytest.approx(40 * 0.1 + 60 * 0.01)
