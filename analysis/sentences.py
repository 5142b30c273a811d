"""Sentences of the report and of the commands."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from analysis.display import label
from analysis.findings import Findings
from analysis.notes import left_out
from analysis.number_text import interval, short, signed
from analysis.parameters import MEANS_LITTLE
from analysis.random_search import models_needed
from analysis.table import Study
from analysis.training import TRUSTWORTHY, cheapest_epoch
from designspace.study import FEW_UPDATES

ON_THE_RULE = 0.01
"""Fit errors below this say that the space was drawn by the rule, which needs no saying."""
MOST_PAIRS = 3
"""Pairs described in sentences; the others are in the table."""


def context(findings: Findings) -> str:
    """What stands under every picture: data, epochs, regime, number of models."""
    parts = list(dict.fromkeys(setting(study) for study in findings.table.studies))
    counts = ", ".join(f"{row['space']} n\xa0=\xa0{row['n']}" for _, row in findings.spaces.iterrows())
    return " · ".join([*(part for part in parts if part), findings.error, counts])


def setting(study: Study) -> str:
    """Data set, training images, epochs and complexity regime of a study, as far as its manifest says."""
    config: dict[str, Any] = study.manifest.get("config") or {}
    data, recipe = config.get("data") or {}, config.get("recipe") or {}
    parts = [str(data.get("name", ""))]
    if isinstance(data.get("subset"), int):
        parts.append(f"{data['subset']:,} training images")
    if "epochs" in recipe:
        parts.append(f"{recipe['epochs']} epoch{'s' if recipe['epochs'] != 1 else ''}")
    for name in ("macs", "params", "acts", "depth"):
        limits = (config.get("complexity") or {}).get(name)
        spaces = (config.get("spaces") or {}).values()
        own = [limit for space in spaces if (limit := (space.get("constraints") or {}).get(name))]
        if own and len(own) == len(spaces):  # each space has its own
            limits = [min(low for low, _ in own), max(high for _, high in own)]
        if limits:
            parts.append(f"{short(limits[0])} to {short(limits[1])} {name}")
    return " · ".join(part for part in parts if part)


def summary(findings: Findings) -> list[str]:
    """The findings in words, most important first."""
    return [
        *findings.warnings,
        *headline(findings),
        *_trends(findings),
        *_fit(findings),
        findings.resolved.sentence,
        *cautions(findings),
    ]


def headline(findings: Findings) -> list[str]:
    """The comparison and the best model in words."""
    unmatched = f"The spaces are compared as drawn, not matched: {findings.match_problem}."
    pairs = shown_pairs(findings.comparison)
    return [
        *comparison_sentences(pairs),
        *comparison_notes(pairs),
        *([unmatched] if findings.match_problem and len(pairs) and (pairs["matched_by"] == "none").all() else []),
        *_designs(findings),
        _best(findings),
    ]


def _designs(findings: Findings) -> list[str]:
    """Spaces that are one design space, and so not compared."""
    told = []
    for design in findings.regimes["space"].unique():
        labels = [label for label, its in findings.designs.items() if its == design]
        if len(labels) > 1:
            told.append(f"{', '.join(labels)} are one design space at several complexities; see from regime to regime.")
    return told


def cautions(findings: Findings) -> list[str]:
    """What a reader should hold against these findings."""
    found = list(findings.matching.warnings) if findings.matching is not None else []
    few = findings.spaces.nsmallest(1, "n").iloc[0]
    if few["n"] < 100:
        found.append(
            f"{few['n']} model{'s' if few['n'] != 1 else ''} in {few['space']} {'are' if few['n'] != 1 else 'is'} few: "
            "100 and more are the rule (arXiv 1905.13214, Fig. 7); read the intervals, not the means"
        )
    updates = findings.models.get("updates", pd.Series(dtype=float)).median()
    if updates < FEW_UPDATES:
        found.append(
            f"the trainings had {updates:,.0f} updates (median): below about {FEW_UPDATES} the errors say more about "
            "the recipe than about the models"
        )
    seeds = findings.models["seeds"]
    least, most = seeds.min(), seeds.max()
    if most == 1:
        found.append("every model was trained once, so chance in training is part of every difference")
    elif least == most:
        found.append(f"the error of a model is its mean over {most} trainings from different seeds")
    else:
        found.append(
            f"the error of a model is its mean over {least} to {most} trainings; {int((seeds > 1).sum()):,} of "
            f"{len(seeds):,} models were trained more than once"
        )
    # A sentence that begins with the name of a space leaves the name as it is.
    names = tuple(findings.spaces["space"].astype(str))
    told = [f"{text if text.startswith(names) else text[0].upper() + text[1:]}." for text in found]
    return [*findings.table.notes, *told]


def shown_pairs(comparison: pd.DataFrame) -> pd.DataFrame:
    """The pairs at equal complexity if there are any, else the pairs as drawn."""
    if comparison.empty:
        return comparison
    matched = comparison[comparison["matched_by"] != "none"]
    return matched if len(matched) else comparison


def comparison_sentences(pairs: pd.DataFrame) -> list[str]:
    """The clearest differences in sentences, and how many pairs are left to the table.

    Args:
        pairs: from `compare_spaces`, all matched by the same column.
    """
    if pairs.empty:
        return []
    possible = pairs[pairs["problem"] == ""]
    clear = (possible["difference"].abs() / possible["detectable"]).sort_values(ascending=False, kind="stable")
    shown = possible.loc[clear.index[:MOST_PAIRS]] if len(possible) > MOST_PAIRS else possible
    rest = len(possible) - len(shown)
    return [
        *(pair_sentence(row) for _, row in shown.iterrows()),
        *([f"The table has {rest} more {'pair' if rest == 1 else 'pairs'} of spaces."] if rest else []),
        *([f"The intervals hold simultaneously for all {len(possible)} pairs."] if len(possible) > 1 else []),
    ]


def comparison_notes(pairs: pd.DataFrame) -> list[str]:
    """Pairs that could not be compared, and models that were left out or carry little information."""
    if pairs.empty:
        return []
    impossible = pairs[pairs["problem"] != ""]
    notes = [f"{problem}." for problem in impossible["problem"]]
    if len(notes) > 1:
        names = ", ".join(f"{row['a']} and {row['b']}" for _, row in impossible.iterrows())
        column = impossible["matched_by"].iloc[0]
        notes = [
            f"{len(notes)} of {len(pairs)} pairs cannot be matched by {column}, "
            f"because their ranges overlap too little: {names}."
        ]
    for _, row in pairs[pairs["problem"] == ""].iterrows():
        for side in "ab":
            if unknown := row[f"unknown_{side}"]:
                total = row[f"n_{side}"] + unknown
                notes.append(f"{row[side]}: {left_out(unknown, total, row['matched_by'], 'models')}.")
        if any(row[f"effective_n_{side}"] <= row[f"n_{side}"] / 2 for side in "ab"):
            precision = " and ".join(f"{row[f'effective_n_{side}']:,.0f} of {row[f'n_{side}']:,}" for side in "ab")
            notes.append(
                f"{row['a']} and {row['b']} overlap poorly in {row['matched_by']}: over their common range, the means "
                f"are only as precise as those of {precision} models."
            )
    return list(dict.fromkeys(notes))


def pair_sentence(row: pd.Series) -> str:
    """The difference of mean errors of one pair; one interval decides the wording."""
    a, b, difference = row["a"], row["b"], row["difference"]
    low, high = row["difference_lower"], row["difference_upper"]
    at = "As drawn" if row["matched_by"] == "none" else f"At equal {label(row['matched_by'])}"
    if np.isnan(low):
        return f"{at}, {a} and {b} have too few models for an interval of their difference."
    models = f"{row['n_a']:,} and {row['n_b']:,} models"
    if low > 0 or high < 0:
        better, worse = (a, b) if difference < 0 else (b, a)
        ends = sorted([abs(low), abs(high)])
        return (
            f"{at}, {better} beats {worse} by {abs(difference):.2f} points of mean error "
            f"(95 % interval {ends[0]:.2f} to {ends[1]:.2f}; {models})."
        )
    return (
        f"{at}, no difference in mean error between {a} and {b} is detected: {signed(difference)} points "
        f"(95 % interval {signed(low)} to {signed(high)}; {models}). A difference of {row['detectable']:.2f} points "
        "is detectable with 80 % power."
    )


def _best(findings: Findings) -> str:
    row = findings.best.iloc[0]
    name = f"number {row['index']} of {row['space']}" if isinstance(row["spec"], dict) else f"{row['spec_id']}"
    kind = "validation error" if "validation" in findings.error else "error"
    several = row["candidates"] > 1
    optimistic = f", the smallest of {row['candidates']:,} and therefore optimistic" if several else ""
    measured = f"The {'best' if several else 'only'} model is {name}, {row['error_percent']:.2f} % {kind}{optimistic}"
    if np.isnan(row["estimate"]):
        return f"{measured}."
    return (
        f"{measured}. Its expected error on retraining is {row['estimate']:.2f} % (95 % interval "
        f"{row['estimate_lower']:.2f} to {row['estimate_upper']:.2f}); one more training gives "
        f"{row['retrained_lower']:.2f} to {row['retrained_upper']:.2f} % with 95 % probability (noise from "
        f"{row['noise_from']})."
    )


def _trends(findings: Findings) -> list[str]:
    told = []
    for name in ("depth", "group_width"):
        parts = []
        for space in findings.spaces["space"]:
            found = _row(findings.correlations, space, name)
            spread = _row(findings.ranges, space, name)
            if found is not None and spread is not None:
                parts.append(
                    f"in {space} rank correlation {interval(found['rho'], found['lower'], found['upper'])}, "
                    f"the best models lie at {short(spread['lower'])} to {short(spread['upper'])} "
                    f"(most likely {short(spread['likely'])}; {spread['support']} models stand behind this)"
                )
        if parts:
            told.append(f"Error against {label(name)}: {'; '.join(parts[:MOST_PAIRS])}.")
    return told


def _fit(findings: Findings) -> list[str]:
    frame = findings.models
    parts = []
    for space in findings.spaces["space"]:
        mine = frame.loc[frame["space"] == space, "fit_error"]
        if mine.isna().all():
            continue
        found = _row(findings.correlations, space, "fit_error")
        text = f"{space} median {mine.median():.3f}, largest {mine.max():.3f}"
        if found is not None and not np.isnan(found["rho"]):
            text += f", rank correlation with error {interval(found['rho'], found['lower'], found['upper'])}"
        parts.append(text)
    if not parts or frame["fit_error"].max() < ON_THE_RULE:
        return []
    what = "Distance of the widths from the quantized linear rule, e_fit (0 is on the rule)"
    return [f"{what}: {'; '.join(parts[: 2 * MOST_PAIRS])}."]


def _row(frame: pd.DataFrame, space: str, parameter: str) -> pd.Series | None:
    mine = frame[(frame["space"] == space) & (frame["parameter"] == parameter)]
    return None if mine.empty else mine.iloc[0]


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
            f"{space}: {len(ends)} regimes of {ends['n'].min()} models and more, {short(ends['low'].min())} to "
            f"{short(ends['high'].max())} macs."
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
