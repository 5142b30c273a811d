"""The next design space: restrictions of a space, and the evidence for each from the models already trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from analysis.candidates import candidates, distinct_masks
from analysis.compare import POWER, detection_quantile
from analysis.effects import MIN_MODELS, BestEffects, CrossFit, MeanEffects, cross_fit
from analysis.matching import log_complexity
from analysis.rows import Trainings, draw_columns
from designspace.spaces import DesignSpace, space_from_config
from designspace.validated import shorten

Array = NDArray[np.float64]

REFINE_COLUMNS = {
    "rank": "number of the restriction, best first",
    "restriction": "text of the restriction (`designspace.expressions`)",
    "inside, outside": "models that satisfy the restriction, and the others",
    "share": "fraction of the space that satisfies it",
    "share_from": "'sampler', or 'models' if the space is unknown",
    "degrees_of_freedom, log10_size": "of the restricted space, as in RegNet's Table 1; NaN if the space is unknown",
    "effect, effect_lower, effect_upper": "mean error of the restricted minus the full space at equal complexity, "
    "points, with a confidence interval simultaneous over all restrictions; NaN with too few models",
    "p": "p-value of no effect, adjusted for all restrictions",
    "best_effect, best_lower, best_upper": "the same for the expected best of `draws` models, with its own "
    "simultaneous interval",
    "verdict": "better, simpler (equivalent within the margin), worse or undecided",
    "models_needed": "models of the full space needed for a verdict with 80 % power if the estimate is true; of the "
    "restricted space, drawn directly, if `draw_directly`",
    "draw_directly": "whether too few models are inside for an estimate",
}
VERDICTS = ("better", "simpler", "undecided", "worse")
DRAWS = 10
MARGIN = 0.2
"""Default margin of equivalence in standard deviations of the error, a small effect (Cohen 1988)."""
SHARE_DRAWS = 2000
MAX_MODELS = 5000
FEWEST = 2 * MIN_MODELS
"""Fewest models for any estimate."""
FEWEST_OF_STEP = 2 * FEWEST
"""Fewest models that a step of a ladder keeps, for the evidence of the next step."""


@dataclass(frozen=True)
class Refinement:
    """Evidence for the restrictions of one space.

    Attributes:
        frame: one row per restriction, best first, columns of REFINE_COLUMNS.
        margin: of equivalence, points.
        draws: models of the expected best.
        searched: number of restrictions with an estimate, over which intervals are simultaneous.
        cross_fitted: effect of the best restriction without selection bias; None with too few models.
        choices: restriction chosen on each half of the models in the cross-fit; empty without.
        models: with `adjusted`, the error adjusted for complexity.
        masks: shape (n, K), models inside, in the order of `frame`.
        known: number of models before the random choice of at most MAX_MODELS.
    """

    frame: pd.DataFrame
    margin: float
    draws: int
    searched: int
    cross_fitted: CrossFit | None
    choices: tuple[str, ...]
    models: pd.DataFrame
    masks: NDArray[np.bool_]
    known: int

    @property
    def naive(self) -> pd.Series | None:
        """The row that cross-fitting estimates: the restriction with the smallest upper bound."""
        estimated = self.frame[self.frame["effect"].notna()]
        return None if estimated.empty else estimated.iloc[int(np.argmin(estimated["_bound"]))]


def refine_space(
    models: pd.DataFrame,
    parameters: Sequence[str],
    *,
    match: str | None = "macs",
    space: DesignSpace | None = None,
    tries: Sequence[str] = (),
    margin: float | None = None,
    draws: int = DRAWS,
    confidence: float = 0.95,
    seed: int = 0,
    search: bool = True,
) -> Refinement:
    """Estimate the effect of each candidate restriction from the models of one space.

    Args:
        models: column error_percent (finite), parameters, complexity, optionally block_widths; independent draws.
        parameters: columns of the free parameters.
        match: complexity column; None to compare the models as drawn.
        space: the design space, for the share kept and the size; None if unknown.
        tries: more restrictions, listed even if other restrictions keep the same models.
        margin: of equivalence, points; by default MARGIN standard deviations of the adjusted errors.
        draws: m of the expected best of m models.
        confidence: simultaneous confidence of the intervals.
        seed: seed of permutations and splits.
        search: whether to estimate the candidates of `candidates`; otherwise only `tries`.

    Raises:
        ValueError: too few models, an invalid restriction, margin or number of draws.
    """
    if margin is not None and not 0 < margin < np.inf:
        raise ValueError(f"margin = {margin:g}: must be a positive number of points")
    if draws < 1:
        raise ValueError(f"draws = {draws}: must be at least 1")
    position = None
    if match is not None:
        position = log_complexity(models, match)
        models, position = models[np.isfinite(position)], position[np.isfinite(position)]
    if len(models) < FEWEST:
        raise ValueError(f"RUN: must have at least {FEWEST} models of known {match or 'error'}, not {len(models)}")
    known = len(models)
    if known > MAX_MODELS:  # not the first rows, because a file may be sorted
        rows = np.sort(np.random.default_rng(seed).choice(known, MAX_MODELS, replace=False))
        models, position = models.iloc[rows], None if position is None else position[rows]
    models = models.reset_index(drop=True)
    texts, masks = distinct_masks(models, candidates(models, parameters) if search else [], always=tries)
    if not texts:
        raise ValueError("RUN: must have a parameter that varies; map the parameters of a table with --map")
    errors, rng = models["error_percent"].to_numpy(dtype=float), np.random.default_rng(seed)
    inside = masks.sum(axis=0)
    estimated = np.flatnonzero((inside >= MIN_MODELS) & (len(models) - inside >= MIN_MODELS))
    columns = {name: np.full(len(texts), np.nan) for name in _ESTIMATES}
    columns["verdict"] = np.full(len(texts), "undecided", dtype=object)
    kept = masks[:, estimated]
    effects = MeanEffects(errors, position, kept if len(estimated) else np.eye(len(models), 1, dtype=bool))
    spread = float(effects.adjusted.std(ddof=1))
    margin = MARGIN * spread if margin is None else margin
    cross_fitted, choices = None, ()
    if len(estimated):
        for name, values in _estimates(effects, kept, margin, draws, confidence, rng).items():
            columns[name][estimated] = values
        cross_fitted = cross_fit(errors, position, kept, rng, confidence=confidence)
        if cross_fitted is not None:
            choices = tuple(texts[column] for column in estimated[cross_fitted.chosen])
    directly = inside < MIN_MODELS
    detected = detection_quantile(confidence) * spread
    columns["models_needed"][directly] = ceil(2 * (detected / margin) ** 2) if margin else np.inf
    frame = pd.DataFrame(
        {"restriction": texts, "inside": inside, "outside": len(models) - inside}
        | columns
        | {"draw_directly": directly}
        | _sizes(space, texts, inside / len(models), seed)
    )
    order = _order(frame)
    frame = frame.iloc[order].reset_index(drop=True)
    frame.insert(0, "rank", range(1, len(frame) + 1))
    frame = frame[[*(name for names in REFINE_COLUMNS for name in names.split(", ")), "_bound"]]
    models = models.assign(adjusted=effects.adjusted)
    return Refinement(frame, margin, draws, len(estimated), cross_fitted, choices, models, masks[:, order], known)


_ESTIMATES = (
    *("effect", "effect_lower", "effect_upper", "p", "best_effect", "best_lower", "best_upper"),
    *("models_needed", "_bound"),
)


def _estimates(
    effects: MeanEffects,
    kept: NDArray[np.bool_],
    margin: float,
    draws: int,
    confidence: float,
    rng: np.random.Generator,
) -> dict[str, Array]:
    low, high = effects.null_tails(rng)
    level = (1 - confidence) / 2

    def bounds(level: float) -> tuple[Array, Array]:
        upper, lower = (
            stats.t.isf(np.quantile(tails, level), effects.degrees) * effects.standard_error for tails in (low, high)
        )
        return effects.effect - lower, effects.effect + upper

    lower, upper = bounds(level)
    # Two one-sided tests at a simultaneous level of 1 - confidence.
    above, below = bounds(2 * level)
    verdict = np.where(lower > 0, "worse", "undecided").astype(object)
    verdict[(above > -margin) & (below < margin)] = "simpler"
    verdict[upper < 0] = "better"
    statistic = stats.t.cdf(effects.statistic(), effects.degrees)
    one_sided = [
        np.searchsorted(np.sort(tails), tail, side="right") / len(tails)
        for tails, tail in ((low, statistic), (high, 1 - statistic))
    ]
    best = BestEffects(effects.adjusted, kept, draws)
    half = best.half_widths(confidence, rng)
    # Standard errors are inversely proportional to the square root of the number of models.
    error, power = effects.standard_error, stats.norm.ppf(POWER)
    critical = np.where(effects.effect < 0, upper - effects.effect, effects.effect - lower) / np.where(error, error, 1)
    equivalent = np.maximum(below - effects.effect, effects.effect - above) / np.where(error, error, 1)
    with np.errstate(divide="ignore"):
        detect = ((critical + power) * error / np.abs(effects.effect)) ** 2
        room = np.maximum(margin - np.abs(effects.effect), 0)
        needed = np.minimum(detect, ((equivalent + power) * error / room) ** 2)
    return {
        "effect": effects.effect,
        "effect_lower": lower,
        "effect_upper": upper,
        "p": np.minimum(1, 2 * np.minimum(*one_sided)),
        "best_effect": best.effect,
        "best_lower": best.effect - half,
        "best_upper": best.effect + half,
        "verdict": verdict,
        "models_needed": np.ceil(len(kept) * needed),
        "_bound": effects.upper_bound(),
    }


def _sizes(space: DesignSpace | None, texts: Sequence[str], among_models: Array, seed: int) -> dict[str, Any]:
    """Share of the space, degrees of freedom and log10 size of each restriction."""
    share, origin = among_models.copy(), np.full(len(texts), "models", dtype=object)
    degrees, size = np.full(len(texts), np.nan), np.full(len(texts), np.nan)
    if space is not None:
        population = space.independent_draws(SHARE_DRAWS, seed)
        for column, text in enumerate(texts):
            if "e_fit" not in text:  # takes too long
                share[column], origin[column] = population.satisfies(text).mean(), "sampler"
            degrees[column] = space.restrict(text).degrees_of_freedom
        with np.errstate(divide="ignore"):
            size = space.log10_size + np.log10(share)
    return {"share": share, "share_from": origin, "degrees_of_freedom": degrees, "log10_size": size}


def _order(frame: pd.DataFrame) -> list[int]:
    keys = pd.DataFrame({"verdict": frame["verdict"].map(VERDICTS.index), "unknown": frame["effect"].isna()})
    keys["key"] = frame["_bound"].where(frame["verdict"] != "simpler", frame["share"])
    keys["key"] = keys["key"].where(frame["verdict"] != "worse", -frame["effect_lower"])
    return keys.sort_values(["verdict", "unknown", "key"], kind="stable").index.tolist()


@dataclass(frozen=True)
class Step:
    """A step of a ladder of restrictions.

    Attributes:
        restriction: of this step; "" for the full space.
        text: all restrictions so far, joined by and; "" for the full space.
        verdict: better or simpler; "" for the full space.
        row: of the step's restriction in the frame of `refine_space`; None for the full space.
        kept: shape (n,), models inside of all restrictions so far.
    """

    restriction: str
    text: str
    verdict: str
    row: pd.Series | None
    kept: NDArray[np.bool_]


def ladder(
    models: pd.DataFrame, parameters: Sequence[str], steps: int, *, space: DesignSpace | None, **options: Any
) -> list[Step]:
    """Accept restrictions one by one while they are better or simpler.

    Each step is estimated from the models that satisfy the steps before. With several steps, the error probability is
    divided by their number, so that the probability of any wrong step is at most that of a single one.

    Args:
        models: as in `refine_space`, with finite complexity.
        parameters: columns of the free parameters.
        steps: largest number of steps.
        space: the design space; None if unknown.
        options: of `refine_space`.
    """
    if steps < 1:
        raise ValueError(f"steps = {steps}: must be at least 1")
    level = (1 - options.pop("confidence", 0.95)) / steps
    kept = np.ones(len(models), dtype=bool)
    taken = [Step("", "", "", None, kept)]
    for _ in range(steps):
        part = models[kept]
        if len(part) < FEWEST:
            break
        found = refine_space(part, parameters, space=space, confidence=1 - level, **options)
        accepted = found.frame["verdict"].isin(["better", "simpler"]) & (found.frame["inside"] >= FEWEST_OF_STEP)
        if not accepted.any():
            break
        place = int(np.argmax(accepted))
        row = found.frame.iloc[place]
        inside = kept.copy()
        inside[kept] = found.masks[:, place]
        kept = inside
        text = " and ".join(filter(None, (taken[-1].text, str(row["restriction"]))))
        taken.append(Step(str(row["restriction"]), text, str(row["verdict"]), row, kept))
        space = None if space is None else space.restrict(str(row["restriction"]), name=space.name)
    return taken


def models_to_confirm(effect: float, errors: Array, inside: Array, confidence: float = 0.95) -> int:
    """Models per space that detect an effect with 80 % power in independent draws of the full and restricted space."""
    variance = np.var(errors, ddof=1) + np.var(inside, ddof=1)
    return max(FEWEST, ceil(variance * (detection_quantile(confidence) / effect) ** 2)) if effect else 0


def source_space(table: Trainings) -> DesignSpace | None:
    """The design space of a table with one space, from the manifest of its study; None if it is unknown.

    It is unknown for files, for spaces defined by a column, and if rows were filtered by anything but their space.
    """
    labels = list(map(str, table.frame["space"].unique()))
    if table.grouped_by != "space" or len(labels) > 1 or len(table.frame["study"].unique()) > 1:
        return None
    study = str(table.frame["study"].iloc[0])
    manifest: Mapping[str, Any] = next(source.manifest for source in table.sources if source.name == study)
    label = labels[0].removeprefix(f"{study}/")
    mapping = (manifest.get("spaces") or (manifest.get("config") or {}).get("spaces") or {}).get(label)
    asked = ((manifest.get("sampling") or {}).get(label) or {}).get("asked")
    if mapping is None or len(table.frame.drop_duplicates(draw_columns(table.frame))) < (asked or 0):
        return None
    try:
        return space_from_config({"name": label} | mapping)
    except ValueError as error:
        raise ValueError(f"space = {shorten(label)}: {error}") from None
