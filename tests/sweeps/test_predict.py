"""Predicted training times: known constants are found again, probes are spread, a real device is within reason."""

from __future__ import annotations

import numpy as np
import pytest

from designspace import ModelSpec, complexity
from sweeps.device import DeviceConfig, resolve_device
from sweeps.predict import TimePredictor, calibrate_time, fit, spread
from sweeps.recipe import Recipe


def spec(depth: int, width: int) -> ModelSpec:
    stages = [
        {"block": "bottleneck", "depth": depth, "width": factor * width, "stride": 2, "group_width": 8}
        for factor in (1, 2)
    ]
    return ModelSpec.from_mapping(
        {"resolution": 8, "in_channels": 1, "stem": {"width": 8, "stride": 1}, "stages": stages, "head": {"classes": 4}}
    )


def test_known_constants_are_found_again() -> None:
    generator = np.random.default_rng(0)
    features = np.exp(generator.uniform([13, 10, 1], [17, 13, 3], (20, 3)))
    seconds = 32 * (3e-12 * features[:, 0] + 2e-10 * features[:, 1]) + 1e-4 * features[:, 2] + 5e-4
    found = fit(features, seconds, 32)
    assert found.per_mac == pytest.approx(3e-12)
    assert found.per_act == pytest.approx(2e-10)
    assert found.per_block == pytest.approx(1e-4)
    assert found.per_update == pytest.approx(5e-4)
    assert found.relative_error < 1e-6
    assert TimePredictor.from_mapping(found.to_mapping()) == found
    noisy = fit(features, seconds * generator.normal(1, 0.05, 20), 32)
    assert noisy.relative_error < 0.08
    assert min(noisy.to_mapping().values()) >= 0


def test_a_training_is_its_updates_and_evaluations() -> None:
    predictor = TimePredictor(0, 0, 0, 0.5, batch_size=10, relative_error=0)
    recipe = Recipe(epochs=4, batch_size=10)
    assert predictor.training_seconds(recipe, 1, 1, 1, images=105) == pytest.approx(4 * 10 * 0.5)
    assert predictor.training_seconds(recipe, 1, 1, 1, images=100, validation_images=60) == pytest.approx(4 * 12 * 0.5)


def test_probes_are_the_ends_of_the_population() -> None:
    features = np.array([[10, 1, 1], [1000, 1, 1], [30, 1, 1], [100, 1, 1], [31, 1, 50]], float)
    assert set(spread(features, 3)) == {0, 1, 4}
    assert sorted(spread(features, 99)) == [0, 1, 2, 3, 4]


def test_a_real_device_is_calibrated() -> None:
    specs = [spec(depth, width) for depth in (1, 4) for width in (8, 32)]
    predictor = calibrate_time(specs, Recipe(batch_size=16), resolve_device(DeviceConfig(device="cpu")), probes=4)
    small, large = (
        predictor.update_seconds(complexity(one).macs, complexity(one).acts, one.depth) for one in (specs[0], specs[-1])
    )
    assert 0 < small < large < 10


def test_what_cannot_be_predicted_is_told() -> None:
    with pytest.raises(ValueError, match="0 networks and probes = 8: at least one of each"):
        calibrate_time([], Recipe(), resolve_device(DeviceConfig(device="cpu")))
    with pytest.raises(ValueError, match="lack per_act, per_block"):
        TimePredictor.from_mapping({"per_mac": 1, "per_update": 1, "batch_size": 1, "relative_error": 0})
