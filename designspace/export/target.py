"""Shared by the exports to timm, torchvision and pycls: supported networks, state-dict keys, and Python files."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import NamedTuple, NoReturn

from designspace.layers import BatchNorm, Conv, LayerNorm, Layers, LayerScale, Linear, Residual, SqueezeExcite
from designspace.parts import parts
from designspace.spec import BasicStage, BottleneckStage, ModelSpec
from designspace.validated import shorten


class NotExpressible(ValueError):
    """A spec that the target cannot express; the message gives the target, the field, its value and the reason."""

    def __init__(self, target: str, reason: str) -> None:
        super().__init__(f"{target}: {reason}")
        self.target = target


class Support(NamedTuple):
    """Networks that a target can express.

    Args:
        target: its name in messages.
        blocks: names of the blocks.
        activations: names of the activations.
        residuals: whether bottleneck and basic blocks may have no residual.
        kernel_sizes: of the k×k convolutions in the blocks; empty for any.
        strides: of the stages.
        head_width: whether a 1×1 convolution may precede pooling.
        dropout: whether dropout may precede the classifier.
        deep_stem: whether the stem may have several convolutions.
        downsamples: shortcuts of bottleneck and basic blocks where the shape changes.
        se_positions: of SE in bottlenecks.
        linear: whether bottlenecks may have no activation after the addition.
        stage_activations: names of the activations that a stage may have instead of the network's.
        hidden: largest number of hidden linear layers.
        convnext: whether norm, stem and head are those of ConvNeXt.
    """

    target: str
    blocks: tuple[str, ...]
    activations: tuple[str, ...]
    residuals: bool = True
    kernel_sizes: tuple[int, ...] = (3,)
    strides: tuple[int, ...] = (1, 2, 3, 4)
    head_width: bool = False
    dropout: bool = False
    deep_stem: bool = False
    downsamples: tuple[str, ...] = ("conv",)
    se_positions: tuple[str, ...] = ("inner",)
    linear: bool = False
    stage_activations: tuple[str, ...] = ()
    hidden: int = 0
    convnext: bool = False

    def refuse(self, field: str, value: object, requirement: str) -> NoReturn:
        """Raise NotExpressible for one field: "TARGET: FIELD = VALUE: must REQUIREMENT"."""
        raise NotExpressible(self.target, f"{field} = {shorten(value)}: must {requirement}")

    def check(self, spec: ModelSpec) -> None:
        """Raise NotExpressible for the first part of a network that the target cannot express."""
        if not spec.batch_norm:
            self.refuse("batch_norm", False, "be True")
        if spec.conv_bias:
            self.refuse("conv_bias", True, "be False")
        self._one_of("activation", spec.activation, self.activations)
        self._one_of("norm", spec.norm, ("layer" if self.convnext else "batch",))
        if spec.stem is None:
            self.refuse("stem", None, "be a convolution")
        else:
            self._one_of("stem.padding", spec.stem.padding, ("valid" if self.convnext else "same",))
            self._one_of("stem.activate", spec.stem.activate, (not self.convnext,))
            if spec.stem.hidden and not self.deep_stem:
                self.refuse("stem.hidden", spec.stem.hidden, "be empty")
        for number, stage in enumerate(spec.stages):
            self._one_of(f"stages.{number}.block", stage.block, self.blocks)
            if self.kernel_sizes:
                self._one_of(f"stages.{number}.kernel_size", stage.kernel_size, self.kernel_sizes)
            self._one_of(f"stages.{number}.stride", stage.stride, self.strides)
            if stage.activation not in (None, spec.activation):
                allowed = (spec.activation, *self.stage_activations)
                self._one_of(f"stages.{number}.activation", stage.activation, allowed)
            if stage.norm not in (None, spec.norm):
                self.refuse(f"stages.{number}.norm", stage.norm, f"be {spec.norm}, as in the network")
            if not self.residuals and not getattr(stage, "residual", True):
                self.refuse(f"stages.{number}.residual", False, "be True")
            if isinstance(stage, BasicStage | BottleneckStage):
                self._one_of(f"stages.{number}.downsample", stage.downsample, self.downsamples)
            if isinstance(stage, BottleneckStage):
                if stage.se_ratio:
                    self._one_of(f"stages.{number}.se_position", stage.se_position, self.se_positions)
                if stage.linear and not self.linear:
                    self.refuse(f"stages.{number}.linear", True, "be False")
        self._check_head(spec)

    def _check_head(self, spec: ModelSpec) -> None:
        head = spec.head
        if head.pool_size != 1:
            self.refuse("head.pool_size", head.pool_size, "be 1")
        self._one_of("head.norm", head.norm, (self.convnext,))
        if len(head.hidden) > self.hidden:
            self.refuse("head.hidden", head.hidden, "have one layer" if self.hidden else "be empty")
        if head.width is not None and not self.head_width:
            self.refuse("head.width", head.width, "be None")
        if head.dropout and not self.dropout:
            self.refuse("head.dropout", head.dropout, "be 0")

    def _one_of(self, field: str, value: object, allowed: tuple[object, ...]) -> None:
        if value not in allowed:
            self.refuse(
                field, value, f"be one of {', '.join(map(str, allowed))}" if len(allowed) > 1 else f"be {allowed[0]}"
            )


def key_map(spec: ModelSpec, names: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    """Map the state-dict keys of our network's modules to those of another library.

    Args:
        spec: the network.
        names: from the name of a layer to the other library's key, for "stem", "head", and each block or stage
            ("stage0", "stage1", …). SE has the layers se.squeeze and se.excite; names in shortcuts
            start with "shortcut.". In the keys, {stage} and {block} are filled in, counted from 0, and {stage1} and
            {block1}, counted from 1; {number1} counts the blocks of all stages.
    """
    keys: dict[str, str] = {}
    blocks: Counter[str] = Counter()
    for part in parts(spec):
        if not part.name.startswith("stage"):
            keys |= {key: names[part.name][name] for key, name in _named(part.layers, part.name)}
            continue
        stage = int(part.name.removeprefix("stage")) - 1
        stage_names = names.get(f"stage{stage}") or names[spec.stages[stage].block]
        for _ in range(int(part.repeats)):
            block = blocks[part.name]
            blocks[part.name] += 1
            numbers = {"stage": stage, "block": block, "stage1": stage + 1, "block1": block + 1}
            numbers["number1"] = blocks.total()
            for key, name in _named(part.layers, f"{part.name}.{block}"):
                keys[key] = stage_names[name].format(**numbers)
    return keys


def _named(layers: Layers, prefix: str, scope: str = "") -> Iterator[tuple[str, str]]:
    """State-dict key and name of each layer with weights; see `designspace.network.sequence` for the keys."""
    for position, layer in enumerate(layers):
        key = f"{prefix}.{position}"
        match layer:
            case Conv() | BatchNorm() | LayerNorm() | LayerScale() | Linear():
                yield key, f"{scope}{layer.name}"
            case SqueezeExcite():
                for convolution in ("squeeze", "excite"):
                    yield f"{key}.{convolution}", f"{scope}{layer.name}.{convolution}"
            case Residual(body, shortcut):
                yield from _named(body, f"{key}.body", scope)
                yield from _named(shortcut, f"{key}.shortcut", f"{scope}shortcut.")


HEADER = '''"""{title} as a {library} network, written by designspace.

    network = load("model.safetensors")     # or build() for one without weights
"""

from safetensors.torch import load_file
{imports}

{body}

# keys of designspace: keys of this network
KEYS = {keys}


def load(path="model.safetensors"):
    """The network in evaluation mode with the weights of a file written by designspace."""
    network = build()
    shapes = {{key: value.shape for key, value in network.state_dict().items()}}
    weights = {{}}
    for name, value in load_file(path).items():
        module, _, tensor = name.rpartition(".")
        key = KEYS[module] + "." + {tensor}
        weights[key] = value.reshape(shapes[key])  # a 1×1 convolution can be a linear layer of the other library
    network.load_state_dict(weights)
    return network.eval()
'''


def python_file(
    title: str,
    library: str,
    imports: str,
    body: str,
    keys: Mapping[str, str],
    tensors: Mapping[str, str] | None = None,
) -> str:
    """The text of a module with `build()`, `load(path)` and `KEYS`.

    Args:
        title: name of the network.
        library: name and version.
        imports, body: source code; the body defines `build()`.
        keys: from our modules to those of the library.
        tensors: from our names of tensors in a module to those of the library, where they differ.
    """
    title = " ".join(title.replace('"', "").replace("\\", "").split())
    table = json.dumps(dict(keys), indent=4).replace('"\n}', '",\n}')
    tensor = f"{json.dumps(dict(tensors))}.get(tensor, tensor)" if tensors else "tensor"
    return HEADER.format(title=title, library=library, imports=imports, body=body, keys=table, tensor=tensor)
