import re
from typing import Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from designspace import ModelSpec, complexity, zoo
from designspace.population import unpack
from designspace.scaling import RULES, Factors, rule_factors, scale, scale_networks, scale_to
from designspace.spec import BottleneckStage, Head, InvertedStage, Stem
from designspace.widths import round_channels, round_group_width


def test_efficientnets_are_b0_scaled() -> None:
    # Width and depth factors of the official code; its resolutions are not computed.
    for number, width, depth in ((1, 1.0, 1.1), (4, 1.4, 1.8), (7, 2.0, 3.1)):
        published = zoo.spec(f"EfficientNet-B{number}")
        ours = scale(zoo.spec("EfficientNet-B0"), Factors(depth=depth, width=width), depth_rounding="up")
        fields = dict(ours) | {"resolution": published.resolution, "head": published.head}
        assert ours.head.width == published.head.width
        assert ModelSpec(**fields).spec_id == published.spec_id


def test_mobilenets_are_the_largest_one_scaled() -> None:
    for version, multiplier, resolution in (("V2", 0.75, 160), ("V2", 1.4, 224), ("V1", 0.5, 160), ("V1", 0.25, 128)):
        factors = Factors(width=multiplier, resolution=resolution / 224)
        ours = scale(zoo.spec(f"MobileNet{version}-1.0-224"), factors)
        assert ours.spec_id == zoo.spec(f"MobileNet{version}-{multiplier}-{resolution}").spec_id


@pytest.mark.parametrize("name", ["ResNet-50", "RegNetX-400MF", "EfficientNet-B0", "VGG-11", "ResNet-50-D"])
def test_a_factor_of_one_changes_nothing(name: str) -> None:
    assert scale(zoo.spec(name), Factors()).spec_id == zoo.spec(name).spec_id
    ones = np.ones(1)
    assert unpack(scale_networks(zoo.spec(name), Factors(ones, ones, ones, ones)), 0).spec_id == zoo.spec(name).spec_id


@pytest.mark.parametrize("rule", RULES)
def test_factors_of_a_rule_multiply_to_the_growth(rule: str) -> None:
    factors = rule_factors(rule, 3.0)
    assert factors.depth * factors.width**2 * factors.resolution**2 == pytest.approx(3.0)


# Exponents of params and acts against macs (arXiv 2103.06877, Table 2: w p1 a.5, d p1 a1, r p0 a1, dwr, dWr)
@pytest.mark.parametrize(
    ("rule", "params", "acts"),
    [("w", 1, 0.5), ("d", 1, 1), ("r", 0, 1), ("dwr", 2 / 3, 5 / 6), ("dWr", 0.9, 0.6)],
)
def test_exponents_of_the_rules(rule: str, params: float, acts: float) -> None:
    base = zoo.spec("RegNetY-4.0GF").model_copy(update={"head": Head(classes=1)})
    growth = np.geomspace(4, 64, 200)
    counts = complexity(scale_networks(base, rule_factors(rule, growth)))
    slopes = (np.polyfit(np.log(counts.macs), np.log(values), 1)[0] for values in (counts.params, counts.acts))
    assert list(slopes) == pytest.approx([params, acts], abs=0.06)


@pytest.mark.parametrize("name", ["RegNetX-200MF", "EfficientNet-B0", "MobileNetV1-0.5-160", "ResNet-50"])
@pytest.mark.parametrize("rule", ["dWr", "w"])
def test_scale_to_reaches_the_target(name: str, rule: str) -> None:
    base = zoo.spec(name)
    target = 2.5 * complexity(base).macs
    scaled, growth = scale_to(base, target, rule)
    assert complexity(scaled).macs == pytest.approx(target, rel=0.05)
    assert 1.5 < growth < 4


ODD = ModelSpec(
    resolution=30,
    stem=Stem(width=20),
    stages=(BottleneckStage(depth=2, width=20, group_width=5), InvertedStage(depth=1, width=21, group_width=3)),
    head=Head(width=100),
)
four_factors = st.tuples(*[st.sampled_from([1.0, 0.4, 0.75, 1.3, 2.0])] * 4)


@pytest.mark.parametrize("base", [ODD, zoo.spec("RegNetY-800MF"), zoo.spec("ResNet-18-D")], ids=["odd", "Y", "D"])
@given(rows=st.lists(four_factors, min_size=1, max_size=8), rounding=st.sampled_from(["nearest", "up"]))
def test_arrays_of_factors_scale_like_single_factors(
    base: ModelSpec, rows: list[tuple[float, ...]], rounding: Literal["nearest", "up"]
) -> None:
    networks = scale_networks(base, Factors(*np.array(rows).T), rounding)
    for index, row in enumerate(rows):
        assert unpack(networks, index) == scale(base, Factors(*row), rounding)


@pytest.mark.parametrize("rule", RULES)
def test_arrays_of_growths_scale_like_single_growths(rule: str) -> None:
    base = zoo.spec("RegNetY-800MF")
    growth = np.linspace(1, 5, 401)
    networks = scale_networks(base, rule_factors(rule, growth))
    for index, value in enumerate(growth):
        assert unpack(networks, index) == scale(base, rule_factors(rule, float(value)))


def test_rounding() -> None:
    assert [round_channels(w) for w in (3, 11.9, 12, 32 * 0.35, 1280 * 1.4)] == [8, 16, 16, 16, 1792]


def test_group_width_rounding_matches_pycls() -> None:
    def pycls(group: float) -> int:  # pycls `scaler.py`, one number at a time
        rounded = max(1, round(group))
        return rounded if rounded <= 2 else 4 if rounded <= 5 else round(rounded / 8) * 8

    groups = np.linspace(0.2, 70, 5000)
    assert round_group_width(groups).tolist() == [pycls(group) for group in groups]
    assert [round_group_width(group) for group in (0.3, 1.7, 2.4, 5.4, 12.0)] == [1, 2, 2, 4, 16]


def test_errors() -> None:
    with pytest.raises(ValueError, match="rule = x: unknown; must be one of d, w, r, dw, dr, wr, dwr, dWr"):
        rule_factors("x", 2.0)
    with pytest.raises(ValueError, match="macs = -1"):
        scale_to(zoo.spec("ResNet-50"), -1)
    with pytest.raises(ValueError, match="growth = 0"):
        rule_factors("w", 0)


@pytest.mark.parametrize("rule", ["w", "r", "dWr"])
def test_macs_are_reached_down_to_the_smallest_network_of_a_rule(rule: str) -> None:
    spec = zoo.spec("RegNetX-200MF")
    with pytest.raises(ValueError, match=r"macs = 400: must be at least [\d,]+, the smallest network of rule") as error:
        scale_to(spec, 400, rule)
    smallest = int(re.search(r"at least ([\d,]+)", str(error.value))[1].replace(",", ""))
    assert complexity(scale_to(spec, smallest, rule)[0]).macs == smallest
