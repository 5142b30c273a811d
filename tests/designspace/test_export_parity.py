"""Exported networks have the same parameters, and the same logits with the same weights."""

import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch

from designspace import ModelSpec, complexity, zoo
from designspace.export import NotExpressible, timm_source, torchvision_source
from designspace.network import LayerNorm, LayerScale, build_network

sys.path.insert(0, str(Path(__file__).parent))
from other_libraries import need

TARGETS = {"timm": timm_source, "torchvision": torchvision_source}


def bottleneck(**fields) -> dict:
    return {"block": "bottleneck", "depth": 2, "width": 32, **fields}


def two(stage: dict, **rest) -> dict:
    """A network of two stages, the second wider."""
    return {"resolution": 32, "stages": [stage, stage | {"width": 2 * stage["width"], "depth": 1}], **rest}


SMALL = {"stem": {"width": 16, "stride": 1}, "in_channels": 1, "resolution": 28, "head": {"classes": 10}}
BOTH = {
    "X": two(bottleneck(group_width=8)),
    "X depthwise": two(bottleneck(group_width=1)),
    "R, one group": two(bottleneck()),
    "Y": two(bottleneck(group_width=16, se_ratio=0.25)),
    "Y SiLU": two(bottleneck(group_width=16, se_ratio=0.25), activation="silu"),
    **{f"X b={b}": two(bottleneck(bottleneck_ratio=b, group_width=8)) for b in (0.25, 0.5, 1, 2, 4)},
    **{f"Y b={b}": two(bottleneck(bottleneck_ratio=b, group_width=8, se_ratio=0.25)) for b in (0.5, 2)},
    "g differs": {"resolution": 32, "stages": [bottleneck(group_width=4), bottleneck(width=48, group_width=24)]},
    "X 28 px, 1 channel": two(bottleneck(group_width=8, stride=1), **SMALL),
    "Y 28 px, 1 channel": two(bottleneck(group_width=8, se_ratio=0.25), **SMALL),
    "7×7 stem with pool": two(bottleneck(bottleneck_ratio=4), stem={"width": 64, "kernel_size": 7, "max_pool": True}),
    "7 stages": {"resolution": 64, "stages": [bottleneck(depth=1)] * 7},
}
TIMM = {
    "basic": two({"block": "basic", "depth": 2, "width": 16}),
    "basic 28 px, 1 channel": two({"block": "basic", "depth": 2, "width": 16}, **SMALL),
    "basic and X": {"resolution": 32, "stages": [{"block": "basic", "depth": 1, "width": 16}, bottleneck()]},
    "5×5": two(bottleneck(group_width=8, kernel_size=5)),
    "GELU, ReLU6": two(bottleneck(group_width=8), activation="gelu"),
    "1×1 head, dropout": two(bottleneck(se_ratio=0.5), activation="relu6", head={"width": 100, "dropout": 0.1}),
}
BASIC = {"block": "basic", "depth": 2, "width": 16}
RESNET_STEM = {"width": 64, "kernel_size": 7, "max_pool": True}
VGG = {"block": "vanilla", "depth": 2, "width": 16, "stride": 1, "max_pool": True}
VGG_512 = {
    "resolution": 32,
    "stem": None,
    "stages": [VGG, VGG | {"depth": 1, "width": 512, "max_pool": False}],
    "head": {"classes": 10, "pool_size": 7, "hidden": [4096, 4096], "dropout": 0.5},
}
CLASSIC = {
    "VGG with batch norm": VGG_512 | {"conv_bias": True},
    "basic": {
        "resolution": 64,
        "stem": RESNET_STEM,
        "stages": [BASIC | {"width": 64 * 2**i, "depth": 1 + i % 2, "stride": min(2, 1 + i)} for i in range(4)],
    },
}
TIMM |= {
    **{f"shortcut {d}": two(bottleneck(downsample=d), resolution=33) for d in ("avg", "none")},
    "basic, average shortcut": two(BASIC | {"downsample": "avg"}, resolution=33),
    "SE on the output": two(bottleneck(se_ratio=0.25, se_position="output", bottleneck_ratio=2)),
    "basic with SE": two(BASIC | {"se_ratio": 0.5}),
    "Z": two(bottleneck(bottleneck_ratio=0.25, group_width=8, se_ratio=0.25, downsample="none", linear=True)),
    "deep stem with pool": two(BASIC, stem={"width": 16, "hidden": [8, 12], "max_pool": True}),
    "deep stem 28 px, 1 channel": two(BASIC, **SMALL | {"stem": {"width": 16, "hidden": [8], "stride": 1}}),
    "deep stem 7×7": two(BASIC, stem={"width": 16, "hidden": [8], "kernel_size": 7, "max_pool": True}),
    "SE and shortcut per stage": {
        "resolution": 32,
        "stages": [bottleneck(), bottleneck(se_ratio=0.25), bottleneck(downsample="avg"), BASIC],
    },
}
INVERTED = {"block": "inverted", "depth": 2, "width": 16}
TIMM |= {
    "inverted": two(INVERTED),
    "inverted t=1 and 4, SE, 5×5": {
        "resolution": 32,
        "activation": "silu",
        "stages": [
            INVERTED | {"expansion_ratio": 1, "se_ratio": 0.25},
            INVERTED | {"expansion_ratio": 4, "kernel_size": 5},
        ],
        "head": {"width": 64, "dropout": 0.2},
    },
    "inverted g=8, no shortcut": two(INVERTED | {"group_width": 8, "shortcut": "none"}, **SMALL),
    "inverted one group": two(INVERTED | {"group_width": None}, activation="relu6"),
    "separable": two({"block": "separable", "depth": 2, "width": 16}),
    "separable 28 px, 1 channel": two({"block": "separable", "depth": 2, "width": 20, "stride": 1}, **SMALL),
}
V3_SQUEEZE = {"se_ratio": 0.25, "se_base": "expansion", "se_gate": "hard_sigmoid", "se_activation": "relu"}
V3_HEAD = {"head": {"width": 24, "hidden": [40], "dropout": 0.1}}
CONVNEXT = {
    "resolution": 32,
    "activation": "gelu",
    "norm": "layer",
    "stem": {"width": 16, "kernel_size": 4, "stride": 4, "padding": "valid", "activate": False},
    "stages": [
        {"block": "convnext", "depth": 1 + number % 2, "width": 16 * 2**number, "stride": 2 if number else 1}
        for number in range(4)
    ],
    "head": {"norm": True},
}
TIMM |= {
    "fused, with and without SE": {
        "resolution": 32,
        "activation": "silu",
        "stages": [
            INVERTED | {"fused": True, "expansion_ratio": 4, "kernel_size": 5},
            INVERTED | {"fused": True, "se_ratio": 0.25, "shortcut": "none"},
            INVERTED,
        ],
    },
    "fused without expansion": two(INVERTED | {"fused": True, "expansion_ratio": 1, "width": 32, "stride": 1}),
    "hard-swish after ReLU": {
        "activation": "hard_swish",
        "resolution": 32,
        "stages": [INVERTED | {"activation": "relu"}, INVERTED | V3_SQUEEZE | {"expansion_ratio": 2.5}],
    },
    "hidden layer": two(INVERTED | V3_SQUEEZE, activation="hard_swish", **V3_HEAD),
    "hidden layer without 1×1": two(INVERTED | {"se_ratio": 0.5}, **SMALL | {"head": {"hidden": [40]}}),
    "separable with its own activation": two({"block": "separable", "depth": 1, "width": 16, "activation": "silu"}),
    "ConvNeXt": CONVNEXT,
    "ConvNeXt 5×5, no layer scale, ReLU": CONVNEXT
    | {
        "activation": "relu",
        "in_channels": 1,
        "stem": CONVNEXT["stem"] | {"kernel_size": 2, "stride": 2},
        "stages": [stage | {"layer_scale": 0, "kernel_size": 5, "stride": 2} for stage in CONVNEXT["stages"]],
    },
}
EFFICIENT = INVERTED | {"se_ratio": 0.25}
TORCHVISION = {
    "inverted and fused": {
        "resolution": 32,
        "activation": "silu",
        "stem": {"width": 24, "stride": 1},
        "stages": [
            {"block": "inverted", "depth": 2, "width": 24, "stride": 1, "fused": True, "expansion_ratio": 1},
            INVERTED | {"fused": True, "expansion_ratio": 4, "kernel_size": 5},
            EFFICIENT | {"expansion_ratio": 1},
            EFFICIENT | {"width": 32},
        ],
        "head": {"width": 64, "dropout": 0.2},
    },
    "MobileNetV3": two(
        INVERTED | V3_SQUEEZE | {"activation": "relu"}, activation="hard_swish", head={"width": 192, "hidden": [40]}
    ),
    "ConvNeXt": CONVNEXT,
}
CASES = [(target, name, mapping) for target in TARGETS for name, mapping in BOTH.items()]
CASES += [("timm", name, mapping) for name, mapping in TIMM.items()]
CASES += [("torchvision", name, mapping) for name, mapping in CLASSIC.items()]
CASES += [("torchvision", name, mapping) for name, mapping in TORCHVISION.items()]


def module_of(text: str) -> ModuleType:
    module = ModuleType("exported")
    exec(compile(text, "exported.py", "exec"), module.__dict__)
    return module


def difference(spec: ModelSpec, target: str, tmp_path: Path) -> float:
    """Largest difference of logits, relative where they exceed 1, with random batch-norm parameters."""
    from safetensors.torch import save_file

    torch.manual_seed(0)
    ours = build_network(spec).eval()
    for module in ours.modules():
        if isinstance(module, torch.nn.BatchNorm2d | LayerNorm):
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.uniform_(module.bias, -0.2, 0.2)
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.running_var, 0.5, 2)
            torch.nn.init.normal_(module.running_mean, std=0.1)
        if isinstance(module, LayerScale):
            torch.nn.init.uniform_(module.gamma, 0.5, 1.5)
        if isinstance(module, torch.nn.Linear):  # logits of order 1
            torch.nn.init.normal_(module.weight, std=module.in_features**-0.5)
    save_file(ours.state_dict(), tmp_path / "model.safetensors")
    exported = module_of(TARGETS[target](spec))
    theirs = exported.load(tmp_path / "model.safetensors")
    assert sum(p.numel() for p in theirs.parameters()) == complexity(spec).params
    images = torch.randn(2, spec.in_channels, spec.resolution, spec.resolution)
    with torch.inference_mode():
        logits = ours(images)
        scale = max(1.0, float(logits.abs().max()))
        assert float(logits.std()) > 0.01
        return float((logits - theirs(images)).abs().max()) / scale


@pytest.mark.parametrize(("target", "name", "mapping"), CASES, ids=[f"{target}: {name}" for target, name, _ in CASES])
def test_same_logits(target, name, mapping, tmp_path):
    need("safetensors", target, "torchvision")
    assert difference(ModelSpec.from_mapping(mapping), target, tmp_path) < 1e-5


@pytest.mark.parametrize(
    ("target", "name"),
    [
        ("timm", "RegNetX-200MF"),
        ("timm", "RegNetY-400MF"),
        ("timm", "ResNet-50"),
        ("timm", "ResNet-18"),
        ("timm", "SE-ResNet-50"),
        ("timm", "ResNet-50-D"),
        ("timm", "RegNetZ-500MF"),
        ("timm", "EfficientNet-B0"),
        ("timm", "MobileNetV2-1.0-224"),
        ("timm", "MobileNetV1-0.25-224"),
        ("timm", "MnasNet-1.0"),
        ("timm", "MobileNetV3-Large"),
        ("timm", "MobileNetV3-Small"),
        ("timm", "EfficientNetV2-S"),
        ("timm", "ConvNeXt-T"),
        ("torchvision", "EfficientNet-B0"),
        ("torchvision", "EfficientNetV2-S"),
        ("torchvision", "MobileNetV3-Small"),
        ("torchvision", "ConvNeXt-T"),
        ("torchvision", "RegNetX-400MF"),
        ("torchvision", "RegNetY-200MF"),
        ("torchvision", "ResNet-34"),
        ("torchvision", "ResNeXt-50-32x4d"),
    ],
)
def test_same_logits_of_published_networks(target, name, tmp_path):
    need("safetensors", target, "torchvision")
    assert difference(zoo.spec(name), target, tmp_path) < 1e-5


@pytest.mark.parametrize("name", [name for name in zoo.names() if name.startswith("VGG")])
def test_layers_of_published_vggs_equal_those_of_torchvision(name):
    need("torchvision")
    from torchvision import models

    exported = module_of(torchvision_source(zoo.spec(name)))
    with torch.device("meta"):
        ours, theirs = build_network(zoo.spec(name)), exported.build()
        published = getattr(models, name.lower().replace("-", "", 1).replace("-", "_"))()
    tensors = {key: value.shape for key, value in theirs.state_dict().items()}
    assert tensors == {key: value.shape for key, value in published.state_dict().items()}
    modules = ((*key.rpartition("."), value.shape) for key, value in ours.state_dict().items())
    assert tensors == {f"{exported.KEYS[module]}.{tensor}": shape for module, _, tensor, shape in modules}


def test_swapped_weights_change_the_logits(tmp_path, monkeypatch):
    need("safetensors", "timm", "torchvision")
    spec = ModelSpec.from_mapping(BOTH["Y"])
    text = timm_source(spec)
    first, second = '"stages.0.1.conv1_1x1.bn"', '"stages.0.1.conv2_kxk.bn"'
    crossed = text.replace(first, "?").replace(second, first).replace("?", second)
    monkeypatch.setitem(TARGETS, "timm", lambda _: crossed)
    assert difference(spec, "timm", tmp_path) > 1e-3


def test_exported_regnet_has_the_parameter_count_of_the_library():
    need("safetensors", "timm", "torchvision")
    from timm.models.regnet import RegNet, RegNetCfg
    from torchvision.models import regnet_y_400mf

    spec = zoo.spec("RegNetY-400MF")
    rule = RegNetCfg(depth=16, w0=48, wa=27.89, wm=2.09, group_size=8, se_ratio=0.25)
    for theirs in (RegNet(rule), regnet_y_400mf()):
        assert sum(p.numel() for p in theirs.parameters()) == complexity(spec).params


@pytest.mark.parametrize(
    ("target", "mapping", "message"),
    [
        ("timm", two(bottleneck(width=20)), "stages.0.width = 20: must be a multiple of 8"),
        ("timm", two(bottleneck(bottleneck_ratio=8)), "width / bottleneck_ratio = 4"),
        ("timm", two(bottleneck(residual=False)), "stages.0.residual = False: must be True"),
        ("timm", two(bottleneck(stride=3)), "stages.0.stride = 3: must be one of 1, 2"),
        ("timm", two({"block": "vanilla", "depth": 1, "width": 16}), "stages.0.block = 'vanilla'"),
        ("timm", {"stages": [bottleneck()]}, "stages = 1: must be at least 2"),
        ("timm", two(bottleneck(), stem={"kernel_size": 5}), "3×3 or 7×7"),
        ("timm", two(bottleneck(), stem=None), "stem = None"),
        ("timm", two(bottleneck(), stem={"hidden": [8], "kernel_size": 7}), "stem.max_pool = False: must be True"),
        ("timm", two(bottleneck(), conv_bias=True), "conv_bias = True: must be False"),
        ("timm", two(INVERTED, stem={"hidden": [8]}), r"stem.hidden = \(8,\): must be empty"),
        ("torchvision", two(bottleneck(), stem={"hidden": [8]}), r"stem.hidden = \(8,\): must be empty"),
        ("torchvision", two(bottleneck(downsample="avg")), "stages.0.downsample = 'avg': must be conv"),
        ("torchvision", two(bottleneck(linear=True)), "stages.0.linear = True: must be False"),
        ("torchvision", two(bottleneck(se_ratio=0.5, se_position="output")), "se_position = 'output': must be inner"),
        ("timm", two(INVERTED | {"linear": False}), "stages.0.linear = False"),
        ("timm", two(INVERTED | {"shortcut": "expansions"}), "stages.0.shortcut = 'expansions'"),
        ("timm", two(INVERTED | {"width": 10}), "must expand width 10 to a multiple of 8, not to 60"),
        (
            "timm",
            {"stages": [INVERTED, bottleneck()]},
            "stages.1.block = 'bottleneck': must be one of inverted, separable",
        ),
        ("timm", two(INVERTED | {"activation": "gelu"}), "stages.0.activation = 'gelu': must be one of relu, relu,"),
        ("timm", two(bottleneck(activation="silu")), "stages.0.activation = 'silu': must be relu"),
        ("timm", two(bottleneck(norm="layer")), "stages.0.norm = 'layer': must be batch, as in the network"),
        ("timm", two(bottleneck(), norm="layer"), "norm = 'layer': must be batch"),
        ("timm", two(bottleneck(), head={"norm": True}), "head.norm = True: must be False"),
        ("timm", two(INVERTED, head={"hidden": [8, 8]}), r"head.hidden = \(8, 8\): must have one layer"),
        ("timm", two(INVERTED | {"fused": True, "expansion_ratio": 1, "se_ratio": 0.5}), "stages.0.se_ratio = 0.5"),
        (
            "timm",
            {"stages": [INVERTED | {"se_ratio": 0.25}, INVERTED | V3_SQUEEZE]},
            r"stages.\*.se_base = \['expansion', 'input'\]: must be the same for all stages with SE",
        ),
        ("timm", CONVNEXT | {"stages": CONVNEXT["stages"][:3]}, "stages = 3: must be 4"),
        ("timm", CONVNEXT | {"norm": "batch"}, "norm = 'batch': must be layer"),
        ("timm", CONVNEXT | {"stem": {"width": 16}}, "stem.padding = 'same': must be valid"),
        ("torchvision", CONVNEXT | {"activation": "relu"}, "activation = 'relu': must be gelu"),
        ("torchvision", CONVNEXT | {"in_channels": 1}, "in_channels = 1: must be 3"),
        ("torchvision", two(EFFICIENT), "activation = 'relu': must be silu"),
        ("torchvision", two(INVERTED, activation="silu", head={"width": 8}), "stages.0.se_ratio = 0.0: must be 0.25"),
        ("torchvision", two(EFFICIENT, activation="silu"), "head.width = None: must be a number"),
        (
            "torchvision",
            two(INVERTED, activation="hard_swish", head={"width": 8, "hidden": [8]}),
            "head.width = 8: must be 192, six times the width of the last stage",
        ),
        ("torchvision", {"stages": [bottleneck(), BASIC]}, "stages.1.block = 'basic': must be bottleneck"),
        ("torchvision", two(BASIC), "stem = .*: must be width=64 kernel_size=7 max_pool=True"),
        (
            "torchvision",
            two(BASIC, stem=RESNET_STEM),
            r"width of the stages = \(16, 32\): must be \(64, 128, 256, 512\)",
        ),
        ("torchvision", two(BASIC | {"se_ratio": 0.5}, stem=RESNET_STEM), "width of the stages"),
        ("torchvision", two(VGG), "stem = .*: must be None"),
        ("torchvision", two(VGG, stem=None), "conv_bias = False: must be True with batch norm"),
        ("torchvision", two(VGG | {"stride": 2}, stem=None, batch_norm=False), "stages.0.stride = 2: must be 1"),
        ("torchvision", two(VGG, stem=None, batch_norm=False), "width of the last stage = 32: must be 512"),
        ("torchvision", two(bottleneck(), activation="gelu"), "activation = 'gelu'"),
        ("torchvision", two(bottleneck(kernel_size=5)), "stages.0.kernel_size = 5: must be 3"),
        ("torchvision", two(bottleneck(), head={"width": 64}), "head.width = 64"),
        ("torchvision", two(bottleneck(), head={"hidden": [64]}), r"head.hidden = \(64,\)"),
        ("torchvision", two(bottleneck(), head={"dropout": 0.5}), "head.dropout = 0.5"),
        (
            "torchvision",
            {"stages": [bottleneck(), bottleneck(se_ratio=0.25)]},
            "se_ratio = .*: must be the same for all stages",
        ),
    ],
)
def test_networks_that_the_library_cannot_express_are_rejected(target, mapping, message):
    with pytest.raises(NotExpressible, match=f"^{target}: .*{message}"):
        TARGETS[target](ModelSpec.from_mapping(mapping))
