"""What a table has to have, where a file does not say it: names of models, one row per training, outcomes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from analysis.column_map import TEXTS, seed_of
from analysis.failures import OK


def with_names(frame: pd.DataFrame, file: str, places: Sequence[str]) -> tuple[pd.DataFrame, str]:
    """A space, a name and an index for every model, and a remark on names that repeat.

    A row without a name is a model of its own, and so is each row of a name where there is no seed.

    Args:
        frame: a row per model, or with the column `seed` per training; columns `space`, `spec_id`, `index` if known.
        file: name of the file, the space and the first part of names that are made up.
        places: of the rows in the file, e.g. "line 3".
    """
    frame = frame if "space" in frame else frame.assign(space=file)
    made_up = [f"{file} {place}" for place in places]
    if "spec_id" not in frame and "index" in frame:
        made_up = [f"{file}-{index}" for index in frame["index"]]
    names = frame["spec_id"] if "spec_id" in frame else pd.Series(None, index=frame.index, dtype=object)
    known = names.notna() & (names != "")
    frame = frame.assign(spec_id=names.astype(object).where(known, pd.Series(made_up, index=frame.index, dtype=object)))
    remark = ""
    if "seed" not in frame:
        again = frame.groupby(["space", "spec_id"]).cumcount()
        frame["spec_id"] += [f" #{number + 1}" if number else "" for number in again]
        repeated = int((again == 1).sum())
        if repeated:
            remark = (
                f"{repeated:,} {'name repeats' if repeated == 1 else 'names repeat'}; without a seed column each row "
                "counts as a model of its own; map seed if they are seeds"
            )
    if "index" not in frame:
        frame["index"] = frame.groupby(["space", "spec_id"], sort=False).ngroup()
    return frame, remark


def one_row_per_seed(frame: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
    """A row for each of the columns error_1, error_2, …; the seed is the number in its name."""
    if not names:
        return frame
    parts = [frame.drop(columns=list(names)).assign(seed=seed_of(name), error_percent=frame[name]) for name in names]
    return pd.concat(parts, ignore_index=True)


def with_outcomes(frame: pd.DataFrame) -> tuple[pd.DataFrame, int]:
    """The columns every table has, and how many errors of models that are not ok were set aside as not final.

    Without a status a row is ok if it has an error. Unknown is not the same as good: a row that is ok but has no error
    has crashed, and one whose error is infinite has diverged.

    Args:
        frame: column `error_percent`, and `status` (of ours, None where nothing is said) if known.
    """
    absent = dict.fromkeys((*TEXTS, "spec", "block_widths")) | dict.fromkeys(("macs", "params", "acts"), np.nan)
    frame = frame.assign(**{name: value for name, value in (absent | {"seed": 0}).items() if name not in frame})
    errors, status = frame["error_percent"].astype(float), frame["status"].astype(object)
    ok = status.isna() | (status == OK)
    reasons = pd.Series("", index=frame.index, dtype=object)
    for outcome, rows, reason in (
        (OK, ok, ""),
        ("crashed", ok & errors.isna(), "the table has no error for it"),
        ("diverged", ok & np.isinf(errors), "its error is not finite"),
    ):
        status, reasons = status.mask(rows, outcome), reasons.mask(rows, reason)
    message = frame["message"].astype(object).fillna("").astype(str)
    frame = frame.assign(
        status=status, error_percent=errors.where(status == OK), message=message.where(message != "", reasons)
    )
    return frame, int((np.isfinite(errors) & (status != OK)).sum())
