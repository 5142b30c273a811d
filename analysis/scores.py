"""Rank agreement of zero-cost scores with the error, compared with multiply-adds, parameters and activations."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from analysis.parameters import correlation_difference, rank_trend
from analysis.rows import COMPLEXITIES, distinct_models
from designspace.study import SCORES

FEWEST = 8
"""Fewest networks of a space to compare agreements."""

BETTER, WORSE, UNDECIDED = "better", "worse", "not distinguishable"


def score_agreement(models: pd.DataFrame, *, confidence: float = 0.95) -> pd.DataFrame:
    """Rank agreement of scores and complexities with the error of each space.

    Args:
        models: one row per draw, with `space`, `error_percent`, macs, params, acts, and scores of SCORES.
        confidence: simultaneous, by Bonferroni, over the agreements of all spaces, and over their comparisons.

    Returns:
        One row per space and measure:

        - space, measure, n: number of distinct networks with this measure.
        - agreement, lower, upper: Spearman's rho of the measure and the negative error, with its interval. At 1, a
          larger value always has a smaller error.
        - kendall: Kendall's tau-b of the same.
        - verdict: for a score, "better" if its agreement is higher than that of macs, params and acts, "worse" if it is
          lower than that of any of them, and "not distinguishable" otherwise, by the intervals of
          `correlation_difference` of the ranks; "" for macs, params and acts.
        - baseline: for a score, the one of macs, params and acts with the highest agreement.
    """
    parts = []
    for space, part in models.groupby("space", sort=False):
        networks = distinct_models(part)
        measures = [name for name in (*SCORES, *COMPLEXITIES) if _is_measured(networks, name)]
        if any(name in SCORES for name in measures):
            parts.append((str(space), networks, measures))
    number = sum(len(measures) for _, _, measures in parts)
    scores = sum(name in SCORES for _, _, measures in parts for name in measures)
    each = 1 - (1 - confidence) / max(1, number)
    compared = 1 - (1 - confidence) / max(1, scores * len(COMPLEXITIES))
    rows = []
    for space, networks, measures in parts:
        agreements = {name: _agreement(networks, name, each) for name in measures}
        baselines = [name for name in measures if name in COMPLEXITIES]
        for name in measures:
            row = {"space": space, "measure": name} | agreements[name] | {"verdict": "", "baseline": ""}
            if name in SCORES and baselines:
                row["verdict"] = _verdict(networks, name, baselines, compared)
                row["baseline"] = max(baselines, key=lambda one: agreements[one]["agreement"])
            rows.append(row)
    names = ["space", "measure", "n", "agreement", "lower", "upper", "kendall", "verdict", "baseline"]
    return pd.DataFrame(rows, columns=names)


def _is_measured(networks: pd.DataFrame, name: str) -> bool:
    """Whether at least four networks have the measure, with different values."""
    if name not in networks:
        return False
    values = networks[name].astype(float).dropna()
    return len(values) >= 4 and np.ptp(values) > 0 and np.ptp(networks.loc[values.index, "error_percent"]) > 0


def _agreement(networks: pd.DataFrame, name: str, confidence: float) -> dict[str, float]:
    measured = networks[networks[name].notna()]
    values, errors = measured[name].astype(float), measured["error_percent"]
    trend = rank_trend(values, errors, confidence=confidence)
    kendall = -float(stats.kendalltau(values, errors).statistic)
    return {"n": trend.n, "agreement": -trend.rho, "lower": -trend.upper, "upper": -trend.lower, "kendall": kendall}


def _verdict(networks: pd.DataFrame, score: str, baselines: Sequence[str], confidence: float) -> str:
    """Compare the agreement of a score with those of the baselines, on the networks that have the score."""
    measured = networks.dropna(subset=[score, *baselines])
    ranks = {name: _ranks(measured[name]) for name in (score, *baselines)}
    accuracy = _ranks(-measured["error_percent"])
    if len(measured) < FEWEST or any(np.ptp(one) == 0 for one in (*ranks.values(), accuracy)):
        return UNDECIDED
    differences = [
        correlation_difference(ranks[score], ranks[name], accuracy, confidence=confidence) for name in baselines
    ]
    if all(low > 0 for _, low, _ in differences):
        return BETTER
    return WORSE if any(high < 0 for _, _, high in differences) else UNDECIDED


def _ranks(values: pd.Series) -> NDArray[np.float64]:
    ranks: NDArray[np.float64] = stats.rankdata(values.astype(float))
    return ranks
