import json
import re
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from designspace import ModelSpec, complexity, zoo
from designspace.population import unpack
from designspace.scaling import (
    RULES,
    Factors,
    Scaling,
    rule_factors,
    scale,
    scale_networks,
    scale_to,
    width_exponent_factors,
)
from designspace.spaces import space_from_config
from designspace.spec import BottleneckStage, Head, InvertedStage, Stem
from designspace.study import Record, StudyModel, lines_hash
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


# Width, depth and resolution of B0 to B7; φ of § 4 of the paper, with B1 at one half.
EFFICIENTNETS = [
    (0, 1.0, 1.0, 224),
    (0.5, 1.0, 1.1, 240),
    (1, 1.1, 1.2, 260),
    (2, 1.2, 1.4, 300),
    (3, 1.4, 1.8, 380),
    (4, 1.6, 2.2, 456),
    (5, 1.8, 2.6, 528),
    (6, 2.0, 3.1, 600),
]


@pytest.mark.parametrize(("phi", "width", "depth", "resolution"), EFFICIENTNETS)
def test_the_published_coefficients_give_the_efficientnets(
    phi: float, width: float, depth: float, resolution: int
) -> None:
    scaling = Scaling(alpha=1.2, beta=1.1, gamma=1.15)
    factors = scaling.factors(phi)
    # The published factors are rounded by hand; the resolution of B6 is 17 % larger.
    assert width == pytest.approx(factors.width, rel=0.13)
    assert depth == pytest.approx(factors.depth, rel=0.07)
    assert resolution == pytest.approx(224 * factors.resolution, rel=0.18)
    assert scaling.base == pytest.approx(2, rel=0.05)


def test_the_first_network_of_a_family_is_the_base() -> None:
    base = zoo.spec("EfficientNet-B0")
    for scaling in (Scaling(alpha=1.2, beta=1.1, gamma=1.15), Scaling(width_exponent=0.8), Scaling(rule="dwr")):
        assert scaling.at(base, 0).spec_id == base.spec_id
        macs = [complexity(scaling.at(base, phi)).macs for phi in (0, 1, 2, 3)]
        assert np.diff(np.log2(macs)) == pytest.approx(np.log2(scaling.base), abs=0.25)


@pytest.mark.parametrize(("exponent", "rule"), [(0.8, "dWr"), (1, "w"), (1 / 3, "dwr"), (0, "dr")])
def test_the_width_exponent_includes_the_rules(exponent: float, rule: str) -> None:
    for growth in (0.5, 2.0, 10.0):
        ours, published = width_exponent_factors(exponent, growth), rule_factors(rule, growth)
        for name in ("depth", "width", "resolution", "group_width"):
            assert getattr(ours, name) == pytest.approx(getattr(published, name))


@pytest.mark.parametrize("scaling", [Scaling(alpha=1.2, beta=1.1, gamma=1.15), Scaling(width_exponent=0.6)])
def test_a_family_reaches_given_sizes(scaling: Scaling) -> None:
    base = zoo.spec("EfficientNet-B0")
    for times in (0.5, 3):
        target = times * complexity(base).macs
        assert complexity(scaling.to(base, target)[0]).macs == pytest.approx(target, rel=0.05)


def test_a_free_width_exponent_is_a_space() -> None:
    parameters = {
        "growth": {"distribution": "choice", "options": [2]},
        "width_exponent": {"distribution": "uniform", "low": 0, "high": 1, "step": 0.05},
    }
    space = space_from_config({"base": "compound_fast", "parameters": parameters})
    population = space.sample(30)
    for network, exponent in zip(population, population.parameters["width_exponent"], strict=True):
        assert network == Scaling(width_exponent=float(exponent)).at(zoo.spec("EfficientNet-B0"), 1)
    with pytest.raises(ValueError, match="rule = d: must be dWr with a free width_exponent"):
        space_from_config({"base": "compound_d", "parameters": parameters})
    parameters["width_exponent"]["high"] = 1.5
    with pytest.raises(ValueError, match=r"parameters.width_exponent = .*: must be at most 1"):
        space_from_config({"base": "compound_fast", "parameters": parameters})


def write_study(folder: Path, errors: dict[tuple[float, ...], list[float | None]]) -> None:
    """Write a study of networks with these coefficients, one record per error; None is a failed training."""
    models = []
    (folder / "records").mkdir(parents=True)
    for index, (coefficients, seeds) in enumerate(errors.items()):
        parameters = dict(zip(("alpha", "beta", "gamma"), coefficients, strict=True)) | {"phi": 1}
        for seed, error in enumerate(seeds):
            ids = {"spec_id": f"net{index}", "recipe_id": "r", "data_id": "d", "seed": seed}
            record = Record(**ids, status="crashed" if error is None else "ok", error_percent=error)
            (folder / "records" / f"{record.key}.json").write_text(record.to_json())
            place = {"space": "grid", "index": index, "seed": seed, "spec_id": ids["spec_id"]}
            counts = dict.fromkeys(("macs", "params", "acts", "depth"), 1)
            models.append(StudyModel(key=record.key, **place, **counts, parameters=parameters, spec={}).to_line())
    (folder / "models.jsonl").write_text("".join(f"{line}\n" for line in models))
    config = {"n": len(errors), "spaces": {"grid": {}}}
    manifest = {"config": config, "recipe_id": "r", "data_id": "d", "models": len(models)}
    (folder / "manifest.json").write_text(json.dumps(manifest | {"models_sha256": lines_hash(models)}))


def test_the_best_model_of_a_study_gives_the_coefficients(tmp_path: Path) -> None:
    errors: dict[tuple[float, ...], list[float | None]] = {
        (1.2, 1.1, 1.15): [5.0, 7.0],
        (1.0, 1.4, 1.0): [4.0, None],
        (1.8, 1.0, 1.05): [5.5, 8.0],
    }
    write_study(tmp_path / "grid", errors)
    assert Scaling.from_study(tmp_path / "grid") == Scaling(alpha=1.2, beta=1.1, gamma=1.15)
    write_study(tmp_path / "failed", {(1.2, 1.1, 1.15): [None]})
    with pytest.raises(ValueError, match="no model finished with all of its seeds"):
        Scaling.from_study(tmp_path / "failed")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "scaling: must have alpha, beta and gamma, or width_exponent, or rule"),
        ({"alpha": 1.2, "rule": "d"}, "scaling: must have alpha"),
        ({"alpha": 1.2, "beta": 1.1}, "gamma: required with alpha and beta"),
        ({"alpha": 0.9, "beta": 1.1, "gamma": 1.1}, "alpha = 0.9: must be at least 1"),
        ({"alpha": 1.0, "beta": 1.0, "gamma": 1.0}, "one of them must be above 1"),
        ({"width_exponent": 2.0}, "width_exponent = 2: must be from 0 to 1"),
    ],
)
def test_invalid_scalings_are_rejected(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Scaling(**arguments)


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
