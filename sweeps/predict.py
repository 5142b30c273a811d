"""How long a training will take: a few seconds of calibration on the device, then a·macs + b·acts + c·depth + d.

One update on a batch of B images is predicted as B·(a·macs + b·acts) + c·depth + d seconds: arithmetic, memory traffic,
and the overhead of each block and each update. Used to order a queue, set time limits and tell a budget.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Self

import numpy as np
from scipy.optimize import nnls

from designspace import ModelSpec, complexity
from designspace.network import build_network
from sweeps.device import Device
from sweeps.layout import Shape, timed_update
from sweeps.recipe import Recipe

FORWARD_SHARE = 1 / 3
"""An image in evaluation costs a third of one in training: forward, without the two products of backward."""


@dataclass(frozen=True)
class TimePredictor:
    """Seconds of training from complexity; constants in seconds, for one device, arithmetic and batch size.

    `relative_error` is the median over the probes of |predicted − measured| / measured.
    """

    per_mac: float
    per_act: float
    per_block: float
    per_update: float
    batch_size: int
    relative_error: float

    def update_seconds(self, macs: float, acts: float, depth: float) -> float:
        """Seconds of one update."""
        image = self.per_mac * macs + self.per_act * acts
        return self.batch_size * image + self.per_block * depth + self.per_update

    def training_seconds(
        self, recipe: Recipe, macs: float, acts: float, depth: float, *, images: int, validation_images: int = 0
    ) -> float:
        """Seconds of a whole training with its evaluations."""
        evaluation = FORWARD_SHARE * validation_images / self.batch_size
        updates = recipe.updates_per_epoch(images) * recipe.batch_size / self.batch_size
        return recipe.epochs * (updates + evaluation) * self.update_seconds(macs, acts, depth)

    def to_mapping(self) -> dict[str, float]:
        """The constants as plain values, for the record."""
        return asdict(self)

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, float]) -> Self:
        """The predictor `to_mapping` wrote; ValueError names what is missing."""
        missing = [field.name for field in fields(cls) if field.name not in mapping]
        if missing:
            raise ValueError(f"the constants of the time predictor lack {', '.join(missing)}")
        return cls(**{field.name: mapping[field.name] for field in fields(cls)})  # type: ignore[arg-type]


def calibrate_time(specs: Sequence[ModelSpec], recipe: Recipe, device: Device, probes: int = 8) -> TimePredictor:
    """Time a few updates of some of the networks on the device and fit the constants; a few seconds.

    Args:
        specs: networks to be trained; `probes` of them, spread over macs, acts and depth, are timed.
        recipe: its batch size counts.
        device: where the training will be.
        probes: how many networks to time, at least 1.
    Raises:
        ValueError: there are no networks.
    """
    if not specs or probes < 1:
        raise ValueError(
            f"{len(specs)} networks and probes = {probes}: at least one of each is needed to predict times"
        )
    counts = [complexity(spec) for spec in specs]
    features = np.array([[c.macs, c.acts, spec.depth] for c, spec in zip(counts, specs, strict=True)], float)
    chosen = spread(features, probes)
    seconds = np.array([_update_seconds(specs[index], recipe, device) for index in chosen])
    return fit(features[chosen], seconds, recipe.batch_size)


def fit(features: np.ndarray, seconds: np.ndarray, batch_size: int) -> TimePredictor:
    """Least squares of relative errors with constants of at least zero.

    Args: `features` (N, 3) of macs, acts and depth; `seconds` (N,) of an update.
    """
    columns = np.column_stack([batch_size * features[:, 0], batch_size * features[:, 1], features[:, 2]])
    columns = np.column_stack([columns, np.ones(len(seconds))])
    scale = columns.max(axis=0)
    constants = nnls(columns / scale / seconds[:, None], np.ones(len(seconds)))[0] / scale
    predicted = columns @ constants
    error = float(np.median(np.abs(predicted - seconds) / seconds))
    per_mac, per_act, per_block, per_update = map(float, constants)
    return TimePredictor(per_mac, per_act, per_block, per_update, batch_size, error)


def spread(features: np.ndarray, count: int) -> list[int]:
    """Indices of rows far from each other on a log scale: each is the farthest from those before; the largest first."""
    places = np.log(np.maximum(features, 1.0))
    chosen = [int(places[:, 0].argmax())]
    while len(chosen) < min(count, len(places)):
        distances = np.linalg.norm(places[:, None] - places[chosen], axis=2).min(axis=1)
        chosen.append(int(distances.argmax()))
    return chosen


def _update_seconds(spec: ModelSpec, recipe: Recipe, device: Device) -> float:
    shape = Shape(spec.in_channels, spec.resolution, spec.head.classes)
    return timed_update(lambda: build_network(spec), shape, recipe, device)
