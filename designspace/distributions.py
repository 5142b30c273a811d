"""Laws of a space's free parameters: finite sets of values, each with its probability."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BeforeValidator, Field, model_validator

from designspace.validated import Validated


def _plain(option: Any) -> Any:
    if not isinstance(option, bool | int | float | str):
        raise ValueError("must be a number, true or false, or a word")
    return option


Option = Annotated[bool | int | float | str, BeforeValidator(_plain)]


class _Distribution(Validated):
    """`per_stage`: every stage has a draw of its own."""

    per_stage: bool = False


class _Range(_Distribution):
    low: float
    high: float
    step: Annotated[float, Field(gt=0)] = 1.0

    @model_validator(mode="after")
    def _check(self) -> _Range:
        if self.low > self.high:
            raise ValueError(f"low = {self.low:g}: must be at most high = {self.high:g}")
        if self.first > self.last:
            raise ValueError(f"step = {self.step:g}: no multiple of it lies in [{self.low:g}, {self.high:g}]")
        return self

    @property
    def first(self) -> int:
        """The smallest multiple of `step` in the range, in steps."""
        return int(np.ceil(self.low / self.step - 1e-9))

    @property
    def last(self) -> int:
        """The largest multiple of `step` in the range, in steps."""
        return int(np.floor(self.high / self.step + 1e-9))

    @property
    def values(self) -> np.ndarray:
        """All values, ascending."""
        return self._scaled(np.arange(self.first, self.last + 1))

    def _scaled(self, steps: np.ndarray) -> np.ndarray:
        if self.step == int(self.step):
            return steps * int(self.step)
        return np.round(steps * self.step, 9)


class Uniform(_Range):
    """Every multiple of `step` in [low, high] with equal probability."""

    distribution: Literal["uniform"] = "uniform"

    @property
    def probabilities(self) -> np.ndarray:
        """The probability of each of `values`."""
        return np.full(len(self.values), 1 / len(self.values))

    def sample(self, rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
        """Independent draws."""
        return self._scaled(rng.integers(self.first, self.last, shape, endpoint=True))


class LogUniform(_Range):
    """exp(U(log first, log last)) rounded to a multiple of `step`, as pycls draws widths and depths."""

    distribution: Literal["log_uniform"] = "log_uniform"

    @model_validator(mode="after")
    def _check_positive(self) -> LogUniform:
        if self.first < 1:
            raise ValueError(f"low = {self.low:g}: a log-uniform range starts at one step ({self.step:g}) or above")
        return self

    @property
    def probabilities(self) -> np.ndarray:
        """The probability of each of `values`."""
        if self.first == self.last:
            return np.ones(1)
        edges = np.clip(np.arange(self.first, self.last + 2) - 0.5, self.first, self.last)
        return np.diff(np.log(edges)) / np.log(self.last / self.first)

    def sample(self, rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
        """Independent draws."""
        draws = rng.random(shape)
        draws *= np.log(self.last / self.first)
        np.exp(draws, out=draws)
        draws *= self.first
        return self._scaled(np.rint(draws, out=draws).astype(np.int64))


class PowerOfTwo(_Range):
    """Every power of two in [low, high] with equal probability."""

    distribution: Literal["power_of_two"] = "power_of_two"

    @property
    def first(self) -> int:
        """The exponent of the smallest value."""
        return int(np.ceil(np.log2(self.low) - 1e-9)) if self.low > 0 else 0

    @property
    def last(self) -> int:
        """The exponent of the largest value."""
        return int(np.floor(np.log2(self.high) + 1e-9)) if self.high > 0 else -1

    @property
    def probabilities(self) -> np.ndarray:
        """The probability of each of `values`."""
        return np.full(len(self.values), 1 / len(self.values))

    def _scaled(self, steps: np.ndarray) -> np.ndarray:
        return np.exp2(steps) if self.first < 0 else np.int64(1) << steps

    def sample(self, rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
        """Independent draws."""
        return self._scaled(rng.integers(self.first, self.last, shape, endpoint=True))


class Choice(_Distribution):
    """One of the given values, with equal probability unless weights say otherwise."""

    distribution: Literal["choice"] = "choice"
    options: Annotated[tuple[Option, ...], Field(min_length=1)]
    weights: tuple[Annotated[float, Field(ge=0)], ...] | None = None

    @model_validator(mode="after")
    def _check(self) -> Choice:
        if self.weights is not None and (len(self.weights) != len(self.options) or sum(self.weights) <= 0):
            raise ValueError(f"weights = {self.weights}: one for each of the {len(self.options)} options, not all zero")
        return self

    @property
    def values(self) -> np.ndarray:
        """All values, in the given order."""
        return np.array(self.options)

    @property
    def probabilities(self) -> np.ndarray:
        """The probability of each of `values`."""
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
