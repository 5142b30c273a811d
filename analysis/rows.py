"""Rows of the table, one per training: failure policy, repeated rows, and the mean over seeds.

A network is a *model* of a space under a recipe and data set. A population may draw it more than once, and each *draw*
counts. A *training* is a model with a training seed. Draws of one model share their trainings; the error of a draw is
the mean over the training seeds.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from analysis.early_stopping import CommonEpoch, at_common_epoch
from analysis.formatting import has_have, is_are
from designspace.expressions import unknown_column
from designspace.spaces import RATES
from designspace.study import COLUMNS as RECORD_COLUMNS
from designspace.study import PARTS, SCORES
from designspace.validated import shorten, unknown

LATENCY = "latency_ms"
OK = "ok"
MISSING = "missing"
"""Status of a model that was drawn but has no record yet. It is not a failure and never counts."""

PROBE_MEANS = {f"mean_{name}": f"mean over the network: {RECORD_COLUMNS[name].meaning}" for name in PARTS}
"""Means of the probe's fields over the blocks or parts with a value; only in studies with `probe: true`."""

COLUMNS = {
    "study": "name of the study folder or table",
    **{name: column.meaning for name, column in RECORD_COLUMNS.items() if name != "parameters"},
    "recipe_id": "content hash of the study's training recipe, without the rates that a space draws",
    "status": "as in a record, or 'missing' for a model that was drawn but has no record yet",
    "draw_id": "with spec_id, one draw of a population: random stream, seed and number of the draw",
    "block_widths": "width of each block, a tuple of integers",
    LATENCY: "median latency of one batch in milliseconds, under the condition that a note states",
    **PROBE_MEANS,
}
"""Columns of the table and their meaning. The free parameters of the spaces follow; a list becomes name_1, name_2, ….

A table file provides some of them, at least error_percent; recipe_id and data_id are None if it does not have them."""

COMPLEXITIES = ("macs", "params", "acts")


def is_proposal(frame: pd.DataFrame) -> pd.Series:
    """Mask of the models that a search proposed. They are not a sample of their space."""
    if "proposed_by" not in frame:
        return pd.Series(False, index=frame.index)
    return frame["proposed_by"].fillna("") != ""


def costs(frame: pd.DataFrame) -> tuple[str, ...]:
    """COMPLEXITIES, and the latency if the frame has it."""
    return (*COMPLEXITIES, LATENCY) if LATENCY in frame else COMPLEXITIES


MODEL = ("space", "recipe_id", "data_id", "spec_id", *RATES)
"""Columns that identify a model. Networks trained with different rates are different models of one recipe."""

DRAW = (*MODEL, "draw_id")
"""Columns that identify a draw. Table files have no `draw_id`: each of their models is drawn once."""


@dataclass(frozen=True)
class Source:
    """Origin of rows: a study folder, table file or data frame.

    Attributes:
        name: label in the column `study`.
        path: folder or file.
        manifest: of a study; empty otherwise.
    """

    name: str
    path: Path
    manifest: dict[str, Any]

    @property
    def error(self) -> str:
        """Kind of error: validation error for our studies; a table file does not name the split."""
        return "validation error" if self.manifest else "error"


@dataclass(frozen=True, eq=False, repr=False)
class Trainings:
    """Trainings of the models of one or more studies or tables.

    Attributes:
        frame: one row per training, with the columns of COLUMNS and the free parameters.
        sources: the studies and tables, in the order given.
        parameters: columns of the free parameters in order of appearance, `depth` first.
        notes: sentences on how the data was read and filtered, repeated with every result.
        grouped_by: the column whose values are the spaces, or "space" as loaded.
        filtered_from: labels of the spaces before rows were filtered.
    """

    frame: pd.DataFrame
    sources: tuple[Source, ...]
    parameters: tuple[str, ...]
    notes: tuple[str, ...] = ()
    grouped_by: str = "space"
    filtered_from: tuple[str, ...] = ()

    @property
    def space_order(self) -> tuple[str, ...]:
        """Labels in a fixed order, which decides the color of each space: as in the studies, then as in the tables.

        It includes spaces without a row, so that the others keep their colors.
        """
        present = dict.fromkeys([*self.filtered_from, *map(str, self.frame["space"].unique())])
        configured = [
            label if (label := f"{source.name}/{space}") in present else str(space)
            for source in self.sources
            for space in (source.manifest.get("config") or {}).get("spaces") or {}
            if self.grouped_by == "space"
        ]
        return tuple(dict.fromkeys([*configured, *present]))


def validation_size(sources: Sequence[Source]) -> int | None:
    """Number of images in the smallest validation split; None if it is unknown for some source."""
    sizes = [((source.manifest.get("config") or {}).get("data") or {}).get("validation_size") for source in sources]
    valid = [int(size) for size in sizes if isinstance(size, int) and size > 0]
    return min(valid) if valid and len(valid) == len(sources) else None


def planned_epochs(sources: Sequence[Source]) -> dict[str, int]:
    """Epochs of a complete training by study; tables have none."""
    recipes = {source.name: (source.manifest.get("config") or {}).get("recipe") or {} for source in sources}
    return {name: int(recipe["epochs"]) for name, recipe in recipes.items() if "epochs" in recipe}


def as_names(value: str | Iterable[str]) -> tuple[str, ...]:
    """The names in an argument that accepts one name or several."""
    return (value,) if isinstance(value, str) else tuple(value)


def complexity_column(match: str | None, frame: pd.DataFrame) -> str | None:
    """The column to match by, from the argument `match`: None, "" and "none" mean no matching.

    Raises:
        ValueError: any other name than macs, params, acts and, where the frame has it, latency_ms.
    """
    if match in (None, "", "none"):
        return None
    if match == LATENCY and LATENCY not in frame:
        raise ValueError(f"match = {LATENCY}: must be measured first, with designspace latency RUN")
    if match not in costs(frame):
        raise ValueError(unknown("match", match, (*costs(frame), "none")))
    return match


@dataclass(frozen=True)
class FailurePolicy:
    """How a failed model (any status but ok, stopped and missing) enters an error distribution.

    Args:
        kind: "worst" assigns the largest error among the finished models of all spaces, "error" assigns
            `error_percent`, "drop" excludes the model, which favors a space with many failures.
        error_percent: in [0, 100]; only for "error".
    """

    kind: Literal["worst", "drop", "error"] = "worst"
    error_percent: float = math.nan

    def __post_init__(self) -> None:
        if self.kind not in ("worst", "drop", "error"):
            raise ValueError(f"failures = {shorten(self.kind)}: must be worst, drop or error=NUMBER")
        if self.kind == "error" and not 0 <= self.error_percent <= 100:
            raise ValueError(f"failures = error={self.error_percent:g}: must have a NUMBER from 0 to 100 percent")

    @classmethod
    def parse(cls, text: str) -> FailurePolicy:
        """Parse "worst", "drop" or "error=NUMBER"."""
        name, _, number = text.strip().partition("=")
        if name == "error":
            try:
                error = float(number)
            except ValueError:
                raise ValueError(f"failures = {shorten(text)}: must have a NUMBER, as in error=90") from None
            return cls("error", error)
        if number or name not in ("worst", "drop"):
            raise ValueError(f"failures = {shorten(text)}: must be worst, drop or error=NUMBER")
        return cls("worst" if name == "worst" else "drop")

    def __str__(self) -> str:
        return f"error={self.error_percent:g}" if self.kind == "error" else self.kind


@dataclass(frozen=True)
class Resolved:
    """Trainings after the failure policy: every row has an error and counts.

    Attributes:
        frame: the rows that count, with `error_percent` filled, and `failed` (bool). Only random draws, because the
            proposals of a search are not a sample of their space.
        policy: the policy applied.
        failures: number of failed trainings by status.
        filled_with: error assigned to failed models; NaN if none.
        missing: number of models without a record, which are not in `frame`.
        proposals: the trained proposals of searches, with the columns of `frame`.
        common_epochs: the epochs of the errors where models were stopped early; see `at_common_epoch`.
    """

    frame: pd.DataFrame
    policy: FailurePolicy
    failures: dict[str, int] = field(default_factory=dict)
    filled_with: float = math.nan
    missing: int = 0
    proposals: pd.DataFrame = field(default_factory=pd.DataFrame)
    common_epochs: tuple[CommonEpoch, ...] = ()

    @property
    def stopped_sentence(self) -> str:
        """The epochs of the errors where models were stopped early; "" without."""
        several = len({study for common in self.common_epochs for study in common.studies}) > 1
        prefixes = [f"{', '.join(common.studies)}: " if several else "" for common in self.common_epochs]
        return " ".join(f"{at}{common.sentence}" for at, common in zip(prefixes, self.common_epochs, strict=True))

    @property
    def sentence(self) -> str:
        """The policy and its effect, the effect of early stopping, and the number of proposals left out."""
        failed = sum(self.failures.values())
        if failed:
            reasons = ", ".join(f"{count} {status}" for status, count in self.failures.items())
            if self.policy.kind == "drop":
                what = f"{failed} failed ({reasons}) and {'was' if failed == 1 else 'were'} excluded (policy drop)"
            else:
                given = f"an error of {self.filled_with:.2f} % (policy {self.policy})"
                what = f"{failed} failed ({reasons}) and {'counts' if failed == 1 else 'count'} with {given}"
        else:
            what = f"none failed (policy {self.policy})"
        unfinished = f"; {self.missing} not trained yet and not counted" if self.missing else ""
        trainings = len(self.frame) + (failed if self.policy.kind == "drop" else 0)
        parts = [f"Of {trainings:,} trainings, {what}{unfinished}.", self.stopped_sentence, self._left_out]
        return " ".join(filter(None, parts))

    @property
    def _left_out(self) -> str:
        if self.proposals.empty:
            return ""
        models = self.proposals.drop_duplicates([name for name in ("study", *MODEL) if name in self.proposals])
        parts = [
            f"{len(part):,} of {space} ({', '.join(part['proposed_by'].unique())})"
            for space, part in models.groupby("space", sort=False)
        ]
        were = "model was" if len(models) == 1 else "models were"
        return (
            f"{len(models):,} more {were} proposed by a search and {is_are(len(models))} not a sample of the space, "
            f"so this statistic excludes {'it' if len(models) == 1 else 'them'}: {', '.join(parts)}."
        )


def apply_failure_policy(frame: pd.DataFrame, policy: FailurePolicy | str = "worst") -> Resolved:
    """Apply a failure policy, and set the proposals of searches apart from the random draws.

    Every statistic of a space starts here, so none of them takes proposals for a sample of the space. If trainings were
    stopped early, all of them are cut first, to the last epoch that all reached.

    Args:
        frame: columns `status` and `error_percent`, one row per training, and those of `at_common_epoch` if some were
            stopped early. Rows with status "missing" are excluded.
        policy: a FailurePolicy, or "worst", "drop" or "error=NUMBER".

    Raises:
        ValueError: an absent column, an ok model without an error, no finished random draw, or no common epoch.
    """
    policy = FailurePolicy.parse(policy) if isinstance(policy, str) else policy
    for column in ("status", "error_percent"):
        if column not in frame:
            raise ValueError(unknown_column("column", column, frame))
    trained, common_epochs = at_common_epoch(frame[frame["status"] != MISSING].copy())
    trained["failed"] = trained["status"] != OK
    trained["error_percent"] = pd.to_numeric(trained["error_percent"]).astype(float)
    unknown_errors = int(trained.loc[~trained["failed"], "error_percent"].isna().sum())
    if unknown_errors:
        raise ValueError(
            f"error_percent = nan: must be a number for a model with status ok ({unknown_errors:,} models)"
        )
    proposals, trained = trained[is_proposal(trained)], trained[~is_proposal(trained)]
    missing = int((~is_proposal(frame)).sum()) - len(trained)
    finished = trained.loc[~trained["failed"], "error_percent"]
    if finished.empty:
        what = "no random draw finished" if len(proposals) else "no model finished"
        raise ValueError(f"{what}: {len(trained)} failed, {missing} not trained yet")
    counts = trained.loc[trained["failed"], "status"].value_counts()
    failures = {str(status): int(count) for status, count in counts.items()}
    assigned = float(finished.max()) if policy.kind == "worst" else policy.error_percent
    parts = []
    for part in (trained, proposals):
        kept = part[~part["failed"]] if policy.kind == "drop" else part
        errors = kept["error_percent"].mask(kept["failed"], assigned)
        parts.append(kept.assign(error_percent=errors).reset_index(drop=True))
    filled_with = assigned if failures and policy.kind != "drop" else math.nan
    return Resolved(parts[0], policy, failures, filled_with, missing, parts[1], common_epochs)


def model_columns(frame: pd.DataFrame) -> list[str]:
    """The columns of MODEL that a frame has."""
    return [name for name in MODEL if name in frame]


def draw_columns(frame: pd.DataFrame) -> list[str]:
    """The columns of DRAW that a frame has."""
    return [name for name in DRAW if name in frame]


def drop_duplicate_trainings(frame: pd.DataFrame) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Drop rows that repeat a training of the same draw.

    Studies with the same space and sampling seed share their first draws. Such a draw counts once; its training must
    not appear as two seeds with identical errors. A network that was drawn twice keeps both rows, and so does one that
    the searches of two studies proposed.

    Args:
        frame: columns of DRAW, `study`, `seed`, `status`, `error_percent`.

    Returns:
        The first row of each training of each draw, preferring rows with a result, in the order of `frame`; and a note
        if rows were dropped.
    """
    keys = [*draw_columns(frame), "seed", "_search"]
    frame = frame.assign(_search=frame["study"].where(is_proposal(frame), ""))
    if not frame.duplicated(keys).any():
        return frame.drop(columns="_search"), ()
    # A model without a record in one study may have one in another.
    trained_first = frame.sort_values("status", key=lambda status: status == MISSING, kind="stable")
    kept = trained_first.drop_duplicates(keys).sort_index().drop(columns="_search")
    results = frame[frame["status"] != MISSING].groupby(keys, dropna=False)["error_percent"].nunique(dropna=False)
    dropped, differ = len(frame) - len(kept), int((results > 1).sum())
    note = f"{dropped:,} of {len(frame):,} rows repeat a training (same model, same seed) and are excluded"
    note += f"; {differ:,} of them {has_have(differ)} several results, and the first one counts" if differ else ""
    return kept.reset_index(drop=True), (f"{note}.",)


def distinct_trainings(frame: pd.DataFrame) -> pd.DataFrame:
    """Each training of each model once, for statistics of models rather than of a population.

    Args:
        frame: columns of DRAW and `seed`; returned unchanged if it has no `draw_id`.
    """
    if "draw_id" not in frame:
        return frame
    return frame.drop(columns="draw_id").drop_duplicates([*model_columns(frame), "seed"])


def distinct_models(frame: pd.DataFrame) -> pd.DataFrame:
    """The first draw of each model, from one row per draw; returned unchanged if it has no `spec_id`."""
    return frame.drop_duplicates(model_columns(frame)) if "spec_id" in frame else frame


def average_seeds(frame: pd.DataFrame) -> pd.DataFrame:
    """Average the error of each draw over its training seeds.

    Trainings are not independent draws: counting each one would make every interval too narrow.

    Args:
        frame: columns of DRAW, `status`, `error_percent` and `failed`, as returned by `apply_failure_policy`.

    Returns:
        One row per draw, in order: the row of its first seed with the mean `error_percent`, PROBE_MEANS and SCORES,
        `failed` if any seed failed, the `status` of the first failure, and `seeds`, the number of seeds.
    """
    reason = frame["status"].where(frame["failed"])
    grouped = frame.assign(status=reason).groupby(draw_columns(frame), sort=False, dropna=False)
    first = grouped.head(1).copy()
    for name in ("error_percent", *(name for name in (*PROBE_MEANS, *SCORES) if name in frame)):
        first[name] = grouped[name].mean().to_numpy()
    first["failed"] = grouped["failed"].any().to_numpy()
    first["status"] = grouped["status"].first().fillna(OK).to_numpy()
    first["seeds"] = grouped.size().to_numpy()
    return first.reset_index(drop=True)
