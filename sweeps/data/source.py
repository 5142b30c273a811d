"""What a data set must offer: two labelled parts, and a name for its exact content."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

Part = Literal["train", "test"]


@dataclass(frozen=True, eq=False)
class LabelledImages:
    """Images uint8 (N, C, H, W) and their labels int64 (N,), in the set's own order."""

    images: np.ndarray
    labels: np.ndarray


@dataclass(frozen=True)
class Source:
    """A data set: `prepare(root)` brings it into the cache folder, `load(root, part)` reads one part from there.

    `content_id` names the exact content (a digest or a version), wherever it was downloaded; its license is in
    conf/data.
    """

    name: str
    content_id: str
    classes: int
    prepare: Callable[[Path], None]
    load: Callable[[Path, Part], LabelledImages]
