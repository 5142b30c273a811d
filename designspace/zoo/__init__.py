"""Published networks as specs, built from their published parameters."""

from __future__ import annotations

from functools import cache

from designspace.spec import ModelSpec
from designspace.validated import unknown
from designspace.zoo.classic import vggs, xceptions
from designspace.zoo.convnext import convnexts
from designspace.zoo.efficientnet_v2 import efficientnets_v2
from designspace.zoo.mobile import efficientnets, mobilenets
from designspace.zoo.mobile_v3 import mnasnets, mobilenets_v3
from designspace.zoo.regnet import regnets, regnetzs
from designspace.zoo.resnet import resnets

FAMILIES = (
    vggs,
    resnets,
    xceptions,
    mobilenets,
    mnasnets,
    mobilenets_v3,
    efficientnets,
    efficientnets_v2,
    regnets,
    regnetzs,
    convnexts,
)
"""Functions that yield each network of a family with its top-1 error in percent."""


def names() -> tuple[str, ...]:
    """Names of the published networks, family by family."""
    return tuple(_all())


def spec(name: str) -> ModelSpec:
    """The published network with a name; ValueError for an unknown name."""
    return _entry(name)[0]


def error_percent(name: str) -> float | None:
    """Published top-1 error on ImageNet in percent, if any; the modules of this package cite the sources."""
    return _entry(name)[1]


def _entry(name: str) -> tuple[ModelSpec, float | None]:
    if name not in _all():
        raise ValueError(unknown("network", name, names(), "designspace zoo"))
    return _all()[name]


@cache
def _all() -> dict[str, tuple[ModelSpec, float | None]]:
    return {str(model.name): (model, error) for family in FAMILIES for model, error in family()}
