"""Zero-cost scores: predictions of a network's rank from its initial weights and one batch of images.

A larger score predicts a smaller error. All scores are computed in evaluation mode, so without dropout, but with batch
statistics in batch norm, on a copy of the network, in float32 (SynFlow in float64).
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm

from designspace.network import ACTIVATIONS


def measure_scores(network: nn.Module, images: Tensor, labels: Tensor) -> dict[str, Any]:
    """Compute the zero-cost scores of a network.

    Args:
        network: before training; not modified.
        images: (B, C, H, W), float32, on the device of the network.
        labels: (B,), int64.

    Returns:
        The fields `score_…` of a record; None for a score that is not finite or not defined.

        - score_nwot: log |K|, where K counts the activation functions on which two images agree in sign (NASWOT,
          arXiv 2006.04647, Eq. 2). The sign of the input is the code of a ReLU; for SiLU, GELU and hard swish, which
          have no linear regions, it is the same count by analogy. Undefined without an activation function, or if two
          images have the same code.
        - score_synflow: log of Σ |θ ∂R/∂θ|, where R is the sum of the outputs for an input of ones and weights |θ|
          (SynFlow, arXiv 2006.05467), without normalization layers (arXiv 2101.08134). Activation functions are
          replaced by the identity, which equals ReLU for these positive signals. Other functions would saturate.
        - score_grad_norm: sum over the layers of the L2 norm of the gradient of the loss (arXiv 2101.08134).
        - score_snip: Σ |θ ∂L/∂θ| (SNIP, arXiv 1810.02340).

        The sums over θ and layers are over the weights of convolutions and linear layers.
    """
    devices = [images.device] if images.is_cuda else []
    with torch.random.fork_rng(devices=devices), torch.autocast(images.device.type, enabled=False), torch.enable_grad():
        scores = _from_loss(network, images, labels) | {"score_synflow": _synflow(network, images)}
    return {name: value if value is not None and math.isfinite(value) else None for name, value in scores.items()}


def _from_loss(network: nn.Module, images: Tensor, labels: Tensor) -> dict[str, Any]:
    """The scores that need one forward and backward pass with the loss."""
    replica = copy.deepcopy(network).eval()
    agreements: list[Tensor] = []

    def add_codes(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        codes = (inputs[0].detach() > 0).flatten(1).float()
        agreements.append((codes @ codes.T + (1 - codes) @ (1 - codes).T).double())

    for module in replica.modules():
        if isinstance(module, _BatchNorm):
            module.train()
        elif isinstance(module, tuple(ACTIVATIONS.values())):
            module.register_forward_pre_hook(add_codes)
    functional.cross_entropy(replica(images), labels).backward()
    weights = [(weight.detach(), weight.grad) for weight in _weights(replica) if weight.grad is not None]
    return {
        "score_nwot": float(torch.linalg.slogdet(sum(agreements).cpu()).logabsdet) if agreements else None,  # type: ignore[union-attr]
        "score_grad_norm": float(sum(gradient.norm() for _, gradient in weights)),
        "score_snip": float(sum((weight * gradient).abs().sum() for weight, gradient in weights)),
    }


def _synflow(network: nn.Module, images: Tensor) -> float | None:
    replica = copy.deepcopy(network).double().eval()
    linear = (_BatchNorm, nn.LayerNorm, *ACTIVATIONS.values())
    for module in list(replica.modules()):
        for name, child in module.named_children():
            if isinstance(child, linear):
                setattr(module, name, nn.Identity())
    for parameter in replica.parameters():
        parameter.data.abs_()
    replica(torch.ones_like(images[:1], dtype=torch.float64)).sum().backward()
    flow = sum(float((weight.detach() * weight.grad).sum()) for weight in _weights(replica) if weight.grad is not None)
    return math.log(flow) if 0 < flow < math.inf else None


def _weights(network: nn.Module) -> Iterator[Tensor]:
    return (module.weight for module in network.modules() if isinstance(module, nn.Conv2d | nn.Linear))
