"""Claims of the papers, their estimates with simultaneous intervals, and the rule for the verdict.

A study has several families of claims. Each family has an equal part of the 5 % error probability (Bonferroni), and
its intervals are simultaneous over its claims. With 95 % confidence, no verdict of a study except "not detectable" is
wrong.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import pandas as pd
from scipy import stats

from analysis import apply_failure_policy, compare_spaces, rank_trend
from analysis.parameters import correlation_difference
from analysis.table import Table

AGREES, UNDECIDED, CONTRADICTS = "agrees", "not detectable", "contradicts"
POWER = 0.8
CONFIDENCE = 0.95

RULE = (
    "A claim that a number is negative (or positive) **agrees** if its interval is on that side of zero, and "
    "**contradicts** if its interval is on the other side. A claim that two means are equal within a margin **agrees** "
    "if the interval is inside ± the margin, and **contradicts** if the interval is outside. Every other claim is "
    "**not detectable** at this n and noise. A study contradicts the paper if any of its claims does, agrees if all of "
    "its claims do, and is not detectable otherwise. All intervals of a study hold simultaneously with 95 % "
    "confidence. Failed models count with the largest error."
)
"""The rule, fixed before any of the studies ran."""


@dataclass(frozen=True)
class Claim:
    """A statement of a paper about one number, which compares or relates `a` and `b`.

    Attributes:
        text: the statement.
        source: paper and figure or table.
        a, b: spaces or columns; their meaning depends on the family.
        expected: sign of the number, or "zero" within the margin.
        margin: largest difference that counts as none; only with "zero".
    """

    text: str
    source: str
    a: str
    b: str
    expected: Literal["negative", "positive", "zero"] = "negative"
    margin: float = 0.0

    def verdict(self, lower: float, upper: float) -> str:
        """Apply the rule to an interval. An unknown one, or one of width 0 (equal errors), decides nothing."""
        if not lower < upper:
            return UNDECIDED
        if self.expected == "zero":
            inside, outside = -self.margin < lower and upper < self.margin, lower > self.margin or upper < -self.margin
        elif self.expected == "negative":
            inside, outside = upper < 0, lower > 0
        else:
            inside, outside = lower > 0, upper < 0
        return AGREES if inside else CONTRADICTS if outside else UNDECIDED


@dataclass(frozen=True)
class Means:
    """Differences of mean a - b of two spaces at equal complexity, by `compare_spaces` (max-t).

    Attributes:
        claims: of this family.
        quantity: column that is compared.
        unit: of the quantity.
        match: complexity by which spaces are matched, or None.
        trainings: compare single trainings of one network per space, instead of models.
    """

    claims: tuple[Claim, ...]
    quantity: str = "error_percent"
    unit: str = "points"
    match: str | None = "macs"
    trainings: bool = False

    def estimate(self, table: Table, confidence: float) -> pd.DataFrame:
        """Estimates in the order of the claims; see ESTIMATES."""
        frame = with_quantity(table, self.quantity)
        models = apply_failure_policy(frame.frame).frame if self.trainings else frame.models()
        spaces = {space for claim in self.claims for space in (claim.a, claim.b)}
        models = models[models["space"].isin(spaces)]
        pairs = compare_spaces(
            models,
            match=self.match,
            confidence=confidence,
            pairs=[(claim.a, claim.b) for claim in self.claims],
            permutations=19,  # the Kolmogorov-Smirnov test is not used
        )
        return pd.DataFrame(
            {
                "n": np.minimum(pairs["n_a"], pairs["n_b"]),
                "estimate": pairs["difference"],
                "lower": pairs["difference_lower"],
                "upper": pairs["difference_upper"],
                "detectable": pairs["detectable"],
            }
        )


@dataclass(frozen=True)
class Pairs:
    """Mean differences a - b of the networks with equal index in two spaces that share a random stream.

    The pairs differ only in the ablation, so their differences vary less than the networks. Student's t over the pairs,
    Bonferroni over the claims (rank comparisons per dimension: You, Ying & Leskovec 2020, arXiv 2011.08843).
    """

    claims: tuple[Claim, ...]
    quantity: str = "error_percent"
    unit: str = "points"

    def estimate(self, table: Table, confidence: float) -> pd.DataFrame:
        """Estimates in the order of the claims; see ESTIMATES."""
        models = with_quantity(table, self.quantity).models()
        errors = models.pivot_table(index="index", columns="space", values="error_percent")
        level = (1 - confidence) / len(self.claims)
        rows = []
        for claim in self.claims:
            differences = (errors[claim.a] - errors[claim.b]).dropna().to_numpy()
            mean, half = paired_interval(differences, 1 - level)
            critical = stats.t.isf(level / 2, len(differences) - 1)
            detectable = (1 + stats.norm.ppf(POWER) / critical) * half
            rows.append((len(differences), mean, mean - half, mean + half, detectable))
        return pd.DataFrame(rows, columns=ESTIMATES)


@dataclass(frozen=True)
class Correlations:
    """Spearman's rank correlations of the columns a and b in one space, Bonferroni over the claims."""

    claims: tuple[Claim, ...]
    space: str
    unit: str = "rank correlation"

    def estimate(self, table: Table, confidence: float) -> pd.DataFrame:
        """Estimates in the order of the claims; see ESTIMATES. A column that was not recorded gives NaN."""
        models = table.models()
        models = models[(models["space"] == self.space) & ~models["failed"]]
        level = (1 - confidence) / len(self.claims)
        rows = []
        for claim in self.claims:
            if claim.a not in models or claim.b not in models:
                rows.append((0, np.nan, np.nan, np.nan, np.nan))
                continue
            known = models[[claim.a, claim.b]].astype(float).dropna()
            line = rank_trend(known[claim.a], known[claim.b], confidence=1 - level)
            z = stats.norm.isf(level / 2) + stats.norm.ppf(POWER)
            rows.append((line.n, line.rho, line.lower, line.upper, np.tanh(z / np.sqrt(max(1, line.n - 3)))))
        return pd.DataFrame(rows, columns=ESTIMATES)


@dataclass(frozen=True)
class Predictors:
    """Correlations of log a with a log target, minus those of log b, in Fisher's z; Bonferroni over the claims."""

    claims: tuple[Claim, ...]
    space: str
    target: str
    unit: str = "difference of Fisher's z"

    def estimate(self, table: Table, confidence: float) -> pd.DataFrame:
        """Estimates in the order of the claims; see ESTIMATES."""
        models = table.models()
        models = models[(models["space"] == self.space) & ~models["failed"]]
        rows = []
        for claim in self.claims:
            logs = np.log(models[[claim.a, claim.b, self.target]].astype(float).dropna())
            level = (1 - confidence) / len(self.claims)
            estimate, lower, upper = correlation_difference(*logs.to_numpy().T, confidence=1 - level)
            critical = stats.t.isf(level / 2, len(logs) - 3)
            detectable = (1 + stats.norm.ppf(POWER) / critical) * (upper - lower) / 2
            rows.append((len(logs), estimate, lower, upper, detectable))
        return pd.DataFrame(rows, columns=ESTIMATES)


Family = Means | Pairs | Correlations | Predictors

ESTIMATES = ["n", "estimate", "lower", "upper", "detectable"]
"""Columns of estimates: models per space (the smaller number), the number with its interval, and the number that is
detectable with 80 % power."""


def paired_interval(differences: np.ndarray, confidence: float) -> tuple[float, float]:
    """Mean of differences of shape (n,), and half the width of its confidence interval by Student's t.

    In simulations with 24 to 60 pairs and a nominal 99.2 %, intervals cover 99.1 to 99.6 % of symmetric differences
    with tails up to those of t with 3 degrees of freedom, but only 96 to 97 % of lognormal ones.
    """
    n = len(differences)
    error = float(differences.std(ddof=1)) / np.sqrt(n)
    return float(differences.mean()), float(stats.t.isf((1 - confidence) / 2, n - 1) * error)


def with_quantity(table: Table, quantity: str) -> Table:
    """The table with a column as its error."""
    return (
        table
        if quantity == "error_percent"
        else replace(table, frame=table.frame.assign(error_percent=table[quantity]))
    )


def findings(families: Sequence[Family], table: Table) -> pd.DataFrame:
    """Evaluate all claims of a study.

    Args:
        families: of the study.
        table: trained models.

    Returns:
        One row per claim: family, claim, source, expected, unit, the columns of ESTIMATES, `needed` (models per space
        for a verdict, if the estimate is exact) and `verdict`.
    """
    confidence = 1 - (1 - CONFIDENCE) / len(families)
    rows = []
    for number, family in enumerate(families):
        estimates = family.estimate(table, confidence)
        for claim, (_, estimate) in zip(family.claims, estimates.iterrows(), strict=True):
            expected = f"within ±{claim.margin:g}" if claim.expected == "zero" else claim.expected
            row = {"family": number, "claim": claim.text, "source": claim.source, "expected": expected}
            row |= {"unit": family.unit, **estimate.to_dict(), "needed": models_needed(claim, estimate)}
            rows.append(row | {"verdict": claim.verdict(estimate["lower"], estimate["upper"])})
    return pd.DataFrame(rows)


def models_needed(claim: Claim, estimate: pd.Series) -> float:
    """Models per space for a verdict with 80 % power if the estimate is the true number; inf if there is none.

    Intervals shrink like the square root of n.
    """
    distance = abs(abs(estimate["estimate"]) - claim.margin)
    return float(np.ceil(estimate["n"] * (estimate["detectable"] / distance) ** 2)) if distance > 0 else np.inf


def overall(verdicts: Iterable[str]) -> str:
    """The verdict of a study from those of its claims."""
    distinct = set(verdicts)
    if CONTRADICTS in distinct:
        return CONTRADICTS
    return AGREES if distinct == {AGREES} else UNDECIDED


def counted(verdicts: Iterable[str]) -> str:
    """The numbers of claims with each verdict, like "3 agree, 1 contradicts"."""
    counts, plural = Counter(verdicts), {AGREES: "agree", CONTRADICTS: "contradict"}
    texts = [(count, verdict if count == 1 else plural.get(verdict, verdict)) for verdict, count in counts.items()]
    return ", ".join(f"{count} {text}" for count, text in texts)
