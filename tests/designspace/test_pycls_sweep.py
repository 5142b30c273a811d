"""Sweep configurations of pycls give its probabilities and networks."""

from __future__ import annotations

import copy
from math import log2
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from designspace import complexity
from designspace.cli import main
from designspace.distributions import LogUniform, Uniform
from designspace.export import from_pycls
from designspace.files import to_yaml
from designspace.spaces import from_pycls_sweep, space_from_config

REGNET: dict[str, Any] = {  # like configs/sweeps/cifar/cifar_regnet.yaml
    "NAME": "cifar/regnet",
    "DESC": "RegNets on CIFAR",
    "SETUP": {
        "NUM_CONFIGS": 32,
        "SAMPLERS": {"REGNET": {"TYPE": "regnet_sampler", "DEPTH": [6, 16], "GROUP_W": [1, 32]}},
        "CONSTRAINTS": {
            "CX": {"FLOPS": [0.12e9, 0.13e9], "PARAMS": [0, 2.0e6], "ACTS": [0, 1.0e6]},
            "REGNET": {"NUM_STAGES": [2, 2]},
        },
        "BASE_CFG": {
            "MODEL": {"TYPE": "regnet", "NUM_CLASSES": 10},
            "REGNET": {"STEM_TYPE": "res_stem_cifar", "SE_ON": True, "STEM_W": 16},
            "OPTIM": {"BASE_LR": 1.0},
            "TRAIN": {"DATASET": "cifar10", "IM_SIZE": 32},
        },
    },
    "LAUNCH": {"PARTITION": "devlab"},
    "ANALYZE": {"METRICS": ["regnet_depth"]},
}


def integers(rand_type: str, low: int, high: int, quantum: int = 1) -> dict[str, Any]:
    return {"TYPE": "int_sampler", "RAND_TYPE": rand_type, "RANGE": [low, high], "QUANTIZE": quantum}


def listed(item: dict[str, Any], length: int = 3) -> dict[str, Any]:
    return {"TYPE": "list_sampler", "LENGTH": length, "ITEM_SAMPLER": item}


ANYNET: dict[str, Any] = {
    "NAME": "any",
    "SETUP": {
        "SAMPLERS": {
            "ANYNET.DEPTHS": listed(integers("log_uniform", 1, 8)),
            "ANYNET.WIDTHS": listed(integers("log_uniform", 16, 128, 8)),
            "ANYNET.GROUP_WS": listed({"TYPE": "value_sampler", "VALUES": [1, 8, 8]}),
            "TRAIN.IM_SIZE": {"TYPE": "value_sampler", "VALUES": [32, 64]},
        },
        "BASE_CFG": {
            "MODEL": {"TYPE": "anynet", "NUM_CLASSES": 10, "ACTIVATION_FUN": "swish"},
            "ANYNET": {"STRIDES": [1, 2, 2], "BOT_MULS": [2, 2, 2], "HEAD_W": 64},
        },
    },
}


def changed(config: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """A copy of a configuration with another value at a path separated by slashes."""
    config = copy.deepcopy(config)
    *steps, last = path.split("/")
    inner = config
    for step in steps:
        inner = inner.setdefault(step, {})
    inner[last] = value
    return config


def draws(rand_type: str, low: float, high: float, quantum: float, n: int = 200_000) -> np.ndarray:
    """pycls `sweep/random.py`, in arrays."""
    rng = np.random.default_rng(1)

    def log_uniform(low: float, high: float, quantum: float) -> np.ndarray:
        logs = -rng.uniform(-np.log(high), -np.log(low - min(quantum, low / 2)), n)
        return np.ceil(np.exp(logs) / quantum) * quantum

    match rand_type:
        case "uniform":
            return np.floor(rng.uniform(low, high + quantum, n) / quantum) * quantum
        case "log_uniform":
            return log_uniform(low, high, quantum)
    powers = 2 ** np.floor(rng.uniform(log2(low), log2(high) + 1, n))
    if rand_type == "power2_uniform":
        return powers
    return np.where(powers >= quantum, log_uniform(max(low, quantum), high, min(high, quantum)), powers)


@pytest.mark.parametrize(
    ("rand_type", "low", "high", "quantum"),
    [
        ("uniform", 12, 28, 1),
        ("uniform", 16, 64, 16),
        ("log_uniform", 1, 16, 1),
        ("log_uniform", 8, 128, 8),
        ("log_uniform", 16, 64, 8),
        ("power2_uniform", 1, 64, 1),
        ("power2_or_log_uniform", 1, 64, 8),
        ("power2_or_log_uniform", 1, 4, 8),
        ("power2_or_log_uniform", 16, 64, 8),
    ],
)
def test_samplers_have_the_probabilities_of_pycls(rand_type: str, low: int, high: int, quantum: int) -> None:
    key = "REGNET.GROUP_W" if "power2" in rand_type else "REGNET.DEPTH"
    sampler = integers(rand_type, low, high, quantum)
    space = from_pycls_sweep(changed(REGNET, "SETUP/SAMPLERS", {key: sampler}))
    distribution = space.parameters["group_width" if "power2" in rand_type else "depth"]
    values, counts = np.unique(draws(rand_type, low, high, quantum), return_counts=True)
    order = np.argsort(distribution.values)
    assert distribution.values[order].tolist() == values.tolist()
    np.testing.assert_allclose(distribution.probabilities[order], counts / counts.sum(), atol=0.005)
    sampled = np.unique(distribution.sample(np.random.default_rng(2), (200_000,)), return_counts=True)
    assert sampled[0].tolist() == values.tolist()
    np.testing.assert_allclose(sampled[1] / 200_000, counts / counts.sum(), atol=0.005)


def test_regnet_sweeps_give_the_same_networks_as_pycls() -> None:
    space = from_pycls_sweep(REGNET)
    assert (space.name, space.family) == ("cifar/regnet", "regnet")
    assert space.constraints.ranges() == {"macs": (0.12e9, 0.13e9), "params": (0, 2e6), "acts": (0, 1e6)}
    assert space.parameters["depth"] == Uniform(low=6, high=16)
    assert space.parameters["w_m"] == LogUniform(low=2, high=3, step=0.001, rounding="up")
    population = space.sample(20)
    for index in range(len(population)):
        values = {name: array[index].item() for name, array in population.parameters.items()}
        names = {"DEPTH": "depth", "W0": "w_0", "WA": "w_a", "WM": "w_m", "GROUP_W": "group_width"}
        config = copy.deepcopy(REGNET["SETUP"]["BASE_CFG"])
        config["REGNET"] |= {key: values[name] for key, name in names.items()}
        spec = population.spec(index)
        assert from_pycls(config) == spec
        counts = complexity(spec)
        assert 0.12e9 <= counts.macs <= 0.13e9
        assert len(spec.stages) == 2


def test_anynet_sweeps_give_the_same_networks_as_pycls() -> None:
    population = from_pycls_sweep(ANYNET).sample(50)
    assert {population.spec(index).resolution for index in range(50)} == {32, 64}
    for index in range(50):
        spec = population.spec(index)
        assert spec.activation == "silu"
        assert [stage.stride for stage in spec.stages] == [1, 2, 2]
        assert all(stage.bottleneck_ratio == 0.5 and stage.width % 8 == 0 for stage in spec.stages)
        assert {stage.group_width for stage in spec.stages} <= {1, 8}
        assert spec.head.width == 64


def test_fixed_values_may_differ_between_stages() -> None:
    fixed = {"BOT_MULS": [0.5, 1, 0.25], "GROUP_WS": [8, 4, 16], "DEPTHS": [1, 2, 3]}
    config = changed(ANYNET, "SETUP/BASE_CFG/ANYNET", ANYNET["SETUP"]["BASE_CFG"]["ANYNET"] | fixed)
    for key in fixed:
        config["SETUP"]["SAMPLERS"].pop(f"ANYNET.{key}", None)
    with pytest.warns(UserWarning, match="bottleneck multiplier below 1"):
        space = from_pycls_sweep(config)
    assert list(space.parameters) == ["width", "resolution"]
    for spec in space.sample(20):
        assert [stage.depth for stage in spec.stages] == [1, 2, 3]
        assert [stage.bottleneck_ratio for stage in spec.stages] == [2, 1, 4]
        assert all(stage.group_width <= limit for stage, limit in zip(spec.stages, (8, 4, 16), strict=True))


def test_sweeps_of_regnetz_draw_linear_bottlenecks() -> None:
    config = changed(REGNET, "SETUP/BASE_CFG/REGNET/BLOCK_TYPE", "res_bottleneck_linear_block")
    config = changed(config, SAMPLERS + "REGNET/BOT_MUL", [4.0, 4.0])
    for spec in from_pycls_sweep(changed(config, "SETUP/CONSTRAINTS/CX", {})).sample(10):
        assert {(stage.bottleneck_ratio, stage.downsample, stage.linear) for stage in spec.stages} == {
            (0.25, "none", True)
        }


def test_fixed_values_and_one_sided_limits_are_kept() -> None:
    config = changed(REGNET, "SETUP/SAMPLERS", {"REGNET.DEPTH": integers("uniform", 12, 13)})
    config = changed(config, "SETUP/BASE_CFG/REGNET", {"W0": 24, "WA": 36.44, "WM": 2.49, "GROUP_W": 8})
    config = changed(config, "SETUP/CONSTRAINTS", {"CX": {"FLOPS": [1e6, 0], "PARAMS": [0, 0]}})
    space = from_pycls_sweep(config)
    assert (space.degrees_of_freedom, len(space.template.strides)) == (1, 4)
    assert list(space.constraints.ranges()) == ["macs"]
    population = space.sample(8)
    assert {population.spec(index).depth for index in range(8)} == {12, 13}
    assert {stage.group_width for stage in population.spec(0).stages} == {8}


def test_a_multiplier_below_one_becomes_a_ratio_with_a_warning() -> None:
    sampler = REGNET["SETUP"]["SAMPLERS"]["REGNET"] | {"BOT_MUL": [0.25, 1.0]}
    with pytest.warns(UserWarning, match="REGNET: with a bottleneck multiplier below 1"):
        space = from_pycls_sweep(changed(REGNET, "SETUP/SAMPLERS/REGNET", sampler))
    assert space.parameters["bottleneck_ratio"].values.tolist() == [1, 2, 4]


def test_a_sweep_file_is_a_base_for_commands_and_studies(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "sweep.yaml"
    path.write_text(to_yaml(REGNET))
    assert main(["sample", f"space={path}", "n=12", "macs=[125e6,130e6]"]) == 0
    assert "12 networks of cifar/regnet" in capsys.readouterr().out
    space = space_from_config(REGNET | {"name": "mine", "template": {"head": {"classes": 5}}})
    assert (space.name, space.template.head.classes, space.template.stem.width) == ("mine", 5, 16)
    path.write_text(to_yaml(changed(REGNET, "SETUP/SAMPLERS/REGNET/TYPE", "gaussian")))
    assert main(["sample", f"space={path}", "n=12"]) == 2
    assert "SETUP.SAMPLERS.REGNET.TYPE = 'gaussian': must be one of" in capsys.readouterr().err


SAMPLERS = "SETUP/SAMPLERS/"


@pytest.mark.parametrize(
    ("base", "path", "value", "message"),
    [
        (REGNET, "NAME", None, r"^NAME = None"),
        (REGNET, "SETUP", [], r"^SETUP = \[\]"),
        (REGNET, "SETUP/SAMPLERS", {}, r"^SETUP\.SAMPLERS = \{\}"),
        (REGNET, "SETUP/SAMPLES", 3, r"^SETUP\.SAMPLES = 3: unknown; did you mean SAMPLERS"),
        (REGNET, "SETUP/CONSTRAINTS/CX/MACS", [1, 2], r"^SETUP\.CONSTRAINTS\.CX\.MACS = \[1, 2\]: unknown"),
        (
            REGNET,
            "SETUP/CONSTRAINTS/CX/FLOPS",
            [2, 1],
            r"^SETUP\.CONSTRAINTS\.CX\.FLOPS = \[2\.0, 1\.0\]: must be \[low, high\]",
        ),
        (REGNET, "SETUP/CONSTRAINTS/REGNET/NUM_STAGES", [3, 5], r"NUM_STAGES = \[3, 5\]: must be one number twice"),
        (REGNET, "SETUP/BASE_CFG/MODEL/TYPE", "effnet", r"^SETUP\.BASE_CFG\.MODEL\.TYPE = 'effnet': must be one of a"),
        (REGNET, "SETUP/BASE_CFG/MODEL/SCALING_FACTOR", 2.0, r"^SETUP\.BASE_CFG\.MODEL\.SCALING_FACTOR = 2\.0"),
        (
            REGNET,
            "SETUP/BASE_CFG/REGNET",
            {"DEEP": 3},
            r"^SETUP\.BASE_CFG\.REGNET\.DEEP = 3: unknown; did you mean DEPTH",
        ),
        (
            REGNET,
            "SETUP/BASE_CFG/REGNET/BLOCK_TYPE",
            "res_bottleneck",
            r"^SETUP\.BASE_CFG\.REGNET\.BLOCK_TYPE = .*: must be one of res_bottleneck_block",
        ),
        (
            REGNET,
            "SETUP/BASE_CFG/REGNET/BLOCK_TYPE",
            "res_basic_block",
            r"^REGNET\.GROUP_W and REGNET\.BOT_MUL: must be 1 and a divisor of 8",
        ),
        (
            REGNET,
            SAMPLERS + "OPTIM.MOMENTUM",
            {"TYPE": "float_sampler"},
            r"^SETUP\.SAMPLERS\.OPTIM\.MOMENTUM: must be one of .*, OPTIM\.BASE_LR, OPTIM\.WEIGHT_DECAY",
        ),
        (REGNET, SAMPLERS + "RNG_SEED", integers("uniform", 1, 3), r"^SETUP\.SAMPLERS\.RNG_SEED: must be one of"),
        (REGNET, SAMPLERS + "REGNET", None, r"^SETUP\.SAMPLERS\.REGNET\.TYPE: required"),
        (
            REGNET,
            SAMPLERS + "REGNET/GROUPS",
            [1, 2],
            r"^SETUP\.SAMPLERS\.REGNET\.GROUPS = .*: unknown; did you mean GROUP_W",
        ),
        (REGNET, SAMPLERS + "REGNET/DEPTH", [6.5, 16], r"^SETUP\.SAMPLERS\.REGNET\.DEPTH\.0 = 6\.5"),
        (REGNET, SAMPLERS + "REGNET/DEPTH", [16, 6], r"^SETUP\.SAMPLERS\.REGNET\.DEPTH: low = 16: must be at most"),
        (
            REGNET,
            SAMPLERS + "REGNET/W0",
            [12, 256],
            r"^SETUP\.SAMPLERS\.REGNET\.W0 = \[12, 256\]: must be multiples of 8",
        ),
        (
            REGNET,
            SAMPLERS + "REGNET/GROUP_W",
            [1, 24],
            r"^SETUP\.SAMPLERS\.REGNET\.GROUP_W = \[1, 24\]: must be powers",
        ),
        (
            REGNET,
            SAMPLERS + "REGNET/WM",
            [0.5, 2.0],
            r"^SETUP: parameters\.w_m = .*: must be numbers of at least 1\.001",
        ),
        (
            REGNET,
            SAMPLERS + "REGNET.DEPTH",
            integers("uniform", 1, 3),
            r"^SETUP\.SAMPLERS\.REGNET\.DEPTH: must not sample REGNET\.DEPTH twice",
        ),
        (
            ANYNET,
            SAMPLERS + "ANYNET.DEPTHS",
            integers("uniform", 1, 3),
            r"DEPTHS\.TYPE = 'int_sampler': must be list_s",
        ),
        (
            ANYNET,
            SAMPLERS + "ANYNET.DEPTHS",
            listed(integers("normal", 1, 3)),
            r"ITEM_SAMPLER\.RAND_TYPE = 'normal': mus",
        ),
        (
            ANYNET,
            SAMPLERS + "ANYNET.DEPTHS",
            listed(integers("uniform", 1, 3), 4),
            r"DEPTHS\.LENGTH = 4: must be 3, the num",
        ),
        (
            ANYNET,
            SAMPLERS + "ANYNET.DEPTHS",
            listed(listed(integers("uniform", 1, 3))),
            r"must be value_sampler or float",
        ),
        (
            ANYNET,
            SAMPLERS + "ANYNET.WIDTHS",
            listed(integers("uniform", 9, 30)),
            r"^ANYNET\.WIDTHS = \[9, .*multiples of 8",
        ),
        (
            ANYNET,
            SAMPLERS + "ANYNET.GROUP_WS",
            listed(integers("uniform", 1, 4)),
            r"^ANYNET\.GROUP_WS = \[3\]: must be 1",
        ),
        (
            ANYNET,
            SAMPLERS + "TRAIN.IM_SIZE",
            integers("uniform", 32, 34),
            r"^TRAIN\.IM_SIZE = \[33, 34\]: must be mult",
        ),
        (ANYNET, "SETUP/BASE_CFG/ANYNET/STRIDES", [], r"^SETUP\.BASE_CFG\.ANYNET\.STRIDES = \[\]: must have one value"),
        (
            ANYNET,
            "SETUP/BASE_CFG/ANYNET/BOT_MULS",
            [1, 2],
            r"^SETUP\.BASE_CFG\.ANYNET\.BOT_MULS = .*: must be sampled or have one value for each of 3 stages",
        ),
        (
            ANYNET,
            "SETUP/BASE_CFG/ANYNET/BOT_MULS",
            [0.3] * 3,
            r"^ANYNET\.BOT_MULS = \[0\.3\]: must be integers",
        ),
        (
            ANYNET,
            SAMPLERS + "ANYNET.BOT_MULS",
            listed({"TYPE": "value_sampler", "VALUES": ["1"]}),
            r"must be positive numbers",
        ),
        (
            ANYNET,
            SAMPLERS + "ANYNET.BOT_MULS",
            listed({"TYPE": "value_sampler", "VALUES": [0, 1]}),
            r"^ANYNET\.BOT_MULS =",
        ),
        (
            ANYNET,
            SAMPLERS + "ANYNET.GROUP_WS",
            listed(integers("power2_uniform", 1, 8, 4)),
            r"must be multiples of QUANTIZE = 4, a pow",
        ),
        (
            ANYNET,
            SAMPLERS + "ANYNET.GROUP_WS",
            listed(integers("power2_uniform", 4, 8, 0)),
            r"QUANTIZE = 0: must be grea",
        ),
    ],
)
def test_sweeps_that_a_space_cannot_express_are_rejected(
    base: dict[str, Any], path: str, value: Any, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        from_pycls_sweep(changed(base, path, value))


RATES = {  # configs/sweeps/cifar/cifar_optim.yaml
    "OPTIM.BASE_LR": {"TYPE": "float_sampler", "RAND_TYPE": "log_uniform", "RANGE": [0.25, 5.0], "QUANTIZE": 1e-10},
    "OPTIM.WEIGHT_DECAY": {
        "TYPE": "float_sampler",
        "RAND_TYPE": "log_uniform",
        "RANGE": [5.0e-5, 1.0e-3],
        "QUANTIZE": 1e-10,
    },
}
RESNET_56 = {
    "MODEL": {"TYPE": "anynet", "NUM_CLASSES": 10},
    "ANYNET": {
        "STEM_TYPE": "res_stem_cifar",
        "STEM_W": 16,
        "BLOCK_TYPE": "res_basic_block",
        "DEPTHS": [9, 9, 9],
        "WIDTHS": [16, 32, 64],
        "STRIDES": [1, 2, 2],
    },
    "TRAIN": {"IM_SIZE": 32, "BATCH_SIZE": 1024},
}


def test_a_sweep_of_the_rates_trains_one_network() -> None:
    sweep = {"NAME": "cifar/cifar_optim", "SETUP": {"SAMPLERS": RATES, "BASE_CFG": RESNET_56}}
    space = from_pycls_sweep(sweep)
    assert space_from_config(space.to_mapping()) == space
    population = space.sample(100)
    assert {spec.spec_id for spec in population} == {from_pycls(RESNET_56).spec_id}
    assert population.report.distinct == 100
    assert (population.parameters["learning_rate"].min() >= 0.25).all()
    assert (population.parameters["weight_decay"].max() <= 1e-3).all()


def test_sampled_rates_do_not_change_the_networks_of_a_sweep() -> None:
    both = copy.deepcopy(REGNET)
    both["SETUP"]["SAMPLERS"] |= RATES
    one, other = from_pycls_sweep(REGNET).sample(20), from_pycls_sweep(both).sample(20)
    assert [spec.spec_id for spec in one] == [spec.spec_id for spec in other]
    assert set(other.parameters) - set(one.parameters) == {"learning_rate", "weight_decay"}


def test_a_coarse_rate_is_quantized_as_in_pycls() -> None:
    coarse = RATES["OPTIM.WEIGHT_DECAY"] | {"QUANTIZE": 5e-5}
    distribution = from_pycls_sweep(
        changed(REGNET, "SETUP/SAMPLERS", {"OPTIM.WEIGHT_DECAY": coarse, **REGNET["SETUP"]["SAMPLERS"]})
    )
    assert distribution.parameters["weight_decay"] == LogUniform(low=5e-5, high=1e-3, step=5e-5, rounding="up")
