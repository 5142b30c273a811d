"""Distributions of free parameters as domains of Optuna, with the values that a space draws."""

from __future__ import annotations

from typing import Any

import numpy as np
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from designspace.distributions import Choice, Distribution, LogUniform, PowerOfTwo, Uniform


def domain(distribution: Distribution) -> BaseDistribution:
    """The domain of one value of a parameter; `value` converts a number in it to a value of the distribution.

    The domain is linear for uniform values and logarithmic for log-uniform values and powers of two, so a random draw
    from it has the probabilities of the distribution, with two exceptions: in a log-uniform range of integers, the ends
    are more probable, and the weights of a choice are ignored.
    """
    if isinstance(distribution, Choice):
        return CategoricalDistribution(list(dict.fromkeys(distribution.values.tolist())))
    if not distribution.is_continuous and len(values := distribution.values.tolist()) == 1:
        return CategoricalDistribution(values)
    if isinstance(distribution, Uniform):
        low, high = distribution.values[[0, -1]].tolist()
        step = distribution.step
        if isinstance(low, int):
            return IntDistribution(low, high, step=int(step or 1))
        return FloatDistribution(low, high, step=step)
    if isinstance(distribution, LogUniform) and distribution.step == 1 and distribution.rounding == "nearest":
        low, high = distribution.values[[0, -1]].tolist()
        return IntDistribution(low, high, log=True)
    assert isinstance(distribution, LogUniform | PowerOfTwo)
    return FloatDistribution(*distribution.span, log=True)


def value(distribution: Distribution, number: Any) -> Any:
    """The value of a distribution that a number in its domain is rounded to, as a plain Python value."""
    return number if isinstance(distribution, Choice) else distribution.nearest(np.asarray(number)).item()
