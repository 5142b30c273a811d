"""Efficiency of searches within a space, compared with random search.

A search starts with random draws of its space and then proposes models. Its curve is the smallest error so far by
number of trained models. The reference is random search: the random draws of the same space give the distribution of
the best of m models in closed form (`analysis.random_search`).

One run of a search is one draw. Even a random search is below its own median half of the time. Two results are
therefore computed that hold for a single run as well as for several:

- the probability that random search with the same number of models does as well, with the bounds of the EDF's
  simultaneous band;
- whether the proposals are better than random draws, by the Mann-Whitney test. The test is valid even though
  proposals depend on each other: if no proposal is better than a random draw, given the models before it, each
  proposal can be coupled with an independent random draw that is at least as good.

If trainings were stopped early, all errors are from the last epoch that every training reached
(`analysis.early_stopping`).

All errors are measured errors. The smallest is optimistic because it was selected, both in a search and in random
search.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy import stats

from analysis.early_stopping import at_common_epoch
from analysis.formatting import p_text
from analysis.random_search import draws_needed, random_search_curve, share_within
from analysis.rows import MISSING, OK, FailurePolicy, apply_failure_policy
from analysis.two_sample import holm

RANDOM = "random"
"""Strategy whose proposals are independent random draws."""
LEVEL = 0.05
"""Significance level."""
MIN_TO_TEST = 5
"""Fewest proposals and random draws for the Mann-Whitney test."""

RUN_COLUMNS = {
    "space, study, strategy": "the run: one search of one space in one study",
    "model": "number of models trained so far, random draws included, in the order of the proposals",
    "proposed_by": "strategy that proposed the model; empty for a random draw",
    "error_percent": "mean error over its seeds, percent; infinite for a failed model",
    "best": "smallest error so far, percent",
}

SEARCH_COLUMNS = {
    "space, strategy": "the runs of one strategy in one space",
    "runs": "number of runs",
    "models": "number of models per run, random draws included; of the shortest run if runs differ",
    "best, best_quarter, best_three_quarters": "median and quartiles over the runs of the smallest error, percent",
    "draws": "number of random draws of the space, the reference",
    "proposals": "number of proposals of all runs",
    "random_median, random_lower, random_upper": "median error of the best of as many random models, with its 95 % "
    "band; NaN if there are too few draws to estimate it",
    "needed, needed_lower": "number of random models whose best has a median error as small as `best`, with the lower "
    "end of its 95 % interval; infinite if no random draw reaches this error",
    "chance, chance_upper": "probability that the median over as many random searches is at least as good, with the "
    "upper end of its 95 % interval",
    "better": "probability that a proposal has a smaller error than a random draw",
    "p_value": "Mann-Whitney test of the proposals against the random draws, one-sided, adjusted for the number of "
    "strategies and spaces (Holm); NaN with too few models",
}


class Efficiency(NamedTuple):
    """Curves of searches and of random search.

    Attributes:
        curves: one row per space, strategy and number of models: columns `space`, `strategy`, `models`, `median`,
            `quarter`, `three_quarters` of the smallest error over the runs, and `runs`.
        reference: `random_search_curve` of each space up to the largest number of models, with the column `space`.
        summary: columns of SEARCH_COLUMNS.
    """

    curves: pd.DataFrame
    reference: pd.DataFrame
    summary: pd.DataFrame


def search_runs(frame: pd.DataFrame) -> pd.DataFrame:
    """The trained models of every search, in the order in which they were proposed.

    Args:
        frame: rows of a table, one per training.

    Returns:
        Columns of RUN_COLUMNS, one row per run and model; empty without proposals. A run starts with the random draws
        of its study, even if they are listed under another study with the same draws.
    """
    trained, _ = at_common_epoch(frame[frame["status"] != MISSING])
    models = _models(trained.assign(error_percent=trained["error_percent"].where(trained["status"] == OK, math.inf)))
    runs = []
    for (space, study), own in models[models["proposed"]].groupby(["space", "study"], sort=False):
        # Studies with the same seed share their first draws, which are listed once.
        shared = models["stream"].isin(own["stream"].dropna()) & (models["index"] < own["index"].min())
        start = models[~models["proposed"] & (models["space"] == space) & ((models["study"] == study) | shared)]
        run = pd.concat([start, own]).sort_values("index", kind="stable")
        names = own["proposed_by"][own["proposed_by"] != RANDOM]
        runs.append(
            run[["space", "proposed_by", "error_percent"]].assign(
                study=study,
                strategy=names.iloc[0] if len(names) else RANDOM,
                model=np.arange(1, len(run) + 1),
                best=run["error_percent"].cummin(),
            )
        )
    return pd.concat(runs, ignore_index=True) if runs else pd.DataFrame()


def random_draws(frame: pd.DataFrame, failures: FailurePolicy | str = "worst") -> pd.DataFrame:
    """All random draws of the spaces: the models that are not proposals, and the proposals of the strategy `random`.

    Args:
        frame: rows of a table, one per training.
        failures: error of a failed model.

    Returns:
        Columns `space` and `error_percent`, one row per draw.
    """
    names = frame["proposed_by"].fillna("")
    kept = names.isin(["", RANDOM])
    if not kept.any():
        return pd.DataFrame({"space": [], "error_percent": []})
    draws = frame[kept].assign(proposed_by="", proposed=names == RANDOM)
    trained = apply_failure_policy(draws, failures).frame
    models = _models(trained.assign(proposed_by=np.where(trained["proposed"], RANDOM, "")))
    # Studies with the same seed share their random draws. The proposals of `random` continue them.
    models = models.sort_values("proposed", kind="stable")
    repeated = models["proposed"] & models["stream"].notna() & models.duplicated(["space", "stream", "spec_id"])
    return models.loc[~repeated, ["space", "error_percent"]].reset_index(drop=True)


def search_efficiency(frame: pd.DataFrame, failures: FailurePolicy | str = "worst") -> Efficiency:
    """Curves of all searches of a table, and their comparison with random search.

    A space without random draws, such as a table of proposals only, has no reference and is left out.

    Args:
        frame: rows of a table, one per training.
        failures: error of a failed random draw. A failed proposal is worse than every other model.

    Raises:
        ValueError: no proposal was trained, or no space of the proposals has random draws.
    """
    frame, _ = at_common_epoch(frame[frame["status"] != MISSING])  # of draws and proposals
    runs = search_runs(frame)
    if runs.empty:
        raise ValueError("no model was proposed by a search: start one with designspace sweep … search=tpe budget=N")
    draws = random_draws(frame, failures)
    if without := set(runs["space"]) - set(draws["space"]):
        runs = runs[~runs["space"].isin(without)]
        if runs.empty:
            raise ValueError(f"space = {', '.join(sorted(without))}: must have random draws, the reference of a search")
    curves, references, rows = [], [], []
    for space, part in runs.groupby("space", sort=False):
        errors = draws.loc[draws["space"] == space, "error_percent"]
        numbers = np.arange(1, part["model"].max() + 1)
        reference = random_search_curve(errors, draws=numbers)
        # The median of the best of m is an error below which a fraction 1 - 0.5^(1/m) of the models lies.
        reference.loc[1 - 0.5 ** (1 / numbers) < 1 / len(errors), "median"] = math.nan
        references.append(reference.assign(space=space))
        for strategy, its in part.groupby("strategy", sort=False):
            best = its.pivot_table(index="model", columns="study", values="best").dropna()
            quartiles = best.where(np.isfinite(best)).quantile([0.25, 0.5, 0.75], axis=1).T
            quartiles.columns = ["quarter", "median", "three_quarters"]
            quartiles = quartiles.assign(space=space, strategy=strategy, models=best.index, runs=best.shape[1])
            curves.append(quartiles.reset_index(drop=True))
            if strategy != RANDOM:
                rows.append({"space": space, "strategy": strategy} | _summary(best, its, errors, reference))
    summary = pd.DataFrame(rows)
    if len(summary):
        tested = summary["p_value"].notna()
        summary.loc[tested, "p_value"] = holm(summary.loc[tested, "p_value"].to_numpy())
    return Efficiency(pd.concat(curves, ignore_index=True), pd.concat(references, ignore_index=True), summary)


def _models(trained: pd.DataFrame) -> pd.DataFrame:
    """One row per model of each study, with the mean error over its seeds, and the random stream of its draw."""
    named = trained.assign(proposed_by=trained["proposed_by"].fillna(""))
    grouped = named.groupby(["space", "study", "index", "proposed_by"], sort=False)
    first = {name: (name, "first") for name in ("draw_id", "spec_id")}
    models = grouped.agg(error_percent=("error_percent", "mean"), **first).reset_index()
    stream = models["draw_id"].map(lambda draw: draw.rpartition("/")[0] if isinstance(draw, str) else None)
    return models.assign(stream=stream, proposed=models["proposed_by"] != "")


def compare_with_random(best: ArrayLike, proposals: ArrayLike, draws: ArrayLike, models: int) -> dict[str, float]:
    """Compare the runs of one strategy in one space with random search.

    Args:
        best: shape (R,), smallest error of each run, percent.
        proposals: any shape, errors of the proposals of all runs.
        draws: shape (N,), errors of random draws of the space.
        models: number of models of each run, random draws included.

    Returns:
        `needed`, `needed_lower`, `chance`, `chance_upper`, `better` and `p_value` of SEARCH_COLUMNS, not adjusted.
    """
    final, errors = np.sort(np.asarray(best, dtype=float)), np.asarray(draws, dtype=float)
    middle = len(final) // 2  # the median over the runs, or the worse of the two in the middle
    share, _, share_upper = share_within(errors, final[middle])
    chance, chance_upper = (
        float(stats.binom.sf(middle, len(final), 1 - (1 - f) ** models)) for f in (share, share_upper)
    )
    better = p_value = math.nan
    proposed = np.asarray(proposals, dtype=float).ravel()
    if min(proposed.size, errors.size) >= MIN_TO_TEST:
        test = stats.mannwhitneyu(proposed, errors, alternative="less")
        better, p_value = 1 - float(test.statistic) / (proposed.size * errors.size), float(test.pvalue)
    return {
        "needed": draws_needed(share, 0.5),
        "needed_lower": draws_needed(share_upper, 0.5),
        "chance": chance,
        "chance_upper": chance_upper,
        "better": better,
        "p_value": p_value,
    }


def _summary(best: pd.DataFrame, runs: pd.DataFrame, errors: pd.Series, reference: pd.DataFrame) -> dict[str, Any]:
    """A row of the summary.

    Args:
        best: smallest error so far by number of models (rows) and run (columns).
        runs: of the strategy, from `search_runs`.
        errors: of the random draws.
        reference: random search.
    """
    models, final = int(best.index[-1]), best.iloc[-1].to_numpy()
    random = reference[reference["draws"] == models].iloc[0]
    proposals = runs.loc[~runs["proposed_by"].isin(["", RANDOM]), "error_percent"]
    return {
        "runs": len(final),
        "models": models,
        "best": float(np.median(final)),
        "best_quarter": float(np.quantile(final, 0.25)),
        "best_three_quarters": float(np.quantile(final, 0.75)),
        "draws": len(errors),
        "random_median": random["median"],
        "random_lower": random["lower"],
        "random_upper": random["upper"],
        "proposals": len(proposals),
    } | compare_with_random(final, proposals, errors, models)


def search_sentences(summary: pd.DataFrame) -> list[str]:
    """Conclusions from the runs of each strategy.

    Args:
        summary: from `search_efficiency`.
    """
    if summary.empty:
        return ["All proposals are random draws, which are the reference, so there is no search to compare with it."]
    sentences = [_row_sentence(row, LEVEL / len(summary)) for row in summary.to_dict("records")]
    if (summary["runs"] == 1).any():
        sentences.append(
            "One run is one draw: random search is below its own median half of the time. Before you prefer a search, "
            "repeat it with other seeds."
        )
    sentences.append(
        "The smallest error is optimistic because it was selected, both in a search and in random search. The expected "
        "error on retraining (designspace select) corrects for this."
    )
    return sentences


def _row_sentence(row: Mapping[Any, Any], level: float) -> str:
    models, one = row["models"], row["runs"] == 1
    name = f"{row['strategy']} in {row['space']}"
    if one:
        text = [f"{name}: smallest error {row['best']:.2f} % after {models} models."]
    else:
        text = [
            f"{name}, {row['runs']} runs: median smallest error {row['best']:.2f} % after {models} models (quartiles "
            f"{row['best_quarter']:.2f} to {row['best_three_quarters']:.2f})."
        ]
    if math.isinf(row["needed"]):
        text.append(
            f"None of the {row['draws']} random draws reaches this error. Random search needs at least "
            f"{row['needed_lower']:,.0f} models to reach it."
        )
    else:
        text.append(
            f"Random search needs about {row['needed']:,.0f} models to reach this error (at least "
            f"{row['needed_lower']:,.0f})."
        )
    chance = f"with a probability of {100 * row['chance']:.0f} % (at most {100 * row['chance_upper']:.0f} %)"
    if row["chance_upper"] <= level:
        text.append(f"Search beats random search at this budget. Random search does as well {chance}.")
    elif row["chance"] <= level:
        text.append(
            f"{row['draws']} random draws are too few to show that search beats random search: at this budget, random "
            f"search may do as well with a probability of up to {100 * row['chance_upper']:.0f} %."
        )
    else:
        text.append(f"Search does not beat random search at this budget. Random search does as well {chance}.")
    if not math.isnan(row["p_value"]):
        better = f"a proposal has the smaller error with a probability of {row['better']:.2f}, {p_text(row['p_value'])}"
        are = "better" if row["p_value"] <= LEVEL else "not significantly better"
        text.append(f"The proposals are {are} than random draws ({better}).")
    return " ".join(text)
