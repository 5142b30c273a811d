"""Rules for early stopping: end a training if other models of its space have lower errors after the same epoch."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter

from designspace.validated import Validated

Errors = Sequence[float]
"""Validation errors of one training after each epoch so far, in percent."""


class _Rule(Validated):
    """Settings of every rule; `min_epochs` None is half of a complete training, rounded up."""

    min_epochs: int | None = Field(default=None, ge=1)

    def first_epoch(self, epochs: int) -> int:
        """The epoch of the first decision in trainings of this many epochs."""
        return self.min_epochs or (epochs + 1) // 2


class MedianRule(_Rule):
    """Stop if the lowest error so far is above the median, over the other models, of their mean error up to this epoch.

    The other models are all that have finished this epoch, including models stopped later. Golovin et al. compare only
    with complete models. In a population, these are the models that the rule kept, so it would become stricter and
    stricter.

    Attributes:
        min_epochs: epochs before the first decision; None: half of the training, rounded up.
        min_models: other models that must have finished the epoch.

    Source: Golovin et al., "Google Vizier", KDD 2017, section 3.2.2.
    """

    rule: Literal["median"] = "median"
    min_models: int = Field(default=5, ge=1)

    def decides_after(self, epoch: int, epochs: int) -> bool:
        """Whether the rule may stop a model after an epoch, counted from 1, of `epochs`."""
        return self.first_epoch(epochs) <= epoch < epochs

    def stops(self, errors: Errors, others: Sequence[Errors]) -> bool:
        """Whether to stop a model with these errors, given the errors of the other models of its space."""
        epoch = len(errors)
        means = [statistics.fmean(other[:epoch]) for other in others if len(other) >= epoch]
        return len(means) >= self.min_models and min(errors) > statistics.median(means)


class AshaRule(_Rule):
    """Stop all but the best of the models that have reached a rung; rungs are at min_epochs · reduction^k epochs.

    Of N models at a rung, including this one, the best ⌊N / reduction⌋ continue, and the first reduction − 1 models to
    reach it always continue. A decision is final: a model that would be promoted later is not resumed.

    Attributes:
        min_epochs: epochs before the first rung (r); None: half of the training, rounded up.
        reduction: reduction factor (η).

    Source: Li et al., "A System for Massively Parallel Hyperparameter Tuning", MLSys 2020, arXiv 1810.05934. Decisions
    are final as in the stopping variant of Syne Tune (Salinas et al., AutoML 2022).
    """

    rule: Literal["asha"] = "asha"
    reduction: int = Field(default=3, ge=2)

    def decides_after(self, epoch: int, epochs: int) -> bool:
        """Whether there is a rung after an epoch, counted from 1, of `epochs`."""
        rung = self.first_epoch(epochs)
        while rung < epoch:
            rung *= self.reduction
        return rung == epoch < epochs

    def stops(self, errors: Errors, others: Sequence[Errors]) -> bool:
        """Whether to stop a model with these errors, given the errors of the other models of its space."""
        epoch = len(errors)
        rung = sorted([errors[-1], *(other[epoch - 1] for other in others if len(other) >= epoch)])
        kept = len(rung) // self.reduction
        return kept >= 1 and errors[-1] > rung[kept - 1]


Rule = MedianRule | AshaRule

Stopping = Annotated[Rule, Field(discriminator="rule")]
"""Section `stopping` of the config."""

_STOPPING: TypeAdapter[Rule | None] = TypeAdapter(Stopping | None)


def stopping_rule(config: Mapping[str, Any]) -> Rule | None:
    """The rule in a study's frozen config; None without early stopping, as in studies of earlier versions."""
    return _STOPPING.validate_python(config.get("stopping"))
