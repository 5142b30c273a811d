"""How a model is trained: epochs, batch, learning rate and its schedule, regularisation, augmentation."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from designspace.study import FEW_UPDATES
from sweeps.checked import checked


class Recipe(BaseModel):
    """SGD with momentum, warm-up and decay set anew at every update.

    `learning_rate` is the peak for batches of `reference_batch_size` images and scales linearly with `batch_size`
    (Goyal et al. 2017, arXiv 1706.02677); without a reference it is taken as it is. `warmup_epochs` (may be a fraction)
    rise linearly, then `schedule` falls to zero at the last update. `weight_decay` acts on every parameter, as in
    pycls, or not on batch norm and biases with `decay_norm_and_bias` false. `crop_padding` (pixels) and `flip`
    are drawn per image and epoch. `name` is a label without influence on `recipe_id`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    name: str = "low_epoch"
    epochs: int = Field(default=2, ge=1)
    batch_size: int = Field(default=32, ge=2)
    learning_rate: float = Field(default=0.2, gt=0)
    reference_batch_size: int | None = Field(default=32, ge=1)
    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    warmup_epochs: float = Field(default=0.5, ge=0)
    momentum: float = Field(default=0.9, ge=0, lt=1)
    nesterov: bool = True
    weight_decay: float = Field(default=5e-5, ge=0)
    decay_norm_and_bias: bool = True
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    zero_init_residual: bool = False
    crop_padding: int = Field(default=0, ge=0)
    flip: bool = False
    eval_batch_size: int = Field(default=256, ge=1)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.warmup_epochs >= self.epochs and self.schedule != "constant":
            raise ValueError(f"warmup_epochs is {self.warmup_epochs}; it must be less than epochs ({self.epochs})")
        if self.nesterov and self.momentum == 0:
            raise ValueError("nesterov is true with momentum 0; it needs a momentum above 0")
        return self

    @property
    def recipe_id(self) -> str:
        """16 hex of a hash over all but the name and eval_batch_size, which moves errors by rounding only."""
        content = self.model_dump(exclude={"name", "eval_batch_size"}, mode="json")
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]

    @property
    def peak_learning_rate(self) -> float:
        """The highest learning rate reached, for this batch size."""
        return self.learning_rate * self.batch_size / (self.reference_batch_size or self.batch_size)

    def updates_per_epoch(self, images: int) -> int:
        """Updates in an epoch over `images` training images: whole batches only, as a small one upsets batch norm."""
        return images // self.batch_size

    def learning_rate_at(self, update: int, updates_per_epoch: int) -> float:
        """Learning rate of the `update`-th step (from 0) of the whole training."""
        warmup = self.warmup_epochs * updates_per_epoch
        if update < warmup:
            return self.peak_learning_rate * ((update + 1) / (math.floor(warmup) + 1))
        done = (update - warmup) / (self.epochs * updates_per_epoch - warmup)
        factors = {"cosine": 0.5 * (1 + math.cos(math.pi * done)), "linear": 1 - done, "constant": 1.0}
        return self.peak_learning_rate * factors[self.schedule]

    def advice(self, images: int) -> str | None:
        """A sentence when the training is too short to tell models apart, else None."""
        updates = self.epochs * self.updates_per_epoch(images)
        if updates >= FEW_UPDATES:
            return None
        return (
            f"Only {updates} updates ({self.epochs} epochs of {images} images in batches of {self.batch_size}): below "
            f"about {FEW_UPDATES} the errors say more about the recipe than about the models."
        )


def recipe_from_config(mapping: Mapping[str, Any]) -> Recipe:
    """Build a Recipe from a plain mapping; ValueError names field, value and what is allowed."""
    return checked(Recipe, "recipe", mapping)
