"""Rank correlation of two trainings within the best fraction, by the measurement that selects it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy import stats

from analysis.training import rank_agreement, seed_agreement


def run(
    repetitions: int,
    seed: int = 0,
    *,
    reliabilities: Sequence[float] = (0.0, 0.5, 0.8, 0.9, 0.98),
    models: int = 400,
    top: float = 0.1,
) -> pd.DataFrame:
    """Simulate populations trained with three seeds.

    Args:
        repetitions: number of populations per reliability.
        seed: random seed.
        reliabilities: fraction of the variance of one training due to the architecture.
        models: population size.
        top: best fraction of the models.

    Returns:
        One row per reliability: `reliability`; means of Spearman's rho of two trainings within the best fraction,
        selected by a third seed (`third_seed`, as in `seed_agreement` with three seeds), one of the two (`reference`,
        with two seeds), the mean of both (`mean_of_both`, biased) and the expected error (`expected_error`); Pearson's
        correlation from normal theory for the first two (`third_seed_theory`, `reference_theory`).
    """
    rows = []
    for reliability in reliabilities:
        rng = np.random.default_rng([seed, round(100 * reliability)])
        results = [_agreements(rng, reliability, models, top) for _ in range(repetitions)]
        rows.append({"reliability": reliability, **pd.DataFrame(results).mean(), **_theory(reliability, top)})
    return pd.DataFrame(rows)


def _agreements(rng: np.random.Generator, reliability: float, models: int, top: float) -> dict[str, float]:
    expected = np.sqrt(reliability) * rng.normal(size=models)
    errors = expected[:, None] + np.sqrt(1 - reliability) * rng.normal(size=(models, 3))
    model, seed = np.divmod(np.arange(errors.size), 3)
    frame = pd.DataFrame({"spec_id": model, "seed": seed, "error_percent": errors.ravel()})
    three, two = seed_agreement(frame, top=top), seed_agreement(frame[seed < 2], top=top)
    assert three is not None
    assert two is not None
    a, b = errors[:, 0], errors[:, 1]
    return {
        "third_seed": three.top_spearman,
        "reference": two.top_spearman,
        "mean_of_both": rank_agreement(a, b, top=top, third=(a + b) / 2).top_spearman,
        "expected_error": rank_agreement(a, b, top=top, third=expected).top_spearman,
    }


def _theory(r: float, top: float) -> dict[str, float]:
    """Pearson's correlation after truncation of normal variables (range restriction, Pearson and Lawley)."""
    cut = stats.norm.ppf(top)
    mean = -stats.norm.pdf(cut) / top
    lost = mean**2 - cut * mean  # fraction of the variance of the selecting variable removed by truncation
    return {
        "third_seed_theory": (r - r**2 * lost) / (1 - r**2 * lost),
        "reference_theory": r * np.sqrt(1 - lost) / np.sqrt(1 - r**2 * lost),
    }
