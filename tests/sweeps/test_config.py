"""The schema of conf/ and its named choices: values, identities, schedules, and one-line errors."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweeps.compose import compose
from sweeps.config import (
    CONF,
    DataConfig,
    DeviceConfig,
    Recipe,
    load_data,
    load_device,
    load_recipe,
    spaces_by_label,
)
from sweeps.study.freeze import config_hash

recipes = st.builds(
    load_recipe,
    epochs=st.integers(2, 20),
    schedule=st.sampled_from(["cosine", "linear"]),
    warmup_epochs=st.sampled_from([0, 0.3, 0.5, 1, 1.5]),
)

RECIPE_IDS = {  # ids in the records of existing studies, on CIFAR-10
    "low_epoch": "b05fe1d9d4f904f5",
    "nds": "5a8c206afbeaf6cd",
    "pycls_cifar": "4c5fca8ea0ae1d97",
    "regnet": "762379193e6ca4ba",
    "full": "96ef2ec636cb0851",
    "effnet": "4ce31f8696a237c1",
}

CONFIG_HASHES = {  # of experiment=smoke with each data set and the recipe nds
    "fashion_mnist": "2ea7737ab40859cb",
    "digits": "39c83ba78e1588c9",
    "cifar10": "fcb1f31ae04e0a34",
    "cifar100": "4951cf6839ef96b2",
    "hf": "7ed82e565778d442",
    "image_folder": "b8e1b7f04ed6a885",
}


def choices(group: str) -> list[str]:
    return sorted(path.stem for path in (CONF / group).glob("*.yaml"))


@given(recipes, st.integers(8, 60))
def test_the_learning_rate_rises_then_falls(recipe: Recipe, per_epoch: int) -> None:
    rates = [recipe.learning_rate_at(update, per_epoch) for update in range(recipe.epochs * per_epoch)]
    peak = rates.index(max(rates))
    assert rates[: peak + 1] == sorted(rates[: peak + 1])
    assert rates[peak:] == sorted(rates[peak:], reverse=True)
    assert peak <= recipe.warmup_epochs * per_epoch + 1
    assert min(rates) > 0
    assert max(rates) <= recipe.peak_learning_rate
    assert rates[-1] < 0.6 * max(rates)


@pytest.mark.parametrize("schedule", ["cosine", "linear"])
def test_the_learning_rate_is_half_the_peak_midway_through_its_decay(schedule: str) -> None:
    recipe = load_recipe(epochs=4, warmup_epochs=0, schedule=schedule, learning_rate=0.2)
    assert recipe.learning_rate_at(20, 10) == pytest.approx(0.1)


def test_the_peak_scales_with_the_batch_size() -> None:
    scaled = load_recipe(learning_rate=0.2, reference_batch_size=32, batch_size=128)
    assert scaled.peak_learning_rate == pytest.approx(0.8)
    fixed = load_recipe(learning_rate=0.2, reference_batch_size=None, batch_size=128)
    assert fixed.peak_learning_rate == pytest.approx(0.2)


def test_recipe_id_covers_what_changes_a_result() -> None:
    base = load_recipe().recipe_id
    assert load_recipe(name="a", eval_batch_size=64).recipe_id == base
    changed: list[dict[str, Any]] = [
        {"epochs": 3},
        {"schedule": "linear"},
        {"flip": True},
        {"weight_decay": 1e-4},
        {"label_smoothing": 0.1},
    ]
    assert len({load_recipe(**change).recipe_id for change in changed} | {base}) == len(changed) + 1


@pytest.mark.parametrize("recipe", choices("recipe"))
def test_named_recipes_keep_their_ids(recipe: str) -> None:
    assert load_recipe(recipe, load_data("cifar10")).recipe_id == RECIPE_IDS[recipe]


@pytest.mark.parametrize(
    ("experiment", "expected"), [("smoke", "ff6b5cb041a3d21b"), ("bottleneck_demo", "3c0540db47ff4088")]
)
def test_experiments_keep_their_config_hash(experiment: str, expected: str) -> None:
    assert config_hash(compose([f"experiment={experiment}"]).values) == expected


@pytest.mark.parametrize("data", choices("data"))
def test_data_sets_keep_their_config_hash(data: str) -> None:
    values = compose(["experiment=smoke"]).values
    other = compose([f"data={data}", "recipe=nds", "run=x"]).values
    assert config_hash(values | {"data": other["data"], "recipe": other["recipe"]}) == CONFIG_HASHES[data]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"epochs": 0}, r"^epochs = 0: must be at least 1$"),
        ({"schedule": "step"}, r"^schedule = 'step': must be one of cosine, linear, constant$"),
        ({"learning_rate": float("nan")}, r"^learning_rate = nan"),
        ({"lr": 0.1}, r"^lr.*unknown"),
        ({"epochs": 1, "warmup_epochs": 1}, r"^warmup_epochs = 1: must be less than epochs = 1$"),
        ({"momentum": 0}, r"^nesterov = True: must be False when momentum = 0$"),
    ],
)
def test_an_invalid_recipe_is_a_one_line_error(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        load_recipe(**wrong)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("load", "name", "message"),
    [
        (load_recipe, "low_epochs", r"^recipe = low_epochs: unknown; did you mean low_epoch"),
        (load_data, "cifar", r"^data = cifar: unknown; did you mean cifar10"),
        (load_device, "gpu", r"^device = gpu: unknown"),
        (load_recipe, "nds", r"^recipe = nds: depends on the data set, so data is required$"),
    ],
)
def test_an_unknown_choice_is_a_one_line_error(load: Any, name: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load(name)


def test_a_short_training_has_a_warning() -> None:
    assert "only 62 updates" in str(load_recipe(epochs=2).advice(1000))
    assert load_recipe(epochs=2).advice(10_000) is None


@pytest.mark.parametrize("recipe", choices("recipe"))
@pytest.mark.parametrize("data", choices("data"))
def test_python_and_command_line_load_the_same_values(recipe: str, data: str) -> None:
    config = compose([f"recipe={recipe}", f"data={data}", "run=x"]).config
    assert config.data == load_data(data)
    assert config.recipe == load_recipe(recipe, config.data)
    assert (config.data.name, config.recipe.name) == (data, recipe)


@pytest.mark.parametrize("device", choices("device"))
def test_devices_are_named_after_their_device(device: str) -> None:
    assert load_device(device) == load_device(device=device) == compose([f"device={device}", "run=x"]).config.device


def test_the_schema_of_data_and_device_has_the_defaults_of_the_files() -> None:
    assert DeviceConfig() == load_device()
    unset = {
        name: value for name, value in load_data("hf") if name not in ("resolution", "in_channels", "crop_padding")
    }
    assert DataConfig(name="hf").model_dump(include=set(unset)) == unset | {"validation_fraction": 0.1, "flip": False}


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
def test_named_recipes_have_the_numbers_of_the_papers(
    name: str, epochs: int, batch: int, peak: float, decay: float, warmup: float
) -> None:
    recipe = load_recipe(name, load_data("cifar10"))
    assert (recipe.epochs, recipe.batch_size, recipe.weight_decay) == (epochs, batch, decay)
    assert recipe.warmup_epochs == warmup
    assert recipe.peak_learning_rate == pytest.approx(peak)
    assert (recipe.momentum, recipe.nesterov, recipe.schedule) == (0.9, True, "cosine")
    assert (recipe.crop_padding, recipe.flip) == (4, True)


@pytest.mark.parametrize(
    ("spaces", "labels"),
    [
        (["regnetx", "regnety"], {"regnetx": {"base": "regnetx"}, "regnety": {"base": "regnety"}}),
        (["my_spaces:pyramids"], {"pyramids": {"base": "my_spaces:pyramids"}}),
        ("regnetx", {"regnetx": {"base": "regnetx"}}),
        ({"mine": "regnetx"}, {"mine": {"base": "regnetx"}}),
        ({"mine": {"base": "regnetx", "increasing": []}}, {"mine": {"base": "regnetx", "increasing": []}}),
    ],
)
def test_spaces_are_named_in_three_ways(spaces: object, labels: dict[str, Any]) -> None:
    assert spaces_by_label(spaces) == labels


@pytest.mark.parametrize(
    ("spaces", "message"),
    [
        (["regnetx", "regnetx"], r"^spaces = \['regnetx', 'regnetx'\]: must be different"),
        (3, r"^spaces = 3: must be a list of names, or a mapping"),
        (None, r"^spaces = None: must be"),
    ],
)
def test_other_types_of_spaces_are_errors(spaces: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        spaces_by_label(spaces)


def test_the_schema_does_not_import_torch() -> None:
    program = "import sys, sweeps.config; sweeps.config.load_recipe(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], cwd=Path(CONF).parent, check=False).returncode == 0


def test_a_space_file_is_a_space_of_a_study(tmp_path: Path) -> None:
    file = tmp_path / "next.yaml"
    file.write_text("base: anynetx_a\nrestrict: width <= 64\n")
    content = {"base": "anynetx_a", "restrict": "width <= 64"}
    assert spaces_by_label([str(file), "regnetx"]) == {"next": content, "regnetx": {"base": "regnetx"}}
    assert spaces_by_label({"mine": str(file)}) == {"mine": content}
    with pytest.raises(FileNotFoundError):
        spaces_by_label([str(tmp_path / "none.yaml")])
