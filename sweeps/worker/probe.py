"""Measure the constants that predict training times: a few updates of a few networks, and image decoding."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence

import numpy as np
from scipy.optimize import nnls

from designspace import ModelSpec
from designspace.network import build_network
from designspace.study import StudyModel
from designspace.times import TimePredictor
from sweeps.config import Recipe
from sweeps.data import Splits, StreamedSplits
from sweeps.trainer.device import Device
from sweeps.trainer.layout import Shape, timed_update
from sweeps.trainer.run import TrainingStopped, convert_failures
from sweeps.trainer.stream import Stream

PROBES = 8
"""Networks to time if there are at least four times as many to train."""

PROBE_SECONDS = 10.0
"""Timing ends after this, once two networks are timed."""


def measure_times(
    models: Sequence[StudyModel],
    recipe: Recipe,
    splits: Splits | StreamedSplits,
    device: Device,
    *,
    seconds: float = PROBE_SECONDS,
) -> TimePredictor | None:
    """Time a few updates of some of the networks and fit the constants; a few seconds.

    Args:
        models: models to train; up to `PROBES` of them, spread over macs, acts and depth, are timed.
        recipe: of the trainings.
        splits: images; only their numbers matter.
        device: device of the trainings.
        seconds: time limit.
    Returns:
        The predictor; None if no network can be timed, for example for lack of memory.
    """
    if not models:
        return None
    features = np.array([[model.macs, model.acts, model.depth] for model in models], float)
    updates = recipe.epochs * recipe.updates_per_epoch(len(splits.train_labels))
    timed: list[int] = []
    measured: list[float] = []
    start = time.monotonic()
    for index in spread(features, min(PROBES, max(2, len(models) // 4))):
        if len(timed) >= 2 and time.monotonic() - start > seconds:
            break
        try:
            with convert_failures():
                measured.append(update_seconds(models[index], recipe, device, updates))
        except TrainingStopped:  # its training will record why
            continue
        timed.append(index)
    if not timed:
        return None
    per_image = 0.0
    if isinstance(splits, StreamedSplits):
        per_image = _decoding_seconds(Stream(splits, device), recipe, seconds)
    (per_mac, per_act, per_block, per_update), error = fit(features[timed], np.array(measured), recipe.batch_size)
    return TimePredictor(
        per_mac,
        per_act,
        per_block,
        per_update,
        per_image,
        batch_size=recipe.batch_size,
        updates=updates,
        evaluated=recipe.epochs * splits.validation_size,
        relative_error=error,
        device=device.name,
    )


def fit(
    features: np.ndarray, seconds: np.ndarray, batch_size: int
) -> tuple[tuple[float, float, float, float], float | None]:
    """Least squares of relative errors with constants of at least zero.

    Args: `features` (N, 3) of macs, acts and depth; `seconds` (N,) of an update.
    Returns: seconds per mac, act, block and update; median relative error of a network predicted from the others,
        None if there are too few.
    """
    columns = np.column_stack([batch_size * features[:, 0], batch_size * features[:, 1], features[:, 2]])
    columns = np.column_stack([columns, np.ones(len(seconds))])
    per_mac, per_act, per_block, per_update = map(float, _constants(columns, seconds))
    error = None
    if len(seconds) > columns.shape[1]:
        others = [np.arange(len(seconds)) != left_out for left_out in range(len(seconds))]
        predicted = [columns[~other][0] @ _constants(columns[other], seconds[other]) for other in others]
        error = float(np.median(np.abs(predicted - seconds) / seconds))
    return (per_mac, per_act, per_block, per_update), error


def _constants(columns: np.ndarray, seconds: np.ndarray) -> np.ndarray:
    scale = columns.max(axis=0)
    solution: np.ndarray = nnls(columns / scale / seconds[:, None], np.ones(len(seconds)))[0]
    return solution / scale


def spread(features: np.ndarray, count: int) -> list[int]:
    """Indices of rows far apart on a log scale: the largest first, then each the farthest from all before."""
    logs = np.log(np.maximum(features, 1.0))
    chosen = [int(logs[:, 0].argmax())]
    while len(chosen) < min(count, len(logs)):
        distances = np.linalg.norm(logs[:, None] - logs[chosen], axis=2).min(axis=1)
        chosen.append(int(distances.argmax()))
    return chosen


def _decoding_seconds(stream: Stream, recipe: Recipe, seconds: float) -> float:
    """Decoding time per image without computation, after the batches decoded in advance."""
    ahead = 1 + 2 * stream.splits.workers  # batches that a DataLoader prefetches
    start = last = time.monotonic()
    images = 0
    for number, (_, labels) in enumerate(stream.epoch(recipe, 0, 0)):
        last = time.monotonic()
        if number < ahead:
            start, images = last, 0
            continue
        images += len(labels)
        if number >= 3 * ahead or last - start > seconds:
            break
    return (last - start) / images if images else 0.0


def update_seconds(model: StudyModel, recipe: Recipe, device: Device, updates: int) -> float:
    spec = ModelSpec.from_mapping(model.spec)
    epochs = Counter(recipe.resolution_at(epoch, spec.resolution) for epoch in range(recipe.epochs))
    return sum(
        count
        / recipe.epochs
        * timed_update(
            lambda: build_network(spec),
            Shape(spec.in_channels, resolution, spec.head.classes),
            recipe,
            device,
            updates,
        )
        for resolution, count in epochs.items()
    )
