import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from designspace import ModelSpec, Population, complexity, spaces, zoo
from designspace.distributions import LogUniform
from designspace.files import read_yaml, to_yaml
from designspace.memory import training_memory
from designspace.network import build_network
from designspace.population import unpack
from designspace.scaling import Factors, scale
from designspace.spaces import DesignSpace, load_space, save_space, space_from_config
from designspace.spaces.families import FAMILIES
from designspace.spec import STAGES
from designspace.widths import QuantizedLinear

ONE = {"distribution": "choice", "options": [1]}


def regime(name: str) -> dict[str, list[float]]:
    """A range of multiply-adds in which the space has many networks."""
    space = spaces.space(name)
    if space.family == "compound":
        return {"macs": [50e6, 8e9]}
    return {"macs": [20e6, 60e6]} if space.template.resolution == 32 else {"macs": [100e6, 120e6]}


def ids(population: Population) -> list[str]:
    return [population.spec(index).spec_id for index in range(len(population))]


def draw(name: str, n: int, seed: int = 0, duplicates: str = "keep") -> list[str]:
    config = {"base": name, "constraints": regime(name), "duplicates": duplicates}
    return ids(space_from_config(config).sample(n, seed))


@pytest.mark.parametrize("duplicates", ["keep", "drop"])
@pytest.mark.parametrize("name", spaces.names())
def test_a_smaller_sample_is_a_prefix_of_a_larger_one(name: str, duplicates: str) -> None:
    many = draw(name, 64, duplicates=duplicates)
    assert draw(name, 16, duplicates=duplicates) == many[:16]
    assert draw(name, 16, seed=1, duplicates=duplicates) != many[:16]


@pytest.mark.parametrize("name", spaces.names())
def test_dropping_duplicates_keeps_the_order(name: str) -> None:
    config = {"base": name, "constraints": regime(name)}
    kept = space_from_config(config).sample(64)
    dropped = space_from_config(config | {"duplicates": "drop"}).sample(64)
    distinct = list(dict.fromkeys(ids(kept)))
    assert ids(dropped)[: len(distinct)] == distinct
    assert len(set(ids(dropped))) == dropped.report.distinct == 64
    assert (kept.report.distinct, kept.report.duplicates) == (len(distinct), 64 - len(distinct))
    assert kept.report.duplicates <= dropped.report.duplicates


def test_network_frequencies_match_the_exact_probabilities(monkeypatch: pytest.MonkeyPatch) -> None:
    """Enumerate a small space to get the probability of each network."""
    monkeypatch.setattr("designspace.spaces.sampling.PATIENCE", 1 << 17)
    space = spaces.space("mobilenet").with_constraints(macs=(80e6, 120e6))
    base, probabilities = zoo.spec(str(space.spec)), Counter[str]()
    for width in space.parameters["width_factor"].values.tolist():
        for resolution in space.parameters["resolution_factor"].values.tolist():
            spec = scale(base, Factors(width=width, resolution=resolution))
            if 80e6 <= complexity(spec).macs <= 120e6:
                probabilities[spec.spec_id] += 1
    expected = np.array(list(probabilities.values())) / probabilities.total()
    n = 4000
    population = space.sample(n)
    drawn = Counter(ids(population))
    assert drawn.keys() <= probabilities.keys()
    observed = [drawn[spec_id] for spec_id in probabilities]
    assert stats.chisquare(observed, n * expected).pvalue > 1e-3
    first = len(set(ids(population[:100])))
    assert first == pytest.approx(np.sum(1 - (1 - expected) ** 100), abs=10)  # a birthday problem
    with pytest.raises(
        ValueError, match=f"n = {n}: must be at most the {len(probabilities)} networks .*, or set duplicates = keep"
    ):
        space.changed(duplicates="drop").sample(n)


def test_distinct_regnets_are_a_biased_sample() -> None:
    """RegNetX in pycls's ranges (sweep/config.py), 360-400 MF: 6 % of 500 draws are duplicates and 39 % of 6,000."""
    ranges: dict[str, object] = {
        "depth": {"distribution": "uniform", "low": 12, "high": 28},
        "w_m": {"low": 2.0},
        "group_width": {"distribution": "uniform", "low": 8, "high": 128, "step": 8},
        "bottleneck_ratio": None,
    }
    space = space_from_config({"base": "regnetx", "parameters": ranges, "constraints": {"macs": [360e6, 400e6]}})
    few = [space.sample(500, seed).report.duplicate_share for seed in range(8)]
    assert np.mean(few) == pytest.approx(0.057, abs=0.012)
    many = space.sample(6000)
    assert many.report.duplicate_share == pytest.approx(0.39, abs=0.02)
    reference = space.sample(6000, seed=1).complexity.acts
    assert stats.ks_2samp(many.complexity.acts, reference).pvalue > 1e-3
    assert stats.ks_2samp(space.changed(duplicates="drop").sample(6000).complexity.acts, reference).statistic > 0.1


def test_draws_do_not_depend_on_the_process(tmp_path: Path) -> None:
    program = "import sys; from designspace.cli import main; sys.exit(main())"
    files = [tmp_path / "a.parquet", tmp_path / "b.parquet"]
    arguments = ["sample", "space=regnetx", "n=8", "macs=[100e6,120e6]"]
    processes = [subprocess.Popen([sys.executable, "-c", program, *arguments, f"--out={file}"]) for file in files]
    assert [process.wait() for process in processes] == [0, 0]
    first, second = (pd.read_parquet(file).spec_id.tolist() for file in files)
    assert first == second == draw("regnetx", 8)


@pytest.mark.parametrize("name", spaces.names())
def test_every_free_parameter_follows_its_distribution(name: str) -> None:
    rng = np.random.default_rng(3)
    for distribution in spaces.space(name).parameters.values():
        draws = distribution.sample(rng, (20_000,))
        observed = np.array([(draws == value).sum() for value in distribution.values])
        assert observed.sum() == len(draws)
        expected = distribution.probabilities * len(draws)
        # cells are pooled from the left until each is expected five times
        cell = np.minimum(np.cumsum(expected) // 5, expected.sum() // 5 - 1).astype(int)
        observed, expected = (np.bincount(cell, values) for values in (observed, expected))
        pooled = expected > 0
        if pooled.sum() > 1:
            assert stats.chisquare(observed[pooled], expected[pooled]).pvalue > 1e-4


def test_log_uniform_rounds_to_nearest_and_pycls_up() -> None:
    """P(w_0 = 8) of 8 … 256, step 8; pycls (sweep/random.py) rounds up from above low − min(step, low / 2) = 4."""
    lowest = LogUniform(low=8, high=256, step=8).probabilities[0]
    assert lowest == pytest.approx(np.log(12 / 8) / np.log(256 / 8))
    ups = np.ceil(np.exp(np.random.default_rng(0).uniform(np.log(4), np.log(256), 100_000)) / 8) * 8
    assert (round(lowest, 3), np.mean(ups == 8)) == (0.117, pytest.approx(1 / 6, abs=0.005))


@pytest.mark.parametrize("name", spaces.names())
def test_networks_satisfy_the_constraints(name: str) -> None:
    limits = regime(name) | {"depth": [6, 300]}
    space = space_from_config({"base": name, "constraints": limits})
    population = space.sample(64)
    for row in population.rows():
        for quantity, (low, high) in limits.items():
            assert low <= row[quantity] <= high
        for parameter, value in row["parameters"].items():
            assert np.isin(value, space.parameters[parameter].values).all()
            if parameter in space.increasing:
                assert (np.diff(value) >= 0).all()


def test_regnet_family_follows_the_width_rule() -> None:
    space = spaces.space("regnetx")
    rng = np.random.default_rng(0)
    draws = {name: distribution.sample(rng, (4000,)) for name, distribution in space.parameters.items()}
    draws["group_width"][:] = 1
    draws["bottleneck_ratio"][:] = 1
    kept, networks = FAMILIES["regnet"](space, draws)
    for row, index in enumerate(np.flatnonzero(kept)):
        rule = QuantizedLinear(*(draws[name][index].item() for name in ("depth", "w_0", "w_a", "w_m")))
        repeated = np.repeat([s.width[row] for s in networks.stages], [s.depth[row] for s in networks.stages])
        assert repeated.tolist() == rule.block_widths().tolist()


def test_anynet_to_regnet_sizes_match_table_1() -> None:
    # arXiv 2003.13678, Table 1: degrees of freedom and number of networks
    table = {
        "anynetx_a": (16, 1.8e18),
        "anynetx_b": (13, 6.8e16),
        "anynetx_c": (10, 3.2e14),
        "anynetx_d": (10, 1.3e13),
        "anynetx_e": (10, 5.5e11),
        "regnetx": (6, 3.0e8),
    }
    for name, (freedom, size) in table.items():
        space = spaces.space(name)
        assert space.degrees_of_freedom == freedom
        assert 10**space.log10_size == pytest.approx(size, rel=0.04)


def test_nds_space_sizes_match_table_1() -> None:
    # arXiv 1905.13214, Table 1
    sizes = {"vanilla": 1_259_712, "resnet": 1_259_712, "resnext_a": 11_390_625, "resnext_b": 52_734_375}
    assert {name: round(10 ** spaces.space(name).log10_size) for name in sizes} == sizes


@given(
    name=st.sampled_from(spaces.names()),
    seed=st.integers(0, 1000),
    strides=st.lists(st.sampled_from([1, 2]), min_size=2, max_size=5),
)
@settings(max_examples=25, deadline=None)
def test_draws_build_and_round_trip_through_yaml(name: str, seed: int, strides: list[int]) -> None:
    space = spaces.space(name)
    if space.family != "compound":
        space = space.with_template(resolution=16, strides=tuple(strides))
    spec = space.with_constraints(depth=(2, 20)).sample(1, seed).spec(0)
    assert ModelSpec.from_mapping(read_yaml(to_yaml(spec.to_mapping()))) == spec
    with torch.device("meta"):
        network = build_network(spec)
        images = torch.zeros(2, spec.in_channels, spec.resolution, spec.resolution)
        assert network(images).shape == (2, spec.head.classes)
    assert sum(p.numel() for p in network.parameters()) == complexity(spec).params


DRAWN = {
    "kernel_size": [1, 3, 5],
    "activation": ["relu", "hard_swish"],
    "norm": ["batch", "layer"],
    "fused": [True, False],
    "se_base": ["input", "expansion"],
    "se_gate": ["sigmoid", "hard_sigmoid"],
    "se_activation": ["relu", "silu"],
    "layer_scale": [0.0, 1e-6],
    "bottleneck_ratio": [0.5, 1, 2],
    "expansion_ratio": [1, 3],
    "group_width": [1, 8],
    "se_ratio": [0, 0.5],
    "se_position": ["inner", "output"],
    "residual": [True, False],
    "downsample": ["conv", "avg", "none"],
    "max_pool": [True, False],
    "padding": ["same", "valid"],
    "linear": [True, False],
    "shortcut": ["bottlenecks", "expansions", "none"],
    "activate_depthwise": [True, False],
    "convs": [1, 2, 4],
    "grow": ["first", "last"],
}


@pytest.mark.parametrize("activation", ["relu", "silu"])
@pytest.mark.parametrize(
    ("block", "field"),
    [(block, field) for block, kind in STAGES.items() for field in kind.model_fields if field in DRAWN],
)
def test_any_field_of_a_stage_can_be_drawn(block: str, field: str, activation: str) -> None:
    depth = {"distribution": "uniform", "low": 1, "high": 1 if field == "padding" else 4, "per_stage": True}
    stage = {"block": block} | ({"se_ratio": 0.5} if field.startswith("se_") and field != "se_ratio" else {})
    stage |= {"residual": True} if (block, field) == ("vanilla", "downsample") else {}
    config = {
        "name": "any",
        "family": "anynet",
        "parameters": {
            "depth": depth,
            "width": {"distribution": "uniform", "low": 16, "high": 32, "step": 16, "per_stage": True},
            field: {"distribution": "choice", "options": DRAWN[field], "per_stage": True},
        },
        "template": {"resolution": 64, "strides": [1, 2, 2], "activation": activation, "stage": stage},
    }
    population = space_from_config(config).sample(40)
    needed = training_memory(population.networks, 8)
    for index, spec in enumerate(map(population.spec, range(40))):
        assert [getattr(stage, field) for stage in spec.stages] == population.parameters[field][index].tolist()
        counts, memory = complexity(spec), training_memory(spec, 8)
        of_all = (getattr(population.complexity, name)[index] for name in ("macs", "params", "acts"))
        assert tuple(of_all) == (counts.macs, counts.params, counts.acts)
        assert needed.total[index] == memory.total
    assert DRAWN.keys() >= set(STAGES[block].model_fields) - {"block", "depth", "width", "stride"}


def fixed(**stage: object) -> dict[str, object]:
    return {"template": {"stage": stage}}


@pytest.mark.parametrize("base", ["regnety", "anynetx_a"])
def test_a_list_in_the_template_fixes_a_field_per_stage(base: str) -> None:
    ratios, kernels = [0, 0, 0.25, 0.5], [3, 5, 7, 9]
    config = {"base": base, **fixed(se_ratio=ratios, kernel_size=kernels)}
    space = space_from_config(config)
    assert space_from_config(space.to_mapping()) == space
    population = space.sample(20)
    for spec, params in zip(population, population.complexity.params, strict=True):
        assert [stage.se_ratio for stage in spec.stages] == ratios
        assert [stage.kernel_size for stage in spec.stages] == kernels
        assert params == complexity(spec).params
    shared = space_from_config({"base": base, **fixed(se_ratio=0.25)}).sample(20)
    widths = [[[stage.width for stage in spec.stages] for spec in drawn] for drawn in (population, shared)]
    assert widths[0] == widths[1]


def test_anynets_with_fixed_depths_and_widths() -> None:
    """The networks around ResNet-50: its depths and widths, with free bottleneck ratios and group widths."""
    template = {"stem": {"width": 64, "kernel_size": 7, "max_pool": True}, "strides": [1, 2, 2, 2]}
    stage = {"depth": [3, 4, 6, 3], "width": [256, 512, 1024, 2048]}
    space = space_from_config(
        {
            "base": "anynetx_a",
            "template": template | {"stage": stage},
            "parameters": {"depth": None, "width": None, "bottleneck_ratio": {"per_stage": False}},
        }
    )
    assert space.degrees_of_freedom == 5
    population = space.restrict("bottleneck_ratio == 4").sample(20)
    for spec in population:
        assert [stage.depth for stage in spec.stages] == stage["depth"]
        assert [stage.width for stage in spec.stages] == stage["width"]
    depths_only = {"base": "anynetx_a", **fixed(depth=[1, 2, 3, 4]), "parameters": {"depth": None}}
    assert {spec.depth for spec in space_from_config(depths_only).sample(20)} == {10}


def test_one_stage_can_have_a_single_group() -> None:
    config = {"base": "anynetx_a", **fixed(group_width=[None, 8, 8, 16]), "parameters": {"group_width": None}}
    for spec in space_from_config(config).sample(20):
        assert spec.stages[0].group_width is None
        assert [stage.group_width <= limit for stage, limit in zip(spec.stages[1:], (8, 8, 16), strict=True)] == [
            True
        ] * 3


def test_spaces_with_fields_per_stage_survive_files(tmp_path: Path) -> None:
    space = space_from_config({"base": "regnety", **fixed(se_ratio=[0, 0, 0.25, 0.25])})
    save_space(space, tmp_path / "late.yaml")
    assert "se_ratio: [0, 0, 0.25, 0.25]" in (tmp_path / "late.yaml").read_text()
    assert load_space(tmp_path / "late.yaml") == space.named("late")


def test_regnetz_is_a_space_of_bottlenecks() -> None:
    """RegNetZ-500MF (arXiv 2103.06877) is one of its networks."""
    published = zoo.spec("RegNetZ-500MF")
    config = {
        "base": "regnety",
        "parameters": {"bottleneck_ratio": None},
        "template": {
            "activation": "silu",
            "head": {"width": 1024},
            "stage": {"bottleneck_ratio": 0.25, "downsample": "none", "linear": True},
        },
    }
    space = space_from_config(config)
    draws = {"depth": 21, "w_0": 16, "w_a": 10.7, "w_m": 2.51, "group_width": 4}
    kept, networks = FAMILIES["regnet"](space, {name: np.array([value]) for name, value in draws.items()})
    assert kept.all()
    assert unpack(networks, 0).spec_id == published.spec_id


def test_group_width_null_is_one_group_despite_the_default() -> None:
    template = {"resolution": 32, "stage": {"block": "inverted", "group_width": None}}
    config = {"base": "inverted", "parameters": {"group_width": None}, "template": template}
    for row in space_from_config(config).sample(5).rows():
        spec = ModelSpec.from_mapping(row["spec"])
        assert {stage.group_width for stage in spec.stages} == {None}
        assert complexity(spec).macs == row["macs"]


def test_training_memory_is_a_constraint() -> None:
    limits = {"macs": [50e6, 500e6], "training_memory": [1e9, 2e9], "batch_size": 64}
    population = space_from_config({"base": "regnetx", "constraints": limits}).sample(20)
    needed = training_memory(population.networks, 64, "bfloat16").total
    assert ((needed >= 1e9) & (needed <= 2e9)).all()
    assert population.report.rejected["training_memory"] > 0


def test_constrained_regnets_lie_in_the_envelope() -> None:
    # params < 3 + 5.5 F M, acts < 6.5 √F M (pycls sweep/config.py)
    counts = spaces.space("regnetx_constrained").sample(200).complexity
    giga = counts.macs / 1e9
    assert (counts.params / 1e6 < 3 + 5.5 * giga).all()
    assert (counts.acts / 1e6 < 6.5 * giga**0.5).all()


def test_efficientnets_grid_doubles_the_multiply_adds() -> None:
    draws = spaces.space("compound").sample(100).parameters
    growth = draws["alpha"] * draws["beta"] ** 2 * draws["gamma"] ** 2
    assert ((growth >= 1.9) & (growth <= 2.1)).all()


def test_residuals_cost_only_their_projections() -> None:
    population = spaces.space("residual").sample(40)
    assert set(population.parameters["residual"].tolist()) == {True, False}
    spec = population.spec(int(np.flatnonzero(population.parameters["residual"])[0]))
    plain = spec.model_copy(update={"stages": tuple(s.model_copy(update={"residual": False}) for s in spec.stages)})
    assert 0 < complexity(spec).macs - complexity(plain).macs < 0.2 * complexity(spec).macs


def test_a_space_defined_by_a_mapping() -> None:
    space = space_from_config(
        {
            "name": "mine",
            "family": "anynet",
            "parameters": {
                "depth": {"distribution": "uniform", "low": 1, "high": 4, "per_stage": True},
                "width": {"distribution": "log_uniform", "low": 16, "high": 128, "step": 16, "per_stage": True},
                "kernel_size": {"distribution": "choice", "options": [3, 5], "per_stage": True},
                "se_ratio": {"distribution": "choice", "options": [0, 0.25]},
            },
            "increasing": ["width"],
            "constraints": {"macs": [1e6, 50e6]},
            "template": {"resolution": 32, "strides": [1, 2, 2], "stage": {"block": "bottleneck", "group_width": 8}},
        }
    )
    specs = [space.sample(30).spec(index) for index in range(30)]
    assert {stage.kernel_size for spec in specs for stage in spec.stages} == {3, 5}
    assert {len(spec.stages) for spec in specs} == {3}


def test_groups_can_be_drawn_without_a_ratio() -> None:
    groups = {"distribution": "choice", "options": [2, 4]}
    parameters = {"bottleneck_ratio": None, "groups": groups}
    population = space_from_config({"base": "resnext_a", "parameters": parameters}).sample(20)
    for index, groups in enumerate(population.parameters["groups"].tolist()):
        assert [stage.width // stage.group_width for stage in population.spec(index).stages] == groups


@pytest.mark.parametrize(
    ("derive", "message"),
    [
        (lambda space: space.with_constraints(mac=(1, 2)), "constraints.mac = (1, 2): unknown; did you mean macs?"),
        (lambda space: space.with_constraints(params=(2, 1)), "constraints.params = [2.0, 1.0]: must be [low, high]"),
        (
            lambda space: space.with_template(resolutoin=32),
            "template.resolutoin = 32: unknown; did you mean resolution?",
        ),
        (lambda space: space.with_distributions(w_a=None), "parameters.w_a: required by the family regnet"),
        (lambda space: space.increase("w_0"), "increasing = w_0: must be a parameter drawn per stage"),
    ],
)
def test_errors_of_derived_spaces(derive: Callable[[DesignSpace], DesignSpace], message: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        derive(spaces.space("regnetx"))
    assert message in str(caught.value)


def test_ranges_may_be_lists() -> None:
    assert spaces.space("regnetx").with_constraints(macs=[1e8, 2e8]).constraints.macs == (1e8, 2e8)


def test_a_replaced_distribution_keeps_per_stage_of_the_base() -> None:
    width = {"distribution": "choice", "options": [16, 32]}
    space = space_from_config({"base": "anynetx_a", "parameters": {"width": width, "depth": {"high": 4}}})
    assert space.parameters["width"].per_stage
    assert space.parameters["depth"].values.tolist() == [1, 2, 3, 4]
    assert space.sample(4).parameters["width"].shape == (4, 4)


def test_sampling_report_accounts_for_every_candidate() -> None:
    report = space_from_config({"base": "anynetx_d", "constraints": regime("anynetx_d")}).sample(50).report
    assert report.drawn == report.kept + sum(report.rejected.values())
    assert set(report.rejected) == {"width decreases", "macs"}


def test_duplicate_share_counts_draws_up_to_the_last() -> None:
    kept = spaces.space("compound_d").sample(300)
    again = spaces.space("compound_d").changed(duplicates="drop").sample(kept.report.distinct)
    assert again.report.duplicates <= kept.report.duplicates
    everything = ids(kept)
    last = everything.index(ids(again)[-1])  # up to the first draw of the last network
    assert again.report.duplicates == last + 1 - len(again)
    assert again.report.duplicate_share == again.report.duplicates / (last + 1)


def test_unsatisfiable_constraints_report_rejections(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("designspace.spaces.sampling.PATIENCE", 1 << 16)
    hopeless = space_from_config({"base": "regnetx", "constraints": {"macs": [1, 2]}})
    with pytest.raises(ValueError, match=r"^n = 4: must be at most the 0 networks .*macs 1\d\.\d+%.*reduce n$"):
        hopeless.sample(4)


def test_small_spaces_give_any_number_of_draws_with_duplicates(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("designspace.spaces.sampling.PATIENCE", 1 << 16)
    few = spaces.space("compound_d")
    assert len(few.sample(50_000)) == 50_000
    with pytest.raises(
        ValueError, match=r"n = 400: must be at most the \d+ networks .* duplicate 99\.\d+%.*set duplicates = keep$"
    ):
        few.changed(duplicates="drop").sample(400)


def drawn(name: str, *options: object, base: str = "regnetx") -> dict[str, object]:
    return {"base": base, "parameters": {name: {"distribution": "choice", "options": list(options)}}}


def powers(**limits: float) -> dict[str, object]:
    return {"base": "regnetx", "parameters": {"group_width": {"distribution": "power_of_two", **limits}}}


def per_stage(base: str, name: str, distribution: dict[str, object] | None = None) -> dict[str, object]:
    return {"base": base, "parameters": {name: {**(distribution or {}), "per_stage": True}}}


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"base": "regnex"}, "space = regnex: unknown; did you mean regnetx"),
        ({"base": "regnetx", "duplicates": "no"}, "duplicates = 'no': must be one of keep, drop"),
        ({"base": "regnetx", "constraints": {"macs": [2, 1]}}, "constraints.macs = [2.0, 1.0]: must be [low, high]"),
        (
            {"base": "regnetx", "constraints": {"flops": [1, 2]}},
            "constraints.flops = [1, 2]: unknown; must be one of macs, params",
        ),
        ({"base": "regnetx", "parameters": {"w_a": None}}, "parameters.w_a: required by the family regnet"),
        (
            {"base": "regnetx", "parameters": {"groupwidth": ONE}},
            "parameters.groupwidth: unknown; did you mean group_width",
        ),
        ({"base": "regnet_v", "parameters": {"group_width": ONE}}, "parameters.group_width: unknown"),
        ({"base": "regnetx", "increasing": ["w_0"]}, "increasing = w_0: must be a parameter drawn per stage"),
        ({"base": "regnetx", "template": {"stage": {"block": "x"}}}, "template.stage.block = 'x': must be one of"),
        (
            {"base": "regnetx", "template": {"stage": {"se": 1}}},
            "template.stage.se = 1: unknown; did you mean se_ratio",
        ),
        (
            {"base": "regnety", **fixed(se_ratio=[0, 0.25])},
            "template.stage.se_ratio = [0, 0.25]: must have 4 values, one per stage",
        ),
        ({"base": "regnety", **fixed(se_ratio=[0, 0, 0, 2])}, "template.stage.se_ratio = 2: must be at most 1"),
        ({"base": "regnety", **fixed(block=["basic"] * 4)}, "must be one block for all stages"),
        ({"base": "regnety", **fixed(stride=[1, 2, 2, 2])}, "must be given in template.strides"),
        (
            {"base": "anynetx_a", **fixed(group_width=[8, 8, 8, 8])},
            "parameters.group_width: must be null, because template.stage.group_width fixes it per stage",
        ),
        (
            {"base": "regnety", "parameters": {"se_ratio": [0, 0, 0.25, 0.25]}},
            "parameters.se_ratio = [0, 0, 0.25, 0.25]: must be a distribution; template.stage takes fixed values",
        ),
        (
            {
                "base": "residual",
                **fixed(depth=2, width=[8, 16, 24, 32]),
                "parameters": {"depth": None, "width": None, "residual": None},
                "increasing": [],
            },
            "parameters = {}: must have at least one parameter of the networks",
        ),
        ({"base": "compound", "spec": None}, "spec: required by the family compound"),
        ({"base": "compound", "parameters": {"phi": None}}, "parameters.phi: required by the family compound"),
        ({"base": "regnetx", "parameters": {"w_m": {"distribution": "normal"}}}, "parameters.w_m.distribution"),
        ({"base": "regnetx", "constraints": {"growth": [1, 2]}}, "constraints.growth = [1.0, 2.0]: must be unset"),
        (per_stage("regnetx", "depth"), "parameters.depth.per_stage = True: must be False"),
        (per_stage("regnetx", "w_0"), "parameters.w_0.per_stage = True: must be False"),
        (per_stage("anynetx_a", "resolution", ONE), "parameters.resolution.per_stage = True: must be False"),
        (per_stage("compound_free", "depth_factor"), "parameters.depth_factor.per_stage = True: must be False"),
        (powers(low=1, high=32, step=8), "parameters.group_width.step = 8: unknown"),
        (powers(low=5, high=7), "parameters.group_width.low = 5: must have a power of two between it and high = 7"),
        (powers(low=0, high=7), "parameters.group_width.low = 0: must be greater than 0"),
        (
            {"base": "regnetx", "parameters": {"w_0": {"low": 9, "high": 15}}},
            "low = 9: must have a multiple of step = 8",
        ),
        (drawn("kernel_size", 3, 4), "parameters.kernel_size = 4: must be odd"),
        (drawn("residual", 0.5), "parameters.residual = 0.5: must be true or false"),
        (drawn("stride", 1, 2), "parameters.stride: unknown; must be one of activation, bottleneck_ratio, depth"),
        (
            drawn("group_width", None, 8),
            "parameters.group_width.options.0 = None: must be a number, true, false or text",
        ),
        ({"base": "regnetx", "parameters": {"w_m": {"distribution": "uniform", "low": 2, "high": 1}}}, "low = 2"),
    ],
)
def test_errors_of_spaces(config: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        space_from_config(config)
    assert message in str(caught.value)


def test_compound_spaces_take_only_given_template_fields() -> None:
    template = {"resolution": 28, "in_channels": 1, "head": {"classes": 10}, "strides": [1, 1, 2, 1, 1, 2, 1]}
    space = space_from_config({"base": "mobilenet", "template": template})
    spec = space.sample(20).spec(3)
    assert (spec.in_channels, spec.head.classes) == (1, 10)
    assert spec.head.width is not None
    assert spec.head.width >= 1280  # never narrowed
    assert [stage.stride for stage in spec.stages] == template["strides"]
    assert spec.resolution <= 28
    with pytest.raises(ValueError, match=r"template\.strides = \[1, 2\]: must be 7 strides"):
        space.with_template(strides=(1, 2)).sample(1)


@pytest.mark.parametrize(
    ("n", "seed", "message"),
    [
        (0, 0, "n = 0: must be at least 1"),
        (10**8, 0, "n = 100000000: must be at most 10,000,000"),
        (1, -1, "seed = -1: must be at least 0"),
        (1, None, "seed = None: must be an integer"),
    ],
)
def test_errors_of_sample_arguments(n: int, seed: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        spaces.space("regnetx").sample(n, seed)


def rates(**learning_rate: object) -> dict[str, object]:
    """RegNetX with drawn rates."""
    decay = {"distribution": "log_uniform", "low": 5e-5, "high": 1e-3, "step": None}
    given = {"distribution": "log_uniform", "low": 0.25, "high": 5, "step": None} | learning_rate
    return {"base": "regnetx", "parameters": {"learning_rate": given, "weight_decay": decay}}


def test_drawn_rates_are_log_uniform_and_do_not_change_the_networks() -> None:
    space = space_from_config(rates())
    assert space_from_config(space.to_mapping()) == space
    assert space.degrees_of_freedom == spaces.space("regnetx").degrees_of_freedom
    population = space.sample(500)
    assert ids(population) == ids(spaces.space("regnetx").sample(500))
    for name, low, high in (("learning_rate", 0.25, 5), ("weight_decay", 5e-5, 1e-3)):
        draws = population.parameters[name]
        assert all(float(f"{value:.6g}") == value for value in draws)  # equal on machines whose logarithms differ
        uniform = stats.uniform(np.log(low), np.log(high / low))
        assert stats.kstest(np.log(draws), uniform.cdf).pvalue > 0.01
    uniform_rates = space_from_config(rates(distribution="uniform")).sample(500).parameters["learning_rate"]
    assert stats.kstest(uniform_rates, stats.uniform(0.25, 4.75).cdf).pvalue > 0.01


def test_a_network_with_two_learning_rates_is_two_models() -> None:
    one = {"distribution": "choice", "options": [0.1, 0.2, 0.4]}
    parameters = {"depth_factor": ONE, "learning_rate": one}
    space = DesignSpace(name="one", family="compound", spec="ResNet-50", parameters=parameters, duplicates="drop")
    population = space.sample(3)
    assert sorted(population.parameters["learning_rate"]) == [0.1, 0.2, 0.4]
    assert len(set(ids(population))) == 1
    assert space.log10_size == 0
    with pytest.raises(ValueError, match="must be at most the 3 networks"):
        space.sample(4)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        (
            rates(low=0, distribution="uniform"),
            r"parameters\.learning_rate = \[0\.0, 5\.0\]: must be numbers of at least",
        ),
        (rates(low=0), r"low = 0: must be greater than 0 in a log-uniform range"),
        (rates(low=9), r"low = 9: must be at most high = 5"),
        (rates(per_stage=True), r"parameters\.learning_rate\.per_stage = True: must be False"),
        (
            {
                "base": "regnetx",
                "parameters": {"learning_rate": {"distribution": "log_uniform", "low": 0.1, "high": 1}},
            },
            r"parameters\.learning_rate\.step: required; null for all numbers between low and high",
        ),
        (
            {"base": "regnetx", "parameters": {"w_a": {"step": None}}},
            r"parameters\.w_a\.step = None: must be a number, except for learning_rate and weight_decay",
        ),
    ],
)
def test_wrong_rates_are_one_line(parameters: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        space_from_config(parameters)
