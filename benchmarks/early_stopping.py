"""Epochs saved by early stopping, and how often it stops the best model, by replaying complete learning curves.

python -m benchmarks.early_stopping RUN …    curves of studies that trained every model to the end
python -m benchmarks.early_stopping          made-up curves

Every space is replayed in random orders, with several models in training at once, as a study trains it. The baseline
spends the same number of epochs on fewer models, drawn at random and trained to the end.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from designspace.study import Study
from sweeps.stopping import AshaRule, MedianRule, Rule

Array = NDArray[np.float64]

RULES: dict[str, Rule] = {
    "median, min_epochs=1": MedianRule(min_epochs=1),
    "median, min_epochs=2": MedianRule(min_epochs=2),
    "median": MedianRule(),
    "asha, min_epochs=1": AshaRule(min_epochs=1),
    "asha, min_epochs=3": AshaRule(min_epochs=3),
    "asha": AshaRule(),
    "asha, reduction=2": AshaRule(reduction=2),
    "asha, min_epochs=8": AshaRule(min_epochs=8),
}


def replay(curves: Array, rule: Rule, workers: int) -> NDArray[np.int64]:
    """Epochs of each model, if the models are trained in this order, `workers` at once, and epochs take equally long.

    Args:
        curves: shape (models, epochs), errors of complete trainings.
        rule: decides from the epochs finished so far, also of models in training.
        workers: models in training at once.
    """
    models, epochs = curves.shape
    done, waiting, running = np.zeros(models, dtype=np.int64), iter(range(models)), list[int]()
    while running := running + [model for _, model in zip(range(workers - len(running)), waiting, strict=False)]:
        done[running] += 1
        running = [model for model in running if not _ends(curves, done, model, rule, epochs)]
    return done


def _ends(curves: Array, done: NDArray[np.int64], model: int, rule: Rule, epochs: int) -> bool:
    epoch = int(done[model])
    if not rule.decides_after(epoch, epochs):
        return epoch == epochs
    reached = np.flatnonzero(done >= epoch)
    return rule.stops(curves[model, :epoch].tolist(), curves[reached[reached != model], :epoch].tolist())


def study_curves(root: Path) -> Iterator[Array]:
    """Curves of each space and training seed of a study; shape (models, epochs)."""
    records, _ = Study.open(root).read_records()
    groups: dict[tuple[str, int], list[tuple[float | None, ...]]] = {}
    for record in records.values():
        if record.status == "ok":
            groups.setdefault((record.space, record.seed), []).append(record.epoch_validation_error_percent)
    for rows in groups.values():
        yield np.array(rows, dtype=float)


def made_up_curves(rng: np.random.Generator, models: int = 200, epochs: int = 27) -> Array:
    """Curves that cross: final error and speed are independent, and the noise falls with the learning rate."""
    left = 1 - np.arange(1, epochs + 1) / epochs  # of the schedule
    final, slow = 10 + rng.gamma(4, 1, (models, 1)), rng.gamma(4, 2, (models, 1))
    return final + slow * left + rng.normal(0, 0.3 + 1.5 * left, (models, epochs))


def outcome(curves: Array, done: NDArray[np.int64]) -> tuple[float, ...]:
    """Stopped and saved fractions, whether the best was stopped, error lost, shift of the median, and the baseline."""
    complete, final = done == curves.shape[1], curves[:, -1]
    saved = 1 - done.sum() / curves.size
    kept = max(1, round(len(curves) * (1 - saved)))
    ranks = np.arange(len(final) - kept + 1)  # expected minimum of `kept` of the models, without replacement
    chances = np.cumprod(np.concatenate([[1.0], 1 - kept / (len(final) - ranks[:-1])])) * kept / (len(final) - ranks)
    return (
        1 - complete.mean(),
        saved,
        float(not complete[final.argmin()]),
        final[complete].min() - final.min(),
        float(np.median(final[complete]) - np.median(final)),
        1 - kept / len(final),
        chances @ np.sort(final)[: len(ranks)] - final.min(),
    )


def main() -> None:
    """Print one line for each rule."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="*", type=Path, metavar="RUN")
    parser.add_argument(
        "--orders", type=int, default=100, metavar="N", help="random orders of each space (default 100)"
    )
    parser.add_argument("--workers", type=int, default=4, metavar="N", help="models in training at once (default 4)")
    arguments = parser.parse_args()
    rng = np.random.default_rng(0)
    populations = [curves for root in arguments.runs for curves in study_curves(root)]
    populations = populations or [made_up_curves(rng) for _ in range(4)]
    epochs = populations[0].shape[1]
    sizes = sorted({len(curves) for curves in populations})
    print(f"{len(populations)} populations of {sizes[0]} to {sizes[-1]} models, {epochs} epochs")
    print(
        f"{'rule':24}{'stopped':>9}{'saved':>8}{'best stopped':>14}{'lost':>7}{'median':>8}"
        f"{'baseline: best missed':>23}{'lost':>7}"
    )
    for name, rule in RULES.items():
        if rule.first_epoch(epochs) >= epochs:
            continue
        rows = []
        for curves in populations:
            for _ in range(arguments.orders):
                shuffled = rng.permutation(curves)
                rows.append(outcome(shuffled, replay(shuffled, rule, arguments.workers)))
        stopped, saved, missed, lost, shift, random_missed, random_lost = np.mean(rows, axis=0)
        print(
            f"{name:24}{stopped:9.0%}{saved:8.0%}{missed:14.1%}{lost:7.2f}{shift:+8.2f}{random_missed:23.0%}"
            f"{random_lost:7.2f}"
        )


if __name__ == "__main__":
    main()
