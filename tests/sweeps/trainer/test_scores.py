"""Zero-cost scores: published definitions on small networks, and networks on which a score is not defined."""

from __future__ import annotations

import copy
import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from designspace import ModelSpec
from designspace.network import ACTIVATIONS, build_network
from designspace.study import SCORES
from sweeps.trainer.scores import measure_scores

IMAGES = torch.randn(12, 3, 12, 12, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(12) % 10

pytestmark = pytest.mark.usefixtures("one_thread")


def build(activation: str = "relu", block: str = "bottleneck", **stage: Any) -> nn.Module:
    stage = {"block": block, "depth": 2, "width": 16, "stride": 2} | stage
    mapping = {"resolution": 12, "in_channels": 3, "activation": activation, "head": {"classes": 10}}
    torch.manual_seed(0)
    return build_network(ModelSpec.from_mapping(mapping | {"stem": {"width": 16, "stride": 1}, "stages": [stage]}))


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("block", ["bottleneck", "inverted", "convnext"])
def test_every_block_and_activation_has_finite_scores(block: str, activation: str) -> None:
    scores = measure_scores(build(activation, block), IMAGES, LABELS)
    assert set(scores) == set(SCORES)
    assert all(score is not None and math.isfinite(score) for score in scores.values())


def test_naswot_counts_the_activations_with_equal_sign() -> None:
    # codes of the images: (1, 0, 1), (1, 1, 1), (0, 0, 0), with Hamming distances 1, 2 and 3
    network = nn.Sequential(nn.ReLU(), nn.Linear(3, 10))
    images = torch.tensor([[1.0, -1, 2], [3, 1, 1], [-1, -2, 0]])
    expected = torch.tensor([[3.0, 2, 1], [2, 3, 0], [1, 0, 3]]).det().log()
    assert measure_scores(network, images, LABELS[:3])["score_nwot"] == pytest.approx(float(expected))


def test_naswot_is_undefined_without_an_activation_function_and_for_equal_codes() -> None:
    linear = nn.Sequential(nn.Flatten(), nn.Linear(432, 10))
    assert measure_scores(linear, IMAGES, LABELS)["score_nwot"] is None
    assert measure_scores(build(), IMAGES[[0, 1, 0]], LABELS[:3])["score_nwot"] is None


def test_synflow_of_linear_layers_is_the_sum_over_paths_times_their_number() -> None:
    first, last = nn.Linear(4, 5, bias=False), nn.Linear(5, 3, bias=False)
    flow = (last.weight.abs() @ first.weight.abs()).sum()  # each layer conserves it (arXiv 2006.05467, Sec. 4)
    for network in (
        nn.Sequential(first, nn.ReLU(), last),
        nn.Sequential(first, nn.BatchNorm1d(5), nn.SiLU(), last),
    ):
        score = measure_scores(network, IMAGES[:, 0, 0, :4], LABELS % 3)["score_synflow"]
        assert score == pytest.approx(math.log(2 * flow.item()))


def test_gradient_scores_are_those_of_a_backward_pass_in_training_mode() -> None:
    network = build()
    replica = copy.deepcopy(network).train()
    nn.functional.cross_entropy(replica(IMAGES), LABELS).backward()
    weights = [module.weight for module in replica.modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    scores = measure_scores(network, IMAGES, LABELS)
    norms = [float(weight.grad.norm()) for weight in weights]  # type: ignore[union-attr]
    assert scores["score_grad_norm"] == pytest.approx(sum(norms), rel=1e-5)
    products = [float((weight * weight.grad).detach().abs().sum()) for weight in weights]  # type: ignore[operator]
    assert scores["score_snip"] == pytest.approx(sum(products), rel=1e-5)


def test_a_score_that_overflows_is_null() -> None:
    network = build()
    for parameter in network.parameters():
        nn.init.constant_(parameter, 1e30)
    scores = measure_scores(network, IMAGES, LABELS)
    assert scores["score_grad_norm"] is None
    deep = nn.Sequential(nn.Flatten(), nn.Linear(432, 8), *(nn.Linear(8, 8) for _ in range(10)), nn.Linear(8, 10))
    for parameter in deep.parameters():
        nn.init.constant_(parameter, 1e38)
    assert measure_scores(deep, IMAGES, LABELS)["score_synflow"] is None


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_the_network_and_the_random_state_are_not_modified(memory_format: torch.memory_format) -> None:
    network = build().to(memory_format=memory_format).train()  # type: ignore[call-overload]
    state: dict[str, Tensor] = copy.deepcopy(network.state_dict())
    strides = {name: value.stride() for name, value in state.items()}
    random = torch.get_rng_state()
    measure_scores(network, IMAGES, LABELS)
    assert torch.equal(torch.get_rng_state(), random)
    assert all(module.training for module in network.modules())
    assert all(parameter.grad is None for parameter in network.parameters())
    assert {name: value.stride() for name, value in network.state_dict().items()} == strides
    assert all(torch.equal(value, state[name]) for name, value in network.state_dict().items())


def test_dropout_does_not_change_the_scores() -> None:
    network = nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(432, 8), nn.ReLU(), nn.Linear(8, 10))
    assert measure_scores(network, IMAGES, LABELS) == measure_scores(network, IMAGES, LABELS)
