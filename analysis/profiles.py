"""Width profiles: the best and the worst networks with the rule fitted to each, and the line through the best."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.quantized_linear_fit import fit_quantized_linear
from analysis.rows import distinct_models


def width_profiles(frame: pd.DataFrame, k: int = 3) -> pd.DataFrame:
    """Block widths of the k best and the k worst finished models, long.

    Args:
        frame: columns `space`, `index`, `status`, `error_percent`, `block_widths`.
        k: models at each end; fewer where the table is short, so that no model is in both groups.

    Returns:
        One row a block: model ("space #index"), group ("best", "worst"), error_percent, block (from 0), width,
        predicted (by the fitted rule), fit_error.

    Source: Radosavovic et al. 2020 (arXiv 2003.13678), Figs. 6 and 8.
    """
    frame = distinct_models(frame)
    known = frame[(frame["status"] == "ok") & frame["block_widths"].notna()]
    ordered = known.sort_values("error_percent", kind="stable")
    k = min(k, len(ordered) // 2)
    rows = []
    for group, part in (("best", ordered.head(k)), ("worst", ordered.tail(k))):
        for _, model in part.iterrows():
            fit = fit_quantized_linear(model["block_widths"])
            for block, (width, predicted) in enumerate(zip(model["block_widths"], fit.predicted, strict=True)):
                rows.append(
                    {
                        "model": f"{model['space']} #{model['index']}",
                        "group": f"{k} {group}",
                        "error_percent": model["error_percent"],
                        "block": block,
                        "width": width,
                        "predicted": predicted,
                        "fit_error": fit.error,
                    }
                )
    columns = ["model", "group", "error_percent", "block", "width", "predicted", "fit_error"]
    return pd.DataFrame(rows, columns=columns)


@dataclass(frozen=True)
class LinearStructure:
    """A straight line through the widths of the best networks: w_j = slope * j + intercept.

    Attributes:
        slope, slope_lower, slope_upper: channels a block, with a bootstrap interval over networks.
        intercept, intercept_lower, intercept_upper: width at block 0, channels, with the same.
        r_squared: of the pooled line.
        models: networks.
        widths: one row a block: model, block, width.
    """

    slope: float
    slope_lower: float
    slope_upper: float
    intercept: float
    intercept_lower: float
    intercept_upper: float
    r_squared: float
    models: int
    widths: pd.DataFrame


def linear_structure(
    frame: pd.DataFrame, k: int | None = None, *, confidence: float = 0.95, seed: int = 0
) -> LinearStructure | None:
    """Fit w_j = a * j + b to the best models of a space.

    Args:
        frame: columns `space`, `index`, `status`, `error_percent`, `block_widths`; models of one space.
        k: number of best models; by default a quarter of them, 5 to 20.
        confidence: of the intervals, by resampling whole networks.
        seed: of the resampling.

    Returns:
        None without a network of two blocks and more among the best.

    Source: Radosavovic et al. 2020 (arXiv 2003.13678), Sec. 3.3 and Fig. 8 (top left): the best 20 AnyNetX_E follow
    w_j = 48 * (j + 1).
    """
    frame = distinct_models(frame)
    known = frame[(frame["status"] == "ok") & frame["block_widths"].map(lambda w: w is not None and len(w) > 1)]
    k = min(20, max(5, len(known) // 4)) if k is None else k
    best = known.sort_values("error_percent", kind="stable").head(k)
    if best.empty:
        return None
    rows, sums = [], []
    for _, model in best.iterrows():
        name, w = f"{model['space']} #{model['index']}", np.asarray(model["block_widths"], dtype=float)
        j = np.arange(len(w), dtype=float)
        sums.append([len(w), j.sum(), w.sum(), (j * j).sum(), (j * w).sum(), (w * w).sum()])
        rows += [(name, block, width) for block, width in enumerate(model["block_widths"])]
    table = np.array(sums)
    slope, intercept, fitted = _line(table.sum(axis=0))
    drawn = np.random.default_rng(seed).integers(len(table), size=(2000, len(table)))
    again = np.array([_line(total)[:2] for total in table[drawn].sum(axis=1)])
    ends = np.quantile(again, [0.5 - confidence / 2, 0.5 + confidence / 2], axis=0)
    return LinearStructure(
        slope,
        float(ends[0, 0]),
        float(ends[1, 0]),
        intercept,
        float(ends[0, 1]),
        float(ends[1, 1]),
        fitted,
        len(best),
        pd.DataFrame(rows, columns=["model", "block", "width"]),
    )


def _line(sums: NDArray[np.float64]) -> tuple[float, float, float]:
    """Slope, intercept and R^2 from n, sum j, sum w, sum j^2, sum jw, sum w^2."""
    n, j, w, jj, jw, ww = sums
    across, along, total = jw - j * w / n, jj - j * j / n, ww - w * w / n
    slope = across / along
    return float(slope), float((w - slope * j) / n), float(slope * across / total) if total > 0 else 1.0
