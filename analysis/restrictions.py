"""Restrictions of design spaces, evaluated on trained models; see `designspace.expressions` for their language."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from designspace.expressions import parse_restriction
from designspace.width_fit import fit_error


def satisfies(models: pd.DataFrame, restriction: str) -> np.ndarray:
    """Mask of the models that satisfy a restriction, shape (N,).

    Args:
        models: its columns are the names that the restriction may use; parameters drawn per stage as name_1, name_2, ….
            `e_fit` is computed from `block_widths`.
        restriction: such as "depth <= 20 and shared(group_width)". Models without a value satisfy no restriction.

    Raises:
        ValueError: not a restriction, or an unknown name.
    """
    parsed = parse_restriction(restriction)
    columns = {str(name): models[name] for name in models if name not in ("block_widths", "spec")}
    if "block_widths" in models and "e_fit" not in columns:
        columns["e_fit"] = _fit_errors(models["block_widths"]) if "e_fit" in parsed.names else models["block_widths"]
    return parsed.holds(columns)


def _fit_errors(block_widths: pd.Series) -> pd.Series:
    return block_widths.map(lambda widths: fit_error(tuple(map(int, widths))) if widths else math.nan)
