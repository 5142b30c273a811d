"""Draw the populations of a study, one per space, and check them against the data."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from designspace.spaces import merge, space_from_config
from designspace.study import StudyModel, record_key
from sweeps.config import DataConfig, DeviceConfig, Recipe
from sweeps.data import open_data, prepare_data

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Drawn:
    """The models of a study in the order (index, space, seed), with the ids and the sampling report of each space."""

    models: tuple[StudyModel, ...]
    sampling: dict[str, dict[str, Any]]
    recipe_id: str
    data_id: str


def space_mapping(config: Mapping[str, Any], label: str, image: Mapping[str, int]) -> dict[str, Any]:
    """Return a space as a mapping for `designspace.spaces.space_from_config`.

    Args:
        config: the study's config; `template`, `complexity` and `duplicates` are defaults that a space may override.
        label: the space's name in the study.
        image: resolution, in_channels and classes of the data, the defaults of the template.
    """
    space = config["spaces"][label]
    from_data = {
        "resolution": image["resolution"],
        "in_channels": image["in_channels"],
        "head": {"classes": image["classes"]},
    }
    return {
        "name": label,  # the key of the random stream, so that two spaces of a study are drawn independently
        "duplicates": config["duplicates"],
        **space,
        "template": merge(merge(from_data, config["template"]), space.get("template") or {}),
        "constraints": {**config["complexity"], **(space.get("constraints") or {})},
    }


def draw(config: Mapping[str, Any]) -> Drawn:
    """Prepare the data and draw `n` models from every space.

    Raises:
        ValueError: a config value is not allowed, or a model does not fit the data.
    """
    if not config["spaces"]:
        raise ValueError("spaces is empty; allowed: at least one, like +space@spaces.mine=regnetx, or an experiment")
    recipe = Recipe.from_mapping(config["recipe"])
    DeviceConfig.from_mapping(config["device"])
    data = DataConfig.from_mapping(config["data"])
    prepare_data(data)
    splits = open_data(data)
    if advice := recipe.advice(len(splits.train_labels)):
        log.warning(advice)
    image = {"resolution": splits.resolution, "in_channels": splits.in_channels, "classes": splits.classes}
    models, sampling = [], {}
    for label in config["spaces"]:
        population = space_from_config(space_mapping(config, label, image)).sample(config["n"], config["seed"])
        report = population.report
        sampling[label] = {
            "asked": config["n"],
            "drawn": report.drawn,
            "kept": report.kept,
            "acceptance": report.acceptance,
            "rejected": dict(report.rejected),
            "distinct": report.distinct,
            "duplicates": report.duplicates,
            "duplicate_share": report.duplicate_share,
        }
        for row in population.rows():
            _check_fits(label, row["index"], row["spec"], image)
            for seed in config["training_seeds"]:
                key = record_key(row["spec_id"], recipe.recipe_id, splits.data_id, seed)
                models.append(StudyModel(**(row | {"key": key, "space": label, "seed": seed})))
    order = {label: number for number, label in enumerate(config["spaces"])}
    models.sort(key=lambda model: (model.index, order[model.space], model.seed))
    return Drawn(tuple(models), sampling, recipe.recipe_id, splits.data_id)


def _check_fits(label: str, index: int, spec: Mapping[str, Any], image: Mapping[str, int]) -> None:
    fixed = {
        "classes": spec["head"]["classes"],
        "in_channels": spec["in_channels"],
    }  # images are resized to the resolution
    for field, value in fixed.items():
        if value != image[field]:
            raise ValueError(f"spaces.{label}: model {index} has {field}={value}; the data need {field}={image[field]}")
