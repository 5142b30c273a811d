"""The error of a network on held-out images, from a copy whose batch norms are folded into the convolutions."""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Callable, Iterable
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from sweeps.trainer.device import Device

Batches = Iterable[tuple[Tensor, Tensor]]


class Float32Linear(nn.Module):
    """A linear layer outside autocast: in bfloat16 two best logits are equal often enough to move the error."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.linear = linear

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            output: Tensor = self.linear(x.float())
        return output


def evaluation_copy(network: nn.Module) -> nn.Module:
    """A copy for evaluation only: neighbouring conv and batch norm of a Sequential made one, linear in float32.

    The network itself is not touched; its copy's outputs differ by rounding.
    """
    replica = copy.deepcopy(network).eval()
    for module in list(replica.modules()):
        if isinstance(module, nn.Sequential):
            for index, (first, second) in enumerate(itertools.pairwise(list(module))):
                if isinstance(first, nn.Conv2d) and isinstance(second, nn.BatchNorm2d):
                    module[index], module[index + 1] = fuse_conv_bn_eval(first, second), nn.Identity()
        for name, child in list(module.named_children()):
            if isinstance(child, nn.Linear):
                setattr(module, name, Float32Linear(child))
    return replica


def error_percent(
    network: nn.Module, batches: Callable[[], Batches], device: Device, each_batch: Callable[[], None] = lambda: None
) -> float:
    """Top-1 error in percent over all images, of all processes; NaN if any output is not finite.

    Where float16 overflows, as it may while running statistics lag behind the weights, float32 is tried.

    Args:
        network: it is not touched.
        batches: gives images on the device (B, C, H, W) and labels (B,), the share of this process.
        device: where and in which arithmetic.
        each_batch: called after each; may raise to stop.
    """
    replica = evaluation_copy(network)
    percent = _error_percent(replica, batches(), device, each_batch)
    if math.isnan(percent) and device.dtype == torch.float16:
        percent = _error_percent(replica, batches(), replace(device, dtype=torch.float32), each_batch)
    return percent


@torch.no_grad()
def _error_percent(replica: nn.Module, batches: Batches, device: Device, each_batch: Callable[[], None]) -> float:
    counts = torch.zeros(3, dtype=torch.int64, device=device.torch_device)
    wrong, broken, seen = counts
    with device.autocast():  # around the loop: weights are cast once
        for images, labels in batches:
            logits = replica(images)
            wrong += (logits.argmax(1) != labels).sum()
            broken += logits.isfinite().logical_not().any()
            seen += len(labels)
            each_batch()
    all_wrong, all_broken, all_seen = device.world.sum(counts).tolist()
    return float("nan") if all_broken else 100 * all_wrong / all_seen
