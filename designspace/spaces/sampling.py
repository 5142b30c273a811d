"""A design space: derived spaces, size, constraints, and sampling."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import log, log10
from typing import Any, Self

import numpy as np

from designspace.counting import Complexity, complexity
from designspace.distributions import Distribution
from designspace.expressions import Restriction, parse_restriction
from designspace.latency.predictor import LatencyPredictor
from designspace.memory import training_memory
from designspace.population import Population, Quantities, SamplingReport, leaves, map_arrays
from designspace.spaces.families import FAMILIES
from designspace.spaces.restrict import restrict
from designspace.spaces.settings import Constraints, Draws, Family, Settings
from designspace.spec import ModelSpec
from designspace.validated import check_integer, unknown

CHUNK = 1 << 14
"""Candidates drawn at once. Changing it changes the population of every seed."""

SLOW_STEP = 1 << 9
"""Candidates evaluated at once if a restriction takes long; a divisor of CHUNK."""

MOST_NETWORKS = 10_000_000
"""Largest population, a few gigabytes."""

PATIENCE = 1 << 23
"""Sampling stops after this many consecutive candidates that add nothing to the population."""


class DesignSpace(Settings):
    """A design space; see `Settings` for its fields and `designspace.spaces` for the named spaces.

    A derived space is validated like a new one: ValueError gives field, value and allowed values.
    """

    def named(self, name: str) -> Self:
        """The same space with another name and therefore another random stream."""
        return self.changed(name=name)

    def share(self, parameter: str) -> Self:
        """The space in which all stages share one value of the parameter."""
        if parameter not in self.parameters:
            raise ValueError(unknown("parameter", parameter, self.parameters))
        return self.with_distributions(**{parameter: self.parameters[parameter].changed(per_stage=False)})

    def increase(self, parameter: str) -> Self:
        """The space in which the parameter does not decrease from stage to stage."""
        return self.changed(increasing=(*self.increasing, parameter))

    def with_distributions(self, **distributions: Distribution | None) -> Self:
        """The space with other distributions of some parameters; None removes a parameter."""
        merged = self.parameters | distributions
        return self.changed(parameters={name: value for name, value in merged.items() if value is not None})

    def with_template(self, **settings: Any) -> Self:
        """The space with other template settings, like `resolution=28, in_channels=1, head={"classes": 10}`."""
        return self.changed(template=self.template.given() | settings)

    def with_constraints(self, **settings: Any) -> Self:
        """The space with more constraints, like `macs=(3e6, 6e6)`."""
        return self.changed(constraints=self.constraints.given() | settings)

    def restrict(self, text: str, name: str | None = None) -> Self:
        """The space of the networks that satisfy a restriction, such as "depth <= 20 and shared(group_width)".

        Each condition of an `and` is drawn directly if the settings below can express it, and otherwise by rejection
        (`where`). The sampling report counts rejections by condition.

        - Limits, fixed and excluded values of a parameter: the distribution of the values that remain, with the same
          probabilities relative to each other. Limits of all stages are drawn directly, those of one stage (width_1)
          by rejection.
        - shared(x): one draw from the distribution of x for all stages, as in RegNet (arXiv 2003.13678, Table 1).
        - nondecreasing(x): `increasing`. Limits of depth, macs, params and acts: `constraints`.

        All of these give the conditional distribution: that of the networks of this space that satisfy the restriction.
        The exception is shared(x), unless the values of x are equally probable. Of log-uniform values, for example,
        equal draws in all stages are mostly small, one draw is not. `changed(where=("shared(x)",))` draws equal values
        by rejection instead, from the conditional distribution.

        Args:
            text: the restriction; `designspace.expressions` documents the language.
            name: of the restricted space, and therefore its random stream; by default this space's name with the text.

        Raises:
            ValueError: not a restriction of this space, or no value is left.
        """
        return restrict(self, text, name)

    def fraction(self, text: str, n: int = 10_000, seed: int = 0, confidence: float = 0.95) -> Fraction:
        """Estimate the fraction of the space that satisfies a restriction: the probability that a draw does.

        Draws satisfy the space's own constraints. They are independent of those of `sample`.

        Args:
            text: the restriction; `designspace.expressions` documents the language.
            n: number of draws.
            seed: seed of the draws.
            confidence: of the interval.

        Raises:
            ValueError: as `sample`, or not a restriction of this space.
        """
        parse_restriction(text).check(self.quantities())
        return Fraction(int(self.independent_draws(n, seed).satisfies(text).sum()), n, confidence)

    def independent_draws(self, n: int, seed: int = 0) -> Population:
        """A population with duplicates from another random stream than `sample`, to estimate fractions of the space."""
        return self.changed(name="fraction", duplicates="keep").sample(n, seed)

    def network(self, parameters: Mapping[str, Any], index: int = 0) -> Population | Rejection:
        """The network with given parameters, built and checked like a random draw.

        Args:
            parameters: a value for every parameter of the space, of one drawn per stage a list.
            index: of the network in the population.
        Returns:
            A population of one network, or the first constraint that it violates.
        """
        draws = {name: np.asarray([parameters[name]]) for name in self.parameters}
        rejected: Counter[str] = Counter()
        _, networks = _accepted(self, draws, [parse_restriction(text) for text in self.where], rejected)
        if reasons := [name for name, count in rejected.items() if count]:
            return Rejection(reasons[0], _violation(self, draws, reasons[0]))
        report = SamplingReport(drawn=1, kept=1, rejected={}, distinct=1, duplicates=0)
        return Population(self.name, 0, networks, draws, report, np.array([index]))

    @property
    def degrees_of_freedom(self) -> int:
        """Number of free parameters of the networks; a parameter drawn per stage counts once per stage."""
        return sum(self.draws_of(one) for one in self.of_networks() if len(one.values) > 1)

    @property
    def log10_size(self) -> float:
        """log10 of the number of networks before constraints and `where`.

        As in RegNet (arXiv 2003.13678, Table 1), it is divided by S! for each non-decreasing parameter.
        """
        return self.log10_combinations if self.size is None else log10(self.size)

    def draws_of(self, distribution: Distribution) -> int:
        """Number of values that a network has of a parameter: one, or one per stage."""
        return len(self.template.strides) if distribution.per_stage else 1

    def sample(self, n: int, seed: int = 0, on_progress: Callable[[int], None] | None = None) -> Population:
        """The first n draws of the space's random stream; sample(a) is a prefix of sample(b) for a < b.

        Under `duplicates="keep"` draws are independent, so a network can occur more than once. Under "drop" they are
        the distinct networks of the same stream, each at its first draw. Networks with different learning rates or
        weight decays are distinct.

        Args:
            n: number of networks.
            seed: seed of the stream.
            on_progress: called repeatedly with the number of networks drawn so far.

        Raises:
            ValueError: n or seed is out of range, almost no candidate satisfies the constraints, or the space has fewer
                than n distinct networks under "drop".
        """
        n, seed = check_integer("n", n, 1), check_integer("seed", seed, 0)
        if n > MOST_NETWORKS:
            raise ValueError(f"n = {n}: must be at most {MOST_NETWORKS:,}")
        stream = int.from_bytes(hashlib.sha256(self.name.encode()).digest()[:8], "big")
        networks: list[ModelSpec] = []
        parameters: list[Draws] = []
        rejected: Counter[str] = Counter()
        seen: set[bytes] = set()
        drawn = last_success = kept = members = duplicates = 0
        restrictions = [parse_restriction(text) for text in self.where]
        slow = any("e_fit" in restriction.names for restriction in restrictions)
        step = SLOW_STEP if slow else CHUNK
        while members < n:
            if drawn % CHUNK == 0:
                chunk = _draw(self, np.random.default_rng([seed, stream, drawn // CHUNK]))
            part = slice(drawn % CHUNK, drawn % CHUNK + step)
            draws = {name: values[part] for name, values in chunk.items()}
            draws, candidates = _accepted(self, draws, restrictions, rejected)
            new = _new([*leaves(candidates), *(draws[name] for name in self.rates)], seen)
            chosen = np.flatnonzero(new) if self.duplicates == "drop" else np.arange(len(new))
            chosen = chosen[: n - members]
            drawn += step
            kept += len(new)
            members += len(chosen)
            considered = new[: chosen[-1] + 1] if members == n else new
            duplicates += int(np.sum(~considered))
            if len(chosen):
                networks.append(map_arrays(lambda array, chosen=chosen: array[chosen], candidates))
                parameters.append({name: values[chosen] for name, values in draws.items()})
                last_success = drawn
            elif drawn - last_success >= PATIENCE:
                raise ValueError(_too_few(self, n, drawn, members, kept, rejected))
            if on_progress is not None:
                on_progress(members)
        return Population(
            self.name,
            seed,
            map_arrays(lambda *arrays: np.concatenate(arrays), *networks),
            {name: np.concatenate([draws[name] for draws in parameters]) for name in self.parameters},
            SamplingReport(
                drawn=drawn,
                kept=kept,
                rejected={name: count for name, count in rejected.items() if count},
                distinct=n if self.duplicates == "drop" else n - duplicates,
                duplicates=duplicates,
            ),
            np.arange(n),
        )


@dataclass(frozen=True)
class Rejection:
    """Parameters that violate a constraint of their space.

    Attributes:
        reason: the constraint.
        violation: by how much: |log(value / nearest limit)| if it is a range, else 1.
    """

    reason: str
    violation: float


@dataclass(frozen=True)
class Fraction:
    """Estimated fraction of a space.

    Attributes:
        inside: draws that satisfy the restriction.
        draws: all draws.
        confidence: of the interval from `lower` to `upper`.
    """

    inside: int
    draws: int
    confidence: float = 0.95

    @property
    def value(self) -> float:
        """The estimate."""
        return self.inside / self.draws

    @property
    def lower(self) -> float:
        """Lower end of the exact binomial interval (Clopper & Pearson 1934)."""
        return self._interval()[0]

    @property
    def upper(self) -> float:
        """Upper end of the exact binomial interval."""
        return self._interval()[1]

    def _interval(self) -> tuple[float, float]:
        from scipy.stats import binomtest

        low, high = binomtest(self.inside, self.draws).proportion_ci(self.confidence)
        return float(low), float(high)


def _draw(space: Settings, rng: np.random.Generator) -> Draws:
    """One chunk of candidates."""
    stages = len(space.template.strides)
    return {
        name: (distribution := space.parameters[name]).sample(
            rng, (CHUNK, stages) if distribution.per_stage else (CHUNK,)
        )
        for name in sorted(space.parameters, key=lambda name: name in space.rates)  # rates last: the same networks
    }


def _accepted(
    space: Settings, draws: Draws, restrictions: Sequence[Restriction], rejected: Counter[str]
) -> tuple[Draws, ModelSpec]:
    """The draws and networks that satisfy every constraint; the others are counted in `rejected`."""
    stages = len(space.template.strides)
    for name in space.increasing:
        kept = np.all(np.diff(draws[name], axis=1) >= 0, axis=1)
        rejected[f"{name} decreases"] += len(kept) - int(kept.sum())
        draws = {key: values[kept] for key, values in draws.items()}

    kept, networks = _family(space)(space, draws)
    rejected[f"not {stages} stages"] += len(kept) - int(kept.sum())
    draws = {name: values[kept] for name, values in draws.items()}

    kept = np.ones(int(kept.sum()), bool)
    if not len(kept):
        return draws, networks
    for name, values, limits in checks(space.constraints, networks, draws):
        inside = _inside(values, limits)
        rejected[name] += int(np.sum(kept & ~inside))
        kept &= inside
    draws, networks = _select(kept, draws, networks)
    for restriction in sorted(restrictions, key=lambda one: "e_fit" in one.names):  # slow ones last
        inside = Quantities(networks, draws, int(kept.sum())).holds(restriction)
        rejected[restriction.text] += int(np.sum(~inside))
        draws, networks = _select(inside, draws, networks)
        kept = inside[inside]
    return draws, networks


def _family(space: Settings) -> Family:
    return FAMILIES[space.family] if isinstance(space.family, str) else space.family


def _violation(space: Settings, draws: Draws, reason: str) -> float:
    """By how much the network of a single draw violates a constraint; see `Rejection`."""
    if reason in space.constraints.ranges():
        _, networks = _family(space)(space, draws)
        for name, values, limits in checks(space.constraints, networks, draws):
            measured = float(np.asarray(values).ravel()[0])
            nearest = min(max(measured, limits[0]), limits[1])
            if name == reason and measured > 0 and nearest > 0:
                return abs(log(measured / nearest))
    return 1.0


def _select(kept: np.ndarray, draws: Draws, networks: ModelSpec) -> tuple[Draws, ModelSpec]:
    return {name: values[kept] for name, values in draws.items()}, map_arrays(lambda array: array[kept], networks)


def _new(columns: list[np.ndarray], seen: set[bytes]) -> np.ndarray:
    """Mask of the rows that are neither in `seen` nor repeated here, shape (N,); adds them to `seen`.

    Args:
        columns: arrays of shape (N,).
        seen: contents of rows.
    """
    columns = [np.ascontiguousarray(array).view(np.uint8).reshape(len(array), array.itemsize) for array in columns]
    rows = np.concatenate(columns, axis=1)
    new = np.zeros(len(rows), bool)
    for position, key in enumerate(rows.view(f"V{rows.shape[1]}").ravel().tolist()):
        if key not in seen:
            seen.add(key)
            new[position] = True
    return new


def _too_few(space: Settings, n: int, drawn: int, members: int, kept: int, rejected: Counter[str]) -> str:
    reasons = [f"{name} {count / drawn:.3%}" for name, count in rejected.most_common() if count]
    advice = "widen that range or reduce n"
    if kept > members:
        reasons.append(f"duplicate {(kept - members) / drawn:.3%}")
        advice += ", or set duplicates = keep"
    return (
        f"n = {n}: must be at most the {members} networks that space {space.name} gave in {drawn:,} draws "
        f"(rejected: {', '.join(reasons)}); {advice}"
    )


def checks(
    constraints: Constraints, networks: ModelSpec, draws: Mapping[str, np.ndarray]
) -> Iterator[tuple[str, np.ndarray | int, tuple[float, float]]]:
    """Each constraint by name with the values of the networks, shape (N,), and their limits; cheap ones first.

    `growth` is α·β²·γ², the factor of the multiply-adds for one step of EfficientNet's φ (arXiv 1905.11946, Eq. 3).
    """
    ranges = constraints.ranges()
    if not ranges and constraints.envelope is None:
        return
    if "growth" in ranges:
        yield "growth", draws["alpha"] * draws["beta"] ** 2 * draws["gamma"] ** 2, ranges.pop("growth")
    if "depth" in ranges:
        yield "depth", sum(stage.depth for stage in networks.stages), ranges.pop("depth")
    if "resolution" in ranges:
        yield "resolution", networks.resolution, ranges.pop("resolution")
    memory, latency = ranges.pop("training_memory", None), ranges.pop("latency_ms", None)
    counts = complexity(networks)
    for name, limits in ranges.items():
        yield name, getattr(counts, name), limits
    if latency is not None and (predictor := constraints.latency_predictor) is not None:
        yield "latency_ms", predicted_latency(predictor, networks, counts), latency
    if constraints.envelope is not None:
        yield f"envelope {constraints.envelope}", regnet_envelope(counts), (1, 1)
    if memory is not None:
        needed = training_memory(networks, constraints.batch_size, constraints.precision, constraints.optimizer)
        yield "training_memory", needed.total, memory


def predicted_latency(predictor: LatencyPredictor, networks: ModelSpec, counts: Complexity) -> np.ndarray:
    """Predicted latency of every network, milliseconds."""
    return predictor.milliseconds(counts.macs, counts.params, counts.acts, sum(s.depth for s in networks.stages))


def regnet_envelope(counts: Complexity) -> np.ndarray:
    """Mask of params < 3 M + 5.5 M·F and acts < 6.5 M·√F, for F = macs / 1e9 (pycls `sweep/config.py`)."""
    giga = counts.macs / 1e9
    return (counts.params < 3e6 + 5.5e6 * giga) & (counts.acts < 6.5e6 * np.sqrt(giga))


def _inside(values: np.ndarray | int, limits: tuple[float, float]) -> np.ndarray:
    return (np.asarray(values) >= limits[0]) & (np.asarray(values) <= limits[1])
