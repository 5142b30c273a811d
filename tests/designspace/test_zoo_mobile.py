"""MnasNet, MobileNetV3, EfficientNetV2 and ConvNeXt: published counts, timm's parameters, one update of the weights."""

import sys
from pathlib import Path

import pytest
import torch

from designspace import ModelSpec, complexity, zoo
from designspace.network import build_network

sys.path.insert(0, str(Path(__file__).parent))
from other_libraries import need

TIMM = {
    "MnasNet-1.0": "mnasnet_100",
    "MobileNetV3-Large": "mobilenetv3_large_100",
    "MobileNetV3-Small": "mobilenetv3_small_100",
    "EfficientNetV2-S": "tf_efficientnetv2_s",
    "EfficientNetV2-M": "tf_efficientnetv2_m",
    "ConvNeXt-T": "convnext_tiny",
    "ConvNeXt-S": "convnext_small",
    "ConvNeXt-B": "convnext_base",
}


@pytest.mark.parametrize(("name", "model"), TIMM.items())
def test_parameters_equal_those_of_timm(name: str, model: str) -> None:
    need("timm", "torchvision")
    import timm

    with torch.device("meta"):
        theirs = timm.create_model(model)
    assert complexity(zoo.spec(name)).params == sum(p.numel() for p in theirs.parameters())


@pytest.mark.parametrize(
    ("name", "giga", "unit"),
    [
        ("MobileNetV3-Large", 0.217, 0.001),  # official model table (tensorflow/models, slim/nets/mobilenet)
        ("MobileNetV3-Small", 0.056, 0.001),  # arXiv 1905.02244, Table 3
        ("EfficientNetV2-S", 8.37, 0.01),  # torchvision's model table, also M
        ("EfficientNetV2-M", 24.58, 0.01),
        ("ConvNeXt-T", 4.5, 0.1),  # arXiv 2201.03545, Table 1, also S and B
        ("ConvNeXt-S", 8.7, 0.1),
        ("ConvNeXt-B", 15.4, 0.1),
    ],
)
def test_published_multiply_adds(name: str, giga: float, unit: float) -> None:
    assert complexity(zoo.spec(name), "conv").macs / 1e9 == pytest.approx(giga, abs=unit)


@pytest.mark.parametrize("name", ["MnasNet-1.0", "MobileNetV3-Small", "EfficientNetV2-S", "ConvNeXt-T"])
def test_one_update_lowers_the_loss(name: str) -> None:
    torch.manual_seed(0)
    spec = ModelSpec(**dict(zoo.spec(name)) | {"resolution": 32})
    network = build_network(spec)
    for module in network.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    optimizer = torch.optim.SGD(network.parameters(), 0.01)
    images, labels = torch.randn(4, 3, 32, 32), torch.arange(4)
    losses = []
    for _ in range(2):
        loss = torch.nn.functional.cross_entropy(network(images), labels)
        optimizer.zero_grad()
        loss.backward()
        assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())
        optimizer.step()
        losses.append(loss.item())
    assert losses[1] < losses[0]
