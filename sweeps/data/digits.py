"""The 8×8 handwritten digits of scikit-learn: 1,797 images, for tests and smoke runs."""

from __future__ import annotations

import functools
import gzip
import importlib.util
from pathlib import Path

import numpy as np

from sweeps.data.source import LabeledImages, Part, Source, stratified_order

# scikit-learn does not divide the set. The first part of this fixed order is our test part.
TEST_SIZE = 360
TEST_SEED = 0


@functools.lru_cache(maxsize=1)
def _all_digits() -> LabeledImages:
    package = importlib.util.find_spec("sklearn")
    assert package is not None
    assert package.origin is not None
    # The file that load_digits reads; importing scikit-learn takes a second.
    with gzip.open(Path(package.origin).parent / "datasets/data/digits.csv.gz") as stream:
        rows = np.loadtxt(stream, dtype=np.int64, delimiter=",")
    # Intensities are integers 0 … 16, counts of 4×4 blocks (UCI "Optical Recognition of Handwritten Digits").
    images = np.rint(rows[:, :-1] * (255 / 16)).astype(np.uint8).reshape(-1, 1, 8, 8)
    return LabeledImages(images, rows[:, -1])


def _load(root: Path, part: Part) -> LabeledImages:
    digits = _all_digits()
    order = stratified_order(digits.labels, TEST_SEED)
    indices = np.sort(order[:TEST_SIZE] if part == "test" else order[TEST_SIZE:])
    return LabeledImages(digits.images[indices], digits.labels[indices])


def _prepare(root: Path) -> None:
    _all_digits()


SOURCE = Source("digits", "sklearn-digits-1", 10, _prepare, _load)
