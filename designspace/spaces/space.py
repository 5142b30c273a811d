"""A design space: its settings, the spaces derived from it, its size, and drawing from it."""

from __future__ import annotations

from math import factorial, log10
from typing import Any, Self

from designspace.distributions import Distribution
from designspace.population import Population
from designspace.spaces.sampling import sample
from designspace.spaces.settings import Settings


class DesignSpace(Settings):
    """A design space; see `designspace.spaces` for the named ones and `Settings` for its fields.

    Every space made from another is checked like one made from scratch; ValueError names field, value and what is
    allowed.
    """

    def named(self, name: str) -> Self:
        """The same space under another name (and so with another random stream)."""
        return self.changed(name=name)

    def share(self, parameter: str) -> Self:
        """The space in which all stages have one value of the parameter."""
        return self.with_laws(**{parameter: self.parameters[parameter].changed(per_stage=False)})

    def increase(self, parameter: str) -> Self:
        """The space in which the parameter does not decrease from stage to stage."""
        return self.changed(increasing=(*self.increasing, parameter))

    def with_laws(self, **laws: Distribution | None) -> Self:
        """The space with other laws for some parameters; None takes one away."""
        merged = {name: law for name, law in (self.parameters | laws).items() if law is not None}
        return self.changed(parameters=merged)

    def with_template(self, **settings: Any) -> Self:
        """The space with other settings in its template."""
        return self.changed(template=self.template.given() | settings)

    def with_constraints(self, **settings: Any) -> Self:
        """The space with further constraints."""
        return self.changed(constraints=self.constraints.given() | settings)

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
        return sample(self, n, seed)
