import torch
from torch import nn

from designspace import ModelSpec, zoo
from designspace.export.target import key_map
from designspace.network import LayerNorm, LayerScale, Residual, build_network
from designspace.spec import BasicStage, BottleneckStage, ConvNeXtStage, InvertedStage, Stage, Stem


def small(stage: Stage) -> ModelSpec:
    return ModelSpec(resolution=8, in_channels=1, stem=Stem(width=8, stride=1), stages=(stage,))


def shortcuts(spec: ModelSpec) -> list[int]:
    return [len(list(m.shortcut.children())) for m in build_network(spec).modules() if isinstance(m, Residual)]


def test_shortcuts_project_only_if_the_shape_changes() -> None:
    assert shortcuts(small(BasicStage(depth=2, width=8, stride=1))) == [0, 0]
    assert shortcuts(small(BasicStage(depth=2, width=16, stride=1))) == [2, 0]
    assert shortcuts(small(BasicStage(depth=2, width=8, stride=2))) == [2, 0]
    assert shortcuts(small(BasicStage(depth=2, width=16, stride=2, residual=False))) == []


def test_zero_init_residual_makes_a_block_the_identity() -> None:
    spec = small(BottleneckStage(depth=1, width=8, stride=1, group_width=4, se_ratio=0.5))
    block = build_network(spec, zero_init_residual=True).eval().get_submodule("stage1.0")
    x = torch.rand(2, 8, 8, 8)
    assert torch.equal(block(x), x)


def test_zero_init_residual_makes_a_convnext_block_the_identity() -> None:
    stage = ConvNeXtStage(depth=1, width=8, stride=1, layer_scale=0.1)
    x = torch.rand(2, 8, 8, 8)
    for zero, same in ((True, True), (False, False)):
        block = build_network(small(stage), zero_init_residual=zero).get_submodule("stage1.0")
        assert torch.equal(block(x), x) == same


def test_layer_norm_normalizes_the_channels_of_each_position() -> None:
    x = 5 * torch.randn(2, 16, 3, 3) + 2
    y = LayerNorm(16)(x)
    assert torch.allclose(y.mean(1), torch.zeros(2, 3, 3), atol=1e-5)
    assert torch.allclose(y.var(1, unbiased=False), torch.ones(2, 3, 3), atol=1e-3)


def test_layer_norm_keeps_the_precision_under_autocast() -> None:
    x = torch.randn(2, 16, 3, 3)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = LayerNorm(16)(x.bfloat16())
    assert y.dtype == torch.bfloat16
    assert torch.allclose(y.float(), LayerNorm(16)(x), atol=0.05)


def test_convnext_is_initialized_as_published() -> None:
    # truncated normal weights with standard deviation 0.02, zero biases, layer scale 1e-6 (arXiv 2201.03545, App. A)
    network = build_network(zoo.spec("ConvNeXt-T"))
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            assert 0.019 < float(module.weight.detach().std()) < 0.021
            assert not module.bias.any()
        if isinstance(module, LayerScale):
            assert torch.equal(module.gamma, torch.full_like(module.gamma, 1e-6))


def test_stages_can_have_their_own_activation_and_norm() -> None:
    spec = ModelSpec(
        resolution=8,
        stages=(
            BasicStage(depth=1, width=8, activation="hard_swish", norm="layer"),
            BasicStage(depth=1, width=8),
        ),
    )
    kinds = [
        {type(module) for module in build_network(spec).get_submodule(f"stage{number}").modules()} for number in (1, 2)
    ]
    assert {nn.Hardswish, LayerNorm} <= kinds[0]
    assert {nn.ReLU, nn.BatchNorm2d} <= kinds[1]
    assert not {nn.ReLU, nn.BatchNorm2d} & kinds[0]


def test_squeeze_excitation_of_mobilenetv3() -> None:
    # relative to the expansion, a multiple of 8, ReLU and hard sigmoid (arXiv 1905.02244, § 5.3)
    stage = InvertedStage(
        depth=1,
        width=16,
        expansion_ratio=5,
        se_ratio=0.25,
        se_base="expansion",
        se_gate="hard_sigmoid",
        se_activation="relu",
        activation="silu",
    )
    squeeze = build_network(small(stage)).get_submodule("stage1.0.6")
    assert squeeze.get_submodule("squeeze").out_channels == 16  # of 40 · 0.25 = 10, but not below 90 %
    x = torch.randn(1, 40, 4, 4)
    hidden = torch.relu(squeeze.get_submodule("squeeze")(x.mean((2, 3), keepdim=True)))
    gate = (squeeze.get_submodule("excite")(hidden) / 6 + 0.5).clamp(0, 1)
    assert torch.allclose(squeeze(x), x * gate, atol=1e-6)


def test_initialization_follows_the_global_generator() -> None:
    def weights() -> torch.Tensor:
        torch.manual_seed(7)
        return torch.cat([p.flatten() for p in build_network(zoo.spec("RegNetX-200MF")).parameters()])

    assert torch.equal(weights(), weights())


def test_squeeze_excitation_has_biases_and_depends_on_the_input_width() -> None:
    network = build_network(small(BottleneckStage(depth=2, width=16, stride=1, group_width=4, se_ratio=0.25)))
    squeezes = [m for n, m in network.named_modules() if n.endswith("squeeze")]
    assert [m.out_channels for m in squeezes if isinstance(m, nn.Conv2d)] == [2, 4]
    assert all(m.bias is not None for m in squeezes)


def test_state_dict_keys_are_positions_of_layers() -> None:
    """Checkpoints and exported weights depend on these keys."""
    spec = small(BottleneckStage(depth=1, width=16, stride=1, group_width=4, se_ratio=0.5))
    weights = [name.removesuffix(".weight") for name in build_network(spec).state_dict() if name.endswith(".weight")]
    body = [f"stage1.0.0.body.{name}" for name in ("0", "1", "3", "4", "6.squeeze", "6.excite", "7", "8")]
    shortcut = [f"stage1.0.0.shortcut.{position}" for position in (0, 1)]
    assert weights == ["stem.0", "stem.1", *body, *shortcut, "head.2"]


def test_key_map_follows_the_names_of_the_layers() -> None:
    spec = small(BottleneckStage(depth=2, width=16, stride=1, group_width=4, se_ratio=0.5))
    convolutions = ("conv1", "bn1", "conv2", "bn2", "se.squeeze", "se.excite", "conv3", "bn3")
    names = {
        "stem": {"conv1": "stem.conv", "bn1": "stem.bn"},
        "bottleneck": {
            name: f"{{stage}}.{{block1}}.{name}" for name in (*convolutions, "shortcut.conv1", "shortcut.bn1")
        },
        "head": {"linear1": "classifier"},
    }
    keys = key_map(spec, names)
    assert {key for key in build_network(spec).state_dict() if key.endswith(".weight")} == {
        f"{key}.weight" for key in keys
    }
    assert keys["stage1.1.0.body.6.squeeze"] == "0.2.se.squeeze"
    assert keys["stage1.0.0.shortcut.1"] == "0.1.shortcut.bn1"
    assert keys["head.2"] == "classifier"
