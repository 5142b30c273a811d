"""Conversion of the columns of a file to those of our table: column map, status words, names and outcomes."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np
import pandas as pd

from analysis.expressions import single_column
from analysis.readers.cells import LARGEST, Cells, as_integers, as_text
from analysis.rows import MISSING, OK
from designspace.expressions import list_columns, parse_expression, quoted
from designspace.study import CURVES, PARTS, STOPPED
from designspace.validated import cut, shorten

TEXTS = ("spec_id", "draw_id", "space", "status", "message", "recipe_id", "data_id", "proposed_by")
POSITIVE = ("macs", "params", "acts", "depth", "latency_ms")
INTEGERS = ("index", "seed")
LISTS = ("block_widths", "stage_depths", *CURVES, *PARTS)
TARGETS = {
    "error": "error_percent",
    "name": "spec_id",
    "widths": "block_widths",
    "depths": "stage_depths",
    **{name: name for name in ("error_percent", *TEXTS, *POSITIVE, *INTEGERS, *LISTS)},
}
"""Names in a column map and the columns they set. `error_1`, `error_2`, … are the errors of several seeds; any other
name becomes a parameter."""

STATUS_WORDS = {
    OK: ("ok", "success", "succeeded", "successful", "done", "complete", "completed", "finished", "terminated"),
    MISSING: (
        *("missing", "running", "pending", "waiting", "queued", "scheduled", "paused"),
        *("preempted", "preempting", "node_fail"),
    ),
    "diverged": ("diverged", "nan"),
    "timeout": ("timeout", "timed_out"),
    "out_of_memory": ("out_of_memory", "oom"),
    STOPPED: ("stopped",),
    "pruned": ("pruned",),
    "killed": ("killed", "cancelled", "canceled", "aborted", "interrupted"),
    "crashed": ("crashed", "crash", "failed", "fail", "failure", "error", "errored"),
}
"""Our statuses and the words of Optuna, W&B, Ray Tune, MLflow and SLURM for them, ignoring case, with "_", " " or "-".

All but ok, missing and stopped, the status of our own records, are failures. A lost machine (preempted, node_fail) says
nothing about the network, which counts as not trained yet. A pruned trial was stopped for its poor first epochs: its
error is not final, and leaving it out would flatter the space. Ray also reports TERMINATED for trials that a scheduler
stopped early."""

_STATUSES = {word: status for status, words in STATUS_WORDS.items() for word in words}
_SEED = re.compile(r"error_(?:percent_)?(\d+)")
_ACCURACY = re.compile(r"acc|top.?\d|prec|score", re.IGNORECASE)
_ERROR = re.compile(r"err|miss|loss|wrong", re.IGNORECASE)


def seed_of(name: str) -> int | None:
    """The seed of an error column: 2 for error_2 and error_percent_2, None for other names."""
    match = _SEED.fullmatch(name)
    return int(match[1]) if match else None


def check_names(columns: Mapping[str, str]) -> None:
    """Raise ValueError if two names of a column map exclude each other."""
    targets: dict[str, str] = {}
    for name in columns:
        target = TARGETS.get(name, name)
        if target in targets:
            raise ValueError(f"columns = {targets[target]}, {name}: must have only one of them, both set {target}")
        targets[target] = name
    if "stage_depths" in targets and "block_widths" not in targets:
        raise ValueError("columns = depths: must also have widths, the width of each stage")
    seeds = [name for name in columns if seed_of(name) is not None]
    single = [targets[target] for target in ("error_percent", "seed") if target in targets]
    if seeds and single:
        raise ValueError(
            f"columns = {single[0]}, {seeds[0]}: must have only one of them; error_1, error_2, … imply the seed"
        )


def read_column(cells: Cells, name: str, expression: str) -> pd.Series:
    """Evaluate one item of the column map, with the type that its name requires.

    Raises:
        ValueError: an invalid expression, or a cell of another type.
    """
    names = list(map(str, cells.frame))
    target, column = TARGETS.get(name, name), single_column(expression, names)
    is_error = target == "error_percent" or seed_of(name) is not None
    if target in LISTS:
        if column is None:
            rule = f"must be a column of lists; columns: {list_columns(names)}"
            raise ValueError(f"{cells.path}: {cut(name)} = {shorten(expression)}: {rule}")
        lists = cells.lists(column)
        return lists.map(lambda curve: curve or ()) if target in (*CURVES, *PARTS) else lists
    if column is None:
        try:
            parsed = parse_expression(expression.strip(), names)
        except ValueError as error:
            raise ValueError(f"{cells.path}: {cut(name)} = {error}") from None
        values = parsed.evaluate(partial(cells.numbers, percent=is_error))
        if not isinstance(values, pd.Series):
            values = pd.Series(float(values), index=cells.frame.index)
    elif target in TEXTS:
        return cells.text(column)
    elif is_error:
        return cells.numbers(column, percent=True)
    elif target in (*POSITIVE, *INTEGERS):
        values = cells.numbers(column)
    else:
        return cells.typed(column, parameter=True)
    if target in TEXTS:
        return values.map(as_text)
    if target in POSITIVE:
        positive = np.isfinite(values) & (values > 0)
        _require(cells, name, values, values.isna() | positive, "finite and above 0, or empty")
    if target in INTEGERS:
        _require(cells, name, values, np.isfinite(values) & (values % 1 == 0), "a whole number in every row")
    return as_integers(values)


def block_widths(cells: Cells, widths: pd.Series, depths: pd.Series | None = None) -> pd.Series:
    """The width of every block as tuples of integers, None if unknown.

    Args:
        cells: the file, for messages.
        widths: tuples of numbers or None; one number per block, or per stage if `depths` is given.
        depths: number of blocks of each stage.

    Raises:
        ValueError: a width or depth that is not a positive integer, or lists of different lengths.
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
            rule = f"must have as many values as widths ({len(stage_widths)})"
            raise cells.error(row, "depths", _plain(stage_depths or ()), rule)
        else:
            rows.append(tuple(int(w) for w, d in zip(stage_widths, stage_depths, strict=True) for _ in range(int(d))))
    return pd.Series(rows, dtype=object)


def check_errors(cells: Cells, name: str, expression: str, errors: pd.Series, status: pd.Series | None) -> None:
    """Raise ValueError for errors outside 0 to 100, or that may be fractions or accuracies.

    A column mapped to `error_percent` instead of `error` is assumed to be in percent; only its range is checked.

    Args:
        cells: the file, for messages.
        name, expression: item of the column map.
        errors: floats, NaN or infinite for failures.
        status: our statuses, None if absent; only errors of ok rows are checked.
    """
    used = np.isfinite(errors) if status is None else np.isfinite(errors) & (status.isna() | (status == OK))
    _require(cells, name, errors, ~used | errors.between(0, 100), "from 0 to 100 percent")
    if name.startswith("error_percent") or not used.any():
        return
    column = single_column(expression, map(str, cells.frame))
    field = f"{cells.path}: {name} = {expression}: must be the error in percent"
    confirm = f"error_percent{name.removeprefix('error')}={expression}"
    low, high = errors[used].min(), errors[used].max()
    term = quoted(column) if column else f"({expression})"
    if column and _ACCURACY.search(column) and not _ERROR.search(column):
        corrected = f"100-{term}" if high > 1 else f"100-100*{term}"
        raise ValueError(f"{field}, but {term} looks like an accuracy; map {name}={corrected}, or {confirm} to confirm")
    if high <= 1:
        raise ValueError(f"{field}, but no value is above 1; map {name}=100*{term}, or {confirm} to confirm")
    if low >= 99 and not column:
        raise ValueError(
            f"{field}, but no value is below 99; map {name}=100-100*ACCURACY if the accuracy is a fraction, "
            f"or {confirm} to confirm"
        )


def read_statuses(statuses: pd.Series, file: str) -> tuple[pd.Series, str]:
    """Translate the status words of other tools.

    Args:
        statuses: text, None if absent.
        file: its name, for messages.

    Returns:
        Our statuses, None if absent; and a sentence about the translated words, or "".

    Raises:
        ValueError: a word that is not in STATUS_WORDS.
    """
    meanings = {word: _STATUSES.get(_normalized(word)) for word in statuses.dropna().unique()}
    unknown = [word for word, status in meanings.items() if status is None]
    if unknown:
        counts = ", ".join(f"{shorten(word)} ({int((statuses == word).sum())})" for word in unknown[:10])
        allowed = "; ".join(f"{status}: {', '.join(spellings)}" for status, spellings in STATUS_WORDS.items())
        raise ValueError(f"{file}: status = {counts}: unknown; must be one of (ignoring case) {allowed}")
    translated = {status: [w for w, own in meanings.items() if own == status != w] for status in STATUS_WORDS}
    parts = [f"{', '.join(foreign)} as {_meaning(status)}" for status, foreign in translated.items() if foreign]
    sentence = f"status words read: {'; '.join(parts)}" if parts else ""
    return statuses.map(meanings).where(statuses.notna(), None), sentence


def _normalized(word: str) -> str:
    """TrialState.COMPLETE as complete, "Timed out" as timed_out."""
    return word.rpartition(".")[2].strip().casefold().replace(" ", "_").replace("-", "_")


def _meaning(status: str) -> str:
    if status in (OK, STOPPED):
        return status
    return "not trained yet" if status == MISSING else f"{status} (a failure)"


def with_names(frame: pd.DataFrame, file: str, places: Sequence[str]) -> tuple[pd.DataFrame, str]:
    """Fill in the space, name and index of every model; also return a note on repeated names, or "".

    A row without a name is a separate model. Without seeds, every row of a name is a separate model.

    Args:
        frame: one row per model, or per training if it has the column `seed`; columns `space`, `spec_id`, `index` if
            the file has them.
        file: name of the file: default space, and prefix of generated names.
        places: place of each row in the file, such as "line 3".
    """
    frame = frame if "space" in frame else frame.assign(space=file)
    generated = [f"{file} {place}" for place in places]
    if "spec_id" not in frame and "index" in frame:
        generated = [f"{file}-{index}" for index in frame["index"]]
    names = frame["spec_id"] if "spec_id" in frame else pd.Series(None, index=frame.index, dtype=object)
    named = names.notna() & (names != "")
    frame = frame.assign(
        spec_id=names.astype(object).where(named, pd.Series(generated, index=frame.index, dtype=object))
    )
    note = ""
    if "seed" not in frame:
        repeat = frame.groupby(["space", "spec_id"]).cumcount()
        frame["spec_id"] += [f" #{number + 1}" if number else "" for number in repeat]
        repeated = int((repeat == 1).sum())
        if repeated:
            note = (
                f"{repeated:,} {'name repeats' if repeated == 1 else 'names repeat'}; without a seed column each row "
                "counts as a separate model; map seed if the rows are seeds"
            )
    if "index" not in frame:
        frame["index"] = frame.groupby(["space", "spec_id"], sort=False).ngroup()
    return frame, note


def one_row_per_seed(frame: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
    """Turn the columns error_1, error_2, … into rows, with the number as seed."""
    if not names:
        return frame
    parts = [frame.drop(columns=list(names)).assign(seed=seed_of(name), error_percent=frame[name]) for name in names]
    return pd.concat(parts, ignore_index=True)


def with_outcomes(frame: pd.DataFrame) -> tuple[pd.DataFrame, int]:
    """Add the columns of every table; also return how many errors of models that are not ok were removed.

    Without a status, a row with an error is ok. A row that is ok but has no error crashed; one whose error is infinite
    diverged.

    Args:
        frame: column `error_percent`, and `status` (ours, None if absent) if the file has it.
    """
    absent = dict.fromkeys((*TEXTS, "spec", "block_widths")) | dict.fromkeys(("macs", "params", "acts"), np.nan)
    frame = frame.assign(
        **{name: value for name, value in (absent | {"seed": 0, "proposed_by": ""}).items() if name not in frame}
    )
    errors, status = frame["error_percent"].astype(float), frame["status"].astype(object)
    ok = status.isna() | (status == OK)
    reasons = pd.Series("", index=frame.index, dtype=object)
    for outcome, rows, reason in (
        (OK, ok, ""),
        ("crashed", ok & errors.isna(), "no error in the table"),
        ("diverged", ok & np.isinf(errors), "the error is not finite"),
    ):
        status, reasons = status.mask(rows, outcome), reasons.mask(rows, reason)
    message = frame["message"].astype(object).fillna("").astype(str)
    frame = frame.assign(
        status=status, error_percent=errors.where(status == OK), message=message.where(message != "", reasons)
    )
    return frame, int((np.isfinite(errors) & (status != OK)).sum())


def _require(cells: Cells, name: str, values: pd.Series, valid: pd.Series, rule: str) -> None:
    invalid = np.flatnonzero(~valid.to_numpy())
    if len(invalid):
        more = len(invalid) - 1
        others = f" ({more:,} more {cells.unit}{'s' if more > 1 else ''} too)" if more else ""
        (value,) = _plain([float(values.iloc[invalid[0]])])
        raise cells.error(invalid[0], name, value, f"must be {rule}{others}")


def _plain(values: Sequence[float]) -> list[float]:
    return [value if value % 1 else int(value) for value in values]
