"""What a design space is: laws of free parameters, a family that makes networks of them, and constraints."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import factorial, log10
from typing import Annotated, Any, Literal, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from designspace.distributions import Distribution
from designspace.errors import explain
from designspace.memory import Optimizer, Precision
from designspace.population import Population
from designspace.scaling import Rule
from designspace.spec import Activation, Count, Head, ModelSpec, Stem, Stride


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Template(_Frozen):
    """What all networks of a space share; one stride for each stage.

    `stage` holds the fixed settings of every stage, its `block` first of all. Networks scaled from a spec take from the
    template only what is set in it.
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
    """Closed ranges that every network of the population lies in; without one, anything goes.

    `training_memory` is in bytes, for the batch size, precision and optimizer given here. `envelope` is a named limit
    of params and acts for given macs, see `ENVELOPES`.
    """

    macs: Range | None = None
    params: Range | None = None
    acts: Range | None = None
    depth: Range | None = None
    resolution: Range | None = None
    training_memory: Range | None = None
    batch_size: Count = 128
    precision: Precision = "bfloat16"
    optimizer: Optimizer = "sgd"
    growth: Range | None = None
    envelope: Literal["regnet"] | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        for name, limits in self.ranges().items():
            if limits[0] > limits[1]:
                raise ValueError(f"{name} = {list(limits)}: the lower limit comes first")
        return self

    def ranges(self) -> dict[str, Range]:
        """The ranges that are set, by quantity."""
        return {name: limits for name, limits in self if isinstance(limits, tuple)}


Draws = dict[str, np.ndarray]
Family = Callable[["DesignSpace", Draws], tuple[np.ndarray, ModelSpec]]


class DesignSpace(_Frozen):
    """A design space; see `designspace.spaces` for the named ones.

    Attributes:
        name: also the key of its random stream.
        family: how draws become networks, see `designspace.spaces.families`.
        parameters: law of each free parameter. Beside the family's own, any field of the stages may be one.
        increasing: parameters that must not decrease from stage to stage.
        constraints: complexity regime.
        template: what all networks share.
        spec: the network that the family "compound" scales (a name of the zoo or a spec's mapping).
        rule: how it shares the growth among depth, width and resolution, where this is not drawn.
        size: number of networks, where the paper counts otherwise than `combinations`.
    """

    name: str
    family: Literal["anynet", "regnet", "compound"]
    parameters: dict[str, Distribution]
    increasing: tuple[str, ...] = ()
    constraints: Constraints = Constraints()
    template: Template = Template()
    spec: str | dict[str, Any] | None = None
    rule: Rule | None = None
    size: float | None = None

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
        return self.with_laws(**{parameter: self.parameters[parameter].model_copy(update={"per_stage": False})})

    def increase(self, parameter: str) -> Self:
        """The space in which the parameter does not decrease from stage to stage."""
        return self.model_copy(update={"increasing": (*self.increasing, parameter)})

    def with_laws(self, **laws: Distribution | None) -> Self:
        """The space with other laws for some parameters; None takes one away."""
        merged = {name: law for name, law in (self.parameters | laws).items() if law is not None}
        return self.model_copy(update={"parameters": merged})

    def with_template(self, **settings: Any) -> Self:
        """The space with other settings in its template."""
        return self.model_copy(update={"template": self.template.model_copy(update=settings)})

    def with_constraints(self, **settings: Any) -> Self:
        """The space with further constraints."""
        return self.model_copy(update={"constraints": self.constraints.model_copy(update=settings)})

    @property
    def degrees_of_freedom(self) -> int:
        """Free parameters, one for each stage where every stage has its own."""
        return sum(self._draws(law) for law in self.parameters.values() if len(law.values) > 1)

    @property
    def log10_size(self) -> float:
        """log10 of the number of networks before constraints; k! orders count once where k values must not decrease."""
        if self.size is not None:
            return log10(self.size)
        combinations = sum(self._draws(law) * log10(len(law.values)) for law in self.parameters.values())
        return combinations - len(self.increasing) * log10(factorial(len(self.template.strides)))

    def _draws(self, law: Distribution) -> int:
        return len(self.template.strides) if law.per_stage else 1

    def sample(self, n: int, seed: int = 0) -> Population:
        """The first n networks of the space's stream for this seed, so that sample(a) begins sample(b) for a < b.

        Raises:
            ValueError: n or seed out of range, or a regime in which (almost) no network lies.
        """
        from designspace.spaces.sampling import sample

        return sample(self, n, seed)
