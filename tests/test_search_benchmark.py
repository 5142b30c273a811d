"""Search strategies on NAS-Bench-Macro: the closed form of random search, and the published page."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from benchmarks.search import FOLDER, OPERATIONS, Networks, hypervolume, random_search, search, selected, write_page


@pytest.fixture(scope="module")
def networks() -> Networks:
    path = Path(__file__).parents[2] / "shared" / "data" / "nas-bench-macro.csv"
    if not path.exists():
        pytest.skip(f"the published table is not on this machine ({path})")
    return Networks(path)


def test_the_closed_form_of_random_search_agrees_with_random_searches(networks):
    rng = np.random.default_rng(0)
    curve = random_search(networks).set_index("models")
    for models in (5, 50):
        chosen = rng.integers(len(networks), size=(4000, models))
        seen = networks.errors[chosen, rng.integers(3, size=chosen.shape)]
        results = networks.mean[chosen[np.arange(4000), seen.argmin(axis=1)]]
        assert curve.loc[models, "expected"] == pytest.approx(results.mean(), abs=0.05)
        for level, name in ((0.25, "quarter"), (0.5, "median"), (0.75, "three_quarters")):
            assert np.mean(results < curve.loc[models, name] - 1e-9) <= level + 0.03
            assert np.mean(results <= curve.loc[models, name] + 1e-9) >= level - 0.03


@pytest.mark.parametrize("strategy", ["tpe", "nsga2", "random"])
def test_a_search_trains_different_networks_and_is_reproducible(networks, strategy):
    run, again = (search(networks, strategy, 1, 1, repetition=3) for _ in range(2))
    assert run["network"].tolist() == again["network"].tolist()
    assert run["network"].nunique() == len(run) == 200
    result = selected(run)[3]
    assert result.iloc[-1] == run.loc[run["seen_error"].idxmin(), "error_percent"]
    assert run["network"].max() < OPERATIONS**8


def test_the_hypervolume_is_the_dominated_area():
    # Two points with errors 10 and 5 % of a worst of 20 %, at 25 and 50 % of the largest multiply-adds.
    assert hypervolume(np.array([5.0, 10.0]), np.array([50.0, 25.0]), 100.0) == pytest.approx(0.25 * 0.5 + 0.5 * 0.75)
    assert hypervolume(np.array([5.0, 10.0, 12.0]), np.array([50.0, 25.0, 60.0]), 100.0) == pytest.approx(0.5)


def test_the_page_follows_from_the_stored_tables(tmp_path):
    shutil.copytree(FOLDER, tmp_path / "search")
    write_page(tmp_path / "search")
    assert (tmp_path / "search" / "README.md").read_text() == (FOLDER / "README.md").read_text()
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) < 2e6
