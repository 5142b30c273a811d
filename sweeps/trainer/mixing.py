"""Augmentation of batches on the device: mixup, CutMix, RandAugment and TrivialAugment.

All draws depend on (seed, epoch) and the number of the update only.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from designspace.packages import optional
from sweeps.config import Recipe
from sweeps.trainer.images import derive_seed, generator


@dataclass(frozen=True)
class Mixing:
    """Mixes every image of a batch with the next one.

    Attributes:
        share: of the image itself in the mixture, in [0, 1].
        box: CutMix: top, bottom, left, right of the part from the next image; None is mixup.
    """

    share: float
    box: tuple[int, int, int, int] | None = None

    def images(self, images: Tensor) -> Tensor:
        """The mixed images (B, C, H, W)."""
        others = images.roll(1, 0)
        if self.box is None:
            return images.lerp(others, 1 - self.share)
        top, bottom, left, right = self.box
        mixed = images.clone()
        mixed[:, :, top:bottom, left:right] = others[:, :, top:bottom, left:right]
        return mixed

    def targets(self, labels: Tensor, classes: int) -> Tensor:
        """Probabilities of the classes (B, classes) from labels (B,)."""
        exact = functional.one_hot(labels, classes).to(torch.float32)
        return exact.lerp(exact.roll(1, 0), 1 - self.share)


def draw_mixing(recipe: Recipe, resolution: int, seed: int, epoch: int, update: int) -> Mixing | None:
    """Draw the mixing of one batch; None if the recipe does not mix. With both methods, each batch has one at random.

    Sources: mixup, arXiv 1710.09412, with one share per batch; CutMix, arXiv 1905.04899, whose share is the area that
    remains after the box is clipped.
    """
    methods = [name for name in ("mixup", "cutmix") if getattr(recipe, name)]
    if not methods:
        return None
    rng = np.random.default_rng([derive_seed(seed, epoch, "mixing"), update])
    method = methods[rng.integers(len(methods))]
    alpha = getattr(recipe, method)
    share = float(rng.beta(alpha, alpha))
    if method == "mixup":
        return Mixing(share)
    side = np.sqrt(1 - share) * resolution
    limits = []
    for center in rng.uniform(0, resolution, 2):
        low, high = np.clip(np.rint([center - side / 2, center + side / 2]), 0, resolution).astype(int).tolist()
        limits += [low, high]
    top, bottom, left, right = limits
    return Mixing(1 - (bottom - top) * (right - left) / resolution**2, (top, bottom, left, right))


def find_policies() -> Any:
    """The module of kornia's policies; MissingPackage names the extra that installs it."""
    return optional("kornia.augmentation.auto", "augment")


class Policy:
    """RandAugment (arXiv 1909.13719) or TrivialAugment (arXiv 2103.10158) with the operations of kornia.

    kornia draws one operation for a batch. Here every image has its own, as in the papers.
    """

    def __init__(self, recipe: Recipe) -> None:
        auto = find_policies()
        if recipe.rand_augment is not None:
            self._repeats, magnitude = recipe.rand_augment
            self._policy = _of_one_operation(auto.RandAugment)(1, magnitude)
        else:
            self._repeats = 1
            self._policy = _of_one_operation(auto.TrivialAugment)()

    def __call__(self, images: Tensor) -> Tensor:
        """Augmented images (B, C, H, W) in [0, 1]; draws from torch's global CPU generator."""
        channels = images.shape[1]
        images = images.expand(-1, 3, -1, -1) if channels == 1 else images  # some operations need colors
        for _ in range(self._repeats):
            operations = torch.randint(len(self._policy), (len(images),))
            augmented = torch.empty_like(images)
            for operation in operations.unique().tolist():
                indices = torch.nonzero(operations == operation)[:, 0].to(images.device)
                self._policy.operation = operation
                augmented[indices] = self._policy(images[indices])
            images = augmented
        return images[:, :channels]


def _of_one_operation(kind: type) -> Any:
    """A policy of kornia that applies the operation whose number is its attribute `operation`."""

    class Policy(kind):
        operation = 0

        def get_forward_sequence(self, params: Any = None) -> Any:
            if params is None:
                return self.get_children_by_indices(torch.tensor([self.operation]))
            return super().get_forward_sequence(params)

    return Policy


@torch.no_grad()
def augmented(
    batches: Iterable[tuple[Tensor, Tensor]],
    policy: Policy,
    mean: Tensor,
    std: Tensor,
    seed: int,
    epoch: int,
    rank: int,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Apply a policy to batches of normalized images.

    Args:
        batches: images (B, C, H, W) and labels.
        policy: for images in [0, 1].
        mean: of the normalization, in 0 … 1, (C, 1, 1) on the device.
        std: the same.
        seed: of the training.
        epoch: counted from 0.
        rank: of this process, which draws for its share of every batch.
    """
    state = generator(seed, epoch, f"policy {rank}").get_state()
    for images, labels in batches:
        outer = torch.get_rng_state()
        torch.set_rng_state(state)
        try:
            pixels = policy((images * std + mean).clamp(0, 1))
            state = torch.get_rng_state()
        finally:
            torch.set_rng_state(outer)
        yield torch.empty_like(images).copy_((pixels - mean) / std), labels
