"""Stratified, seeded orders: every prefix of one holds the classes in proportion."""

from __future__ import annotations

import numpy as np


def stratified_order(labels: np.ndarray, seed: int) -> np.ndarray:
    """A random order of the samples in which every prefix is stratified.

    Args: `labels` (N,) of small integers; `seed` ≥ 0. Returns the permutation, int64 (N,). The k-th of a class's n_c
    samples is placed at (k + ½)/n_c of the way, so any prefix has each class within about one sample of its share, and
    a longer prefix contains the shorter one: taking more images never exchanges those already taken.
    """
    generator = np.random.default_rng(seed)
    position = np.empty(len(labels))
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        position[generator.permutation(members)] = (np.arange(len(members)) + 0.5) / len(members)
    # Equal positions (classes of equal size) fall in random order, so that no class always comes first.
    return np.lexsort((generator.random(len(labels)), position)).astype(np.int64)
