"""The column map: columns of a file as columns of our table, each checked for what it means."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np
import pandas as pd

from analysis.expressions import evaluate, quoted, single_column
from analysis.readers.cells import LARGEST, Cells, as_integers, as_text
from analysis.trainings import MISSING, OK
from designspace.study import CURVES
from designspace.validated import shorten

TEXTS = ("spec_id", "draw_id", "space", "status", "message", "recipe_id", "data_id")
POSITIVE = ("macs", "params", "acts", "depth")
WHOLE = ("index", "seed")
LISTS = ("block_widths", "stage_depths", *CURVES)
TARGETS = {
    "error": "error_percent",
    "name": "spec_id",
    "widths": "block_widths",
    "depths": "stage_depths",
    **{name: name for name in ("error_percent", *TEXTS, *POSITIVE, *WHOLE, *LISTS)},
}
"""Names of a column map that mean a column of the table; `error_1`, `error_2`, … are the errors of several seeds, and
every other name becomes a parameter of its own."""

_SEED = re.compile(r"error_(?:percent_)?(\d+)")
_ACCURACY = re.compile(r"acc|top.?\d|prec|score", re.IGNORECASE)
_ERROR = re.compile(r"err|miss|loss|wrong", re.IGNORECASE)


def seed_of(name: str) -> int | None:
    """The seed whose errors a name of the map means: 2 for error_2 and error_percent_2."""
    match = _SEED.fullmatch(name)
    return int(match[1]) if match else None


def check_names(columns: Mapping[str, str]) -> None:
    """ValueError where two names of a map mean one column."""
    targets: dict[str, str] = {}
    for name in columns:
        target = TARGETS.get(name, name)
        if target in targets:
            raise ValueError(f"map names {targets[target]} and {name}, which mean the same column {target}")
        targets[target] = name
    if "stage_depths" in targets and "block_widths" not in targets:
        raise ValueError("map names depths without widths; together they are the depths and widths of the stages")
    seeds = [name for name in columns if seed_of(name) is not None]
    both = [targets[target] for target in ("error_percent", "seed") if target in targets]
    if seeds and both:
        raise ValueError(
            f"map names {both[0]} and {seeds[0]}; the errors of several seeds are error_1, error_2, … only"
        )


def read_column(cells: Cells, name: str, expression: str) -> pd.Series:
    """One column of the map, of the type its name calls for.

    Raises:
        ValueError: an expression that does not fit, or a cell that does not, with file, line and value.
    """
    target, column = TARGETS.get(name, name), single_column(expression, map(str, cells.frame))
    if target in LISTS:
        if column is None:
            raise ValueError(f"map has {name}={expression}; it must be a column of lists")
        lists = cells.lists(column)
        return lists.map(lambda curve: curve or ()) if target in CURVES else lists
    if column is None:
        is_error = target == "error_percent" or seed_of(name) is not None
        try:
            values = evaluate(expression, cells.frame, partial(cells.numbers, percent=is_error))
        except ValueError as error:
            file = "" if str(error).startswith(str(cells.path)) else f"{cells.path}: "  # a bad cell names its file
            raise ValueError(f"{file}{error}") from None
    elif target in TEXTS:
        return cells.text(column)
    elif target == "error_percent" or seed_of(name) is not None:
        return cells.numbers(column, percent=True)
    elif target in (*POSITIVE, *WHOLE):
        values = cells.numbers(column)
    else:
        return cells.typed(column, parameter=True)
    if target in TEXTS:
        return values.map(as_text)
    if target in POSITIVE:
        _require(
            cells, name, values, values.isna() | (np.isfinite(values) & (values > 0)), "finite and above 0, or empty"
        )
    if target in WHOLE:
        _require(cells, name, values, np.isfinite(values) & (values % 1 == 0), "a whole number in every row")
    return as_integers(values)


def block_widths(cells: Cells, widths: pd.Series, depths: pd.Series | None = None) -> pd.Series:
    """The width of every block as tuples of integers, None where it is unknown.

    Args:
        cells: the file, for places.
        widths: of each block, or with `depths` of each stage; tuples of numbers or None.
        depths: blocks of each stage.

    Raises:
        ValueError: a width or depth that is not a positive whole number, or lists of different lengths.
    """
    rows: list[tuple[int, ...] | None] = []
    for row, stage_widths in enumerate(widths):
        stage_depths = None if depths is None else depths.iloc[row]
        for name, values in (("widths", stage_widths), ("depths", stage_depths)):
            if values is not None and not (values and all(1 <= v <= LARGEST and v % 1 == 0 for v in values)):
                raise cells.error(row, name, _plain(values), f"must be whole numbers from 1 to {LARGEST:,}")
        if stage_widths is None:
            rows.append(None)
        elif depths is None:
            rows.append(tuple(map(int, stage_widths)))
        elif stage_depths is None or len(stage_depths) != len(stage_widths):
            allowed = f"must have as many values as widths ({len(stage_widths)})"
            raise cells.error(row, "depths", _plain(stage_depths or ()), allowed)
        else:
            rows.append(tuple(int(w) for w, d in zip(stage_widths, stage_depths, strict=True) for _ in range(int(d))))
    return pd.Series(rows, dtype=object)


def check_errors(cells: Cells, name: str, expression: str, errors: pd.Series, status: pd.Series | None) -> None:
    """ValueError where errors cannot be percent, or may be fractions or accuracies.

    `error_percent` in place of `error` states that they are errors in percent, and only leaves the range to check.

    Args:
        cells: the file, for places.
        name, expression: of the column map.
        errors: floats, NaN or infinite for failures.
        status: of each row, None where nothing is said; errors of rows that are not ok are not used.
    """
    used = np.isfinite(errors) if status is None else np.isfinite(errors) & (status.isna() | (status == OK))
    _require(cells, name, errors, ~used | errors.between(0, 100), "from 0 to 100 percent")
    if name.startswith("error_percent") or not used.any():
        return
    column = single_column(expression, map(str, cells.frame))
    certain = f"error_percent{name.removeprefix('error')}={expression}"
    low, high = errors[used].min(), errors[used].max()
    term = quoted(column) if column else f"({expression})"
    if column and _ACCURACY.search(column) and not _ERROR.search(column):
        right = f"100-{term}" if high > 1 else f"100-100*{term}"
        raise ValueError(
            f"{cells.path}: {name} = {expression}: looks like an accuracy; write --map '{name}={right}', "
            f"or '{certain}' if it is an error in percent"
        )
    if high <= 1:
        raise ValueError(
            f"{cells.path}: {name} = {expression}: no value is above 1, but percent is expected; for fractions write "
            f"--map '{name}=100*{term}', or '{certain}' if it is percent"
        )
    if low >= 99 and not column:
        raise ValueError(
            f"{cells.path}: {name} = {expression}: no value is below 99; if the accuracy is a fraction write "
            f"--map '{name}=100-100*ACCURACY', or '{certain}' if the errors are that large"
        )


def _require(cells: Cells, name: str, values: pd.Series, valid: pd.Series, allowed: str) -> None:
    wrong = np.flatnonzero(~valid.to_numpy())
    if len(wrong):
        more = f" (and in {len(wrong) - 1:,} more {cells.unit}s)" if len(wrong) > 1 else ""
        (value,) = _plain([float(values.iloc[wrong[0]])])
        raise cells.error(wrong[0], name, value, f"must be {allowed}{more}")


def _plain(values: Sequence[float]) -> list[float]:
    return [value if value % 1 else int(value) for value in values]


WORDS = {
    OK: ("ok", "success", "succeeded", "successful", "done", "complete", "completed", "finished", "terminated"),
    MISSING: (
        *("missing", "running", "pending", "waiting", "queued", "scheduled", "paused"),
        *("preempted", "preempting", "node_fail"),
    ),
    "diverged": ("diverged", "nan"),
    "timeout": ("timeout", "timed_out"),
    "out_of_memory": ("out_of_memory", "oom"),
    "pruned": ("pruned",),
    "killed": ("killed", "cancelled", "canceled", "aborted", "interrupted"),
    "crashed": ("crashed", "crash", "failed", "fail", "failure", "error", "errored"),
}
"""Our statuses and the words for them, in any case, "_" also as " " or "-". All but ok and missing are failures.

A machine that was taken away (preempted, node_fail) says nothing about the network, which is then not trained yet. A
pruned trial was stopped because its first epochs looked bad: a failure of its own kind, since leaving it out would
flatter the space and its intermediate error is not a final one. Ray's TERMINATED also covers trials that a scheduler
stopped early, which the word does not say."""

_MEANINGS = {word: status for status, words in WORDS.items() for word in words}


def read_statuses(words: pd.Series, place: str) -> tuple[pd.Series, str]:
    """Status words as ours.

    Args:
        words: text, None where nothing is said.
        place: the file, for the error.

    Returns:
        Our statuses, None where nothing is said; a sentence on how words of other tools were read, "" without any.

    Raises:
        ValueError: words that are not in WORDS.
    """
    meanings = {word: _MEANINGS.get(_normal(word)) for word in words.dropna().unique()}
    unknown = [word for word, status in meanings.items() if status is None]
    if unknown:
        counts = ", ".join(f"{shorten(word)} ({int((words == word).sum())})" for word in unknown[:10])
        allowed = "; ".join(f"{status}: {', '.join(spellings)}" for status, spellings in WORDS.items())
        raise ValueError(f"{place}: status = {counts}: unknown; understood in any case are {allowed}")
    foreign = {status: [word for word, own in meanings.items() if own == status != word] for status in WORDS}
    parts = [f"{', '.join(spellings)} as {_meaning(status)}" for status, spellings in foreign.items() if spellings]
    return words.map(meanings).where(words.notna(), None), f"status words are read: {'; '.join(parts)}" if parts else ""


def _normal(word: str) -> str:
    """TrialState.COMPLETE as complete, "Timed out" as timed_out."""
    return word.rpartition(".")[2].strip().casefold().replace(" ", "_").replace("-", "_")


def _meaning(status: str) -> str:
    if status == OK:
        return status
    return "not trained yet" if status == MISSING else f"{status} (a failure)"


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
