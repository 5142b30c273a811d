"""The published networks, as specs built from their published parameters."""

from __future__ import annotations

from functools import cache

from designspace.spec import ModelSpec
from designspace.zoo import efficientnet, mobilenet, regnet, resnet, vgg, xception

FAMILIES = (vgg, resnet, xception, mobilenet, efficientnet, regnet)


def names() -> tuple[str, ...]:
    """The names `spec` knows, family by family."""
    return tuple(_all())


def spec(name: str) -> ModelSpec:
    """The published network of that name; ValueError names those there are."""
    return _entry(name)[0]


def error_percent(name: str) -> float | None:
    """Its published top-1 error on ImageNet in percent, where known; the source stands in the module of the family."""
    return _entry(name)[1]


def _entry(name: str) -> tuple[ModelSpec, float | None]:
    if name not in _all():
        raise ValueError(f"{name}: no such network; the zoo has {', '.join(names())}")
    return _all()[name]


@cache
def _all() -> dict[str, tuple[ModelSpec, float | None]]:
    return {str(model.name): (model, error) for family in FAMILIES for model, error in family.models()}
