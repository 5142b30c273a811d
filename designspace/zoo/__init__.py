"""The published networks, as specs built from their published parameters."""

from __future__ import annotations

from functools import cache

from designspace.spec import ModelSpec
from designspace.validated import shorten
from designspace.zoo import efficientnet, mobilenet, regnet, resnet, vgg, xception

FAMILIES = (vgg, resnet, xception, mobilenet, efficientnet, regnet)


def names() -> tuple[str, ...]:
    """Names of the published networks, family by family."""
    return tuple(_all())


def spec(name: str) -> ModelSpec:
    """The published network of that name; ValueError lists the names."""
    return _entry(name)[0]


def error_percent(name: str) -> float | None:
    """Its published top-1 error on ImageNet in percent, where known; the module of its family cites the source."""
    return _entry(name)[1]


def _entry(name: str) -> tuple[ModelSpec, float | None]:
    if name not in _all():
        raise ValueError(f"network = {shorten(name)}: must be one of {', '.join(names())}")
    return _all()[name]


@cache
def _all() -> dict[str, tuple[ModelSpec, float | None]]:
    return {str(model.name): (model, error) for family in FAMILIES for model, error in family.models()}
