"""The probe of a trained network: effective rank and dead channels at the narrow point of every block."""

from __future__ import annotations

import copy
import dataclasses
import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from designspace import ModelSpec
from designspace.blocks import STAGES
from designspace.network import build_network
from sweeps.config import DeviceConfig
from sweeps.trainer.activations import Moments, measure_activations, narrow_points
from sweeps.trainer.device import resolve_device

CPU = resolve_device(DeviceConfig(device="cpu", dtype="float32"))
IMAGES = torch.randn(24, 3, 12, 12, generator=torch.Generator().manual_seed(0))


def spec(*stages: dict[str, Any], **changes: Any) -> ModelSpec:
    mapping = {"resolution": 12, "in_channels": 3, "stem": {"width": 16, "stride": 1}, "head": {"classes": 10}}
    return ModelSpec.from_mapping(mapping | {"stages": list(stages)} | changes)


def measure(*stages: dict[str, Any], **changes: Any) -> dict[str, Any]:
    torch.manual_seed(0)
    return measure_activations(build_network(spec(*stages, **changes)), IMAGES.split(7), CPU)


def normal(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1))


def test_the_effective_rank_of_a_rank_one_tensor_is_one() -> None:
    direction = torch.tensor([1.0, -2.0, 0.5, 3.0])
    x = normal(8, 1, 5, 5) * direction[:, None, None] + 7
    assert Moments(x).effective_rank == pytest.approx(1, abs=1e-5)


def test_the_effective_rank_of_independent_channels_of_equal_variance_is_their_number() -> None:
    signs = torch.tensor([[1.0, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]])  # orthogonal columns, mean 0
    assert Moments(signs).effective_rank == pytest.approx(3)
    assert Moments(100 + signs).effective_rank == pytest.approx(3)
    assert Moments(signs * torch.tensor([1.0, 1.0, 0.0])).effective_rank == pytest.approx(2)


def test_the_effective_rank_is_the_participation_ratio_of_the_eigenvalues() -> None:
    x = normal(50, 6, 4, 4) * torch.arange(1, 7)[:, None, None] + 20
    eigenvalues = torch.linalg.eigvalsh(x.movedim(1, -1).reshape(-1, 6).double().T.cov(correction=0))
    expected = float(eigenvalues.sum() ** 2 / eigenvalues.square().sum())
    moments = Moments(x[:10])
    moments.add(x[10:])
    assert moments.effective_rank == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("value", [0.0, 0.1, -3e4])
def test_a_constant_tensor_has_rank_zero(value: float) -> None:
    moments = Moments(torch.full((100, 3, 7, 7), value))
    moments.add(torch.full((20, 3, 7, 7), value))
    assert moments.effective_rank == 0


def test_a_tensor_that_is_not_finite_has_no_rank() -> None:
    assert Moments(torch.tensor([[1.0, math.inf], [0.0, 1.0]])).effective_rank is None


def test_a_channel_is_dead_if_it_never_fires_for_any_image_and_position() -> None:
    x = torch.zeros(10, 4, 3, 3)
    x[:, 0], x[9, 1, 2, 2] = 1.0, 1e-3
    moments = Moments(x[:5])
    moments.add(x[5:])
    assert moments.dead_fraction == 0.5


BLOCKS: dict[str, tuple[dict[str, Any], list[int], bool]] = {
    "bottleneck": ({"block": "bottleneck", "bottleneck_ratio": 4}, [8, 8, 8], True),
    "bottleneck with SE": ({"block": "bottleneck", "bottleneck_ratio": 2, "se_ratio": 0.25}, [16, 16, 16], True),
    "bottleneck with SE at the output": (
        {"block": "bottleneck", "bottleneck_ratio": 2, "se_ratio": 0.25, "se_position": "output"},
        [16, 16, 16],
        True,
    ),
    "RegNetZ": (
        {"block": "bottleneck", "bottleneck_ratio": 0.25, "se_ratio": 0.25, "downsample": "none", "linear": True},
        [32, 32, 32],
        False,
    ),
    "basic with SE and average pooling": (
        {"block": "basic", "se_ratio": 0.25, "downsample": "avg"},
        [32, 32, 32],
        True,
    ),
    "inverted bottleneck, b < 1": ({"block": "bottleneck", "bottleneck_ratio": 0.5}, [32, 32, 32], True),
    "basic": ({"block": "basic"}, [32, 32, 32], True),
    "plain": ({"block": "basic", "residual": False}, [32, 32, 32], True),
    "vanilla": ({"block": "vanilla"}, [32, 32, 32], True),
    "vanilla with a pool": ({"block": "vanilla", "max_pool": True, "stride": 1}, [32, 32, 32], True),
    "inverted": ({"block": "inverted"}, [32, 32, 32], False),
    "inverted, nonlinear": ({"block": "inverted", "linear": False}, [32, 32, 32], True),
    "inverted, no shortcut": ({"block": "inverted", "shortcut": "none"}, [32, 32, 32], False),
    "inverted, wide shortcuts": ({"block": "inverted", "shortcut": "expansions"}, [32, 32, 32], False),
    "inverted, wide shortcuts, nonlinear": (
        {"block": "inverted", "shortcut": "expansions", "linear": False},
        [32, 32, 32],
        True,
    ),
    "inverted, fused": ({"block": "inverted", "fused": True}, [32, 32, 32], False),
    "convnext": ({"block": "convnext"}, [32, 32, 32], False),
    "separable": ({"block": "separable"}, [16, 32, 32], True),
    "separable, linear depthwise": ({"block": "separable", "activate_depthwise": False}, [32, 32, 32], True),
    "xception": ({"block": "xception"}, [16, 32, 32], True),
}


@pytest.mark.parametrize("name", BLOCKS)
@pytest.mark.parametrize("batch_norm", [True, False])
def test_every_block_has_one_narrow_point(name: str, batch_norm: bool) -> None:
    stage, channels, has_activation = BLOCKS[name]
    network = build_network(spec({"depth": 3, "width": 32, "stride": 2} | stage, batch_norm=batch_norm))
    result = measure_activations(network, IMAGES.split(7), CPU)
    assert list(result["block_channels"]) == channels
    assert [point.has_activation for point in narrow_points(network, IMAGES[:1])] == [has_activation] * 3
    for before, after, dead, width in zip(
        *(result[f"block_{field}"] for field in ("rank_before", "rank_after", "dead_fraction", "channels")), strict=True
    ):
        assert 1 <= before <= width
        assert 1 <= after <= width
        if has_activation:
            assert 0 <= dead < 1
        else:
            assert dead is None
            assert before == after
    assert (before != after) is has_activation


def test_the_blocks_above_are_all_built_in_blocks() -> None:
    assert {stage["block"] for stage, _, _ in BLOCKS.values()} == set(STAGES)


def test_only_rectifiers_have_dead_channels() -> None:
    stage = {"block": "vanilla", "depth": 1, "width": 8}
    dead = {name: measure(stage, activation=name)["block_dead_fraction"] for name in ("relu", "relu6", "silu", "gelu")}
    assert dead["silu"] == dead["gelu"] == (None,)
    assert dead["relu"] == dead["relu6"] == (0.0,)


def test_known_activations_of_a_network() -> None:
    network = build_network(spec({"block": "vanilla", "depth": 2, "width": 4, "stride": 1})).eval()
    first, second = network.stage1
    with torch.no_grad():
        first[1].bias.copy_(torch.tensor([-1e3, -1e3, -1e3, 1e3]))  # three dead channels, one linear
        first[1].weight.fill_(1.0)
        second[0].weight.copy_(second[0].weight[:1].expand(4, -1, -1, -1))  # four equal channels
    result = measure_activations(network, [IMAGES], CPU)
    assert result["block_dead_fraction"] == (0.75, 0.0)
    assert result["block_rank_after"][0] == pytest.approx(1)
    assert result["block_rank_before"][1] == pytest.approx(1)
    assert result["probe_images"] == 24


def test_batches_and_memory_format_change_no_value() -> None:
    network = build_network(spec({"block": "bottleneck", "depth": 2, "width": 32, "bottleneck_ratio": 2}))
    whole, split = measure_activations(network, [IMAGES], CPU), measure_activations(network, IMAGES.split(5), CPU)
    last = measure_activations(
        network.to(memory_format=torch.channels_last), [IMAGES.contiguous(memory_format=torch.channels_last)], CPU
    )
    for name, values in whole.items():
        assert split[name] == pytest.approx(values, rel=1e-4)
        assert last[name] == pytest.approx(values, rel=1e-4)


def test_ranks_in_reduced_precision_agree_with_float32_and_float16_is_measured_in_float32() -> None:
    network = build_network(spec({"block": "bottleneck", "depth": 2, "width": 32, "bottleneck_ratio": 2}))
    exact, bfloat16, float16 = (
        measure_activations(network, [IMAGES], dataclasses.replace(CPU, dtype=dtype))
        for dtype in (torch.float32, torch.bfloat16, torch.float16)
    )
    assert float16 == exact
    for name in ("block_rank_before", "block_rank_after"):
        assert bfloat16[name] == pytest.approx(exact[name], rel=0.02)


def test_the_network_is_not_modified() -> None:
    network = build_network(spec({"block": "basic", "depth": 1, "width": 8}))
    before = copy.deepcopy(network.state_dict())
    measure_activations(network, [IMAGES], CPU)
    assert network.training
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_a_network_without_stages_has_no_blocks() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(400, 10))
    assert measure_activations(network, [IMAGES], CPU) == {"probe_images": 24}
