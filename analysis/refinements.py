"""Results of refining a space: tables, sentences and figures; the next space; a study that confirms an effect."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from analysis.compare import check_same_training
from analysis.display import label, ladder_table, restrictions_table
from analysis.error_distributions import edf_by
from analysis.plots import plot_edf
from analysis.plots.restrictions import plot_kept, plot_restrictions
from analysis.refine import (
    Refinement,
    Step,
    ladder,
    models_to_confirm,
    refine_space,
    source_space,
)
from analysis.results import Result
from analysis.rows import FailurePolicy, Trainings, apply_failure_policy, average_seeds
from analysis.sentences import ladder_sentences, refinement_sentences
from analysis.widths import fit_population
from designspace.spaces import DesignSpace, save_space

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SHOWN = 15
"""Restrictions in the table of a result. Its frame has all."""
MAX_FITS = 500
"""Networks whose widths are fitted for the restriction e_fit. One fit takes a few milliseconds."""


@dataclass(frozen=True, eq=False, repr=False)
class RefineResult(Result):
    """A result of `Table.refine`.

    Attributes:
        refinement: the evidence.
        space: the design space of the models; None if it is unknown.
        steps: of the ladder, the full space first; empty without `steps`.
    """

    refinement: Refinement
    space: DesignSpace | None
    steps: tuple[Step, ...]


def prepare(
    table: Trainings, match: str | None, failures: FailurePolicy | str
) -> tuple[pd.DataFrame, str, tuple[str, ...]]:
    """Models of the only space of a table with known complexity, the failure policy's sentence, and the parameters.

    Raises:
        ValueError: several spaces, or models trained differently.
    """
    spaces = list(map(str, table.frame["space"].unique()))
    if len(spaces) > 1:
        raise ValueError(f"space = {', '.join(spaces)}: must be one; select it with the condition space={spaces[0]}")
    resolved = apply_failure_policy(table.frame, failures)
    models = average_seeds(resolved.frame)
    check_same_training(models, (), table.sources)
    if "block_widths" in models and models["block_widths"].notna().any() and len(models) <= MAX_FITS:
        models["e_fit"] = fit_population(models["block_widths"])["fit_error"]
    if match is not None:
        models = models[models[match].notna()].reset_index(drop=True)
    return models, resolved.sentence, tuple(name for name in table.parameters if name in models)


def refine_table(
    table: Trainings,
    tries: Sequence[str],
    take: int | None,
    steps: int | None,
    margin: float | None,
    draws: int,
    match: str | None,
    failures: FailurePolicy | str,
) -> RefineResult:
    """`Table.refine`."""
    models, policy, parameters = prepare(table, match, failures)
    space = source_space(table)
    options: dict[str, Any] = {"match": match, "margin": margin, "draws": draws}
    refinement = refine_space(models, parameters, space=space, tries=tries, **options)
    frame = refinement.frame.drop(columns="_bound")
    if take is not None and not 1 <= take <= len(frame):
        raise ValueError(f"take = {take}: must be the number of a restriction, 1 to {len(frame)}")
    first = "at equal " + label(match) if match else "as drawn"
    shown = frame[(frame["rank"] <= SHOWN) | frame["restriction"].isin(tries) | (frame["rank"] == (take or 1))]
    tables = [(f"restrictions by effect on the mean error, {first}", restrictions_table(shown, draws))]
    sentences = [*refinement_sentences(refinement), policy, *table.notes]

    taken: tuple[Step, ...] = ()
    if steps is not None:
        taken = tuple(ladder(models, parameters, steps, space=space, **options))
        tables.append(("ladder", ladder_table(taken, space, refinement.models)))
        sentences = [*ladder_sentences(taken, steps), *sentences]

    def draw(ax: Axes | None) -> Axes:
        if taken:
            return plot_edf(ladder_curves(taken, refinement.models), ax=ax)
        if take is not None:
            return plot_kept(
                refinement.models, refinement.masks[:, take - 1], frame["restriction"][take - 1], match, ax
            )
        return plot_restrictions(shown, refinement.margin, ax=ax)

    return RefineResult("Restrictions", frame, tuple(sentences), tuple(tables), draw, refinement, space, taken)


def ladder_curves(steps: Sequence[Step], models: pd.DataFrame) -> pd.DataFrame:
    """EDF of the adjusted error of each step, with the steps as spaces."""
    parts = [
        pd.DataFrame(
            {
                "space": f"{number}: {step.restriction or 'full space'}",
                "error_percent": models.loc[step.kept, "adjusted"],
            }
        )
        for number, step in enumerate(steps)
    ]
    return edf_by(pd.concat(parts, ignore_index=True))


def plan_confirmation(
    result: RefineResult, text: str, row: pd.Series, folder: Path, study: str, seed: int, overrides: Sequence[str]
) -> tuple[str, int]:
    """Write full.yaml and restricted.yaml and return the command of a study that draws both anew, and its n.

    Args:
        result: of `Table.refine`.
        text: the restriction.
        row: its row.
        folder: for the files.
        study: path of the study.
        seed: of the original draws; the new study uses the next one.
        overrides: of the original sweep, for its data and recipe.

    Raises:
        ValueError: the space is unknown, or the restriction has no estimate.
    """
    if result.space is None:
        raise ValueError("confirm: must be omitted, because the design space of these models is unknown")
    if not np.isfinite(row["effect"]) or row["effect"] == 0:
        raise ValueError(f"confirm: {text} has no estimated effect; draw it directly with --write")
    fitted = result.refinement.cross_fitted
    effect = float(row["effect"])
    # The naive effect is optimistic, so plan for the cross-fitted one if it has the same sign.
    if fitted is not None and effect < fitted.effect < 0:
        effect = fitted.effect
    adjusted = result.refinement.models["adjusted"].to_numpy()
    inside = result.refinement.masks[:, int(row["rank"]) - 1]
    n = models_to_confirm(effect, adjusted, adjusted[inside])
    folder.mkdir(parents=True, exist_ok=True)
    full, restricted = folder / "full.yaml", folder / "restricted.yaml"
    provenance = {"from": study, "restriction": text, "expected": round(effect, 4)}
    save_space(result.space, full, None, {"from": study})
    save_space(result.space, restricted, text, provenance)
    ours = ("run=", "n=", "seed=", "spaces=", "worker=", "plan=")
    kept = [text for text in overrides if not text.lstrip("+~").startswith((*ours, "spaces."))]
    command = ["designspace", "sweep", *kept, f"spaces=[{full},{restricted}]", f"n={n}", f"seed={seed + 1}"]
    return shlex.join([*command, f"run={folder / 'run'}"]), n
