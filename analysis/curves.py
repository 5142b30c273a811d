"""Learning curves of a population: quantiles over models, epoch by epoch."""

from __future__ import annotations

import numpy as np
import pandas as pd

from analysis.fidelity import curve_matrix

CURVE_COLUMNS = {
    "epoch": "epoch, from 1",
    "lowest": "smallest validation error of any model, percent",
    "lower, median, upper": "quartiles over the models, percent",
    "best": "curve of the model that is best in the end, percent",
    "n": "models that reached the last epoch",
}


def learning_curves(frame: pd.DataFrame, by: str = "space") -> pd.DataFrame:
    """Quartiles of the validation error after every epoch, for each space.

    Args:
        frame: columns `by` and `epoch_validation_error_percent` (a sequence a row); models that stopped early are left
            out.

    Returns:
        One row per space and epoch, columns `by` and those of CURVE_COLUMNS; empty without curves of two epochs.
    """
    parts = []
    for label, part in frame.groupby(by, sort=False):
        curves, _ = curve_matrix(part)
        if curves.shape[0] < 1 or curves.shape[1] < 2:
            continue
        lower, median, upper = np.quantile(curves, [0.25, 0.5, 0.75], axis=0)
        columns = {"lowest": curves.min(axis=0), "lower": lower, "median": median, "upper": upper}
        columns["best"] = curves[np.argmin(curves[:, -1])]
        epochs = np.arange(1, curves.shape[1] + 1)
        parts.append(pd.DataFrame({by: label, "epoch": epochs, **columns, "n": len(curves)}))
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=[by, "epoch"])
