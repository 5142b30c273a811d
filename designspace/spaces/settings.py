"""Settings of a design space: distributions of the free parameters, family, constraints, template."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import factorial, log10
from numbers import Real
from typing import Annotated, Any, Literal, Self

import numpy as np
from pydantic import BeforeValidator, Field, model_validator

from designspace.blocks import stage_class
from designspace.distributions import Distribution, LogUniform, Uniform
from designspace.expressions import OF_NETWORK, parse_restriction
from designspace.latency.predictor import PredictorOrFile
from designspace.memory import Optimizer, Precision
from designspace.packages import import_attribute, import_path
from designspace.scaling import Rule
from designspace.spec import Activation, Count, Head, ModelSpec, Norm, Stem, Stride
from designspace.validated import Name, Validated, plain, shorten, suggestion


class Template(Validated):
    """Settings that all networks of a space share; one stride per stage.

    `stage` has the fixed settings of the stages, including their `block`. A list has one value per stage, like
    `se_ratio: [0, 0, 0.25, 0.25]`. Networks of the family compound take only the fields that are set in the template.
    """

    resolution: Count = 224
    in_channels: Count = 3
    activation: Activation = "relu"
    batch_norm: bool = True
    conv_bias: bool = False
    stem: Stem | None = Stem()
    strides: Annotated[tuple[Stride, ...], Field(min_length=1, max_length=100)] = (2, 2, 2, 2)
    head: Head = Head()
    stage: dict[str, Any] = Field(default={"block": "bottleneck"})
    norm: Norm = "batch"

    @model_validator(mode="after")
    def _check(self) -> Self:
        for name, values in self.lists().items():
            requirement = _NOT_LISTS.get(name, f"have {len(self.strides)} values, one per stage")
            if name in _NOT_LISTS or len(values) != len(self.strides):
                raise ValueError(f"stage.{name} = {shorten(list(values))}: must {requirement}")
        return self

    def lists(self) -> dict[str, Sequence[Any]]:
        """The settings in `stage` with one value per stage."""
        return {name: value for name, value in self.stage.items() if isinstance(value, list | tuple)}

    def stage_settings(self, number: int) -> dict[str, Any]:
        """The fixed settings of one stage, counted from 0."""
        return self.stage | {name: values[number] for name, values in self.lists().items()}


_NOT_LISTS = {"block": "be one block for all stages", "stride": "be given in template.strides"}


def _pair(limits: Any) -> Any:
    if isinstance(limits, str) or not hasattr(limits, "__len__") or len(limits) != 2:
        raise ValueError("must be [low, high]")
    for limit in limits:
        if not isinstance(limit, Real) or isinstance(limit, bool):
            raise ValueError("must be [low, high], two numbers")
    return limits


Range = Annotated[tuple[float, float], BeforeValidator(_pair)]


class Constraints(Validated):
    """Closed ranges for every network of a population; a quantity without a range is unlimited.

    `training_memory` is in bytes, for the given batch size, precision and optimizer. `latency_ms` is predicted by
    `latency_predictor`, a mapping or the file of one (see docs/latency.md). `envelope` limits params and acts at given
    macs, see `designspace.spaces.sampling.regnet_envelope`.
    """

    macs: Range | None = None
    params: Range | None = None
    acts: Range | None = None
    depth: Range | None = None
    resolution: Range | None = None
    training_memory: Range | None = None
    latency_ms: Range | None = None
    latency_predictor: PredictorOrFile | None = None
    batch_size: Count = 128
    precision: Precision = "bfloat16"
    optimizer: Optimizer = "sgd"
    growth: Range | None = None
    envelope: Literal["regnet"] | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        for name, limits in self.ranges().items():
            if limits[0] > limits[1]:
                raise ValueError(f"{name} = {list(limits)}: must be [low, high] with low <= high")
        if self.latency_ms is not None:
            self._check_latency(self.latency_ms[1])
        return self

    def _check_latency(self, high: float) -> None:
        if self.latency_predictor is None:
            raise ValueError("latency_predictor: required by latency_ms; designspace latency … --fit FILE writes one")
        if high > (slowest := self.latency_predictor.slowest_ms):
            raise ValueError(
                f"latency_ms = {list(self.latency_ms or ())}: must end at or below {slowest:.4g}, the slowest network "
                "that the predictor was fitted to"
            )

    def ranges(self) -> dict[str, Range]:
        """The given ranges by quantity."""
        return {name: limits for name, limits in self if isinstance(limits, tuple)}


REQUIRED = {"anynet": {"depth", "width"}, "regnet": {"depth", "w_0", "w_a", "w_m"}}
COMPOUND = (
    {"growth", "width_exponent"},
    {"alpha", "beta", "gamma", "phi"},
    {"depth_factor", "width_factor", "resolution_factor", "group_width_factor"},
)
INTEGERS = {"depth", "width", "resolution", "groups"}
SMALLEST = {"w_a": 0.0, "width_exponent": 0.0, "phi": 0.0, "w_m": 1.001, "learning_rate": 1e-9, "weight_decay": 0.0}
"""Smallest value of parameters; 1 of other integers, 0.001 of other numbers."""
RATES = ("learning_rate", "weight_decay")
"""Parameters that replace those of the training recipe, as in arXiv 2003.13678, appendix C."""
MOST_STAGE_VALUES = 10_000  # of a drawn stage field; each value is validated


def _imported(family: Any) -> Any:
    if not isinstance(family, str) or ":" not in family:
        return family
    try:
        return import_attribute("family", family)
    except ValueError as error:
        raise ValueError(str(error).partition(": ")[2]) from None


def _drawn(distribution: Any) -> Any:
    if isinstance(distribution, list | tuple):
        raise ValueError("must be a distribution; template.stage takes fixed values, one per stage")
    return distribution


class Settings(Validated):
    """Fields of a `DesignSpace`.

    Attributes:
        name: identifies the space and its random stream.
        family: converts draws to networks: a name, a function, or its import path MODULE:FUNCTION; see
            `designspace.spaces.families`.
        parameters: distribution of each free parameter: those of the family, `resolution`, any field of the stages
            except their stride, and RATES. Only RATES may be continuous. The family anynet takes `depth` and `width`
            from `template.stage` if they are not drawn.
        increasing: parameters that must not decrease from stage to stage.
        where: further restrictions of the networks, drawn by rejection; see `designspace.expressions`.
        constraints: ranges of complexity and other quantities.
        duplicates: "keep" for independent draws, in which a network can occur more than once; "drop" for distinct
            networks (with their RATES), each at its first draw.
        template: settings that all networks share.
        spec: the network that the family compound scales (a published network or the mapping of a spec).
        rule: how the family compound distributes growth over depth, width and resolution.
        size: number of networks, if the paper's count is not the product of the numbers of values.
    """

    name: Name
    family: Annotated[Literal["anynet", "regnet", "compound"] | Callable[..., Any], BeforeValidator(_imported)]
    parameters: dict[Name, Annotated[Distribution, BeforeValidator(_drawn)]]
    increasing: tuple[Name, ...] = ()
    where: tuple[str, ...] = ()
    constraints: Constraints = Constraints()
    duplicates: Literal["keep", "drop"] = "keep"
    template: Template = Template()
    spec: str | dict[str, Any] | None = None
    rule: Rule | None = None
    size: Annotated[float, Field(ge=1)] | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        self._check_stages("template.stage", {})
        if both := self.template.lists().keys() & self.parameters.keys():
            name = sorted(both)[0]
            raise ValueError(f"parameters.{name}: must be null, because template.stage.{name} fixes it per stage")
        self._check_rates()
        if self.family == "compound":
            self._check_compound()
        elif isinstance(self.family, str):
            self._check_drawn(self.family, self.template.stage["block"])
        growth = self.constraints.growth
        if growth is not None and not {"alpha", "beta", "gamma"} <= set(self.parameters):
            raise ValueError(
                f"constraints.growth = {list(growth)}: must be unset unless alpha, beta and gamma are drawn"
            )
        for name in self.increasing:
            if name not in self.parameters or not self.parameters[name].per_stage:
                raise ValueError(f"increasing = {name}: must be a parameter drawn per stage")
        for text in self.where:
            try:
                parse_restriction(text).check(self.quantities())
            except ValueError as error:
                raise ValueError(f"where = {error}") from None
        return self

    @property
    def rates(self) -> tuple[str, ...]:
        """The parameters that are of RATES."""
        return tuple(name for name in RATES if name in self.parameters)

    def of_networks(self) -> list[Distribution]:
        """The distributions of the parameters that are not of RATES."""
        return [one for name, one in self.parameters.items() if name not in RATES]

    @property
    def depth_of_stages(self) -> bool:
        """Whether the drawn `depth` is that of a stage, not of the network."""
        return self.family == "anynet" or (not isinstance(self.family, str) and self._is_per_stage("depth"))

    def _is_per_stage(self, parameter: str) -> bool:
        return parameter in self.parameters and self.parameters[parameter].per_stage

    def quantities(self) -> tuple[str, ...]:
        """Names of the columns that restrictions of the space can use, as in `designspace.population.Quantities`."""
        stages = range(1, len(self.template.strides) + 1)
        parameters = [
            column
            for name in self.parameters
            for column in ([f"{name}_{stage}" for stage in stages] if self._is_per_stage(name) else [name])
        ]
        return tuple(dict.fromkeys((*parameters, *OF_NETWORK)))

    @property
    def log10_combinations(self) -> float:
        """log10 of the number of combinations of values, divided by S! for each non-decreasing parameter."""
        stages = len(self.template.strides)
        combinations = sum((stages if one.per_stage else 1) * log10(len(one.values)) for one in self.of_networks())
        return combinations - len(self.increasing) * log10(factorial(stages))

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

    def _check_rates(self) -> None:
        for name, distribution in self.parameters.items():
            if name in RATES:
                if isinstance(distribution, Uniform | LogUniform) and "step" not in distribution.model_fields_set:
                    raise ValueError(f"parameters.{name}.step: required; null for all numbers between low and high")
                self._check_domain(name, distribution.values)
                if distribution.per_stage:
                    raise ValueError(f"parameters.{name}.per_stage = True: must be False")
            elif distribution.is_continuous:
                raise ValueError(f"parameters.{name}.step = None: must be a number, except for {' and '.join(RATES)}")

    def _check_stages(self, prefix: str, drawn: dict[str, Any]) -> None:
        stages = len(self.template.strides) if self.template.lists() else 1
        try:
            kind = stage_class(self.template.stage.get("block"))
            for number in range(stages):
                kind.from_mapping({"depth": 1, "width": 8} | self.template.stage_settings(number) | drawn)
        except ValueError as error:
            raise ValueError(f"{prefix}.{error}") from None

    def _check_drawn(self, family: str, block: str) -> None:
        fields = set(stage_class(block).model_fields) - {"block", "stride", "depth", "width"}
        of_stages = fields | ({"groups"} if block == "bottleneck" else set())
        required = REQUIRED[family]
        if family == "anynet":
            of_stages |= required
            required = required - set(self.template.stage)
        if not self.of_networks():
            raise ValueError("parameters = {}: must have at least one parameter of the networks")
        self._check_parameters(required, of_stages | {"resolution"})
        self._check_per_stage(of_stages)
        for name, distribution in self.parameters.items():
            values = distribution.values
            if name not in fields:
                self._check_domain(name, values)
                continue
            if len(values) > MOST_STAGE_VALUES:
                raise ValueError(
                    f"parameters.{name}: must have at most {MOST_STAGE_VALUES:,} values, not {len(values):,}"
                )
            for value in values.tolist():
                self._check_stages("parameters", {name: value})

    def _check_domain(self, name: str, values: np.ndarray) -> None:
        """Raise ValueError unless the values of a parameter that is not a stage field are positive numbers."""
        kind, kinds = ("integers", "i") if name in INTEGERS else ("numbers", "if")
        smallest = 1 if name in INTEGERS else SMALLEST.get(name, 0.001)
        if values.dtype.kind not in kinds or values.min() < smallest:
            raise ValueError(f"parameters.{name} = {shorten(values.tolist())}: must be {kind} of at least {smallest:g}")

    def _check_compound(self) -> None:
        if self.spec is None:
            raise ValueError("spec: required by the family compound, a published network or the mapping of a spec")
        if isinstance(self.spec, dict):
            try:
                ModelSpec.from_mapping(self.spec)
            except ValueError as error:
                raise ValueError(f"spec.{error}") from None
        for name, distribution in self.parameters.items():
            self._check_domain(name, distribution.values)
        for kind in COMPOUND:
            if kind & set(self.parameters):
                optional = kind if kind == COMPOUND[-1] else {"width_exponent"}
                self._check_parameters(kind - optional, kind)
                self._check_width_exponent()
                self._check_per_stage(set())
                return
        kinds = " or ".join(", ".join(sorted(kind)) for kind in COMPOUND)
        raise ValueError(f"parameters = {shorten(sorted(self.parameters))}: must be {kinds} for the family compound")

    def _check_width_exponent(self) -> None:
        exponent = self.parameters.get("width_exponent")
        if exponent is None:
            return
        if self.rule not in (None, "dWr"):
            raise ValueError(f"rule = {self.rule}: must be dWr with a free width_exponent")
        if exponent.values.max() > 1:
            raise ValueError(f"parameters.width_exponent = {shorten(exponent.values.tolist())}: must be at most 1")

    def _check_parameters(self, required: set[str], allowed: set[str]) -> None:
        if missing := required - set(self.parameters):
            raise ValueError(f"parameters.{sorted(missing)[0]}: required by the family {self.family}")
        allowed = allowed | set(RATES)
        if others := sorted(set(self.parameters) - required - allowed):
            advice = suggestion(others[0], sorted(required | allowed))
            raise ValueError(f"parameters.{others[0]}: unknown; {advice}")

    def _check_per_stage(self, of_stages: set[str]) -> None:
        for name, distribution in self.parameters.items():
            if distribution.per_stage and name not in of_stages:
                raise ValueError(f"parameters.{name}.per_stage = True: must be False")


Draws = dict[str, np.ndarray]
Family = Callable[[Settings, Draws], tuple[np.ndarray, ModelSpec]]
