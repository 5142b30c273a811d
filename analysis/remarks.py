"""Sentences that stand beside the pictures of a report: every number in them comes from a frame."""

from __future__ import annotations

import numpy as np

from analysis.fidelity import TRUSTWORTHY, cheapest_epoch
from analysis.findings import Findings
from analysis.formatting import si_format
from analysis.importance import MEANS_LITTLE
from analysis.random_search import models_needed
from analysis.style import label

WITHIN = 0.5
"""Points of error: near enough to the best to stop searching."""
SURELY = 0.9
SELECTED_BY = {"a third seed": "a third seed", "the reference": "one of the two, which lowers it"}
"""Selection of the best tenth between two seeds, by `RankAgreement.top_by`."""


def search(findings: Findings) -> list[str]:
    """Models needed to come near the best, space by space."""
    frame, told = findings.models, []
    for space in findings.spaces["space"]:
        errors = frame.loc[frame["space"] == space, "error_percent"]
        if len(errors) < 2:
            continue
        found = models_needed(errors, WITHIN, probability=SURELY)
        most = f"{found.upper:,.0f}" if np.isfinite(found.upper) else "no bound"
        told.append(f"{space} {found.models:,.0f} ({found.lower:,.0f} to {most})")
    if not told:
        return []
    return [
        f"Random models needed to be within {WITHIN:g} points of the best known of their space with probability "
        f"{SURELY:.0%} (95 % interval): {'; '.join(told)}."
    ]


def parameters(findings: Findings) -> list[str]:
    """What a forest explains, and by which parameter."""
    found = findings.importance
    if found is None:
        return []
    first = found.table.iloc[0]
    told = (
        f"A random forest over the {len(found.table)} parameters that vary explains {max(found.explained, 0):.0%} of "
        f"the variance of the error of models it has not seen (n = {found.n})"
    )
    if found.explained < MEANS_LITTLE:
        return [f"{told}: too little to say which parameter matters."]
    return [
        f"{told}. The most important is {label(first['parameter'])}: shuffling it adds {first['importance']:.2f} "
        f"points ({first['lower']:.2f} to {first['upper']:.2f}) to the prediction's error."
    ]


def structure(findings: Findings) -> list[str]:
    """The line through the widths of the best models."""
    told = [
        f"{space} ({found.models} models): w = {found.slope:.1f}·j {'+' if found.intercept >= 0 else '−'} "
        f"{abs(found.intercept):.0f} (95 % interval of the slope {found.slope_lower:.1f} to {found.slope_upper:.1f}), "
        f"R² {found.r_squared:.2f}"
        for space, found in findings.structures.items()
    ]
    return [f"Widths of the best models of each space by block number j: {'; '.join(told)}."] if told else []


def regimes(findings: Findings) -> list[str]:
    """Which parameters of the best models change from regime to regime."""
    told = []
    for space, rows in findings.regimes.groupby("space", sort=False):
        ends = rows.drop_duplicates("regime")
        first = (
            f"{space}: {len(ends)} regimes of {ends['n'].min()} models and more, {si_format(ends['low'].min())} to "
            f"{si_format(ends['high'].max())} macs."
        )
        laws = findings.regime_trends[findings.regime_trends["space"] == space]
        if laws.empty:
            told.append(f"{first} Two regimes show no trend.")
            continue
        moving = laws[(laws["lower"] > 0) | (laws["upper"] < 0)]
        parts = [
            f"{label(row['parameter'])} ∝ macs^{row['exponent']:.2f} ({row['lower']:.2f} to {row['upper']:.2f})"
            for _, row in moving.iterrows()
        ]
        still = [label(name) for name in laws["parameter"] if name not in set(moving["parameter"])]
        shown = f" Of the best models {'; '.join(parts)}." if parts else ""
        rest = ", ".join(still) if parts else "any parameter"
        told.append(f"{first}{shown}" + (f" No change of the best is shown in {rest}." if still else ""))
    return told


def exponents(findings: Findings) -> list[str]:
    """How params and acts grow with macs."""
    if findings.exponents.empty:
        return []
    told = [
        f"{row['space']}: {row['of']} ∝ macs^{row['exponent']:.2f} ({row['lower']:.2f} to {row['upper']:.2f})"
        for _, row in findings.exponents.head(6).iterrows()
    ]
    return [
        f"{'; '.join(told)}. For RegNet's best models params grow in proportion and acts as the root "
        "(arXiv 2003.13678, Fig. 12)."
    ]


def training(findings: Findings) -> list[str]:
    """Noise between seeds, and agreement of rankings between seeds, epochs and recipes."""
    sentences = []
    noise, seeds = findings.noise, findings.seeds
    if noise is None:
        sentences.append("No model was trained with several seeds, so the noise floor is unknown.")
    else:
        sentences.append(
            f"One training differs from the model's mean by {noise.seed_sd:.2f} points (standard deviation over seeds, "
            f"{noise.seed_sd_lower:.2f} to {noise.seed_sd_upper:.2f}), architectures differ by "
            f"{noise.architecture_sd:.2f}: two single trainings have to differ by {noise.smallest_difference:.2f} "
            "points before it is more than chance."
        )
    if seeds is not None:
        within = f", and {seeds.top_spearman:.2f} within the best tenth" if np.isfinite(seeds.top_spearman) else ""
        by = f" (selected by {SELECTED_BY[seeds.top_by]})" if within else ""
        sentences.append(f"Two seeds rank the models with Spearman's ρ = {seeds.spearman:.2f}{within}{by}.")
    if len(findings.fidelity) > 1:
        epoch, last = cheapest_epoch(findings.fidelity), int(findings.fidelity["epoch"].iloc[-1])
        if epoch is None:
            text = f"No epoch before the last ({last}) ranks the models well enough to stop there"
        else:
            text = f"From epoch {epoch} of {last}, the ranking agrees with that of the last epoch"
        sentences.append(
            f"{text} (interval of Spearman's ρ with the last epoch above {TRUSTWORTHY:g}, spaces in the same order)."
        )
    for _, row in findings.recipes.iterrows():
        sentences.append(
            f"{row['cheap']} and {row['reference']} rank their {row['n']} common networks with ρ = "
            f"{row['spearman']:.2f} ({row['spearman_lower']:.2f} to {row['spearman_upper']:.2f}); "
            f"{row['top_overlap']:.0%} of the best tenth agree."
        )
    return sentences


def best(findings: Findings) -> list[str]:
    """How many of the best models differ from the first by more than chance, and models that failed."""
    frame = findings.best
    first, sentences = frame.iloc[0], []
    if len(frame) > 1 and np.isfinite(first["noise_sd"]):
        sentences.append(
            f"Of the {len(frame)} best, {int(frame['tied'].sum()) - 1} differ from the first by no more than chance "
            f"puts between the first of {first['candidates']:,} equal models and another "
            f"(noise {first['noise_sd']:.2f} points, from {first['noise_from']})."
        )
    if first["left_out"] == 1:
        sentences.append("1 model is no candidate because a training of it failed.")
    elif first["left_out"]:
        sentences.append(f"{first['left_out']:,} models are no candidates because a training of each failed.")
    return sentences
