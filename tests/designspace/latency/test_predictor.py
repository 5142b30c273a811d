"""The predictor of latency, its file, and the constraint of design spaces."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import designspace as ds
from designspace.cli import main
from designspace.latency.predictor import LatencyPredictor, load_predictor
from designspace.spaces import load_space, save_space, space_from_config

PREDICTOR = LatencyPredictor(
    per_mac=1e-8,
    per_act=2e-7,
    per_param=0.0,
    per_block=0.05,
    constant=0.1,
    condition="torch 2.13.0, batch 1, 1 thread, AMD EPYC",
    networks=60,
    fastest_ms=1.0,
    slowest_ms=20.0,
    typical_error=0.03,
    error=0.12,
)
SPACE = ds.space("regnetx").with_constraints(macs=(2e8, 8e8))


def predicted(population: ds.Population) -> np.ndarray:
    counts = population.complexity
    depth = population.to_frame()["depth"].to_numpy()
    return np.asarray(PREDICTOR.milliseconds(counts.macs, counts.params, counts.acts, depth))


@pytest.mark.parametrize("suffix", ["yaml", "json"])
def test_a_file_reads_back(suffix: str, tmp_path: Path) -> None:
    file = tmp_path / f"latency.{suffix}"
    file.write_text(PREDICTOR.to_file(f".{suffix}"))
    assert load_predictor(file) == PREDICTOR


def test_a_constraint_selects_the_networks_of_the_same_stream() -> None:
    limits = (5.0, 7.0)
    everything = SPACE.sample(60)
    latency = predicted(everything)
    inside = (latency >= limits[0]) & (latency <= limits[1])
    assert 5 < inside.sum() < 55
    constrained = SPACE.with_constraints(latency_ms=limits, latency_predictor=PREDICTOR.to_mapping())
    population = constrained.sample(int(inside.sum()))
    assert list(population) == list(everything[inside])
    assert population.report.rejected["latency_ms"] > 0


def test_a_space_contains_the_predictor_of_the_file(tmp_path: Path) -> None:
    file = tmp_path / "latency.yaml"
    file.write_text(PREDICTOR.to_file(".yaml"))
    settings = {"base": "regnetx", "constraints": {"latency_ms": [5, 7], "latency_predictor": str(file)}}
    space = space_from_config(settings)
    file.unlink()
    assert space.constraints.latency_predictor == PREDICTOR
    assert space_from_config(space.to_mapping()) == space
    save_space(space, tmp_path / "fast.yaml")
    assert load_space(tmp_path / "fast.yaml").constraints == space.constraints


@pytest.mark.parametrize(
    ("constraints", "message"),
    [
        ({"latency_ms": [1, 2]}, "latency_predictor: required by latency_ms"),
        (
            {"latency_ms": [5, 30], "latency_predictor": PREDICTOR.to_mapping()},
            r"latency_ms = \[5.0, 30.0\]: must end at or below 20, the slowest network",
        ),
        (
            {"latency_predictor": "missing.yaml"},
            "latency_predictor = 'missing.yaml': must be a predictor file that exists",
        ),
        (
            {"latency_predictor": "latency.csv"},
            "latency_predictor = 'latency.csv': must be a predictor file, which ends",
        ),
        ({"latency_predictor": PREDICTOR.to_mapping() | {"per_mac": -1}}, "per_mac = -1: must be at least 0"),
    ],
)
def test_invalid_constraints_are_errors_of_one_line(constraints: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message) as error:
        SPACE.with_constraints(**constraints)
    assert "\n" not in str(error.value)


def test_sample_uses_a_predictor_and_shows_the_latency(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "latency.yaml"
    file.write_text(PREDICTOR.to_file(".yaml"))
    command = ["sample", "space=regnetx", "n=20", "macs=[2e8,8e8]", "latency_ms=[5,7]", f"latency_predictor={file}"]
    assert main(command) == 0
    out = capsys.readouterr().out
    assert "latency_ms" in out.partition("rejected:")[2]
    assert "predicted latency_ms" in out
    assert "typically within 3.0 %" in out
