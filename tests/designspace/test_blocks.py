import itertools

import pytest
import torch

from designspace import ModelSpec, complexity, zoo
from designspace.network import Residual, build_network
from designspace.spec import ConvNeXtStage, InvertedStage, SeparableStage, Stage, Stem, VanillaStage, XceptionStage


def small(*stages: Stage) -> ModelSpec:
    return ModelSpec(resolution=8, in_channels=1, stem=Stem(width=8, stride=1), stages=stages)


def test_moving_the_shortcut_does_not_change_the_counts() -> None:
    # MobileNetV2's ablation (arXiv 1801.04381, Fig. 6b) compares networks of equal cost.
    def inverted(shortcut: str, depth: int) -> ModelSpec:
        return small(InvertedStage(depth=depth, width=16, shortcut=shortcut))  # type: ignore[arg-type]

    for depth in (1, 2, 3, 5):
        counts = {complexity(inverted(s, depth)) for s in ("bottlenecks", "expansions", "none")}
        assert len(counts) == 1
    additions = {
        shortcut: sum(isinstance(m, Residual) for m in build_network(inverted(shortcut, 5)).modules())
        for shortcut in ("bottlenecks", "expansions", "none")
    }
    assert additions == {"bottlenecks": 4, "expansions": 3, "none": 0}


def test_linear_projections_have_no_activation() -> None:
    linear, not_linear = (small(InvertedStage(depth=2, width=8, stride=1, linear=flag)) for flag in (True, False))
    x = torch.randn(2, 8, 8, 8)
    assert (build_network(linear).get_submodule("stage1")(x) < 0).any()
    assert (build_network(not_linear).get_submodule("stage1")(x) >= 0).all()


def test_cost_of_an_inverted_block() -> None:
    # h·w·d'·t(d' + k² + d'') multiply-adds (arXiv 1801.04381, § 3.3)
    for t, k, width in itertools.product((2, 6), (3, 5), (8, 24)):
        stages = [InvertedStage(depth=d, width=width, stride=1, expansion_ratio=t, kernel_size=k) for d in (1, 2)]
        one, two = (complexity(small(stage)).macs for stage in stages)
        assert two - one == 8 * 8 * width * t * (width + k * k + width)


def test_cost_of_a_fused_block() -> None:
    # The k×k convolution replaces the 1×1 expansion and the depthwise convolution (arXiv 2104.00298, Fig. 2).
    for t, k, width in itertools.product((2, 4), (3, 5), (8, 24)):
        stages = [
            InvertedStage(depth=d, width=width, stride=1, expansion_ratio=t, kernel_size=k, fused=True) for d in (1, 2)
        ]
        one, two = (complexity(small(stage)).macs for stage in stages)
        assert two - one == 8 * 8 * width * t * width * (k * k + 1)


def test_cost_of_a_convnext_block() -> None:
    # depthwise k×k and two 1×1 convolutions with biases, norm and layer scale: w(k² + 2tw) weights, w(t + 5) others
    for t, k, width in itertools.product((2, 4), (5, 7), (8, 24)):
        specs = [
            small(ConvNeXtStage(depth=d, width=width, stride=1, expansion_ratio=t, kernel_size=k)).changed(norm="layer")
            for d in (1, 2)
        ]
        one, two = (complexity(spec, "conv") for spec in specs)
        assert two.macs - one.macs == 8 * 8 * width * (k * k + 2 * t * width)
        assert two.params - one.params == width * (k * k + 2 * t * width) + width * (t + 5)


def test_cost_of_a_separable_block() -> None:
    # D_K²·M·D_F² + M·N·D_F² (arXiv 1704.04861, Eq. 5)
    one, two = (complexity(small(SeparableStage(depth=d, width=32, stride=1))).macs for d in (1, 2))
    assert two - one == 9 * 32 * 8 * 8 + 32 * 32 * 8 * 8


def test_inverted_block_matches_table_3_of_mobilenetv2() -> None:
    # One layer 3×3, 512 -> 512 at 14×14: 462 M full, 52.3 M depthwise separable (arXiv 1704.04861, Table 3)
    stem = Stem(width=512, stride=1)

    def layer(stage: VanillaStage | SeparableStage) -> float:
        spec = ModelSpec(resolution=14, stem=stem, stages=(stage,))
        bare = ModelSpec(resolution=14, stem=stem, stages=(VanillaStage(depth=1, width=512, stride=1, kernel_size=1),))
        return (complexity(spec).macs - complexity(bare).macs + 512 * 512 * 14 * 14) / 1e6

    assert layer(VanillaStage(depth=1, width=512, stride=1)) == pytest.approx(462, abs=0.5)
    assert layer(SeparableStage(depth=1, width=512, stride=1)) == pytest.approx(52.3, abs=0.05)


def test_shortcuts_of_preactivated_blocks_read_the_raw_input() -> None:
    block = build_network(small(XceptionStage(depth=1, width=8, stride=1))).eval().get_submodule("stage1.0")
    x = -torch.rand(2, 8, 8, 8)
    before = x.clone()
    body = block.get_submodule("0").body(x)
    assert torch.equal(x, before)
    assert torch.allclose(block(x) - body, before)


@pytest.mark.parametrize(
    ("multiplier", "millions"), [("1.4-224", 582), ("1.0-192", 221), ("0.5-128", 32), ("0.35-96", 11)]
)
def test_published_multiply_adds_of_mobilenetv2(multiplier: str, millions: int) -> None:
    # official model table, in millions
    assert complexity(zoo.spec(f"MobileNetV2-{multiplier}")).macs / 1e6 == pytest.approx(millions, abs=1)


@pytest.mark.parametrize(
    ("mapping", "message"),
    [
        ({"block": "inverted", "group_width": 5}, "stages.0.group_width = 5: must divide the inner width"),
        (
            {"block": "inverted", "expansion_ratio": 0.01},
            "stages.0.expansion_ratio = 0.01: must keep a channel",
        ),
        ({"block": "inverted", "shortcut": "all"}, "stages.0.shortcut = 'all': must be one of bottlenecks"),
        ({"block": "inverted", "se_base": "output"}, "stages.0.se_base = 'output': must be one of input, expansion"),
        ({"block": "inverted", "activation": "swish"}, "stages.0.activation = 'swish': must be one of relu"),
        ({"block": "convnext", "width": 1, "expansion_ratio": 0.1}, "stages.0.expansion_ratio = 0.1: must keep a"),
        ({"block": "vanilla", "padding": "valid", "depth": 2}, "stages.0.depth = 2: must be 1 with padding"),
    ],
)
def test_errors(mapping: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        ModelSpec.from_mapping({"stages": [{"depth": 1, "width": 16} | mapping]})
    assert message in str(caught.value)
