"""Which learning rate and weight decay suit a space: one small study for each pair, on the same models.

The papers do the same before they compare spaces (arXiv 2003.13678, appendix C). Every pair is an ordinary study in a
folder of its own, so a killed calibration goes on where it was and its records stay to be looked at.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import yaml

from designspace.atomic import MARK, check_output, write_output
from designspace.study import Record

EVIDENCE = "calibration.csv"
RECOMMENDED = "recipe.yaml"

CLEARLY = 2.0
"""Standard errors from which a pair is called worse than the best."""


@dataclass(frozen=True)
class Row:
    """One pair and how the models did with it; errors in percent, a failed training counting as a guess.

    A model's error is the mean over its training seeds; it `failed` if one of its trainings did. `behind_best` is the
    mean over the models of the difference to the best pair, `behind_best_se` its standard error: the models are the
    same, so the differences say more than the means.
    """

    learning_rate: float
    weight_decay: float
    models: int
    failed: int
    mean_error: float
    best_error: float
    worst_error: float
    behind_best: float = 0.0
    behind_best_se: float = 0.0


Pair = tuple[float, float]
Errors = dict[Pair, list[float]]


def calibrate(
    overrides: Sequence[str],
    learning_rates: Sequence[float],
    weight_decays: Sequence[float],
    models: int,
    out: Path,
    *,
    force: bool = False,
) -> tuple[list[Row], dict[str, Any]]:
    """Train the first `models` models of every space of a config with each pair.

    Args:
        overrides: overrides of `designspace sweep`, without those that follow from the other arguments.
        learning_rates: peaks to try, as `recipe.learning_rate` means them.
        weight_decays: values to try; empty takes the recipe's own.
        models: how many of each space.
        out: folder for the studies, the evidence and the recommended recipe.
        force: whether an evidence or recipe of other origin may be replaced.
    Returns:
        The rows, the best pair first, and the recommended recipe as a mapping.
    Raises:
        ValueError: a value or the config is not allowed, or there is a file that this tool did not write.
    """
    from sweeps.app import sweep

    if not learning_rates:
        raise ValueError("lr is empty; give the values to try, like lr=[0.05,0.1,0.2,0.4]")
    if wrong := [value for value in learning_rates if value <= 0] + [value for value in weight_decays if value < 0]:
        raise ValueError(f"lr and wd hold {wrong[0]:g}; lr must be above 0 and wd not below")
    own = ("n", "run", "plan", "recipe.learning_rate", *["recipe.weight_decay"] * bool(weight_decays))
    for word in overrides:
        if word.partition("=")[0].strip("+~") in own:
            raise ValueError(f"{word} is not allowed: {', '.join(own)} follow from models, out, lr and wd")
    check_output(out / EVIDENCE, force=force, content=to_csv([]).encode())
    check_output(out / RECOMMENDED, force=force)
    records: dict[Pair, list[Record]] = {}
    config: Mapping[str, Any] = {}
    decays: list[float | None] = [*weight_decays] or [None]
    for decay in decays:
        for rate in learning_rates:
            chosen = [f"n={models}", f"recipe.learning_rate={rate!r}"]
            chosen += [] if decay is None else [f"recipe.weight_decay={decay!r}"]
            place = out / (f"lr-{rate:g}" + ("" if decay is None else f"-wd-{decay:g}"))
            outcome = sweep([*overrides, *chosen, f"run={place}"])
            if outcome is None:
                raise ValueError("Hydra's own options show things and train nothing; give them to designspace sweep")
            study, _, config = outcome
            records[rate, config["recipe"]["weight_decay"]] = list(study.read_records()[0].values())
    rows = compare(records)
    recipe = dict(config["recipe"]) | {
        "name": "calibrated",
        "learning_rate": rows[0].learning_rate,
        "weight_decay": rows[0].weight_decay,
    }
    write_output(out / EVIDENCE, to_csv(rows), force=force)
    about = f"# Recommended by {out.name}/{EVIDENCE}, from {MARK}: {conclusion(rows)}\n"
    write_output(out / RECOMMENDED, about + yaml.safe_dump(recipe, sort_keys=False), force=force)
    return rows, recipe


def compare(records: Mapping[Pair, Sequence[Record]]) -> list[Row]:
    """One row a pair, the lowest mean error first; a failed training counts as badly as guessing."""
    errors: Errors = {}
    for pair, trained in records.items():
        of_model: dict[tuple[str, int], list[float]] = {}
        for record in sorted(trained, key=lambda record: (record.space, record.index)):
            of_model.setdefault((record.space, record.index), []).append(_error(record))
        errors[pair] = [mean(values) for values in of_model.values()]
    best = min(errors, key=lambda pair: mean(errors[pair]))
    rows = []
    for pair, values in errors.items():
        behind = [value - of_best for value, of_best in zip(values, errors[best], strict=True)]
        failed = len({(record.space, record.index) for record in records[pair] if record.error_percent is None})
        spread = stdev(behind) / len(behind) ** 0.5 if len(behind) > 1 else 0.0
        summary = (mean(values), min(values), max(values), mean(behind), spread)
        rows.append(Row(*pair, len(values), failed, *(round(value, 3) for value in summary)))
    return sorted(rows, key=lambda row: row.mean_error)


def conclusion(rows: Sequence[Row]) -> str:
    """One sentence about the winner: what is not clearly worse, and a warning at the edge of what was tried."""
    best, rates = rows[0], sorted({row.learning_rate for row in rows})
    sentence = (
        f"lr {best.learning_rate:g} and wd {best.weight_decay:g} gave the lowest mean error, "
        f"{best.mean_error:g} % over {best.models} models"
    )
    if close := [row for row in rows[1:] if row.behind_best < CLEARLY * row.behind_best_se]:
        pairs = ", ".join(f"lr {row.learning_rate:g} wd {row.weight_decay:g}" for row in close)
        sentence += f"; not clearly worse (under {CLEARLY:g} standard errors): {pairs}"
    if len(rates) > 1 and best.learning_rate in (rates[0], rates[-1]):
        sentence += "; it is at the edge of the rates tried: widen lr"
    return sentence + "."


def to_csv(rows: Sequence[Row]) -> str:
    """The rows as CSV with a header."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    names = [field.name for field in fields(Row)]
    writer.writerow(names)
    writer.writerows([getattr(row, name) for name in names] for row in rows)
    return text.getvalue()


def table(rows: Sequence[Row]) -> str:
    """The rows for a terminal."""
    lines = ["      lr        wd  mean error  best…worst      behind best       failed"]
    for row in rows:
        behind = f"{row.behind_best:.2f} ± {row.behind_best_se:.2f}"
        span = f"{row.best_error:.1f}…{row.worst_error:.1f}"
        failed = f"{row.failed} of {row.models}"
        lines.append(
            f"{row.learning_rate:8g}  {row.weight_decay:8g}  {row.mean_error:8.2f} %  {span:12}  {behind:15}  {failed}"
        )
    return "\n".join(lines)


def _error(record: Record) -> float:
    if record.error_percent is not None:
        return record.error_percent
    classes = record.spec.get("head", {}).get("classes", 10)
    return 100 * (1 - 1 / classes)
