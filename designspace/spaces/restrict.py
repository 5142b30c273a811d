"""Restrict a design space by the text of a restriction; see `designspace.expressions` for the language.

Conditions that the settings of a space can express are drawn directly, others by rejection (`Settings.where`).
"""

from __future__ import annotations

import math
from typing import TypeVar

import numpy as np

from designspace.distributions import Choice, Distribution
from designspace.expressions import Restriction, parse_restriction
from designspace.spaces.settings import Settings
from designspace.validated import cut, shorten

Space = TypeVar("Space", bound=Settings)

LARGEST_NAME = 200


def restrict(space: Space, text: str, name: str | None = None) -> Space:
    """The space with a restriction, as documented in `DesignSpace.restrict`."""
    try:
        restriction = parse_restriction(text)
        restriction.check(space.quantities())
        restricted = space
        for part in restriction.conjuncts():
            restricted = _restrict(restricted, part)
    except ValueError as error:
        raise ValueError(f"restrict = {error}") from None
    return restricted.changed(name=cut(f"{space.name}: {restriction.text}", LARGEST_NAME) if name is None else name)


def _restrict(space: Space, part: Restriction) -> Space:
    """The space with one condition."""
    if part.predicate is not None:
        return _of_stages(space, *part.predicate)
    drawn = _drawn(space, part)
    if drawn is not None:
        parameter, kept = drawn
        distribution = space.parameters[parameter]
        if not kept.any():
            values = distribution.values.tolist()
            listed = f"one of {values}" if isinstance(distribution, Choice) else f"from {values[0]} to {values[-1]}"
            raise ValueError(f"{cut(part.text)}: must keep a value of {parameter}, which is {cut(listed)}")
        if kept.all():
            return space
        if (narrowed := distribution.conditional(kept)) is not None:
            return _with_parameter(space, parameter, narrowed)
    elif (constrained := _constrained(space, part)) is not None:
        return constrained
    return space if part.text in space.where else space.changed(where=(*space.where, part.text))


def _of_stages(space: Space, function: str, parameter: str) -> Space:
    """The space with shared(parameter) or nondecreasing(parameter)."""
    distribution = space.parameters.get(parameter)
    if distribution is None or not distribution.per_stage:  # all stages share it
        return space
    if function == "nondecreasing":
        increasing = space.increasing if parameter in space.increasing else (*space.increasing, parameter)
        return _sized(space, space.changed(increasing=increasing))
    unordered = space.changed(increasing=tuple(name for name in space.increasing if name != parameter))
    return _sized(space, _with_parameter(unordered, parameter, distribution.changed(per_stage=False)))


def _drawn(space: Settings, part: Restriction) -> tuple[str, np.ndarray] | None:
    """The parameter whose values a condition limits one by one, and the mask of the values that it keeps."""
    if len(set(part.names)) != 1:
        return None
    name, in_function = part.uses[0]
    distribution = space.parameters.get(name)
    of_network = name == "depth" and space.depth_of_stages and not in_function
    if distribution is None or of_network or (distribution.per_stage and not part.holds_by_stage()):
        return None
    column = "depth_1" if name == "depth" and space.depth_of_stages else name
    kept = part.holds({column: distribution.values})
    return name, kept & (distribution.probabilities > 0)


def _constrained(space: Space, part: Restriction) -> Space | None:
    """The space with a tighter range of macs, params, acts or depth; None if a condition is not such a range.

    Without a range in the space, a lower limit alone is not one.
    """
    quantity, limits = part.names[0], part.limits(integer=True)
    if set(part.names) - {"depth", "macs", "params", "acts"} or len(set(part.names)) > 1 or limits is None:
        return None
    given = getattr(space.constraints, quantity) or (0.0, math.inf)
    low, high = max(given[0], limits[0]), min(given[1], limits[1])
    if low > high:
        raise ValueError(f"{cut(part.text)}: must leave a value in constraints.{quantity} = {shorten(list(given))}")
    if math.isinf(high):
        return None
    return space.changed(constraints=space.constraints.given() | {quantity: (low, high)})


def _with_parameter(space: Space, name: str, distribution: Distribution) -> Space:
    return _sized(space, space.changed(parameters=space.parameters | {name: distribution}))


def _sized(before: Space, after: Space) -> Space:
    """Scale the published number of networks, if there is one, like the number of combinations of values."""
    if before.size is None:
        return after
    ratio = 10 ** (after.log10_combinations - before.log10_combinations)
    return after.changed(size=max(1.0, before.size * ratio))
