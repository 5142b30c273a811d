"""Specs whose numbers are arrays of shape (N,): how a population of networks is kept, cut and unpacked."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import numpy as np
from pydantic import BaseModel

from designspace.spec import ModelSpec

Part = TypeVar("Part", bound=BaseModel)


def map_arrays(function: Callable[..., Any], *parts: Part) -> Part:
    """A spec in which every array is replaced by function(array of each of the parts); the rest is the first's."""
    return _map(function, *parts)


def leaves(part: BaseModel) -> Iterator[np.ndarray]:
    """The arrays of a spec, always in the same order."""
    found: list[np.ndarray] = []
    map_arrays(lambda array: found.append(array), part)
    yield from found


def unpack(networks: ModelSpec, index: int) -> ModelSpec:
    """One network of a population as a validated spec; stages of depth 0 are left out."""
    single = map_arrays(lambda array: array[index].item(), networks)
    mapping = single.to_mapping()
    mapping["stages"] = [stage for stage in mapping["stages"] if stage["depth"]]
    return ModelSpec.from_mapping(mapping)


def _map(function: Callable[..., Any], *values: Any) -> Any:
    first = values[0]
    if isinstance(first, np.ndarray):
        return function(*values)
    if isinstance(first, tuple):
        return tuple(_map(function, *items) for items in zip(*values, strict=True))
    if isinstance(first, BaseModel):
        names = type(first).model_fields
        return first.model_construct(
            **{name: _map(function, *(getattr(value, name) for value in values)) for name in names}
        )
    return first
