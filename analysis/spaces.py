"""One statistic, space by space and parameter by parameter."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Array = NDArray[np.float64]


def varies(column: pd.Series) -> bool:
    """Whether a column has numbers that differ."""
    return bool(pd.api.types.is_numeric_dtype(column) and column.min() < column.max())


def per_space(
    frame: pd.DataFrame, names: Sequence[str], statistic: Callable[[Array, Array], pd.DataFrame]
) -> pd.DataFrame:
    """Apply a statistic of (values, errors) to every parameter of every space.

    Args:
        frame: columns `space`, `error_percent` and `names`.
        names: parameters; one that is fixed within a space, or unknown there, is left out for that space.
        statistic: from values and errors, both of shape (N,), to a frame.

    Returns:
        The frames stacked, with the columns `space` and `parameter` in front.
    """
    parts = []
    for space, part in frame.groupby("space", sort=False):
        for name in names:
            known = part[np.isfinite(part[name].astype(float))]
            if varies(known[name]):
                found = statistic(known[name].to_numpy(dtype=float), known["error_percent"].to_numpy(dtype=float))
                parts.append(found.assign(space=space, parameter=name))
    if not parts:
        return pd.DataFrame(columns=["space", "parameter"])
    stacked = pd.concat(parts, ignore_index=True)
    return stacked[["space", "parameter", *(c for c in stacked if c not in ("space", "parameter"))]]
