"""Restrictions found by `refine_space` on samples of NAS-Bench-Macro, a complete space of 6,561 networks."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
import pandas as pd

from analysis.candidates import candidates
from analysis.effects import MeanEffects
from analysis.matching import log_complexity
from analysis.refine import refine_space
from analysis.restrictions import satisfies
from benchmarks.calibration.comparison import MACRO

LEAST_SHARE = 0.1
"""The best single restriction is that of the candidates that keep at least this fraction of the space."""


@cache
def macro() -> tuple[pd.DataFrame, tuple[str, ...]]:
    """All networks, and their parameters: the type of each layer, and the number of layers of each type."""
    table = pd.read_csv(MACRO, dtype={"arch": str}).rename(columns={"flops": "macs", "err": "error_percent"})
    layers = {f"layer_{place + 1}": table["arch"].str[place].astype(int) for place in range(8)}
    frame = table[["macs", "error_percent", "n_id", "n_mb3", "n_mb6"]].assign(**layers)
    return frame, tuple(str(name) for name in frame if name not in ("macs", "error_percent"))


@cache
def true_effect(restriction: str) -> float:
    """Effect of a restriction from all networks; NaN if it keeps all or none."""
    everything, _ = macro()
    kept = satisfies(everything, restriction)
    if kept.all() or not kept.any():
        return float("nan")
    errors = everything["error_percent"].to_numpy()
    return float(MeanEffects(errors, log_complexity(everything, "macs"), kept[:, None]).effect[0])


@cache
def true_share(restriction: str) -> float:
    """Fraction of all networks that satisfy a restriction."""
    return float(satisfies(macro()[0], restriction).mean())


@cache
def best_restriction() -> str:
    """The candidate with the smallest true effect."""
    everything, parameters = macro()
    texts = [text for text in candidates(everything, parameters) if true_share(text) >= LEAST_SHARE]
    return min((text for text in texts if np.isfinite(true_effect(text))), key=true_effect)


def run(repetitions: int, seed: int = 0, *, sizes: Sequence[int] = (100, 300, 1000)) -> pd.DataFrame:
    """Draw populations and refine them, with the measured and with shuffled errors.

    Returns:
        One row per number of models. Percentages of the populations: `found` (the best single restriction ranks first
        of those that keep LEAST_SHARE of the space), `best covered`, `chosen covered` and `all covered` (the
        simultaneous interval contains the true effect, for the best, the first, and all restrictions), `false better`
        and `false worse` (verdicts against the true effect), `cross covered` (the cross-fitted interval contains the
        mean true effect of the chosen restrictions), `null better`, `null worse`, `null covered` (any verdict, and
        coverage of the cross-fitted interval, with shuffled errors). Means of `naive`, `cross` and `true`: estimated,
        cross-fitted and true effect of the first restriction, and `best`, the true effect of the best.
    """
    everything, parameters = macro()
    rows = []
    for n in sizes:
        rng = np.random.default_rng([seed, n])
        results = []
        for _ in range(repetitions):
            sample = everything.iloc[rng.integers(0, len(everything), n)].reset_index(drop=True)
            shuffled = sample.assign(error_percent=rng.permutation(sample["error_percent"].to_numpy()))
            results.append(_measured(sample, parameters) | _shuffled(shuffled, parameters))
        means = pd.DataFrame(results).astype(float).mean()
        percent = {name: 100 * value for name, value in means.items() if name not in ("naive", "cross", "true", "best")}
        rows.append({"n": n, **percent, **means[["naive", "cross", "true", "best"]]})
    return pd.DataFrame(rows)


def _measured(sample: pd.DataFrame, parameters: Sequence[str]) -> dict[str, Any]:
    best = best_restriction()
    refinement = refine_space(sample, parameters, tries=[best])
    frame = refinement.frame[refinement.frame["effect"].notna()].reset_index(drop=True)
    truth = frame["restriction"].map(true_effect)
    covered = (frame["effect_lower"] <= truth) & (truth <= frame["effect_upper"])
    own = np.flatnonzero(frame["restriction"] == best)
    naive, cross = refinement.naive, refinement.cross_fitted
    assert naive is not None
    first = int(np.flatnonzero(frame["restriction"] == naive["restriction"])[0])
    common = frame["restriction"].map(true_share) >= LEAST_SHARE
    target = np.mean([true_effect(text) for text in refinement.choices])
    return {
        "found": frame[common].sort_values("_bound")["restriction"].iloc[0] == best,
        "best covered": covered[own[0]] if len(own) else np.nan,
        "chosen covered": covered[first],
        "all covered": covered.all(),
        "false better": ((frame["verdict"] == "better") & (truth > 0)).any(),
        "false worse": ((frame["verdict"] == "worse") & (truth < 0)).any(),
        "cross covered": cross is not None and cross.lower <= target <= cross.upper,
        "naive": naive["effect"],
        "cross": np.nan if cross is None else cross.effect,
        "true": truth[first],
        "best": true_effect(best),
    }


def _shuffled(sample: pd.DataFrame, parameters: Sequence[str]) -> dict[str, Any]:
    refinement = refine_space(sample, parameters)
    verdicts, cross = refinement.frame["verdict"], refinement.cross_fitted
    return {
        "null better": (verdicts == "better").any(),
        "null worse": (verdicts == "worse").any(),
        "null covered": cross is not None and cross.lower <= 0 <= cross.upper,
    }
