"""Calibrate a recipe: one small study per recipe to try, all on the same models.

`calibrate` varies learning rate and weight decay, as the papers do before comparing spaces (arXiv 2003.13678, appendix
C). `try_recipes` varies anything, to find a cheap recipe that ranks networks like an expensive one. Every recipe is an
ordinary study in its own folder, so a killed calibration resumes from its records.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from statistics import mean, stdev
from typing import TYPE_CHECKING, Any

import yaml

from designspace.atomic import MARK, check_output, write_output
from designspace.study import Record

if TYPE_CHECKING:
    from sweeps.launch import Sweep

RESULTS = "calibration.csv"
RECOMMENDED = "recipe.yaml"
RANKING = "ranking.csv"
NO_SEARCH = ("search=null", "budget=null", "objectives=[error]")  # of an experiment

LONG_EPOCHS = 12
"""Least epochs of the reference training."""

SMALLEST_IMAGE = 8
"""Least resolution to try, in pixels."""

CLEARLY = 2.0
"""Standard errors from which a pair counts as worse than the best."""


@dataclass(frozen=True)
class Row:
    """Errors of the models trained with one pair, in percent; a failed run counts as random guessing.

    A model's error is the mean over its training seeds; it `failed` if one of its runs did. `behind_best` is the
    mean difference to the best pair over the models, `behind_best_se` its standard error. All pairs train the same
    models, so the differences are more precise than the means.
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
    config_dir: str | None = None,
) -> tuple[list[Row], dict[str, Any]]:
    """Train the first `models` models of every space of a config with each pair.

    Args:
        overrides: overrides of `designspace sweep`, except those that the other arguments set.
        learning_rates: values of `recipe.learning_rate`.
        weight_decays: values of `recipe.weight_decay`; empty: that of the recipe.
        models: number of models per space.
        out: folder for the studies, the results and the recommended recipe.
        force: whether to replace files that this tool did not write.
        config_dir: folder with further configs.
    Returns:
        The rows, the best pair first, and the recommended recipe as a mapping.
    Raises:
        ValueError: a value is not allowed, or a file exists that this tool did not write.
    """
    if not learning_rates:
        raise ValueError("lr: required; list the values to try, like --lr 0.05,0.1,0.2,0.4")
    if wrong := [value for value in learning_rates if value <= 0]:
        raise ValueError(f"lr = {wrong[0]:g}: must be greater than 0")
    if wrong := [value for value in weight_decays if value < 0]:
        raise ValueError(f"wd = {wrong[0]:g}: must be at least 0")
    own = ("n", "run", "plan", "recipe.learning_rate", *["recipe.weight_decay"] * bool(weight_decays))
    check_overrides(overrides, own)
    _check_not_drawn(overrides, own, config_dir)
    check_output(out / RESULTS, force=force, content=to_csv([]).encode())
    check_output(out / RECOMMENDED, force=force)
    records: dict[Pair, list[Record]] = {}
    recipe: dict[str, Any] = {}
    decays: list[float | None] = [*weight_decays] or [None]
    for decay in decays:
        for rate in learning_rates:
            chosen = [f"n={models}", f"recipe.learning_rate={rate!r}"]
            chosen += [] if decay is None else [f"recipe.weight_decay={decay!r}"]
            folder = out / (f"lr-{rate:g}" + ("" if decay is None else f"-wd-{decay:g}"))
            trained = _train([*overrides, *chosen], folder, config_dir)
            recipe = trained.config.recipe.to_mapping()
            records[rate, trained.config.recipe.weight_decay] = list(trained.study.read_records()[0].values())
    rows = compare(records)
    recipe |= {
        "name": "calibrated",
        "learning_rate": rows[0].learning_rate,
        "weight_decay": rows[0].weight_decay,
    }
    write_output(out / RESULTS, to_csv(rows), force=force)
    about = f"# Recommended by {out.name}/{RESULTS}, from {MARK}: {conclusion(rows)}\n"
    write_output(out / RECOMMENDED, about + yaml.safe_dump(recipe, sort_keys=False), force=force)
    return rows, recipe


def check_overrides(overrides: Sequence[str], own: Sequence[str]) -> None:
    """Raise ValueError if an override sets a key that the calibration sets itself."""
    for override in overrides:
        if override.partition("=")[0].strip("+~") in own:
            raise ValueError(f"{override}: must be left out, because the calibration sets {', '.join(own)}")


def _train(overrides: Sequence[str], run: Path, config_dir: str | None) -> Sweep:
    from sweeps.launch import sweep
    from sweeps.multirun import run_override

    options = [f"--config-dir={config_dir}"] if config_dir else []
    [trained] = sweep([*options, *NO_SEARCH, *overrides, run_override(run)])
    return trained


def try_recipes(
    overrides: Sequence[str],
    recipes: Sequence[str],
    reference: str,
    models: int,
    out: Path,
    *,
    config_dir: str | None = None,
) -> tuple[list[Path], str, str]:
    """Train the first `models` models of every space with the recipe of a config, a long one, and others.

    Args:
        overrides: overrides of `designspace sweep`, except those that the other arguments set. Two training seeds by
            default. The reference has as many others.
        recipes: overrides of each recipe to try, separated by blanks, like "epochs=2 resolution=14"; none: shorter
            trainings and smaller images.
        reference: overrides of the long training; "": 12 epochs, or three times as many as the config has.
        models: number of models per space.
        out: folder for the studies.
        config_dir: folder with further configs.
    Returns:
        The folders of the studies, and the names of the reference and of the config's own recipe.
    Raises:
        ValueError: a value is not allowed.
    """
    from sweeps.compose import compose
    from sweeps.multirun import folder_name

    check_overrides(overrides, ("n", "run", "plan"))
    if not any(override.startswith("training_seeds=") for override in overrides):
        overrides = [*overrides, "training_seeds=[0,1]"]
    config = compose([*overrides, "run=ranking"], folder=config_dir).config
    epochs, own = config.recipe.epochs, f"epochs={config.recipe.epochs}"
    reference = reference or f"epochs={max(LONG_EPOCHS, 3 * epochs)}"
    recipes = recipes or _cheaper(epochs, config.data.resolution)
    chosen = {folder_name(recipe.split()): recipe.split() for recipe in (own, reference, *recipes)}
    trainings: dict[Path, list[str]] = {}
    for name, settings in chosen.items():
        changes = [setting if setting.startswith("recipe") else f"recipe.{setting}" for setting in settings]
        if name == folder_name(reference.split()):  # equal seeds have correlated errors
            seeds = config.training_seeds
            changes.append(f"training_seeds={[max(seeds) + 1 + position for position in range(len(seeds))]}")
        trainings[out / name] = [*overrides, *changes, f"n={models}"]
        compose([*trainings[out / name], "run=ranking"], folder=config_dir)  # report errors before any training
    for folder, training in trainings.items():
        _train(training, folder, config_dir)
    studies = [*trainings]
    return studies, folder_name(reference.split()), folder_name([own])


def _cheaper(epochs: int, resolution: int | None) -> list[str]:
    """Recipes to try by default: powers of two of epochs, at full and half resolution."""
    fewer = [2**power for power in range(epochs.bit_length()) if 2**power < epochs]
    recipes = [f"epochs={count}" for count in fewer]
    if resolution is not None and resolution >= 2 * SMALLEST_IMAGE:
        recipes += [f"epochs={count} resolution={resolution // 2}" for count in (*fewer, epochs, 2 * epochs)]
    return recipes


def compare(records: Mapping[Pair, Sequence[Record]]) -> list[Row]:
    """One row per pair, lowest mean error first; a failed training counts as random guessing."""
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
    """Describe the best pair: pairs that are not clearly worse, and a warning at the edge of the range."""
    best, rates = rows[0], sorted({row.learning_rate for row in rows})
    sentence = (
        f"lr {best.learning_rate:g} and wd {best.weight_decay:g} gave the lowest mean error, "
        f"{best.mean_error:g} % over {best.models} models"
    )
    if close := [row for row in rows[1:] if row.behind_best < CLEARLY * row.behind_best_se]:
        pairs = ", ".join(f"lr {row.learning_rate:g} wd {row.weight_decay:g}" for row in close)
        sentence += f"; not clearly worse (under {CLEARLY:g} standard errors): {pairs}"
    if len(rates) > 1 and best.learning_rate in (rates[0], rates[-1]):
        sentence += "; it is at the edge of the range: widen lr"
    return sentence + "."


def to_csv(rows: Sequence[Row]) -> str:
    """Format the rows as CSV with a header."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    names = [field.name for field in fields(Row)]
    writer.writerow(names)
    writer.writerows([getattr(row, name) for name in names] for row in rows)
    return text.getvalue()


def table(rows: Sequence[Row]) -> str:
    """Format the rows for a terminal."""
    lines = ["      lr        wd  mean error  best…worst      behind best       failed"]
    for row in rows:
        behind = f"{row.behind_best:.2f} ± {row.behind_best_se:.2f}"
        span = f"{row.best_error:.1f}…{row.worst_error:.1f}"
        failed = f"{row.failed} of {row.models}"
        lines.append(
            f"{row.learning_rate:8g}  {row.weight_decay:8g}  {row.mean_error:8.2f} %  {span:12}  {behind:15}  {failed}"
        )
    return "\n".join(lines)


def _check_not_drawn(overrides: Sequence[str], own: Sequence[str], config_dir: str | None) -> None:
    """Raise ValueError if a space draws a value that the calibration sets."""
    from designspace.spaces import space_from_config
    from sweeps.compose import compose

    config = compose([*overrides, "run=calibration"], folder=config_dir).config
    for label, space in config.spaces.items():
        for name in space_from_config({"name": label, **space}).rates:
            if f"recipe.{name}" in own:
                raise ValueError(
                    f"spaces.{label}.parameters.{name}: must be null, because the calibration sets recipe.{name}"
                )


def _error(record: Record) -> float:
    if record.error_percent is not None:
        return record.error_percent
    classes = record.spec.get("head", {}).get("classes", 10)
    return 100 * (1 - 1 / classes)
