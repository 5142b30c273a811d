"""ResNets, VGGs with batch norm and RegNetZs against timm: parameters, multiply-adds and logits."""

import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from designspace import complexity, zoo
from designspace.network import build_network

sys.path.insert(0, str(Path(__file__).parent))
from other_libraries import need

TIMM = {
    **{f"ResNet-{layers}": f"resnet{layers}" for layers in (18, 26, 34, 50, 101, 152)},
    **{f"SE-ResNet-{layers}": f"seresnet{layers}" for layers in (50, 101, 152)},
    **{f"ResNet-{layers}-D": f"resnet{layers}d" for layers in (18, 26, 34, 50, 101, 152, 200)},
    **{f"VGG-{layers}-BN": f"vgg{layers}_bn" for layers in (11, 13, 16, 19)},
    "Wide-ResNet-50-2": "wide_resnet50_2",
    "Wide-ResNet-101-2": "wide_resnet101_2",
    "ResNeXt-50-32x4d": "resnext50_32x4d",
    "ResNeXt-101-32x4d": "resnext101_32x4d",
    "ResNeXt-101-32x8d": "resnext101_32x8d",
    "ResNeXt-101-64x4d": "resnext101_64x4d",
    "RegNetZ-500MF": "regnetz_005",
    "RegNetZ-4.0GF": "regnetz_040",
    "RegNetZ-4.0GF-H": "regnetz_040_h",
}


def multiply_adds(network: nn.Module, resolution: int) -> int:
    """Multiply-adds of the convolutions and linear layers, counted in a forward pass on the meta device."""
    total = 0

    def count(module: nn.Module, _: object, output: torch.Tensor) -> None:
        nonlocal total
        positions = output[0, 0].numel() if output.ndim == 4 else 1
        total += module.weight.numel() * positions

    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            module.register_forward_hook(count)
    network.eval()(torch.zeros(1, 3, resolution, resolution))
    return total


@pytest.mark.parametrize("name", TIMM)
def test_parameters_and_multiply_adds_equal_those_of_timm(name: str) -> None:
    need("timm", "torchvision")
    import timm

    spec = zoo.spec(name)
    counts = complexity(spec, "conv")
    with torch.device("meta"):
        for network in (timm.create_model(TIMM[name]), build_network(spec)):
            assert sum(p.numel() for p in network.parameters()) == counts.params
            assert multiply_adds(network, spec.resolution) == counts.macs


@pytest.mark.parametrize("name", ["ResNet-18", "SE-ResNet-50", "ResNet-50-D", "RegNetZ-500MF"])
def test_logits_equal_those_of_timm(name: str) -> None:
    # both libraries register the layers of these networks in the same order; odd sizes test the average pooling
    need("timm", "torchvision")
    import timm

    torch.manual_seed(0)
    ours, theirs = build_network(zoo.spec(name)).eval(), timm.create_model(TIMM[name]).eval()
    for module in ours.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            module.momentum = 1.0  # the statistics of one batch
    images = torch.randn(2, 3, 75, 75)
    with torch.no_grad():
        ours.train()(images)
        ours.eval()
    theirs.load_state_dict(dict(zip(theirs.state_dict(), ours.state_dict().values(), strict=True)))
    with torch.inference_mode():
        logits = ours(images)
        assert float(logits.std()) > 0.01
        assert torch.allclose(logits, theirs(images), rtol=1e-4, atol=1e-4)


def test_published_multiply_adds() -> None:
    # Table 5 of arXiv 1812.01187; the names of 2103.06877
    giga = {name: complexity(zoo.spec(name)).macs / 1e9 for name in ("ResNet-50-D", "RegNetZ-500MF", "RegNetZ-4.0GF")}
    assert giga == pytest.approx({"ResNet-50-D": 4.3, "RegNetZ-500MF": 0.5, "RegNetZ-4.0GF": 4.0}, rel=0.02)
