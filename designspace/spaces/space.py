"""A design space: its settings, spaces derived from it, its size, and sampling."""

from __future__ import annotations

from collections.abc import Callable
from math import factorial, log10
from typing import Any, Self

from designspace.distributions import Distribution
from designspace.population import Population
from designspace.spaces.sampling import sample
from designspace.spaces.settings import Settings


class DesignSpace(Settings):
    """A design space; see `designspace.spaces` for the named ones and `Settings` for its fields.

    A derived space is validated like one made from scratch; ValueError names field, value and what is allowed.
    """

    def named(self, name: str) -> Self:
        """The same space under another name (and so with another random stream)."""
        return self.changed(name=name)

    def share(self, parameter: str) -> Self:
        """The space in which all stages share one value of the parameter."""
        return self.with_distributions(**{parameter: self.parameters[parameter].changed(per_stage=False)})

    def increase(self, parameter: str) -> Self:
        """The space in which the parameter does not decrease from stage to stage."""
        return self.changed(increasing=(*self.increasing, parameter))

    def with_distributions(self, **distributions: Distribution | None) -> Self:
        """The space with other distributions of some parameters; None removes a parameter."""
        merged = self.parameters | distributions
        return self.changed(parameters={name: value for name, value in merged.items() if value is not None})

    def with_template(self, **settings: Any) -> Self:
        """The space with other settings in its template."""
        return self.changed(template=self.template.given() | settings)

    def with_constraints(self, **settings: Any) -> Self:
        """The space with further constraints."""
        return self.changed(constraints=self.constraints.given() | settings)

    @property
    def degrees_of_freedom(self) -> int:
        """Number of free parameters; a parameter with its own draw in each stage counts once per stage."""
        return sum(self._draws(one) for one in self.parameters.values() if len(one.values) > 1)

    @property
    def log10_size(self) -> float:
        """log10 of the number of networks before constraints, over S! for each parameter that must not decrease."""
        if self.size is not None:
            return log10(self.size)
        combinations = sum(self._draws(one) * log10(len(one.values)) for one in self.parameters.values())
        return combinations - len(self.increasing) * log10(factorial(len(self.template.strides)))

    def _draws(self, distribution: Distribution) -> int:
        return len(self.template.strides) if distribution.per_stage else 1

    def sample(self, n: int, seed: int = 0, on_progress: Callable[[int], None] | None = None) -> Population:
        """The first n draws of the space's random stream for this seed: sample(a) is the beginning of sample(b), a < b.

        With `duplicates="keep"` the draws are independent and a network can be among them more than once; with "drop"
        they are the distinct networks of the same stream, each at its first draw.

        Args:
            n: networks.
            seed: of the stream.
            on_progress: called with the number of networks drawn so far, again and again while it takes long.
        Raises:
            ValueError: n or seed out of range, or a regime with (almost) no networks, or with fewer than n distinct
                ones under "drop".
        """
        return sample(self, n, seed, on_progress)
