"""Grouped convolutions as a CPU likes them: the same function of the same parameters, computed by a faster kernel.

In bfloat16 oneDNN is slow for groups of 1 and 2 channels: a whole training step takes 1.6 and 2 times as long as with
groups of 8 (oneDNN of PyTorch 2.13, AVX512_BF16). Neighbouring groups are therefore computed as one of 8 channels whose
weights between the groups are zero; results differ by rounding only.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from sweeps.trainer.device import Device

MERGED_WIDTH = 8
"""Input channels up to which neighbouring groups are merged; 16 and 32 cost more arithmetic than they save."""


class MergedGroupsConv(nn.Conv2d):
    """A grouped convolution computed with `merged` neighbouring groups as one."""

    merged: int

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight
        if torch.is_autocast_enabled(x.device.type):
            weight = weight.to(torch.get_autocast_dtype(x.device.type))
        apart = weight.unflatten(0, (-1, self.merged, self.out_channels // self.groups)).unsqueeze(3)
        eye = torch.eye(self.merged, dtype=weight.dtype, device=weight.device)
        together = apart * eye.view(1, self.merged, 1, self.merged, 1, 1, 1)  # groups, from, out, to, in, height, width
        wide = together.reshape(self.out_channels, -1, *self.kernel_size)
        wide = wide.contiguous(memory_format=torch.channels_last)
        groups = self.groups // self.merged
        return functional.conv2d(x, wide, self.bias, self.stride, self.padding, self.dilation, groups)


def merge_narrow_groups(network: nn.Module, device: Device) -> None:
    """Let the narrow grouped convolutions of a network, in place, be computed as wider ones: on a CPU in bfloat16 only.

    Parameters, their names and the function computed stay what they are.
    """
    if device.is_cuda or device.dtype != torch.bfloat16:
        return
    for module in network.modules():
        if type(module) is nn.Conv2d and module.padding_mode == "zeros" and (merged := _merged_groups(module)) > 1:
            module.__class__ = MergedGroupsConv
            module.merged = merged  # type: ignore[assignment]


def _merged_groups(conv: nn.Conv2d) -> int:
    """How many neighbouring groups to compute as one."""
    most = max(1, MERGED_WIDTH // (conv.in_channels // conv.groups))
    return max(merged for merged in range(1, most + 1) if conv.groups % merged == 0)
