"""Learning rates and weight decays drawn with the networks: parameters of one recipe, arXiv 2003.13678, figure 21."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from analysis import load
from designspace.spaces import space_from_config
from designspace.study import Record, StudyModel, lines_hash, record_key

RATES = {
    "learning_rate": {"distribution": "log_uniform", "low": 0.01, "high": 1, "step": None},
    "weight_decay": {"distribution": "log_uniform", "low": 1e-5, "high": 1e-3, "step": None},
}
SEEDS = (0, 1)


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """One network with 60 drawn rates, each trained with two seeds; the error depends on the product of the rates."""
    config = {
        "family": "compound",
        "spec": "RegNetX-200MF",
        "parameters": {"growth": {"distribution": "choice", "options": [1]}},
    }
    config["parameters"] |= RATES
    (tmp_path / "records").mkdir()
    models = []
    for row in space_from_config({"name": "one", **config}).sample(60).rows():
        for seed in SEEDS:
            own_recipe = f"recipe{row['index']}"
            key = record_key(row["spec_id"], own_recipe, "data", seed)
            model = StudyModel(**(row | {"space": "one", "key": key, "seed": seed}))
            product = np.log10(row["parameters"]["learning_rate"] * row["parameters"]["weight_decay"])
            record = Record(model.spec_id, own_recipe, "data", seed, "ok", error_percent=10 + abs(product + 5) + seed)
            (tmp_path / "records" / f"{key}.json").write_text(record.to_json())
            models.append(model)
    lines = [model.to_line() for model in models]
    manifest = {"config": {"n": 60, "spaces": {"one": config}}, "recipe_id": "recipe", "data_id": "data"}
    manifest |= {"models": len(lines), "models_sha256": lines_hash(lines)}
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    (tmp_path / "models.jsonl").write_text("".join(line + "\n" for line in lines))
    return tmp_path


def test_a_network_with_other_rates_is_another_model_of_the_same_recipe(study: Path) -> None:
    table = load(study)
    assert set(table.frame["recipe_id"]) == {"recipe"}
    models = table.models()
    assert len(models) == 60
    assert models["seeds"].tolist() == [2] * 60
    assert set(RATES) <= set(table.parameters)


def test_the_error_follows_the_product_of_the_rates(study: Path) -> None:
    table = load(study)
    product = "learning_rate*weight_decay"
    groups = table.trends(product).frame
    assert set(groups["parameter"]) == {product}
    best = groups.loc[groups["mean"].idxmin(), "value"]
    assert 1e-5 / 4 < best < 1e-5 * 4
    assert groups["mean"].iloc[[0, -1]].min() > groups["mean"].min() + 1
    thirds = table.by(f"{product}:3")
    assert len(thirds.spaces) == 3
    assert all(label.startswith(product) for label in thirds.spaces)
    assert len(thirds.compare(match=None).frame) == 3  # pairs


@pytest.mark.parametrize(
    ("parameter", "message"),
    [
        ("learning_rate*decay", r"parameter = learning_rate\*decay: column = decay: unknown"),
        ("learning_rate**2", r"parameter = .*: must consist of numbers, columns"),
        ("learning", "parameter = learning: unknown; did you mean learning_rate"),
    ],
)
def test_wrong_expressions_are_one_line(study: Path, parameter: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load(study).trends(parameter)
    with pytest.raises(ValueError, match=message.replace("parameter = ", "by = ")):
        load(study).by(f"{parameter}:2")
