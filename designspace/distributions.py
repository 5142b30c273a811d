"""Distributions of free parameters: finite sets of values with their probabilities, or continuous ranges."""

from __future__ import annotations

from abc import ABC, abstractmethod
from math import ceil, floor, log2
from typing import Annotated, Any, Literal, Self

import numpy as np
from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from designspace.validated import Validated, shorten


def _plain(option: Any) -> Any:
    if not isinstance(option, bool | int | float | str):
        raise ValueError("must be a number, true, false or text")
    return option


LARGEST_VALUE = 1e9
MOST_VALUES = 1_000_000

DIGITS = 6
"""Significant digits of continuous draws. Logarithms and powers differ in the last bits between processors."""


def _bounded(option: bool | int | float | str) -> bool | int | float | str:
    if not isinstance(option, str) and abs(option) > LARGEST_VALUE:
        raise ValueError(f"must be at most {LARGEST_VALUE:g} in absolute value")
    return option


Option = Annotated[bool | int | float | str, BeforeValidator(_plain), AfterValidator(_bounded)]
Limit = Annotated[float, Field(ge=-LARGEST_VALUE, le=LARGEST_VALUE)]


MOST_OPTIONS = 32
"""Values that `conditional` lists one by one."""


class _Distribution(Validated, ABC):
    """`per_stage`: draw a value for every stage."""

    per_stage: bool = False

    @property
    @abstractmethod
    def values(self) -> np.ndarray:
        """All values."""

    @property
    @abstractmethod
    def probabilities(self) -> np.ndarray:
        """Probability of each of `values`."""

    @property
    def is_continuous(self) -> bool:
        """Whether the values are not a finite set."""
        return False

    def conditional(self, kept: np.ndarray) -> Distribution | None:
        """The distribution of the values in a mask of `values`, given that one of them is drawn.

        None if this is neither a narrower range nor a choice of a few values.
        """
        if kept.sum() > MOST_OPTIONS:
            return None
        options, probabilities = self.values[kept].tolist(), self.probabilities[kept]
        equal = bool(np.allclose(probabilities, probabilities[0], rtol=1e-12))
        weights = None if equal else tuple((probabilities / probabilities.sum()).tolist())
        return Choice(options=tuple(options), weights=weights, per_stage=self.per_stage)


class _Range(_Distribution, ABC):
    """Numbered values in [low, high], with equal probability unless a subclass overrides it."""

    low: Limit
    high: Limit

    @property
    @abstractmethod
    def _kind(self) -> str:
        """Name of the values in messages."""

    @abstractmethod
    def _number(self, limit: float) -> float:
        """Position of a limit on the scale of the numbers."""

    @abstractmethod
    def _numbered(self, numbers: np.ndarray) -> np.ndarray:
        """The values with these numbers."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.low > self.high:
            raise ValueError(f"low = {self.low:g}: must be at most high = {self.high:g}")
        if self.first > self.last:
            raise ValueError(f"low = {self.low:g}: must have a {self._kind} between it and high = {self.high:g}")
        if self.last - self.first >= MOST_VALUES:
            raise ValueError(f"high = {self.high:g}: must give at most {MOST_VALUES:,} values from low = {self.low:g}")
        return self

    def conditional(self, kept: np.ndarray) -> Distribution | None:
        """As in every distribution; a narrower range if the values are adjacent."""
        positions = np.flatnonzero(kept)
        if positions[-1] - positions[0] + 1 > len(positions):
            return super().conditional(kept)
        low, high = self.values[positions[[0, -1]]].tolist()
        return self._narrowed(low, high)

    def _narrowed(self, low: float, high: float) -> Distribution:
        """The distribution of the values in a range with these ends."""
        return self.changed(low=low, high=high)  # type: ignore[return-value]

    @property
    def first(self) -> int:
        """Number of the smallest value."""
        return ceil(self._number(self.low) - 1e-9)

    @property
    def last(self) -> int:
        """Number of the largest value."""
        return floor(self._number(self.high) + 1e-9)

    @property
    def values(self) -> np.ndarray:
        """All values, ascending."""
        return self._numbered(np.arange(self.first, self.last + 1))

    @property
    def probabilities(self) -> np.ndarray:
        """Probability of each of `values`."""
        return np.full(len(self.values), 1 / len(self.values))

    def nearest(self, numbers: np.ndarray) -> np.ndarray:
        """The values that numbers are rounded to."""
        positions = np.rint([self._number(number) for number in numbers.ravel().tolist()]).astype(np.int64)
        return self._numbered(np.clip(positions, self.first, self.last).reshape(numbers.shape))

    def sample(self, rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
        """Independent draws."""
        return self._numbered(rng.integers(self.first, self.last, shape, endpoint=True))


class _Steps(_Range):
    """Multiples of `step`; the number of a value is value / step. Without a step, the range is continuous."""

    step: Annotated[float, Field(ge=1e-9, le=LARGEST_VALUE)] | None = 1.0

    @property
    def is_continuous(self) -> bool:
        """Whether there is no step."""
        return self.step is None

    @property
    def values(self) -> np.ndarray:
        """All values, ascending; of a continuous range, its limits."""
        return np.array([self.low, self.high]) if self.is_continuous else super().values

    @property
    def probabilities(self) -> np.ndarray:
        """Probability of each of `values`, which a continuous range does not have."""
        assert not self.is_continuous
        return super().probabilities

    def nearest(self, numbers: np.ndarray) -> np.ndarray:
        """The values that numbers are rounded to."""
        return _rounded(numbers, self.low, self.high) if self.is_continuous else super().nearest(numbers)

    @property
    def _kind(self) -> str:
        return "number" if self.step is None else f"multiple of step = {self.step:g}"

    def _number(self, limit: float) -> float:
        return 0.0 if self.step is None else limit / self.step

    def _numbered(self, numbers: np.ndarray) -> np.ndarray:
        assert self.step is not None
        if self.step == int(self.step):
            return numbers * int(self.step)
        return np.round(numbers * self.step, 9)


class Uniform(_Steps):
    """Multiples of `step` in [low, high] with equal probability; all numbers in it if `step` is None."""

    distribution: Literal["uniform"] = "uniform"

    def sample(self, rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
        """Independent draws."""
        if not self.is_continuous:
            return super().sample(rng, shape)
        return _rounded(self.low + (self.high - self.low) * rng.random(shape), self.low, self.high)


class LogUniform(_Steps):
    """step · round(exp(U(log l, log last))), where `first` and `last` are the outermost multiples of `step`.

    If `step` is None, exp(U(log low, log high)) without rounding.
    `rounding`: "nearest" with l = first, or "up" with l = first - min(1, first / 2) as in pycls (`sweep/random.py`).
    "up" draws small values more often: 8 in [8, 256] with step 8 has probability 1/6, but 0.117 with "nearest".
    `within`: draw only values in [low, high] of it, with the same probabilities relative to each other. Another `low`
    or `high` would change those of the outermost values, to which fewer numbers round.
    """

    distribution: Literal["log_uniform"] = "log_uniform"
    rounding: Literal["nearest", "up"] = "nearest"
    within: tuple[Limit, Limit] | None = None

    @model_validator(mode="after")
    def _check_positive(self) -> LogUniform:
        if self.is_continuous and self.low <= 0:
            raise ValueError(f"low = {self.low:g}: must be greater than 0 in a log-uniform range")
        if not self.is_continuous and self.first < 1:
            raise ValueError(f"low = {self.low:g}: must be at least step = {self.step:g} in a log-uniform range")
        if self.is_continuous and self.within is not None:
            raise ValueError(f"within = {list(self.within)}: must be None without a step")
        if self.within is not None and self._ends[0] > self._ends[1]:
            raise ValueError(
                f"within = {list(self.within)}: must have a {self._kind} between low = {self.low:g} and high = "
                f"{self.high:g}"
            )
        return self

    @property
    def _ends(self) -> tuple[int, int]:
        """Numbers of the smallest and the largest value that can be drawn."""
        if self.within is None:
            return self.first, self.last
        low, high = self.within
        first, last = ceil(self._number(low) - 1e-9), floor(self._number(high) + 1e-9)
        return max(first, self.first), min(last, self.last)

    def _narrowed(self, low: float, high: float) -> Distribution:
        return self.changed(within=(low, high))

    @property
    def _lowest(self) -> float:
        """Smallest number before rounding."""
        return self.first if self.rounding == "nearest" else self.first - min(1, self.first / 2)

    def _edges(self, numbers: np.ndarray | int) -> np.ndarray:
        """Smallest numbers before rounding that become these."""
        reach = 0.5 if self.rounding == "nearest" else 1.0
        return np.clip(numbers - reach, self._lowest, self.last)

    @property
    def values(self) -> np.ndarray:
        """All values, ascending; of a continuous range, its limits."""
        if self.is_continuous:
            return super().values
        first, last = self._ends
        return self._numbered(np.arange(first, last + 1))

    @property
    def probabilities(self) -> np.ndarray:
        """Probability of each of `values`, which a continuous range does not have."""
        assert not self.is_continuous
        first, last = self._ends
        if first == last:
            return np.ones(1)
        edges = np.log(self._edges(np.arange(first, last + 2)))
        return np.diff(edges) / (edges[-1] - edges[0])

    @property
    def _edge_numbers(self) -> tuple[float, float]:
        """Numbers before rounding between which draws are."""
        first, last = self._ends
        low, high = self._edges(np.array([first, last + 1])).tolist()
        return low, high

    @property
    def span(self) -> tuple[float, float]:
        """Ends of the range that draws are in before they are rounded."""
        if self.step is None:
            return self.low, self.high
        low, high = self._edge_numbers
        return low * self.step, high * self.step

    def nearest(self, numbers: np.ndarray) -> np.ndarray:
        """The values that numbers are rounded to, up with `rounding` = "up"."""
        if self.step is None:
            return super().nearest(numbers)
        return self._quantized(numbers / self.step - (1e-9 if self.rounding == "up" else 0))

    def _quantized(self, numbers: np.ndarray) -> np.ndarray:
        rounded = (np.rint if self.rounding == "nearest" else np.ceil)(numbers)
        # Floating-point noise can round up to the next number.
        return self._numbered(np.clip(rounded, *self._ends).astype(np.int64))

    def sample(self, rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
        """Independent draws."""
        draws = rng.random(shape)
        if self.is_continuous:
            return _rounded(self.low * np.exp(draws * np.log(self.high / self.low)), self.low, self.high)
        low, high = self._edge_numbers
        draws *= np.log(high / low)
        np.exp(draws, out=draws)
        draws *= low
        return self._quantized(draws)


def _rounded(draws: np.ndarray, low: float, high: float) -> np.ndarray:
    """Draws in [low, high], rounded to `DIGITS` significant digits."""
    rounded = [float(f"{value:.{DIGITS}g}") for value in draws.ravel().tolist()]
    return np.clip(np.reshape(rounded, draws.shape), low, high)


class PowerOfTwo(_Range):
    """Powers of two in [low, high] with equal probability; the number of a value is its exponent."""

    distribution: Literal["power_of_two"] = "power_of_two"
    low: Annotated[Limit, Field(gt=0)]

    @property
    def _kind(self) -> str:
        return "power of two"

    def _number(self, limit: float) -> float:
        return log2(limit)

    def _numbered(self, numbers: np.ndarray) -> np.ndarray:
        return np.exp2(numbers) if self.first < 0 else np.int64(1) << numbers

    @property
    def span(self) -> tuple[float, float]:
        """Ends of the range of the numbers that are rounded to its values, on a logarithmic scale."""
        return 2 ** (self.first - 0.5), 2 ** (self.last + 0.5)


class Choice(_Distribution):
    """Given values, with equal probability or in proportion to `weights`."""

    distribution: Literal["choice"] = "choice"
    options: Annotated[tuple[Option, ...], Field(min_length=1, max_length=10_000)]
    weights: tuple[Annotated[float, Field(ge=0, le=LARGEST_VALUE)], ...] | None = None

    @model_validator(mode="after")
    def _check(self) -> Choice:
        if self.weights is not None and (len(self.weights) != len(self.options) or sum(self.weights) <= 0):
            raise ValueError(
                f"weights = {shorten(self.weights)}: must be one per option ({len(self.options)}), not all zero"
            )
        return self

    def conditional(self, kept: np.ndarray) -> Distribution | None:
        """As in every distribution, with the given weights."""
        weights = None if self.weights is None else tuple(np.array(self.weights)[kept].tolist())
        options = tuple(option for option, keep in zip(self.options, kept, strict=True) if keep)
        return self.changed(options=options, weights=weights)

    @property
    def values(self) -> np.ndarray:
        """All values, in the given order."""
        return np.array(self.options)

    @property
    def probabilities(self) -> np.ndarray:
        """Probability of each of `values`."""
        weights = np.array(self.weights if self.weights is not None else [1.0] * len(self.options))
        return weights / weights.sum()

    def sample(self, rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
        """Independent draws."""
        if len(self.options) == 1:
            return np.full(shape, self.values[0])
        if self.weights is None:
            return self.values[rng.integers(0, len(self.options), shape)]
        return self.values[rng.choice(len(self.options), shape, p=self.probabilities)]


Distribution = Annotated[Uniform | LogUniform | PowerOfTwo | Choice, Field(discriminator="distribution")]
