"""A population is a sequence of specs stored as arrays."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import designspace as ds

SPACE = ds.space("anynetx_a").with_constraints(macs=(100e6, 120e6))
POPULATION = SPACE.sample(20, seed=3)


def test_positions_give_specs_and_selections_give_populations() -> None:
    specs = list(POPULATION)
    assert len(POPULATION) == len(specs) == 20
    assert all(isinstance(spec, ds.ModelSpec) for spec in specs)
    assert POPULATION[0] == POPULATION[np.int64(0)] == POPULATION[-20] == specs[0]
    assert list(POPULATION[5:8]) == list(POPULATION[[5, 6, 7]]) == list(POPULATION[np.array([5, 6, 7])]) == specs[5:8]
    large = POPULATION.complexity.params > np.median(POPULATION.complexity.params)
    assert list(POPULATION[large]) == [spec for spec, kept in zip(specs, large, strict=True) if kept]
    assert list(POPULATION[large.tolist()]) == list(POPULATION[large])
    assert len(POPULATION[[]]) == len(POPULATION[20:]) == 0


@pytest.mark.parametrize("index", [20, -21])
def test_a_position_outside_the_population_is_an_index_error(index: int) -> None:
    with pytest.raises(IndexError, match=f"index = {index}: must be in a population of 20 networks"):
        POPULATION[index]


@pytest.mark.parametrize("index", ["a", 1.5, None, True, [0.5], [["a"]], np.array([[1, 2], [3, 4]])])
def test_other_indices_are_an_error_of_one_line(index: object) -> None:
    with pytest.raises(ValueError, match=r"^index = .*: must be a position, a slice, a mask or a list of positions$"):
        POPULATION[index]  # type: ignore[index]


@pytest.mark.parametrize("index", [[20], [True] * 3])
def test_selections_outside_the_population_are_an_index_error(index: list[int]) -> None:
    with pytest.raises(IndexError, match=r"^index.*: must be"):
        POPULATION[index]


def test_an_empty_population_has_the_columns_of_the_others() -> None:
    assert POPULATION[:0].to_frame().columns.tolist() == POPULATION.to_frame().columns.tolist()
    assert len(POPULATION[:0].plot().collections[0].get_offsets()) == 0


def test_complexity_and_memory_accept_populations() -> None:
    assert ds.complexity(POPULATION).macs.tolist() == [ds.complexity(spec).macs for spec in POPULATION]
    memory = ds.training_memory(POPULATION, batch_size=2)
    assert memory.total.tolist() == [ds.training_memory(spec, batch_size=2).total for spec in POPULATION]


@pytest.mark.parametrize("value", [3, None, "RegNetX-200MF", SPACE])
def test_other_arguments_are_errors_of_one_line(value: object) -> None:
    with pytest.raises(ValueError, match=r"^model = .*: must be a ModelSpec or a Population$"):
        ds.complexity(value)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"^spec = .*: must be a ModelSpec"):
        ds.build_network(value)  # type: ignore[arg-type]
    if not isinstance(value, str):
        with pytest.raises(ValueError, match=r"^space = .*: must be a name"):
            ds.space(value)  # type: ignore[arg-type]


@given(start=st.integers(0, 20), length=st.integers(1, 20))
def test_a_selection_keeps_index_and_complexity(start: int, length: int) -> None:
    part = POPULATION[start : start + length]
    assert part.index.tolist() == list(range(start, min(20, start + length)))
    assert part.complexity.macs.tolist() == POPULATION.complexity.macs[start : start + length].tolist()
    assert [row["index"] for row in part.rows()] == part.index.tolist()


def test_equality_compares_draws() -> None:
    assert SPACE.sample(20, seed=3) == POPULATION
    assert SPACE.sample(30, seed=3)[:20] == POPULATION
    assert SPACE.sample(20, seed=4) != POPULATION
    assert POPULATION[1:] != POPULATION[:-1]
    assert SPACE.named("other").sample(20, seed=3) != POPULATION
    assert POPULATION != 3


def test_repr_is_one_line_and_html_shows_the_first_rows() -> None:
    assert repr(POPULATION[:1]).startswith("Population(1 networks of anynetx_a, seed 3, ")
    assert "\n" not in repr(POPULATION)
    html = POPULATION._repr_html_()
    assert html.count("<tr") == 11
    assert "10 of 20 networks" in html
    assert POPULATION[9].spec_id in html


def test_frame_has_one_row_per_draw_with_its_spec() -> None:
    frame = POPULATION[3:].to_frame()
    assert frame["index"].tolist() == list(range(3, 20))
    assert {"spec_id", "depth", "macs", "params", "acts", "width_1", "width_4", "bottleneck_ratio_2"} <= set(frame)
    for text, spec_id in zip(frame.spec, frame.spec_id, strict=True):
        assert ds.ModelSpec.from_mapping(json.loads(text)).spec_id == spec_id


def test_plot_shows_two_columns_of_the_frame() -> None:
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("agg")
    axes = POPULATION.plot("macs", "depth")
    frame = POPULATION.to_frame()
    assert np.array_equal(axes.collections[0].get_offsets(), frame[["macs", "depth"]])
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("macs", "depth")
    assert POPULATION.plot("width_1", "params", ax=axes) is axes
    with pytest.raises(ValueError, match="y = parms: unknown; did you mean params"):
        POPULATION.plot("macs", "parms")


def test_axes_of_group_widths_and_of_a_decade_are_logarithmic() -> None:
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("agg")
    space = ds.space("regnetx").with_distributions(group_width={"distribution": "choice", "options": [8, 16, 24]})
    population = space.sample(20)
    axes = population.plot("group_width", "depth")
    scales = [population.plot(name, "macs").get_xscale() for name in ("group_width", "depth", "params")]
    assert scales == ["log", "linear", "log"]
    assert axes.get_yscale() == "linear"


def test_the_python_api_goes_from_a_space_to_a_network() -> None:
    space = ds.space("regnetx").with_constraints(macs=(3e6, 6e6))
    space = space.with_template(resolution=28, in_channels=1, head={"classes": 10})
    spec = space.sample(100, seed=0)[0]
    assert 3e6 <= ds.complexity(spec).macs <= 6e6
    assert (spec.resolution, spec.in_channels, spec.head.classes) == (28, 1, 10)
    assert sum(p.numel() for p in ds.build_network(spec).parameters()) == ds.complexity(spec).params
    one, two = (ds.training_memory(spec, batch_size=n).activations for n in (1, 2))
    assert one < two <= 2 * one
    assert "regnetx" in ds.names()
    with pytest.raises(ValueError, match="space = regnetz: unknown; did you mean regnety, regnetx"):
        ds.space("regnetz")
