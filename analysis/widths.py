"""Block widths: fits of RegNet's quantized linear rule, width profiles, and the line through the best networks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.parameters import best_range, rank_trend
from analysis.rows import distinct_models
from designspace.width_fit import fit_quantized_linear

FIT_COLUMNS = {
    "fit_w_0": "initial width of the fitted rule, channels",
    "fit_w_a": "slope of the fitted rule, channels per block",
    "fit_w_m": "width multiplier of the fitted rule",
    "fit_error": "e_fit: mean over blocks of |log(predicted / observed width)|",
}


def fit_population(
    block_widths: Iterable[Sequence[int] | None], *, quantum: int = 8, most: int | None = None
) -> pd.DataFrame:
    """Fit the quantized linear rule to every network of a population.

    Args:
        block_widths: block widths of each network, None if unknown (a row of NaN). Equal networks are fitted once.
        quantum: as in `fit_quantized_linear`.
        most: maximum number of distinct networks to fit, spread evenly over the population; NaN for the others.

    Returns:
        One row per network, columns of FIT_COLUMNS.
    """
    fits: dict[tuple[int, ...], dict[str, float]] = {}
    keys = [None if widths is None else tuple(int(w) for w in widths) for widths in block_widths]
    wanted = list(dict.fromkeys(key for key in keys if key))
    if most is not None and len(wanted) > most:
        wanted = [wanted[position] for position in np.linspace(0, len(wanted) - 1, most).astype(int)]
    chosen = set(wanted)
    unknown = dict.fromkeys(FIT_COLUMNS, np.nan)
    rows: list[dict[str, float]] = []
    for key in keys:
        if key is None or key not in chosen:
            rows.append(unknown)
            continue
        if key not in fits:
            fit = fit_quantized_linear(key, quantum=quantum)
            fits[key] = {"fit_w_0": fit.w_0, "fit_w_a": fit.w_a, "fit_w_m": fit.w_m, "fit_error": fit.error}
        rows.append(fits[key])
    return pd.DataFrame(rows, columns=list(FIT_COLUMNS), dtype=float)


def width_profiles(frame: pd.DataFrame, k: int = 3) -> pd.DataFrame:
    """Block widths of the k best and the k worst finished models, one row per block.

    Args:
        frame: columns `space`, `index`, `status`, `error_percent`, `block_widths`.
        k: models per group; fewer in small tables, where the groups must not overlap.

    Returns:
        model ("space #index"), group ("k best", "k worst"), error_percent, block (from 0), width, predicted (by the
        fitted rule), fit_error.

    Source: Radosavovic et al. 2020 (arXiv 2003.13678), Figs. 6 and 8.
    """
    frame = distinct_models(frame)
    finished = frame[(frame["status"] == "ok") & frame["block_widths"].notna()]
    ordered = finished.sort_values("error_percent", kind="stable")
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
    """Straight line through the block widths of the best networks: w_j = slope * j + intercept.

    Attributes:
        slope, slope_lower, slope_upper: channels per block, with a bootstrap interval over networks.
        intercept, intercept_lower, intercept_upper: width at block 0, channels, with a bootstrap interval.
        r_squared: R^2 of the pooled line.
        models: number of networks.
        widths: one row per block: model, block, width.
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
        k: number of best models; by default a quarter of the models, 5 to 20.
        confidence: confidence of the intervals, from resampling networks.
        seed: seed of the resampling.

    Returns:
        None if no best network has at least two blocks.

    Source: Radosavovic et al. 2020 (arXiv 2003.13678), Sec. 3.3 and Fig. 8 (top left): the best 20 AnyNetX_E follow
    w_j = 48 * (j + 1).
    """
    frame = distinct_models(frame)
    finished = frame[(frame["status"] == "ok") & frame["block_widths"].map(lambda w: w is not None and len(w) > 1)]
    k = min(20, max(5, len(finished) // 4)) if k is None else k
    best = finished.sort_values("error_percent", kind="stable").head(k)
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
    resampled = np.array([_line(total)[:2] for total in table[drawn].sum(axis=1)])
    ends = np.quantile(resampled, [0.5 - confidence / 2, 0.5 + confidence / 2], axis=0)
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


def describe_fits(models: pd.DataFrame) -> pd.DataFrame:
    """Fit errors of each space, and the line through the widths of its best models, for display.

    Args:
        models: columns space, error_percent, block_widths and those of `fit_population`.
    """
    rows = []
    for space, part in models.groupby("space", sort=False):
        fits, errors = part["fit_error"], part["error_percent"]
        line, best = linear_structure(part), best_range(fits, errors)
        rows.append(
            {
                "space": space,
                "n": len(part),
                "mean e_fit": float(fits.mean()),
                "median": float(fits.median()),
                "largest": float(fits.max()),
                "best models": f"{best.lower:.3f} to {best.upper:.3f}",
                "rank correlation with error": rank_trend(fits, errors).rho,
                "line through the best": "–" if line is None else f"{line.slope:.1f}·j + {line.intercept:.0f}",
            }
        )
    return pd.DataFrame(rows)
