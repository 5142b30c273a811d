"""First screen of a report: the question, its answer, badges for what limits it, and cards with the main numbers."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd

from analysis.display import label
from analysis.findings import Findings
from analysis.formatting import interval, signed
from analysis.rows import MISSING, distinct_trainings
from analysis.sentences import join_names, matched_pairs, model_name, seeds_per_model
from designspace.study import FEW_UPDATES

RECOMMENDED_MODELS = 100
MANY_FAILED = 0.05
"""Fraction of failed models from which their assumed error matters."""
MAX_NAMES = 3
"""Maximum number of spaces named in an answer."""


class Headline(NamedTuple):
    """A question, its answer, and one sentence that qualifies the answer."""

    question: str
    answer: str
    detail: str


class Badge(NamedTuple):
    """A limitation that changes the meaning of the headline."""

    name: str
    sentence: str


class Card(NamedTuple):
    """A number with its name and a note.

    Attributes:
        method: entry under Methods; "" for a count.
    """

    name: str
    value: str
    note: str
    method: str = ""


def headline(findings: Findings) -> Headline:
    """The question that the spaces pose, and the answer. A difference requires that its interval excludes zero."""
    summary = findings.spaces.summary
    names = list(map(str, summary["space"]))
    if len(names) == 1:
        row = summary.iloc[0]
        answer = f"Median error {row['median']:.2f} %, best {row['min']:.2f} %"
        if findings.search is not None:
            best = findings.selection.best["error_percent"].iloc[0]
            answer = f"Median error {row['median']:.2f} %, best {best:.2f} %"
            detail = (
                f"The median is that of the {row['n']} random draws. The best is that of all models, with proposals."
            )
            return Headline(names[0], answer, detail)
        return Headline(names[0], answer, f"Three quarters of the models are below {row['three_quarters']:.2f} %.")
    pairs = matched_pairs(findings.spaces.comparison)
    question = " vs. ".join(names) if len(names) == 2 else f"{len(names)} spaces"
    if pairs.empty:
        return Headline(question, "Not compared", "They are one design space at different complexities.")
    pairs, problems = pairs[pairs["problem"] == ""], pairs["problem"]
    if pairs.empty:
        return Headline(question, "Not comparable", f"{problems.iloc[0]}.")
    matched_by = pairs["matched_by"].iloc[0]
    if matched_by != "none":
        question += f" at equal {label(matched_by)}"
    if pairs["difference_lower"].isna().all():
        return Headline(question, "Too few models to compare", "A confidence interval needs more models.")
    answer, detail = _two_spaces(pairs.iloc[0]) if len(names) == 2 else _many_spaces(pairs, len(names))
    return Headline(question, answer, detail)


def _two_spaces(row: pd.Series) -> tuple[str, str]:
    better = _better(row)
    if better is None:
        return "No difference detected", _power(row["detectable"])
    worse = row["b"] if better == row["a"] else row["a"]
    ends = sorted([abs(row["difference_lower"]), abs(row["difference_upper"])])
    return (
        f"{better} is {abs(row['difference']):.2f} points better",
        f"Its mean error is {ends[0]:.2f} to {ends[1]:.2f} points below that of {worse} (95 % confidence interval).",
    )


def _many_spaces(pairs: pd.DataFrame, total: int) -> tuple[str, str]:
    """Answer and detail for comparable pairs of `total` spaces, some of which may be in no pair."""
    compared = len(set(pairs["a"]) | set(pairs["b"]))
    leading = leading_spaces(pairs)
    if not leading:  # possible because each pair has its own common range
        return "No space leads", "Every space is worse than at least one other."
    if len(leading) == compared:
        return "No differences detected", _power(pairs["detectable"].max(), "In every pair, a")
    if len(leading) > 1:
        names = join_names(leading) if len(leading) <= MAX_NAMES else f"{len(leading)} of them"
        others = sorted({*pairs["a"], *pairs["b"]} - set(leading))
        rest = "Every other space is worse than at least one other."
        if len(others) == 1:  # only a leading space can beat it
            rest = f"{others[0]} is worse than at least one of them."
        among = pairs[pairs["a"].isin(leading) & pairs["b"].isin(leading)]
        power = f" {_power(among['detectable'].max(), 'Among them, a')}" if len(among) else ""
        return f"{names} lead", f"No difference is detected among them. {rest}{power}"
    best = leading[0]
    mine = pairs[(pairs["a"] == best) | (pairs["b"] == best)]
    wins = sum(_better(row) == best for _, row in mine.iterrows())
    if wins == total - 1:
        gaps = mine["difference"].abs()
        return f"{best} is best", f"It beats every other space, by {gaps.min():.2f} to {gaps.max():.2f} points."
    return f"{best} leads", f"It beats {wins} of the {total - 1} other spaces. None beats it."


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def _power(points: float, start: str = "A") -> str:
    return f"{start} difference of {points:.2f} points would have been detected with 80 % power."


def _better(row: pd.Series) -> str | None:
    """The better space of a pair whose simultaneous interval excludes zero."""
    return str(row["a"]) if row["difference_upper"] < 0 else str(row["b"]) if row["difference_lower"] > 0 else None


def leading_spaces(pairs: pd.DataFrame) -> list[str]:
    """Spaces that no other space beats, smallest mean error first.

    Args:
        pairs: comparable pairs, from `compare_spaces`.
    """
    means = pd.concat([pairs.set_index("a")["mean_a"], pairs.set_index("b")["mean_b"]]).groupby(level=0).mean()
    better = [(row["a"], row["b"], _better(row)) for _, row in pairs.iterrows()]
    beaten = {b if winner == a else a for a, b, winner in better if winner is not None}
    return [str(name) for name in means.sort_values(kind="stable").index if name not in beaten]


def badges(findings: Findings) -> list[Badge]:
    """Limitations that change the meaning of the headline, most important first."""
    spaces, models, frame = findings.spaces, findings.models, findings.table.frame
    found = []
    if missing := int((frame["status"] == MISSING).sum()):
        found.append(Badge("Unfinished", f"{missing:,} of {len(frame):,} trainings have no result yet."))
    for warning in findings.warnings:
        found.append(Badge("Different training", _sentence(warning.removeprefix("Warning: "))))
    pairs = matched_pairs(spaces.comparison)
    if len(pairs) and (pairs["matched_by"] == "none").all():
        reason = f": {spaces.match_problem}" if spaces.match_problem else ""
        found.append(Badge("Unmatched", f"The spaces are compared as drawn, not at equal complexity{reason}."))
    impossible = pairs[pairs["problem"] != ""] if len(pairs) else pairs
    if len(impossible):
        count = f"{len(impossible)} of {len(pairs)} pairs" if len(pairs) > 1 else "The pair"
        found.append(Badge("Not comparable", f"{count} cannot be compared: {impossible['problem'].iloc[0]}."))
    if findings.resolved.common_epochs:
        found.append(Badge("Stopped early", findings.resolved.stopped_sentence))
    failed = models["failed"].groupby(models["space"], sort=False).mean()
    if (worst := failed.max()) >= MANY_FAILED:
        text = f"{worst:.0%} of the models of {failed.idxmax()} failed. {findings.resolved.sentence}"
        found.append(Badge("Failed models", text))
    fewest = spaces.summary.nsmallest(1, "n").iloc[0]
    if fewest["n"] < RECOMMENDED_MODELS:
        what = "model" if findings.search is None else "random draw"
        count = f"1 {what}" if fewest["n"] == 1 else f"{fewest['n']} {what}s"
        text = f"{fewest['space']} has only {count}. At least {RECOMMENDED_MODELS} are recommended (arXiv 1905.13214)."
        found.append(Badge("Few models", text))
    updates = models.get("updates", pd.Series(dtype=float)).median()
    if updates < FEW_UPDATES:
        text = (
            f"The median training has {updates:,.0f} updates. With fewer than about {FEW_UPDATES}, the errors depend "
            "more on the recipe than on the models."
        )
        found.append(Badge("Short training", text))
    if models["seeds"].max() == 1:
        found.append(Badge("One seed", seeds_per_model(models["seeds"])))
    return found


def cards(findings: Findings) -> list[Card]:
    """Three or four main numbers: models, best model, difference, device time."""
    found = [_models_card(findings), _best_card(findings)]
    pairs = matched_pairs(findings.spaces.comparison)
    pairs = pairs[pairs["problem"] == ""] if len(pairs) else pairs
    if len(pairs) == 1:
        row = pairs.iloc[0]
        ends = (row["difference_lower"], row["difference_upper"])
        note = f"95 % interval {signed(ends[0])} to {signed(ends[1])}" if np.isfinite(ends[0]) else "no interval"
        found.append(
            Card("Difference", f"{signed(row['difference'])} points", f"{row['a']} − {row['b']}, {note}", "differences")
        )
    elif len(pairs):
        differ = sum(_better(row) is not None for _, row in pairs.iterrows())
        row = pairs.sort_values("difference", key=abs, kind="stable").iloc[-1]
        values = interval(row["difference"], row["difference_lower"], row["difference_upper"])
        note = f"pairs of spaces; largest: {row['a']} − {row['b']}, {values}"
        found.append(Card("Differences detected", f"{differ} of {len(pairs)}", note, "differences"))
    return [*found, *_time_card(findings)]


def _models_card(findings: Findings) -> Card:
    models = findings.models
    sizes, failed = models["space"].value_counts(), int(models["failed"].sum())
    each = f"{sizes.min():,}" if sizes.min() == sizes.max() else f"{sizes.min():,} to {sizes.max():,}"
    notes = [f"{each} in each of {len(sizes)} spaces" if len(sizes) > 1 else "in one space"]
    notes += [f"{failed:,} failed"] if failed else []
    proposals = len(findings.trained) - len(models)
    notes += [f"{proposals:,} more proposed by a search"] if proposals else []
    return Card("Models trained", f"{len(models):,}", ", ".join(notes))


def _best_card(findings: Findings) -> Card:
    row = findings.selection.best.iloc[0]
    note = model_name(row)
    if np.isfinite(row["estimate"]):
        note += f", {row['retrained_lower']:.2f} to {row['retrained_upper']:.2f} % on retraining (95 %)"
    return Card("Best model", f"{row['error_percent']:.2f} %", note, "best")


def _time_card(findings: Findings) -> list[Card]:
    frame = distinct_trainings(findings.table.frame)
    if "train_seconds" not in frame or not frame["train_seconds"].notna().any():
        return []
    share = frame["device_share"].fillna(1.0) if "device_share" in frame else 1.0
    hours = float((frame["train_seconds"] * share).sum()) / 3600
    value = f"{hours:,.0f} h" if hours >= 100 else f"{hours:.1f} h" if hours >= 1 else f"{60 * hours:.0f} min"
    devices = frame["device_name"].dropna().unique().tolist() if "device_name" in frame else []
    note = f"{devices[0]} and {len(devices) - 1} more" if len(devices) > 1 else "".join(devices)
    return [Card("Device time", value, note)]
