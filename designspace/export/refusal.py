"""Saying which part of a network another library has no words for."""

from __future__ import annotations

from typing import NamedTuple

from designspace.spec import ModelSpec


class NotExpressible(ValueError):
    """A spec that the target has no words for; the message names the target, the field, its value and the reason."""

    def __init__(self, target: str, reason: str) -> None:
        super().__init__(f"{target}: {reason}")
        self.target = target


class Support(NamedTuple):
    """What a target can say of the parts that all networks have.

    Args:
        target: its name in messages.
        blocks: names of the blocks.
        activations: names of the activations.
        residuals: whether a bottleneck or basic block may be without its residual.
        kernel_sizes: of the k×k convolutions in the blocks; empty for any.
        strides: of the stages.
        head_width: whether there may be a 1×1 convolution before pooling.
        dropout: whether there may be dropout before the classifier.
    """

    target: str
    blocks: tuple[str, ...]
    activations: tuple[str, ...]
    residuals: bool = True
    kernel_sizes: tuple[int, ...] = (3,)
    strides: tuple[int, ...] = (1, 2, 3, 4)
    head_width: bool = False
    dropout: bool = False

    def refuse(self, field: str, value: object, reason: str) -> None:
        """Raise NotExpressible for one field."""
        raise NotExpressible(self.target, f"{field} = {value!r}: {reason}")

    def check(self, spec: ModelSpec) -> None:
        """Raise NotExpressible for the first part that the target cannot say."""
        if not spec.batch_norm:
            self.refuse("batch_norm", False, "every convolution there is followed by batch norm")
        self._one_of("activation", spec.activation, self.activations)
        if spec.stem is None:
            self.refuse("stem", None, "the network there starts with a convolution of its own")
        elif spec.stem.padding != "same":
            self.refuse("stem.padding", spec.stem.padding, "its convolutions are padded to keep the size")
        for number, stage in enumerate(spec.stages):
            self._one_of(f"stages.{number}.block", stage.block, self.blocks)
            if self.kernel_sizes:
                self._one_of(f"stages.{number}.kernel_size", stage.kernel_size, self.kernel_sizes)
            self._one_of(f"stages.{number}.stride", stage.stride, self.strides)
            if not self.residuals and not getattr(stage, "residual", True):
                self.refuse(f"stages.{number}.residual", False, "its blocks always have one")
        self._check_head(spec)

    def _check_head(self, spec: ModelSpec) -> None:
        head = spec.head
        if head.pool_size != 1:
            self.refuse("head.pool_size", head.pool_size, "it pools to one position")
        if head.hidden:
            self.refuse("head.hidden", head.hidden, "it has one linear layer after pooling")
        if head.width is not None and not self.head_width:
            self.refuse("head.width", head.width, "it has no convolution between the last stage and pooling")
        if head.dropout and not self.dropout:
            self.refuse("head.dropout", head.dropout, "it has no dropout")

    def _one_of(self, field: str, value: object, allowed: tuple[object, ...]) -> None:
        if value not in allowed:
            self.refuse(field, value, f"it has only {', '.join(map(str, allowed))}")
