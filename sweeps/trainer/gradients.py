"""Gradient norms of the parts of a network, without synchronization of an update."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.utils import get_total_norm


class GradientNorms:
    """Mean L2 norm of the gradient of each part over the updates since the last `take`, accumulated on the device.

    Args:
        network: on its device. Its children with parameters are the parts: stem, stages and head.
    """

    def __init__(self, network: nn.Module) -> None:
        children = [[*child.parameters()] for child in network.children()]
        self._parts = [parameters for parameters in children if parameters]
        device = self._parts[0][0].device if self._parts else None
        # A CUDA graph adds to the same memory in every update.
        self._sums, self._counts = torch.zeros(2, len(self._parts), device=device)

    @torch.no_grad()
    def add(self) -> None:
        """Add the current gradients. Norms that are not finite, as after a float16 overflow, are skipped."""
        norms = torch.stack([self._norm([p.grad for p in part if p.grad is not None]) for part in self._parts])
        finite = norms.isfinite()
        self._sums += norms.where(finite, 0)
        self._counts += finite

    def _norm(self, gradients: list[Tensor]) -> Tensor:
        return get_total_norm(gradients) if gradients else self._sums.new_zeros(())

    def take(self) -> tuple[float | None, ...]:
        """Return the means and start over; None for a part without a finite norm."""
        sums, counts = self._sums.tolist(), self._counts.tolist()
        self._sums.zero_()
        self._counts.zero_()
        return tuple(total / count if count else None for total, count in zip(sums, counts, strict=True))
