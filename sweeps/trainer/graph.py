"""CUDA graphs: the update of a training on resident images is recorded once and replayed by a single launch.

An update of a small network takes several hundred kernels, each of which the CPU launches in several microseconds.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from sweeps.trainer.images import Augmentation, ResidentLoader

WARM_UP = 3
"""Ordinary updates before the capture, in which libraries allocate workspaces and choose kernels."""

Outputs = tuple[Tensor, Tensor]
"""Loss and number of wrong predictions of an update."""


Update = Callable[[Tensor, Tensor, Tensor], Outputs]
"""Takes an optimizer step with images, labels, and learning rate (float32, no dimensions)."""


class GraphedUpdates:
    """The updates of one training on images on the device.

    Every replay reads its inputs from the same memory, which each epoch fills.
    """

    def __init__(self, data: ResidentLoader) -> None:
        self.data = data
        self._inputs: list[Tensor] = []
        self._warmed_up = 0
        self._replay: Callable[[], Outputs] | None = None

    def epoch(
        self, update: Update, order: Tensor, draws: Augmentation, learning_rates: Sequence[float]
    ) -> Iterator[Outputs]:
        """Take the updates of an epoch; yield their outputs, which the next update overwrites.

        Args:
            update: the same in all epochs. Storing it would keep the network in memory by a reference cycle.
            order: images of each update, int64 (updates, B); the same shape in all epochs.
            draws: augmentation of all images.
            learning_rates: of each update.
        """
        rates = torch.tensor(learning_rates, dtype=torch.float32)
        inputs = [order, draws.top, draws.left, draws.flip, rates, torch.zeros(1, dtype=torch.int64)]
        if not self._inputs:
            self._inputs = [torch.empty_like(value, device=order.device) for value in inputs]
        for static, value in zip(self._inputs, inputs, strict=True):
            static.copy_(value)
        step = functools.partial(self._step, update)
        for _ in learning_rates:
            if self._warmed_up < WARM_UP:
                self._warmed_up += 1
                yield warm_up(step)
                continue
            if self._replay is None:
                self._replay = capture(step)
            yield self._replay()

    def _step(self, update: Update) -> Outputs:
        order, top, left, flip, rates, position = self._inputs
        indices = order.index_select(0, position).squeeze(0)  # order[position] would wait for the device
        images, labels = self.data.batch(indices, Augmentation(top, left, flip))
        outputs = update(images, labels, rates.index_select(0, position).squeeze(0))
        position += 1
        return outputs


@functools.cache
def _side_stream() -> torch.cuda.Stream:
    return torch.cuda.Stream()


def warm_up(step: Callable[[], Outputs]) -> Outputs:
    """Run a step on a side stream, as PyTorch requires before a capture."""
    side, current = _side_stream(), torch.cuda.current_stream()
    side.wait_stream(current)
    with torch.cuda.stream(side):
        outputs = step()
    current.wait_stream(side)
    return outputs


def capture(step: Callable[[], Outputs]) -> Callable[[], Outputs]:
    """Record the kernels of a step without running them; return a function that runs them."""
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, stream=_side_stream()):
        outputs = step()

    def replay() -> Outputs:
        graph.replay()
        return outputs

    return replay
