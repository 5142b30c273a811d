"""The manifold experiment of MobileNetV2's Fig. 1 (arXiv 1801.04381)."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pytest

from analysis import expected_collapsed, manifold_experiment
from analysis.manifold import DIMENSIONS, embeddings, spiral
from analysis.plots import plot_embedding, plot_manifold


def test_the_closed_form_of_the_collapsed_fraction() -> None:
    assert [expected_collapsed(n) for n in (2, 3, 5)] == [0.75, 0.5, 0.1875]
    assert expected_collapsed(15) == pytest.approx(16 / 2**15)
    assert expected_collapsed(30) < 1e-7
    assert expected_collapsed(4, intrinsic=4) == 1 - 1 / 2**4  # all coordinates must be positive
    # Theorem 1: at least 1 − 2^(−n/2) of the points survive if n is large.
    assert all(expected_collapsed(n) < 2 ** (-n / 2) for n in range(10, 40))


@pytest.mark.parametrize("n", [2, 3, 5, 8])
def test_the_collapsed_fraction_agrees_with_the_closed_form(n: int) -> None:
    row = manifold_experiment([n], draws=400, points=200).iloc[0]
    resolution = 1 / 200  # a boundary between collapsed and other angles lies between two points
    assert row["collapsed"] == pytest.approx(row["expected_collapsed"], abs=4 * row["collapsed_error"] + resolution)
    assert row["expected_collapsed"] == expected_collapsed(n)


def test_the_error_of_the_generalized_inverse_tends_to_a_quarter_and_that_of_the_best_decoder_to_zero() -> None:
    frame = manifold_experiment([*DIMENSIONS, 1000], draws=60, points=200)
    assert frame["inverse"].iloc[-1] == pytest.approx(0.25, abs=0.01)
    assert frame["decoder"].iloc[-1] == pytest.approx(0, abs=1e-9)
    assert frame["inverse"].is_monotonic_decreasing
    assert (frame["decoder"] <= frame["inverse"]).all()
    # Medians of an independent implementation.
    np.testing.assert_allclose(frame["inverse"].iloc[:5], [0.57, 0.50, 0.41, 0.30, 0.27], atol=0.08)
    np.testing.assert_allclose(frame["decoder"].iloc[:5], [0.46, 0.24, 0.06, 0, 0], atol=0.05)


@pytest.mark.parametrize("n", [2, 3, 5])
def test_collapsed_points_return_to_one_ray_per_dimension(n: int) -> None:
    for embedding in embeddings(spiral(300), n, draws=5):
        returned = embedding.inverse[embedding.collapsed]
        returned = returned[np.linalg.norm(returned, axis=1) > 1e-9]  # not the points without a positive coordinate
        rays = np.unique(np.arctan2(*returned.T).round(6))
        others = np.unique(np.arctan2(*embedding.inverse[~embedding.collapsed].T).round(6))
        assert len(rays) <= n < len(others)


def test_the_experiment_is_reproducible_and_its_prefix_stays() -> None:
    first, second = (manifold_experiment([2, 5], draws=10, points=50, seed=3) for _ in range(2))
    assert first.equals(second)
    assert not first.equals(manifold_experiment([2, 5], draws=10, points=50, seed=4))
    assert manifold_experiment([5], draws=10, points=50, seed=3).equals(first.iloc[1:].reset_index(drop=True))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dimensions": [1]}, "dimensions = 1: must be at least 2"),
        ({"draws": 1}, "draws = 1: must be at least 2"),
        ({"points": 1.5}, "points = 1.5: must be an integer"),
    ],
)
def test_invalid_arguments_are_errors(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        manifold_experiment(**options)  # type: ignore[arg-type]


def test_plots_draw_the_experiment() -> None:
    frame = manifold_experiment(draws=5, points=50)
    ax = plot_manifold(frame)
    assert [text.get_text() for text in ax.get_xticklabels()] == ["2", "3", "5", "15", "30"]
    assert len(ax.lines) == 4
    embedding = next(embeddings(spiral(50), 2, 1))
    ax = plot_embedding(embedding)
    assert sum(len(line.get_xdata()) for line in ax.lines) == 100  # type: ignore[arg-type]
    plt.close("all")
