"""Restricted spaces: their networks, distributions, sizes and files."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from designspace import spaces
from designspace.cli import main
from designspace.distributions import Choice, LogUniform, PowerOfTwo, Uniform
from designspace.spaces import DesignSpace, load_space, save_space, space_from_config
from designspace.width_fit import fit_quantized_linear, least_fit_error

CHAIN = {  # arXiv 2003.13678, Table 1
    "anynetx_b": "shared(bottleneck_ratio)",
    "anynetx_c": "shared(group_width)",
    "anynetx_d": "nondecreasing(width)",
    "anynetx_e": "nondecreasing(depth)",
}


def test_restrictions_reproduce_anynetx_a_to_e() -> None:
    space = spaces.space("anynetx_a")
    for name, text in CHAIN.items():
        space, named = space.restrict(text, name), spaces.space(name)
        assert space == named
        assert space.sample(8) == named.sample(8)
        assert (space.degrees_of_freedom, space.log10_size) == (named.degrees_of_freedom, named.log10_size)
    assert spaces.space("anynetx_a").restrict(" and ".join(CHAIN.values()), "anynetx_e") == space


PARTS = {
    "anynetx_a": [
        "width <= 512",
        "width >= 64",
        "width_1 <= 64",
        "width != 64",
        "max(depth) <= 8",
        "depth <= 24",
        "shared(bottleneck_ratio)",
        "bottleneck_ratio != 2",
        "group_width in (2, 8)",
        "nondecreasing(width)",
        "ratio(width) <= 4",
        "macs < 5e8 and params / macs < 1",
        "not shared(depth)",
    ],
    "regnetx": ["w_m >= 2", "bottleneck_ratio == 1", "depth <= 40", "w_0 in (8, 16, 64)", "depth * w_m < 60"],
    "residual": ["residual == true", "width > 16", "nondecreasing(depth)"],
    "resnext_a": ["bottleneck_ratio <= 2", "shared(groups)", "groups != 2"],
    "mobilenet": ["width_factor >= 0.5", "resolution_factor < 1", "macs <= 3e8"],
    "inverted": ["expansion_ratio in (3, 4, 6)", "group_width == 1"],
}


@given(data=st.data(), name=st.sampled_from(sorted(PARTS)), seed=st.integers(0, 100))
@settings(max_examples=30, deadline=None)
def test_networks_of_a_restricted_space_satisfy_the_text(data: st.DataObject, name: str, seed: int) -> None:
    parts = data.draw(st.lists(st.sampled_from(PARTS[name]), min_size=1, max_size=3, unique=True))
    text = " and ".join(parts)
    space = spaces.space(name).restrict(text)
    population = space.sample(64, seed)
    assert population.satisfies(text).all()
    assert spaces.space(name).sample(200, seed).satisfies(text).mean() < 1
    assert space_from_config(space.to_mapping()) == space


@pytest.mark.parametrize(
    "distribution",
    [
        LogUniform(low=8, high=256, step=8),
        LogUniform(low=8, high=256, step=8, rounding="up"),
        LogUniform(low=8, high=256, step=8, within=(16, 200)),
        LogUniform(low=1, high=16),
        Uniform(low=16, high=160, step=16),
        PowerOfTwo(low=1, high=256),
        Choice(options=(16, 64, 32, 128), weights=(1, 2, 3, 4)),
    ],
)
@pytest.mark.parametrize("condition", ["width <= 64", "width < 100", "12 <= width <= 32", "width != 16", "width == 16"])
def test_a_limited_parameter_has_the_conditional_distribution(distribution: LogUniform, condition: str) -> None:
    space = spaces.space("anynetx_a").with_distributions(width=distribution.changed(per_stage=True))
    kept = np.array([_holds(condition, value) for value in distribution.values])
    expected = distribution.probabilities[kept] / distribution.probabilities[kept].sum()
    restricted = space.restrict(condition)
    assert not restricted.where
    limited = restricted.parameters["width"]
    assert limited.values.tolist() == distribution.values[kept].tolist()
    np.testing.assert_allclose(limited.probabilities, expected, rtol=1e-9)
    draws = limited.sample(np.random.default_rng(0), (20_000,))
    observed = np.array([(draws == value).sum() for value in limited.values])
    assert observed.sum() == len(draws)
    if len(observed) > 1:
        assert stats.chisquare(observed, expected * len(draws)).pvalue > 1e-4


def _holds(condition: str, width: int) -> bool:
    return {
        "width <= 64": width <= 64,
        "width < 100": width < 100,
        "12 <= width <= 32": 12 <= width <= 32,
        "width != 16": width != 16,
        "width == 16": width == 16,
    }[condition]


def test_limits_are_drawn_directly_or_rejected_under_their_text() -> None:
    text = "depth <= 20 and width <= 512 and width_1 <= 64 and ratio(width) <= 3 and params > 1e5"
    space = spaces.space("anynetx_a").with_constraints(macs=(1e8, 2e8)).restrict(text)
    assert space.constraints.ranges() == {"macs": (1e8, 2e8), "depth": (0, 20)}
    assert space.where == ("width_1 <= 64", "ratio(width) <= 3", "params > 1e5")
    assert space.name == f"anynetx_a: {text}"
    report = space.sample(20).report
    assert report.drawn == report.kept + sum(report.rejected.values())
    assert {"width_1 <= 64", "ratio(width) <= 3"} <= set(report.rejected)


def test_a_shared_value_is_one_draw_or_conditional() -> None:
    """Equal log-uniform draws in all stages are mostly small; one draw for all stages is not."""
    space = spaces.space("anynetx_a")
    one_draw = space.restrict("shared(depth)").sample(2000).parameters["depth"]
    conditional = space.changed(where=("shared(depth)",)).sample(2000).parameters["depth"]
    assert conditional.shape == (2000, 4)
    assert (conditional == conditional[:, :1]).all()
    probability = space.parameters["depth"].probabilities
    assert np.mean(one_draw == 1) == pytest.approx(probability[0], abs=0.04)
    assert np.mean(conditional == 1) == pytest.approx(probability[0] ** 4 / (probability**4).sum(), abs=0.04)


def test_restricting_a_published_size_scales_it() -> None:
    regnetx = spaces.space("regnetx")
    assert regnetx.restrict("bottleneck_ratio == 1").log10_size == pytest.approx(np.log10(64**4 * 6))
    assert regnetx.restrict("bottleneck_ratio == 1").degrees_of_freedom == 5


def test_fraction_of_a_space_and_its_interval() -> None:
    space = spaces.space("anynetx_a").with_constraints(macs=(1e8, 2e8))
    fraction = space.fraction("shared(bottleneck_ratio)", n=4000)
    assert fraction.lower < fraction.value < fraction.upper
    assert fraction.value == fraction.inside / 4000 == pytest.approx(1 / 27, abs=0.02)
    assert space.fraction("shared(bottleneck_ratio)", n=500, seed=1).lower > 0
    unconstrained = spaces.space("anynetx_a").fraction("bottleneck_ratio_1 == 1 and group_width_2 <= 4", n=4000)
    assert unconstrained.lower < 1 / 6 < unconstrained.upper
    none = space.fraction("macs < 1e8", n=100)
    assert (none.value, none.lower) == (0, 0)
    assert 0.02 < none.upper < 0.05


def test_networks_close_to_a_linear_rule() -> None:
    space = spaces.space("anynetx_d").with_constraints(macs=(1e8, 2e8)).restrict("e_fit <= 0.2")
    population = space.sample(12)
    assert population.satisfies("e_fit <= 0.2").all()
    assert space.sample(4) == population[:4]
    errors = [fit_quantized_linear(spec.block_widths).error for spec in population]
    assert max(errors) <= 0.2
    report = population.report
    assert report.rejected["e_fit <= 0.2"] > 0
    assert report.drawn == report.kept + sum(report.rejected.values())
    regnets = spaces.space("regnet_r").with_distributions(w_0=Uniform(low=64, high=256, step=8)).sample(10)
    assert regnets.satisfies("e_fit <= 0.03").all()  # its networks follow the rule


def test_lower_bound_of_the_distance_from_the_rule() -> None:
    population = spaces.space("anynetx_a").sample(40)
    widths, depths = (
        np.stack([getattr(s, name) for s in population.networks.stages], 1) for name in ("width", "depth")
    )
    errors = np.array([fit_quantized_linear(spec.block_widths).error for spec in population])
    bound = least_fit_error(widths, depths)
    assert (bound <= errors + 1e-9).all()
    assert np.mean(bound > 0.2) > 0.5  # most networks of the space have decreasing widths
    assert (bound[(np.diff(widths) >= 0).all(axis=1)] == 0).all()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("widht <= 3", "restrict = widht <= 3: name = widht: unknown; did you mean width"),
        ("shared(w_m)", "name = w_m: unknown"),
        ("width > 2000", "width > 2000: must keep a value of width, which is from 8 to 1024"),
        ("macs > 3e8", r"must leave a value in constraints.macs = \[100000000.0, 200000000.0\]"),
        ("bottleneck_ratio == 3", r"must keep a value of bottleneck_ratio, which is one of \[1, 2, 4\]"),
        ("depth", "must compare every name with a value"),
    ],
)
def test_errors_of_restrictions(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        spaces.space("anynetx_a").with_constraints(macs=(1e8, 2e8)).restrict(text)


def test_errors_of_where() -> None:
    with pytest.raises(ValueError, match=r"where = widht <= 3: name = widht: unknown; did you mean width"):
        space_from_config({"base": "anynetx_a", "where": ["widht <= 3"]})
    with pytest.raises(
        ValueError, match=r"within = .*: must have a multiple of step = 8 between low = 8 and high = 1024"
    ):
        space_from_config({"base": "anynetx_a", "parameters": {"width": {"within": [2000, 3000]}}})


@pytest.mark.parametrize("text", ["depth < 1e999", "macs <= 1 / 0", "acts > 1e999 - 1e999", "width < 1e999"])
def test_limits_that_are_not_finite(text: str) -> None:
    assert spaces.space("anynetx_a").restrict(text).constraints.ranges() == {}


def study_space() -> DesignSpace:
    """A space as a study stores it: complete, with the images and limits of the study."""
    space = spaces.space("anynetx_a").with_constraints(macs=(2e6, 4e6)).named("anynet_a")
    space = space.with_template(
        resolution=28, in_channels=1, head={"classes": 10}, stem={"width": 16, "stride": 1}, strides=(2, 2, 2, 1)
    )
    return space_from_config(space.to_mapping())


def test_the_file_of_the_next_space_is_short_and_can_be_restricted_again(tmp_path: Path) -> None:
    first, second = tmp_path / "next.yaml", tmp_path / "last.yaml"
    text = "shared(bottleneck_ratio) and width <= 512 and ratio(width) <= 3"
    save_space(study_space(), first, text, {"from": "runs/anynet_a", "models": 312, "verdict": "better"})
    lines = first.read_text().splitlines()
    assert {"base: anynetx_a", f"restrict: {text}"} <= set(lines)
    assert len(lines) <= 10
    loaded = load_space(first)
    assert loaded == study_space().restrict(text, "next")
    assert loaded.sample(5).satisfies(text).all()
    save_space(loaded, second, "nondecreasing(depth)")
    assert "base: anynetx_b" in second.read_text()
    assert load_space(second) == loaded.restrict("nondecreasing(depth)", "last")


@pytest.mark.parametrize("name", spaces.names())
def test_the_file_of_a_named_space_is_its_name(name: str, tmp_path: Path) -> None:
    save_space(spaces.space(name), tmp_path / "same.yaml")
    assert len((tmp_path / "same.yaml").read_text().splitlines()) == 3
    assert load_space(tmp_path / "same.yaml").sample(3) == spaces.space(name).named("same").sample(3)


def test_errors_of_space_files(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"path = next\.json: must end in \.yaml or \.yml"):
        save_space(study_space(), "next.json")
    with pytest.raises(ValueError, match="restrict = widht <= 3"):
        save_space(study_space(), tmp_path / "next.yaml", "widht <= 3")
    assert not list(tmp_path.iterdir())
    (tmp_path / "bad.yaml").write_text("base: anynetx_a\nrestrict: [width <= 64, 3]\n")
    with pytest.raises(ValueError, match=r"bad\.yaml: restrict = 3: must be text"):
        load_space(tmp_path / "bad.yaml")
    with pytest.raises(ValueError, match="restrict = 7: must be text or a list of texts"):
        space_from_config({"base": "anynetx_a", "restrict": 7})


def test_sample_reports_the_acceptance_of_a_restriction(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_space(study_space(), tmp_path / "next.yaml", "width <= 512 and width_1 <= 64")
    assert main(["sample", f"space={tmp_path / 'next.yaml'}", "restrict=ratio(width) <= 3", "n=5"]) == 0
    output = capsys.readouterr().out
    assert "5 networks of next: ratio(width) <= 3, seed 0" in output
    assert "acceptance 1.917%" in output
    assert "width_1 <= 64" in output.split("rejected:")[1]
