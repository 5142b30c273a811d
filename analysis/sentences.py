"""Sentences of the report and the commands. All numbers come from the findings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from analysis.display import label, recipe_name
from analysis.early_stopping import saved_sentence
from analysis.effects import MIN_MODELS
from analysis.findings import Findings
from analysis.formatting import MINUS, interval, p_text, si_format, signed, unsigned
from analysis.latency import latency_sentences
from analysis.parameters import MIN_EXPLAINED
from analysis.random_search import models_needed
from analysis.recipes import MARGIN
from analysis.refine import VERDICTS, Refinement, Step
from analysis.rows import Source
from analysis.scores import BETTER, WORSE
from analysis.search import search_sentences
from analysis.training import RELIABLE, cheapest_epoch

FOLLOWS_RULE = 0.01
"""A space whose fit errors are all below this was sampled with the quantized linear rule; its e_fit is not reported."""
MAX_PAIRS = 3
"""Pairs of spaces described in sentences. The table has the others."""
WITHIN = 0.5
"""Distance from the best model, in points, at which random search may stop."""
PROBABILITY = 0.9
SELECTED_BY = {
    "a third seed": "selected by a third seed",
    "the reference": "selected by one of the two seeds, which lowers the correlation",
}
"""Text for `RankAgreement.top_by`."""


def context(findings: Findings) -> str:
    """Data, recipe, complexity range and kind of error, in one line."""
    settings = dict.fromkeys(setting(study) for study in findings.table.sources)
    return " · ".join([*filter(None, settings), findings.error])


def setting(study: Source) -> str:
    """Data set, number of training images, epochs and complexity range of a study; "" for a table."""
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
        if own and len(own) == len(spaces):
            limits = [min(low for low, _ in own), max(high for _, high in own)]
        if limits:
            parts.append(f"{si_format(limits[0])} to {si_format(limits[1])} {name}")
    return " · ".join(part for part in parts if part)


def statistics(findings: Findings) -> list[str]:
    """The statistics of the main findings, most important first, and how the data was read."""
    matching = findings.spaces.matching
    return [
        *findings.warnings,
        *conclusions(findings),
        *([matching.sentence, *(f"{warning}." for warning in matching.warnings)] if matching is not None else []),
        *_correlations(findings),
        *_fit_errors(findings),
        findings.resolved.sentence,
        seeds_per_model(findings.models["seeds"]),
        *findings.table.notes,
    ]


def conclusions(findings: Findings) -> list[str]:
    """The comparison of the spaces and the best model."""
    spaces = findings.spaces
    pairs = matched_pairs(spaces.comparison)
    unmatched = bool(spaces.match_problem) and len(pairs) and (pairs["matched_by"] == "none").all()
    return [
        *comparison_sentences(pairs),
        *comparison_notes(pairs),
        *([f"The comparison is unmatched: {spaces.match_problem}."] if unmatched else []),
        *confirmation_sentences(findings.table.sources, pairs),
        *_designs(findings),
        _best_model(findings),
    ]


def matched_pairs(comparison: pd.DataFrame) -> pd.DataFrame:
    """The pairs compared at equal complexity, or all pairs if there are none."""
    if comparison.empty:
        return comparison
    matched = comparison[comparison["matched_by"] != "none"]
    return matched if len(matched) else comparison


def comparison_sentences(pairs: pd.DataFrame) -> list[str]:
    """Describe the clearest differences between spaces.

    Args:
        pairs: from `compare_spaces`, all matched by the same column.
    """
    if pairs.empty:
        return []
    possible = pairs[pairs["problem"] == ""]
    clearest = (possible["difference"].abs() / possible["detectable"]).sort_values(ascending=False, kind="stable")
    shown = possible.loc[clearest.index[:MAX_PAIRS]] if len(possible) > MAX_PAIRS else possible
    rest = len(possible) - len(shown)
    return [
        *(pair_sentence(row) for _, row in shown.iterrows()),
        *([f"The table lists {rest} more {'pair' if rest == 1 else 'pairs'}."] if rest else []),
        *([f"The confidence intervals are simultaneous over all {len(possible)} pairs."] if len(possible) > 1 else []),
    ]


def comparison_notes(pairs: pd.DataFrame) -> list[str]:
    """List pairs that cannot be compared, excluded models, and pairs with poor overlap."""
    if pairs.empty:
        return []
    impossible = pairs[pairs["problem"] != ""]
    notes = [f"{problem}." for problem in impossible["problem"]]
    if len(notes) > 1:
        names = ", ".join(f"{row['a']} and {row['b']}" for _, row in impossible.iterrows())
        column = impossible["matched_by"].iloc[0]
        notes = [
            f"{len(notes)} of {len(pairs)} pairs cannot be matched by {column} because their ranges overlap too "
            f"little: {names}."
        ]
    for _, row in pairs[pairs["problem"] == ""].iterrows():
        for side in "ab":
            if unknown := row[f"unknown_{side}"]:
                total = row[f"n_{side}"] + unknown
                column = row["matched_by"]
                notes.append(f"{row[side]}: excluded {unknown:,} of {total:,} models because {column} is unknown.")
        if any(row[f"effective_n_{side}"] <= row[f"n_{side}"] / 2 for side in "ab"):
            precision = " and ".join(f"{row[f'effective_n_{side}']:,.0f} of {row[f'n_{side}']:,}" for side in "ab")
            notes.append(
                f"{row['a']} and {row['b']} overlap poorly in {row['matched_by']}: over their common range, the means "
                f"are only as precise as those of {precision} models."
            )
    return list(dict.fromkeys(notes))


def pair_sentence(row: pd.Series) -> str:
    """Describe the difference of one pair. "Beats" requires that the simultaneous interval excludes zero."""
    a, b, difference = row["a"], row["b"], row["difference"]
    low, high = row["difference_lower"], row["difference_upper"]
    start = "Without matching" if row["matched_by"] == "none" else f"At equal {label(row['matched_by'])}"
    if np.isnan(low):
        return f"{start}, {a} and {b} have too few models for a confidence interval of their difference."
    models = f"{row['n_a']:,} and {row['n_b']:,} models"
    if low > 0 or high < 0:
        better, worse = (a, b) if difference < 0 else (b, a)
        ends = sorted([abs(low), abs(high)])
        return (
            f"{start}, {better} beats {worse} by {abs(difference):.2f} points of mean error "
            f"(95 % confidence interval {ends[0]:.2f} to {ends[1]:.2f}, {models})."
        )
    return (
        f"{start}, the mean errors of {a} and {b} do not differ significantly: {signed(difference)} points "
        f"(95 % confidence interval {signed(low)} to {signed(high)}, {models}). A difference of "
        f"{row['detectable']:.2f} points is detectable with 80 % power."
    )


def section_sentences(findings: Findings) -> dict[str, list[str]]:
    """Sentences of each section of the report."""
    return {
        "search": [
            *([] if findings.search is None else search_sentences(findings.search.summary)),
            *_search(findings),
        ],
        "parameters": [*_importance(findings), *latency_sentences(findings.parameters.latency)],
        "widths": _structures(findings),
        "regimes": _regimes(findings),
        "exponents": _exponents(findings),
        "training": _training(findings),
        "best": _selection(findings),
        "refine": [] if findings.refinement is None else refinement_sentences(findings.refinement),
    }


def _designs(findings: Findings) -> list[str]:
    sentences = []
    for design in findings.regimes.best["space"].unique():
        spaces = [space for space, its in findings.regimes.designs.items() if its == design]
        if len(spaces) > 1:
            sentences.append(f"{', '.join(spaces)} are one design space at different complexities (see Regimes).")
    return sentences


def model_name(row: pd.Series) -> str:
    """Name of a model: its space and index in a study, its name in a table."""
    return f"number {row['index']} of {row['space']}" if isinstance(row["spec"], dict) else str(row["spec_id"])


def join_names(names: Sequence[str]) -> str:
    """Names as an enumeration: "a, b and c"."""
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last


def _best_model(findings: Findings) -> str:
    row = findings.selection.best.iloc[0]
    name = model_name(row)
    kind = "a validation error" if "validation" in findings.error else "an error"
    error = f"{kind} of {row['error_percent']:.2f} %"
    if row["candidates"] > 1:
        models = "complete models" if row["stopped"] else "models"
        text = (
            f"The best of {row['candidates']:,} {models} is {name}, with {error} (optimistic because of the selection)."
        )
    else:
        text = f"The only model is {name}, with {error}."
    if np.isnan(row["estimate"]):
        return text
    return (
        f"{text} Its expected error on retraining is {row['estimate']:.2f} % (95 % interval "
        f"{row['estimate_lower']:.2f} to {row['estimate_upper']:.2f}). The 95 % prediction interval for one retraining "
        f"is {row['retrained_lower']:.2f} to {row['retrained_upper']:.2f} % (noise from {row['noise_from']})."
    )


def _correlations(findings: Findings) -> list[str]:
    sentences = []
    for name in ("depth", "group_width"):
        for space in findings.spaces.summary["space"][:MAX_PAIRS]:
            rho = _row(findings.parameters.correlations, space, name)
            best = _row(findings.parameters.ranges, space, name)
            if rho is not None and best is not None:
                lower, likely, upper = (si_format(best[end]) for end in ("lower", "likely", "upper"))
                sentences.append(
                    f"{space}: rank correlation of error with {label(name)} "
                    f"{interval(rho['rho'], rho['lower'], rho['upper'])}. Best range {lower} to {upper}, most likely "
                    f"{likely} ({best['support']} supporting models)."
                )
    return sentences


def _fit_errors(findings: Findings) -> list[str]:
    models, sentences = findings.models, []
    for space in findings.spaces.summary["space"][: 2 * MAX_PAIRS]:
        errors = models.loc[models["space"] == space, "fit_error"]
        if errors.isna().all():
            continue
        rho = _row(findings.parameters.correlations, space, "fit_error")
        text = f"{space}: median {errors.median():.3f}, maximum {errors.max():.3f}"
        if rho is not None and not np.isnan(rho["rho"]):
            text += f", rank correlation with error {interval(rho['rho'], rho['lower'], rho['upper'])}"
        sentences.append(f"{text}.")
    if not sentences or models["fit_error"].max() < FOLLOWS_RULE:
        return []
    return [f"Deviation of the widths from the quantized linear rule, e_fit (0: no deviation). {' '.join(sentences)}"]


def recipe_sentences(recipes: pd.DataFrame, reference: str, base: str) -> list[str]:
    """The agreement of the base, and the cheaper recipes that agree as well; the best one if none does for certain."""
    rows = recipes.to_dict("records")
    own = next(row for row in rows if row["recipe"] == base and row["seeds"] == 1)
    rho = unsigned(own["spearman"], own["spearman_lower"], own["spearman_upper"])
    sentences = [f"{base}: Spearman's rho {rho} with {reference}, {own['cost']:.1f} s per network."]
    cheaper = sorted(
        (row for row in rows if row["seeds"] and row["relative_cost"] < 1), key=lambda row: row["relative_cost"]
    )
    same = [row for row in cheaper if row["gain_lower"] > -MARGIN]
    for row in same:
        sentences.append(
            f"{recipe_name(row)} agrees as well at {row['relative_cost']:.2f} of its cost: gain in rho {_gain(row)}."
        )
    if cheaper and not same:
        row = max(cheaper, key=lambda row: row["gain"])
        sentences.append(
            f"No cheaper recipe is certain to agree as well (to {MARGIN:g}). The best is {recipe_name(row)} at "
            f"{row['relative_cost']:.2f} of the cost: gain in rho {_gain(row)}."
        )
    return sentences


def _gain(row: Mapping[Any, Any]) -> str:
    return interval(row["gain"], row["gain_lower"], row["gain_upper"])


def ladder_sentences(steps: Sequence[Step], asked: int) -> list[str]:
    """The accepted restrictions, and why the ladder ends."""
    if len(steps) == 1:
        return ["No step: no restriction that leaves enough models is better or simpler."]
    end = "" if len(steps) > asked else " Then the evidence ends."
    return [
        f"Accepted {len(steps) - 1} of {asked} steps: {steps[-1].text}.{end} The confidence of 95 % is for all steps "
        "together."
    ]


def refinement_sentences(refinement: Refinement) -> list[str]:
    """The main conclusions."""
    frame, counts = refinement.frame, refinement.frame["verdict"].value_counts()
    listed = ", ".join(f"{counts.get(verdict, 0)} {verdict}" for verdict in VERDICTS)
    sentences = [
        f"{len(frame)} restrictions: {listed}. Intervals are simultaneous over the {refinement.searched} with at least "
        f"{MIN_MODELS} models inside and outside. Simpler: equivalent within {refinement.margin:.2f} points."
    ]
    if refinement.known > len(refinement.models):
        sentences.append(
            f"Estimated from {len(refinement.models):,} of the {refinement.known:,} models, chosen at random."
        )
    naive, fitted = refinement.naive, refinement.cross_fitted
    if naive is not None and fitted is not None:
        same = refinement.choices.count(str(naive["restriction"])) / len(refinement.choices)
        sentences.append(
            f"Best restriction: {naive['restriction']}, {signed(naive['effect'])} points (optimistic, because it was "
            f"chosen with the same models). Cross-fitted: {interval(fitted.effect, fitted.lower, fitted.upper)}, the "
            f"mean effect of restrictions chosen on half of the models. {same:.0%} of the halves choose this one."
        )
    few = frame[frame["draw_directly"]]
    if len(few):
        row = few.iloc[0]
        sentences.append(
            f"{len(few)} restrictions keep fewer than {MIN_MODELS} models. {row['restriction']} keeps "
            f"{row['inside']} of {row['inside'] + row['outside']}: draw {row['models_needed']:,.0f} models with "
            f"--take {row['rank']} --write next.yaml and designspace sweep 'spaces=[next.yaml]' n="
            f"{row['models_needed']:.0f}."
        )
    return sentences


def confirmation_sentences(sources: Sequence[Source], comparison: pd.DataFrame) -> list[str]:
    """Whether the effects that a study was planned to confirm held in it.

    Args:
        sources: of the table.
        comparison: from `compare_spaces`.
    """
    sentences = []
    for source in sources:
        for space, mapping in ((source.manifest.get("config") or {}).get("spaces") or {}).items():
            planned = mapping.get("provenance") if isinstance(mapping, dict) else None
            if not isinstance(planned, dict) or "expected" not in planned or comparison.empty:
                continue
            pair = comparison[(comparison["a"] == "full") & (comparison["b"] == space) & (comparison["problem"] == "")]
            if pair.empty:
                continue
            row = pair.iloc[0]
            effect, lower, upper = -row["difference"], -row["difference_upper"], -row["difference_lower"]
            held = lower > 0 if planned["expected"] > 0 else upper < 0
            reversed_ = upper < 0 if planned["expected"] > 0 else lower > 0
            verdict = "is confirmed" if held else "is refuted" if reversed_ else "is not confirmed"
            sentences.append(
                f"The restriction {planned.get('restriction')} {verdict}: expected {signed(planned['expected'])} "
                f"points, measured {interval(effect, lower, upper)} in independent draws."
            )
    return sentences


def seeds_per_model(seeds: pd.Series) -> str:
    """How many trainings the error of a model is averaged over."""
    least, most = seeds.min(), seeds.max()
    if most == 1:
        return "Each model was trained once, so every difference includes training noise."
    if least == most:
        return f"The error of a model is the mean over {most} training seeds."
    return (
        f"The error of a model is the mean over its {least} to {most} trainings. {int((seeds > 1).sum()):,} of "
        f"{len(seeds):,} models were trained more than once."
    )


def _search(findings: Findings) -> list[str]:
    frame, counts = findings.models, []
    for space in findings.spaces.summary["space"]:
        errors = frame.loc[frame["space"] == space, "error_percent"]
        if len(errors) > 1:
            needed = models_needed(errors, WITHIN, probability=PROBABILITY)
            upper = f"{needed.upper:,.0f}" if np.isfinite(needed.upper) else "no bound"
            counts.append(f"{space} {needed.models:,.0f} ({needed.lower:,.0f} to {upper})")
    if not counts:
        return []
    return [
        f"Random models needed to come within {WITHIN:g} points of the best model of the space with probability "
        f"{PROBABILITY:.0%} (95 % confidence interval): {', '.join(counts)}."
    ]


def _importance(findings: Findings) -> list[str]:
    forest = findings.parameters.importance
    if forest is None:
        return []
    first = forest.table.iloc[0]
    explained = (
        f"A random forest on {len(forest.table)} parameters explains {max(forest.explained, 0):.0%} of the variance "
        f"of the error on held-out models (n = {forest.n})."
    )
    if forest.explained < MIN_EXPLAINED:
        return [f"{explained} This is too little to rank the parameters."]
    return [
        f"{explained} The most important parameter is {label(first['parameter'])}: permuting it increases the mean "
        f"absolute prediction error by {first['importance']:.2f} points ({first['lower']:.2f} to {first['upper']:.2f})."
    ]


def _structures(findings: Findings) -> list[str]:
    lines = [
        f"{space} ({line.models} models): w = {line.slope:.1f}·j {'+' if line.intercept >= 0 else '−'} "
        f"{abs(line.intercept):.0f}, 95 % confidence interval of the slope {line.slope_lower:.1f} to "
        f"{line.slope_upper:.1f}, R² {line.r_squared:.2f}."
        for space, line in findings.widths.structures.items()
    ]
    return [f"Line through the widths w of the best models, by block number j. {' '.join(lines)}"] if lines else []


def _regimes(findings: Findings) -> list[str]:
    sentences = []
    for space, rows in findings.regimes.best.groupby("space", sort=False):
        regimes = rows.drop_duplicates("regime")
        text = (
            f"{space}: {len(regimes)} regimes of at least {regimes['n'].min()} models, from "
            f"{si_format(regimes['low'].min())} to {si_format(regimes['high'].max())} macs."
        )
        trends = findings.regimes.trends[findings.regimes.trends["space"] == space]
        significant = trends[(trends["lower"] > 0) | (trends["upper"] < 0)]
        if trends.empty:
            text += " Two regimes are too few for a trend."
        if len(significant):
            laws = [_power_law(label(row["parameter"]), row) for _, row in significant.iterrows()]
            text += f" For the best models, {', '.join(laws)}."
        others = [label(name) for name in trends["parameter"] if name not in set(significant["parameter"])]
        if others:
            text += f" No significant trend in {', '.join(others) if len(significant) else 'any parameter'}."
        sentences.append(text)
    return sentences


def _exponents(findings: Findings) -> list[str]:
    if findings.regimes.exponents.empty:
        return []
    laws = [
        f"{row['space']}: {_power_law(row['of'], row)}." for _, row in findings.regimes.exponents.head(6).iterrows()
    ]
    return [
        f"{' '.join(laws)} For RegNet's best models, params grow in proportion to macs and acts with their square root "
        "(arXiv 2003.13678, Fig. 12)."
    ]


def _power_law(name: str, row: pd.Series) -> str:
    numbers = "{exponent:.2f} ({lower:.2f} to {upper:.2f})".format_map(row).replace("-", MINUS)
    return f"{name} ∝ macs^{numbers}"


def _training(findings: Findings) -> list[str]:
    sentences = []
    noise, seeds, epochs = findings.training.noise, findings.training.seeds, findings.training.epochs
    if noise is None:
        sentences.append("No model was trained with several seeds, so the training noise is unknown.")
    else:
        sentences.append(
            f"The standard deviation of the error is {noise.seed_sd:.2f} points between seeds (95 % confidence "
            f"interval {noise.seed_sd_lower:.2f} to {noise.seed_sd_upper:.2f}) and {noise.architecture_sd:.2f} points "
            f"between architectures. Two models trained once must differ by {noise.smallest_difference:.2f} points to "
            "be significantly different (5 % level)."
        )
    deep = findings.training.depth_noise
    if deep is not None and deep.is_larger:
        sentences.append(
            f"Models of at least {deep.depth} blocks are noisier than the others: the standard deviation between seeds "
            f"is {deep.deep_sd:.2f} points (n = {deep.deep}) against {deep.other_sd:.2f} (n = {deep.others}), "
            f"{p_text(deep.p_value)}. Train them with more seeds, or longer, before ranking them."
        )
    if seeds is not None:
        top = f", and {seeds.top_spearman:.2f} within the top 10 % ({SELECTED_BY[seeds.top_by]})"
        sentences.append(
            f"Two seeds rank the models with Spearman's ρ = {seeds.spearman:.2f}"
            f"{top if np.isfinite(seeds.top_spearman) else ''}."
        )
    if len(epochs) > 1:
        epoch, last = cheapest_epoch(epochs), int(epochs["epoch"].iloc[-1])
        if epoch is None:
            text = f"No epoch before the last ({last}) ranks the models reliably"
        else:
            text = f"From epoch {epoch} of {last} on, the models are ranked reliably"
        sentences.append(
            f"{text} (criterion: 95 % confidence interval of Spearman's ρ with the last epoch above {RELIABLE:g}, "
            "spaces in the same order)."
        )
    if saved := saved_sentence(findings.saved):
        sentences.append(saved)
    for _, row in findings.training.recipes.iterrows():
        sentences.append(
            f"{row['cheap']} and {row['reference']} rank their {row['n']} common networks with Spearman's ρ = "
            f"{row['spearman']:.2f} ({row['spearman_lower']:.2f} to {row['spearman_upper']:.2f}). Their top 10 % have "
            f"{row['top_overlap']:.0%} of the networks in common."
        )
    return sentences


def _selection(findings: Findings) -> list[str]:
    best = findings.selection.best
    first, sentences = best.iloc[0], []
    if len(best) > 1 and np.isfinite(first["noise_sd"]):
        sentences.append(
            f"{int(best['tied'].sum()) - 1} of the {len(best) - 1} other selected models are tied with the best: they "
            f"are within the 5 % critical distance for {first['candidates']:,} equally good models (noise "
            f"{first['noise_sd']:.2f} points from {first['noise_from']})."
        )
    if first["stopped"]:
        models = "1 model was" if first["stopped"] == 1 else f"{first['stopped']:,} models were"
        sentences.append(f"{models} not eligible because a training was stopped early.")
    if first["left_out"]:
        models = "1 model was" if first["left_out"] == 1 else f"{first['left_out']:,} models were"
        sentences.append(f"{models} not eligible because a training failed.")
    return sentences


def score_sentences(agreement: pd.DataFrame) -> list[str]:
    """Whether any zero-cost score ranks the networks of a space better than their complexity; one sentence per space.

    Args:
        agreement: from `score_agreement`.
    """
    sentences = []
    for space, part in agreement.groupby("space", sort=False):
        scores = part[part["baseline"] != ""]
        if scores.empty:
            continue
        better, worse = (
            [label(name) for name in scores.loc[scores["verdict"] == verdict, "measure"]] for verdict in (BETTER, WORSE)
        )
        best = scores.nlargest(1, "agreement").iloc[0]
        baseline = part[part["measure"] == best["baseline"]].iloc[0]
        text = ", ".join(better) if better else "no score"
        verb = "rank" if len(better) > 1 else "ranks"
        text = f"{space}: {text} {verb} the networks significantly better than macs, params and acts"
        text += f" (rank agreement {signed(best['agreement'])} for {label(best['measure'])}, the highest score, and "
        text += f"{signed(baseline['agreement'])} for {baseline['measure']})."
        sentences.append(text)
        if worse:
            verb = "rank" if len(worse) > 1 else "ranks"
            sentences.append(f"{space}: {', '.join(worse)} {verb} them significantly worse than {baseline['measure']}.")
    return sentences


def _row(frame: pd.DataFrame, space: str, parameter: str) -> pd.Series | None:
    rows = frame[(frame["space"] == space) & (frame["parameter"] == parameter)]
    return None if rows.empty else rows.iloc[0]
