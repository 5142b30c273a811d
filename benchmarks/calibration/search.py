"""Verdicts on zero-cost scores, cross-validated errors of a surrogate, and expected errors of proposals."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from analysis.rows import COMPLEXITIES
from analysis.scores import UNDECIDED, score_agreement
from analysis.select import select_best
from analysis.surrogate import cross_validate
from benchmarks.calibration.comparison import MACRO
from designspace.study import SCORES
from designspace.surrogate import fit_surrogate

Rows = list[tuple[str, str, int, float]]
TEST_NETWORKS = 1500
"""Networks for the true accuracy of a fitted surrogate."""


def run(repetitions: int, seed: int = 0) -> pd.DataFrame:
    """Simulate all three; a repetition of the surrogate takes seconds, so it has a hundredth of the repetitions.

    Returns:
        One row per setting: statistic, setting, n, and percent of the repetitions. Nominal are 95 for coverage and at
        most 5 for wrong verdicts.
    """
    rng = np.random.default_rng(seed)
    fewer = max(1, repetitions // 100)
    rows = [*scores(repetitions // 10, rng), *proposals(fewer, rng), *(surrogate(fewer, rng) if MACRO.exists() else ())]
    return pd.DataFrame(rows, columns=["statistic", "setting", "n", "percent"])


def scores(repetitions: int, rng: np.random.Generator, sizes: Sequence[int] = (16, 30, 60)) -> Rows:
    """Scores and complexities that agree equally with the accuracy: every verdict is wrong."""
    rows: Rows = []
    for agreement, between, skewed in ((0.0, 0.3, False), (0.6, 0.7, False), (0.6, 0.7, True)):
        true = 6 / np.pi * np.arcsin(agreement / 2)  # Spearman's rho of normal variables
        for n in sizes:
            wrong = covered = 0
            for _ in range(repetitions):
                frame = score_agreement(scored(n, agreement, between, skewed, rng))
                wrong += bool((~frame["verdict"].isin(["", UNDECIDED])).any())
                covered += bool(((frame["lower"] <= true) & (true <= frame["upper"])).all())
            setting = f"agreement {agreement}, {'log-normal' if skewed else 'normal'}"
            rows.append(("any wrong verdict on a score", setting, n, 100 * wrong / repetitions))
            rows.append(("all agreements covered", setting, n, 100 * covered / repetitions))
    return rows


def scored(n: int, agreement: float, between: float, skewed: bool, rng: np.random.Generator) -> pd.DataFrame:
    """Networks whose measures correlate with the accuracy by `agreement`, and `between` each other."""
    names = [*SCORES, *COMPLEXITIES]
    covariance = np.full((len(names) + 1,) * 2, between)
    covariance[0], covariance[:, 0] = agreement, agreement
    np.fill_diagonal(covariance, 1)
    values = rng.multivariate_normal(np.zeros(len(covariance)), covariance, size=n)
    values = np.exp(values) if skewed else values
    frame = pd.DataFrame(values[:, 1:], columns=names)
    return frame.assign(
        error_percent=-values[:, 0].round(1 if skewed else 6), space="s", spec_id=np.arange(n).astype(str)
    )


def proposals(repetitions: int, rng: np.random.Generator) -> Rows:
    """The expected error of the best measured model of n random draws and similar, better proposals, noise known."""
    rows: Rows = []
    for draws, proposed in ((300, 40), (20, 40), (20, 100)):
        covered = 0
        for _ in range(repetitions):
            true = np.concatenate([rng.normal(34, 2.5, draws), rng.normal(30, 0.5, proposed)])
            names = np.arange(len(true)).astype(str)
            frame = pd.DataFrame({"spec_id": names, "error_percent": true + rng.normal(size=len(true))})
            frame = frame.assign(space="s", status="ok", seed=0, proposed_by=["tpe"] * len(true))
            frame.loc[: draws - 1, "proposed_by"] = ""
            best = select_best(frame, 1, noise_sd=1.0).iloc[0]
            covered += bool(best["estimate_lower"] <= true[int(best["spec_id"])] <= best["estimate_upper"])
        rows.append(("expected error of the best", f"{proposed} proposals", draws, 100 * covered / repetitions))
    return rows


def surrogate(repetitions: int, rng: np.random.Generator, sizes: Sequence[int] = (20, 50)) -> Rows:
    """R² and rank correlation on other networks of NAS-Bench-Macro, with its errors, or random ones."""
    table = pd.read_csv(MACRO, dtype={"arch": str})
    operations = np.array([[int(one) for one in arch] for arch in table["arch"]])
    columns: dict[str, NDArray[np.float64]] = {
        f"op_{layer}": one for layer, one in enumerate(operations.T.astype(float))
    }
    columns |= {"macs": table["flops"].to_numpy(float), "params": table["params"].to_numpy(float)}
    rows: Rows = []
    for setting in ("no signal", "errors of the table"):
        for n in sizes:
            squares = ranks = above = 0
            for number in range(repetitions):
                errors = rng.normal(20, 1, len(table)) if setting == "no signal" else 100 - table["acc1"].to_numpy()
                trained, new = np.split(rng.permutation(len(table))[: n + TEST_NETWORKS], [n])
                known = {name: column[trained] for name, column in columns.items()}
                validated = cross_validate(known, errors[trained], seed=number)
                predicted = fit_surrogate(known, errors[trained]).predict(
                    {name: one[new] for name, one in columns.items()}
                )
                mean_loss = np.mean((errors[new] - errors[trained].mean()) ** 2)
                explained = 1 - np.mean((errors[new] - predicted) ** 2) / mean_loss
                rho = stats.spearmanr(predicted, errors[new]).statistic
                squares += bool(validated.explained_lower <= explained <= validated.explained_upper)
                ranks += bool(validated.spearman_lower <= rho <= validated.spearman_upper)
                above += bool(validated.explained_lower > 0)
            for name, count in (("R² covered", squares), ("rank correlation covered", ranks), ("R² above 0", above)):
                rows.append((f"surrogate: {name}", setting, n, 100 * count / repetitions))
    return rows
