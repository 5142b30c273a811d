"""What is drawn of very many models: enough that the eye cannot tell it from all."""

from __future__ import annotations

import numpy as np
import pandas as pd

MAX_POINTS = 3000
"""Models drawn one by one, and steps of a curve."""


def thinned(frame: pd.DataFrame, most: int = MAX_POINTS) -> pd.DataFrame:
    """At most so many models: the best tenth of that number, the Pareto front, and a random choice of the others."""
    if len(frame) <= most:
        return frame
    best = frame["error_percent"].rank(method="first") <= most // 10
    kept = best | frame["pareto"]
    others = frame[~kept].sample(max(0, most - int(kept.sum())), random_state=0)
    return frame[kept | frame.index.isin(others.index)]


def thinned_curves(curves: pd.DataFrame, most: int = MAX_POINTS) -> pd.DataFrame:
    """Curves of at most so many steps each: of more the eye sees none, but a page carries all."""
    parts = []
    for _, curve in curves.groupby("space", sort=False):
        rows = np.unique(np.linspace(0, len(curve) - 1, min(len(curve), most)).astype(int))
        parts.append(curve.iloc[rows])
    return pd.concat(parts, ignore_index=True)
