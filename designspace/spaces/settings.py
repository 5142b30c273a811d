"""The settings of a design space: distributions of the free parameters, a family, constraints, a template."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal, Self

import numpy as np
from pydantic import BeforeValidator, Field, model_validator

from designspace.distributions import Distribution
from designspace.memory import Optimizer, Precision
from designspace.packages import import_attribute, import_path
from designspace.scaling import Rule
from designspace.spec import STAGES, Activation, Count, Head, ModelSpec, Stem, Stride
from designspace.validated import Name, Validated, plain, shorten


class Template(Validated):
    """Settings that all networks of a space share; one stride for each stage.

    `stage` holds the fixed settings of every stage, among them its `block`. Networks scaled from a spec take only those
    fields from the template that are set in it.
    """

    resolution: Count = 224
    in_channels: Count = 3
    activation: Activation = "relu"
    batch_norm: bool = True
    stem: Stem | None = Stem()
    strides: Annotated[tuple[Stride, ...], Field(min_length=1, max_length=100)] = (2, 2, 2, 2)
    head: Head = Head()
    stage: dict[str, Any] = Field(default={"block": "bottleneck"})


Range = tuple[float, float]


class Constraints(Validated):
    """Closed ranges that every network of a population lies in; a quantity without a range is not limited.

    `training_memory` is in bytes, for the batch size, precision and optimizer given here. `envelope` is a named limit
    of params and acts at given macs, see `ENVELOPES`.
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


REQUIRED = {"anynet": {"depth", "width"}, "regnet": {"depth", "w_0", "w_a", "w_m"}}
COMPOUND = (
    {"growth"},
    {"alpha", "beta", "gamma", "phi"},
    {"depth_factor", "width_factor", "resolution_factor", "group_width_factor"},
)
WHOLE = {"depth", "width", "resolution", "groups"}
SMALLEST = {"w_a": 0.0, "phi": 0.0, "w_m": 1.001}  # of whole numbers 1, of other parameters 0.001
MOST_STAGE_VALUES = 10_000  # of a drawn field of the stages, each of which is validated


def _imported(family: Any) -> Any:
    return import_attribute("family", family) if isinstance(family, str) and ":" in family else family


class Settings(Validated):
    """Fields of a `DesignSpace`.

    Attributes:
        name: also the key of its random stream.
        family: turns draws into networks: a name, a function, or its import path MODULE:FUNCTION; see
            `designspace.spaces.families`.
        parameters: distribution of each free parameter: the family's own, `resolution`, and any field of the stages but
            their stride.
        increasing: parameters that must not decrease from stage to stage.
        constraints: complexity regime.
        duplicates: "keep" for independent draws, in which a network can be drawn more than once; "drop" for distinct
            networks: a draw of a network that was drawn before is left out.
        template: settings that all networks share.
        spec: the network that the family "compound" scales (a name of the zoo or a spec's mapping).
        rule: distributes the growth over depth, width and resolution, where this is not drawn.
        size: number of networks, where the paper's count is not the product of the numbers of values.
    """

    name: Name
    family: Annotated[Literal["anynet", "regnet", "compound"] | Callable[..., Any], BeforeValidator(_imported)]
    parameters: dict[Name, Distribution]
    increasing: tuple[Name, ...] = ()
    constraints: Constraints = Constraints()
    duplicates: Literal["keep", "drop"] = "keep"
    template: Template = Template()
    spec: str | dict[str, Any] | None = None
    rule: Rule | None = None
    size: Annotated[float, Field(ge=1)] | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        block = self.template.stage.get("block")
        if not isinstance(block, str) or block not in STAGES:
            raise ValueError(f"template.stage.block = {shorten(block)}: must be one of {', '.join(STAGES)}")
        self._check_stage("template.stage", {})
        if self.family == "compound":
            self._check_compound()
        elif isinstance(self.family, str):
            self._check_drawn(self.family, block)
        growth = self.constraints.growth
        if growth is not None and not {"alpha", "beta", "gamma"} <= set(self.parameters):
            raise ValueError(f"constraints.growth = {list(growth)}: of α·β²·γ², so alpha, beta and gamma must be drawn")
        for name in self.increasing:
            if name not in self.parameters or not self.parameters[name].per_stage:
                raise ValueError(f"increasing = {name}: must be a parameter that every stage has a draw of (per_stage)")
        return self

    def to_mapping(self) -> dict[str, Any]:
        """All settings as JSON types, without a base; `space_from_config` reads back an equal space.

        Raises:
            ValueError: the family is a function without an import path.
        """
        mapping = super().to_mapping()
        if self.family == "compound":  # only the settings given in the template change the spec
            mapping["template"] = plain(self.template.given())
        elif not isinstance(self.family, str):
            mapping["family"] = import_path("family", self.family)
        return mapping

    def _check_stage(self, place: str, drawn: dict[str, Any]) -> None:
        try:
            STAGES[self.template.stage["block"]].from_mapping({"depth": 1, "width": 8} | self.template.stage | drawn)
        except ValueError as error:
            raise ValueError(f"{place}.{error}") from None

    def _check_drawn(self, family: str, block: str) -> None:
        fields = set(STAGES[block].model_fields) - {"block", "stride", "depth", "width"}
        of_stages = fields | ({"groups"} if block == "bottleneck" else set())
        self._check_parameters(REQUIRED[family], of_stages | {"resolution"})
        self._check_per_stage(of_stages | (REQUIRED[family] if family == "anynet" else set()))
        for name, distribution in self.parameters.items():
            values = distribution.values
            if name not in fields:
                self._check_domain(name, values)
                continue
            if len(values) > MOST_STAGE_VALUES:
                raise ValueError(f"parameters.{name}: has {len(values)} values, must have at most {MOST_STAGE_VALUES}")
            for value in values.tolist():
                self._check_stage("parameters", {name: value})

    def _check_domain(self, name: str, values: np.ndarray) -> None:
        """Raise ValueError unless the values of a parameter that is not a field of the stages are positive numbers."""
        kind, kinds = ("whole numbers", "i") if name in WHOLE else ("numbers", "if")
        smallest = 1 if name in WHOLE else SMALLEST.get(name, 0.001)
        if values.dtype.kind not in kinds or values.min() < smallest:
            raise ValueError(f"parameters.{name} = {shorten(values.tolist())}: must be {kind} from {smallest:g}")

    def _check_compound(self) -> None:
        if self.spec is None:
            raise ValueError("spec: required by the family compound (a name of the zoo or a spec's mapping)")
        if isinstance(self.spec, dict):
            try:
                ModelSpec.from_mapping(self.spec)
            except ValueError as error:
                raise ValueError(f"spec.{error}") from None
        for name, distribution in self.parameters.items():
            self._check_domain(name, distribution.values)
        for kind in COMPOUND:
            if kind & set(self.parameters):
                self._check_parameters(set() if kind == COMPOUND[-1] else kind, kind)
                self._check_per_stage(set())
                return
        kinds = " or ".join(", ".join(sorted(kind)) for kind in COMPOUND)
        raise ValueError(f"parameters = {sorted(self.parameters)}: the family compound draws {kinds}")

    def _check_parameters(self, required: set[str], allowed: set[str]) -> None:
        if missing := required - set(self.parameters):
            raise ValueError(f"parameters.{sorted(missing)[0]}: required by the family {self.family}")
        if unknown := set(self.parameters) - required - allowed:
            drawable = ", ".join(sorted(required | allowed))
            raise ValueError(f"parameters.{sorted(unknown)[0]}: unknown to this space; it may draw {drawable}")

    def _check_per_stage(self, of_stages: set[str]) -> None:
        for name, distribution in self.parameters.items():
            if distribution.per_stage and name not in of_stages:
                raise ValueError(f"parameters.{name}.per_stage = True: must be False, a network has one {name}")


Draws = dict[str, np.ndarray]
Family = Callable[[Settings, Draws], tuple[np.ndarray, ModelSpec]]
