"""Recipes: the schedule's shape, identity, and the sentences about mistakes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from command import ROOT
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf

from sweeps.config import DataConfig, DeviceConfig, Recipe

CONF = ROOT / "conf"

recipes = st.builds(
    Recipe,
    epochs=st.integers(2, 20),
    schedule=st.sampled_from(["cosine", "linear"]),
    warmup_epochs=st.sampled_from([0, 0.3, 0.5, 1, 1.5]),
)


def mapping(config: Any) -> dict[str, Any]:
    plain = OmegaConf.to_container(config, resolve=True)
    assert isinstance(plain, dict)
    return {str(key): value for key, value in plain.items()}


@given(recipes, st.integers(8, 60))
def test_the_learning_rate_rises_once_and_falls_once(recipe: Recipe, per_epoch: int) -> None:
    rates = [recipe.learning_rate_at(update, per_epoch) for update in range(recipe.epochs * per_epoch)]
    peak = rates.index(max(rates))
    assert rates[: peak + 1] == sorted(rates[: peak + 1])
    assert rates[peak:] == sorted(rates[peak:], reverse=True)
    assert peak <= recipe.warmup_epochs * per_epoch + 1
    assert min(rates) > 0
    assert max(rates) <= recipe.peak_learning_rate
    assert rates[-1] < 0.6 * max(rates)


def test_half_way_through_its_fall_either_schedule_is_at_half_the_peak() -> None:
    for schedule in ("cosine", "linear"):
        recipe = Recipe(epochs=4, warmup_epochs=0, schedule=schedule, learning_rate=0.2)
        assert recipe.learning_rate_at(20, 10) == pytest.approx(0.1)


def test_the_peak_scales_with_the_batch() -> None:
    assert Recipe(learning_rate=0.2, reference_batch_size=32, batch_size=128).peak_learning_rate == pytest.approx(0.8)
    assert Recipe(learning_rate=0.2, reference_batch_size=None, batch_size=128).peak_learning_rate == pytest.approx(0.2)


def test_identity_is_what_can_change_a_result() -> None:
    assert Recipe(name="a", eval_batch_size=64).recipe_id == Recipe().recipe_id
    changed: list[dict[str, object]] = [
        {"epochs": 3},
        {"schedule": "linear"},
        {"flip": True},
        {"weight_decay": 1e-4},
        {"label_smoothing": 0.1},
    ]
    assert len({Recipe.from_mapping(change).recipe_id for change in changed} | {Recipe().recipe_id}) == len(changed) + 1


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"epochs": 0}, r"epochs = 0: .*greater than or equal to 1"),
        ({"schedule": "step"}, r"schedule = 'step': .*'cosine', 'linear' or 'constant'"),
        ({"learning_rate": float("nan")}, r"learning_rate = nan"),
        ({"lr": 0.1}, r"lr: unknown key"),
        ({"epochs": 1, "warmup_epochs": 1}, r"warmup_epochs = 1: must be less than epochs = 1"),
        ({"momentum": 0}, r"nesterov = True: must be False when momentum = 0"),
    ],
)
def test_an_invalid_recipe_is_a_one_line_error(wrong: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        Recipe.from_mapping(wrong)
    assert "\n" not in str(caught.value)


def test_a_short_training_is_told_so() -> None:
    assert "only 62 updates" in str(Recipe(epochs=2).advice(1000)).lower()
    assert Recipe(epochs=2).advice(10_000) is None


@pytest.mark.parametrize("recipe", sorted((CONF / "recipe").glob("*.yaml")), ids=lambda path: path.stem)
@pytest.mark.parametrize("data", sorted((CONF / "data").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_recipe_file_fits_every_data_file(recipe: Path, data: Path) -> None:
    composed = OmegaConf.create({"recipe": OmegaConf.load(recipe), "data": OmegaConf.load(data)})
    plain = mapping(composed)
    assert DataConfig.from_mapping(plain["data"]).name == data.stem
    assert Recipe.from_mapping(plain["recipe"]).name == recipe.stem


@pytest.mark.parametrize("path", sorted((CONF / "device").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_device_file_is_valid(path: Path) -> None:
    assert DeviceConfig.from_mapping(mapping(OmegaConf.load(path))).device == path.stem


def test_the_default_recipe_is_the_default_file() -> None:
    assert Recipe.from_mapping(mapping(OmegaConf.load(CONF / "recipe" / "low_epoch.yaml"))) == Recipe()


@pytest.mark.parametrize(
    ("name", "epochs", "batch", "peak", "decay", "warmup"),
    [  # arXiv 1905.13214 figure 12; 2003.13678 sections 3 and 5 and figure 22; pycls R-56_nds_1gpu.yaml
        ("nds", 100, 128, 0.1, 5e-4, 0),
        ("regnet", 10, 128, 0.05, 5e-5, 0),
        ("pycls_cifar", 200, 128, 0.1, 5e-4, 0),
        ("effnet", 100, 256, 0.4, 1e-5, 5),
        ("full", 100, 1024, 0.8, 5e-5, 5),
    ],
)
def test_the_named_recipes_have_the_papers_numbers(
    name: str, epochs: int, batch: int, peak: float, decay: float, warmup: float
) -> None:
    data = {"crop_padding": 4, "flip": True}
    composed = OmegaConf.create({"recipe": OmegaConf.load(CONF / "recipe" / f"{name}.yaml"), "data": data})
    recipe = Recipe.from_mapping(mapping(composed)["recipe"])
    assert (recipe.epochs, recipe.batch_size, recipe.weight_decay, recipe.warmup_epochs) == (
        epochs,
        batch,
        decay,
        warmup,
    )
    assert recipe.peak_learning_rate == pytest.approx(peak)
    assert (recipe.momentum, recipe.nesterov, recipe.schedule) == (0.9, True, "cosine")
    assert (recipe.crop_padding, recipe.flip) == (4, True)
