"""Predictions for untrained networks: cross-validated error, and the networks with the smallest predicted errors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import pandas as pd

from analysis.display import predictions_table, validations_table
from analysis.formatting import interval
from analysis.plots import plot_predictions
from analysis.refine import source_space
from analysis.results import Result
from analysis.rows import MISSING, FailurePolicy, Trainings, apply_failure_policy, average_seeds
from analysis.surrogate import FEWEST, Validation, network_ids, predict_space, validate_spaces
from designspace.spaces import DesignSpace
from designspace.validated import check_integer

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def predict_table(
    table: Trainings,
    top: int,
    count: int,
    failures: FailurePolicy | str,
    on_progress: Callable[[int], None] | None = None,
) -> Result:
    """`Table.predict`."""
    check_integer("top", top, 1)
    check_integer("count", count, 1)
    resolved = apply_failure_policy(table.frame, failures)
    models = average_seeds(resolved.frame)
    parameters = tuple(name for name in table.parameters if name in models)
    validations = validate_spaces(models, parameters)
    if not validations:
        most = int(network_ids(models).groupby(models["space"]).nunique().max())
        raise ValueError(
            f"networks = {most}: must be at least {FEWEST} trained networks in one space, with different features"
        )
    # Proposals of a search, which are left out above, and failed models are trained, too.
    trained = set(table.frame.loc[table.frame["status"] != MISSING, "spec_id"]) if "spec_id" in table.frame else set()
    sentences, frames = [], []
    for space in table.space_order:
        part = models[models["space"] == space]
        if space not in validations:
            if len(part):
                sentences.append(f"{space} has fewer than {FEWEST} trained networks, too few for a surrogate.")
            continue
        sentences.append(f"{space}: {_sentence(validations[space][1])}")
        source = _space(table, space)
        if source is None:
            sentences.append(f"The design space of {space} is unknown, so no networks were drawn.")
            continue
        design, seed = source
        ranked = predict_space(
            part, parameters, design, count=count, top=top, trained=trained, seed=seed, on_progress=on_progress
        )
        ranked.insert(0, "space", space)
        frames.append(ranked)
    if frames:
        sentences.append(
            f"The best of {count:,} predictions are optimistic: some networks rank first because their predictions are "
            "too low."
        )
    fields = [name for name in Validation.__dataclass_fields__ if name != "predicted"]
    rows = [{"space": space} | {name: getattr(one, name) for name in fields} for space, (_, one) in validations.items()]
    errors = [networks.assign(predicted=one.predicted) for networks, one in validations.values()]
    drawn = pd.concat(errors, ignore_index=True)[["space", "error_percent", "predicted"]]
    ranked = pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()

    def draw(ax: Axes | None) -> Axes:
        return plot_predictions(drawn, order=table.space_order, ax=ax)

    validated = pd.DataFrame(rows)
    return Result(
        "Predictions",
        ranked if frames else validated,
        (*sentences, resolved.sentence, *table.notes),
        (
            ("cross-validated error of the predictions", validations_table(validated)),
            (f"smallest predicted error of {count:,} draws", predictions_table(ranked)),
        ),
        draw,
    )


def _space(table: Trainings, space: str) -> tuple[DesignSpace, int] | None:
    """The design space with a label, and the seed of its draws; None if it is unknown.

    The manifests of earlier versions lack the template of a space.
    """
    part = replace(table, frame=table.frame[table.frame["space"] == space])
    study = part.frame["study"].iloc[0]
    manifest = next(source.manifest for source in table.sources if source.name == study)
    design = source_space(part) if manifest.get("spaces") else None
    return None if design is None else (design, int(manifest["config"].get("seed") or 0))


def _sentence(validation: Validation) -> str:
    """How well the surrogate predicts, and whether it beats the mean and a line in log macs."""
    v = validation
    reduction = f"R² {interval(v.explained, v.explained_lower, v.explained_upper)}"
    if not v.explained_lower > 0:
        return (
            f"the surrogate is not distinguishable from predicting the mean error of the {v.n:,} networks "
            f"({reduction}), so its ranking may be no better than a random order."
        )
    text = (
        f"the surrogate predicts the error of a network within {v.rmse:.2f} points (root mean square, "
        f"cross-validated). The mean of the {v.n:,} networks predicts it within {v.rmse_mean:.2f} points ({reduction})"
    )
    if v.over_macs_lower > 0 or v.over_macs != v.over_macs:
        return f"{text}."
    return f"{text}. The surrogate is not distinguishable from a line in log macs ({v.rmse_macs:.2f} points)."
