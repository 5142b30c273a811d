"""One statistic, space by space and parameter by parameter."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Array = NDArray[np.float64]


def check_known(frame: pd.DataFrame, column: str) -> None:
    """ValueError where a column has no number for some model."""
    unknown = int((~np.isfinite(frame[column].to_numpy(dtype=float))).sum())
    if unknown:
        raise ValueError(f"{column} is not known for {unknown:,} of {len(frame):,} models")


def varies(column: pd.Series) -> bool:
    """Whether a column has finite numbers that differ."""
    if not pd.api.types.is_numeric_dtype(column):
        return False
    known = column[np.isfinite(column.astype(float))]
    return bool(known.min() < known.max())


def per_space(
    frame: pd.DataFrame, names: Sequence[str], statistic: Callable[[Array, Array], pd.DataFrame]
) -> pd.DataFrame:
    """Apply a statistic of (values, errors) to every parameter of every space.

    Args:
        frame: columns `space`, `error_percent` and `names`.
        names: parameters; one that is text, fixed within a space, or unknown there, is left out for that space.
        statistic: from values and errors, both of shape (N,), to a frame.

    Returns:
        The frames stacked, with the columns `space` and `parameter` in front.
    """
    parts = []
    for space, part in frame.groupby("space", sort=False):
        for name in names:
            if varies(part[name]):
                known = part[np.isfinite(part[name].astype(float))]
                found = statistic(known[name].to_numpy(dtype=float), known["error_percent"].to_numpy(dtype=float))
                parts.append(found.assign(space=space, parameter=name))
    if not parts:
        return pd.DataFrame(columns=["space", "parameter"])
    stacked = pd.concat(parts, ignore_index=True)
    return stacked[["space", "parameter", *(c for c in stacked if c not in ("space", "parameter"))]]
