"""Which networks satisfy the constraints of a space."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from designspace.counting import Complexity, complexity
from designspace.memory import training_memory
from designspace.spaces.settings import Constraints
from designspace.spec import ModelSpec


def regnet_envelope(counts: Complexity) -> np.ndarray:
    """params < 3 M + 5.5 M·F and acts < 6.5 M·√F for F = macs in units of 1e9 (pycls `sweep/config.py`)."""
    giga = counts.macs / 1e9
    return (counts.params < 3e6 + 5.5e6 * giga) & (counts.acts < 6.5e6 * np.sqrt(giga))


ENVELOPES = {"regnet": regnet_envelope}


def checks(
    constraints: Constraints, networks: ModelSpec, draws: Mapping[str, np.ndarray]
) -> Iterator[tuple[str, np.ndarray]]:
    """Each constraint by name, with the networks that satisfy it (bool, shape (N,)); the cheap ones first.

    `growth` is α·β²·γ², the factor of the multiply-adds for one step of EfficientNet's φ (1905.11946, Eq. 3).
    """
    ranges = constraints.ranges()
    if not ranges and constraints.envelope is None:
        return
    if "growth" in ranges:
        yield "growth", _inside(draws["alpha"] * draws["beta"] ** 2 * draws["gamma"] ** 2, ranges.pop("growth"))
    if "depth" in ranges:
        yield "depth", _inside(sum(stage.depth for stage in networks.stages), ranges.pop("depth"))
    if "resolution" in ranges:
        yield "resolution", _inside(networks.resolution, ranges.pop("resolution"))
    memory = ranges.pop("training_memory", None)
    counts = complexity(networks)
    for name, limits in ranges.items():
        yield name, _inside(getattr(counts, name), limits)
    if constraints.envelope is not None:
        yield f"envelope {constraints.envelope}", ENVELOPES[constraints.envelope](counts)
    if memory is not None:
        needed = training_memory(networks, constraints.batch_size, constraints.precision, constraints.optimizer)
        yield "training_memory", _inside(needed.total, memory)


def _inside(values: np.ndarray | int, limits: tuple[float, float]) -> np.ndarray:
    return (np.asarray(values) >= limits[0]) & (np.asarray(values) <= limits[1])
