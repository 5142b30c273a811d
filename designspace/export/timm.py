"""Specs as timm networks (huggingface/pytorch-image-models): ByobNet here, others in `timm_mobile`, `timm_convnext`."""

from __future__ import annotations

from collections.abc import Sequence

from designspace.export.target import Support, key_map, python_file
from designspace.export.timm_convnext import convnext_source
from designspace.export.timm_mobile import mobile_source
from designspace.spec import BasicStage, BottleneckStage, ModelSpec, Stage, Stem

VERSION = "1.0.31"
SUPPORT = Support(
    "timm",
    ("bottleneck", "basic"),
    ("relu", "relu6", "silu", "gelu", "hard_swish"),
    residuals=False,
    kernel_sizes=(),
    strides=(1, 2),
    head_width=True,
    dropout=True,
    deep_stem=True,
    downsamples=("conv", "avg", "none"),
    se_positions=("inner", "output"),
    linear=True,
)
IMPORTS = """from timm.models.byobnet import ByobNet, ByoModelCfg
from timm.models.byobnet import ByoBlockCfg as Block"""

BODY = '''CONFIG = ByoModelCfg(
    stem_type="{kernel_size}x{kernel_size}",
    stem_pool="{pool}",
    stem_chs={widths},
    blocks=(
{blocks}
    ),
    num_features={features},
    act_layer="{activation}",
)


def build():
    """The network: images (N, {in_channels}, {resolution}, {resolution}) to logits (N, {classes})."""
    options = dict(in_chans={in_channels}, drop_rate={dropout}, output_stride={stride})
    network = ByobNet(CONFIG, num_classes={classes}, **options)
{patch}    return network'''

PATCH = """\
    network.{conv}.stride = (1, 1)  # timm's stems have other strides; weights do not depend on them
    for info in network.feature_info:
        info["reduction"] //= 2
"""

DOWNSAMPLES = {"conv": "conv1x1", "avg": "avg", "none": ""}
CONVOLUTIONS = {
    "bottleneck": ("conv1_1x1", "conv2_kxk", "conv3_1x1"),
    "basic": ("conv1_kxk", "conv2_kxk"),
}


def timm_source(spec: ModelSpec) -> str:
    """A Python file that builds the network in timm: a `ByoModelCfg`, `build()`, `load(weights)` and the key map.

    Raises:
        NotExpressible: timm's ByobNet, EfficientNet, MobileNetV3 or ConvNeXt cannot express the network.
    """
    if spec.stages[0].block == "convnext":
        return convnext_source(spec, VERSION)
    if spec.stages[0].block in ("inverted", "separable"):
        return mobile_source(spec, VERSION)
    _check(spec)
    stem, head = spec.stem, spec.head
    assert stem is not None
    reduction = 4 if stem.max_pool or stem.hidden else 2
    names = _stem_names(stem)
    patched = names[:1] * (stem.stride == 1) + names[-1:] * (len(names) > 1 and not stem.max_pool)
    body = BODY.format(
        kernel_size=stem.kernel_size,
        pool="maxpool" if stem.max_pool else "",
        widths=[*stem.hidden, stem.width] if stem.hidden else stem.width,
        blocks="\n".join(_blocks(spec)),
        features=head.width or 0,
        activation=spec.activation,
        in_channels=spec.in_channels,
        resolution=spec.resolution,
        classes=head.classes,
        dropout=head.dropout,
        stride=max(32, reduction * 2 ** sum(stage.stride == 2 for stage in spec.stages)),  # below it, timm dilates
        patch="".join(PATCH.format(conv=f"{name}.conv") for name in patched),
    )
    return python_file(spec.name or spec.spec_id, f"timm {VERSION}", IMPORTS, body, timm_keys(spec))


def timm_keys(spec: ModelSpec) -> dict[str, str]:
    """Map our state-dict keys to those of timm's ByobNet."""
    assert spec.stem is not None
    names = {
        "stem": _conv_and_norm(_stem_names(spec.stem)),
        "head": {"conv1": "final_conv.conv", "bn1": "final_conv.bn", "linear1": "head.fc"},
        **{f"stage{number}": _names(stage) for number, stage in enumerate(spec.stages)},
    }
    return key_map(spec, names)


def _names(stage: Stage) -> dict[str, str]:
    """timm's key of each layer of a block."""
    shortcut = "shortcut.conv" if getattr(stage, "downsample", "conv") == "avg" else "shortcut"
    attention = "attn_last" if _squeezes_output(stage) else "attn"
    names = {
        **_conv_and_norm(CONVOLUTIONS[stage.block]),
        "shortcut.conv1": f"{shortcut}.conv",
        "shortcut.bn1": f"{shortcut}.bn",
        "se.squeeze": f"{attention}.fc1",
        "se.excite": f"{attention}.fc2",
    }
    return {layer: f"stages.{{stage}}.{{block}}.{name}" for layer, name in names.items()}


def _conv_and_norm(pairs: Sequence[str]) -> dict[str, str]:
    """timm's keys of convolutions and their batch norms, from timm's names of the pairs."""
    return {
        f"{kind}{number}": f"{pair}.{kind}" for number, pair in enumerate(pairs, start=1) for kind in ("conv", "bn")
    }


def _squeezes_output(stage: Stage) -> bool:
    return isinstance(stage, BasicStage) or getattr(stage, "se_position", "inner") == "output"


def _stem_names(stem: Stem) -> list[str]:
    """timm's names of the stem's convolutions with batch norm."""
    if not stem.max_pool and not stem.hidden:
        return ["stem"]
    return [f"stem.conv{number}" for number in range(1, len(stem.hidden) + 2)]


def _check(spec: ModelSpec) -> None:
    SUPPORT.check(spec)
    stem = spec.stem
    assert stem is not None
    if stem.kernel_size not in (3, 7) or stem.stride not in (1, 2):
        SUPPORT.refuse("stem", stem, "be 3×3 or 7×7 with stride 1 or 2")
    if stem.hidden and stem.kernel_size == 7 and not stem.max_pool:
        SUPPORT.refuse("stem.max_pool", False, "be True with several 7×7 convolutions")
    if len(spec.stages) < 2:
        SUPPORT.refuse("stages", len(spec.stages), "be at least 2")
    for number, stage in enumerate(spec.stages):
        inner = stage.width / getattr(stage, "bottleneck_ratio", 1)
        for field, value in (("width", stage.width), ("width / bottleneck_ratio", round(inner))):
            if value % 8:
                SUPPORT.refuse(f"stages.{number}.{field}", value, "be a multiple of 8")


def _blocks(spec: ModelSpec) -> list[str]:
    """One line per run of equal blocks; with SE the first block of a stage has another squeezed width."""
    assert spec.stem is not None
    lines, w_in = [], spec.stem.width
    for stage in spec.stages:
        runs = [_block(stage, stage.depth, stage.stride, w_in, spec.activation)]
        if getattr(stage, "se_ratio", 0) and not _squeezes_output(stage) and stage.depth > 1:
            runs = [
                _block(stage, 1, stage.stride, w_in, spec.activation),
                _block(stage, stage.depth - 1, 1, stage.width, spec.activation),
            ]
        lines += ["        (", *(f"            {run}," for run in runs), "        ),"]
        w_in = stage.width
    return lines


def _block(stage: Stage, depth: int, stride: int, w_in: int, activation: str) -> str:
    """One block configuration; `br` is the inverse of our bottleneck ratio, `gs` None is one group."""
    kind = "bottle" if isinstance(stage, BottleneckStage) else "basic"
    options = [f'type="{kind}"', f"d={depth}, c={stage.width}, s={stride}"]
    if isinstance(stage, BottleneckStage):
        options.append(f"gs={stage.group_width}, br={1 / stage.bottleneck_ratio}")
    squeezed = round((stage.width if _squeezes_output(stage) else w_in) * getattr(stage, "se_ratio", 0))
    if squeezed:
        options.append(f'attn_layer="se", attn_kwargs=dict(rd_channels={squeezed}, act_layer="{activation}")')
    arguments = [f"kernel_size={stage.kernel_size}"] if stage.kernel_size != 3 else []
    if (downsample := getattr(stage, "downsample", "conv")) != "conv":
        arguments.append(f'downsample="{DOWNSAMPLES[downsample]}"')
    if isinstance(stage, BottleneckStage):
        arguments += ["attn_last=True"] * (squeezed > 0 and _squeezes_output(stage)) + [
            "linear_out=True"
        ] * stage.linear
    if arguments:
        options.append(f"block_kwargs=dict({', '.join(arguments)})")
    return f"Block({', '.join(options)})"
