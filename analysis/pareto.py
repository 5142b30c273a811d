"""The models that no other beats in everything at once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.expressions import list_columns
from analysis.spaces import check_known


def pareto_front(frame: pd.DataFrame, objectives: Sequence[str] = ("error_percent", "macs")) -> NDArray[np.bool_]:
    """Whether each model is on the Pareto front: no other is at least as good in every objective and better in one.

    Args:
        frame: columns `objectives`, all to be small; a row with a value that is not finite is never on the front.
        objectives: one or more columns.

    Returns:
        Shape (len(frame),). Models equal in every objective are on the front together.

    Raises:
        ValueError: no objective, one that is not a column, or one without numbers.
    """
    missing = [name for name in objectives if name not in frame]
    if missing or not objectives:
        raise ValueError(f"objectives are {', '.join(objectives) or 'none'}; the table has {list_columns(frame)}")
    if text := [name for name in objectives if not pd.api.types.is_numeric_dtype(frame[name].infer_objects())]:
        raise ValueError(f"objectives are {', '.join(objectives)}; {text[0]} is text, and a front needs numbers")
    values = frame[list(objectives)].to_numpy(dtype=float)
    front = np.zeros(len(frame), dtype=bool)
    known = np.flatnonzero(np.isfinite(values).all(axis=1))
    if not len(known):
        for name in objectives:
            check_known(frame, name)
    # In lexical order a model can only be beaten by one before it, and comparing with the front so far is enough.
    order = known[np.lexsort(values[known].T[::-1])]
    if values.shape[1] == 2:
        first, second = values[order].T
        before = np.minimum.accumulate(np.concatenate([[np.inf], second[:-1]]))
        lowest = second < before
        # Equal to the one before it in both: on the front if that one is.
        start = np.append(True, (np.diff(first) != 0) | (np.diff(second) != 0))[: len(order)]
        front[order] = lowest[np.maximum.accumulate(np.where(start, np.arange(len(order)), 0))]
        return front
    best = np.empty((0, values.shape[1]))
    for row in order:
        point = values[row]
        if not np.any(np.all(best <= point, axis=1) & np.any(best < point, axis=1)):
            front[row] = True
            best = np.vstack([best, point])
    return front
