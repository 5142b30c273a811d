"""Trainings stopped early: errors after the last epoch that all trainings reached, and the epochs saved."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from analysis.formatting import was_were
from designspace.study import CURVES, STOPPED

CURVE = "epoch_validation_error_percent"


@dataclass(frozen=True)
class CommonEpoch:
    """The epoch whose errors are used for all trainings with one recipe and data set, if some were stopped early.

    Attributes:
        studies: names of the studies.
        epoch: the last epoch that all trainings reached, from 1.
        epochs: epochs of a complete training; 0 if none is complete.
        stopped: number of trainings stopped early.
        trainings: number of trainings that are complete or stopped.
    """

    studies: tuple[str, ...]
    epoch: int
    epochs: int
    stopped: int
    trainings: int

    @property
    def sentence(self) -> str:
        """A sentence that states the epoch and the number of trainings stopped early."""
        of = f" of {self.epochs}" if self.epochs else ""
        return (
            f"{self.stopped:,} of {self.trainings:,} trainings {was_were(self.stopped)} stopped early, so all errors "
            f"are from epoch {self.epoch}{of}, the last epoch that every training reached."
        )


def at_common_epoch(frame: pd.DataFrame) -> tuple[pd.DataFrame, tuple[CommonEpoch, ...]]:
    """If some trainings were stopped early, cut all of them after the last epoch that every training reached.

    A stopped training ends in the middle of the schedule, and complete trainings are the ones that the rule kept, so
    their final errors are not comparable. Errors after the same epoch are comparable. Only trainings with the same
    recipe and data as a stopped training change. Failed trainings do not change.

    Args:
        frame: columns `status`, `error_percent` and `epoch_validation_error_percent`, and optionally `study`,
            `recipe_id`, `data_id`, `epochs_done`, `updates` and other curves; one row per training.

    Returns:
        The frame with status "ok" for stopped trainings, and with errors, curves, epochs and updates up to the common
        epoch; and one `CommonEpoch` for each recipe and data set with stopped trainings.

    Raises:
        ValueError: a training has no error after the common epoch.
    """
    stopped = frame["status"] == STOPPED
    if not stopped.any():
        return frame, ()
    study = frame["study"] if "study" in frame else pd.Series("", index=frame.index)
    recipe = frame["recipe_id"].fillna(study) if "recipe_id" in frame else study
    data = frame["data_id"].fillna("") if "data_id" in frame else ""
    counted = stopped | (frame["status"] == "ok")
    group = recipe.astype(str) + "/" + data
    frame = frame.copy()
    epochs = []
    for label in group[stopped].unique():
        rows = frame.index[counted & (group == label)]
        complete = frame.loc[rows, "status"] == "ok"
        lengths = frame.loc[rows, CURVE].map(_length) if CURVE in frame else pd.Series(0, index=rows)
        epoch = int(lengths.min())
        _cut(frame, rows, epoch)
        common = CommonEpoch(
            tuple(map(str, study[rows].unique())),
            epoch,
            int(lengths[complete].max()) if complete.any() else 0,
            int(stopped[rows].sum()),
            len(rows),
        )
        epochs.append(common)
    return frame, tuple(epochs)


def _length(curve: object) -> int:
    return len(curve) if isinstance(curve, tuple | list | np.ndarray) else 0


def _cut(frame: pd.DataFrame, rows: pd.Index, epoch: int) -> None:
    """Cut trainings after an epoch, in place."""
    errors = [curve[epoch - 1] for curve in frame.loc[rows, CURVE]] if epoch else [None] * len(rows)
    if missing := sum(error is None or not np.isfinite(error) for error in errors):
        raise ValueError(
            f"{CURVE}: required because trainings were stopped early, but missing for {missing:,} of {len(rows):,} "
            "trainings"
        )
    if {"updates", "epochs_done"} <= set(frame):  # every epoch has the same number of updates
        share = epoch / frame.loc[rows, "epochs_done"].astype(float)
        frame.loc[rows, "updates"] = (frame.loc[rows, "updates"].astype(float) * share).round()
        frame.loc[rows, "epochs_done"] = epoch
    for name in CURVES:
        if name in frame:
            cut = frame.loc[rows, name].map(lambda curve: curve[:epoch] if _length(curve) else curve)
            frame[name] = cut.reindex(frame.index).where(frame.index.isin(rows), frame[name])
    frame.loc[rows, "error_percent"] = errors
    frame.loc[rows, "status"] = "ok"


def epochs_saved(frame: pd.DataFrame, epochs: Mapping[str, int]) -> pd.DataFrame:
    """Epochs saved by early stopping in each space.

    Args:
        frame: columns `study`, `space`, `status`, `epochs_done`, one row per training.
        epochs: epochs of a complete training by study. Other studies are excluded.

    Returns:
        One row per space: space, trainings (complete or stopped), stopped, epochs (planned for these trainings), saved.
    """
    frame = frame.reindex(columns=["study", "space", "status", "epochs_done"])
    planned = frame["study"].map(dict(epochs))
    rows = frame[frame["status"].isin(["ok", STOPPED]) & planned.notna()].assign(epochs=planned)
    is_stopped = rows["status"] == STOPPED
    missing = (rows["epochs"] - rows["epochs_done"].astype(float)).where(is_stopped, 0)
    columns = rows.assign(trainings=1, stopped=is_stopped, saved=missing)
    sums = columns.groupby("space", sort=False)[["trainings", "stopped", "epochs", "saved"]].sum().astype(int)
    return sums.reset_index()


def saved_sentence(saved: pd.DataFrame) -> str:
    """A sentence with the epochs saved in all spaces; "" if no training was stopped early.

    Args:
        saved: from `epochs_saved`.
    """
    stopped, epochs, all_saved = (int(saved[name].sum()) for name in ("stopped", "epochs", "saved"))
    if not stopped:
        return ""
    return f"Early stopping saved {all_saved:,} of {epochs:,} epochs ({all_saved / epochs:.0%})."
