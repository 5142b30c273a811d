"""The error of a network on held-out images, from a copy whose batch norms are folded into the convolutions."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from sweeps.device import Device


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


@torch.no_grad()
def error_percent(
    network: nn.Module, batches: Iterable[tuple[Tensor, Tensor]], device: Device, each_batch: Callable[[], None]
) -> float:
    """Top-1 error in percent over all images; NaN if any output is not finite. `each_batch` may raise to stop."""
    replica = evaluation_copy(network)
    wrong = torch.zeros((), dtype=torch.int64, device=device.torch_device)
    finite = torch.ones((), dtype=torch.bool, device=device.torch_device)
    count = 0
    with device.autocast():  # around the loop: weights are cast once
        for images, labels in batches:
            logits = replica(images)
            wrong += (logits.argmax(1) != labels).sum()
            finite &= logits.isfinite().all()
            count += len(labels)
            each_batch()
    return 100 * wrong.item() / count if finite.item() else float("nan")
