"""Comparison of training recipes: agreement, separation of spaces, cost."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import analysis
from analysis.commands import recipes as command
from analysis.recipes import compare_recipes
from analysis.sentences import recipe_sentences

NETWORKS = 24


def study(name: str, errors: np.ndarray, epochs: int = 2, seeds: tuple[int, ...] = (0, 1)) -> pd.DataFrame:
    """Trainings of the same networks; every epoch takes a second, a tenth of it for the evaluation."""
    return pd.concat(
        pd.DataFrame(
            {
                "study": name,
                "space": np.where(np.arange(NETWORKS) % 2, f"{name}/b", f"{name}/a"),
                "spec_id": [f"net {i}" for i in range(NETWORKS)],
                "seed": seed,
                "status": "ok",
                "error_percent": errors + 0.01 * seed * np.arange(NETWORKS),
                "macs": np.geomspace(1e6, 2e6, NETWORKS),
                "params": 1e5,
                "train_seconds": 0.9 * epochs,
                "epoch_seconds": [(1.0,) * epochs] * NETWORKS,
                "epoch_validation_error_percent": [(50.0 + i % 3, *[e] * (epochs - 1)) for i, e in enumerate(errors)],
            }
        )
        for seed in seeds
    )


@pytest.fixture
def errors() -> np.ndarray:
    return np.random.default_rng(0).normal(15, 2, NETWORKS)


def test_agreement_and_cost_of_each_recipe(errors: np.ndarray) -> None:
    noisy = errors + np.random.default_rng(1).normal(0, 2, NETWORKS)
    long = study("long", errors, epochs=12, seeds=(2, 3))
    frame = pd.concat([long, study("short", noisy, epochs=3), study("same", errors)])
    table = compare_recipes(frame, "long", "short").set_index(["recipe", "seeds"])
    one, both = table.loc[("short", 1)], table.loc[("short", 2)]
    reference = [errors + 0.01 * seed * np.arange(NETWORKS) for seed in (2, 3)]
    seeds = [noisy, noisy + 0.01 * np.arange(NETWORKS)]
    pairs = [stats.spearmanr(seed, target).statistic for seed in seeds for target in reference]
    assert one["spearman"] == pytest.approx(np.mean(pairs))
    means = [stats.spearmanr(np.mean(seeds, axis=0), target).statistic for target in reference]
    assert both["spearman"] == pytest.approx(np.mean(means))
    assert one["spearman_lower"] < one["spearman"] < one["spearman_upper"] < table.loc[("same", 1), "spearman"]
    assert (one["cost"], both["cost"], one["relative_cost"]) == (3, 6, 1)
    assert table.loc[("long", 1), "relative_cost"] == pytest.approx(4)
    assert one["between_evaluations"] == pytest.approx(0.1 * 2 / 3)
    assert one["gain"] == one["gain_lower"] == one["gain_upper"] == 0
    assert one["hours_needed"] == pytest.approx(2 * one["models_needed"] * 3 / 3600, rel=0.05)


def test_a_stopped_training_costs_less_and_is_compared_with_other_seeds(errors: np.ndarray) -> None:
    frame = pd.concat([study("long", errors, epochs=12), study("short", errors)])
    table = compare_recipes(frame, "long").set_index("recipe")
    stopped = [f"long, stopped after {text}" for text in ("1 epoch", "2 epochs", "4 epochs", "8 epochs")]
    assert table.loc[stopped, "cost"].tolist() == [1, 2, 4, 8]
    assert table.loc[stopped[0], "spearman"] < 0.5 < table.loc[stopped[1], "spearman"]


def test_trainings_with_equal_seeds_are_not_compared() -> None:
    rng = np.random.default_rng(2)
    one, other = rng.normal(15, 2, (2, NETWORKS))
    long = pd.concat([study("long", one, seeds=(0,)), study("long", other, seeds=(1,))])
    short = pd.concat([study("short", one, seeds=(0,)), study("short", other, seeds=(1,))])
    table = compare_recipes(pd.concat([long, short]), "long").set_index(["recipe", "seeds"])
    across = np.mean([stats.spearmanr(one, other + 0.01 * np.arange(NETWORKS)).statistic])
    assert table.loc[("short", 1), "spearman"] == pytest.approx(across)
    assert ("short", 2) not in table.index


def test_the_difference_of_the_spaces_is_that_at_equal_macs(errors: np.ndarray) -> None:
    frame = pd.concat([study("long", errors), study("short", errors + 3 * (np.arange(NETWORKS) % 2))])
    table = compare_recipes(frame, "long").set_index(["recipe", "seeds"])
    assert table.loc[("short", 1), "difference"] == pytest.approx(table.loc[("long", 1), "difference"] - 3)


def test_baselines_rank_by_complexity(errors: np.ndarray) -> None:
    frame = pd.concat([study("long", np.sort(errors)[::-1], seeds=(0,)), study("short", errors, seeds=(1,))])
    table = compare_recipes(frame, "long").set_index("recipe")
    assert table.loc["most macs first", "spearman"] == pytest.approx(1)
    assert np.isnan(table.loc["most params first", "spearman"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"reference": "lang"}, "reference = lang: unknown; did you mean long"),
        ({"base": "shrt"}, "base = shrt: unknown; did you mean short"),
    ],
)
def test_unknown_studies(errors: np.ndarray, change: dict[str, str], message: str) -> None:
    frame = pd.concat([study("long", errors), study("short", errors)])
    with pytest.raises(ValueError, match=message):
        compare_recipes(frame, **({"reference": "long"} | change))


def test_too_few_common_networks(errors: np.ndarray) -> None:
    frame = pd.concat([study("long", errors), study("short", errors).head(5)])
    with pytest.raises(ValueError, match="must have at least 8 networks trained in all studies, not 5"):
        compare_recipes(frame, "long")
    with pytest.raises(ValueError, match="must be at least two studies"):
        compare_recipes(study("long", errors), "long")


def test_sentences_list_the_cheaper_recipes_that_agree_as_well(errors: np.ndarray) -> None:
    frame = pd.concat([study("long", errors, 12), study("base", errors, 4), study("cheap", errors, 1)])
    table = compare_recipes(frame, "long", "base")
    assert any("cheap agrees as well at 0.25 of its cost" in text for text in recipe_sentences(table, "long", "base"))
    reverse = pd.concat([study("long", errors, 12), study("base", errors, 4), study("cheap", -errors, 1)])
    table = compare_recipes(reverse, "long", "base")
    table = table[~table["recipe"].str.contains("stopped")]
    assert "No cheaper recipe is certain to agree as well" in recipe_sentences(table, "long", "base")[-1]


def test_command_writes_the_figure(errors: np.ndarray, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = {"long": 12, "short": 3}
    files = []
    for name, epochs in names.items():
        files.append(str(tmp_path / f"{name}.csv"))
        columns = ["space", "spec_id", "seed", "error_percent", "macs", "train_seconds"]
        study(name, errors + epochs, epochs).assign(space="a")[columns].to_csv(files[-1], index=False)
    figure = tmp_path / "recipes.svg"
    mapping = "--map=name=spec_id,error=error_percent,seed,space,macs,train_seconds"
    arguments = ["--reference", "long.csv", "--base", "short.csv", "--out", str(figure)]
    assert command([*files, mapping, *arguments]) == 0
    assert "short.csv" in capsys.readouterr().out
    assert figure.read_text().count("<svg") == 1
    assert len(analysis.load(*files, columns={"name": "spec_id", "error": "error_percent", "seed": "seed"})) == 96
