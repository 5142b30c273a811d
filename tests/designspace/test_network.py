import torch
from torch import nn

from designspace import ModelSpec, zoo
from designspace.export.target import key_map
from designspace.network import Residual, build_network
from designspace.spec import BasicStage, BottleneckStage, Stem


def small(stage: BottleneckStage | BasicStage) -> ModelSpec:
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
