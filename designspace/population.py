"""A population: N networks drawn from one design space, as arrays."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from designspace.arrays import map_arrays, unpack
from designspace.counting import Complexity, complexity
from designspace.spec import ModelSpec

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class SamplingReport:
    """Counts of the candidates and networks behind a population.

    Candidates come in chunks, so `drawn`, `kept` and `rejected` include those after the population's last draw;
    `distinct` and `duplicates` do not.

    Attributes:
        drawn: candidates drawn.
        kept: candidates that satisfy every constraint.
        rejected: the other candidates by the first constraint violated; the counts sum to drawn - kept.
        distinct: distinct networks.
        duplicates: draws that satisfy every constraint and repeat an earlier network: part of the population, or
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
        """Fraction of the draws up to the population's last that repeat an earlier network."""
        return self.duplicates / (self.distinct + self.duplicates)


def duplicates_text(n: int, distinct: int, duplicates: int) -> str:
    """Describe the duplicates of n draws; `distinct` and `duplicates` as in `SamplingReport`.

    With n distinct networks the duplicates were dropped.
    """
    if not duplicates:
        return f"{distinct:,} distinct networks"
    share = f"{duplicates:,} duplicate draws ({duplicates / (distinct + duplicates):.1%})"
    return f"{distinct:,} distinct networks, {share} {'dropped' if n == distinct else 'kept'}"


@dataclass(frozen=True)
class Population:
    """N networks of one space.

    Attributes:
        space: name of the design space.
        seed: seed of the draw.
        networks: a spec whose numbers are arrays of shape (N,) where the networks differ.
        parameters: the space's free parameters as drawn, each of shape (N,), or (N, S) for one value per stage.
        report: candidates drawn, kept and rejected, and duplicates; of the whole population also in a part of it.
    """

    space: str
    seed: int
    networks: ModelSpec
    parameters: Mapping[str, np.ndarray]
    report: SamplingReport

    def __len__(self) -> int:
        return len(next(iter(self.parameters.values())))

    def __getitem__(self, index: slice | np.ndarray) -> Population:
        """The networks selected by a slice, a mask or an array of positions."""
        return Population(
            self.space,
            self.seed,
            map_arrays(lambda array: array[index], self.networks),
            {name: values[index] for name, values in self.parameters.items()},
            self.report,
        )

    @cached_property
    def complexity(self) -> Complexity:
        """Multiply-adds, parameters and activations, int64 arrays of shape (N,), pycls convention."""
        counts = complexity(self.networks)
        fill = np.zeros(len(self), np.int64)
        return Complexity(counts.macs + fill, counts.params + fill, counts.acts + fill)

    def spec(self, index: int) -> ModelSpec:
        """The network at a position as a validated spec."""
        return unpack(self.networks, index)

    def rows(self) -> Iterator[dict[str, Any]]:
        """One mapping per draw: space, index, spec_id, depth, macs, params, acts, parameters, spec."""
        counts = self.complexity
        for index in range(len(self)):
            spec = self.spec(index)
            yield {
                "space": self.space,
                "index": index,
                "spec_id": spec.spec_id,
                "depth": spec.depth,
                "macs": int(counts.macs[index]),
                "params": int(counts.params[index]),
                "acts": int(counts.acts[index]),
                "parameters": {name: values[index].tolist() for name, values in self.parameters.items()},
                "spec": spec.to_mapping(),
            }

    def to_frame(self, on_progress: Callable[[int], None] | None = None) -> pd.DataFrame:
        """One row per draw; each parameter is a column, or one column per stage (name_1, …); the spec is JSON.

        Args:
            on_progress: called with the number of rows done, after every thousand.
        """
        import pandas as pd

        rows = []
        for row in self.rows():
            rows.append(_flat(row))
            if on_progress is not None and len(rows) % 1000 == 0:
                on_progress(len(rows))
        return pd.DataFrame(rows)


def _flat(row: dict[str, Any]) -> dict[str, Any]:
    flat = {name: value for name, value in row.items() if name not in ("parameters", "spec")}
    for name, value in row["parameters"].items():
        if isinstance(value, list):
            flat |= {f"{name}_{stage}": item for stage, item in enumerate(value, start=1)}
        else:
            flat.setdefault(name, value)
    return flat | {"spec": json.dumps(row["spec"], sort_keys=True, separators=(",", ":"))}
