"""The 8×8 handwritten digits bundled with scikit-learn: 1,797 images, for tests and smoke runs."""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np

from sweeps.data.source import LabelledImages, Part, Source
from sweeps.data.split import stratified_order

# scikit-learn gives one undivided set; the first part of this fixed order is our test split.
TEST_SIZE = 360
TEST_SEED = 0


@functools.lru_cache(maxsize=1)
def _all_digits() -> LabelledImages:
    from sklearn.datasets import load_digits  # costs a second to import, so only when needed

    bunch = load_digits()
    # Intensities are whole numbers 0 … 16 (counts of 4×4 blocks, UCI "Optical Recognition of Handwritten Digits").
    images = np.rint(bunch.images * (255 / 16)).astype(np.uint8)[:, None]
    return LabelledImages(images, bunch.target.astype(np.int64))


def _load(root: Path, part: Part) -> LabelledImages:
    digits = _all_digits()
    order = stratified_order(digits.labels, TEST_SEED)
    chosen = np.sort(order[:TEST_SIZE] if part == "test" else order[TEST_SIZE:])
    return LabelledImages(digits.images[chosen], digits.labels[chosen])


def _prepare(root: Path) -> None:
    _all_digits()


SOURCE = Source("digits", "sklearn-digits-1", 10, _prepare, _load)
