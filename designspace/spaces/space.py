"""What a design space is: laws of free parameters, a family that makes networks of them, and constraints."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from designspace.distributions import Distribution
from designspace.errors import explain
from designspace.population import Population
from designspace.spec import Activation, Count, Head, ModelSpec, Stem, Stride


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Template(_Frozen):
    """What all networks of a space share; one stride for each stage.

    `stage` holds the fixed settings of every stage, its `block` first of all.
    """

    resolution: Count = 224
    in_channels: Count = 3
    activation: Activation = "relu"
    batch_norm: bool = True
    stem: Stem | None = Stem()
    strides: Annotated[tuple[Stride, ...], Field(min_length=1)] = (2, 2, 2, 2)
    head: Head = Head()
    stage: dict[str, Any] = {"block": "bottleneck"}


Range = tuple[float, float]


class Constraints(_Frozen):
    """Closed ranges that every network of the population lies in; without one, anything goes."""

    macs: Range | None = None
    params: Range | None = None
    acts: Range | None = None
    depth: Range | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        for name, limits in self:
            if limits is not None and limits[0] > limits[1]:
                raise ValueError(f"{name} = {list(limits)}: the lower limit comes first")
        return self


Draws = dict[str, np.ndarray]
Family = Callable[["DesignSpace", Draws], tuple[np.ndarray, ModelSpec]]


class DesignSpace(_Frozen):
    """A design space; see `designspace.spaces` for the named ones.

    Attributes:
        name: also the key of its random stream.
        family: how draws become networks: "anynet" (depth and width of each stage) or "regnet" (quantized linear rule).
        parameters: law of each free parameter. Beside the family's own, any field of the stages may be one.
        increasing: parameters that must not decrease from stage to stage.
        constraints: complexity regime.
        template: what all networks share.
    """

    name: str
    family: Literal["anynet", "regnet"]
    parameters: dict[str, Distribution]
    increasing: tuple[str, ...] = ()
    constraints: Constraints = Constraints()
    template: Template = Template()

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, Any]) -> Self:
        """Validate a nested mapping; ValueError names field, value and what is allowed."""
        try:
            return cls.model_validate(mapping)
        except ValidationError as error:
            raise ValueError(explain(error)) from None

    def named(self, name: str) -> Self:
        """The same space under another name (and so with another random stream)."""
        return self.model_copy(update={"name": name})

    def share(self, parameter: str) -> Self:
        """The space in which all stages have one value of the parameter."""
        law = self.parameters[parameter].model_copy(update={"per_stage": False})
        return self.with_law(**{parameter: law})

    def increase(self, parameter: str) -> Self:
        """The space in which the parameter does not decrease from stage to stage."""
        return self.model_copy(update={"increasing": (*self.increasing, parameter)})

    def with_law(self, **laws: Distribution) -> Self:
        """The space with other laws for some parameters."""
        return self.model_copy(update={"parameters": self.parameters | laws})

    def sample(self, n: int, seed: int = 0) -> Population:
        """The first n networks of the space's stream for this seed, so that sample(a) begins sample(b) for a < b.

        Raises:
            ValueError: n or seed out of range, or a regime in which (almost) no network lies.
        """
        from designspace.spaces.sampling import sample

        return sample(self, n, seed)
