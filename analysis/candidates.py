"""Candidate restrictions of a design space, from the parameters of its models."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.readers.cells import as_text
from analysis.restrictions import satisfies
from designspace.expressions import quoted

QUANTILES = (0.1, 0.25, 0.5, 0.75, 0.9)
FEW_VALUES = 8
"""Most values of a parameter that are fixed and excluded one by one."""
RATIOS = (2, 3, 4)
FIT_ERRORS = (0.1, 0.2)


def candidates(models: pd.DataFrame, parameters: Sequence[str]) -> list[str]:
    """Texts of candidate restrictions, simplest first.

    - For parameters with a value per stage (name_1, name_2, …): shared, non-decreasing, bounds on the ratio of every
      stage to the one before, and limits, fixed and excluded values in all stages.
    - e_fit, the distance of the widths from a quantized linear rule, and w_m >= 2 (arXiv 2003.13678, Fig. 9).
    - For every parameter and every stage: limits at quantiles, and fixed and excluded values if there are few.

    Args:
        models: columns `parameters`, and e_fit if known.
        parameters: names of columns.
    """
    texts: list[str] = []
    for name, columns in _stages(parameters).items():
        texts += _of_stages(name, models[columns])
    if "e_fit" in models and models["e_fit"].notna().any():
        texts += [f"e_fit <= {limit}" for limit in FIT_ERRORS]
    if "w_m" in parameters:
        texts.append("w_m >= 2")
    for name in parameters:
        texts += _of_values(quoted(name), models[name].dropna())
    return list(dict.fromkeys(texts))


def distinct_masks(
    models: pd.DataFrame, texts: Sequence[str], *, always: Sequence[str] = ()
) -> tuple[list[str], NDArray[np.bool_]]:
    """Masks of the models that satisfy each restriction, shape (n, K), and the texts of the columns.

    The first of several restrictions that keep the same models is listed, and every restriction that keeps none.
    Restrictions that keep all models are left out unless they are in `always`.
    """
    masks: dict[bytes, tuple[str, NDArray[np.bool_]]] = {}
    for text in dict.fromkeys([*always, *texts]):
        mask = satisfies(models, text)
        if text in always or not mask.all():
            key = mask.tobytes() if mask.any() and text not in always else text.encode()
            masks.setdefault(key, (text, mask))
    kept = [mask for _, mask in masks.values()]
    return [text for text, _ in masks.values()], np.array(kept, dtype=bool).reshape(len(kept), len(models)).T


def _stages(parameters: Sequence[str]) -> dict[str, list[str]]:
    """Columns of each parameter with a value for at least two stages."""
    stages: dict[str, list[str]] = {}
    for name in parameters:
        if match := re.fullmatch(r"(.+)_([1-9]\d*)", name):
            stages.setdefault(match[1], []).append(name)
    return {
        name: columns
        for name, columns in stages.items()
        if len(columns) > 1 and set(columns) == {f"{name}_{stage}" for stage in range(1, len(columns) + 1)}
    }


def _of_stages(name: str, columns: pd.DataFrame) -> Iterator[str]:
    plain = quoted(name)
    values = pd.Series(columns.to_numpy().ravel()).dropna()
    yield f"shared({plain})"
    if _is_number(values):
        yield f"nondecreasing({plain})"
        if values.nunique() > FEW_VALUES and values.min() > 0:
            yield from (f"ratio({plain}) <= {ratio}" for ratio in RATIOS)
    if name == "depth":  # depth alone is that of the network
        yield from (f"min(depth) >= {limit}" for limit in _quantiles(columns.min(axis=1)))
        yield from (f"max(depth) <= {limit}" for limit in _quantiles(columns.max(axis=1)))
    elif _is_number(values):
        yield from (f"{plain} >= {limit}" for limit in _quantiles(columns.min(axis=1)))
        yield from (f"{plain} <= {limit}" for limit in _quantiles(columns.max(axis=1)))
        if values.nunique() <= FEW_VALUES:
            yield from (f"{plain} {sign} {_number(value)}" for value in np.unique(values) for sign in ("==", "!="))


def _of_values(name: str, values: pd.Series) -> Iterator[str]:
    distinct = list(values.unique())
    if _is_number(values):
        limits = np.unique(values) if len(distinct) <= FEW_VALUES else None
        yield from (f"{name} >= {limit}" for limit in _quantiles(values, limits))
        yield from (f"{name} <= {limit}" for limit in _quantiles(values, limits))
        texts = [_number(value) for value in sorted(distinct)]
    else:
        texts = [as_text(v).lower() if isinstance(v, bool | np.bool_) else f"'{as_text(v)}'" for v in distinct]
        texts = [text for text in texts if re.fullmatch(r"true|false|'[^'\\]*'", text)]
    if len(distinct) <= FEW_VALUES:
        yield from (f"{name} == {text}" for text in texts)
        yield from (f"{name} != {text}" for text in texts if len(distinct) > 2)


def _quantiles(values: pd.Series, limits: NDArray[np.float64] | None = None) -> list[str]:
    if limits is None:
        limits = np.unique(np.quantile(values.astype(float), QUANTILES, method="inverted_cdf"))
    return [_number(limit) for limit in limits]


def _number(value: float) -> str:
    return f"{float(value):.12g}"


def _is_number(values: pd.Series) -> bool:
    return pd.api.types.is_numeric_dtype(values.infer_objects()) and not pd.api.types.is_bool_dtype(
        values.infer_objects()
    )
