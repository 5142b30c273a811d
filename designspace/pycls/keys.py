"""Keys, types and defaults that the sections of a pycls configuration share (pycls `core/config.py`)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, ConfigDict, Field

from designspace.spec import Count
from designspace.validated import Validated, shorten

ACTIVATIONS = ("relu", "silu", "gelu")
"""Activations of pycls by our names; swish is silu."""

Depth = Annotated[int, Field(ge=1, le=10_000, strict=True)]
Width = Annotated[int, Field(ge=1, le=1_000_000, strict=True)]
Multiplier = Annotated[float, Field(gt=0, le=1000, strict=True)]
Share = Annotated[float, Field(ge=0, le=1, strict=True)]
SectionType = TypeVar("SectionType", bound=Validated)


def one_of(allowed: Iterable[str]) -> AfterValidator:
    """A validator that allows only some texts."""
    names = tuple(allowed)

    def check(value: str) -> str:
        if value not in names:
            raise ValueError(f"must be one of {', '.join(names)}")
        return value

    return AfterValidator(check)


class Model(Validated):
    """The keys of MODEL that describe a network; the others configure training."""

    model_config = ConfigDict(extra="ignore")

    TYPE: Annotated[str, one_of(("anynet", "regnet", "effnet", "resnet"))]
    NUM_CLASSES: Count = 10
    ACTIVATION_FUN: Annotated[str, AfterValidator(str.lower), one_of((*ACTIVATIONS, "swish"))] = "relu"

    @property
    def activation(self) -> str:
        """Our name of the activation."""
        return "silu" if self.ACTIVATION_FUN == "swish" else self.ACTIVATION_FUN


class Train(Validated):
    """The key of TRAIN that describes a network."""

    model_config = ConfigDict(extra="ignore")

    IM_SIZE: Count = 224


def read_section(config: Mapping[str, Any], name: str, kind: type[SectionType]) -> SectionType:
    """A validated section of a configuration with its defaults; ValueError names the key."""
    given = config.get(name)
    if not isinstance(given, Mapping | None):
        raise ValueError(f"{name} = {shorten(given)}: must be a mapping")
    return kind.from_mapping(given or {}, name)


def per_stage(name: str, section: Mapping[str, Any], keys: tuple[str, ...]) -> Iterator[tuple[Any, ...]]:
    """Values of several keys per stage; ValueError unless all keys have one value per stage."""
    count = len(section[keys[0]])
    for key in keys:
        if len(section[key]) != count or not count:
            raise ValueError(
                f"{name}.{key} = {shorten(list(section[key]))}: must have as many values as {keys[0]} ({count}) "
                "and at least 1"
            )
    return zip(*(section[key] for key in keys), strict=True)
