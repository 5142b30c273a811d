"""Populations: N networks of one design space as arrays."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar, overload

import numpy as np
from pydantic import BaseModel

from designspace.counting import Complexity, complexity
from designspace.expressions import Restriction, parse_restriction
from designspace.figures import is_logarithmic
from designspace.spec import ModelSpec
from designspace.validated import shorten, unknown
from designspace.width_fit import fit_error, least_fit_error

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

Part = TypeVar("Part", bound=BaseModel)

PREVIEW_ROWS = 10
"""Rows of a population's table in a notebook."""


@dataclass(frozen=True)
class SamplingReport:
    """Counts from sampling a population.

    Candidates are drawn in chunks, so `drawn`, `kept` and `rejected` include candidates after the population's last
    draw; `distinct` and `duplicates` do not.

    Attributes:
        drawn: candidates drawn.
        kept: candidates that satisfy every constraint.
        rejected: the other candidates by the first constraint they violate; the counts sum to drawn - kept.
        distinct: distinct networks, with their learning rate and weight decay if those are drawn.
        duplicates: draws that satisfy every constraint and repeat an earlier one. They are part of the population, or
            dropped from it under `duplicates="drop"`.
    """

    drawn: int
    kept: int
    rejected: Mapping[str, int]
    distinct: int
    duplicates: int

    @property
    def acceptance(self) -> float:
        """Fraction of the candidates that satisfy every constraint."""
        return self.kept / self.drawn if self.drawn else float("nan")

    @property
    def duplicate_share(self) -> float:
        """Fraction of the draws, up to the population's last, that repeat an earlier network."""
        return self.duplicates / (self.distinct + self.duplicates)


def duplicates_text(n: int, distinct: int, duplicates: int, *, rates: bool = False) -> str:
    """Describe the duplicates of n draws; `distinct` and `duplicates` as in `SamplingReport`.

    With n distinct networks the duplicates were dropped. `rates`: learning rates or weight decays are drawn.
    """
    text = f"{distinct:,} distinct {'models' if rates else 'networks'}"
    if not duplicates:
        return text
    share = f"{duplicates:,} duplicate draws ({duplicates / (distinct + duplicates):.1%})"
    return f"{text}, {share} {'dropped' if n == distinct else 'kept'}"


@dataclass(frozen=True, eq=False, repr=False)
class Population:
    """N networks of one space.

    `population[i]` is a `ModelSpec`; slices, masks and index arrays select a smaller population. Two populations are
    equal if they hold the same draws of the same networks.

    Attributes:
        space: name of the design space.
        seed: seed of the draws.
        networks: a spec whose numbers are arrays of shape (N,) where the networks differ.
        parameters: the free parameters as drawn, each of shape (N,), or (N, S) with one value per stage.
        report: sampling counts, of the complete population also in a selection.
        index: position of each draw in the random stream, shape (N,), int64.
    """

    space: str
    seed: int
    networks: ModelSpec
    parameters: Mapping[str, np.ndarray]
    report: SamplingReport
    index: np.ndarray

    def __len__(self) -> int:
        return len(self.index)

    def __repr__(self) -> str:
        macs = self.complexity.macs
        range_text = f", {macs.min():.3g} to {macs.max():.3g} macs" if len(self) else ""
        return f"Population({len(self):,} networks of {self.space}, seed {self.seed}{range_text})"

    def _repr_html_(self) -> str:
        more = f"<p>{PREVIEW_ROWS} of {len(self):,} networks</p>" if len(self) > PREVIEW_ROWS else ""
        frame = self[:PREVIEW_ROWS].to_frame().drop(columns="spec", errors="ignore")
        return f"{frame.to_html(index=False, border=0)}{more}"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Population):
            return NotImplemented
        return (self.space, self.seed) == (other.space, other.seed) and all(
            np.array_equal(one, two) for one, two in zip(self._arrays(), other._arrays(), strict=False)
        )

    __hash__ = None  # type: ignore[assignment]

    def _arrays(self) -> list[np.ndarray]:
        return [self.index, *self.parameters.values(), *leaves(self.networks)]

    def __iter__(self) -> Iterator[ModelSpec]:
        return (self[index] for index in range(len(self)))

    @overload
    def __getitem__(self, index: int | np.integer) -> ModelSpec: ...
    @overload
    def __getitem__(self, index: slice | np.ndarray | Sequence[int] | Sequence[bool]) -> Population: ...
    def __getitem__(
        self, index: int | np.integer | slice | np.ndarray | Sequence[int] | Sequence[bool]
    ) -> ModelSpec | Population:
        """The network at a position, or the population selected by a slice, a mask or an array of positions."""
        if isinstance(index, int | np.integer) and not isinstance(index, bool):
            position = int(index)
            if not -len(self) <= position < len(self):
                raise IndexError(f"index = {position}: must be in a population of {len(self):,} networks")
            return unpack(self.networks, position)
        selected = index if isinstance(index, slice) else self._positions(index)
        return Population(
            self.space,
            self.seed,
            map_arrays(lambda array: array[selected], self.networks),
            {name: values[selected] for name, values in self.parameters.items()},
            self.report,
            self.index[selected],
        )

    def _positions(self, index: Any) -> np.ndarray:
        """The positions given by a mask or by a list or array of positions."""
        array = np.asarray(index)
        if not array.size:
            array = array.astype(np.int64)
        if array.ndim != 1 or array.dtype.kind not in "iub":
            raise ValueError(f"index = {shorten(index)}: must be a position, a slice, a mask or a list of positions")
        if array.dtype.kind == "b":
            if len(array) != len(self):
                raise IndexError(f"index: must be a mask of {len(self):,} values, not {len(array):,}")
            return np.flatnonzero(array)
        if np.any(array < -len(self)) or np.any(array >= len(self)):
            raise IndexError(f"index = {shorten(index)}: must be in a population of {len(self):,} networks")
        return array

    @cached_property
    def complexity(self) -> Complexity:
        """Multiply-adds, parameters and activations, int64 arrays of shape (N,), pycls convention."""
        fill = np.zeros(len(self), np.int64)
        if not len(self):
            return Complexity(fill, fill, fill)
        counts = complexity(self.networks)
        return Complexity(counts.macs + fill, counts.params + fill, counts.acts + fill)

    def spec(self, index: int) -> ModelSpec:
        """The network at a position; the same as `population[index]`."""
        return self[index]

    def rows(self) -> Iterator[dict[str, Any]]:
        """One mapping per draw: space, index, spec_id, depth, macs, params, acts, parameters, spec."""
        counts = self.complexity
        for position, spec in enumerate(self):
            yield {
                "space": self.space,
                "index": int(self.index[position]),
                "spec_id": spec.spec_id,
                "depth": spec.depth,
                "macs": int(counts.macs[position]),
                "params": int(counts.params[position]),
                "acts": int(counts.acts[position]),
                "parameters": {name: values[position].tolist() for name, values in self.parameters.items()},
                "spec": spec.to_mapping(),
            }

    def to_frame(self, on_progress: Callable[[int], None] | None = None) -> pd.DataFrame:
        """A frame with one row per draw.

        Args:
            on_progress: called with the number of finished rows after every thousand.

        Returns:
            space: name of the space.
            index: position of the draw in the random stream.
            spec_id: identity of the network.
            depth: number of blocks.
            macs, params, acts: complexity, pycls convention.
            Each parameter under its name, or one column per stage (name_1, name_2, …).
            spec: the network as JSON.
        """
        import pandas as pd

        identities, specs = [], []
        for number, spec in enumerate(self, start=1):
            identities.append(spec.spec_id)
            specs.append(spec.to_json())
            if on_progress is not None and number % 1000 == 0:
                on_progress(number)
        columns = {"space": self.space, "index": self.index, "spec_id": identities}
        return pd.DataFrame(columns | self._columns() | {"spec": specs})

    def plot(self, x: str = "macs", y: str = "params", ax: Axes | None = None) -> Axes:
        """Draw a scatter plot of two numeric columns of `to_frame`.

        Args:
            x, y: column names; an axis of group widths, or of values that span a factor of 10, is logarithmic.
            ax: the axes; new ones by default.

        Raises:
            ValueError: no such column.
        """
        if ax is None:
            from matplotlib import pyplot as plt

            ax = plt.subplots()[1]
        values = {name: self._column(field, name) for field, name in (("x", x), ("y", y))}
        ax.scatter(values[x], values[y], s=12, alpha=0.6, linewidths=0, label=self.space)
        for name, set_scale, set_label in ((x, ax.set_xscale, ax.set_xlabel), (y, ax.set_yscale, ax.set_ylabel)):
            if is_logarithmic(name, values[name]):
                set_scale("log")
            set_label(name)
        return ax

    def _column(self, field: str, name: str) -> np.ndarray:
        numeric = {key: values for key, values in self._columns().items() if values.dtype.kind in "iufb"}
        if name not in numeric:
            raise ValueError(unknown(field, name, numeric))
        return numeric[name]

    def satisfies(self, restriction: str) -> np.ndarray:
        """Mask of the networks that satisfy a restriction, shape (N,); see `designspace.expressions`.

        Raises:
            ValueError: not a restriction of this space.
        """
        return self._quantities.holds(parse_restriction(restriction))

    @cached_property
    def _quantities(self) -> Quantities:
        return Quantities(self.networks, self.parameters, len(self), lambda: self.complexity)

    def _columns(self) -> dict[str, np.ndarray]:
        """Depth, complexity and parameters, shape (N,); a parameter drawn per stage has one column per stage."""
        return {name: self._quantities[name] for name in self._quantities if name != "e_fit"}


class Quantities(Mapping[str, np.ndarray]):
    """Quantities of N networks by name, each of shape (N,) and computed on first use.

    These are depth, macs, params, acts, e_fit, and the parameters as drawn, per stage as name_1, name_2, ….
    """

    def __init__(
        self,
        networks: ModelSpec,
        parameters: Mapping[str, np.ndarray],
        n: int,
        count: Callable[[], Complexity] | None = None,
    ) -> None:
        self._networks = networks
        self._parameters = parameters
        self._n = n
        self._count = count or (lambda: complexity(networks))
        self._arrays: dict[str, np.ndarray | None] = dict.fromkeys(("depth", "macs", "params", "acts"))
        for name, values in parameters.items():
            if values.ndim == 2:
                self._arrays |= {f"{name}_{stage}": column for stage, column in enumerate(values.T, start=1)}
            else:
                self._arrays.setdefault(name, values)
        self._arrays.setdefault("e_fit")

    def __iter__(self) -> Iterator[str]:
        return iter(self._arrays)

    def __len__(self) -> int:
        return len(self._arrays)

    def __getitem__(self, name: str) -> np.ndarray:
        if (values := self._arrays[name]) is not None:
            return values
        if name == "depth":
            computed = {name: np.asarray(sum(stage.depth for stage in self._networks.stages))}
        elif name == "e_fit":
            computed = {name: np.array([fit_error(widths) for widths in self._block_widths()])}
        else:
            counts = self._count()
            computed = {key: np.asarray(getattr(counts, key)) for key in ("macs", "params", "acts")}
        self._arrays |= {key: np.broadcast_to(values, self._n) for key, values in computed.items()}
        return self._arrays[name]  # type: ignore[return-value]

    def select(self, rows: np.ndarray) -> Quantities:
        """The quantities of some networks, by a mask or by positions."""
        networks = map_arrays(lambda array: array[rows], self._networks)
        parameters = {name: values[rows] for name, values in self._parameters.items()}
        return Quantities(networks, parameters, len(np.arange(self._n)[rows]))

    def holds(self, restriction: Restriction) -> np.ndarray:
        """Mask of the networks that satisfy a restriction, shape (N,).

        e_fit takes about 10 ms per network, so it is computed only where the other conditions and a lower bound allow.
        """
        kept = np.ones(self._n, bool)
        for part in sorted(restriction.conjuncts(), key=lambda part: "e_fit" in part.names):
            if "e_fit" not in part.names:
                kept &= part.holds(self)
                continue
            if set(part.names) == {"e_fit"} and (limits := part.limits(integer=False)) is not None:
                kept &= least_fit_error(*self._stages()) <= limits[1] + 1e-9
            rows = np.flatnonzero(kept)
            kept[rows] = part.holds(self.select(rows))
        return kept

    def _stages(self) -> tuple[np.ndarray, np.ndarray]:
        """Widths and depths of the stages, shape (N, S)."""
        stages = self._networks.stages
        widths, depths = (
            np.stack([np.broadcast_to(getattr(stage, name), self._n) for stage in stages], axis=1)
            for name in ("width", "depth")
        )
        return widths, depths

    def _block_widths(self) -> Iterator[tuple[int, ...]]:
        for widths, depths in zip(*self._stages(), strict=True):
            yield tuple(np.repeat(widths, depths).tolist())


def map_arrays(function: Callable[..., Any], *parts: Part) -> Part:
    """Apply a function to the corresponding arrays of specs; everything else comes from the first spec."""
    return _map(function, *parts)


def leaves(part: BaseModel) -> Iterator[np.ndarray]:
    """The arrays of a spec, always in the same order."""
    arrays: list[np.ndarray] = []
    map_arrays(lambda array: arrays.append(array), part)
    yield from arrays


def unpack(networks: ModelSpec, index: int) -> ModelSpec:
    """One network of a population as a validated spec, without stages of depth 0."""
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
