import sys
from collections import Counter
from pathlib import Path

import pandas as pd
import pytest
import torch
from fvcore.nn import FlopCountAnalysis

from designspace import ModelSpec, complexity, spaces, zoo
from designspace.network import build_network
from designspace.spaces import space_from_config
from designspace.spec import BottleneckStage, Stem, VanillaStage

sys.path.insert(0, str(Path(__file__).parent))
from stage_fields import SPACES


def test_published_integers(published: pd.DataFrame) -> None:
    for name, row in published.iterrows():
        counts = complexity(zoo.spec(str(name)))
        assert (name, counts.macs, counts.params, counts.acts) == (name, *row)


def conv_and_linear(spec: ModelSpec, network: torch.nn.Module) -> int:
    """Multiply-adds of convolutions and linear layers by fvcore, which does not count biases."""
    image = torch.zeros(1, spec.in_channels, spec.resolution, spec.resolution)
    analysis = FlopCountAnalysis(network, image).unsupported_ops_warnings(False).uncalled_modules_warnings(False)
    by_operator: Counter[str] = analysis.by_operator()
    return int(by_operator["conv"] + by_operator["linear"])


@pytest.fixture
def without_init(monkeypatch: pytest.MonkeyPatch) -> None:
    """Skip the initialization of weights in tests of shapes and counts."""
    for name in ("normal_", "trunc_normal_", "uniform_", "kaiming_uniform_"):
        monkeypatch.setattr(torch.nn.init, name, lambda tensor, *_, **__: tensor)


@pytest.mark.parametrize("name", zoo.names())
@pytest.mark.usefixtures("without_init")
def test_zoo_agrees_with_fvcore_and_torch(name: str) -> None:
    # at 96 pixels for speed; fvcore runs the forward pass
    spec = ModelSpec(**dict(zoo.spec(name)) | {"resolution": 96})
    network = build_network(spec).eval()
    assert network(torch.zeros(1, 3, 96, 96)).shape == (1, 1000)
    assert complexity(spec, "conv").macs == conv_and_linear(spec, network)
    assert complexity(spec).params == sum(p.numel() for p in network.parameters())


@pytest.mark.parametrize("name", spaces.names())
@pytest.mark.usefixtures("without_init")
def test_sampled_models_agree_with_fvcore_and_torch(name: str) -> None:
    small = {"resolution": 18, "in_channels": 1, "head": {"classes": 10}, "stem": {"stride": 1}}
    config: dict[str, object] = {"base": name, "template": small}
    n, built = 50, 12
    if spaces.space(name).family == "compound":
        config |= {"spec": "MobileNetV1-0.25-128", "constraints": {"depth": [13, 30]}}
        n = 12 if spaces.space(name).rule else 50  # one rule gives few distinct networks
    else:
        config["constraints"] = {"params": [0, 4e5], "depth": [3, 7]}  # small networks for speed
    population = space_from_config(config).sample(n, seed=1)
    for index in range(n):
        spec = population.spec(index)
        counts = complexity(spec)
        assert counts.macs == population.complexity.macs[index]
        assert counts.acts == population.complexity.acts[index]
        assert counts.params == population.complexity.params[index]
        if index >= built:
            continue
        network = build_network(spec).eval()
        assert counts.params == sum(p.numel() for p in network.parameters())
        assert complexity(spec, "conv").macs == conv_and_linear(spec, network)


@pytest.mark.parametrize("name", SPACES)
@pytest.mark.usefixtures("without_init")
def test_drawn_stage_fields_agree_with_fvcore_and_torch(name: str) -> None:
    population = space_from_config(SPACES[name]).sample(16, seed=1)
    for index, spec in enumerate(population):
        counts = complexity(spec)
        drawn = (int(getattr(population.complexity, key)[index]) for key in ("macs", "params", "acts"))
        assert (counts.macs, counts.params, counts.acts) == tuple(drawn)
        network = build_network(spec).eval()
        assert counts.params == sum(p.numel() for p in network.parameters())
        assert complexity(spec, "conv").macs == conv_and_linear(spec, network)


def test_counts_of_a_spec_are_python_integers() -> None:
    counts = complexity(zoo.spec("ResNet-50"))
    assert all(type(value) is int for value in (counts.macs, counts.params, counts.acts))


def test_conv_convention_counts_only_convolution_outputs() -> None:
    # ResNet-50: 11.1 M in the RegNet paper (Table 3); the pycls integer adds the stem's max-pool and the logits.
    spec = zoo.spec("ResNet-50")
    assert complexity(spec).acts - complexity(spec, "conv").acts == 64 * 56**2 + 1000
    assert round(complexity(spec, "conv").acts / 1e6, 1) == 11.1


def test_unknown_convention_is_rejected() -> None:
    with pytest.raises(ValueError, match="convention = papers: unknown; must be one of pycls, conv"):
        complexity(zoo.spec("ResNet-50"), "papers")


def test_too_small_images_are_rejected() -> None:
    pools = (VanillaStage(depth=1, width=8, stride=1, max_pool=True),) * 4
    with pytest.raises(ValueError, match="resolution = 8: must leave at least one pixel after the stage4"):
        complexity(ModelSpec(resolution=8, stem=Stem(stride=1), stages=pools))


@pytest.mark.parametrize("ratio", [0.25, 0.5, 1, 2, 4])
def test_cost_of_a_bottleneck_block(ratio: float) -> None:
    # The two 1×1 convolutions of a stride-1 block cost 2 w² / b multiply-adds per position.
    def block(depth: int) -> ModelSpec:
        stage = BottleneckStage(depth=depth, width=64, stride=1, bottleneck_ratio=ratio, group_width=1)
        return ModelSpec(resolution=8, stem=Stem(width=64, stride=1), stages=(stage,))

    inner = int(64 / ratio)
    added = complexity(block(2)).macs - complexity(block(1)).macs
    assert added == 8 * 8 * (2 * 64 * inner + 9 * inner)
