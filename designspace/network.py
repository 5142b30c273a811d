"""The torch module of a spec."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from designspace import layers as L
from designspace.parts import parts
from designspace.spec import ModelSpec, check_spec

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "relu6": nn.ReLU6,
    "silu": nn.SiLU,
    "gelu": nn.GELU,
    "hard_swish": nn.Hardswish,
}

GATES: dict[str, Callable[[Tensor], Tensor]] = {"sigmoid": torch.sigmoid, "hard_sigmoid": nn.functional.hardsigmoid}


class Residual(nn.Module):
    """body(x) + shortcut(x), shapes (N, C, H, W)."""

    def __init__(self, body: nn.Module, shortcut: nn.Module) -> None:
        super().__init__()
        self.body = body
        self.shortcut = shortcut

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x) + self.shortcut(x)


class Concat(nn.Module):
    """The outputs of branches, concatenated along the channels; `split` divides the input's channels among them."""

    def __init__(self, branches: list[nn.Module], split: bool) -> None:
        super().__init__()
        self.branches = nn.ModuleList(branches)
        self.split = split

    def forward(self, x: Tensor) -> Tensor:
        inputs = x.chunk(len(self.branches), 1) if self.split else [x] * len(self.branches)
        return torch.cat([branch(part) for branch, part in zip(self.branches, inputs, strict=True)], 1)


class SqueezeExcite(nn.Module):
    """x · gate(W2 act(W1 mean(x))), shapes (N, C, H, W) (arXiv 1709.01507)."""

    def __init__(self, width: int, squeezed: int, activation: str, gate: str) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(width, squeezed, 1)
        self.activation = activation_module(activation)
        self.excite = nn.Conv2d(squeezed, width, 1)
        self.gate = GATES[gate]

    def forward(self, x: Tensor) -> Tensor:
        scale = x.mean((2, 3), keepdim=True)
        return x * self.gate(self.excite(self.activation(self.squeeze(scale))))


class LayerNorm(nn.LayerNorm):
    """Layer normalization over the channels of each position, shapes (N, C, H, W) (ConvNeXt, arXiv 2201.03545).

    Under autocast it runs in the precision of its input, like batch norm; its statistics are always float32.
    """

    def __init__(self, width: int) -> None:
        super().__init__(width, eps=1e-6)

    def forward(self, x: Tensor) -> Tensor:
        channels_last = x.permute(0, 2, 3, 1)
        if not torch.is_autocast_enabled(x.device.type):
            return super().forward(channels_last).permute(0, 3, 1, 2)
        weight, bias = self.weight.to(x.dtype), self.bias.to(x.dtype)
        with torch.autocast(x.device.type, enabled=False):
            normalized = nn.functional.layer_norm(channels_last, self.normalized_shape, weight, bias, self.eps)
        return normalized.permute(0, 3, 1, 2)


class LayerScale(nn.Module):
    """A learned factor for each channel, shapes (N, C, H, W) (arXiv 2103.17239)."""

    def __init__(self, width: int, initial: float) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.full((width,), initial))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gamma.view(-1, 1, 1)


class Network(nn.Module):
    """Images (N, in_channels, H, W) to logits (N, classes): stem, stages of blocks, head."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        for part in parts(spec):
            if part.name.startswith("stage"):
                stage = getattr(self, part.name, nn.Sequential())
                self.add_module(part.name, stage.extend(sequence(part.layers) for _ in range(int(part.repeats))))
            else:
                self.add_module(part.name, sequence(part.layers))

    def forward(self, x: Tensor) -> Tensor:
        for part in self.children():
            x = part(x)
        return x


def build_network(spec: ModelSpec, *, zero_init_residual: bool = False) -> Network:
    """Build the torch module of a spec, initialized from torch's global generator.

    Weights are initialized as in pycls, or with layer norm as in ConvNeXt (arXiv 2201.03545): a truncated normal
    distribution of standard deviation 0.02.

    Args:
        spec: the network.
        zero_init_residual: start each residual branch at zero (the scale of its last norm, or its layer scale), as in
            arXiv 1706.02677.

    Raises:
        ValueError: the argument is not a ModelSpec.
    """
    network = Network(check_spec(spec))
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear) and spec.norm == "layer":
            nn.init.trunc_normal_(module.weight, std=0.02)
        elif isinstance(module, nn.Conv2d):
            fan_out = module.kernel_size[0] * module.kernel_size[1] * module.out_channels
            nn.init.normal_(module.weight, std=math.sqrt(2.0 / fan_out))
        elif isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=0.01)
        if isinstance(module, nn.Conv2d | nn.Linear) and module.bias is not None:
            nn.init.zeros_(module.bias)
        if zero_init_residual and isinstance(module, Residual):
            finals = [m for m in module.body.modules() if isinstance(m, nn.BatchNorm2d | LayerNorm | LayerScale)]
            if finals:
                nn.init.zeros_(next(finals[-1].parameters()))
    return network


def activation_module(name: str, inplace: bool = True) -> nn.Module:
    """The module of an activation; GELU has no in-place variant."""
    return nn.GELU() if name == "gelu" else ACTIVATIONS[name](inplace=inplace)


def sequence(layers: L.Layers) -> nn.Sequential:
    """The modules of layers in sequence; a module's key is the position of its layer."""
    return nn.Sequential(*(module(layer) for layer in layers))


def module(layer: L.Layer) -> nn.Module:
    """The torch module of one layer."""
    match layer:
        case L.Conv(w_in, w_out, kernel_size, stride, padding, group_width, bias, _):
            groups = int(w_in // group_width)
            return nn.Conv2d(int(w_in), int(w_out), int(kernel_size), stride, int(padding), groups=groups, bias=bias)
        case L.BatchNorm(width):
            return nn.BatchNorm2d(int(width))
        case L.LayerNorm(width):
            return LayerNorm(int(width))
        case L.LayerScale(width, initial):
            return LayerScale(int(width), float(initial))
        case L.Act(function, needed):
            return activation_module(function, inplace=not needed)
        case L.SqueezeExcite(width, squeezed, activation, gate):
            return SqueezeExcite(int(width), int(squeezed), activation, gate)
        case L.MaxPool(_, kernel_size, stride, padding):
            return nn.MaxPool2d(kernel_size, stride, padding)
        case L.AveragePool(size):
            return nn.AdaptiveAvgPool2d(size)
        case L.AverageDownsample(stride):
            return nn.AvgPool2d(stride, ceil_mode=True, count_include_pad=False)
        case L.Flatten():
            return nn.Flatten()
        case L.Dropout(rate):
            return nn.Dropout(rate)
        case L.Linear(w_in, w_out):
            return nn.Linear(int(w_in), int(w_out))
        case L.Residual(body, shortcut):
            return Residual(sequence(body), sequence(shortcut))
        case L.Concat(branches, split):
            return Concat([sequence(branch) for branch in branches], split)
        case L.CustomLayer():
            return layer.module()
    raise AssertionError(f"{layer} occurs only in populations")
