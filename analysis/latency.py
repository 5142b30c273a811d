"""Measured latency: which complexity predicts it, and a predictor with a measured error."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.optimize import nnls

from analysis.formatting import unsigned
from analysis.parameters import correlation_difference
from analysis.rows import COMPLEXITIES, LATENCY
from designspace.latency.predictor import LatencyPredictor

FEATURES = ("macs", "acts", "params", "depth")
FOLDS = 20
FEWEST_TO_FIT = 20
"""Networks to fit a predictor: with fewer, no distribution-free interval has a probability of 95 %."""
FEWEST_TO_COMPARE = 8
"""Networks to compare correlations."""
CONFIDENCE = 0.95

CORRELATION_COLUMNS = {
    "predictor": "macs, params or acts",
    "r": "correlation of its logarithm with that of the latency",
    "difference, lower, upper": "Fisher's z of the best predictor minus that of this one, with an interval "
    "simultaneous over all pairs of predictors; NaN for the best",
    "n": "number of networks",
}


def latency_correlations(frame: pd.DataFrame, confidence: float = CONFIDENCE) -> pd.DataFrame:
    """Correlation of the latency with multiply-adds, parameters and activations on log scales, highest first.

    Args:
        frame: columns latency_ms, macs, params, acts and `spec_id`; one row per network or several.
        confidence: of the intervals, simultaneous over the three pairs (Bonferroni).

    Returns:
        Columns of CORRELATION_COLUMNS; empty with fewer than FEWEST_TO_COMPARE networks or one varying predictor.
    """
    known = _networks(frame, COMPLEXITIES)
    logs = np.log(known[[*COMPLEXITIES, LATENCY]].to_numpy(dtype=float))
    varying = [column for column, name in enumerate(COMPLEXITIES) if len(logs) and np.ptp(logs[:, column]) > 0]
    if len(logs) < FEWEST_TO_COMPARE or len(varying) < 2 or np.ptp(logs[:, -1]) == 0:
        return pd.DataFrame(columns=["predictor", "r", "difference", "lower", "upper", "n"])
    y = logs[:, -1]
    r = {column: float(np.corrcoef(logs[:, column], y)[0, 1]) for column in varying}
    best, *others = sorted(varying, key=lambda column: -r[column])
    level = (1 - confidence) / len(list(combinations(varying, 2)))
    rows = [(COMPLEXITIES[best], r[best], math.nan, math.nan, math.nan, len(logs))]
    for other in others:
        ends = correlation_difference(logs[:, best], logs[:, other], y, confidence=1 - level)
        rows.append((COMPLEXITIES[other], r[other], *ends, len(logs)))
    return pd.DataFrame(rows, columns=["predictor", "r", "difference", "lower", "upper", "n"])


def latency_sentences(correlations: pd.DataFrame) -> list[str]:
    """Which complexity predicts the latency; [] without `latency_correlations`."""
    if correlations.empty:
        return []
    best, *others = correlations.to_dict("records")
    values = ", ".join(f"{row['predictor']} {row['r']:.2f}" for row in (best, *others))
    clear = [row["predictor"] for row in others if row["lower"] > 0]
    differences = " and ".join(
        f"{unsigned(row['difference'], row['lower'], row['upper'])} higher than that of {row['predictor']}"
        for row in others
    )
    if len(clear) == len(others):
        conclusion = f"{best['predictor']} predict the latency best."
    elif clear:
        conclusion = f"{best['predictor']} predict the latency better than {' and '.join(clear)}."
    else:
        conclusion = "No difference between the predictors of the latency is detected."
    return [
        f"{conclusion} Correlations of logarithms over {best['n']:,} networks: {values}. Fisher's z of "
        f"{best['predictor']} is {differences} (simultaneous 95 % confidence intervals)."
    ]


def fit_latency(frame: pd.DataFrame, condition: str) -> LatencyPredictor:
    """Fit the latency as a nonnegative sum of terms in multiply-adds, activations, parameters and depth.

    Minimizes the sum of squared relative errors. The error of the predictor comes from cross-validation: each network
    is predicted from those of the other folds. The 95 % bound is the conformal quantile of these errors, which holds
    for new networks drawn like the measured ones, whatever the form of the latency.

    Args:
        frame: columns latency_ms, FEATURES and `spec_id`; one row per network or several.
        condition: of the measurement, for the file.

    Raises:
        ValueError: fewer than FEWEST_TO_FIT networks.

    Sources: nonnegative least squares Lawson & Hanson 1974; cross-validation+ Barber, Candès, Ramdas & Tibshirani 2021
    (arXiv 1905.02928).
    """
    known = _networks(frame, FEATURES)
    if len(known) < FEWEST_TO_FIT:
        raise ValueError(f"fit: {len(known)} measured networks, but at least {FEWEST_TO_FIT} are needed")
    x = np.column_stack([known[list(FEATURES)].to_numpy(dtype=float), np.ones(len(known))])
    y = known[LATENCY].to_numpy(dtype=float)
    errors = np.sort(np.abs(np.log(y / cross_validated(x, y))))
    rank = math.ceil((len(y) + 1) * CONFIDENCE)
    per_mac, per_act, per_param, per_block, constant = map(float, _fit(x, y))
    return LatencyPredictor(
        per_mac=per_mac,
        per_act=per_act,
        per_param=per_param,
        per_block=per_block,
        constant=constant,
        condition=condition,
        networks=len(y),
        fastest_ms=float(y.min()),
        slowest_ms=float(y.max()),
        typical_error=float(np.expm1(np.median(errors))),
        error=float(np.expm1(errors[rank - 1])),
    )


def cross_validated(x: NDArray[np.float64], y: NDArray[np.float64], seed: int = 0) -> NDArray[np.float64]:
    """Prediction of each network from those of the other folds.

    Args:
        x: shape (N, features), nonnegative.
        y: shape (N,), positive.
        seed: seed of the folds.
    """
    fold = np.random.default_rng(seed).permutation(len(y)) % FOLDS
    predicted = np.empty(len(y))
    for number in np.unique(fold):
        rest = fold != number
        predicted[~rest] = x[~rest] @ _fit(x[rest], y[rest])
    return predicted


def _fit(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    scale = np.maximum(x.max(axis=0), 1e-300)
    solution, _ = nnls(x / scale / y[:, None], np.ones(len(y)))
    return np.asarray(solution / scale, dtype=float)


def _networks(frame: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    """Each measured network once."""
    known = frame.drop_duplicates("spec_id").dropna(subset=[LATENCY, *columns])
    return known[(known[[LATENCY, *columns]].astype(float) > 0).all(axis=1)]
