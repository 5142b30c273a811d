"""Specs as timm networks (huggingface/pytorch-image-models): ByobNet here, EfficientNet in `timm_mobile`."""

from __future__ import annotations

from designspace.export.target import Support, key_map, python_file
from designspace.export.timm_mobile import mobile_source
from designspace.spec import BottleneckStage, ModelSpec, Stage, Stem

VERSION = "1.0.31"
SUPPORT = Support(
    "timm",
    ("bottleneck", "basic"),
    ("relu", "relu6", "silu", "gelu"),
    residuals=False,
    kernel_sizes=(),
    strides=(1, 2),
    head_width=True,
    dropout=True,
)
IMPORTS = """from timm.models.byobnet import ByobNet, ByoModelCfg
from timm.models.byobnet import ByoBlockCfg as Block"""

BODY = '''CONFIG = ByoModelCfg(
    stem_type="{kernel_size}x{kernel_size}",
    stem_pool="{pool}",
    stem_chs={width},
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
    network.{conv}.stride = (1, 1)  # timm's stems have stride 2; weights do not depend on it
    for info in network.feature_info:
        info["reduction"] //= 2
"""

SHARED = {"shortcut.conv1": "shortcut.conv", "shortcut.bn1": "shortcut.bn"}
NAMES = {
    "bottleneck": {
        "conv1": "conv1_1x1.conv",
        "bn1": "conv1_1x1.bn",
        "conv2": "conv2_kxk.conv",
        "bn2": "conv2_kxk.bn",
        "se.squeeze": "attn.fc1",
        "se.excite": "attn.fc2",
        "conv3": "conv3_1x1.conv",
        "bn3": "conv3_1x1.bn",
        **SHARED,
    },
    "basic": {
        "conv1": "conv1_kxk.conv",
        "bn1": "conv1_kxk.bn",
        "conv2": "conv2_kxk.conv",
        "bn2": "conv2_kxk.bn",
        **SHARED,
    },
}


def timm_source(spec: ModelSpec) -> str:
    """A Python file that builds the network in timm: a `ByoModelCfg`, `build()`, `load(weights)` and the key map.

    Raises:
        NotExpressible: timm's ByobNet and EfficientNet cannot express the network.
    """
    if spec.stages[0].block in ("inverted", "separable"):
        return mobile_source(spec, VERSION)
    _check(spec)
    stem, head = spec.stem, spec.head
    assert stem is not None
    total = (4 if stem.max_pool else 2) * 2 ** sum(stage.stride == 2 for stage in spec.stages)
    body = BODY.format(
        kernel_size=stem.kernel_size,
        pool="maxpool" if stem.max_pool else "",
        width=stem.width,
        blocks="\n".join(_blocks(spec)),
        features=head.width or 0,
        activation=spec.activation,
        in_channels=spec.in_channels,
        resolution=spec.resolution,
        classes=head.classes,
        dropout=head.dropout,
        stride=max(32, total),  # at a smaller output_stride timm dilates instead
        patch=PATCH.format(conv=f"{_stem_name(stem)}.conv") if stem.stride == 1 else "",
    )
    return python_file(spec.name or spec.spec_id, f"timm {VERSION}", IMPORTS, body, timm_keys(spec))


def timm_keys(spec: ModelSpec) -> dict[str, str]:
    """Map our state-dict keys to those of timm's ByobNet."""
    assert spec.stem is not None
    stem = _stem_name(spec.stem)
    names = {
        "stem": {"conv1": f"{stem}.conv", "bn1": f"{stem}.bn"},
        "head": {"conv1": "final_conv.conv", "bn1": "final_conv.bn", "linear1": "head.fc"},
        **{block: {r: f"stages.{{stage}}.{{block}}.{n}" for r, n in roles.items()} for block, roles in NAMES.items()},
    }
    return key_map(spec, names)


def _stem_name(stem: Stem) -> str:
    return "stem.conv1" if stem.max_pool else "stem"


def _check(spec: ModelSpec) -> None:
    SUPPORT.check(spec)
    stem = spec.stem
    assert stem is not None
    if stem.kernel_size not in (3, 7) or stem.stride not in (1, 2):
        SUPPORT.refuse("stem", stem, "be 3×3 or 7×7 with stride 1 or 2")
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
        if isinstance(stage, BottleneckStage) and stage.se_ratio and stage.depth > 1:
            runs = [
                _block(stage, 1, stage.stride, w_in, spec.activation),
                _block(stage, stage.depth - 1, 1, stage.width, spec.activation),
            ]
        lines += ["        (", *(f"            {run}," for run in runs), "        ),"]
        w_in = stage.width
    return lines


def _block(stage: Stage, depth: int, stride: int, w_in: int, activation: str) -> str:
    """One block configuration; `br` is the inverse of our bottleneck ratio, `gs` None is one group."""
    kernel = f"block_kwargs=dict(kernel_size={stage.kernel_size})" if stage.kernel_size != 3 else ""
    start = f"d={depth}, c={stage.width}, s={stride}"
    if not isinstance(stage, BottleneckStage):
        return f'Block(type="basic", {", ".join(filter(None, (start, kernel)))})'
    squeezed = round(w_in * stage.se_ratio)
    squeeze = f'attn_layer="se", attn_kwargs=dict(rd_channels={squeezed}, act_layer="{activation}")' if squeezed else ""
    width = f"gs={stage.group_width}, br={1 / stage.bottleneck_ratio}"
    return f'Block(type="bottle", {", ".join(filter(None, (start, width, squeeze, kernel)))})'
