import torch
from torch import nn

from designspace import ModelSpec, zoo
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
