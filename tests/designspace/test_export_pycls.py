"""Published pycls configurations give the networks of the zoo, and exported ones round-trip."""

import math

import pytest

from designspace import ModelSpec, complexity, zoo
from designspace.export import NotExpressible, from_pycls, load_pycls, to_pycls
from designspace.files import to_yaml
from designspace.widths import QuantizedLinear
from designspace.zoo.mobile import B0_STAGES
from designspace.zoo.regnet import PARAMETERS, Z_PARAMETERS


def anynet(**section) -> dict:
    return {"MODEL": {"TYPE": "anynet", "NUM_CLASSES": 1000}, "ANYNET": section}


def regnet(name: str) -> dict:
    depth, w_0, w_a, w_m, group_width, _ = PARAMETERS[name]
    section = {"SE_ON": "RegNetY" in name, "DEPTH": depth, "W0": w_0, "WA": w_a, "WM": w_m, "GROUP_W": group_width}
    return {"MODEL": {"TYPE": "regnet", "NUM_CLASSES": 1000}, "REGNET": section, "OPTIM": {"BASE_LR": 0.8}}


def resnet(depths, multiplier, group_widths) -> dict:
    return anynet(
        STEM_TYPE="res_stem_in",
        STEM_W=64,
        BLOCK_TYPE="res_bottleneck_block",
        STRIDES=[1, 2, 2, 2],
        DEPTHS=list(depths),
        WIDTHS=[256, 512, 1024, 2048],
        BOT_MULS=[multiplier] * 4,
        GROUP_WS=list(group_widths),
    )


@pytest.mark.parametrize("name", PARAMETERS)
def test_published_regnets_equal_the_zoo(name):
    assert from_pycls(regnet(name)).spec_id == zoo.spec(name).spec_id


@pytest.mark.parametrize(("layers", "depths"), [(50, (3, 4, 6, 3)), (101, (3, 4, 23, 3)), (152, (3, 8, 36, 3))])
def test_published_resnets_equal_the_zoo(layers, depths):
    plain = from_pycls(resnet(depths, 0.25, (64, 128, 256, 512)))
    grouped = from_pycls(resnet(depths, 0.5, (4, 8, 16, 32)))
    assert plain.spec_id == zoo.spec(f"ResNet-{layers}").spec_id
    assert grouped.spec_id == zoo.spec(f"ResNeXt-{layers}-32x4d").spec_id


def test_published_efficientnet_equals_the_zoo():
    expansions, widths, depths, kernels, strides = (list(column) for column in zip(*B0_STAGES, strict=True))
    section = {"STEM_W": 32, "STRIDES": strides, "DEPTHS": depths, "WIDTHS": widths, "EXP_RATIOS": expansions}
    model = {"TYPE": "effnet", "NUM_CLASSES": 1000, "ACTIVATION_FUN": "silu"}
    config = {"MODEL": model, "EN": {**section, "KERNELS": kernels, "HEAD_W": 1280, "DROPOUT_RATIO": 0.2}}
    assert from_pycls(config).spec_id == zoo.spec("EfficientNet-B0").spec_id


def test_the_vanilla_block_of_pycls_has_two_convolutions():
    """V-56 of the NDS baselines is ResNet-56 without shortcuts: 9 blocks of two convolutions per stage."""
    config = anynet(
        STEM_TYPE="res_stem_cifar",
        STEM_W=16,
        BLOCK_TYPE="vanilla_block",
        DEPTHS=[9, 9, 9],
        WIDTHS=[16, 32, 64],
        STRIDES=[1, 2, 2],
    )
    spec = from_pycls(config | {"MODEL": {"TYPE": "anynet", "NUM_CLASSES": 10}, "TRAIN": {"IM_SIZE": 32}})
    assert [(stage.block, stage.residual) for stage in spec.stages] == [("basic", False)] * 3
    weights = 3 * 16 + 18 * 16 * 16 + (16 * 32 + 17 * 32 * 32) + (32 * 64 + 17 * 64 * 64)
    assert complexity(spec).params == 9 * weights + 2 * (19 * 16 + 18 * 32 + 18 * 64) + 64 * 10 + 10
    assert to_pycls(spec)["ANYNET"]["BLOCK_TYPE"] == "vanilla_block"


@pytest.mark.parametrize("name", Z_PARAMETERS)
def test_published_regnetzs_equal_the_zoo(name):
    depth, w_0, w_a, w_m, group_width, resolution, head = Z_PARAMETERS[name]
    section = {"DEPTH": depth, "W0": w_0, "WA": w_a, "WM": w_m, "GROUP_W": group_width, "BOT_MUL": 4.0, "SE_ON": True}
    section |= {"BLOCK_TYPE": "res_bottleneck_linear_block"} | ({"HEAD_W": head} if head else {})
    model = {"TYPE": "regnet", "NUM_CLASSES": 1000, "ACTIVATION_FUN": "silu"}
    config = {"MODEL": model, "REGNET": section, "TRAIN": {"IM_SIZE": resolution}}
    assert from_pycls(config).spec_id == zoo.spec(name).spec_id
    assert to_pycls(zoo.spec(name), QuantizedLinear(depth, w_0, w_a, w_m))["REGNET"] == {
        **section,
        "STEM_TYPE": "simple_stem_in",
        "STEM_W": 32,
        "STRIDE": 2,
        "SE_R": 0.25,
    }


PYCLS_FAMILIES = ("RegNet", "ResNet", "ResNeXt", "Wide-ResNet", "EfficientNet-B")


@pytest.mark.parametrize("name", [n for n in zoo.names() if n.startswith(PYCLS_FAMILIES) and not n.endswith("-D")])
def test_zoo_round_trips_through_pycls(name):
    spec = zoo.spec(name)
    assert complexity(from_pycls(to_pycls(spec))) == complexity(spec)


@pytest.mark.parametrize("ratio", [0.25, 0.5, 1.0, 2.0, 4.0])
def test_bottleneck_ratio_is_inverted(ratio):
    stage = {"block": "bottleneck", "depth": 2, "width": 64, "bottleneck_ratio": ratio, "group_width": 8}
    spec = ModelSpec.from_mapping({"stages": [stage, stage | {"width": 128}], "activation": "silu"})
    config = to_pycls(spec)
    assert config["ANYNET"]["BOT_MULS"] == [1 / ratio] * 2
    assert from_pycls(config).spec_id == spec.spec_id


@pytest.mark.parametrize("activation", ["relu", "silu", "gelu"])
@pytest.mark.parametrize("block", ["basic", "inverted"])
def test_activations_round_trip_through_pycls(block, activation):
    stage = {"block": block, "depth": 1, "width": 16} | ({"se_ratio": 0.25} if block == "inverted" else {})
    spec = ModelSpec.from_mapping({"stages": [stage], "activation": activation, "head": {"width": 64}})
    assert from_pycls(to_pycls(spec)) == spec


def test_to_pycls_writes_a_regnet_with_its_rule(tmp_path):
    spec = zoo.spec("RegNetY-400MF")
    depth, w_0, w_a, w_m, group_width, _ = PARAMETERS["RegNetY-400MF"]
    config = to_pycls(spec, QuantizedLinear(depth, w_0, w_a, w_m))
    assert (config["MODEL"]["TYPE"], config["REGNET"]["GROUP_W"]) == ("regnet", group_width)
    (tmp_path / "mine.yaml").write_text(to_yaml(config))
    assert load_pycls(tmp_path / "mine.yaml") == spec.model_copy(update={"name": "mine"})
    with pytest.raises(ValueError, match="must generate the widths and depths"):
        to_pycls(spec, QuantizedLinear(depth + 1, w_0, w_a, w_m))


BASE = {"depth": 1, "width": 16, "stride": 1}


@pytest.mark.parametrize(
    ("mapping", "message"),
    [
        (
            {"stages": [BASE | {"block": "vanilla"}]},
            r"pycls: stages.0.block = 'vanilla': must be one of bottleneck, basic",
        ),
        ({"stages": [BASE | {"block": "basic"}], "in_channels": 1}, r"in_channels = 1: must be 3"),
        ({"stages": [BASE | {"block": "basic", "kernel_size": 5}]}, r"stages.0.kernel_size = 5: must be 3"),
        ({"stages": [BASE | {"block": "bottleneck", "residual": False}]}, r"stages.0.residual = False: must be True"),
        ({"stages": [BASE | {"block": "basic"}, BASE | {"block": "bottleneck"}]}, r"same for all stages"),
        (
            {"stages": [BASE | {"block": "basic"}], "stem": {"kernel_size": 5}},
            r"stem \(.*\) = \(5, 2, False\): must be one of \(3, 2, False\)",
        ),
        ({"stages": [BASE | {"block": "basic"}], "head": {"dropout": 0.1}}, r"head.dropout = 0.1: must be 0"),
        ({"stages": [BASE | {"block": "basic"}], "batch_norm": False}, r"batch_norm = False"),
        ({"stages": [BASE | {"block": "basic"}], "conv_bias": True}, r"conv_bias = True: must be False"),
        ({"stages": [BASE | {"block": "basic", "se_ratio": 0.5}]}, r"se_ratio = 0.5: must be 0 in basic blocks"),
        (
            {"stages": [BASE | {"block": "bottleneck", "se_ratio": 0.5, "se_position": "output"}]},
            r"stages.0.se_position = 'output': must be inner",
        ),
        (
            {"stages": [BASE | {"block": "basic", "downsample": "avg"}]},
            r"downsample = 'avg': must be one of conv, none",
        ),
        (
            {"stages": [BASE | {"block": "bottleneck", "linear": True}]},
            r"stages.0.downsample = 'conv': must be none in bottlenecks with a linear output, otherwise conv",
        ),
        ({"stages": [BASE | {"block": "basic"}], "stem": {"hidden": [8]}}, r"stem.hidden = \(8,\): must be empty"),
        (
            {"stages": [BASE | {"block": "inverted"}], "head": {"width": 64}},
            r"se_ratio = 0.0: must be positive and the same",
        ),
    ],
)
def test_networks_that_pycls_cannot_express_are_rejected(mapping, message):
    with pytest.raises(NotExpressible, match=message):
        to_pycls(ModelSpec.from_mapping(mapping))


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"MODEL": {"TYPE": "vit"}}, "MODEL.TYPE = 'vit': must be one of anynet, regnet, effnet, resnet"),
        (anynet(GROUPS=[1]), r"ANYNET.GROUPS = \[1\]: unknown; did you mean GROUP_WS"),
        (anynet(BLOCK_TYPE="bottleneck"), "ANYNET.BLOCK_TYPE = 'bottleneck': must be one of res_bottleneck_block"),
        (anynet(DEPTHS=[1, 1], WIDTHS=[8]), r"ANYNET.WIDTHS = \[8\]: must have as many values as DEPTHS \(2\)"),
        (resnet((3, 4, 6, 3), 0.25, (6, 128, 256, 512)), "ANYNET.GROUP_WS = 6: must divide the inner width 64"),
        (regnet("RegNetX-200MF") | {"REGNET": {"W0": 20}}, "REGNET.W0 = 20: must be a multiple of 8"),
    ],
)
def test_errors_of_a_configuration_name_the_key(config, message):
    with pytest.raises(ValueError, match=message):
        from_pycls(config)


STAGES = {"DEPTHS": [1, 2], "WIDTHS": [32, 64], "STRIDES": [2, 2], "GROUP_WS": [8, 16], "BOT_MULS": [1.0, 0.5]}
WRONG = {
    "scalar": (None, "24", [1], {}, 0, -1, math.inf, math.nan),
    "list": (None, "24", 24, {}, [None, 1], ["8", 8], [0, 1], [-1, 1], [math.inf, 1], [[1], 1], [1]),
}


@pytest.mark.parametrize("key", ["DEPTH", "W0", "WM", "GROUP_W", "BOT_MUL", "STRIDE", "STEM_W"])
@pytest.mark.parametrize("value", WRONG["scalar"])
def test_errors_of_regnet_values_name_the_key(key, value):
    config = regnet("RegNetX-200MF")
    config["REGNET"][key] = value
    with pytest.raises(ValueError, match=rf"^REGNET\.{key}\b"):
        from_pycls(config)


@pytest.mark.parametrize("key", STAGES)
@pytest.mark.parametrize("value", WRONG["list"])
def test_errors_of_anynet_lists_name_the_key(key, value):
    with pytest.raises(ValueError, match=rf"ANYNET\..*{key}\b"):
        from_pycls(anynet(**STAGES | {key: value}))


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ([], r"config = \[\]: must be a mapping"),
        ({}, r"MODEL\.TYPE: required"),
        ({"MODEL": "regnet"}, r"MODEL = 'regnet': must be a mapping"),
        ({"MODEL": {"TYPE": ["regnet"]}}, r"MODEL\.TYPE = \['regnet'\]"),
        ({"MODEL": {"TYPE": "regnet", "NUM_CLASSES": None}}, r"MODEL\.NUM_CLASSES = None"),
        ({"MODEL": {"TYPE": "regnet"}, "REGNET": [1]}, r"REGNET = \[1\]: must be a mapping"),
        ({"MODEL": {"TYPE": "regnet"}, "TRAIN": {"IM_SIZE": "224"}}, r"TRAIN\.IM_SIZE = '224'"),
        (regnet("RegNetX-200MF") | {"REGNET": {"DEPTH": 12.5}}, r"REGNET\.DEPTH = 12\.5"),
        (regnet("RegNetX-200MF") | {"REGNET": {"WA": 1e300, "DEPTH": 20}}, r"REGNET\.WA = 1e\+300: must be smaller"),
        (
            regnet("RegNetX-200MF") | {"REGNET": {"BOT_MUL": 0.3}},
            r"REGNET\.BOT_MUL = 0\.3: must be an integer or the inverse",
        ),
        (
            anynet(**STAGES | {"BOT_MULS": [0.001, 1.0]}),
            r"ANYNET\.BOT_MULS = 0\.001: must keep a channel of width 32",
        ),
    ],
)
def test_errors_of_malformed_configurations_name_the_key(config, message):
    with pytest.raises(ValueError, match=message):
        from_pycls(config)
