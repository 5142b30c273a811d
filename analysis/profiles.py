"""Width profiles of the best and the worst networks, with the rule fitted to each."""

from __future__ import annotations

import pandas as pd

from analysis.quantized_linear_fit import fit_quantized_linear


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
    ordered = frame[frame["status"] == "ok"].sort_values("error_percent", kind="stable")
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
