"""Measured training times: known constants are found again, probes are spread, a real device is within reason."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from designspace import ModelSpec, complexity
from designspace.study import StudyModel
from sweeps.config import DeviceConfig, TrainingConfig, load_device, load_recipe
from sweeps.data import DataConfig, Splits, StreamedSplits, open_data
from sweeps.launch import predictor_for
from sweeps.trainer.device import resolve_device
from sweeps.worker import probe
from sweeps.worker.probe import fit, measure_times, spread

CPU = resolve_device(DeviceConfig(device="cpu", dtype="float32"))
RECIPE = load_recipe(epochs=2, batch_size=16)


@pytest.fixture(scope="module")
def splits() -> Splits:
    return open_data(DataConfig(name="digits", subset=160, validation_size=40))


def models() -> list[StudyModel]:
    found = []
    for depth in (1, 4):
        for width in (8, 32):
            stages = [
                {"block": "bottleneck", "depth": depth, "width": factor * width, "stride": 2, "group_width": 8}
                for factor in (1, 2)
            ]
            base = {"resolution": 8, "in_channels": 1, "stem": {"width": 8, "stride": 1}, "head": {"classes": 10}}
            spec = ModelSpec.from_mapping(base | {"stages": stages})
            counts = complexity(spec)
            found.append(
                StudyModel(
                    spec.spec_id, "a", len(found), 0, spec.spec_id, counts.macs, counts.params, counts.acts, spec.depth,
                    {}, spec.to_mapping(),
                )
            )  # fmt: skip
    return found


def timed_as(seconds: Callable[[StudyModel], float]) -> Callable[..., float]:
    return lambda model, recipe, device, updates: seconds(model)


def test_known_constants_are_recovered() -> None:
    generator = np.random.default_rng(0)
    features = np.exp(generator.uniform([13, 10, 1], [17, 13, 3], (20, 3)))
    seconds = 32 * (3e-12 * features[:, 0] + 2e-10 * features[:, 1]) + 1e-4 * features[:, 2] + 5e-4
    constants, error = fit(features, seconds, 32)
    assert constants == pytest.approx((3e-12, 2e-10, 1e-4, 5e-4))
    assert error == pytest.approx(0, abs=1e-6)
    noisy, _ = fit(features, seconds * generator.normal(1, 0.05, 20), 32)
    assert min(noisy) >= 0


def test_the_reported_error_is_that_of_networks_not_timed() -> None:
    generator = np.random.default_rng(0)
    reported, true = [], []
    for _ in range(200):
        features = np.exp(generator.uniform([13, 10, 1], [17, 13, 3], (108, 3)))
        seconds = 32 * (3e-12 * features[:, 0] + 2e-10 * features[:, 1]) + 1e-4 * features[:, 2] + 5e-4
        seconds *= generator.lognormal(0, 0.3, 108)
        (per_mac, per_act, per_block, per_update), error = fit(features[:8], seconds[:8], 32)
        assert error is not None
        reported.append(error)
        predicted = 32 * (per_mac * features[:, 0] + per_act * features[:, 1]) + per_block * features[:, 2] + per_update
        true.append(np.median(np.abs(predicted - seconds)[8:] / seconds[8:]))
    assert np.mean(reported) == pytest.approx(np.mean(true), rel=0.15)
    assert fit(features[:4], seconds[:4], 32)[1] is None


def test_probes_are_the_ends_of_the_population() -> None:
    features = np.array([[10, 1, 1], [1000, 1, 1], [30, 1, 1], [100, 1, 1], [31, 1, 50]], float)
    assert set(spread(features, 3)) == {0, 1, 4}
    assert sorted(spread(features, 99)) == [0, 1, 2, 3, 4]


def test_a_real_device_is_measured(splits: Splits) -> None:
    predictor = measure_times(models(), RECIPE, splits, CPU)
    assert predictor is not None
    assert (predictor.updates, predictor.evaluated, predictor.batch_size) == (2 * 10, 2 * 40, 16)
    assert predictor.device == CPU.name
    small, *_, large = models()
    assert 0 < predictor.training_seconds(small) < predictor.training_seconds(large) < 100


def test_a_model_that_exceeds_memory_is_not_a_probe(splits: Splits, monkeypatch: pytest.MonkeyPatch) -> None:
    largest = max(models(), key=lambda model: model.macs)

    def seconds(model: StudyModel) -> float:
        if model == largest:
            raise MemoryError
        return 1e-9 * model.macs

    monkeypatch.setattr(probe, "update_seconds", timed_as(seconds))
    predictor = measure_times(models(), RECIPE, splits, CPU)
    assert predictor is not None
    assert predictor.update_seconds(largest) == pytest.approx(1e-9 * largest.macs, rel=0.5)

    def never(model: StudyModel) -> float:
        raise MemoryError

    monkeypatch.setattr(probe, "update_seconds", timed_as(never))
    assert measure_times(models(), RECIPE, splits, CPU) is None
    assert measure_times([], RECIPE, splits, CPU) is None


def test_measuring_stops_after_some_seconds(splits: Splits, monkeypatch: pytest.MonkeyPatch) -> None:
    timed = []

    def seconds(model: StudyModel) -> float:
        timed.append(model)
        time.sleep(0.02)
        return 0.1

    monkeypatch.setattr(probe, "update_seconds", timed_as(seconds))
    many = [replace(model, depth=depth) for depth in range(1, 11) for model in models()]
    assert measure_times(many, RECIPE, splits, CPU, seconds=0.0) is not None
    assert len(timed) == 2
    timed.clear()
    measure_times(many, RECIPE, splits, CPU)
    assert len(timed) == probe.PROBES


def test_decoding_time_of_streamed_images_is_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for label in ("a", "b"):
        place = tmp_path / "train" / label
        place.mkdir(parents=True)
        for number in range(20):
            Image.new("RGB", (20, 20), (number, 0, 0)).save(place / f"{number}.png")
    config: dict[str, Any] = {"name": "image_folder", "resolution": 8, "validation_size": 8, "workers": 0}
    splits = open_data(DataConfig.model_validate(config | {"root": tmp_path}))
    assert isinstance(splits, StreamedSplits)
    opened = splits.opener

    def slowly(index: int) -> Any:
        time.sleep(0.01)  # at least this long
        return opened(index)

    monkeypatch.setattr(probe, "update_seconds", timed_as(lambda model: 1e-6))
    predictor = measure_times(models(), load_recipe(batch_size=8), replace(splits, opener=slowly), CPU)
    assert predictor is not None
    assert predictor.per_picture >= 0.01
    assert predictor.update_seconds(models()[0]) >= 8 * 0.01
    # plan=only measures it as well
    training = TrainingConfig(
        data=DataConfig.from_mapping(config | {"root": tmp_path}),
        recipe=load_recipe(batch_size=8),
        device=load_device(),
    )
    planned, source = predictor_for(training, tmp_path / "times", models(), processes=1)
    assert planned.evaluated == predictor.evaluated
    assert "a few updates on this machine" in source
